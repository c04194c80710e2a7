"""Galaxies from noise: from a survey to a trained run to a new survey, and everything that is refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import skyloom as sl
from skyloom.cli.main import app
from skyloom.data.cutout import Band, SurveyInfo
from skyloom.errors import CutoutError, RecipeError, RequestError, StoreError
from skyloom.infer.generator import generator_of, matched, unit_noise
from skyloom.infer.simulate import draw
from skyloom.recipes.training import train

pytest.importorskip("galsim")

RECIPES = ("galaxy_edm", "astroddpm")


@pytest.fixture(scope="module")
def mocks(tmp_path_factory):
    return sl.mock(tmp_path_factory.mktemp("simulate") / "mocks.lance", 24, size=32, bands="gr", seed=5)


@pytest.fixture(scope="module")
def runs(mocks, tmp_path_factory):
    """A run of each recipe, trained by the command."""
    folder, made = tmp_path_factory.mktemp("generators"), {}
    for recipe in RECIPES:
        out = folder / recipe
        result = CliRunner().invoke(app, ["train", recipe, str(mocks.path), "--out", str(out), "--size", "smoke"])
        assert result.exit_code == 0, result.output
        made[recipe] = out
    return made


def pixels(survey) -> np.ndarray:
    return np.stack([cutout.flux for cutout in survey.read()])


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_command_writes_a_survey_like_the_one_learnt_from(runs, mocks, recipe, tmp_path):
    out = tmp_path / "new.lance"
    result = CliRunner().invoke(
        app, ["simulate", str(out), "--with", str(runs[recipe]), "--n", "5", "--steps", "3", "--json"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["objects"] == 5
    survey = sl.open(out)
    assert [(b.name, b.zero_point) for b in survey.info.bands] == [(b.name, b.zero_point) for b in mocks.info.bands]
    assert survey.info.pixel_scale == mocks.info.pixel_scale
    side = 16 if recipe == "astroddpm" else 32
    assert pixels(survey).shape == (5, 2, side, side) and np.isfinite(pixels(survey)).all()
    assert any("no pixel is real" in note for note in survey.info.notes)
    assert any(generator_of(runs[recipe]).hash in note for note in survey.info.notes)
    cutout = next(survey.read())
    np.testing.assert_allclose(cutout.ivar[:, 0, 0], cutout.sky_rms.astype(float) ** -2, rtol=1e-5)


@pytest.mark.parametrize("sampler", ["dpm", "heun", "ddim", "ancestral"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_same_seed_same_bytes_and_a_galaxy_does_not_depend_on_how_many_are_drawn(runs, recipe, sampler):
    generator = generator_of(runs[recipe])
    few = np.stack([one for one, _ in zip(draw(generator, 3, 3, 7, sampler), range(3), strict=False)])
    many = np.stack([one for one, _ in zip(draw(generator, 20, 3, 7, sampler), range(20), strict=False)])
    other = np.stack([one for one, _ in zip(draw(generator, 3, 3, 8, sampler), range(3), strict=False)])
    assert few.tobytes() == many[:3].tobytes()
    assert not np.array_equal(few, other) and not np.array_equal(many[0], many[1])


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(runs, mocks, recipe, tmp_path, monkeypatch):
    def kill(step, *_):
        if step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("skyloom.recipes.training.SAVE", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(
            recipe, mocks, tmp_path / "run", size="smoke", progress=lambda done, _, what: what == "steps" and kill(done)
        )
    train(recipe, mocks, tmp_path / "run", size="smoke")
    again, whole = (load_file(path / "weights.safetensors") for path in (tmp_path / "run", runs[recipe]))
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_the_published_recipe_forgets_what_it_clips_and_ours_does_not(runs):
    flux = torch.tensor([-50.0, 1e6]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    for recipe, kept in (("galaxy_edm", True), ("astroddpm", False)):
        scaling = generator_of(runs[recipe]).scaling
        back = scaling.flux(scaling.scaled(flux))
        assert torch.allclose(back, flux, rtol=1e-4) is kept


def test_the_noise_of_a_galaxy_is_its_own():
    one, two = unit_noise(3, [4], (2, 8, 8)), unit_noise(3, [9, 4], (2, 8, 8))
    assert torch.equal(one[0], two[1]) and not torch.equal(two[0], two[1])
    assert not torch.equal(unit_noise(4, [4], (2, 8, 8)), one)


def info_of(*bands: Band, pixel_scale=0.2) -> SurveyInfo:
    return SurveyInfo(bands, (32, 32), pixel_scale)


def test_bands_are_matched_by_name_and_fluxes_by_zero_point(runs):
    generator = generator_of(runs["galaxy_edm"])
    zero = generator.info.bands[1].zero_point
    match = matched(generator, info_of(Band("r", zero - 2.5)))
    assert match.bands == (None, 0) and match.gain[1] == pytest.approx(10.0)
    flux = np.full((1, 4, 4), 3.0, np.float32)
    entered = match.enter(flux)
    assert np.isnan(entered[0]).all() and entered[1, 0, 0] == pytest.approx(30)
    np.testing.assert_allclose(match.leave(entered, 1), flux)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (info_of(Band("r", 30.0), Band("w1", 22.5)), "never seen w1"),
        (info_of(Band("r", None)), "zero point"),
        (info_of(Band("r", 30.0), pixel_scale=0.26), "pixels of 0.2"),
        (info_of(Band("r", 30.0), pixel_scale=None), "unknown size"),
    ],
)
def test_a_survey_that_the_weights_do_not_know_is_refused(runs, info, reason):
    with pytest.raises(RequestError, match=reason):
        matched(generator_of(runs["galaxy_edm"]), info)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 2, "steps": 0}, "steps=0"),
        ({"n": 2, "sampler": "magic"}, "no sampler 'magic'"),
        ({"n": 2, "with_": "profile-decoder"}, "makes no galaxies"),
        ({"n": 2, "with_": "nothing-of-the-kind"}, "no generator"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_nothing_is_written(runs, arguments, reason, tmp_path):
    given = {"with_": runs["galaxy_edm"], **arguments}
    with pytest.raises(RequestError, match=reason):
        sl.simulate(tmp_path / "new.lance", **given)
    assert not list(tmp_path.iterdir())


def test_more_steps_than_the_published_diffusion_has_are_refused(runs, tmp_path):
    with pytest.raises(RequestError, match="at most 1000"):
        sl.simulate(tmp_path / "new.lance", runs["astroddpm"], 2, steps=1001)


def test_a_survey_that_is_there_already_is_not_overwritten(runs, mocks):
    with pytest.raises(StoreError):
        sl.simulate(mocks.path, runs["galaxy_edm"], 2, steps=2)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"bands": "g,w1"}, CutoutError),
        ({"labels": "colour_of_the_sky"}, RequestError),
        ({"where": "true_mag_r < 0"}, RequestError),
        ({"crop": "30"}, RecipeError),
        ({"crop": "64"}, RequestError),
    ],
)
def test_images_that_cannot_be_learnt_from_are_refused(mocks, settings, error, tmp_path):
    with pytest.raises(error):
        train("galaxy_edm", mocks, tmp_path / "run", size="smoke", settings=settings)


def test_labels_that_were_learnt_are_remembered(mocks, tmp_path):
    run = train("galaxy_edm", mocks, tmp_path / "run", size="smoke", settings={"labels": "true_mag_r,true_n"})
    labels = run.facts("generator")["labels"]
    assert [one["name"] for one in labels] == ["true_mag_r", "true_n"] and labels[0]["low"] < labels[0]["high"]
    made = generator_of(tmp_path / "run").denoiser()(torch.zeros(1, 2, 32, 32), torch.tensor(1.0))
    assert made.shape == (1, 2, 32, 32)
