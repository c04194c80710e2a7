"""What every command shares: the app, its progress, its errors, its last words.

Progress: a library function that takes long accepts `progress: Callable[[int, int | None, str], None] | None = None`
and calls it as `progress(done, total, what)`; total is None while unknown. The commands pass one; nobody else has to.
Exit codes: 0 done, 1 a named error (message on stderr), 2 usage, 130 interrupted. A defect keeps its traceback.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import skyloom as sl
from skyloom.errors import SkyloomError

SECONDS_BETWEEN_LINES = 10.0

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

SurveyArgument = Annotated[Path, typer.Argument(metavar="SURVEY", help="A survey, e.g. kids.lance.")]
Json = Annotated[bool, typer.Option("--json", help="Print one machine-readable JSON summary on the last line.")]


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int | None, str], None]]:
    """A bar per piece of work on stderr, gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(done: int, total: int | None, what: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show


@contextmanager
def progress_lines() -> Iterator[Callable[[int, int | None, str], None]]:
    """Plain lines on stderr, one at the start of each piece of work and then one every ten seconds."""
    latest: dict[str, float] = {}

    def show(done: int, total: int | None, what: str) -> None:
        now = time.monotonic()
        if now - latest.get(what, -math.inf) >= SECONDS_BETWEEN_LINES:
            latest[what] = now
            typer.echo(f"{what}: {done}" if total is None else f"{what}: {done} of {total}", err=True)

    yield show


@contextmanager
def job(as_json: bool) -> Iterator[Callable[[int, int | None, str], None]]:
    """Run one verb with its progress shown; an error that skyloom names becomes its message and exit code 1."""
    try:
        with progress_bar() if sys.stderr.isatty() else progress_lines() as progress:
            yield progress
    except SkyloomError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        if as_json:
            typer.echo(json.dumps({"error": type(error).__name__, "message": str(error)}, ensure_ascii=False))
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo("interrupted; nothing was left half-written: run the same command again", err=True)
        raise typer.Exit(130) from None


def finish(sentence: str, summary: dict[str, Any], as_json: bool) -> None:
    """The last words of a verb: a sentence for people, or with --json (then on stderr) one line for programs."""
    typer.echo(sentence, err=as_json)
    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False, default=str))


def zero_points(given: list[str] | None) -> dict[str, float]:
    """["g=22.5", "r=22.5"] to {"g": 22.5, "r": 22.5} [AB mag]; anything else is a usage error."""
    table: dict[str, float] = {}
    for text in given or ():
        band, equals, number = text.partition("=")
        try:
            magnitude = float(number)
        except ValueError:
            magnitude = math.nan
        if not (band and equals and math.isfinite(magnitude)):
            raise typer.BadParameter(f"{text!r} is not BAND=MAG, e.g. r=22.5", param_hint="--zero-point")
        if band in table:
            raise typer.BadParameter(f"band {band!r} is given twice", param_hint="--zero-point")
        table[band] = magnitude
    return table


def sides(given: str) -> tuple[int, int]:
    """ "4096x2048" to (4096, 2048); anything else is a usage error."""
    rows, _, columns = given.lower().replace("×", "x").partition("x")
    try:
        return int(rows), int(columns)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is not HxW, e.g. 4096x4096", param_hint="--shape") from None


def pairs(given: list[str] | None, option: str = "--set", example: str = "steps=500") -> dict[str, str]:
    """["steps=500"] to {"steps": "500"}; anything else is a usage error. option : that they were given to"""
    split = [text.partition("=") for text in given or ()]
    for name, equals, value in split:
        if not (name and equals and value):
            raise typer.BadParameter(f"{name + equals + value!r} is not KEY=VALUE, e.g. {example}", param_hint=option)
    return {name: value for name, _, value in split}


def say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"skyloom {sl.__version__}")
        raise typer.Exit


@app.callback()
def skyloom(
    version: Annotated[bool, typer.Option("--version", callback=say_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Turn a survey's pixels into profiles, catalogues, searches and simulations."""
