"""Two skies beside each other: how many sources they have, of which properties, and how they cluster.

What is drawn again for errors and nulls are whole pieces of a field: sources of one piece are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from skyloom.metrics.counts import LEAST, PAIRED, RADII, FieldSources, excess, likeness, pairs_in
from skyloom.metrics.distances import TOGETHER, Distance, Draws, Trial, judged, kolmogorov, signed, unjudged
from skyloom.metrics.photometry import Property
from skyloom.metrics.score import Score, weighted_median
from skyloom.metrics.synthetic_galaxy import standardised

Statistic = Callable[[np.ndarray, np.ndarray, Draws], np.ndarray]

DENSITY = "sources per area, fake / real"


class Likened(NamedTuple):
    """One property of the sources of two skies.

    apart : largest distance of the cumulative distributions; effect : Cohen's d; shift : of the medians, fake − real
    p : of the Kolmogorov-Smirnov test, which takes every source for independent of the others
    """

    apart: Distance
    effect: Distance
    shift: Distance
    p: float


def density_ratio(pool: FieldSources, fake: FieldSources, rows: Trial) -> Distance:
    """Sources per good pixel of the fake sky over those of the real one."""
    ours, theirs = pool.take(rows.real[: rows.n]), fake.take(rows.fake)
    value, again = _ratio(ours, theirs, _once(rows)), _ratio(ours, theirs, rows.again)
    score = Score(float(value[0]), _spread(again), "", min(len(ours.x), len(theirs.x)))
    return signed(DENSITY, score, _ratio(pool, pool, rows.null))


def likened(
    pool: FieldSources, fake: FieldSources, rows: Trial, properties: Callable[[FieldSources], Sequence[Property]]
) -> list[Likened]:
    """Each property of the sources of a real and a fake sky. properties : the same ones of both"""
    ours, theirs = pool.take(rows.real[: rows.n]), fake.take(rows.fake)
    every = zip(properties(pool), properties(ours), properties(theirs), strict=True)
    pieces = pool.piece, ours.piece, theirs.piece
    return [_likened(*three, *pieces, rows) for three in every]


def _likened(
    whole: Property, one: Property, other: Property, pool: np.ndarray, ours: np.ndarray, theirs: np.ndarray, rows: Trial
) -> Likened:
    """Of a pool, and of those of it and of the fake sky that are compared, with the piece of each source."""
    name, unit = one.name, one.unit
    names = f"{name}: KS", f"{name}: Cohen's d", f"{name}: median, fake − real"
    once = likeness(name, one.values, other.values, unit)
    n = min(once.n)
    if not np.isfinite(once.apart):
        apart, effect, shift = (unjudged(each, unit * (k == 2), n) for k, each in enumerate(names))
        return Likened(apart, effect, shift, np.nan)

    def both(statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
        """Of resamples of the pieces compared, and of pairs of sets of real ones."""
        return (
            _resampled(statistic, one.values, other.values, ours, theirs, rows.again),
            _resampled(statistic, whole.values, whole.values, pool, pool, rows.null),
        )

    far, effects, shifts = map(both, (kolmogorov, standardised, median_shift))
    return Likened(
        judged(names[0], "", n, once.apart, *far),
        signed(names[1], once.effect._replace(error=_spread(effects[0]), n=n), effects[1]),
        signed(names[2], once.shift._replace(error=_spread(shifts[0]), n=n), shifts[1]),
        once.p,
    )


def clustering(pool: FieldSources, fake: FieldSources, rows: Trial, seed: int = 0) -> list[tuple[Distance, str]]:
    """By how much fake sources cluster more than real ones, at each separation; and both in words.

    Sources of S/N > PAIRED, at RADII up to half a piece
    """
    edges = np.array([edge for edge in RADII if edge <= min(pool.good.shape[1:]) / 2])
    if len(edges) < 2:
        return []
    ours, theirs = (one.where(one.snr > PAIRED) for one in (pool, fake))
    pairs, others = pairs_in(ours, edges, seed), pairs_in(theirs, edges, seed)[rows.fake]
    some = pairs[rows.real[: rows.n]]
    once, again = ((excess(some, draws.one), excess(others, draws.other)) for draws in (_once(rows), rows.again))
    null = excess(pairs, rows.null.other) - excess(pairs, rows.null.one)
    count = min(int(each[:, 3, 0].sum()) for each in (some, others))
    found = []
    for k, (low, high) in enumerate(pairwise(edges)):
        name = f"w at {low:g} to {high:g} pixel, fake − real"
        value = once[1][0, k] - once[0][0, k] if count >= LEAST else np.nan
        real, made = (f"{part[0, k]:.3f} ± {_spread(more[:, k]):.3f}" for part, more in zip(once, again, strict=True))
        score = Score(float(value), _spread(again[1][:, k] - again[0][:, k]), "", count)
        found.append((signed(name, score, null[:, k]), f"real {real}, fake {made}"))
    return found


def median_shift(real: Float[np.ndarray, "n"], fake: Float[np.ndarray, "m"], draws: Draws) -> Float[np.ndarray, "s"]:
    """Median of the fake values less that of the real ones, of each pair of resamples; NaN for an empty one."""
    medians = []
    for values, times in ((real, draws.one), (fake, draws.other)):
        known = np.flatnonzero(np.isfinite(values))
        order = known[np.argsort(values[known])]
        medians.append([
            weighted_median(values[order], each) if each.any() else np.nan for each in times[:, order]
        ])  # fmt: skip
    return np.subtract(medians[1], medians[0])


def _resampled(
    statistic: Statistic, real: np.ndarray, fake: np.ndarray, ours: Int[np.ndarray, "n"],
    theirs: Int[np.ndarray, "m"], draws: Draws,
) -> Float[np.ndarray, "s"]:  # fmt: skip
    """A statistic of values when whole pieces are drawn again. ours, theirs : the piece of each value"""
    known, others = np.isfinite(real), np.isfinite(fake)
    found = []
    for start in range(0, len(draws.one), TOGETHER):
        some = slice(start, start + TOGETHER)
        times = Draws(draws.one[some][:, ours[known]], draws.other[some][:, theirs[others]])
        found.append(statistic(real[known], fake[others], times))
    return np.concatenate(found)


def _once(rows: Trial) -> Draws:
    """All pieces that are compared, as they are."""
    return Draws(np.ones((1, rows.n), int), np.ones((1, rows.n), int))


def _ratio(real: FieldSources, fake: FieldSources, draws: Draws) -> Float[np.ndarray, "s"]:
    densities = []
    for sources, times in ((real, draws.one), (fake, draws.other)):
        counts = np.bincount(sources.piece, minlength=len(sources.good))
        densities.append(times @ counts / np.maximum(times @ sources.good.sum((1, 2)), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return densities[1] / densities[0]


def _spread(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) else np.nan
