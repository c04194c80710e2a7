"""Vectors of a survey's galaxies: what they may depend on, what is computed anew, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import skyloom as sl
from skyloom.cli.main import app
from skyloom.data import store
from skyloom.data.embeddings import read_embeddings
from skyloom.errors import RecipeError, RequestError
from skyloom.infer import embed as module
from skyloom.infer.embed import CHUNK, encoder_of
from skyloom.sky.grid import SYMMETRIES, turn

RECIPES = ("simclr", "vae", "masked_autoencoder")


@pytest.fixture(scope="module")
def runs(tiny_survey_once, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    return {
        recipe: sl.train(recipe, tiny_survey_once, folder / recipe, size="smoke", settings={"steps": "3"}).path
        for recipe in RECIPES
    }


@pytest.fixture(scope="module")
def encoder(runs):
    return encoder_of(runs["simclr"])


def pixels(survey):
    return survey.cutouts_at(np.arange(len(survey)))


def with_facts(survey, tmp_path, **changes):
    """The same pixels under other facts."""
    return store.write(tmp_path / "other.lance", replace(survey.info, **changes), survey.read())


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_command_keeps_a_vector_of_every_object_with_the_hash_of_the_weights(runs, recipe, tiny_survey):
    result = CliRunner().invoke(app, ["embed", str(tiny_survey.path), "--with", str(runs[recipe]), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["made"] == 8
    found = read_embeddings(sl.open(tiny_survey.path), recipe)
    assert len(found.ids) == 8 and found.hash == encoder_of(runs[recipe]).hash
    assert found.vectors.shape[1] == encoder_of(runs[recipe]).dimension and np.isfinite(found.vectors).all()
    assert len(np.unique(found.vectors.round(4), axis=0)) == 8


@pytest.mark.parametrize("recipe", RECIPES)
@settings(max_examples=8)
@given(filling=st.sampled_from([np.nan, np.inf, -1e30, 1e30]), seed=st.integers(0, 20))
def test_no_vector_depends_on_a_bad_pixel(runs, recipe, tiny_survey_once, filling, seed):
    flux, ivar = pixels(sl.open(tiny_survey_once))
    bad = np.random.default_rng(seed).random(flux.shape) < 0.03
    ivar = np.where(bad, np.float32(0), ivar)
    there = encoder_of(runs[recipe])
    one, other = (there.vectors(np.where(ivar > 0, flux, np.float32(fill)), ivar) for fill in (0.0, filling))
    assert (one == other).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_vector_is_the_same_whatever_comes_with_it(runs, recipe, tiny_survey):
    flux, ivar = (np.tile(part, (5, 1, 1, 1)) for part in pixels(tiny_survey))
    rng = np.random.default_rng(0)
    flux = flux + rng.normal(0, 0.5, flux.shape).astype(np.float32)
    there, order = encoder_of(runs[recipe]), rng.permutation(len(flux))
    together = there.vectors(flux, ivar)
    assert len(flux) > CHUNK
    assert (there.vectors(flux[order], ivar[order]) == together[order]).all()
    assert (there.vectors(flux[7:8], ivar[7:8]) == together[7]).all()


def test_the_eight_symmetries_of_an_image_have_one_vector(encoder, tiny_survey):
    flux, ivar = pixels(tiny_survey)
    upright = encoder.vectors(flux, ivar)
    for k in SYMMETRIES:
        turned = encoder.vectors(*(np.ascontiguousarray(turn(part, k)) for part in (flux, ivar)))
        np.testing.assert_allclose(turned, upright, atol=1e-4 * np.abs(upright).max())


@pytest.mark.parametrize("recipe", RECIPES)
def test_another_unit_of_flux_changes_nothing(runs, recipe, tiny_survey):
    """Times 1e-12, and the zero point with it: AB magnitudes stay."""
    flux, ivar = pixels(tiny_survey)
    there = encoder_of(runs[recipe])
    bands = tuple(replace(band, zero_point=band.zero_point - 30) for band in tiny_survey.info.bands)
    other = there.vectors(
        (flux * 1e-12).astype(np.float32), (ivar * 1e24).astype(np.float32), info=replace(tiny_survey.info, bands=bands)
    )
    own = there.vectors(flux, ivar, info=tiny_survey.info)
    np.testing.assert_allclose(other, own, atol=2e-4 * np.abs(own).max())
    np.testing.assert_allclose(there.vectors(flux, ivar), own)


def test_the_level_of_the_sky_changes_nothing(encoder, tiny_survey):
    flux, ivar = pixels(tiny_survey)
    own, other = encoder.vectors(flux, ivar), encoder.vectors(flux + np.float32(40), ivar)
    np.testing.assert_allclose(other, own, atol=2e-2 * np.abs(own).max())
    level = np.full(flux.shape[:2], 2.0)
    np.testing.assert_allclose(
        encoder.vectors(flux + np.float32(40), ivar, sky=level + 40), encoder.vectors(flux, ivar, sky=level), atol=1e-2
    )


def test_bands_come_in_any_order_and_some_may_be_missing(encoder, tiny_survey):
    flux, ivar = pixels(tiny_survey)
    g, r, i = tiny_survey.info.bands
    own = encoder.vectors(flux, ivar)
    turned = encoder.vectors(
        flux[:, ::-1].copy(), ivar[:, ::-1].copy(), info=replace(tiny_survey.info, bands=(i, r, g))
    )
    np.testing.assert_array_equal(turned, own)
    two = encoder.vectors(flux[:, :2], ivar[:, :2], info=replace(tiny_survey.info, bands=(g, r)))
    blind = ivar.copy()
    blind[:, 2] = 0
    np.testing.assert_array_equal(encoder.vectors(flux, blind), two)
    assert np.abs(two - own).max() > 1e-4


def test_only_new_rows_are_computed_and_old_bytes_stay(runs, tiny_survey, tmp_path, monkeypatch):
    cutouts = list(tiny_survey.read())
    survey = store.write(tmp_path / "grows.lance", tiny_survey.info, cutouts[:5])
    first = sl.embed(survey, runs["simclr"])
    old = read_embeddings(first.survey, "simclr")
    store.write(survey.path, tiny_survey.info, cutouts[5:], append=True)
    asked = []
    plain = module._vectors_of
    monkeypatch.setattr(module, "_vectors_of", lambda *given: asked.extend(given[-1]) or plain(*given))
    second = sl.embed(survey.path, runs["simclr"])
    assert (first.made, second.made, second.kept) == (5, 3, 5)
    assert asked == [cutout.object_id for cutout in cutouts[5:]]
    new = read_embeddings(second.survey, "simclr")
    assert new.vectors[:5].tobytes() == old.vectors.tobytes()
    whole = sl.embed(tiny_survey, runs["simclr"]).survey
    assert read_embeddings(whole, "simclr").vectors.tobytes() == new.vectors.tobytes()
    assert sl.embed(second.survey, runs["simclr"]).made == 0


def test_a_call_that_was_killed_has_kept_what_it_did(runs, tiny_survey, monkeypatch):
    monkeypatch.setattr(module, "SAVED", -1.0)
    monkeypatch.setattr(module, "SHARE", 0.0)
    monkeypatch.setattr(module, "CHUNK", 3)

    def stop(done, total, what):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sl.embed(tiny_survey, runs["simclr"], progress=stop)
    there = read_embeddings(sl.open(tiny_survey.path), "simclr")
    assert len(there.ids) == 3
    rest = sl.embed(tiny_survey.path, runs["simclr"])
    assert (rest.made, rest.kept) == (5, 3)


def test_weights_that_changed_replace_all_vectors(runs, tiny_survey):
    other = replace(encoder_of(runs["simclr"]), hash="0" * 16)
    sl.embed(tiny_survey, runs["simclr"])
    assert sl.embed(tiny_survey.path, other).made == 8
    assert read_embeddings(sl.open(tiny_survey.path), "simclr").hash == "0" * 16


def test_an_object_without_a_good_pixel_has_no_vector_and_is_named(runs, tiny_survey, tmp_path):
    cutouts = list(tiny_survey.read())
    blind = replace(cutouts[3], ivar=np.zeros_like(cutouts[3].ivar))
    survey = store.write(tmp_path / "blind.lance", tiny_survey.info, [*cutouts[:3], blind])
    found = sl.embed(survey, runs["simclr"])
    assert found.blind == ("galaxy-3",) and found.made == 3


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"bands": ("g", "r", "X")}, "knows g, r, i and has never seen X"),
        ({"pixel_scale": 0.4}, "pixels of 0.2 arcsec and the survey's have 0.4"),
        ({"pixel_scale": None}, "an unknown size"),
    ],
)
def test_other_bands_and_pixels_are_refused_before_any_work(runs, tiny_survey, tmp_path, changes, words):
    if "bands" in changes:
        bands = zip(changes["bands"], tiny_survey.info.bands, strict=True)
        changes = {"bands": tuple(replace(band, name=name) for name, band in bands)}
    other = with_facts(tiny_survey, tmp_path, **changes)
    with pytest.raises(RequestError, match=words):
        sl.embed(other, runs["simclr"])
    assert not [name for name in sl.open(other.path).column_names if name.startswith("embedding")]


def test_weights_that_always_saw_all_bands_want_all(runs, tiny_survey, tmp_path):
    g, r, _ = tiny_survey.info.bands
    flux, ivar = pixels(tiny_survey)
    with pytest.raises(RequestError, match="needs all of g, r, i, and i are not there"):
        encoder_of(runs["vae"]).vectors(flux[:, :2], ivar[:, :2], info=replace(tiny_survey.info, bands=(g, r)))


def test_other_weights_are_refused_by_what_they_are():
    with pytest.raises(RequestError, match="galaxy_edm, which makes no vectors"):
        encoder_of("galaxy-kids")
    with pytest.raises(RequestError, match="no encoder 'nothing'"):
        encoder_of("nothing")


def test_an_autoencoder_draws_galaxies_and_sorts_them_and_mends_nothing(runs, tiny_survey, tmp_path):
    made = sl.simulate(tmp_path / "new.lance", runs["vae"], 40, seed=3)
    again = sl.simulate(tmp_path / "again.lance", runs["vae"], 3, seed=3)
    flux = np.stack([cutout.flux for cutout in made.read()])
    assert flux.shape == (40, 3, 24, 24) and np.isfinite(flux).all()
    assert all((one == other.flux).all() for one, other in zip(flux, again.read(), strict=False))
    noise = encoder_of(runs["vae"]).noise
    assert np.median(flux.std((0, 2, 3)) / noise) > 0.9
    survey = sl.embed(tiny_survey, runs["vae"]).survey
    sorts = survey.table(["cluster_vae", "cluster_vae_probability"])
    assert set(sorts["cluster_vae"].to_pylist()) <= {0, 1}
    assert all(0.5 <= share <= 1 for share in sorts["cluster_vae_probability"].to_pylist())
    with pytest.raises(RequestError, match="takes no noise away"):
        sl.transfer(tiny_survey.path, tmp_path / "out.lance", runs["vae"])
    with pytest.raises(RequestError, match="does not suit"):
        sl.simulate(tmp_path / "no.lance", runs["vae"], 2, sampler="heun")


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "numbers, words",
    [
        ({"crop": "25"}, "multiple of"),
        ({"crop": "80"}, "64 pixels a side"),
        ({"dust": "0.2"}, "dust=0.2 makes galaxies"),
    ],
)
def test_what_cannot_be_learnt_is_said(recipe, numbers, words, tiny_survey, tmp_path):
    with pytest.raises(RecipeError, match=words):
        sl.train(recipe, tiny_survey, tmp_path / "run", size="smoke", settings=numbers)


@pytest.mark.parametrize("loss", ["margin", "triplet"])
def test_other_losses_can_be_chosen(loss, tiny_survey, tmp_path):
    run = sl.train("simclr", tiny_survey, tmp_path / "run", size="smoke", settings={"steps": "1", "loss": loss})
    assert run.record["settings"]["loss"] == loss


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_that_was_killed_ends_with_the_same_bytes(runs, recipe, tiny_survey_once, tmp_path, monkeypatch):
    monkeypatch.setattr("skyloom.recipes.training.SAVE", 0.0)

    def stop(done, total, what):
        if what == "steps" and done == 2:
            raise KeyboardInterrupt

    given = {"size": "smoke", "settings": {"steps": "3"}}
    with pytest.raises(KeyboardInterrupt):
        sl.train(recipe, tiny_survey_once, tmp_path / "run", **given, progress=stop)
    run = sl.train(recipe, tiny_survey_once, tmp_path / "run", **given)
    whole = (runs[recipe] / "weights.safetensors").read_bytes()
    assert (run.path / "weights.safetensors").read_bytes() == whole
