"""Two profile tables brought together: which rows belong to each other, and what one says at the radii of the other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline

from skyloom.errors import CatalogueError


def ragged(table: pa.Table, name: str) -> list[Float[np.ndarray, "_"]]:
    """A list column as one array per row; NaN as long as `sma` where the table, or the row, has no such list."""
    if name not in table.column_names:
        return [np.full(len(sma), np.nan) for sma in ragged(table, "sma")]
    column = table[name]
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    values = pc.list_flatten(column).to_numpy(zero_copy_only=False).astype(float)
    rows = np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []
    if column.null_count and name != "sma":
        known, radii = column.is_valid().to_numpy(), ragged(table, "sma")
        rows = [row if there else np.full(len(sma), np.nan) for row, there, sma in zip(rows, known, radii, strict=True)]
    return rows


def galaxies(table: pa.Table) -> Int[np.ndarray, "n"]:
    """Which rows are of one object: their numbers, from 0, in the order in which the objects come."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(name, len(seen)) for name in table["object_id"].to_pylist()], int)


def pairs(table: pa.Table, reference: pa.Table) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"]]:
    """Rows of the table and rows of the reference that are the same object in the same band.

    Raises CatalogueError if there are none, or if one is there twice.
    """
    keys = [list(zip(one["object_id"].to_pylist(), one["band"].to_pylist(), strict=True)) for one in (table, reference)]
    for one in keys:
        if len(set(one)) < len(one):
            raise CatalogueError("an object is there twice in one band; compare one engine's table of one survey")
    places = {key: row for row, key in enumerate(keys[1])}
    rows = [row for row, key in enumerate(keys[0]) if key in places]
    if not rows and len(table):
        raise CatalogueError("no object and band is in both tables; compare tables of the same survey and bands")
    return np.array(rows, int), np.array([places[keys[0][row]] for row in rows], int)


def interpolated(
    sma: Float[np.ndarray, "n"], values: Float[np.ndarray, "n"], at: Float[np.ndarray, "m"], linear: bool = False
) -> Float[np.ndarray, "m"]:
    """A profile at other radii, by a cubic in ln sma through its finite points, or by lines; NaN beyond its ends."""
    known = np.isfinite(values) & (sma > 0)
    if known.sum() < 2:
        return np.full(len(at), np.nan)
    x, places = np.log(sma[known]), np.log(np.where(at > 0, at, np.nan))
    if linear:
        return np.interp(places, x, values[known], np.nan, np.nan)
    return CubicSpline(x, values[known], extrapolate=False)(places)


def direction(sma: Float[np.ndarray, "n"], pa_: Float[np.ndarray, "n"], at: Float[np.ndarray, "m"]) -> np.ndarray:
    """Position angles [deg] at other radii, interpolated as the directions that they are; NaN beyond their ends."""
    doubled = 2 * np.radians(pa_)
    sine, cosine = (interpolated(sma, wave(doubled), at, linear=True) for wave in (np.sin, np.cos))
    return np.degrees(np.arctan2(sine, cosine)) / 2
