"""Commands that say what galaxies look like: classify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import skyloom as sl
from skyloom.cli.console import Json, SurveyArgument, finish, job

USUAL = ["morphology"]


def classify(
    survey: SurveyArgument,
    out: Annotated[Path, typer.Option(metavar="TABLE", help="The table to write: .parquet, .ecsv or .fits.")],
    with_: Annotated[
        list[str], typer.Option("--with", metavar="NAME|RUN", help="Weights or a run; of several, the average.")
    ] = USUAL,
    submission: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Also write Kaggle's 37 columns; of weights that learnt votes.")
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also bands and pixels that weights never saw.")] = False,
    as_json: Json = False,
) -> None:
    """Say what every galaxy of SURVEY looks like: chances of classes, or fractions of votes, calibrated."""
    with job(as_json) as progress:
        table = sl.classify(survey, out, with_, submission=submission, anyway=anyway, progress=progress)
        said = table.column_names[-1]
        empty = table[said].to_numpy(zero_copy_only=False)
        unseen = int((empty != empty).sum())
        sentence = f"{out}: {len(table)} galaxies with {', '.join(map(str, with_))}"
        remarks = [f"{unseen} without a sound image"] if unseen else []
        remarks += [f"{submission} for Kaggle"] if submission else []
        summary = {"table": str(out), "galaxies": len(table), "unseen": unseen, "columns": len(table.column_names)}
        finish(
            "; ".join((sentence, *remarks)), summary | ({"submission": str(submission)} if submission else {}), as_json
        )
