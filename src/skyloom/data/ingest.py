"""The door in: whatever SOURCE is, a survey comes out, and what could not be read is named.

survey = ingest("cutouts/", "survey.lance")
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from skyloom.data import store
from skyloom.data.admission import Request
from skyloom.data.cutout import Cutout
from skyloom.data.kinds import kind_of
from skyloom.data.mosaic import GRID
from skyloom.data.profiles import column_of, keep_profiles
from skyloom.data.readers.cutouts import read_cutouts
from skyloom.data.readers.hdf5 import read_hdf5
from skyloom.data.readers.jpeg import read_jpeg
from skyloom.data.readers.mosaic import DEFAULT_SIZE, read_mosaic
from skyloom.data.readers.parquet import read_parquet
from skyloom.data.readers.profiles import read_profile_table
from skyloom.data.readers.table import read_table
from skyloom.data.sample import read_sample
from skyloom.data.source import Quarantine, Source
from skyloom.data.tiles.mosaic import read_field
from skyloom.errors import RequestError, StoreError
from skyloom.sky.background import sky_level

Progress = Callable[[int, int | None, str], None]


def ingest(
    source: str | Path,
    survey: str | Path,
    *,
    catalogue: str | Path | None = None,
    size: int | None = None,
    pixel_scale: float | None = None,
    zero_point: Mapping[str, float] | None = None,
    skip_bad: bool = False,
    profiles: str | None = None,
    progress: Progress | None = None,
) -> store.Survey:
    """Read a source into a survey, new or existing; docs/ingest.md has the table of what a source may be.

    size : [pixel] side of each cutout: cut from a mosaic; a cutout's central part, padded with ivar 0 if it is smaller
    pixel_scale, zero_point : [arcsec/pixel], {band: AB mag}; fill what the source does not state, never override it
    skip_bad : set bad objects aside in <survey>.quarantine.csv instead of raising at the first
    profiles : the source is a profile table, or a folder of them, of objects that the survey has; it becomes the column
    `profile_<profiles>`, replaced if it is there; no other option goes with it
    The survey is there in full or not at all. Memory stays flat, whatever the size of the source.
    Raises SourceError, CatalogueError, CutoutError or UnitError naming file and row; RequestError for options that
    do not fit the source; StoreError if the survey cannot be written.
    """
    survey = Path(survey)
    request = Request(size, pixel_scale, zero_point, skip_bad)
    if profiles is not None:
        if catalogue is not None or request != Request():
            raise RequestError("profiles go to objects that the survey has; leave out all other options, or --profiles")
        return _ingest_profiles(Path(source), survey, profiles)
    _require_writable(survey)
    opened = _open(source, None if catalogue is None else Path(catalogue), request)
    there = store.open(survey) if survey.exists() else None
    if there is not None and skip_bad:
        opened = _without_known(opened, there, str(source))
    stream = _set_aside(_watched(_measured(opened.cutouts), opened.total, progress), opened, survey, there is not None)
    return store.write(survey, opened.info, stream, append=there is not None)


def _ingest_profiles(source: Path, survey: Path, name: str) -> store.Survey:
    """Profile tables into a column of an existing survey; everything is checked before anything is written."""
    column_of(name)
    if not survey.exists():
        raise StoreError(f"{survey}: no survey there to keep profiles in; ingest its images first, or check the name")
    there = store.open(survey)
    ids = there.table(["object_id"])["object_id"].to_pylist()
    return keep_profiles(there, read_profile_table(source, there.info, ids), name)


def sample() -> store.Survey:
    """The sample survey: a real nine-band field of KiDS and VIKING, built once in the user's cache directory."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skyloom"
    path = home / "sample-1.lance"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        ingest("sample", path)
    return store.open(path)


def quarantine_path(survey: Path) -> Path:
    """Where the objects set aside are listed: object_id, file, row, reason."""
    return survey.with_name(f"{survey.name}.quarantine.csv")


def _open(source: str | Path, catalogue: Path | None, request: Request) -> Source:
    if str(source) == "sample":
        pieces = str(catalogue) == GRID
        if (catalogue and not pieces) or replace(request, size=None, skip_bad=False) != Request():
            raise RequestError(
                "the sample survey knows its catalogue, pixel scale and zero points; leave out --catalogue (or say "
                "grid), --pixel-scale, --zero-point (--size may be given)"
            )
        return read_sample(size=DEFAULT_SIZE if request.size is None else request.size, pieces=pieces)
    path = Path(source)
    kind = kind_of(path, catalogue, request.size)
    if kind == "field":
        return read_field(path, catalogue, request)
    if kind == "mosaic":
        return read_mosaic(
            path,
            catalogue=catalogue,
            size=request.size,
            pixel_scale=request.pixel_scale,
            zero_point=request.zero_point,
            skip_bad=request.skip_bad,
        )
    readers = {
        "cutouts": read_cutouts, "hdf5": read_hdf5, "parquet": read_parquet, "jpeg": read_jpeg, "table": read_table,
    }  # fmt: skip
    return readers[kind](path, catalogue, request)


def _require_writable(survey: Path) -> None:
    """StoreError before any work, if there is no place for the survey."""
    parent = survey.absolute().parent
    if not parent.is_dir():
        raise StoreError(f"{survey}: there is no folder {parent}; make it first")
    if not os.access(parent, os.W_OK):
        raise StoreError(f"{survey}: {parent} cannot be written; choose another place")
    if shutil.disk_usage(parent).free < 1 << 20:
        raise StoreError(f"{survey}: the disk is full; choose another place")


def _measured(cutouts: Iterator[Cutout]) -> Iterator[Cutout]:
    """Cutouts with the sky level and rms of each band, measured where the reader left them out."""
    for cutout in cutouts:
        if cutout.sky is None or cutout.sky_rms is None:
            level, rms = (np.asarray(values, np.float32) for values in sky_level(cutout.flux, cutout.ivar))
            cutout = replace(cutout, sky=level if cutout.sky is None else cutout.sky, sky_rms=rms)
        yield cutout


def _watched(cutouts: Iterator[Cutout], total: int | None, progress: Progress | None) -> Iterator[Cutout]:
    for done, cutout in enumerate(cutouts, 1):
        yield cutout
        if progress is not None:
            progress(done, total, "ingest")


def _without_known(opened: Source, there: store.Survey, source: str) -> Source:
    """Objects that the survey already has go to the quarantine."""
    known = set(there.table(["object_id"])["object_id"].to_pylist())
    aside = list(opened.quarantine)

    def new() -> Iterator[Cutout]:
        for cutout in opened.cutouts:
            if cutout.object_id not in known:
                yield cutout
            else:
                aside.append(
                    Quarantine(cutout.object_id, source, None, "the survey has an object of this name already")
                )
        aside[: len(opened.quarantine)] = opened.quarantine

    return opened._replace(cutouts=new(), quarantine=aside)


def _set_aside(cutouts: Iterator[Cutout], opened: Source, survey: Path, append: bool) -> Iterator[Cutout]:
    """Pass the cutouts on; list the bad ones beside the survey before the last one is committed."""
    yield from cutouts
    path = quarantine_path(survey)
    if not append:
        path.unlink(missing_ok=True)
    if not opened.quarantine:
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", newline="", encoding="utf-8") as file:
        if path.exists():
            file.write(path.read_text(encoding="utf-8"))
        else:
            csv.writer(file).writerow(Quarantine._fields)
        csv.writer(file).writerows(opened.quarantine)
    draft.replace(path)
