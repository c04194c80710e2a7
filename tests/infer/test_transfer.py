"""Transfer with a denoiser whose answer is known in closed form: pixels that are independent normal draws."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import skyloom as sl
from skyloom.data import store
from skyloom.data.pictures import read_picture
from skyloom.errors import CatalogueError, RequestError, StoreError
from skyloom.infer.generator import Generator, unit_noise
from skyloom.infer.pictures import SEEN, drawn_light
from skyloom.infer.transfer import noise_level, transfer
from skyloom.sky.background import sky_level
from skyloom.sky.scaling import Asinh

MEAN, SPREAD, SIDE = 0.4, 1.5, 32
NOISE, LIGHT = (0.5, 0.5, 0.5), (1000.0, 2000.0, 3000.0)
BANDS = tuple(sl.Band(name, 22.5, 0.7, "nanomaggy") for name in "gri")


class Normal(torch.nn.Module):
    """The ideal denoiser of pixels that are N(MEAN, SPREAD²)."""

    def forward(self, x, sigma):
        return (sigma**2 * MEAN + SPREAD**2 * x) / (sigma**2 + SPREAD**2)


def expected(clean, sigma, noise):
    """Where the probability flow takes clean + σ noise: its distance from the mean shrinks as its spread does."""
    return MEAN + (clean + sigma * noise - MEAN) * SPREAD / np.hypot(SPREAD, sigma)


@pytest.fixture
def generator():
    info = sl.SurveyInfo(BANDS, (SIDE, SIDE), 0.2, source="made up", citation="nobody")
    return Generator(
        "normal", "0" * 16, "galaxy_edm", info, NOISE, LIGHT, Asinh(NOISE), (0.02, 150.0), 0.0,
        0, 4, lambda device: Normal(),
    )  # fmt: skip


def flux_of(survey):
    return np.stack([cutout.flux for cutout in survey.read()])


def sky_free(survey):
    """The middle of each cutout, sky-subtracted, as a generator should be given it."""
    low = (64 - SIDE) // 2
    return np.stack([c.flux - c.sky[:, None, None] for c in survey.read()])[..., low : low + SIDE, low : low + SIDE]


@pytest.fixture
def measured(tiny_survey, tmp_path):
    """The eight galaxies, with their skies in the table."""
    cutouts = []
    for cutout in tiny_survey.read():
        level, rms = (values.astype(np.float32) for values in sky_level(cutout.flux, cutout.ivar))
        cutouts.append(replace(cutout, sky=level, sky_rms=rms))
    return store.write(tmp_path / "measured.lance", tiny_survey.info, cutouts)


def test_strength_0_gives_the_image_back_to_float_precision(measured, generator, tmp_path):
    made = transfer(measured, tmp_path / "out.lance", generator, strength=0)
    np.testing.assert_allclose(flux_of(made.survey), sky_free(measured), rtol=2e-6, atol=1e-6)
    assert made.sigma == 0
    table = {name: made.conserved[name].to_numpy() for name in made.conserved.column_names}
    np.testing.assert_allclose(table["flux_after"], table["flux_before"], rtol=1e-5)
    assert table["shift"].max() < 1e-3
    np.testing.assert_allclose(table["half_light_after"], table["half_light_before"], rtol=1e-3)


@pytest.mark.parametrize("strength", [0.3, 0.6, 0.9])
def test_the_result_is_the_closed_form_of_the_normal_law(strength, measured, generator, tmp_path):
    made = transfer(measured, tmp_path / "out.lance", generator, strength=strength, seed=4, steps=400)
    clean = np.arcsinh(sky_free(measured) / 0.5)
    noise = unit_noise(4, range(8), (3, SIDE, SIDE)).numpy()
    wanted = expected(clean, noise_level(0.02, 150, strength), noise)
    np.testing.assert_allclose(np.arcsinh(flux_of(made.survey) / 0.5), wanted, atol=0.02)


def test_strength_1_leaves_nothing_of_the_image(measured, generator, tmp_path):
    made = transfer(measured, tmp_path / "out.lance", generator, strength=1)
    dark = store.write(
        tmp_path / "dark.lance",
        measured.info,
        [replace(c, flux=np.broadcast_to(c.sky[:, None, None], c.flux.shape).copy()) for c in measured.read()],
    )
    other = transfer(dark, tmp_path / "other.lance", generator, strength=1)
    assert np.array_equal(flux_of(made.survey), flux_of(other.survey))
    scaled = np.arcsinh(flux_of(made.survey) / 0.5)
    assert scaled.mean() == pytest.approx(MEAN, abs=0.05) and scaled.std() == pytest.approx(SPREAD, rel=0.02)


def test_more_strength_leaves_less_of_the_image(measured, generator, tmp_path):
    clean, alike = np.arcsinh(sky_free(measured) / 0.5).ravel(), []
    for strength in (0, 0.25, 0.5, 0.75, 1):
        made = transfer(measured, tmp_path / f"{strength}.lance", generator, strength=strength)
        alike.append(np.corrcoef(np.arcsinh(flux_of(made.survey) / 0.5).ravel(), clean)[0, 1])
    assert alike[0] > 0.999 and abs(alike[-1]) < 0.02
    assert all(before > after for before, after in pairwise(alike))


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_noise_level_grows_with_strength_between_its_ends(one, other):
    low, high = sorted((one, other))
    assert noise_level(0.02, 150, low) <= noise_level(0.02, 150, high)
    assert noise_level(0.02, 150, 0) == 0 and noise_level(0.02, 150, 1) == pytest.approx(150)


def test_same_seed_same_bytes_and_an_image_does_not_depend_on_the_others(measured, generator, tmp_path):
    made = transfer(measured, tmp_path / "a.lance", generator, seed=3)
    again = transfer(measured, tmp_path / "b.lance", generator, seed=3)
    assert made.survey.content_hash == again.survey.content_hash
    few = store.write(tmp_path / "few.lance", measured.info, list(measured.read())[:3])
    part = transfer(few, tmp_path / "c.lance", generator, seed=3)
    np.testing.assert_allclose(flux_of(part.survey), flux_of(made.survey)[:3], rtol=1e-6)
    other = transfer(measured, tmp_path / "d.lance", generator, seed=4)
    assert not np.allclose(flux_of(other.survey), flux_of(made.survey))


def test_the_result_is_a_survey_of_the_generator_that_says_how_it_was_made(measured, generator, tmp_path):
    survey = transfer(measured, tmp_path / "out.lance", generator, strength=0.5, seed=7).survey
    assert survey.info.bands == generator.info.bands and survey.info.shape == (SIDE, SIDE)
    assert "strength 0.5" in " ".join(survey.info.notes) and "seed 7" in " ".join(survey.info.notes)
    first = next(survey.read())
    assert first.object_id == "galaxy-0" and (first.sky == 0).all() and first.sky_rms == pytest.approx(NOISE)
    assert first.ivar == pytest.approx(4)


def test_the_unit_of_the_source_does_not_matter(measured, generator, tmp_path):
    bands = tuple(replace(band, zero_point=25.0, unit="counts") for band in measured.info.bands)
    cutouts = [
        replace(c, flux=10 * c.flux, ivar=c.ivar / 100, sky=10 * c.sky, sky_rms=10 * c.sky_rms) for c in measured.read()
    ]
    counts = store.write(tmp_path / "counts.lance", replace(measured.info, bands=bands), cutouts)
    ours, theirs = (
        transfer(survey, tmp_path / f"{survey.path.stem}-out.lance", generator).survey for survey in (measured, counts)
    )
    np.testing.assert_allclose(flux_of(ours), flux_of(theirs), rtol=1e-3, atol=1e-4)


def test_what_lies_under_a_bad_pixel_changes_nothing(measured, generator, tmp_path):
    made = []
    for value in (np.nan, 1e30, 0.0):
        cutouts = []
        for cutout in measured.read():
            flux, ivar = cutout.flux.copy(), cutout.ivar.copy()
            flux[:, 28:31, 30], ivar[:, 28:31, 30] = value, 0
            cutouts.append(replace(cutout, flux=flux, ivar=ivar))
        survey = store.write(tmp_path / f"{value}.lance", measured.info, cutouts)
        made.append(transfer(survey, tmp_path / f"{value}-out.lance", generator, strength=0.3).survey.content_hash)
    assert len(set(made)) == 1


def test_other_pixels_are_resampled_and_no_light_is_lost(measured, generator, tmp_path):
    fine = replace(generator, info=replace(generator.info, pixel_scale=0.4))
    made = transfer(measured, tmp_path / "out.lance", fine, strength=0)
    whole = np.stack([np.where(c.ivar > 0, c.flux - c.sky[:, None, None], 0) for c in measured.read()])
    pairs = whole.reshape(8, 3, SIDE, 2, SIDE, 2).sum((3, 5))
    np.testing.assert_allclose(flux_of(made.survey)[..., 1:, 1:], pairs[..., 1:, 1:], rtol=1e-4, atol=1e-4)
    assert any("Resampled from pixels of 0.2 arcsec to 0.4" in note for note in made.survey.info.notes)


def test_bands_that_the_source_lacks_borrow_the_light_of_the_nearest(measured, generator, tmp_path):
    info = replace(measured.info, bands=measured.info.bands[:2])
    cutouts = [
        replace(c, flux=c.flux[:2], ivar=c.ivar[:2], sky=c.sky[:2], sky_rms=c.sky_rms[:2]) for c in measured.read()
    ]
    made = transfer(store.write(tmp_path / "gr.lance", info, cutouts), tmp_path / "out.lance", generator, strength=0)
    flux = flux_of(made.survey)
    np.testing.assert_allclose(flux[:, 2], flux[:, 1] * LIGHT[2] / LIGHT[1], rtol=1e-5, atol=1e-5)
    assert any("i from r" in note for note in made.survey.info.notes)


def test_what_does_not_suit_is_refused(measured, generator, tmp_path):
    out = tmp_path / "out.lance"
    with pytest.raises(RequestError, match=r"strength=1\.2"):
        transfer(measured, out, generator, strength=1.2)
    strange = replace(generator, info=replace(generator.info, bands=(sl.Band("u", 22.5), *BANDS[1:])))
    with pytest.raises(RequestError, match="has never seen g"):
        transfer(measured, out, strange)
    vague = store.write(tmp_path / "vague.lance", replace(measured.info, pixel_scale=None), measured.read())
    with pytest.raises(RequestError, match="unknown size"):
        transfer(vague, out, generator)
    assert len(transfer(vague, out, generator, anyway=True).survey) == 8
    with pytest.raises(StoreError, match="exists"):
        transfer(measured, out, generator)
    sl.export(measured, tmp_path / "tables", format="parquet")
    with pytest.raises(RequestError, match="skyloom ingest"):
        transfer(tmp_path / "tables", tmp_path / "new.lance", generator)


def test_fits_files_do_as_well_as_a_survey(measured, generator, tmp_path):
    sl.export(measured, tmp_path / "files", format="fits")
    ours = transfer(measured, tmp_path / "ours.lance", generator, strength=0).survey
    theirs = transfer(tmp_path / "files", tmp_path / "theirs.lance", generator, strength=0).survey
    by_id = {cutout.object_id: cutout.flux for cutout in theirs.read()}
    for cutout in ours.read():
        np.testing.assert_allclose(by_id[cutout.object_id], cutout.flux, atol=0.02)


def test_what_was_conserved_is_told_in_words(measured, generator, tmp_path):
    told = transfer(measured, tmp_path / "out.lance", generator, strength=0).told
    assert told[0].startswith("flux in g: ") and "→" in told[0]
    assert told[-2] == "centre: moved by 0 arcsec" or "arcsec" in told[-2]
    assert told[-1].startswith("half-light radius: ")


# Pictures


def picture(pixels, folder, name="cartoon.png"):
    Image.fromarray(np.asarray(pixels, np.uint8)).save(folder / name)
    return folder / name


def disc(value, background=0, side=128, channels=3):
    y, x = np.indices((side, side)) - (side - 1) / 2
    image = np.full((side, side, channels), background, float)
    image[np.hypot(x, y) < side / 5] = value
    return image


def light_of(path, generator):
    return drawn_light(read_picture(path, str(path)), generator.info, generator.light, generator.noise)


def test_red_goes_to_the_reddest_band_and_blue_to_the_bluest(generator, tmp_path):
    for value, lit in (((255, 0, 0), 2), ((0, 255, 0), 1), ((0, 0, 255), 0)):
        light = light_of(picture(disc(value), tmp_path), generator).sum((1, 2))
        assert light[lit] > 0 and np.delete(light, lit) == pytest.approx(0)


def test_white_has_the_colour_of_a_typical_galaxy_and_stands_above_the_noise(generator, tmp_path):
    for image in (disc((255, 255, 255)), disc((255, 255, 255))[..., 0]):
        light = light_of(picture(image, tmp_path), generator)
        np.testing.assert_allclose(light.sum((1, 2)) / light.sum(), np.array(LIGHT) / sum(LIGHT), rtol=1e-5)
        together = (light / np.array(NOISE)[:, None, None]).sum(0) / 3**0.5
        assert np.median(together[together > 0.1 * together.max()]) == pytest.approx(SEEN, rel=1e-5)


def test_ink_on_paper_is_the_negative_of_chalk_on_slate(generator, tmp_path):
    chalk = light_of(picture(disc((255, 255, 255)), tmp_path), generator)
    ink = light_of(picture(disc((0, 0, 0), 255), tmp_path), generator)
    np.testing.assert_allclose(ink, chalk, atol=1e-4)
    red = light_of(picture(disc((255, 0, 0), 255), tmp_path), generator).sum((1, 2))
    assert red[2] > 0 and red[:2] == pytest.approx(0)


def test_the_upper_edge_of_a_picture_is_the_last_row_and_its_middle_square_is_taken(generator, tmp_path):
    wide = np.zeros((64, 128, 3))
    wide[4:12, 60:68] = 255
    light = light_of(picture(wide, tmp_path), generator).sum(0)
    y, x = (np.average(axis, weights=light) for axis in np.indices(light.shape))
    assert (x, y) == pytest.approx(((SIDE - 1) / 2, SIDE - 1 - 3.5), abs=0.01)


def test_a_grey_background_is_sky_and_transparent_pixels_too(generator, tmp_path):
    black = light_of(picture(disc((200, 180, 160)), tmp_path), generator)
    grey = light_of(picture(disc((230, 210, 190), 30), tmp_path), generator)
    np.testing.assert_allclose(grey, black, rtol=1e-4, atol=1e-4)
    clear = np.concatenate([disc((200, 180, 160), 90), disc(255, 0, channels=1)], axis=2)
    np.testing.assert_allclose(light_of(picture(clear, tmp_path), generator), black, rtol=1e-4, atol=1e-4)
    ink = np.concatenate([disc(0, 0), disc(255, 0, channels=1)], axis=2)
    white = light_of(picture(disc(255), tmp_path), generator)
    np.testing.assert_allclose(light_of(picture(ink, tmp_path), generator), white, rtol=1e-4, atol=1e-4)


def test_a_black_picture_stays_dark(generator, tmp_path):
    assert not light_of(picture(np.zeros((40, 40, 3)), tmp_path), generator).any()


def test_a_survey_of_pictures_takes_levels_as_they_are(generator, tmp_path):
    bands = tuple(sl.Band(name, unit="uint8 (display stretch)") for name in "RGB")
    zoo = replace(generator, info=replace(generator.info, bands=bands, pixel_scale=None))
    light = light_of(picture(disc((200, 100, 50)), tmp_path), zoo)
    assert light[:, SIDE // 2, SIDE // 2] == pytest.approx([200, 100, 50])


def test_a_folder_of_pictures_becomes_a_survey_named_after_them(generator, tmp_path):
    folder = tmp_path / "cartoons"
    folder.mkdir()
    for name in ("ring.png", "spiral.jpg"):
        picture(disc((255, 240, 200)), folder, name)
    made = transfer(folder, tmp_path / "out.lance", generator, strength=0)
    assert made.survey.table(["object_id"])["object_id"].to_pylist() == ["ring", "spiral"]
    assert any("pictures" in note for note in made.survey.info.notes)
    single = transfer(folder / "ring.png", tmp_path / "one.lance", generator, strength=0)
    np.testing.assert_array_equal(flux_of(single.survey)[0], flux_of(made.survey)[0])
    picture(disc((255, 240, 200)), folder, "ring.jpg")
    with pytest.raises(CatalogueError, match="ring"):
        transfer(folder, tmp_path / "new.lance", generator)
