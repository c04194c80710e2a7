"""A HATS catalogue: Parquet files partitioned by HEALPix cell, as LSDB and the archives read them.

Source: the HATS data standard, hats.readthedocs.io; its validator (hats.io.validation) accepts what is written here.
We differ: no margin cache, no sky map, no thumbnail: all three are optional.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy import units
from astropy_healpix import lonlat_to_healpix

from skyloom import __version__
from skyloom.data.store import Survey
from skyloom.data.writers.parquet import FILE_BYTES, row_schema, rows_within, write_rows
from skyloom.errors import RequestError

ORDER = 29  # of _healpix_29
DEEPEST = 12  # order at which a cell is written however many objects it has
COLUMN = "_healpix_29"


def write_hats(survey: Survey, folder: Path, done: Callable[[int], Any]) -> dict[str, str]:
    """A catalogue named after the folder; RequestError if an object has no position."""
    table = survey.table()
    missing = table["ra"].null_count + table["dec"].null_count
    if missing or not len(survey):
        raise RequestError(
            f"{survey.path.name}: HATS sorts objects by position, and {missing} coordinates of {len(survey)} objects "
            "are missing; ingest with a catalogue that has ra and dec, or choose fits, parquet or hdf5"
        )
    deepest = _cells(table)
    table = table.add_column(0, COLUMN, pa.array(deepest))
    pixels = partition(deepest, rows_within(survey.info, FILE_BYTES))
    written = 0
    for (order, pixel), rows in pixels.items():
        place = folder / "dataset" / f"Norder={order}" / f"Dir={pixel // 10000 * 10000}"
        place.mkdir(parents=True, exist_ok=True)
        write_rows(survey, table, rows, place / f"Npix={pixel}.parquet")
        written += len(rows)
        done(written)
    _write_metadata(folder, row_schema(survey.info, table.schema))
    lines = [f"{order},{pixel}\n" for order, pixel in pixels]
    (folder / "partition_info.csv").write_text("Norder,Npix\n" + "".join(lines))
    _write_properties(survey, folder, pixels)
    return {}


def _cells(table: pa.Table) -> np.ndarray:
    """HEALPix cell of each object at order 29, nested scheme."""
    ra, dec = (table[name].to_numpy() * units.deg for name in ("ra", "dec"))
    return np.asarray(lonlat_to_healpix(ra, dec, 2**ORDER, order="nested"), np.int64)


def partition(cells: np.ndarray, largest: int) -> dict[tuple[int, int], np.ndarray]:
    """{(order, pixel): its rows, sorted by cell}: the coarsest cells that hold at most `largest` objects each."""
    order_of_rows = np.argsort(cells, kind="stable")
    found: dict[tuple[int, int], np.ndarray] = {}
    waiting = [(0, order_of_rows)]
    while waiting:
        order, rows = waiting.pop()
        pixel = cells[rows] >> (2 * (ORDER - order))
        for one in np.unique(pixel):
            inside = rows[pixel == one]
            if len(inside) <= largest or order == DEEPEST:
                found[order, int(one)] = inside
            else:
                waiting.append((order + 1, inside))
    return dict(sorted(found.items(), key=lambda item: item[0][1] << (2 * (ORDER - item[0][0]))))


def _write_metadata(folder: Path, schema: pa.Schema) -> None:
    """`_common_metadata` and `_metadata`, the row groups of all files with their paths."""
    dataset = folder / "dataset"
    collected = []
    for file in sorted(dataset.rglob("Npix=*.parquet")):
        facts = pq.read_metadata(file)
        facts.set_file_path(str(file.relative_to(dataset).as_posix()))
        collected.append(facts)
    pq.write_metadata(schema, dataset / "_common_metadata")
    pq.write_metadata(schema, dataset / "_metadata", metadata_collector=collected)


def _write_properties(survey: Survey, folder: Path, pixels: dict[tuple[int, int], np.ndarray]) -> None:
    size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
    facts = {
        "obs_collection": survey.path.stem.replace(" ", "_"),
        "dataproduct_type": "object",
        "hats_nrows": len(survey),
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": COLUMN,
        "hats_col_healpix_order": ORDER,
        "hats_npix_suffix": ".parquet",
        "hats_max_rows": max(len(rows) for rows in pixels.values()),
        "hats_order": max(order for order, _ in pixels),
        "moc_sky_fraction": f"{sum(1 / (12 * 4**order) for order, _ in pixels):.8g}",
        "hats_estsize": size // 1024,
        "hats_builder": f"skyloom {__version__}",
        "hats_version": "v1.0",
        "hats_creation_date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M%Z"),
        "obs_description": " ".join(survey.info.source.split()),
        "obs_copyright": " ".join(survey.info.licence.split()),
    }
    text = "#HATS catalog\n" + "".join(f"{key}={value}\n" for key, value in facts.items() if value != "")
    for name in ("hats.properties", "properties"):
        (folder / name).write_text(text, encoding="utf-8")
