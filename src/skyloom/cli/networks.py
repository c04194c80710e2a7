"""Commands that measure, and that teach networks: profile, embed, train."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import skyloom as sl
from skyloom.cli.console import Json, SurveyArgument, finish, job, pairs
from skyloom.cli.described import profile_column, unknowns

FACTS_OF_SURVEY = 1 | 2 | 4  # flags of a profile that say what the survey lacks: WCS, zero point, pixel scale


class Size(StrEnum):
    smoke = "smoke"
    laptop = "laptop"
    gpu = "gpu"
    paper = "paper"


def profile(
    survey: SurveyArgument,
    out: Annotated[Path, typer.Option(metavar="TABLE", help="The table to write: .parquet, .ecsv or .fits.")],
    with_: Annotated[
        str, typer.Option("--with", metavar="ENGINE", help="isophotes, profile-decoder, pix2prof-mock, or a run.")
    ] = "isophotes",
    band: Annotated[str | None, typer.Option(help="One band only.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Also keep the profiles in SURVEY, as a column.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also bands and pixels that weights never saw.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a surface brightness profile of every galaxy of SURVEY, in every band."""
    with job(as_json) as progress:
        opened = sl.open(survey)
        table = sl.profile(opened, out=out, with_=with_, band=band, keep=keep, anyway=anyway, progress=progress)
        flagged = sum(flag & ~FACTS_OF_SURVEY != 0 for flag in table["flag"].to_pylist())
        kept = [f"kept in {survey} as {profile_column(with_)}"] if keep else []
        remarks = [f"{flagged} flagged", *kept, *unknowns(opened)]
        summary = {"table": str(out), "profiles": len(table), "flagged": flagged, "unknown": unknowns(opened)}
        finish("; ".join((f"{out}: {len(table)} profiles", *remarks)), summary, as_json)


def embed(
    survey: SurveyArgument,
    with_: Annotated[
        str, typer.Option("--with", metavar="NAME", help="Weights that ship with skyloom (simclr-kids), or a run.")
    ],
    as_json: Json = False,
) -> None:
    """Keep a vector of every object of SURVEY, as a column; objects that have one already are left alone."""
    with job(as_json) as progress:
        made = sl.embed(survey, with_=with_, progress=progress)
        there = [f"{made.kept} there already"] if made.kept else []
        blind = [f"{len(made.blind)} without a good pixel have none"] if made.blind else []
        summary = {"survey": str(survey), **made.facts()}
        finish(
            "; ".join((f"{survey}: {made.made} vectors in the column {made.column}", *there, *blind)), summary, as_json
        )


def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="morphology, simclr, galaxy_edm … (docs/train.md).")],
    surveys: Annotated[list[Path], typer.Argument(metavar="SURVEY…", help="What to learn from.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run directory to write, or to go on with.")],
    size: Annotated[Size, typer.Option(help="How large, and for what machine.")] = Size.laptop,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A number of the recipe; repeatable.")
    ] = None,
    devices: Annotated[int, typer.Option(metavar="N", help="GPUs, or processes on a CPU, that share each batch.")] = 1,
    shard: Annotated[bool, typer.Option("--shard", help="Let them share the network too, if it is too large.")] = False,
    as_json: Json = False,
) -> None:
    """Train RECIPE on SURVEY. Run it again with the same --out to go on."""
    given = pairs(settings)
    with job(as_json) as progress:
        run = sl.train(
            recipe, surveys, out, size=size.value, settings=given, devices=devices, shard=shard, progress=progress
        )
        facts = run.facts("training") or {}
        remarks = [f"{out}: trained in {facts['seconds']:.0f} s", *facts.get("left_out", ())]
        finish("; ".join(remarks), {"run": str(out), **facts}, as_json)
