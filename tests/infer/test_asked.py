"""Galaxies that are asked for: from a survey with truth to weights that were told of it, and what is refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import skyloom as sl
from skyloom.cli.main import app
from skyloom.errors import CatalogueError, RecipeError, RequestError
from skyloom.infer.asked import Asked, asked_of
from skyloom.infer.concept import concept_error
from skyloom.infer.generator import generator_of
from skyloom.infer.simulate import draw
from skyloom.recipes.training import train

pytest.importorskip("galsim")

LABELS = "r_mag=true_mag_r,r_e=log(true_r_e),pa=angle(true_pa),sb=true_sb_r"


@pytest.fixture(scope="module")
def mocks(tmp_path_factory):
    return sl.mock(tmp_path_factory.mktemp("asked") / "mocks.lance", 24, size=32, bands="gr", seed=5)


@pytest.fixture(scope="module")
def plain(mocks, tmp_path_factory):
    return train("galaxy_edm", mocks, tmp_path_factory.mktemp("plain") / "plain", size="smoke")


@pytest.fixture(scope="module")
def told(mocks, plain, tmp_path_factory):
    """Weights that were told of a number, a size, an angle and a profile, from ones that were told nothing."""
    settings = {"labels": LABELS, "start": str(plain.path), "steps": "20", "learning_rate": "0.02"}
    return train("galaxy_edm", mocks, tmp_path_factory.mktemp("told") / "told", size="smoke", settings=settings)


def pixels(survey) -> np.ndarray:
    return np.stack([cutout.flux for cutout in survey.read()])


def first(generator, asked, n=2):
    return np.stack([flux for flux, _ in zip(draw(generator, n, 3, 7, "dpm", "cpu", asked), range(n), strict=False)])


def test_weights_that_were_told_nothing_are_a_start_that_nothing_changes(mocks, plain, tmp_path):
    """With a learning rate of nought, whatever is asked for, the galaxies are those of the weights before."""
    settings = {"labels": LABELS, "start": str(plain.path), "learning_rate": "0"}
    run = train("galaxy_edm", mocks, tmp_path / "still", size="smoke", settings=settings)
    before, after = (load_file(path / "weights.safetensors") for path in (plain.path, run.path))
    for name, tensor in before.items():  # to the half precision in which both are kept
        torch.testing.assert_close(after[name], tensor, rtol=2e-3, atol=1e-3, check_dtype=False)
    generator = generator_of(run.path)
    assert np.array_equal(first(generator, asked_of(generator, 2, {"r_mag": 21.0})), first(generator, Asked()))


def test_weights_that_were_told_something_else_are_no_start(mocks, told, tmp_path):
    settings = {"labels": "r_mag=true_mag_r", "start": str(told.path)}
    with pytest.raises(RecipeError, match="was told r_mag=true_mag_r, r_e="):
        train("galaxy_edm", mocks, tmp_path / "run", size="smoke", settings=settings)


def test_the_command_asks_and_keeps_what_was_asked_for(told, tmp_path):
    out = tmp_path / "new.lance"
    answer = CliRunner().invoke(app, [
        "simulate", str(out), "--with", str(told.path), "--n", "2", "--steps", "2", "--label", "r_mag=21",
        "--label", "r_e=40", "--guidance", "2", "--json",
    ])  # fmt: skip
    assert answer.exit_code == 0, answer.output
    summary = json.loads(answer.stdout.splitlines()[-1])
    assert summary["asked"] == {"r_mag": "21", "r_e": "40"} and summary["guidance"] == 2
    assert "r_e = 40 arcsec lies outside the 0." in answer.stderr and "arcsec learnt from" in answer.stderr
    survey = sl.open(out)
    assert survey.table(["asked_r_mag", "asked_r_e"]).to_pylist() == [{"asked_r_mag": 21.0, "asked_r_e": 40.0}] * 2
    assert any("r_mag = 21 mag" in note for note in survey.info.notes) and "Guidance 2." in survey.info.notes


def test_what_is_asked_for_is_heard_and_each_galaxy_hears_its_own(told):
    generator = generator_of(told.path)
    one, other = (first(generator, asked_of(generator, 2, {"r_mag": mag})) for mag in (20.5, 22.5))
    assert not np.array_equal(one, other) and not np.array_equal(one, first(generator, Asked()))
    mixed = first(generator, asked_of(generator, 2, {"r_mag": [20.5, 22.5]}))
    assert np.array_equal(mixed[0], one[0]) and np.array_equal(mixed[1], other[1])
    part = first(generator, asked_of(generator, 2, {"r_mag": [20.5, np.nan]}))
    assert np.array_equal(part[1], first(generator, Asked())[1])  # nothing was said of it


def test_guidance_of_nought_hears_nothing_and_above_one_more(told):
    generator = generator_of(told.path)
    silent, free, plain, strong = (
        first(generator, asked) for asked in (
            Asked(), *(asked_of(generator, 2, {"r_mag": 20.5}, guidance=guidance) for guidance in (0.0, 1.0, 3.0)),
        )
    )  # fmt: skip
    np.testing.assert_allclose(free, silent, rtol=1e-4, atol=1e-3)
    assert np.linalg.norm(strong - silent) > 1.5 * np.linalg.norm(plain - silent)


def test_a_galaxy_can_be_asked_for_by_another(told, mocks):
    """All that the weights know of it is said: vectors, numbers, and angles."""
    generator, name = generator_of(told.path), mocks.table(["object_id"])["object_id"][3].as_py()
    by_name, by_survey = (asked_of(generator, 2, like=like) for like in (f"{mocks.path}:{name}", (mocks, name)))
    assert set(by_name.values) == {"r_mag", "r_e", "pa", "sb"} and torch.equal(by_name.told, by_survey.told)
    truth = mocks.table(["true_mag_r", "true_sb_r"]).slice(3, 1).to_pylist()[0]
    columns = by_name.columns(0)
    assert columns["asked_r_mag"] == truth["true_mag_r"]
    np.testing.assert_array_equal(columns["asked_sb"], truth["true_sb_r"])
    brighter = asked_of(generator, 2, {"r_mag": 20.0}, like=(mocks, name))
    assert brighter.columns(1)["asked_r_mag"] == 20.0 and bool(brighter.told[0, 1].isfinite())
    with pytest.raises(CatalogueError):
        asked_of(generator, 2, like=(mocks, "nobody"))
    with pytest.raises(RequestError, match="SURVEY:OBJECT_ID"):
        asked_of(generator, 2, like="nothing")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"colour": 1}, r"knows no 'colour'; it can be asked for r_mag \(.* mag\), r_e \(.* arcsec\)"),
        ({"r_mag": "bright"}, "give a number"),
        ({"r_mag": float("nan")}, "is not a number that can be"),
        ({"r_mag": float("inf")}, "is not a number that can be"),
        ({"r_e": -1}, "is not a number that can be"),
        ({"r_mag": [20, 21, 22]}, "for all or for each of 2"),
        ({"sb": 20}, "numbers, for all or for each"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(told, labels, reason):
    with pytest.raises(RequestError, match=reason):
        asked_of(generator_of(told.path), 2, labels)


def test_guidance_needs_sense_and_weights_that_were_told(told, plain, tmp_path):
    for guidance in (-1.0, float("nan")):
        with pytest.raises(RequestError, match="ask for 0 or more"):
            asked_of(generator_of(told.path), 2, {"r_mag": 21}, guidance=guidance)
    with pytest.raises(RequestError, match="nothing asked for"):
        asked_of(generator_of(told.path), 2, guidance=2.0)
    with pytest.raises(RequestError, match="was told nothing of its galaxies"):
        sl.simulate(tmp_path / "a.lance", plain.path, 2, labels={"r_mag": 21})
    assert not (tmp_path / "a.lance").exists()


def test_a_range_is_warned_of_and_an_angle_has_none(told):
    generator = generator_of(told.path)
    with pytest.warns(UserWarning, match=r"r_mag = 5 mag lies outside the \d"):
        asked = asked_of(generator, 2, {"r_mag": 5, "pa": 500})
    assert len(asked.notes) == 2


def test_a_concept_is_less_noise_than_nothing_said_and_belongs_to_its_weights(told, plain, mocks, tmp_path):
    """Learnt from some of the brightest galaxies, judged on others as bright."""
    table = mocks.table(["object_id", "true_mag_r"])
    bright = [row["object_id"] for row in sorted(table.to_pylist(), key=lambda row: row["true_mag_r"])][:12]
    made = sl.concept(mocks, bright[::2], plain.path, tmp_path / "bright.json", steps=50)
    assert 2 <= made.examples <= 6 and made.error < 0.97 * made.plain
    held_out, unsaid = concept_error(mocks, bright[1::2], plain.path, made)
    assert held_out < 0.97 * unsaid
    again = sl.concept(mocks, bright[::2], plain.path, tmp_path / "again.json", steps=50)
    assert again.vector == made.vector
    out = sl.simulate(tmp_path / "new.lance", plain.path, 2, steps=2, concept=tmp_path / "bright.json")
    assert any("the concept bright, learnt from" in note for note in out.info.notes)
    unasked = sl.simulate(tmp_path / "unasked.lance", plain.path, 2, steps=2)
    assert not np.array_equal(pixels(out), pixels(unasked))
    with pytest.raises(RequestError, match="learn it again with these"):
        asked_of(generator_of(told.path), 2, concept=tmp_path / "bright.json")
    (tmp_path / "broken.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RequestError, match="is no concept"):
        asked_of(generator_of(plain.path), 2, concept=tmp_path / "broken.json")
    with pytest.raises(RequestError, match="0 examples"):
        sl.concept(mocks, [], plain.path, tmp_path / "none.json")


def test_the_command_learns_a_concept(plain, mocks, tmp_path):
    arguments = ["concept", str(mocks.path), str(tmp_path / "c.json"), "--with", str(plain.path), "--where"]
    answer = CliRunner().invoke(app, [*arguments, "true_mag_r < 22", "--steps", "2", "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout.splitlines()[-1])["examples"] > 1 and (tmp_path / "c.json").exists()
