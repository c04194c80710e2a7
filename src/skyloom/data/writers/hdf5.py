"""One HDF5 file in the Multimodal Universe's layout, a dataset per column, chunked by object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from skyloom.data.fields import KEY
from skyloom.data.store import Survey
from skyloom.data.writers.parquet import GROUP_BYTES, rows_within

TEXT = h5py.string_dtype("utf-8")


def write_hdf5(survey: Survey, folder: Path, done: Callable[[int], Any]) -> dict[str, str]:
    """survey.h5; returns the columns that HDF5 cannot hold, and those whose missing values became NaN or ""."""
    info, count = survey.info, len(survey)
    bands = len(info.bands)
    remarks: dict[str, str] = {}
    with h5py.File(folder / "survey.h5", "w") as file:
        file.attrs[KEY.decode()] = info.to_json()
        table = survey.table()
        for field in table.schema:
            values = _values(field, table[field.name], remarks)
            if values is not None:
                file.create_dataset(field.name, data=values, dtype=TEXT if values.dtype == object else None)
        per_band = {
            "image_band": np.array(info.band_names, dtype=h5py.string_dtype("utf-8", 32)),
            "image_psf_fwhm": np.array([band.psf_fwhm or np.nan for band in info.bands], np.float32),
            "image_scale": np.full(bands, info.pixel_scale or np.nan, np.float32),
        }
        for name, row in per_band.items():
            file.create_dataset(name, data=np.broadcast_to(row, (count, bands)), dtype=row.dtype)
        shape = (count, bands, *info.shape)
        kinds = {"image_array": np.float32, "image_ivar": np.float32, "image_mask": np.bool_}
        chunks = (1, *shape[1:]) if count else None
        cubes = {name: file.create_dataset(name, shape, kind, chunks=chunks) for name, kind in kinds.items()}
        step = rows_within(info, GROUP_BYTES)
        for start in range(0, count, step):
            rows = np.arange(start, min(start + step, count))
            flux, ivar = survey.cutouts_at(rows)
            for cube, values in zip(cubes.values(), (flux, ivar, ivar > 0), strict=True):
                cube[start : start + len(rows)] = values
            done(int(rows[-1]) + 1)
    return remarks


def _values(field: pa.Field, column: pa.ChunkedArray, remarks: dict[str, str]) -> np.ndarray | None:
    """A column as an array: text, numbers, or lists of one length; None, with a remark, if it is neither."""
    kind = field.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        if column.null_count and field.name not in ("wcs", "tile"):
            remarks[field.name] = f"{column.null_count} missing texts are written as empty"
        return np.array(["" if text is None else text for text in column.to_pylist()], object)
    if pa.types.is_nested(kind):
        return _lists(field.name, column, remarks)
    if column.null_count and not pa.types.is_floating(kind):
        remarks[field.name] = f"{column.null_count} missing values are written as NaN, the column as float64"
        column = column.cast(pa.float64())
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        remarks[field.name] = f"left out: {kind} has no place in HDF5"
        return None
    return column.to_numpy()


def _lists(name: str, column: pa.ChunkedArray, remarks: dict[str, str]) -> np.ndarray | None:
    rows = column.to_pylist()
    lengths = {len(row) for row in rows if row is not None}
    if len(lengths) != 1 or not all(isinstance(v, int | float | None) for row in rows for v in row or ()):
        if column.null_count < len(rows):
            remarks[name] = "left out: its lists differ in length or hold more than numbers"
        return None
    blank = [np.nan] * lengths.pop()
    return np.array([blank if row is None else row for row in rows], _number_type(column.type))


def _number_type(kind: pa.DataType) -> np.dtype:
    inner = kind.value_type
    return np.dtype(np.float64) if not pa.types.is_floating(inner) else np.dtype(inner.to_pandas_dtype())
