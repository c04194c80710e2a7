"""Parquet files and Hugging Face `datasets` folders of cutouts, read one record batch after the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from skyloom.data.admission import Attempt, Piece, Request, admit
from skyloom.data.cutout import SurveyInfo
from skyloom.data.fields import KEY, find_fields, piece_of, travelling
from skyloom.data.pictures import read_picture, with_pixels_of
from skyloom.data.source import Source
from skyloom.errors import CutoutError, RequestError, SkyloomError, SourceError

BATCH_BYTES = 16 << 20  # decoded at a time
PLANES = ("flux", "ivar", "mask", "good")


def read_parquet(source: Path, catalogue: Path | None, request: Request) -> Source:
    """Objects of one Parquet or Arrow file, or of every one below a folder in the order of their names.

    Pixels lie in `image` (a struct of lists or a list of structs, as `datasets` writes the Multimodal Universe),
    in columns named image.flux …, in a column flux of nested lists, or in `image` as an encoded JPEG or PNG.
    """
    if catalogue is not None:
        raise RequestError(f"{source} has its catalogue in itself; leave --catalogue out")
    files = [source] if source.is_file() else _files(source)
    if not files:
        raise SourceError(source, "no Parquet or Arrow file in this folder", "check the path")
    total: int | None = 0
    known: SurveyInfo | None = None
    notes: tuple[str, ...] = ()
    for file in files:
        schema, count = _look(file)
        names = _flat_names(schema)
        notes = travelling(names, find_fields(names, str(file)), str(file))[1]
        total = total + count if count is not None and total is not None else None
        text = (schema.metadata or {}).get(KEY)
        known = known or (None if text is None else SurveyInfo.from_json(text.decode()))
    attempts = (attempt for file in files for attempt in _attempts(file, known))
    return admit(attempts, request, str(source), total=total, known=known, notes=notes)


def _files(folder: Path) -> list[Path]:
    """Data files, without Parquet's own `_metadata`, HATS thumbnails and the caches of `datasets`."""
    found = (file for file in folder.rglob("*") if file.suffix.lower() in (".parquet", ".parq", ".arrow"))
    return sorted(f for f in found if not f.name.startswith(("_", ".", "cache-", "data_thumbnail")))


def _look(file: Path) -> tuple[pa.Schema, int | None]:
    """Schema, and the number of rows where the file says so."""
    if file.stat().st_size == 0:
        raise SourceError(file, "the file has zero bytes", "fetch it again")
    try:
        if file.suffix.lower() == ".arrow":
            with _arrow(file) as reader:
                return reader.schema, None
        with pq.ParquetFile(file) as opened:
            return opened.schema_arrow, opened.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(file, f"not a Parquet or Arrow file, or cut short ({error})", "fetch it again") from error


def _arrow(file: Path) -> Any:
    """A reader of record batches, of the stream format that `datasets` writes or of the file format."""
    mapped = pa.memory_map(str(file))
    try:
        return pa.ipc.open_stream(mapped)
    except pa.ArrowInvalid:
        return pa.ipc.open_file(mapped)


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    try:
        if file.suffix.lower() == ".arrow":
            with _arrow(file) as reader:
                one_by_one = hasattr(reader, "get_batch")
                yield from (reader.get_batch(i) for i in range(reader.num_record_batches)) if one_by_one else reader
            return
        with pq.ParquetFile(file) as opened:
            row = next(opened.iter_batches(1), None)
            if row is not None:
                yield from opened.iter_batches(max(1, BATCH_BYTES // max(row.nbytes, 1)))
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, SkyloomError):
            raise
        raise SourceError(file, f"cannot be read to its end ({error})", "fetch it again") from error


def _flat_names(schema: pa.Schema) -> list[str]:
    """Column names, with the parts of `image` as image.flux …; an encoded picture counts as image.flux."""
    names: list[str] = []
    for field in schema:
        kind = _struct(field.type) if field.name == "image" else None
        if kind is None:
            names.append(field.name)
        elif kind.get_field_index("bytes") >= 0:
            names.append("image.flux")
        else:
            names.extend(f"image.{part.name}" for part in kind)
    return names


def _struct(kind: pa.DataType) -> pa.StructType | None:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return kind if pa.types.is_struct(kind) else None


def _attempts(file: Path, known: SurveyInfo | None) -> Iterator[Attempt]:
    done = 0
    for batch in _batches(file):
        names = _flat_names(batch.schema)
        found = find_fields(names, str(file))
        rest, _ = travelling(names, found, str(file))
        plain = {ours: theirs for ours, theirs in rest.items() if theirs in batch.schema.names}
        table = pa.Table.from_batches([batch.select(list(plain.values()))]).rename_columns(list(plain))
        values = table.to_pylist() if plain else [{}] * len(batch)
        for i, columns in enumerate(values):
            row = done + i + 1
            object_id = _value(batch, found["object_id"], i)
            read = partial(_piece, batch, i, found, columns, known, f"{file}, row {row}")
            yield Attempt("" if object_id is None else str(object_id), str(file), row, read)
        done += len(batch)


def _piece(batch: pa.RecordBatch, i: int, found: dict[str, str], columns: dict, known, where: str) -> Piece:
    encoded = _encoded(batch, i)
    if encoded is not None:
        picture = read_picture(BytesIO(encoded), where)
        row = {meaning: _value(batch, name, i) for meaning, name in found.items() if meaning != "flux"}
        return with_pixels_of(picture, piece_of({**row, "flux": picture.flux}, columns, known, where))
    row = {}
    for meaning, name in found.items():
        row[meaning] = _dense(batch, name, i, where) if meaning in PLANES else _value(batch, name, i)
    if row["flux"] is None:
        raise CutoutError(f"{where}: no flux")
    return piece_of(row, columns, known, where)


def _encoded(batch: pa.RecordBatch, i: int) -> bytes | None:
    if "image" not in batch.schema.names:
        return None
    value = batch["image"][i]
    return value["bytes"].as_py() if pa.types.is_struct(value.type) and "bytes" in value.keys() else None  # noqa: SIM118


def _part(batch: pa.RecordBatch, name: str, i: int) -> pa.Array | pa.Scalar:
    """A column's value in row i; of image.flux within `image`, whichever way round the struct and the list are."""
    if name in batch.schema.names:
        return batch[name][i]
    image, part = batch["image"][i], name.removeprefix("image.")
    return image[part] if pa.types.is_struct(image.type) else image.values.field(part)


def _value(batch: pa.RecordBatch, name: str, i: int) -> Any:
    found = _part(batch, name, i)
    return found.to_pylist() if isinstance(found, pa.Array) else found.as_py()


def _dense(batch: pa.RecordBatch, name: str, i: int, where: str) -> np.ndarray | None:
    """Nested lists as an array; nulls are NaN. CutoutError if the rows of an image differ in length."""
    found = _part(batch, name, i)
    if isinstance(found, pa.Scalar):
        if not found.is_valid:
            return None
        found = found.values
    shape = [len(found)]
    while pa.types.is_nested(found.type):
        lengths = set(pc.list_value_length(found).to_pylist())
        if len(lengths) != 1 or None in lengths:
            raise CutoutError(f"{where}: the rows of {name} differ in length ({sorted(map(str, lengths))[:5]})")
        shape.append(lengths.pop())
        found = found.flatten()
    values = found.to_numpy(zero_copy_only=False)
    return values.reshape(shape)
