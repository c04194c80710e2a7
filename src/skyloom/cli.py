"""One command per verb: parse, call the library function of the same name, say in one line what was made. No science.

Progress: a library function that takes long accepts `progress: Callable[[int, int | None, str], None] | None = None`
and calls it as `progress(done, total, what)`; total is None while unknown. The commands pass one; nobody else has to.
Exit codes: 0 done, 1 a named error (message on stderr), 2 usage, 130 interrupted. A defect keeps its traceback.
"""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import skyloom as sl
from skyloom.errors import SkyloomError

SECONDS_BETWEEN_LINES = 10.0
FACTS_OF_SURVEY = 1 | 2 | 4  # flags of a profile that say what the survey lacks: WCS, zero point, pixel scale

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Format(StrEnum):
    fits = "fits"
    parquet = "parquet"
    hdf5 = "hdf5"
    hats = "hats"


class Size(StrEnum):
    smoke = "smoke"
    laptop = "laptop"
    gpu = "gpu"
    paper = "paper"


SurveyArgument = Annotated[Path, typer.Argument(metavar="SURVEY", help="A survey, e.g. kids.lance.")]
Json = Annotated[bool, typer.Option("--json", help="Print one machine-readable JSON summary on the last line.")]


def main() -> None:
    """The entry point of the command `skyloom`."""
    app()


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


def pairs(given: list[str] | None) -> dict[str, str]:
    """["steps=500"] to {"steps": "500"}; anything else is a usage error."""
    split = [text.partition("=") for text in given or ()]
    for name, equals, value in split:
        if not (name and equals and value):
            raise typer.BadParameter(f"{name + equals + value!r} is not KEY=VALUE, e.g. steps=500", param_hint="--set")
    return {name: value for name, _, value in split}


def profile_column(engine: str) -> str:
    """The column in which `--keep` puts the profiles of an engine, or of a run."""
    return f"profile_{Path(engine).name.replace('-', '_')}"


def unknowns(survey: sl.Survey) -> list[str]:
    """What the source did not say, and what follows for every result."""
    bare = [band.name for band in survey.info.bands if band.zero_point is None]
    positions = survey.table(["ra"])["ra"]
    said = []
    if bare:
        said.append(f"no zero point for {', '.join(bare)}: results in instrumental units")
    if survey.info.pixel_scale is None:
        said.append("no pixel scale: sizes in pixels")
    if len(positions) and positions.null_count == len(positions):
        said.append("no WCS: positions in pixel coordinates")
    return said


def quarantine(survey: Path) -> Path:
    """The list of what was set aside, beside the survey."""
    return survey.with_name(f"{survey.name}.quarantine.csv")


def set_aside(survey: Path) -> Counter[str]:
    """How many objects are in the quarantine of a survey, by reason."""
    if not (survey.exists() and quarantine(survey).exists()):
        return Counter()
    with quarantine(survey).open(newline="", encoding="utf-8") as rows:
        return Counter(row["reason"] for row in csv.DictReader(rows))


def complaint(bad: Counter[str], survey: Path) -> list[str]:
    """`2 set aside in kids.lance.quarantine.csv (1 × the file is empty, …)`, or nothing."""
    reasons = [f"{count} × {reason}" for reason, count in bad.most_common(3)] + ["…"] * (len(bad) > 3)
    return [f"{bad.total()} set aside in {quarantine(survey)} ({', '.join(reasons)})"] if bad else []


def describe(survey: sl.Survey) -> dict[str, Any]:
    """The facts of a survey that every summary carries."""
    return {
        "survey": str(survey.path),
        "objects": len(survey),
        "bands": survey.info.band_names,
        "shape": survey.info.shape,
        "version": survey.version,
        "unknown": unknowns(survey),
    }


def sentence(survey: sl.Survey, *remarks: str) -> str:
    """`kids.lance: 2560 cutouts of 64×64 pixels in u, g, r; …`"""
    height, width = survey.info.shape
    what = f"{survey.path}: {len(survey)} cutouts of {height}×{width} pixels in {', '.join(survey.info.band_names)}"
    return "; ".join((what, *remarks))


def kept_profiles(survey: sl.Survey, column: str) -> tuple[str, dict[str, Any]]:
    """`kids.lance: 12 profiles of 4 objects in g, r, i, in the column profile_courteau`, and the same for programs."""
    profiles = survey.table([column])[column].combine_chunks()
    there = set(profiles.flatten().field("band").to_pylist())
    bands = [band for band in survey.info.band_names if band in there]
    objects, count = len(profiles) - profiles.null_count, len(profiles.flatten())
    said = f"{survey.path}: {count} profiles of {objects} objects in {', '.join(bands)}, in the column {column}"
    return said, {"survey": str(survey.path), "column": column, "profiles": count, "objects": objects, "bands": bands}


def say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"skyloom {sl.__version__}")
        raise typer.Exit


@app.callback()
def skyloom(
    version: Annotated[bool, typer.Option("--version", callback=say_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Turn a survey's pixels into profiles, catalogues, searches and simulations."""


@app.command()
def ingest(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="FITS file or folder, HDF5, Parquet, JPEG folder; or `sample`.")
    ],
    survey: SurveyArgument,
    catalogue: Annotated[Path | None, typer.Option(help="Table of objects: CSV, ECSV, FITS or Parquet.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Side of a cutout [pixel].")] = None,
    pixel_scale: Annotated[float | None, typer.Option(help="[arcsec/pixel], if the source does not say.")] = None,
    zero_point: Annotated[list[str] | None, typer.Option(metavar="BAND=MAG", help="AB zero point; repeatable.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Set bad objects aside, with reasons.")] = False,
    profiles: Annotated[
        str | None, typer.Option(metavar="NAME", help="SOURCE is profiles: keep them as column profile_NAME.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read images and a catalogue into SURVEY, or add them to it."""
    given = zero_points(zero_point) or None
    with job(as_json) as progress:
        before = set_aside(survey)
        made = sl.ingest(
            source,
            survey,
            catalogue=catalogue,
            size=size,
            pixel_scale=pixel_scale,
            zero_point=given,
            skip_bad=skip_bad,
            profiles=profiles,
            progress=progress,
        )
        if profiles is not None:
            finish(*kept_profiles(made, f"profile_{profiles}"), as_json)
            return
        bad = set_aside(survey) - before
        finish(sentence(made, *complaint(bad, survey), *unknowns(made)), {**describe(made), "set_aside": bad}, as_json)


@app.command()
def mock(
    survey: SurveyArgument,
    n: Annotated[int, typer.Option("--n", min=1, help="How many galaxies.")],
    size: Annotated[int, typer.Option(min=1, help="Side of a cutout [pixel].")] = 256,
    bands: Annotated[str, typer.Option(help="One letter per band.")] = "gri",
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw N galaxies whose truth is known into a new SURVEY."""
    with job(as_json) as progress:
        made = sl.mock(survey, n, size=size, bands=bands, seed=seed, progress=progress)
        finish(sentence(made, f"seed {seed}"), {**describe(made), "seed": seed}, as_json)


@app.command()
def export(
    survey: SurveyArgument,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    format: Annotated[Format, typer.Option(help="How the pixels are written.")] = Format.fits,
    as_json: Json = False,
) -> None:
    """Write SURVEY out as files that other tools read."""
    with job(as_json) as progress:
        summary = sl.export(sl.open(survey), directory, format=format.value, progress=progress)
        left_out = list(summary["left_out"].items())
        example = [f"{len(left_out)} columns left out, e.g. {': '.join(left_out[0])}"] if left_out else []
        said = f"{directory}: {summary['objects']} objects as {format}, {summary['bytes'] / 1e6:.1f} MB"
        finish("; ".join((said, *example)), {"directory": str(directory), **summary}, as_json)


@app.command()
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


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="pix2prof or profile_decoder.")],
    surveys: Annotated[list[Path], typer.Argument(metavar="SURVEY…", help="What to learn from.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The run directory to write, or to go on with.")],
    size: Annotated[Size, typer.Option(help="How large, and for what machine.")] = Size.laptop,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A number of the recipe; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train RECIPE on SURVEY. Run it again with the same --out to go on."""
    given = pairs(settings)
    with job(as_json) as progress:
        run = sl.train(recipe, surveys, out, size=size.value, settings=given, progress=progress)
        facts = run.facts("training") or {}
        finish(f"{out}: trained in {facts['seconds']:.0f} s", {"run": str(out), **facts}, as_json)


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Surveys and tables.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page to write, .html.")],
    as_json: Json = False,
) -> None:
    """Write one page, readable anywhere, on surveys and what was measured on them."""
    with job(as_json) as progress:
        sl.report(paths, out=out, progress=progress)
        finish(f"{out}: a report on {', '.join(map(str, paths))}", {"report": str(out), "paths": paths}, as_json)


@app.command()
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
