"""Commands that say what is not known of objects: complete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import skyloom as sl
from skyloom.cli.console import Json, SurveyArgument, finish, job

USUAL = Path("sky-gpt-laptop")


def complete(
    survey: SurveyArgument,
    out: Annotated[Path, typer.Option(metavar="TABLE", help="The table to write: .parquet, .ecsv or .fits.")],
    with_: Annotated[Path, typer.Option("--with", metavar="NAME|RUN", help="Weights of sky_gpt, or a run.")] = USUAL,
    say: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="What is asked for; several times for several.")
    ] = None,
    given: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN|images", help="What is shown; several times for several.")
    ] = None,
    first: Annotated[int, typer.Option(metavar="N", help="Points of an asked series that are shown.")] = 0,
    draws: Annotated[int, typer.Option(metavar="N", help="Draw so many times, instead of quantiles.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Say what is expected of every object of SURVEY: magnitudes of an image, a profile, the rest of a light curve."""
    with job(as_json) as progress:
        table = sl.complete(
            survey, out, with_, say=say or (), given=given or (), first=first, draws=draws, seed=seed,
            progress=progress,
        )  # fmt: skip
        objects = len(set(table["object_id"].to_pylist()))
        summary = {"table": str(out), "objects": objects, "rows": len(table), "columns": table.column_names}
        finish(f"{out}: {objects} objects with {with_}", summary, as_json)
