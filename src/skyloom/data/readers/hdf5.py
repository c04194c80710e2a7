"""HDF5 files of cutouts: skyloom's exports, the Multimodal Universe's layout, or any file with flux and object_id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from skyloom.data.admission import Attempt, Piece, Request, admit
from skyloom.data.cutout import SurveyInfo
from skyloom.data.fields import KEY, find_fields, piece_of, travelling
from skyloom.data.pictures import as_picture, with_pixels_of
from skyloom.data.source import Source
from skyloom.errors import CatalogueError, RequestError, SourceError

CHUNK_BYTES = 16 << 20  # of flux read at a time


def read_hdf5(source: Path, catalogue: Path | None, request: Request) -> Source:
    """Objects of one HDF5 file, or of every one below a folder in the order of their names."""
    if catalogue is not None:
        raise RequestError(f"{source} has its catalogue in itself; leave --catalogue out")
    suffixes = (".h5", ".hdf5", ".hdf")
    files = [source] if source.is_file() else sorted(f for f in source.rglob("*") if f.suffix.lower() in suffixes)
    total = 0
    known: SurveyInfo | None = None
    notes: tuple[str, ...] = ()
    for file in files:
        with _opened(file) as (data, _):
            found = find_fields(data.keys(), str(file))
            total += len(data[found["object_id"]])
            known = known or _known(data)
            notes = travelling(_datasets(data), found, str(file))[1]
    attempts = (attempt for file in files for attempt in _attempts(file, known))
    return admit(attempts, request, str(source), total=total, known=known, notes=notes)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, Path]]:
    if file.stat().st_size == 0:
        raise SourceError(file, "the file has zero bytes", "fetch it again")
    try:
        data = h5py.File(file, "r")
    except OSError as error:
        cut = "the file is cut short" if "truncated" in str(error) else "not an HDF5 file"
        raise SourceError(file, f"{cut} ({error})", "fetch it again") from error
    with data:
        yield data, file


def _datasets(data: h5py.File) -> list[str]:
    return [name for name in data if isinstance(data[name], h5py.Dataset)]


def _known(data: h5py.File) -> SurveyInfo | None:
    text = data.attrs.get(KEY.decode())
    return None if text is None else SurveyInfo.from_json(text)


def _attempts(file: Path, known: SurveyInfo | None) -> Iterator[Attempt]:
    with _opened(file) as (data, _):
        found = find_fields(data.keys(), str(file))
        count = len(data[found["object_id"]])
        rest, _ = travelling(_datasets(data), found, str(file))
        for name in (*found.values(), *rest.values()):
            if data[name].shape[:1] != (count,):
                raise CatalogueError(f"{file}: dataset {name!r} has shape {data[name].shape} and there are {count} ids")
        flux = data[found["flux"]]
        step = max(1, CHUNK_BYTES // max(1, flux.dtype.itemsize * int(np.prod(flux.shape[1:]))))
        for start in range(0, count, step):
            block = _block(data, {**rest, **found}, file, slice(start, start + step))
            for i, object_id in enumerate(block["object_id"]):
                row = {meaning: block[meaning][i] for meaning in found}
                columns = {name: _python(block[name][i]) for name in rest}
                read = partial(_piece, row, columns, known, f"{file}, row {start + i + 1}")
                yield Attempt(str(_python(object_id)), str(file), start + i + 1, read)


def _block(data: h5py.File, fields: Mapping[str, str], file: Path, rows: slice) -> dict[str, Sequence]:
    try:
        return {meaning: data[name][rows] for meaning, name in fields.items()}
    except OSError as error:
        raise SourceError(
            file, f"rows {rows.start + 1}–{rows.stop} cannot be read ({error})", "fetch it again"
        ) from error


def _piece(row: dict[str, Any], columns: dict[str, Any], known: SurveyInfo | None, where: str) -> Piece:
    row = {meaning: _python(value) if meaning in ("wcs", "tile") else value for meaning, value in row.items()}
    flux = row["flux"]
    if flux.dtype != np.uint8 or flux.ndim != 3 or flux.shape[-1] not in (1, 3):
        return piece_of(row, columns, known, where)
    planes = np.moveaxis(flux, -1, 0)
    bare = piece_of({**row, "flux": planes}, columns, known, where)
    return with_pixels_of(as_picture("RGB" if len(planes) == 3 else ("grey",), planes), bare)


def _python(value: Any) -> Any:
    """A NumPy or HDF5 value as plain Python: text for bytes, lists for arrays."""
    if isinstance(value, bytes | np.bytes_):
        return value.decode()
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
