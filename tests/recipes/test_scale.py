"""`scale`: a grid trained, killed and resumed, a run foretold before it is trained, tables of anybody's runs."""

import json
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from astropy.table import Table
from torch import nn
from typer.testing import CliRunner

import skyloom as sl
from skyloom.cli.main import app
from skyloom.data.cutout import SurveyInfo
from skyloom.errors import CatalogueError, RecipeError, RequestError, RunError, SourceError
from skyloom.metrics.scaling import HOFFMANN, Law, optimum
from skyloom.recipes import training
from skyloom.recipes.lesson import Lesson

TRUTH = Law(20.0, 100.0, 1.2, 0.4, 0.4)
TOKENS = 16  # in a sample
GRID = {"width": ["10", "40", "160", "640"], "steps": ["1", "4", "16"]}


@dataclass(frozen=True)
class Toy:
    """A recipe whose losses follow a law."""

    width: int = 10
    steps: int = 1
    batch: int = 100
    seed: int = 0
    split: int = 0
    offset: float = 0.0


def toy_lesson(recipe, school):
    net = nn.Linear(recipe.width, 100, bias=False)

    def update(number, batch):
        return {"loss": torch.tensor(0.0)}

    def finish(run, product):
        n, d = 100 * recipe.width, TOKENS * recipe.steps * recipe.batch
        noise = np.random.default_rng([recipe.width, recipe.steps]).normal(0, 0.002)
        facts = {"n_parameters": n, "n_tokens": d, "loss": float(TRUTH.loss(n, d)) * np.exp(noise) + recipe.offset}
        run.write_facts("scaling", {**facts, "loss_error": 0.0, "flops": 8.0 * n * d})
        return {"scaling": facts}

    return Lesson({"net": net}, update, lambda start: repeat(None), recipe.steps, recipe.batch, {}, finish)


def mute_lesson(recipe, school):
    lesson = toy_lesson(recipe, school)
    return Lesson(lesson.parts, lesson.update, lesson.batches, 1, 1, {}, lambda run, product: {})


@pytest.fixture(autouse=True)
def recipes(monkeypatch):
    """Two more recipes: one whose losses follow a law, one that says nothing of them."""

    def require(recipe, survey):
        assert isinstance(survey.info, SurveyInfo)

    for name, lesson in {"toy": toy_lesson, "mute": mute_lesson}.items():
        monkeypatch.setitem(training.RECIPES, name, training.Entry(lambda size: Toy(), lesson, require))


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def table_of(law, scatter=0.003, seed=1):
    n, d = (values.ravel() for values in np.meshgrid(np.geomspace(1e8, 3e9, 4), np.geomspace(3e9, 1e11, 4)))
    loss = law.loss(n, d) * np.exp(np.random.default_rng(seed).normal(0, scatter, len(n)))
    return {"n_parameters": n, "n_tokens": d, "loss": loss}


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "runs.csv"
    Table(table_of(HOFFMANN)).write(path)
    return path


def test_a_grid_is_trained_and_its_law_found(tiny_survey, tmp_path):
    seen = []
    found = sl.scale(tmp_path / "runs", tiny_survey, recipe="toy", grid=GRID, progress=lambda *said: seen.append(said))
    assert len(found.trials) == 12 and "width-640_steps-16" in found.trials.names
    assert (0, 12, "runs") in seen and (11, 12, "runs") in seen
    assert pytest.approx(1.2, rel=0.1) == found.fit.law.E and found.fit.law.alpha == pytest.approx(0.4, abs=0.08)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    again = sl.scale(tmp_path / "runs", tiny_survey, recipe="toy", grid=GRID)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was finished is left alone"
    assert again.fit.law == found.fit.law == sl.scale(tmp_path / "runs").fit.law


def test_a_grid_that_was_killed_goes_on(tiny_survey, tmp_path):
    runs, last = tmp_path / "runs", "width-640_steps-16"

    def stop(done, total, what):
        if what == "steps" and done == 3 and (runs / last).exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sl.scale(runs, tiny_survey, recipe="toy", grid=GRID, progress=stop)
    few = sl.scale(runs)
    assert len(few.trials) == 11 and few.trials.unfinished == (last,)
    assert len(sl.scale(runs, tiny_survey, recipe="toy", grid=GRID).trials) == 12


def test_a_larger_run_is_foretold_before_it_is_trained(tiny_survey, tmp_path):
    runs, larger = tmp_path / "runs", {"width": "2000", "steps": "60"}
    sl.scale(runs, tiny_survey, recipe="toy", grid=GRID)
    there = {}

    def look(done, total, what):
        if what == "steps" and (runs / "predictions.json").exists():
            there.update(json.loads((runs / "predictions.json").read_text())[0])
            assert not (runs / "width-2000_steps-60" / "scaling.json").exists()

    found = sl.scale(runs, tiny_survey, recipe="toy", predict=larger, progress=look)
    (verdict,) = found.verdicts
    assert there["run"] == verdict.run == "width-2000_steps-60" and len(there["from"]) == 12
    assert (verdict.n_parameters, verdict.n_tokens) == (200_000, TOKENS * 60 * 100) and verdict.as_foretold
    assert verdict.hit and verdict.predicted.low < verdict.loss < verdict.predicted.high
    assert len(found.trials) == 13
    kept = (runs / "predictions.json").read_bytes()
    assert sl.scale(runs, tiny_survey, recipe="toy", predict=larger).verdicts == found.verdicts
    assert (runs / "predictions.json").read_bytes() == kept, "a prediction is written once"


def test_a_miss_is_called_one(tiny_survey, tmp_path):
    sl.scale(tmp_path / "runs", tiny_survey, recipe="toy", grid=GRID)
    larger = {"width": "2000", "steps": "60", "offset": "0.5"}
    (verdict,) = sl.scale(tmp_path / "runs", tiny_survey, recipe="toy", predict=larger).verdicts
    assert verdict.hit is False and verdict.loss > verdict.predicted.high
    said = run("scale", tmp_path / "runs").stdout
    assert "became" in said and ": miss" in said


def test_nothing_is_foretold_of_a_run_that_is_there(tiny_survey, tmp_path):
    sl.scale(tmp_path / "runs", tiny_survey, recipe="toy", grid=GRID)
    with pytest.raises(RequestError, match="begun before it was foretold"):
        sl.scale(tmp_path / "runs", tiny_survey, recipe="toy", predict={"width": "10", "steps": "4"})


def test_bad_grids_are_refused_before_training(tiny_survey, tmp_path, csv):
    runs = tmp_path / "runs"
    few = {"width": ["10", "40"], "steps": ["1", "4", "16"]}
    with pytest.raises(RequestError, match="6 runs are too few"):
        sl.scale(runs, tiny_survey, recipe="toy", grid=few)
    with pytest.raises(RecipeError, match="no setting 'widht'"):
        sl.scale(runs, tiny_survey, recipe="toy", grid={"widht": ["1", "2"], **GRID})
    with pytest.raises(RecipeError, match="no recipe"):
        sl.scale(runs, tiny_survey, recipe="nothing", grid=GRID)
    with pytest.raises(RequestError, match="give surveys and a grid"):
        sl.scale(runs, grid=GRID)
    with pytest.raises(RequestError, match="a folder"):
        sl.scale(csv, tiny_survey, recipe="toy", grid=GRID)
    with pytest.raises(RequestError, match="positive"):
        sl.scale(csv, plan=0)
    with pytest.raises(RequestError, match="ends in"):
        sl.scale(csv, out=tmp_path / "law.csv")
    assert not runs.exists()


def test_runs_that_cannot_be_compared_are_refused(tiny_survey, tmp_path):
    runs = tmp_path / "runs"
    sl.scale(runs, tiny_survey, recipe="toy", grid=GRID)
    sl.train("mute", tiny_survey, runs / "mute")
    with pytest.raises(RunError, match=r"mute writes no scaling\.json"):
        sl.scale(runs)
    (runs / "mute" / "scaling.json").write_text('{"n_parameters": 1, "n_tokens": 1, "loss": 1}')
    with pytest.raises(RunError, match="different recipe"):
        sl.scale(runs)


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits", "parquet"])
def test_a_table_of_anybody_s_runs(tmp_path, ending):
    path, columns = tmp_path / f"runs.{ending}", table_of(HOFFMANN)
    if ending == "parquet":
        pyarrow.parquet.write_table(pa.table(columns), path)
    else:
        Table(columns).write(path)
    law = sl.scale(path).fit.law
    assert law.alpha == pytest.approx(0.34, abs=0.05) and pytest.approx(1.69, abs=0.1) == law.E


def test_the_command_says_the_law_for_people_and_programs(csv, tmp_path):
    answer = run("scale", csv, "--plan", "1e21", "--assume", "kg_per_kwh=0.1", "--out", tmp_path / "law.png", "--json")
    assert answer.exit_code == 0, answer.output
    facts = json.loads(answer.stdout.splitlines()[-1])
    for name in Law._fields:
        assert facts[name]["low"] < facts[name]["value"] < facts[name]["high"]
    plan = facts["plan"]
    best = optimum(Law(**{name: facts[name]["value"] for name in Law._fields}), 1e21)
    assert plan["n_parameters"]["value"] == pytest.approx(float(best.n_parameters), rel=1e-6)
    assert plan["loss"]["low"] < plan["loss"]["value"] < plan["loss"]["high"]
    assert plan["assumed"]["kg_per_kwh"] == 0.1 and all(one["kg_co2e"] > 0 for one in plan["costs"])
    assert (tmp_path / "law.png").stat().st_size > 10_000
    plain = run("scale", csv, "--plan", "1e21").stdout
    assert "90 % intervals" in plain and "the law of 16 runs" in plain and " days at " in plain


def test_the_command_trains_a_grid(tiny_survey, tmp_path):
    given = [part for name, values in GRID.items() for part in ("--grid", f"{name}={','.join(values)}")]
    asked = ["--recipe", "toy", *given, "--predict", "width=2000", "--predict", "steps=60", "--plan", "1e12"]
    answer = run("scale", tmp_path / "runs", tiny_survey.path, *asked, "--json")
    assert answer.exit_code == 0, answer.output
    facts = json.loads(answer.stdout.splitlines()[-1])
    assert facts["runs"] == 13 and facts["predictions"][0]["hit"] is True
    assert facts["plan"]["flop_per_parameter_and_token"] == pytest.approx(8)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("n_parameters,n_tokens,loss\n1e4,1e6,2\n1e5,1e6,1\n", RequestError, "2 runs of 2 sizes"),
        ("n_parameters,tokens,loss\n1e4,1e6,2\n", CatalogueError, "no column n_tokens"),
        ("n_parameters,n_tokens,loss\n1e4,,2\n", CatalogueError, "rows 1 lack a number"),
        ("n_parameters,n_tokens,loss\n1e4,many,2\n", CatalogueError, "no number"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(tmp_path, text, error, words):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(error, match=words):
        sl.scale(path)
    with pytest.raises(SourceError, match="no runs"):
        sl.scale(tmp_path / "nothing")
