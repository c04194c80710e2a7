"""What profile tables are compared with: the truth of mocks, and the mean galaxy, each as a table of the same shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from skyloom.data.profiles import COLUMNS
from skyloom.data.store import Survey
from skyloom.errors import CatalogueError
from skyloom.metrics.matching import interpolated, ragged
from skyloom.sky.profiles import Flag

STEP = 1.1  # ratio of neighbouring radii of a mean profile


def truth_table(survey: Survey, bands: Sequence[str] | None = None, ids: Sequence[str] | None = None) -> pa.Table:
    """The truth of a mock survey as a profile table without errors: seen through the PSF, as the pixels are.

    bands, ids : only these; position angles are those of the mock, from +x towards +y, and carry that flag
    Raises CatalogueError if the survey has no truth columns.
    """
    bands = list(survey.info.band_names if bands is None else bands)
    lists = ("sb", "ellipticity", "pa", "cog")
    wanted = ["object_id", "true_x", "true_y", "true_sma"]
    wanted += [f"true_{name}_{band}" for band in bands for name in (*lists, "mag", "r_e")]
    absent = [name for name in wanted if name not in survey.column_names]
    if absent:
        raise CatalogueError(f"{survey.path} has no column {', '.join(absent)}: only mocks know the truth; make some")
    columns = survey.table(wanted)
    if ids is not None:
        columns = columns.filter(pc.is_in(columns["object_id"], value_set=pa.array(list(ids), pa.string())))
    each = []
    for band in bands:
        new = {name: columns[f"true_{name}_{band}"] for name in (*lists, "mag", "r_e")}
        new |= {name: columns[f"true_{name}"] for name in ("x", "y", "sma")}
        each.append(shaped(new | {"object_id": columns["object_id"]}, band, int(Flag.NO_WCS)))
    return pa.concat_tables(each).replace_schema_metadata({"engine": "truth", "survey_hash": survey.content_hash})


def shaped(columns: Mapping[str, pa.ChunkedArray], band: str, flag: int = 0) -> pa.Table:
    """These columns, and the others of a profile table without values: NaN, and lists of NaN as long as `sma`."""
    count, sma = len(columns["object_id"]), columns["sma"].combine_chunks()
    blank = pa.ListArray.from_arrays(sma.offsets, pa.array(np.full(len(sma.values), np.nan)))
    known = {**columns, "band": pa.array([band] * count), "flag": pa.array(np.full(count, flag, np.int32))}
    fields, arrays = [], []
    for column in COLUMNS:
        empty = blank if pa.types.is_list(column.kind) else pa.array(np.full(count, np.nan))
        arrays.append(known.get(column.name, empty).cast(column.kind))
        fields.append(pa.field(column.name, column.kind, metadata={"unit": column.unit, "meaning": column.meaning}))
    return pa.table(arrays, pa.schema(fields))


def mean_profile(
    reference: pa.Table, faintest: float = np.inf
) -> tuple[Float[np.ndarray, "s"], Float[np.ndarray, "s"]]:
    """The mean surface brightness [mag/arcsec²] of all rows at each radius [arcsec], of those that are measured there.

    faintest : points fainter than this are left out [mag/arcsec²]
    Of one band: the mean of several says little. Raises CatalogueError for a table without a point.
    """
    sma, sb = ragged(reference, "sma"), ragged(reference, "sb")
    shown = [np.isfinite(light) & (light < faintest) for light in sb]
    every = np.concatenate([radius[known] for radius, known in zip(sma, shown, strict=True)] or [np.empty(0)])
    every = every[every > 0]
    if len(every) == 0:
        raise CatalogueError("a mean profile needs at least one measured point; the table has none")
    radii = np.geomspace(every.min(), every.max(), max(2, int(np.log(every.max() / every.min()) / np.log(STEP)) + 2))
    rows = [interpolated(r[k], light[k], radii) for r, light, k in zip(sma, sb, shown, strict=True)]
    known = np.isfinite(rows)
    count = known.sum(0)
    total = np.where(known, rows, 0).sum(0)
    return radii[count > 0], total[count > 0] / count[count > 0]


def saying(profiles: Mapping[str, tuple[np.ndarray, np.ndarray]], like: pa.Table) -> pa.Table:
    """The table in which every row of `like` has the profile (sma, sb) of its band: a baseline that sees no pixel."""
    tables = []
    for band in dict.fromkeys(like["band"].to_pylist()):
        rows = like.filter(pc.equal(like["band"], band))
        columns = {
            name: pa.chunked_array([pa.array([values] * len(rows), pa.list_(pa.float64()))])
            for name, values in zip(("sma", "sb"), profiles[band], strict=True)
        }
        tables.append(shaped(columns | {"object_id": rows["object_id"]}, band, int(Flag.NO_WCS)))
    return pa.concat_tables(tables).replace_schema_metadata({**(like.schema.metadata or {}), b"engine": b"mean"})
