"""Commands that look through a survey: search, anomalies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import skyloom as sl
from skyloom.cli.console import Json, SurveyArgument, finish, job

WithOption = Annotated[
    str | None, typer.Option("--with", metavar="NAME", help="Weights whose embeddings SURVEY holds, or their run.")
]
WhereOption = Annotated[str | None, typer.Option(metavar="SQL", help='Only objects that pass, e.g. "mag_r < 20".')]
OutOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Table (.parquet, .ecsv, .fits), sheet (.png, .html), .moc.fits; repeatable."),
]
SHOWN = 10  # lines that are printed


def search(
    survey: SurveyArgument,
    query: Annotated[
        list[str], typer.Argument(metavar="QUERY…", help="An object_id, a FITS cutout, a picture, a folder of them.")
    ],
    k: Annotated[int, typer.Option("--k", min=1, help="How many for each.")] = 10,
    with_: Annotated[
        str | None,
        typer.Option("--with", metavar="NAME", help="Weights whose embeddings SURVEY holds, a run, or `pixels`."),
    ] = None,
    where: WhereOption = None,
    transfer: Annotated[
        str | None, typer.Option(metavar="NAME", help="A generator that first gives a sketch the survey's look.")
    ] = None,
    out: OutOption = None,
    as_json: Json = False,
) -> None:
    """Find the galaxies of SURVEY most like one of them, an image from elsewhere, or a sketch."""
    with job(as_json) as progress:
        found = sl.search(
            survey, query, k, with_=with_, where=where, transfer=transfer, out=out or [], progress=progress
        )
        rows = found.to_pylist()
        for row in rows[:SHOWN]:
            typer.echo(f"{row['query']}: {row['rank']}. {row['object_id']} at {row['distance']:.4g}", err=as_json)
        _finish(f"{survey}: {len(rows)} found", found, out, as_json)


def anomalies(
    survey: SurveyArgument,
    k: Annotated[int, typer.Option("--k", min=1, help="How many.")] = 100,
    with_: WithOption = None,
    where: WhereOption = None,
    good: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of good pixels in any band; 0 shows the field's edges too.")
    ] = 0.9,
    labels: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Tables with object_id and label, yes or no; repeatable.")
    ] = None,
    out: OutOption = None,
    as_json: Json = False,
) -> None:
    """List the oddest objects of SURVEY; with labels, those that are odd like the wanted ones."""
    with job(as_json):
        found = sl.anomalies(survey, k, with_=with_, where=where, good=good, labels=labels or [], out=out or [])
        for row in found.slice(0, SHOWN).to_pylist():
            typer.echo(f"{row['rank']}. {row['object_id']}, score {row['score']:.4g}", err=as_json)
        _finish(f"{survey}: the {len(found)} oddest", found, out, as_json)


def _finish(said: str, found: Any, out: list[Path] | None, as_json: bool) -> None:
    """What was found, what was done to the query, what was written."""
    notes = [line for line in (found.schema.metadata or {})[b"notes"].decode().split("\n") if line]
    for line in notes:
        typer.echo(line, err=as_json)
    files = [str(file) for file in out or []]
    columns = [name for name in ("query", "rank", "object_id", "distance", "score") if name in found.column_names]
    summary = {"rows": found.select(columns).to_pylist(), "notes": notes, "out": files}
    finish("; ".join((said, *files)), summary, as_json)
