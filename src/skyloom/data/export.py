"""The door out: a survey as files that other tools read, in full or not at all.

export(open("kids.lance"), "kids_fits", format="fits")
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skyloom.data import store
from skyloom.data.writers.fits import write_fits
from skyloom.data.writers.hats import write_hats
from skyloom.data.writers.hdf5 import write_hdf5
from skyloom.data.writers.parquet import write_parquet
from skyloom.errors import RequestError, StoreError

WRITERS = {"fits": write_fits, "parquet": write_parquet, "hdf5": write_hdf5, "hats": write_hats}
Progress = Callable[[int, int | None, str], None]


def export(
    survey: store.Survey | str | Path, directory: str | Path, format: str = "fits", *, progress: Progress | None = None
) -> dict[str, Any]:
    """Write a survey into a new folder; returns format, objects, files, bytes, and the columns left out, with reasons.

    fits : one MEF file per object (SCI, IVAR, MASK of each band) and catalogue.parquet, catalogue.fits
    parquet : Multimodal-Universe field names; hdf5 : its HDF5 layout, in one file
    hats : Parquet partitioned by HEALPix cell; needs ra and dec of every object
    The folder appears when the last file is written: a stopped export leaves a hidden folder, which the next removes.
    Raises RequestError if the folder holds anything, or the survey cannot take the format; StoreError if it cannot
    be written.
    """
    if format not in WRITERS:
        raise RequestError(f"format {format!r} is unknown; choose one of {', '.join(WRITERS)}")
    opened = store.opened(survey)
    directory = Path(directory).absolute()
    _require_free(directory)
    partial = directory.with_name(f".{directory.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        left_out = WRITERS[format](opened, partial, lambda done: progress and progress(done, len(opened), "export"))
        files = [file for file in partial.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        if directory.exists():
            directory.rmdir()
        partial.rename(directory)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{directory} cannot be written: {error.strerror or error}; choose another place") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"format": format, "objects": len(opened), "files": len(files), "bytes": size, "left_out": left_out}


def _require_free(directory: Path) -> None:
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
        what = "is a file" if directory.is_file() else "holds files already"
        raise RequestError(f"{directory} {what}, and an export overwrites nothing; choose a new folder")
    if not directory.parent.is_dir():
        raise StoreError(f"there is no folder {directory.parent}; make it first")
    if not os.access(directory.parent, os.W_OK):
        raise StoreError(f"{directory.parent} cannot be written; choose another place")
