"""How far apart two samples of galaxies lie in what is measured on them: one distance per property, in its own unit.

Also the joint distance of magnitude and colours, covariances included, and Cohen's d.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from skyloom.errors import RequestError
from skyloom.metrics.distances import (
    INTERVAL,
    Distance,
    Draws,
    Trial,
    as_far,
    bootstrapped,
    judged,
    trial,
    unjudged,
    wasserstein,
)
from skyloom.metrics.photometry import Photometry, Property
from skyloom.metrics.score import RESAMPLES, Score

TOTAL = "sum"
COLOURS = "magnitude and colours"
RARE = 0.1  # share of the real galaxies
NORMAL_QUARTILES = 1.349  # between the quartiles of a normal law [standard deviations]


class SyntheticGalaxyDistance(NamedTuple):
    """Wasserstein-1 distances of every property, and their scale-free sum.

    terms : in the properties' own units
    total : Σ distance / spread, each spread that of the real sample: interquartile range / 1.349
    nulls : how the null was drawn, in words
    unmeasured : galaxies without such a number, (real, fake), by property; they do not count
    """

    terms: tuple[Distance, ...]
    total: Distance
    nulls: str
    unmeasured: dict[str, tuple[int, int]]


def sgd(
    real: Photometry, fake: Photometry, *, n: int | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> SyntheticGalaxyDistance:
    """How far fake galaxies are from real ones in every magnitude, colour and in R_e.

    n : how many of each are compared, drawn by the seed; None: as many as both have. The distance falls with n, so
        each one comes with the null for the same n: of disjoint real galaxies if there are 2n of them, else of
        galaxies drawn with replacement (see `null_draws`)
    Raises RequestError for n that is not there, or samples that were not measured alike.
    Source: Smith et al. 2022, MNRAS 511, 1808, arXiv:2111.01713 (the Synthetic Galaxy Distance).
    We differ: R_e is a half-light radius; galaxies without a property drop out one by one, not in pairs across the
    samples; terms of unlike units are never added, the sum is of distances over spreads; null and interval are given.
    """
    require_alike(real, fake)
    rows = trial(len(real), len(fake), n, resamples, seed)
    return property_distances(real.properties, fake.properties, rows)


def property_distances(real: Sequence[Property], fake: Sequence[Property], rows: Trial) -> SyntheticGalaxyDistance:
    """`sgd` for any properties, the same ones in both samples, and for the rows of a trial.

    A property known of fewer than RARE of the real galaxies is NaN, and none of the sum. If only fake ones lack it the
    sum is NaN too: what cannot be measured on them is no small fault.
    """
    terms, scaled, missing = [], [], {}
    for one, other in zip(real, fake, strict=True):
        pool, theirs = one.values[rows.real], other.values[rows.fake]
        ours = pool[: rows.n]
        unknown = [int((~np.isfinite(part)).sum()) for part in (ours, theirs)]
        if any(unknown):
            missing[one.name] = (unknown[0], unknown[1])
        known = rows.n - max(unknown)
        if rows.n - unknown[0] < max(1, RARE * rows.n):
            terms.append(unjudged(one.name, one.unit, known))
            continue
        value, again = wasserstein(ours, theirs), wasserstein(ours, theirs, rows.again)
        null = wasserstein(pool, pool, rows.null)
        terms.append(judged(one.name, one.unit, known, float(value[0]), again, null))
        scaled.append([part / spread_of(pool) for part in (value, again, null)])
    if not scaled:
        return SyntheticGalaxyDistance(tuple(terms), unjudged(TOTAL, "", 0), rows.null.words, missing)
    value, again, null = (np.sum([parts[k] for parts in scaled], 0) for k in range(3))
    fewest = min(term.score.n for term in terms if np.isfinite(term.score.value)) if np.isfinite(value[0]) else 0
    total = judged(TOTAL, "", fewest, float(value[0]), again, null)
    return SyntheticGalaxyDistance(tuple(terms), total, rows.null.words, missing)


def colour_distance(real: Photometry, fake: Photometry, rows: Trial) -> Distance:
    """Wasserstein-2 distance [mag] of the normal laws of (magnitude in the reference band, all colours).

    √(|Δ mean|² + tr(A + B − 2 (A½ B A½)½)) of covariances A and B: it sees colours that no longer go with magnitudes,
    though each alone looks right. Galaxies with all magnitudes count.
    Source: Dowson & Landau 1982, J. Multivariate Analysis 12, 450. We differ: the root, so that the unit is mag.
    """
    require_alike(real, fake)
    pool, theirs = _light(real)[rows.real], _light(fake)[rows.fake]
    ours = pool[: rows.n]
    once = Draws(np.ones((1, len(ours)), int), np.ones((1, len(theirs)), int))
    value = float(_normal_distance(ours, theirs, once)[0])
    again, null = _normal_distance(ours, theirs, rows.again), _normal_distance(pool, pool, rows.null)
    counted = min(int(np.isfinite(part).all(1).sum()) for part in (ours, theirs))
    return judged(COLOURS, real.units[0], counted, value, again, null)


def effects(real: Photometry, fake: Photometry, rows: Trial) -> tuple[Distance, ...]:
    """Cohen's d of every property; of R_e that of its logarithm, which is nearer to a normal law.

    Signed, so its null is about 0, its interval that of the bootstrap itself, and p is of |d|.
    """
    require_alike(real, fake)
    found = []
    for one, other in zip(_logarithmic(real), _logarithmic(fake), strict=True):
        pool, theirs = one.values[rows.real], other.values[rows.fake]
        score = cohens_d(pool[: rows.n], theirs)
        again, null = standardised(pool[: rows.n], theirs, rows.again), standardised(pool, pool, rows.null)
        low, high = np.quantile(again, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
        level = Score(float(null.mean()), float(null.std()), "", score.n)
        p = as_far(abs(score.value), np.abs(null))
        found.append(Distance(one.name, score._replace(error=float(again.std())), level, float(low), float(high), p))
    return tuple(found)


def cohens_d(
    real: Float[np.ndarray, "n"], fake: Float[np.ndarray, "m"], resamples: int = RESAMPLES, seed: int = 0
) -> Score:
    """(mean of fake − mean of real) / √((σ² real + σ² fake) / 2), of the finite values, with a bootstrap error.

    Positive where the fake ones are larger; |d| below 0.2 is by custom called small. It sees shifts, not shapes.
    Source: Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, 2nd ed., Routledge.
    We differ: signed. Smith et al. 2022 print σ² − σ² under the root: `cohens_d_as_printed`.
    """
    real, fake = (part[np.isfinite(part)] for part in (np.asarray(real, float), np.asarray(fake, float)))
    count = min(len(real), len(fake))
    if count < 2:
        return Score(np.nan, np.nan, "", count)
    once = Draws(np.ones((1, len(real)), int), np.ones((1, len(fake)), int))
    again = standardised(real, fake, bootstrapped(len(real), len(fake), resamples, seed))
    return Score(float(standardised(real, fake, once)[0]), float(again[np.isfinite(again)].std()), "", count)


def cohens_d_as_printed(real: Float[np.ndarray, "n"], fake: Float[np.ndarray, "m"]) -> float:
    """|√(2 / (σ² real − σ² fake)) (mean real − mean fake)|: NaN wherever the fake ones scatter more. For the record.

    Source: Smith et al. 2022, MNRAS 511, 1808, arXiv:2111.01713, and the thesis that contains it, §4.4.1.
    We differ: nothing; `cohens_d` has the plus that belongs there.
    """
    real, fake = (part[np.isfinite(part)] for part in (np.asarray(real, float), np.asarray(fake, float)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.abs(np.sqrt(2 / (real.var() - fake.var())) * (real.mean() - fake.mean())))


def spread_of(values: Float[np.ndarray, "n"]) -> float:
    """Standard deviation of a normal law with the same quartiles, in the unit of the values; NaN if it is 0."""
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return np.nan
    low, high = np.percentile(known, [25, 75])
    return float(high - low) / NORMAL_QUARTILES or np.nan


def require_alike(real: Photometry, fake: Photometry) -> None:
    """RequestError unless both samples were measured in the same bands and units."""
    if (real.bands, real.units, real.reference) != (fake.bands, fake.units, fake.reference):
        raise RequestError(
            f"real galaxies are measured in {real.bands} {real.units}, R_e in {real.reference}, and fake ones in "
            f"{fake.bands} {fake.units}, R_e in {fake.reference}; measure both alike"
        )


def _light(sample: Photometry) -> Float[np.ndarray, "n c"]:
    """Magnitude in the reference band, then the colours."""
    place = sample.bands.index(sample.reference)
    return np.concatenate([sample.magnitudes[:, place : place + 1], sample.colours], 1)


def _logarithmic(sample: Photometry) -> list[Property]:
    with np.errstate(invalid="ignore", divide="ignore"):
        last = sample.properties[-1]
        return [*sample.properties[:-1], last._replace(name=f"ln {last.name}", values=np.log(last.values))]


def standardised(real: np.ndarray, fake: np.ndarray, draws: Draws) -> Float[np.ndarray, "s"]:
    """Cohen's d (see `cohens_d`) of each pair of resamples of the finite values."""
    (mean, variance), (other, other_variance) = _moments(real, draws.one), _moments(fake, draws.other)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (other - mean) / np.sqrt((variance + other_variance) / 2)


def _moments(values: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each resample of the finite values; NaN for none."""
    known = np.isfinite(values)
    values, times = values[known], times[:, known]
    centre = values.mean() if len(values) else 0.0
    with np.errstate(invalid="ignore"):
        mean, square = (times @ (values - centre) ** power / times.sum(1) for power in (1, 2))
    return mean + centre, np.maximum(square - mean**2, 0)


def _normal_distance(real: np.ndarray, fake: np.ndarray, draws: Draws) -> Float[np.ndarray, "s"]:
    (mean, cov), (other, other_cov) = _gaussians(real, draws.one), _gaussians(fake, draws.other)
    value, vectors = np.linalg.eigh(cov)
    root = (vectors * np.sqrt(np.maximum(value, 0))[:, None]) @ vectors.swapaxes(1, 2)
    shared = np.linalg.eigvalsh(root @ other_cov @ root)
    widths = np.trace(cov + other_cov, axis1=1, axis2=2) - 2 * np.sqrt(np.maximum(shared, 0)).sum(1)
    return np.sqrt(((mean - other) ** 2).sum(1) + np.maximum(widths, 0))


def _gaussians(values: np.ndarray, times: np.ndarray) -> tuple[Float[np.ndarray, "s c"], Float[np.ndarray, "s c c"]]:
    """Mean and covariance of each resample of the rows that are known throughout; NaN if it has none."""
    known = np.isfinite(values).all(1)
    rows, times = values[known], times[:, known].astype(float)
    with np.errstate(invalid="ignore"):
        times /= times.sum(1, keepdims=True)
    centre = rows.mean(0) if len(rows) else np.zeros(values.shape[1])
    rows = rows - centre
    mean = times @ rows
    products = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), rows.shape[1] ** 2)
    cov = (times @ products).reshape(len(times), values.shape[1], values.shape[1]) - mean[:, :, None] * mean[:, None, :]
    return mean + centre, cov
