"""A user's catalogue, read from CSV, ECSV, FITS or Parquet, and checked row by row before any pixel is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from astropy import units
from astropy.io import fits
from astropy.table import Table
from jaxtyping import Float64

from skyloom.data.cutout import RESERVED
from skyloom.data.headers import FITS_SUFFIXES, open_fits
from skyloom.data.source import Quarantine
from skyloom.errors import CatalogueError, SourceError

ID_NAMES = ("object_id", "objectid", "objid", "source_id", "galaxyid", "dr7objid", "ident", "id")  # case ignored
RA_NAMES = ("ra", "raj2000", "alpha_j2000", "alphawin_j2000", "ra_deg")
DEC_NAMES = ("dec", "dej2000", "decj2000", "delta_j2000", "deltawin_j2000", "dec_deg")
CHUNK = 1024  # rows turned into Python values at a time


class Catalogue(NamedTuple):
    """One row per object, in file order.

    ids : as text; leading zeros are kept
    ra, dec : ICRS [deg], NaN where the row has none; None if there is no such column
    table : the columns that travel along with each cutout, with file_loc and x, y if there are any
    tiles : the column `tile`, as text; None if there is none
    notes : what had to be done to the names of the columns
    """

    path: Path
    ids: list[str]
    ra: Float64[np.ndarray, "n"] | None
    dec: Float64[np.ndarray, "n"] | None
    table: pa.Table
    tiles: list[str] | None = None
    notes: tuple[str, ...] = ()

    def columns_of(self, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """The travelling columns of the rows asked for, in that order; a few rows are in memory at a time."""
        for start in range(0, len(rows), CHUNK):
            some = pa.array(rows[start : start + CHUNK], pa.int64())
            yield from self.table.take(some).to_pylist() if self.table.num_columns else ({} for _ in some)


def read_catalogue(path: Path) -> Catalogue:
    """Read a catalogue; SourceError if it is no table, CatalogueError if it has no id column or rows."""
    path = Path(path)
    if not path.is_file():
        raise SourceError(path, "there is no such catalogue", "check the path")
    table = table_from(path)
    if table.num_rows == 0:
        raise CatalogueError(f"{path}: the catalogue has no rows")
    id_column = _find(table, ID_NAMES, path)
    if id_column is None:
        raise CatalogueError(
            f"{path}: no object_id column among {', '.join(table.column_names[:12])}; rename the one that has the names"
        )
    ra, dec = _find(table, RA_NAMES, path), _find(table, DEC_NAMES, path)
    if (ra is None) != (dec is None):
        raise CatalogueError(f"{path}: column {ra or dec!r} has no partner; give both ra and dec [deg], or neither")
    tiles = [_text(value) for value in table["tile"].to_pylist()] if "tile" in table.column_names else None
    travelling = table.drop_columns([name for name in (id_column, ra, dec, tiles and "tile") if name])
    clash = [name for name in travelling.column_names if name in RESERVED]
    if clash:
        raise CatalogueError(f"{path}: columns {clash} have names that the store keeps for itself; rename them")
    ids = [_text(value) for value in table[id_column].to_pylist()]
    names, notes = storable(travelling.column_names, str(path))
    travelling = travelling.rename_columns(names)
    return Catalogue(path, ids, _degrees(table, ra, path), _degrees(table, dec, path), travelling, tiles, notes)


def storable(names: Sequence[str], where: str) -> tuple[list[str], tuple[str, ...]]:
    """Column names that a survey can have, and a sentence if some had to change: Class1.1 becomes Class1_1."""
    new = [name.replace(".", "_") for name in names]
    changed = [pair for pair in zip(names, new, strict=True) if pair[0] != pair[1]]
    twice = [name for name, count in Counter(new).items() if count > 1]
    if twice:
        raise CatalogueError(
            f"{where}: columns {twice} would have one name, as a dot becomes an underscore; rename one"
        )
    if not changed:
        return new, ()
    (before, after), more = changed[0], len(changed) - 1
    others = f", and so for {more} more" if more else ""
    return new, (f"A dot in the name of a column became an underscore: {before} is {after}{others}.",)


def sound_rows(
    catalogue: Catalogue, *, positions: bool = False, skip_bad: bool = False
) -> tuple[list[int], list[Quarantine]]:
    """Rows that can be used, and the rest with reasons: ids blank or repeated, positions missing or off the sphere.

    positions : every row needs a position of its own (to cut from a mosaic); two rows at one position are an error
    Raises CatalogueError at the first bad row, unless skip_bad; of repeated rows the first is kept.
    """
    if positions and catalogue.ra is None:
        raise CatalogueError(f"{catalogue.path}: no ra and dec columns, which are needed to cut objects from an image")
    good, bad = [], []
    ids_seen: dict[str, int] = {}
    places_seen: dict[tuple[float, float], int] = {}
    for row, object_id in enumerate(catalogue.ids):
        reason = _row_problem(catalogue, row, ids_seen, places_seen if positions else None)
        if reason is None:
            good.append(row)
            ids_seen[object_id] = row
            if catalogue.ra is not None and catalogue.dec is not None:
                places_seen[catalogue.ra[row], catalogue.dec[row]] = row
        elif skip_bad:
            bad.append(Quarantine(object_id, str(catalogue.path), row + 1, reason))
        else:
            raise CatalogueError(f"{catalogue.path}, row {row + 1}: {reason}; correct it, or --skip-bad sets it aside")
    return good, bad


def _row_problem(catalogue: Catalogue, row: int, ids_seen: dict, places_seen: dict | None) -> str | None:
    object_id = catalogue.ids[row]
    if not object_id:
        return "the object_id is blank"
    if object_id in ids_seen:
        return f"object_id {object_id!r} is also that of row {ids_seen[object_id] + 1}"
    if catalogue.ra is None or catalogue.dec is None:
        return None
    ra, dec = catalogue.ra[row], catalogue.dec[row]
    if np.isnan(ra) or np.isnan(dec):
        return f"the position of {object_id!r} is missing or NaN (ra={ra}, dec={dec})"
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        return f"the position of {object_id!r}, ra={ra:g}, dec={dec:g}, is not within 0…360 and −90…90 deg"
    if places_seen is not None and (ra, dec) in places_seen:
        return f"{object_id!r} is at the very position of row {places_seen[ra, dec] + 1} (ra={ra:g}, dec={dec:g})"
    return None


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _find(table: pa.Table, names: Sequence[str], path: Path) -> str | None:
    """The column that bears the first of the names that occurs, whatever its case."""
    for name in names:
        found = [column for column in table.column_names if column.lower() == name]
        if len(found) > 1:
            raise CatalogueError(f"{path}: columns {found} differ only in case; drop all but one")
        if found:
            return found[0]
    return None


def _degrees(table: pa.Table, name: str | None, path: Path) -> Float64[np.ndarray, "n"] | None:
    if name is None:
        return None
    column = table[name]
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)):
        first = next((value for value in column.to_pylist() if value is not None), None)
        raise CatalogueError(f"{path}: column {name!r} holds {first!r}; give positions as numbers in degrees")
    values = pc.fill_null(pc.cast(column, pa.float64()), np.nan).to_numpy()
    stated = (table.schema.field(name).metadata or {}).get(b"unit", b"deg").decode()
    try:
        return np.asarray(units.Quantity(values, stated).to_value(units.deg), np.float64)
    except (ValueError, units.UnitConversionError) as error:
        raise CatalogueError(f"{path}: column {name!r} is in {stated!r}, which is no angle; give degrees") from error


def table_from(path: Path) -> pa.Table:
    """The rows of a CSV, ECSV, FITS or Parquet file, units in the fields' metadata; SourceError if it is none."""
    lower = path.name.lower()
    if path.stat().st_size == 0:
        raise SourceError(path, "the catalogue has zero bytes", "fetch it again")
    if lower.endswith((".csv", ".csv.gz", ".txt", ".ecsv")):
        return _read_text(path)
    if lower.endswith(FITS_SUFFIXES):
        return _read_fits_table(path)
    if lower.endswith((".parquet", ".parq")):
        try:
            return pyarrow.parquet.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(path, f"cannot be read as Parquet ({error})") from error
    raise SourceError(path, "not a kind of catalogue that skyloom reads", "give .csv, .ecsv, .fits or .parquet")


def _read_text(path: Path) -> pa.Table:
    try:
        if path.name.lower().endswith(".ecsv") or path.read_bytes()[:7] == b"# %ECSV":
            return _from_astropy(Table.read(path, format="ascii.ecsv"))
        with pyarrow.csv.open_csv(path) as reader:
            names = reader.schema.names
        as_text = {name: pa.string() for name in names if name.lower() in (*ID_NAMES, "file_loc")}
        options = pyarrow.csv.ConvertOptions(column_types=as_text, strings_can_be_null=True)
        return pyarrow.csv.read_csv(path, convert_options=options)
    except (pa.ArrowInvalid, ValueError, OSError) as error:
        raise SourceError(
            path, f"cannot be read as a table ({error})", "give a CSV or ECSV with one header line"
        ) from error


def _read_fits_table(path: Path) -> pa.Table:
    with open_fits(path) as hdus:
        tables = (
            i for i, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and not hdu.is_image
        )
        index = next(tables, None)
        if index is None:
            raise SourceError(path, "no table in any HDU", "give the file that holds the catalogue")
        return _from_astropy(Table.read(hdus[index]))


def _from_astropy(table: Table) -> pa.Table:
    """Columns as Arrow, masked values null, native byte order, units in the field's metadata."""
    arrays, fields = [], []
    for name in table.colnames:
        column = table[name]
        values = column.filled().tolist() if column.ndim > 1 and hasattr(column, "filled") else column.tolist()
        array = pa.array([v.decode() if isinstance(v, bytes) else v for v in values])
        unit = getattr(column, "unit", None)
        arrays.append(array)
        fields.append(pa.field(name, array.type, metadata={"unit": str(unit)} if unit else None))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
