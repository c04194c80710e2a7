"""What every metric returns: a number with its error, its unit, and how many values stand behind it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

RESAMPLES = 300


class Score(NamedTuple):
    """A measured number. error : 1σ; unit : "" for a pure number; n : how many values it was found from"""

    value: float
    error: float
    unit: str
    n: int


class Spread(NamedTuple):
    """A median, and the quartiles of what it is the median of."""

    median: Score
    low: float
    high: float

    @property
    def iqr(self) -> float:
        """The interquartile range, in the unit of the median."""
        return self.high - self.low


def mean(
    values: Float[np.ndarray, "n"],
    unit: str = "",
    group: Int[np.ndarray, "n"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Score:
    """The mean of the finite values, with its error from a bootstrap over groups; NaN for none.

    group : which values stand or fall together, such as the points of one galaxy; None: each stands alone
    """
    values, group = _finite(values, group)
    if len(values) == 0:
        return Score(np.nan, np.nan, unit, 0)
    sizes, sums = np.bincount(group).astype(float), np.bincount(group, values)
    drawn = _draws(len(sizes), resamples, seed)
    means = (drawn @ sums) / (drawn @ sizes)
    return Score(float(values.mean()), _error(means, len(sizes)), unit, len(values))


def median(
    values: Float[np.ndarray, "n"],
    unit: str = "",
    group: Int[np.ndarray, "n"] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Score:
    """The median of the finite values, with its error from a bootstrap over groups; NaN for none. group : see `mean`"""
    values, group = _finite(values, group)
    if len(values) == 0:
        return Score(np.nan, np.nan, unit, 0)
    order = np.argsort(values)
    values, group = values[order], group[order]
    drawn = _draws(int(group.max()) + 1, resamples, seed)
    medians = np.array([weighted_median(values, times[group]) for times in drawn])
    return Score(float(np.median(values)), _error(medians, drawn.shape[1]), unit, len(values))


def spread(
    values: Float[np.ndarray, "n"], unit: str = "", group: Int[np.ndarray, "n"] | None = None, seed: int = 0
) -> Spread:
    """The median of the finite values as a Score, and their quartiles. group : see `mean`"""
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, [25, 75]) if len(known) else (np.nan, np.nan)
    return Spread(median(values, unit, group, seed=seed), float(low), float(high))


def _finite(values, group) -> tuple[Float[np.ndarray, "m"], Int[np.ndarray, "m"]]:
    """The finite values, and their groups numbered from 0 without gaps."""
    values = np.asarray(values, float)
    known = np.isfinite(values)
    group = np.arange(len(values)) if group is None else np.asarray(group)
    return values[known], np.unique(group[known], return_inverse=True)[1]


def _draws(groups: int, resamples: int, seed: int) -> Int[np.ndarray, "s g"]:
    """How often each group is drawn in each resample of as many groups."""
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), resamples)


def _error(found: Float[np.ndarray, "s"], groups: int) -> float:
    """The standard deviation over resamples; NaN for a single group, which says nothing about others."""
    return float(found.std()) if groups > 1 else np.nan


def weighted_median(ordered: Float[np.ndarray, "n"], times: Int[np.ndarray, "n"]) -> float:
    """The median of ordered values, each repeated so many times."""
    reached = np.cumsum(times)
    half = reached[-1] / 2
    return float((ordered[np.searchsorted(reached, half)] + ordered[np.searchsorted(reached, half, "right")]) / 2)
