"""How far the surface brightness of a profile table lies from another's, or from the truth of mocks.

Every comparison is made at the table's own radii, at which the reference is interpolated; nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from skyloom.metrics.matching import galaxies, interpolated, pairs, ragged
from skyloom.metrics.score import Score, Spread, mean, spread

SB_UNIT = "mag / arcsec2"
BINS = ((0.0, 22.5), (22.5, 24.5), (24.5, 26.5), (0.0, 26.5))  # of the reference [mag/arcsec²]
QUANTILES = {0.05: "sb_q05", 0.16: "sb_q16", 0.84: "sb_q84", 0.95: "sb_q95"}  # columns of engines that state them
NEARLY = 0.9  # of a radius: a profile that ends further out has reached it; rings are about 10 % apart


class Points(NamedTuple):
    """All points of a table that the reference reaches, one after another.

    radius : semi-major axis [arcsec]
    sb, reference : surface brightness that the table and the reference give there [mag/arcsec²]
    error, reference_error : 1σ that the table and the reference state for theirs, NaN where they state none
    quantiles : the table's, in the order of QUANTILES; NaN where it states none
    row : of the table, which is a galaxy in a band
    galaxy : which rows are of one object, numbered from 0
    """

    radius: Float[np.ndarray, "p"]
    sb: Float[np.ndarray, "p"]
    reference: Float[np.ndarray, "p"]
    error: Float[np.ndarray, "p"]
    reference_error: Float[np.ndarray, "p"]
    quantiles: Float[np.ndarray, "q p"]
    row: Int[np.ndarray, "p"]
    galaxy: Int[np.ndarray, "p"]

    @property
    def deviation(self) -> Float[np.ndarray, "p"]:
        """Table less reference [mag/arcsec²]: positive where the table is too faint."""
        return self.sb - self.reference

    def where(self, chosen: Bool[np.ndarray, "p"]) -> Points:
        """Only these points."""
        return Points(*(part[..., chosen] for part in self))

    def between(self, low: float, high: float) -> Points:
        """Only the points whose reference lies in [low, high) mag/arcsec²."""
        return self.where((self.reference >= low) & (self.reference < high))


class Bin(NamedTuple):
    """How good a table is where the reference has low ≤ μ < high [mag/arcsec²].

    profiles : over profiles, of each one's median |Δμ|
    points : over all points, of |Δμ|; bias : of Δμ
    unreached : profiles that end before the reference comes to the bin; short : those that end before it leaves it
    """

    low: float
    high: float
    profiles: Spread
    points: Spread
    bias: Spread
    unreached: int
    short: int


def deviations(table: pa.Table, reference: pa.Table) -> Points:
    """Every point of the table beside the reference's surface brightness at its radius.

    The reference is interpolated by a cubic in ln sma. A row's points outside of it, and rows without a counterpart
    (same object, same band), have none to lie beside, and are left out.
    Raises CatalogueError if no row has a counterpart, or if an object and band are there twice.
    """
    sma, sb, error = (ragged(table, name) for name in ("sma", "sb", "sb_error"))
    quantiles = [ragged(table, name) for name in QUANTILES.values()]
    there, true, doubt = (ragged(reference, name) for name in ("sma", "sb", "sb_error"))
    parts = [np.empty((6 + len(QUANTILES), 0))]
    for row, other in zip(*pairs(table, reference), strict=True):
        beside = interpolated(there[other], true[other], sma[row])
        beside_error = interpolated(there[other], doubt[other], sma[row], linear=True)
        stated = [error[row], beside_error, *(quantile[row] for quantile in quantiles)]
        columns = [sma[row], sb[row], beside, *stated]
        parts.append(np.stack([*columns, np.full(len(sma[row]), float(row))]))
    flat = np.concatenate(parts, 1)
    flat = flat[:, np.isfinite(flat[1]) & np.isfinite(flat[2])]
    row = flat[-1].astype(int)
    return Points(flat[0], flat[1], flat[2], flat[3], flat[4], flat[5:-1], row, galaxies(table)[row])


def judge(table: pa.Table, reference: pa.Table, bins: Sequence[tuple[float, float]] = BINS) -> list[Bin]:
    """How good a table is, by the surface brightness of the reference.

    Errors of the medians are from a bootstrap over galaxies: neither the points of a galaxy nor its bands are
    independent. Raises CatalogueError as `deviations` does.
    Source: Smith et al. 2021, arXiv:2010.00622 (Pix2Prof): the median over profiles of each one's median |Δμ|.
    We differ: medians carry errors, and what a table leaves out is counted.
    """
    points = deviations(table, reference)
    return [_bin(points.between(low, high), low, high, *missing(table, reference, low, high)) for low, high in bins]


def _bin(points: Points, low: float, high: float, unreached: int, short: int) -> Bin:
    size = np.abs(points.deviation)
    medians, row = profile_medians(size, points.row)
    galaxy = np.zeros(points.row.max(initial=-1) + 1, int)
    galaxy[points.row] = points.galaxy
    return Bin(
        low,
        high,
        spread(medians, SB_UNIT, galaxy[row]),
        spread(size, SB_UNIT, points.galaxy),
        spread(points.deviation, SB_UNIT, points.galaxy),
        unreached,
        short,
    )


def profile_medians(
    values: Float[np.ndarray, "p"], row: Int[np.ndarray, "p"]
) -> tuple[Float[np.ndarray, "r"], Int[np.ndarray, "r"]]:
    """The median of each row's values, and which rows these are; rows without values are not among them."""
    order = np.argsort(row, kind="stable")
    rows, starts = np.unique(row[order], return_index=True)
    medians = [float(np.median(part)) for part in np.split(values[order], starts[1:])] if len(rows) else []
    return np.array(medians, float), rows


def agreement(points: Points, sigmas: float = 2.0) -> Score:
    """The share of points that lie within so many combined 1σ errors of the reference; NaN where nobody states any.

    An error that one side does not state counts as 0.
    """
    combined = np.hypot(np.nan_to_num(points.error), np.nan_to_num(points.reference_error))
    inside = np.abs(points.deviation) <= sigmas * combined
    return mean(np.where(combined > 0, inside, np.nan), "", points.galaxy)


def missing(table: pa.Table, reference: pa.Table, low: float, high: float) -> tuple[int, int]:
    """How many profiles end before the reference comes to low ≤ μ < high [mag/arcsec²], and before it leaves it.

    Profiles whose reference is never there are not counted; those without a point are.
    """
    sma, sb = ragged(table, "sma"), ragged(table, "sb")
    there, true = ragged(reference, "sma"), ragged(reference, "sb")
    unreached = short = 0
    for row, other in zip(*pairs(table, reference), strict=True):
        inside = there[other][(true[other] >= low) & (true[other] < high)]
        if len(inside):
            end = np.max(sma[row][np.isfinite(sb[row])], initial=0.0)
            unreached += int(end < NEARLY * inside[0])
            short += int(end < NEARLY * inside[-1])
    return unreached, short
