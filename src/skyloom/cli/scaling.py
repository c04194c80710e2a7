"""The command that plans how large a network should be: scale."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import skyloom as sl
from skyloom.cli.console import Json, finish, job, pairs
from skyloom.cli.networks import Size


def scale(
    runs: Annotated[Path, typer.Argument(metavar="RUNS", help="A folder of runs, or a table of them (docs/scale.md).")],
    surveys: Annotated[
        list[Path] | None, typer.Argument(metavar="[SURVEY]…", help="What to train the missing runs of a grid on.")
    ] = None,
    recipe: Annotated[str, typer.Option(metavar="RECIPE", help="What to train.")] = "sky_gpt",
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUES", help="Values of a setting, e.g. depth=1,2,3; repeatable: all combinations."),
    ] = None,
    predict: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="One more run, foretold and only then trained; repeatable."),
    ] = None,
    size: Annotated[Size, typer.Option(help="Of the recipe, for all runs.")] = Size.laptop,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A number of all runs; repeatable.")
    ] = None,
    plan: Annotated[float | None, typer.Option(metavar="FLOP", help="A budget to spend best, e.g. 1e20.")] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of its cost: utilisation, kg_per_kwh, watts …; repeatable."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FIGURE", help="A figure: .png, .pdf or .svg.")] = None,
    as_json: Json = False,
) -> None:
    """Fit the law by which loss falls with parameters and tokens to RUNS, training what is missing; plan a budget."""
    values = {name: text.split(",") for name, text in pairs(grid, "--grid").items()}
    one_more, common, assumed = pairs(predict, "--predict"), pairs(settings), pairs(assume, "--assume")
    with job(as_json) as progress:
        found = sl.scale(
            runs, surveys or (), recipe=recipe, grid=values, predict=one_more, size=size.value, settings=common,
            plan=plan, assume=assumed, out=out, progress=progress,
        )  # fmt: skip
        for line in (*_law(found), *_verdicts(found), *_plan(found)):
            typer.echo(line, err=as_json)
        left = [f"{len(found.trials.unfinished)} unfinished left out"] if found.trials.unfinished else []
        drawn = [str(out)] if out else []
        said = "; ".join((f"{runs}: the law of {len(found.trials)} runs", *left, *drawn))
        finish(said, {"runs_of": str(runs), **found.facts(), "out": drawn}, as_json)


def _law(found) -> list[str]:
    fit = found.fit
    unit = f"{100 * fit.spread:.2g} %" if fit.residual == "log" else f"{fit.spread:.2g}"
    lines = [f"L = A/N^alpha + B/D^beta + E, with {100 * fit.level:g} % intervals; a run scatters by {unit}"]
    lines += [f"{name} {one.value:.4g} ({one.low:.4g} to {one.high:.4g})" for name, one in fit.intervals().items()]
    wanted = {"alpha": "sizes", "beta": "numbers of tokens"}
    return lines + [f"the runs do not bound {name}: add {wanted[name]} further apart" for name in fit.untold]


def _verdicts(found) -> list[str]:
    lines = []
    for one in found.verdicts:
        told = f"{one.run}: foretold {one.predicted.value:.4g} ({one.predicted.low:.4g} to {one.predicted.high:.4g})"
        became = "not trained yet" if one.loss is None else f"became {one.loss:.4g}: {'hit' if one.hit else 'miss'}"
        other = ", but of other N or D than foretold" if one.as_foretold is False else ""
        lines.append(f"{told} on {one.written}, {became}{other}")
    return lines


def _plan(found) -> list[str]:
    plan = found.plan
    if plan is None:
        return []
    parts = [("parameters", plan.n_parameters, ".3g"), ("tokens", plan.n_tokens, ".3g"), ("loss", plan.loss, ".4g")]
    said = ", ".join(f"{name} {one.value:{form}} ({one.low:{form}} to {one.high:{form}})" for name, one, form in parts)
    lines = [f"{plan.flops:.3g} FLOP, {plan.reach:.3g} times the largest run: {said}"]
    for one in plan.costs:
        known = [(one.kwh, "kWh"), (one.usd, "US$"), (one.kg_co2e, "kg CO2e")]
        rest = ", ".join(f"{value:.3g} {unit}" for value, unit in known if value is not None)
        lines.append(f"{one.device}: {_duration(one.days)} at {one.speed:.3g} FLOP/s{', ' + rest if rest else ''}")
    assumed = ", ".join(f"{name}={value:g}" for name, value in plan.assumed.facts().items())
    return [*lines, f"assumed: {assumed}, {plan.flop_per:.3g} FLOP for each parameter and token"]


def _duration(days: float) -> str:
    """In the unit that people would say."""
    for many, unit in ((1.0, "days"), (1 / 24, "hours"), (1 / 1440, "minutes")):
        if days >= 2 * many:
            return f"{days / many:.3g} {unit}"
    return f"{days * 86400:.3g} s"
