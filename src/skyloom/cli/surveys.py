"""Commands that bring pixels into a survey and out of it: ingest, mock, export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import skyloom as sl
from skyloom.cli.console import Json, SurveyArgument, finish, job, zero_points
from skyloom.cli.described import complaint, describe, kept_profiles, sentence, set_aside, unknowns


class Format(StrEnum):
    fits = "fits"
    parquet = "parquet"
    hdf5 = "hdf5"
    hats = "hats"


def ingest(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="FITS file or folder, HDF5, Parquet, JPEG folder; or `sample`.")
    ],
    survey: SurveyArgument,
    catalogue: Annotated[
        Path | None, typer.Option(help="Table of objects: CSV, ECSV, FITS or Parquet; or `grid`.")
    ] = None,
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
