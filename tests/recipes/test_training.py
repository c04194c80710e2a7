"""Training from a survey to profiles: both recipes, interrupted and resumed, and everything that is refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import skyloom as sl
from skyloom.cli.main import app
from skyloom.data.profiles import read_profiles
from skyloom.errors import CatalogueError, RecipeError, RequestError, RunError, UnitError
from skyloom.recipes.training import train

pytest.importorskip("galsim")

SHORT = {"pix2prof": {"steps": "6"}, "profile_decoder": {"steps": "6"}}


@pytest.fixture(scope="module")
def mocks(tmp_path_factory):
    return sl.mock(tmp_path_factory.mktemp("training") / "mocks.lance", 16, size=48, bands="gr", seed=5)


@pytest.fixture(scope="module")
def runs(mocks, tmp_path_factory):
    """A run of each recipe, trained by the command."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    for recipe, settings in SHORT.items():
        out = folder / recipe.replace("_", "-")
        given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        result = CliRunner().invoke(
            app, ["train", recipe, str(mocks.path), "--out", str(out), "--size", "smoke", *given, "--json"]
        )
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout.splitlines()[-1])["run"] == str(out)
        made[recipe] = out
    return made


@pytest.mark.parametrize("recipe", SHORT)
def test_a_run_measures_profiles(runs, mocks, recipe, tmp_path):
    table = sl.profile(mocks, tmp_path / "profiles.parquet", with_=runs[recipe], band="r")
    assert len(table) == 16 and table.schema.metadata[b"recipe"] == recipe.encode()
    assert table.schema.metadata[b"weights"] and (tmp_path / "profiles.parquet").exists()
    for row in table.to_pylist():
        sma = np.array(row["sma"])
        assert len(row["sb"]) == len(sma) and (np.diff(sma) > 0).all() and row["band"] == "r"
        if recipe == "profile_decoder" and len(sma):
            quantiles = [row[name] for name in ("sb_q05", "sb_q16", "sb", "sb_q84", "sb_q95")]
            assert (np.diff(quantiles, axis=0) >= 0).all() and np.isfinite(row["sb_error"]).all()
            assert (np.array(row["ellipticity"]) < 1).all() and np.isfinite([row["x"], row["y"]]).all()


@pytest.mark.parametrize("recipe", SHORT)
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(runs, mocks, recipe, tmp_path, monkeypatch):
    """The same bytes of weights; the second call reads the state that the first one left."""
    monkeypatch.setattr("skyloom.recipes.training.SAVE", 0.0)
    out = tmp_path / "run"

    def stop(done, total, what):
        if what == "steps" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, mocks, out, size="smoke", settings=SHORT[recipe], progress=stop)
    assert (out / "state.safetensors").exists()
    run = train(recipe, mocks, out, size="smoke", settings=SHORT[recipe])
    whole = (runs[recipe] / "weights.safetensors").read_bytes()
    assert (run.path / "weights.safetensors").read_bytes() == whole and not (out / "state.safetensors").exists()


def test_a_finished_run_is_left_alone(runs, mocks):
    before = {path.name: path.read_bytes() for path in runs["pix2prof"].iterdir()}
    train("pix2prof", mocks, runs["pix2prof"], size="smoke", settings=SHORT["pix2prof"])
    assert {path.name: path.read_bytes() for path in runs["pix2prof"].iterdir()} == before


def test_what_an_engine_measured_can_be_learnt(mocks, tmp_path):
    """`profile --keep`, then `--set target=profile_isophotes`."""
    survey = sl.open(mocks.path)
    sl.profile(survey, keep=True)
    survey = sl.open(mocks.path)
    kept = read_profiles(survey, "profile_isophotes")
    assert any(kept[0])
    settings = {"target": "profile_isophotes", "steps": "2"}
    run = train("profile_decoder", survey, tmp_path / "run", size="smoke", settings=settings)
    assert run.facts("training")["bands"] == ["g", "r"] and run.facts("calibration")["galaxies"] > 0


@pytest.mark.parametrize("recipe", SHORT)
def test_a_run_may_start_from_another(runs, mocks, recipe, tmp_path):
    """With a learning rate of nought it stays where it started, to half precision."""
    settings = {**SHORT[recipe], "start": str(runs[recipe]), "learning_rate": "0"}
    run = train(recipe, mocks, tmp_path / "run", size="smoke", settings=settings)
    before, after = (load_file(path / "weights.safetensors") for path in (runs[recipe], run.path))
    learnt = [name for name in before if "running" not in name and "num_batches" not in name]
    assert learnt and all(torch.equal(before[name], after[name]) for name in learnt)


def test_frozen_norms_do_not_learn_and_the_rest_does(runs, mocks, tmp_path):
    settings = {"start": str(runs["pix2prof"]), "norms": "frozen"}
    statistics = []
    for steps in ("1", "5"):
        run = train("pix2prof", mocks, tmp_path / steps, size="smoke", settings={**settings, "steps": steps})
        statistics.append(load_file(run.path / "weights.safetensors"))
    one, five = statistics
    assert all(torch.equal(one[name], five[name]) for name in one if "running" in name)
    assert not torch.equal(one["decoder.read_out.weight"], five["decoder.read_out.weight"])


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"recipe": "pix2pix"}, RecipeError, "pix2prof, profile_decoder"),
        ({"size": "huge"}, RecipeError, "smoke, laptop"),
        ({"settings": {"stepz": "2"}}, RecipeError, "steps"),
        ({"settings": {"target": "profile_courteau"}}, RequestError, "profile_courteau"),
    ],
)
def test_what_cannot_be_trained_is_said_before_anything_is_written(mocks, tmp_path, arguments, error, words):
    with pytest.raises(error, match=words):
        train(**{"recipe": "pix2prof", "surveys": mocks, "out": tmp_path / "run", "size": "smoke"} | arguments)
    assert not (tmp_path / "run").exists()


def test_a_directory_with_another_run_is_refused(runs, mocks):
    with pytest.raises(RunError, match="settings"):
        train("pix2prof", mocks, runs["pix2prof"], size="smoke", settings={"steps": "7"})


def renamed(tmp_path, mocks, **changes):
    """The mocks under other facts: {"bands": ..., "pixel_scale": ...}."""
    from dataclasses import replace

    from skyloom.data import store

    return store.write(tmp_path / "other.lance", replace(mocks.info, **changes), mocks.read())


def strange_bands(mocks):
    return tuple(sl.Band(name, band.zero_point) for name, band in zip("rX", mocks.info.bands, strict=True))


@pytest.mark.parametrize("recipe", SHORT)
def test_bands_that_the_weights_never_saw_are_refused_unless_insisted(runs, mocks, recipe, tmp_path):
    other = renamed(tmp_path, mocks, bands=strange_bands(mocks))
    with pytest.raises(RequestError, match=r"never seen X.*--anyway"):
        sl.profile(other, with_=runs[recipe])
    assert len(sl.profile(other, with_=runs[recipe], band="r")) == 16
    assert len(sl.profile(other, with_=runs[recipe], anyway=True)) == 32


@pytest.mark.parametrize(
    "recipe, scale, words",
    [
        ("profile_decoder", 0.41, "0.41, more than a factor 2"),
        ("profile_decoder", None, "does not say"),
        ("pix2prof", 0.25, "0.25, more than a factor 1.02"),
    ],
)
def test_other_pixels_are_refused_unless_insisted(runs, mocks, tmp_path, recipe, scale, words):
    other = renamed(tmp_path, mocks, pixel_scale=scale)
    with pytest.raises(RequestError, match=words):
        sl.profile(other, with_=runs[recipe])
    assert len(sl.profile(other, with_=runs[recipe], anyway=True)) == 32


@pytest.mark.parametrize("scale", [0.1, 0.3, 0.4])
def test_rings_are_read_at_any_scale_within_a_factor_of_two(runs, mocks, tmp_path, scale):
    other = renamed(tmp_path, mocks, pixel_scale=scale)
    assert len(sl.profile(other, with_=runs["profile_decoder"], band="r")) == 16


def test_pix2prof_needs_zero_points_whatever_one_insists(runs, mocks, tmp_path):
    bare = tuple(sl.Band(band.name) for band in mocks.info.bands)
    other = renamed(tmp_path, mocks, bands=bare)
    with pytest.raises(UnitError, match="zero point"):
        sl.profile(other, with_=runs["pix2prof"], anyway=True)
    instrumental = sl.profile(other, with_=runs["profile_decoder"])
    assert all(flag & 2 for flag in instrumental["flag"].to_pylist())


def test_a_table_with_nan_is_refused_before_it_can_be_learnt(mocks, tmp_path):
    """A user's own table goes through `ingest --profiles`, which names the row."""
    ids = mocks.table(["object_id"])["object_id"].to_pylist()
    rows = [(ids[0], "r", radius, 20.0 + radius) for radius in (1.0, 2.0, 3.0)] + [(ids[0], "r", 4.0, float("nan"))]
    columns = dict(zip(("object_id", "band", "sma", "sb"), map(list, zip(*rows, strict=True)), strict=True))
    columns["sb"][1] = float("nan")
    path = tmp_path / "mine.parquet"
    pa.parquet.write_table(pa.table(columns), path)
    with pytest.raises(CatalogueError, match="row 2"):
        sl.ingest(path, mocks.path, profiles="mine")
    assert "profile_mine" not in sl.open(mocks.path).column_names


@pytest.mark.parametrize("recipe", SHORT)
@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_what_lies_under_ivar_0_changes_nothing(runs, mocks, recipe, value):
    from dataclasses import replace

    from skyloom.infer.profiles import engine_of, measure_survey

    engine = engine_of(runs[recipe], mocks.info, [0, 1])
    plain, spoilt = [], []
    for cutout in list(mocks.read())[:2]:
        ivar = cutout.ivar.copy()
        ivar[:, 5:9, 5:12] = 0
        plain.append(replace(cutout, flux=np.where(ivar > 0, cutout.flux, 0).astype(np.float32), ivar=ivar))
        spoilt.append(replace(cutout, flux=np.where(ivar > 0, cutout.flux, value).astype(np.float32), ivar=ivar))
    for a, b in zip(*(measure_survey(part, mocks.info, engine=engine) for part in (plain, spoilt)), strict=True):
        assert a["object_id"] == b["object_id"]
        np.testing.assert_array_equal(a["sb"], b["sb"])
