"""Mocks: reproducible, as noisy as they say, as bright as their truth, and distributed like the galaxies of COSMOS."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest

import skyloom as sl
from skyloom.data import workers
from skyloom.data.mocks import mock as mocking
from skyloom.data.mocks.draw import Placed, draw
from skyloom.data.mocks.mock import mock_cutouts
from skyloom.data.mocks.observation import KIDS_VIKING, alone, survey_like_kids
from skyloom.data.mocks.population import CLASSES, FIELD, RESOLVED, Component, Galaxy, Pattern, Population
from skyloom.data.mocks.sample import galaxy, magnitudes
from skyloom.data.mocks.studio import cutout, studio
from skyloom.data.mocks.truth import Optics, half_light, truth
from skyloom.sky.sersic import intensity, total_flux

pytest.importorskip("galsim")
COSMOS = Path(__file__).parent / "cosmos_fits.csv"
QUIET = replace(alone(survey_like_kids("r")), noise=False, sky=(0.0, 0.0))


def one(n=1.0, r_e=3.0, q=0.6, pa=30.0, mag=16.0, bands="r", kind="disc", pattern=None):
    """A galaxy of one component."""
    return Galaxy(kind, {"disc": Component(n, r_e, q, pa, dict.fromkeys(bands, mag))}, pattern)


def drawn(galaxy, size=128, x=63.5, y=63.5):
    """Its noise-free pixels in r."""
    return draw(studio(size, "r", 0).optics.canvas, [Placed(galaxy, x, y)])[0]


def equal(first, second):
    """Two cutouts agree in every byte."""
    same = np.array_equal(first.flux, second.flux, equal_nan=True) and np.array_equal(first.ivar, second.ivar)
    return same and repr(first.columns) == repr(second.columns)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    first, again, other = (sl.mock(tmp_path / f"{k}.lance", 3, size=48, seed=seed) for k, seed in enumerate((5, 5, 6)))
    assert first.content_hash == again.content_hash
    assert first.content_hash != other.content_hash


def test_object_k_does_not_depend_on_how_many_there_are():
    few, many = list(mock_cutouts(2, size=48, bands="r")), list(mock_cutouts(5, size=48, bands="r"))
    assert all(equal(*pair) for pair in zip(few, many, strict=False))
    assert equal(cutout(4, studio(48, "r", 0)), many[4])


def test_a_survey_keeps_the_truth_and_says_that_it_is_simulated(tmp_path):
    survey = sl.mock(tmp_path / "mock.lance", 2, size=64, bands="gr")
    row = survey.table(where="object_id = 'mock-0-0000001'").to_pylist()[0]
    assert row["true_class"] in CLASSES
    assert len(row["true_sma"]) == len(row["true_sb_g"]) == len(row["true_cog_nopsf_r"])
    assert set(json.loads(row["true_components"])) <= {"disc", "bulge", "bar", "pattern"}
    assert "Simulated" in survey.info.notes[0]
    assert [band.zero_point for band in survey.info.bands] == [KIDS_VIKING[band].zero_point for band in "gr"]


@pytest.mark.parametrize("arguments", [{"n": 0}, {"n": 1, "bands": "rx"}, {"n": 1, "bands": "rr"}, {"n": 1, "size": 8}])
def test_impossible_requests_are_refused(tmp_path, arguments):
    with pytest.raises(sl.SkyloomError):
        sl.mock(tmp_path / "never.lance", **arguments)
    assert not (tmp_path / "never.lance").exists()


def test_every_band_can_be_drawn_and_its_magnitude_differs():
    shared = studio(32, "ugrizYJHK", 0)
    columns = cutout(0, shared).columns
    assert shared.bands == "ugriZYJHK"
    assert len({round(columns[f"true_mag_{band}"], 3) for band in shared.bands}) == 9


@pytest.mark.parametrize("n", [0.5, 1.032, 3.965])
def test_the_flux_of_a_drawing_is_its_magnitude(n):
    """Within what the profile of the same truth leaves outside the cutout."""
    image = drawn(one(n, r_e=1.0, mag=16.0), size=256, x=127.2, y=127.9)
    lost = 0.012 if n > 3 else 1e-5
    np.testing.assert_allclose(image.sum(), 10 ** (0.4 * (30 - 16)), rtol=lost)
    assert image.sum() < 10 ** (0.4 * (30 - 16)) * (1 + 1e-5)


@pytest.mark.parametrize("pattern", [None, Pattern(contrast=0.6, pitch=20.0), Pattern(ring=0.8)])
def test_the_flux_in_an_aperture_of_a_drawing_is_the_true_curve_of_growth(pattern):
    sep = pytest.importorskip("sep")
    shown = one(1.032, r_e=4.0, q=0.7, pattern=pattern)
    image, optics = drawn(shown, size=256, x=127.3, y=128.1), Optics(studio(256, "r", 0).optics.canvas)
    isophotes = truth(shown, optics).convolved
    for number in np.searchsorted(optics.sma, [2.0, 5.0, 12.0]):
        a, e, pa = optics.sma[number] / 0.2, isophotes.ellipticity[0, number], np.deg2rad(isophotes.pa[0, number])
        theta = (pa + np.pi / 2) % np.pi - np.pi / 2
        aperture = ([127.3], [128.1], [a], [a * (1 - e)], [theta])
        inside, *_ = sep.sum_ellipse(np.ascontiguousarray(image), *aperture, r=1.0, subpix=11)
        np.testing.assert_allclose(inside, isophotes.inside[0, number], rtol=0.005)


def test_scaling_the_flux_of_a_galaxy_scales_its_pixels_and_moving_it_moves_them():
    bright, faint = drawn(one(mag=15.0)), drawn(one(mag=17.5))
    np.testing.assert_allclose(bright, 10 * faint, rtol=1e-9)
    np.testing.assert_allclose(drawn(one(), x=60.5, y=65.5)[10:-10, 10:-10], drawn(one())[8:-12, 13:-7], atol=0.02)


def test_a_quarter_turn_of_the_galaxy_turns_the_pixels():
    np.testing.assert_allclose(drawn(one(pa=120.0)), np.rot90(drawn(one(pa=30.0)), -1), rtol=1e-6, atol=1e-4)


def test_noise_is_what_ivar_says():
    """(image - model)² · ivar has mean 1, on empty sky and on the galaxy; 49,152 pixels: 3σ is 0.02."""
    seen = replace(alone(survey_like_kids("gri")), sky=(2.0, 2.0))
    noisy = next(mock_cutouts(1, size=128, bands="gri", observation=seen))
    clean = next(mock_cutouts(1, size=128, bands="gri", observation=replace(seen, noise=False)))
    np.testing.assert_array_equal(noisy.ivar, clean.ivar)
    pull = (noisy.flux - clean.flux) * np.sqrt(noisy.ivar)
    bright = clean.ivar < 0.8 * clean.ivar.max(axis=(1, 2), keepdims=True)
    assert abs((pull**2).mean() - 1) < 0.02
    assert bright.sum() > 100
    assert abs((pull[bright] ** 2).mean() - 1) < 4 * np.sqrt(2 / bright.sum())
    assert abs(pull.mean()) < 4 / np.sqrt(pull.size)


@pytest.mark.parametrize("band", KIDS_VIKING)
def test_the_noise_of_empty_sky_is_the_rms_of_the_depth(band):
    exposure = KIDS_VIKING[band]
    variance = exposure.sky_flux / exposure.gain + (exposure.read_noise / exposure.gain) ** 2
    np.testing.assert_allclose(np.sqrt(variance), exposure.sky_rms, rtol=1e-6)


def test_a_galaxy_without_noise_lies_on_its_true_sky():
    seen = replace(QUIET, sky=(3.0, 3.0), sky_gradient=1.0)
    shown = next(mock_cutouts(1, size=64, bands="r", observation=seen))
    columns = shown.columns
    corners = shown.flux[0, [0, 0, -1, -1], [0, -1, 0, -1]].mean()
    assert abs(columns["true_sky_r"] - 3 * columns["true_sky_rms_r"]) < 1e-9
    assert abs(corners - columns["true_sky_r"]) < 0.3 * columns["true_sky_rms_r"]
    assert columns["true_sky_slope_x_r"] != 0


def test_bad_pixels_are_nan_with_no_weight_and_can_be_turned_off():
    spoilt = replace(QUIET, bad_pixels=0.01, bad_columns=8.0, cosmic_rays=20.0)
    broken = next(mock_cutouts(1, size=64, bands="r", observation=spoilt))
    assert (broken.ivar == 0).sum() > 64
    np.testing.assert_array_equal(np.isnan(broken.flux), broken.ivar == 0)
    assert (next(mock_cutouts(1, size=64, bands="r", observation=QUIET)).ivar > 0).all()


def test_neighbours_stars_and_companions_can_be_turned_on_and_off():
    crowded = replace(QUIET, neighbours=200.0, stars=100.0, companions=1.0)
    busy, empty = (next(mock_cutouts(1, size=64, bands="r", observation=seen)) for seen in (crowded, QUIET))
    assert busy.columns["true_neighbours"] > 0
    assert busy.columns["true_stars"] > 0
    assert busy.columns["true_companion"] and not empty.columns["true_companion"]
    assert busy.flux.sum() > empty.flux.sum()
    assert (busy.columns["true_mag_r"], busy.columns["true_class"]) == (
        empty.columns["true_mag_r"],
        empty.columns["true_class"],
    )


@pytest.mark.parametrize("n", [0.592, 1.032, 3.965, 6.0])
def test_the_truth_without_psf_is_the_sersic_law(n):
    shown, optics = one(n, r_e=4.0, q=0.5, pa=100.0), Optics(studio(256, "r", 0).optics.canvas)
    isophotes = truth(shown, optics).intrinsic
    law = 10**5.6 * 0.04 * intensity(optics.sma, 4.0, n) / total_flux(1.0, 4.0, n, 0.5)
    seen = law > 1e-3
    np.testing.assert_allclose(-2.5 * np.log10(isophotes.intensity[0] / law)[seen], 0, atol=1e-4)
    np.testing.assert_allclose(isophotes.ellipticity[0][seen], 0.5, atol=1e-4)
    np.testing.assert_allclose(isophotes.pa[0][seen], 100.0, atol=0.01)
    np.testing.assert_allclose(half_light(isophotes.inside, np.array([10**5.6]), optics.sma), 4.0, rtol=1e-3)


def test_the_psf_moves_light_outward_and_keeps_it():
    optics = Optics(studio(256, "r", 0).optics.canvas)
    true = truth(one(1.032, r_e=2.0, q=0.5), optics)
    assert true.convolved.intensity[0, 0] < true.intrinsic.intensity[0, 0]
    assert (true.convolved.ellipticity[0] <= true.intrinsic.ellipticity[0] + 1e-6)[optics.sma < 8].all()
    np.testing.assert_allclose(true.convolved.inside[0, -1], 10**5.6, rtol=2e-4)


def test_the_population_follows_the_table_it_was_fitted_to():
    """Kolmogorov-Smirnov p > 1 % for the single Sérsic fits of 100 COSMOS galaxies, beside 2000 draws."""
    table = np.genfromtxt(COSMOS, delimiter=",", names=True, skip_header=2)
    rng = np.random.default_rng(1)
    single = replace(FIELD, two_components=0.0)
    parts = [next(iter(galaxy(single, "i", rng).components.values())) for _ in range(2000)]
    assert kstest(np.log(table["n"]), np.log([part.n for part in parts])).pvalue > 0.01
    assert kstest(table["q"], [part.q for part in parts]).pvalue > 0.01
    residual = np.log10([part.r_e for part in parts]) + 0.135 * (
        np.array([part.magnitudes["i"] for part in parts]) - 22
    )
    assert kstest(np.log10(table["r_e"]) + 0.135 * (table["mag"] - 22), residual).pvalue > 0.01


def test_counts_rise_with_magnitude_like_the_table():
    table = np.genfromtxt(COSMOS, delimiter=",", names=True, skip_header=2)
    rng = np.random.default_rng(2)
    drawn = [magnitudes(Population(magnitudes=(15.0, 22.5)), rng) for _ in range(5000)]
    assert kstest(table["mag"], drawn).pvalue > 0.01


def test_resolved_galaxies_are_large_bright_and_as_bright_per_area_as_the_field_seen_near():
    rng = np.random.default_rng(3)
    galaxies = [galaxy(RESOLVED, "r", rng) for _ in range(400)]
    r_e = np.array([max(part.r_e for part in one.components.values()) for one in galaxies])
    mag = np.array([one.magnitude("r") for one in galaxies])
    assert ((r_e >= 2) & (r_e <= 8.001)).mean() > 0.97
    assert 14 < np.median(mag) < 18
    assert 0.95 > np.mean([one.kind != "elliptical" for one in galaxies]) > 0.6
    assert {one.kind for one in galaxies} == set(CLASSES)


def test_early_types_are_redder_than_late_types():
    rng = np.random.default_rng(4)
    colours = {kind: [] for kind in CLASSES}
    for one in (galaxy(RESOLVED, "gi", rng) for _ in range(200)):
        colours[one.kind].append(one.magnitude("g") - one.magnitude("i"))
    assert np.median(colours["elliptical"]) > np.median(colours["disc"]) + 0.3


def test_workers_draw_the_same_objects_in_the_same_order_and_stop_when_nobody_reads(monkeypatch):
    monkeypatch.setattr(mocking, "SHARE", 2)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    drawn_elsewhere, shared = mock_cutouts(50, size=32, bands="r"), studio(32, "r", 0)
    assert all(equal(next(drawn_elsewhere), cutout(number, shared)) for number in range(5))
    drawn_elsewhere.close()
