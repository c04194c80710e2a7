"""Commands that tell: report, tour."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import skyloom as sl
from skyloom.cli.console import Json, finish, job


def report(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Surveys and tables.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page to write, .html.")],
    as_json: Json = False,
) -> None:
    """Write one page, readable anywhere, on surveys and what was measured on them."""
    with job(as_json) as progress:
        sl.report(paths, out=out, progress=progress)
        finish(f"{out}: a report on {', '.join(map(str, paths))}", {"report": str(out), "paths": paths}, as_json)


def tour(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")] = Path("tour"),
    as_json: Json = False,
) -> None:
    """Show the whole story on the real field that comes with skyloom, offline, in minutes."""
    with job(as_json) as progress:
        summary = sl.tour(out, progress=progress)
        finish(
            f"{summary['galaxies']} galaxies in {summary['elapsed']:.0f} s; look at {summary['report']}",
            summary,
            as_json,
        )
