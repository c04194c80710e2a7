"""How far the geometry and the totals of a profile table lie from another's, or from the truth of mocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from skyloom.metrics.matching import direction, galaxies, interpolated, pairs, ragged
from skyloom.metrics.profiles import profile_medians
from skyloom.metrics.score import Spread, spread
from skyloom.sky.profiles import Flag

ROUNDISH = 0.1  # ellipticity of the reference below which it has no position angle to speak of


class Shapes(NamedTuple):
    """Geometry of a table at all its points, less that of the reference; PA [deg] folded into ±90.

    sb, roundness : surface brightness [mag/arcsec²] and ellipticity of the reference; the errors are the table's own
    row, galaxy : as in Points
    """

    radius: Float[np.ndarray, "p"]
    sb: Float[np.ndarray, "p"]
    roundness: Float[np.ndarray, "p"]
    ellipticity: Float[np.ndarray, "p"]
    ellipticity_error: Float[np.ndarray, "p"]
    pa: Float[np.ndarray, "p"]
    pa_error: Float[np.ndarray, "p"]
    row: Int[np.ndarray, "p"]
    galaxy: Int[np.ndarray, "p"]


def shape_deviations(table: pa.Table, reference: pa.Table) -> Shapes:
    """Ellipticity and position angle at every point of the table, less those of the reference.

    Both are interpolated linearly in ln sma, the angle as a direction that repeats after 180°. NaN where the table has
    none; PA also where the reference is rounder than ROUNDISH, or where one counts from north and the other does not.
    """
    names = ("sma", "ellipticity", "ellipticity_error", "pa", "pa_error")
    ours, theirs = ([ragged(one, name) for name in names] for one in (table, reference))
    true = ragged(reference, "sb")
    from_x = [one["flag"].to_numpy(zero_copy_only=False).astype(int) & Flag.NO_WCS for one in (table, reference)]
    parts = [np.empty((8, 0))]
    for row, other in zip(*pairs(table, reference), strict=True):
        sma, ellipticity, ellipticity_error, angle, angle_error = (column[row] for column in ours)
        there, shape, _, direction_there, _ = (column[other] for column in theirs)
        expected = interpolated(there, shape, sma, linear=True)
        turn = (angle - direction(there, direction_there, sma) + 90) % 180 - 90
        turn[~((expected > ROUNDISH) & (from_x[0][row] == from_x[1][other]))] = np.nan
        level = interpolated(there, true[other], sma)
        columns = [sma, level, expected, ellipticity - expected, ellipticity_error, turn, angle_error]
        parts.append(np.stack([*columns, np.full(len(sma), float(row))]))
    flat = np.concatenate(parts, 1)
    flat = flat[:, np.isfinite(flat[1]) & np.isfinite(flat[2])]
    row = flat[-1].astype(int)
    radius, level, roundness, ellipticity, ellipticity_error, turn, turn_error, _ = flat
    return Shapes(radius, level, roundness, ellipticity, ellipticity_error, turn, turn_error, row, galaxies(table)[row])


def scalar_deviations(table: pa.Table, reference: pa.Table) -> dict[str, Float[np.ndarray, "n"]]:
    """Table less reference of each row with a counterpart: centre [pix], how far apart; mag [mag]; r_e, relative."""
    row, other = pairs(table, reference)

    def columns(one: pa.Table, rows: Int[np.ndarray, "n"]) -> list[Float[np.ndarray, "n"]]:
        return [one[name].to_numpy(zero_copy_only=False).astype(float)[rows] for name in ("x", "y", "mag", "r_e")]

    (x, y, mag, r_e), (x0, y0, mag0, r_e0) = columns(table, row), columns(reference, other)
    return {"centre": np.hypot(x - x0, y - y0), "mag": mag - mag0, "r_e": r_e / r_e0 - 1}


def judge_shapes(table: pa.Table, reference: pa.Table, faintest: float = 26.5) -> dict[str, Spread]:
    """Medians of |deviation| over profiles, of ellipticity, pa [deg], centre [pix], mag, and r_e (relative).

    faintest : surface brightness of the reference [mag/arcsec²] beyond which no shape is looked at
    Of ellipticity and PA each profile gives its own median. What a table does not state is NaN, from no values.
    Errors of the medians are from a bootstrap over galaxies.
    """
    shapes, galaxy = shape_deviations(table, reference), galaxies(table)
    found = {}
    for name, unit in (("ellipticity", ""), ("pa", "deg")):
        size = np.abs(getattr(shapes, name))
        known = (shapes.sb < faintest) & np.isfinite(size)
        medians, row = profile_medians(size[known], shapes.row[known])
        found[name] = spread(medians, unit, galaxy[row])
    units, row = {"centre": "pix", "mag": "mag", "r_e": ""}, pairs(table, reference)[0]
    for name, values in scalar_deviations(table, reference).items():
        found[name] = spread(np.abs(values), units[name], galaxy[row])
    return found
