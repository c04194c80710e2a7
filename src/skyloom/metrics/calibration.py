"""Whether stated intervals hold what they state, and by how much they must be widened until they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm

from skyloom.errors import RequestError
from skyloom.metrics.profiles import BINS, QUANTILES, Points
from skyloom.metrics.score import Score, mean

LEVELS = (0.68, 0.90)
TOLERANCE = 0.03  # a share this far from its level still holds


class Coverage(NamedTuple):
    """The share of targets within the intervals of a level, where low ≤ μ < high [mag/arcsec²].

    by : whose μ, "reference" or "predicted"; share.n : points; galaxies : that they are of
    """

    level: float
    by: str
    low: float
    high: float
    share: Score
    galaxies: int

    @property
    def excess(self) -> float:
        """Share less level: negative where the intervals are too narrow."""
        return self.share.value - self.level


class Verdict(NamedTuple):
    """Whether intervals hold in every bin, and a line in words on each."""

    holds: bool
    lines: tuple[str, ...]


def interval(points: Points, level: float) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "p"]]:
    """Lower and upper end [mag/arcsec²] of the interval that a table states for each of its points.

    From its quantiles where it has them: linear in the normal deviate between those that it states, and beyond the
    outermost in proportion to it. Where it has none, ± the normal deviate times sb_error; NaN without either.
    """
    deviate = float(norm.ppf(0.5 + level / 2))
    ends = []
    for side in (-1, 1):
        knots = [q for q in sorted(QUANTILES, key=lambda q: abs(q - 0.5)) if (q - 0.5) * side > 0]
        stated = points.quantiles[[list(QUANTILES).index(q) for q in knots]] - points.sb
        at = np.abs(norm.ppf(knots))
        width = _along(deviate, np.concatenate([[0.0], at]), np.concatenate([np.zeros_like(stated[:1]), stated]))
        ends.append(points.sb + np.where(np.isfinite(width), width, side * deviate * points.error))
    return ends[0], ends[1]


def _along(x: float, knots: Float[np.ndarray, "k"], values: Float[np.ndarray, "k p"]) -> Float[np.ndarray, "p"]:
    """Values at x between knots that start at 0 with 0; beyond the last, in proportion."""
    if x >= knots[-1]:
        return values[-1] * x / knots[-1]
    left = int(np.searchsorted(knots, x, "right")) - 1
    share = (x - knots[left]) / (knots[left + 1] - knots[left])
    return (1 - share) * values[left] + share * values[left + 1]


def coverage(
    points: Points,
    level: float = 0.68,
    by: str = "reference",
    bins: Sequence[tuple[float, float]] = BINS,
    factor: Float[np.ndarray, "p"] | float = 1.0,
) -> list[Coverage]:
    """The share of the reference within the stated intervals, in each bin; points without an interval are left out.

    by : bins are of the "reference", or of the "predicted" surface brightness, which alone is known on new data
    factor : by which the half-widths are multiplied first
    Errors are from a bootstrap over galaxies: the points of a galaxy move together.
    """
    if by not in ("reference", "predicted"):
        raise RequestError(f"bins are by reference or by predicted surface brightness, not by {by!r}")
    where = points.reference if by == "reference" else points.sb
    lower, upper = widened(points.sb, *interval(points, level), factor)
    inside = np.where(np.isfinite(lower + upper), (points.reference >= lower) & (points.reference <= upper), np.nan)
    found = []
    for low, high in bins:
        here = (where >= low) & (where < high) & np.isfinite(inside)
        share = mean(inside[here], "", points.galaxy[here])
        found.append(Coverage(level, by, low, high, share, len(np.unique(points.galaxy[here]))))
    return found


def misses(
    predicted: Float[np.ndarray, "p"],
    lower: Float[np.ndarray, "p"],
    upper: Float[np.ndarray, "p"],
    target: Float[np.ndarray, "p"],
) -> Float[np.ndarray, "p"]:
    """How far each target lies from the prediction, in units of the half-width on its side; ≤ 1 within the interval.

    0 for a target on the prediction, infinite for one beside an interval without width, NaN without an interval.
    """
    miss = target - predicted
    half = np.where(miss > 0, upper - predicted, predicted - lower)
    ratio = np.abs(miss) / np.where(half > 0, half, np.nan)
    beside = np.where(miss == 0, 0.0, np.where(half <= 0, np.inf, ratio))
    return np.where(np.isfinite(lower + upper + miss), beside, np.nan)


def conformal_factor(
    predicted: Float[np.ndarray, "p"],
    lower: Float[np.ndarray, "p"],
    upper: Float[np.ndarray, "p"],
    target: Float[np.ndarray, "p"],
    bin: Int[np.ndarray, "p"],
    group: Int[np.ndarray, "p"],
    level: float,
) -> Float[np.ndarray, "k"]:
    """For each bin 0 … k − 1, the factor by which both half-widths are multiplied so that intervals hold the level.

    predicted, lower, upper, target : of data that the intervals were not made on; points with a NaN are left out
    group : which points are of one galaxy; numbers of their own for independent points
    Infinite where a bin has fewer than level/(1 − level) groups: so few promise nothing.
    On a new point exchangeable with these the widened interval holds the target with probability `level` or more, and
    at most 1/(n + 1) more, for n independent points. Points count alike, and n is the number of groups, which is
    exact for groups of one size.
    Source: Romano et al. 2019, arXiv:1905.03222, Eq. 6-8; Vovk et al. 2005, ch. 4.5 (Mondrian: one factor per bin).
    We differ: the score is the ratio of the miss to the half-width, so that a factor multiplies where theirs adds.
    """
    scores = misses(predicted, lower, upper, target)
    factors = np.full(int(bin.max(initial=-1)) + 1, np.inf)
    for k in range(len(factors)):
        here = (bin == k) & ~np.isnan(scores)
        ordered, groups = np.sort(scores[here]), len(np.unique(group[here]))
        if groups:
            place = int(np.ceil(level * (groups + 1) / groups * len(ordered) - 1e-9)) - 1
            factors[k] = ordered[place] if place < len(ordered) else np.inf
    return factors


def widened(predicted, lower, upper, factor) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "p"]]:
    """The interval with both of its half-widths multiplied by a factor."""
    return predicted - factor * (predicted - lower), predicted + factor * (upper - predicted)


def verdict(found: Sequence[Coverage], tolerance: float = TOLERANCE) -> Verdict:
    """Whether intervals hold what they state within a tolerance, bin by bin, in words; empty bins are not judged.

    On data like those that intervals were calibrated on they hold; where they do not, the data have shifted.
    """
    judged = [one for one in found if one.share.n]
    holds = bool(judged) and all(abs(one.excess) <= tolerance for one in judged)
    return Verdict(holds, tuple(_said(one, tolerance) for one in judged))


def _said(one: Coverage, tolerance: float) -> str:
    share, error = 100 * one.share.value, 100 * one.share.error
    words = "holds" if abs(one.excess) <= tolerance else "too narrow" if one.excess < 0 else "too wide"
    if words != "holds" and abs(one.excess) < tolerance + 2 * one.share.error:
        words += ", but for too few galaxies to be sure"
    where = f"{one.low:g}–{one.high:g} mag/arcsec² ({one.by})"
    counts = f"{one.share.n:,} points, {one.galaxies:,} galaxies"
    return f"{100 * one.level:.0f} % interval, {where}: {share:.1f} ± {error:.1f} % of {counts}: {words}"


def shift_report(points: Points, levels: Sequence[float] = LEVELS, tolerance: float = TOLERANCE) -> Verdict:
    """The verdict on a table's own intervals at several levels, by bins of the reference and of the prediction."""
    return verdict(
        [c for level in levels for by in ("reference", "predicted") for c in coverage(points, level, by)], tolerance
    )
