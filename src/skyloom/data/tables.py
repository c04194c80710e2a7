"""Product tables to files and back: one row per object and band, ragged lists and all, units in the header.

A table is a pyarrow.Table whose fields carry their unit in metadata (`unit`, as astropy spells it) and whose
schema carries the story (`description`, `source` …).
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

from skyloom.data.destination import require_place
from skyloom.errors import RequestError, SourceError, StoreError

FORMATS = (".parquet", ".ecsv", ".fits")


def check_destination(path: str | Path) -> Path:
    """The path, if a table can be written there; said before the long work, not after it."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise RequestError(f"{path}: a table ends in {', '.join(FORMATS)}; got {path.suffix or 'no suffix'!r}")
    require_place(path)
    return path


def write_table(table: pa.Table, path: str | Path) -> None:
    """Write a table in the format of its suffix; the file is the old one or the new one, never half of either."""
    path = check_destination(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
    try:
        if path.suffix == ".parquet":
            pq.write_table(table, partial)
        elif path.suffix == ".ecsv":
            to_astropy(table).write(partial, format="ascii.ecsv", overwrite=True)
        else:
            _to_fits(table).writeto(partial, overwrite=True, checksum=True)
        partial.replace(path)
    except OSError as fault:
        raise StoreError(f"{path} cannot be written: {fault}; free some space or choose another folder") from fault
    except UnicodeEncodeError as fault:
        raise RequestError(
            f"{path}: FITS tables hold ASCII only, not {fault.object!r}; write .parquet or .ecsv"
        ) from fault
    finally:
        partial.unlink(missing_ok=True)


def read_table(path: str | Path) -> pa.Table:
    """A product table from a Parquet file, metadata and all."""
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as fault:
        raise SourceError(path, f"not a Parquet table ({fault})", "give a table that skyloom wrote") from fault


def unit_of(field: pa.Field) -> str:
    """The unit of a column, "" if it has none."""
    return (field.metadata or {}).get(b"unit", b"").decode()


def _story(table: pa.Table) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}


def to_astropy(table: pa.Table) -> Table:
    """The same rows as an astropy Table; lists become an object column of arrays."""
    out = Table(meta=_story(table))
    for field in table.schema:
        values = table[field.name]
        if pa.types.is_list(field.type):
            column = np.empty(len(values), object)
            column[:] = [np.asarray(row, np.float64) for row in values.to_pylist()]
        else:
            column = values.to_numpy(zero_copy_only=False)
            column = column.astype(str) if pa.types.is_string(field.type) else column
        out[field.name] = column
        out[field.name].unit = unit_of(field) or None
    return out


def _to_fits(table: pa.Table) -> fits.HDUList:
    """A binary table; lists become variable-length arrays."""
    columns = []
    for field in table.schema:
        values, unit = table[field.name], unit_of(field) or None
        if pa.types.is_list(field.type):
            rows = np.empty(len(values), object)
            rows[:] = [np.asarray(row, np.float64) for row in values.to_pylist()]
            columns.append(fits.Column(field.name, "PD()", unit=unit, array=rows))
        elif pa.types.is_string(field.type):
            text = np.array(values.to_pylist(), dtype=np.str_)
            columns.append(fits.Column(field.name, f"{max(1, text.dtype.itemsize // 4)}A", array=text))
        else:
            kind = "J" if pa.types.is_integer(field.type) else "D"
            columns.append(fits.Column(field.name, kind, unit=unit, array=values.to_numpy(zero_copy_only=False)))
    hdu = fits.BinTableHDU.from_columns(columns, name="PROFILES" if "sma" in table.column_names else "RESULTS")
    for key, value in _story(table).items():
        hdu.header["HISTORY"] = f"{key}: {value}"
    return fits.HDUList([fits.PrimaryHDU(), hdu])
