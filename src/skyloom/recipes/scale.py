"""`scale`: runs of many sizes trained, the law of scaling fitted to them, a larger run foretold, a budget planned."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from skyloom import __version__
from skyloom.checkpoint import RECIPE
from skyloom.data import store
from skyloom.data.destination import drafted, require_place, write_whole
from skyloom.errors import RequestError, RunError
from skyloom.infer.placed import device_of
from skyloom.metrics.costs import Assumptions, Cost, assumptions, costs
from skyloom.metrics.law_fit import LEAST, FittedLaw, Interval, fit_law
from skyloom.metrics.runs import FACTS, Trials, read_trials
from skyloom.metrics.scaling import FLOP_PER, optimum
from skyloom.recipes.lesson import Progress, Size
from skyloom.recipes.training import entry_of, train
from skyloom.report.scaling import Mark, law_figure

PREDICTIONS = "predictions.json"  # written before the runs that it foretells
FIGURES = (".png", ".pdf", ".svg")
DOTS = 150  # per inch
AGREE = 0.01  # of N and D as foretold and as they became

Surveys = str | Path | store.Survey | Sequence[str | Path | store.Survey]


class Plan(NamedTuple):
    """The best use of a budget.

    flop_per : FLOP for each parameter and token; reach : the budget, in units of the largest run
    """

    flops: float
    flop_per: float
    reach: float
    n_parameters: Interval
    n_tokens: Interval
    loss: Interval
    costs: tuple[Cost, ...]
    assumed: Assumptions

    def facts(self) -> dict[str, Any]:
        named = {name: getattr(self, name)._asdict() for name in ("n_parameters", "n_tokens", "loss")}
        plain = {"flops": self.flops, "flop_per_parameter_and_token": self.flop_per, "reach": self.reach}
        return plain | named | {"costs": [one._asdict() for one in self.costs], "assumed": self.assumed.facts()}


class Verdict(NamedTuple):
    """A run that was foretold before it was trained; loss, error and hit are None until it is.

    n_parameters, n_tokens : that the prediction was made for; as_foretold : whether the run came to have them
    """

    run: str
    n_parameters: float
    n_tokens: float
    predicted: Interval
    level: float
    written: str
    loss: float | None
    hit: bool | None
    as_foretold: bool | None

    def facts(self) -> dict[str, Any]:
        return self._asdict() | {"predicted": self.predicted._asdict()}


@dataclass(frozen=True)
class Scaling:
    """What the runs say. fit : to all finished runs, those that were foretold among them"""

    trials: Trials
    fit: FittedLaw
    verdicts: tuple[Verdict, ...]
    plan: Plan | None

    def facts(self) -> dict[str, Any]:
        """For programs: A, B, E, alpha and beta, each with value, low and high; how they were found; the rest."""
        return {
            **{name: one._asdict() for name, one in self.fit.intervals().items()},
            "level": self.fit.level, "runs": len(self.trials), "spread": self.fit.spread,
            "residual": self.fit.residual, "untold": self.fit.untold, "unfinished": list(self.trials.unfinished),
            "predictions": [one.facts() for one in self.verdicts],
            "plan": self.plan.facts() if self.plan else None,
        }  # fmt: skip


def scale(
    runs: str | Path,
    surveys: Surveys = (),
    *,
    recipe: str = "sky_gpt",
    grid: Mapping[str, Sequence[str]] | None = None,
    predict: Mapping[str, str] | None = None,
    size: Size = "laptop",
    settings: Mapping[str, str] | None = None,
    plan: float | None = None,
    assume: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Scaling:
    """Fit L(N, D) = A/N^α + B/D^β + E to runs of many sizes; with surveys and a grid, train first what is missing.

    runs : a folder of run directories, or a table with n_parameters, n_tokens and loss
    grid : settings of the recipe, each with the values to take; every combination is a run in `runs`, named by them.
        What is finished is left alone, and what was killed goes on
    predict : settings of one more run. Its loss is foretold by all others and written to `runs`/predictions.json, then
        it is trained, then judged
    size, settings : of the recipe, for all runs; plan : a budget [FLOP], to be spent best
    assume : of the budget's cost, `metrics.costs.Assumptions`; out : a figure (.png, .pdf, .svg)
    Raises RequestError for too few runs to fit, a grid without surveys, a prediction of a run that is there already;
    RecipeError for unknown settings; RunError for runs that cannot be compared.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, approach 3; see `metrics.law_fit.fit_law`.
    """
    runs, assumed, figure = Path(runs), assumptions(assume or {}), _figure_place(out)
    if plan is not None and not 0 < plan < float("inf"):
        raise RequestError(f"a plan needs a number of FLOP that is positive, not {plan:g}")
    opened = [store.opened(one) for one in ([surveys] if isinstance(surveys, str | Path | store.Survey) else surveys)]
    if bool(opened) != bool(grid or predict):
        raise RequestError("to train runs, give surveys and a grid; to fit those that are there, neither")
    common, cells = dict(settings or {}), _cells(grid or {})
    one_more = [dict(predict)] if predict else []
    for cell in (*cells, *one_more):
        entry, chosen = entry_of(recipe, size, common | cell)
        for survey in opened:
            entry.require(chosen, survey)
    if opened:
        _require_enough(runs, cells)
        for done, cell in enumerate(cells):
            if progress:
                progress(done, len(cells), "runs")
            train(recipe, opened, runs / name_of(cell), size=size, settings=common | cell, device=device,
                  progress=progress)  # fmt: skip
    for cell in one_more:
        _foretell(runs, cell, opened, recipe, size, common, device_of(device), progress)
        train(recipe, opened, runs / name_of(cell), size=size, settings=common | cell, device=device,
              progress=progress)  # fmt: skip
    trials = read_trials(runs)
    fit = fit_law(trials.n_parameters, trials.n_tokens, trials.loss)
    found = Scaling(
        trials, fit, _verdicts(runs, trials), _plan(plan, trials, fit, assumed) if plan is not None else None
    )
    if figure:
        _draw(found, figure)
    return found


def name_of(cell: Mapping[str, str]) -> str:
    """The name of a run's directory: `depth-2_steps-500`."""
    return "_".join(re.sub(r"[^\w.+-]", "-", f"{name}-{value}") for name, value in cell.items())


def _cells(grid: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every combination of the grid's values; none for no grid."""
    if not grid:
        return []
    if not all(grid.values()):
        raise RequestError("a grid names values for each of its settings, e.g. depth=1,2,3")
    return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]


def _require_enough(runs: Path, cells: Sequence[Mapping[str, str]]) -> None:
    """RequestError, before any training, if the grid and what is there are too few to fit."""
    there = {path.parent.name for path in runs.glob(f"*/{FACTS}.json")} if runs.is_dir() else set()
    if runs.is_file():
        raise RequestError(f"{runs} is a file; runs are trained into a folder")
    count = len(there | {name_of(cell) for cell in cells})
    if count < LEAST:
        raise RequestError(
            f"{count} runs are too few for a law of five numbers; give a grid of {LEAST} or more (better 12), with 3 "
            "sizes and 3 numbers of tokens or more"
        )


def _foretell(
    runs: Path, cell: Mapping[str, str], surveys: Sequence[store.Survey], recipe: str, size: Size,
    common: Mapping[str, str], device: str, progress: Progress | None,
) -> None:  # fmt: skip
    """Write what a run's loss will be, before it is trained; RequestError if it is too late. Never written twice."""
    name, made = name_of(cell), _predictions(runs)
    if any(one["run"] == name for one in made):
        return
    if (runs / name / RECIPE).exists():
        raise RequestError(f"{runs / name} was begun before it was foretold; ask for a run that is not there")
    trials = read_trials(runs)
    fit = fit_law(trials.n_parameters, trials.n_tokens, trials.loss)
    entry, chosen = entry_of(recipe, size, {**common, **cell})
    lesson = entry.lesson(chosen, entry.school(chosen, surveys, torch.device(device), progress))
    n = float(sum(weight.numel() for weight in lesson.product.parameters()))
    each = trials.n_tokens / np.where(trials.samples > 0, trials.samples, np.nan)
    d = lesson.steps * lesson.batch * float(np.median(each))
    if not np.isfinite(d):
        raise RunError(f"{runs}: the runs do not say how many steps of how many objects they took; train them here")
    foretold = {
        "run": name, "settings": dict(cell), "n_parameters": n, "n_tokens": d,
        "loss": fit.predicted(n, d)._asdict(), "level": fit.level, "law": fit.law._asdict(), "spread": fit.spread,
        "from": dict(zip(trials.names, trials.loss.tolist(), strict=True)),
        "skyloom": __version__, "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    write_whole(runs / PREDICTIONS, json.dumps([*made, foretold], indent=1, ensure_ascii=False) + "\n")


def _predictions(runs: Path) -> list[dict[str, Any]]:
    path = runs / PREDICTIONS
    if not path.exists():
        return []
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise RunError(f"{path} cannot be read ({fault}); predictions that were lost cannot be made again") from fault


def _verdicts(runs: Path, trials: Trials) -> tuple[Verdict, ...]:
    """What became of all that was foretold."""
    found = []
    for one in _predictions(runs) if runs.is_dir() else []:
        told, n, d = Interval(**one["loss"]), one["n_parameters"], one["n_tokens"]
        loss = hit = same = None
        if one["run"] in trials.names:
            row = trials.names.index(one["run"])
            loss = float(trials.loss[row])
            hit = told.low <= loss <= told.high
            became = (trials.n_parameters[row] / n, trials.n_tokens[row] / d)
            same = all(abs(ratio - 1) <= AGREE for ratio in map(float, became))
        found.append(Verdict(one["run"], n, d, told, one["level"], one["written"], loss, hit, same))
    return tuple(found)


def _plan(flops: float, trials: Trials, fit: FittedLaw, assumed: Assumptions) -> Plan:
    flop_per = trials.flop_per if np.isfinite(trials.flop_per) else FLOP_PER
    best, many = optimum(fit.law, flops, flop_per), optimum(fit.replicas, flops, flop_per)
    n, d = float(best.n_parameters), float(best.n_tokens)
    row = trials.largest
    spent = trials.flops[row] if np.isfinite(trials.flops[row]) else flop_per * (
        trials.n_parameters[row] * trials.n_tokens[row]
    )  # fmt: skip
    return Plan(
        float(flops), flop_per, float(flops / spent),
        fit.interval(n, np.asarray(many.n_parameters)), fit.interval(d, np.asarray(many.n_tokens)),
        fit.interval(float(best.loss), np.asarray(many.loss)),
        tuple(costs(flops, assumed, trials.machine, trials.speed)), assumed,
    )  # fmt: skip


def _figure_place(out: str | Path | None) -> Path | None:
    """The figure to write, if it can be."""
    if out is None:
        return None
    path = Path(out)
    if path.suffix.lower() not in FIGURES:
        raise RequestError(f"{path}: a figure ends in {', '.join(FIGURES)}; got {path.suffix or 'no suffix'!r}")
    require_place(path)
    return path


def _draw(found: Scaling, path: Path) -> None:
    trials, marks = found.trials, []
    for one in found.verdicts:
        said = {None: "not trained yet", True: "hit", False: "miss"}[one.hit]
        marks.append(Mark(f"foretold: {said}", one.n_parameters, one.n_tokens))
    if found.plan:
        marks.append(Mark(f"best for {found.plan.flops:.3g} FLOP", found.plan.n_parameters.value,
                          found.plan.n_tokens.value))  # fmt: skip
    figure = law_figure(found.fit.law, trials.n_parameters, trials.n_tokens, trials.loss, marks)
    with drafted(path) as draft:
        figure.savefig(draft, format=path.suffix[1:].lower(), dpi=DOTS)
