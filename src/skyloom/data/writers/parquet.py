"""Parquet with the Multimodal Universe's field names, in the nesting that `datasets` uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from skyloom.data.cutout import SurveyInfo
from skyloom.data.fields import KEY
from skyloom.data.store import Survey

GROUP_BYTES = 16 << 20  # of flux in a row group
FILE_BYTES = 512 << 20  # of flux in a file


def write_parquet(survey: Survey, folder: Path, done: Callable[[int], Any]) -> dict[str, str]:
    """part-00000.parquet and so on; every column is kept."""
    table = survey.table()
    per_file = rows_within(survey.info, FILE_BYTES)
    for number, start in enumerate(range(0, max(1, len(survey)), per_file)):
        rows = np.arange(start, min(start + per_file, len(survey)))
        write_rows(survey, table, rows, folder / f"part-{number:05d}.parquet")
        done(int(min(start + per_file, len(survey))))
    return {}


def write_rows(survey: Survey, table: pa.Table, rows: np.ndarray, path: Path) -> None:
    """The rows asked for, pixels and all, as one file; a row group is in memory at a time."""
    schema = row_schema(survey.info, table.schema)
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=False) as file:
        for group in groups_of(survey, table, rows):
            file.write_table(group.cast(schema))


def row_schema(info: SurveyInfo, columns: pa.Schema) -> pa.Schema:
    """Catalogue columns, then `image`; the survey's facts in the metadata."""
    image = pa.struct(
        [
            pa.field("band", pa.list_(pa.string())),
            pa.field("flux", pa.list_(pa.list_(pa.list_(pa.float32())))),
            pa.field("ivar", pa.list_(pa.list_(pa.list_(pa.float32())))),
            pa.field("mask", pa.list_(pa.list_(pa.list_(pa.bool_())))),
            pa.field("psf_fwhm", pa.list_(pa.float32())),
            pa.field("scale", pa.list_(pa.float32())),
        ]
    )
    fields = [field.with_metadata(None) for field in columns]
    return pa.schema([*fields, pa.field("image", image)], metadata={KEY: info.to_json().encode()})


def rows_within(info: SurveyInfo, size: int) -> int:
    """How many objects have that many bytes of flux; one at least."""
    return max(1, size // (4 * len(info.bands) * info.shape[0] * info.shape[1]))


def groups_of(survey: Survey, table: pa.Table, rows: np.ndarray) -> Iterator[pa.Table]:
    step = rows_within(survey.info, GROUP_BYTES)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        flux, ivar = survey.cutouts_at(some)
        group = table.take(pa.array(some)).combine_chunks()
        yield group.append_column("image", _images(survey.info, flux, ivar))


def _images(info: SurveyInfo, flux: np.ndarray, ivar: np.ndarray) -> pa.Array:
    n, bands = len(flux), len(info.bands)
    facts = {
        "band": pa.array([list(info.band_names)] * n, pa.list_(pa.string())),
        "flux": _nested(flux),
        "ivar": _nested(ivar),
        "mask": _nested(ivar > 0),
        "psf_fwhm": pa.array([[band.psf_fwhm for band in info.bands]] * n, pa.list_(pa.float32())),
        "scale": pa.array([[info.pixel_scale] * bands] * n, pa.list_(pa.float32())),
    }
    return pa.StructArray.from_arrays(list(facts.values()), names=list(facts))


def _nested(cube: np.ndarray) -> pa.Array:
    """(n, C, H, W) as lists of lists of lists, the values not copied."""
    out = pa.array(cube.reshape(-1))
    for length in cube.shape[:0:-1]:
        out = pa.ListArray.from_arrays(pa.array(np.arange(0, len(out) + 1, length, dtype=np.int32)), out)
    return out
