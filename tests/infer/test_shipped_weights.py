"""The weights that come with skyloom, on galaxies that no training saw: as good as their cards say, and lawful."""

from dataclasses import replace

import numpy as np
import pytest

import skyloom as sl
from skyloom.data import store
from skyloom.data.mocks.mock import info, mock_cutouts, studio
from skyloom.infer.profiles import engine_of, measure_survey
from skyloom.metrics.profiles import deviations, profile_medians
from skyloom.metrics.references import truth_table
from skyloom.sky.grid import turn
from skyloom.sky.profiles import Flag

pytest.importorskip("galsim")

N, SEED = 24, 77
DECODER, WRITER = "profile-decoder", "pix2prof-mock"


@pytest.fixture(scope="module")
def mocks(tmp_path_factory):
    path = tmp_path_factory.mktemp("mocks") / "mocks.lance"
    return store.write(path, info(studio(256, "r", SEED)), mock_cutouts(N, 256, "r", SEED))


@pytest.fixture(scope="module")
def tables(mocks):
    return {name: sl.profile(mocks, with_=name) for name in (DECODER, WRITER)}


def rows(cutouts, facts, name=DECODER):
    return measure_survey(cutouts, facts, engine=engine_of(name, facts, [0]))


def middle(row, name):
    """A column at the half-light radius."""
    return float(np.interp(row["r_e"], row["sma"], row[name]))


@pytest.mark.parametrize("name, limit", [(DECODER, 0.06), (WRITER, 0.60)])
def test_profiles_of_new_mocks_lie_near_their_truth(mocks, tables, name, limit):
    """Median over profiles of the median |Δμ| below 26.5 mag/arcsec²: three times what the card says, as 24 are few."""
    points = deviations(tables[name], truth_table(mocks)).between(0, 26.5)
    medians, _ = profile_medians(np.abs(points.deviation), points.row)
    assert len(medians) == N and np.median(medians) < limit


def test_most_truths_lie_in_the_intervals(mocks, tables):
    """The 90 % interval of galaxies without a planted companion: 80 % at least, as 24 are few."""
    alone = ~np.array(mocks.table(["true_companion"])["true_companion"].to_pylist())
    points = deviations(tables[DECODER], truth_table(mocks))
    points = points.where(alone[points.row]).between(0, 26.5)
    inside = (points.reference >= points.quantiles[0]) & (points.reference <= points.quantiles[-1])
    assert 0.8 < inside.mean() < 0.99


def test_geometry_and_totals_are_those_of_the_galaxy(mocks, tables):
    truth = mocks.table(["true_x", "true_y", "true_mag_r", "true_ellipticity", "true_companion"]).to_pylist()
    found = tables[DECODER].to_pylist()
    alone = [k for k in range(N) if not truth[k]["true_companion"] and np.isfinite(found[k]["r_e"])]
    assert len(alone) > 15
    misses = {
        "centre": [np.hypot(found[k]["x"] - truth[k]["true_x"], found[k]["y"] - truth[k]["true_y"]) for k in alone],
        "mag": [abs(found[k]["mag"] - truth[k]["true_mag_r"]) for k in alone],
        "ellipticity": [abs(middle(found[k], "ellipticity") - truth[k]["true_ellipticity"]) for k in alone],
    }
    assert np.median(misses["centre"]) < 0.15  # pixels
    assert np.median(misses["mag"]) < 0.15
    assert np.median(misses["ellipticity"]) < 0.06


def test_a_turned_galaxy_has_the_same_profile_and_a_turned_angle(mocks, tables):
    cutouts = list(mocks.read())[:8]
    turned = [
        replace(c, flux=np.ascontiguousarray(turn(c.flux, 1)), ivar=np.ascontiguousarray(turn(c.ivar, 1)))
        for c in cutouts
    ]
    for row, other in zip(tables[DECODER].to_pylist(), rows(turned, mocks.info), strict=False):
        n = min(len(row["sma"]), len(other["sma"]))
        difference = np.abs(np.array(row["sb"])[:n] - other["sb"][:n])
        assert np.median(difference) < 0.03 and abs(row["mag"] - other["mag"]) < 0.1
        if middle(row, "ellipticity") > 0.2:
            assert abs((middle(other, "pa") - middle(row, "pa")) % 180 - 90) < 10


def test_the_unit_of_flux_shifts_the_magnitudes_and_nothing_else(mocks, tables):
    factor = np.float32(1e-12)
    cutouts = [replace(c, flux=c.flux * factor, ivar=c.ivar / factor**2) for c in list(mocks.read())[:4]]
    for row, other in zip(tables[DECODER].to_pylist(), rows(cutouts, mocks.info), strict=False):
        assert len(row["sb"]) == len(other["sb"])
        np.testing.assert_allclose(np.array(other["sb"]) - row["sb"], 30, atol=2e-3)
        np.testing.assert_allclose(other["ellipticity"], row["ellipticity"], atol=2e-3)


def test_a_galaxy_larger_than_its_cutout_is_flagged(mocks, tables):
    """The same galaxies in the middle quarter of their frames: the large ones leave it."""
    half = [replace(c, flux=c.flux[:, 96:160, 96:160], ivar=c.ivar[:, 96:160, 96:160]) for c in mocks.read()]
    facts = replace(mocks.info, shape=(64, 64))
    reach = np.array([row["sma"][-1] if row["sma"] else 0 for row in tables[DECODER].to_pylist()]) / facts.pixel_scale
    for name in (DECODER, WRITER):
        flagged = np.array([bool(row["flag"] & Flag.TRUNCATED) for row in rows(half, facts, name)])
        assert flagged[reach > 60].mean() > 0.8


def test_larger_pixels_are_read_on_the_same_rings(mocks, tables):
    """Two by two pixels added to one of 0.4 arcsec: the same galaxy, to 0.08 mag outside the core, and as large."""
    facts = replace(mocks.info, shape=(128, 128), pixel_scale=2 * mocks.info.pixel_scale)
    binned = []
    for c in list(mocks.read())[:8]:
        good = c.ivar.reshape(1, 128, 2, 128, 2) > 0
        whole = good.all((2, 4))
        flux = np.where(good, c.flux.reshape(good.shape), 0).sum((2, 4))
        variance = np.where(good, 1 / np.where(good, c.ivar.reshape(good.shape), 1), 0).sum((2, 4))
        ivar = np.where(whole, 1 / np.maximum(variance, 1e-30), 0).astype(np.float32)
        binned.append(replace(c, flux=flux.astype(np.float32), ivar=ivar))
    for row, other in zip(tables[DECODER].to_pylist(), rows(binned, facts), strict=False):
        at = np.geomspace(2, 0.7 * min(row["sma"][-1], other["sma"][-1]), 20)
        ours, theirs = (np.interp(at, r["sma"], r["sb"]) for r in (row, other))
        assert np.median(np.abs(ours - theirs)) < 0.08
        assert abs(row["mag"] - other["mag"]) < 3 * np.hypot(row["mag_error"], other["mag_error"])
        assert np.hypot(2 * other["x"] + 0.5 - row["x"], 2 * other["y"] + 0.5 - row["y"]) < 0.5


def test_an_empty_frame_has_an_empty_row(mocks):
    cutout = next(mocks.read())
    nothing = replace(cutout, flux=np.full_like(cutout.flux, np.nan), ivar=np.zeros_like(cutout.ivar))
    for name in (DECODER, WRITER):
        (row,) = rows([nothing], mocks.info, name)
        assert row["flag"] & Flag.NOTHING and len(row["sma"]) == 0 and np.isnan(row["mag"])


def test_the_same_pixels_give_the_same_bytes(mocks, tables):
    for name, table in tables.items():
        assert str(sl.profile(mocks, with_=name).to_pylist()) == str(table.to_pylist())  # NaN equals NaN
