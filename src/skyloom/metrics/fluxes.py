"""How bright real galaxies are beside fake ones: the factor by which fake fluxes would have to be multiplied."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from skyloom.metrics.distances import INTERVAL, Distance, Trial, as_far, unjudged
from skyloom.metrics.photometry import Photometry
from skyloom.metrics.score import Score
from skyloom.metrics.synthetic_galaxy import require_alike
from skyloom.sky.photometry import flux as flux_of


def flux_ratios(real: Photometry, fake: Photometry, rows: Trial) -> tuple[Distance, ...]:
    """Real over fake, per band: of the mean flux in the aperture, and of the median; a flux that is not positive is 0.

    Without units, and 1 where nothing is wrong; its interval is that of the bootstrap, and p of how far its logarithm
    lies from 0. The mean is that of a few bright galaxies, and has their scatter.
    Source: the factors of Smith et al. 2022, MNRAS 511, 1808, arXiv:2111.01713, §4.1.
    We differ: theirs is the slope of a line through sorted median pixels, mostly of sky.
    """
    require_alike(real, fake)
    found = []
    for name, one, other in zip(real.bands, _light(real).T, _light(fake).T, strict=True):
        pool, theirs = one[rows.real], other[rows.fake]
        ours = pool[: rows.n]
        for words, of in (("mean", _means), ("median", _medians)):
            value = float(_ratio(of(ours), of(theirs))[0])
            again = _ratio(of(ours, rows.again.one), of(theirs, rows.again.other))
            null = _ratio(of(pool, rows.null.one), of(pool, rows.null.other))
            found.append(_judged(f"{name} {words}, real / fake", rows.n, value, _known(again), _known(null)))
    return tuple(found)


def _judged(name: str, n: int, value: float, again: np.ndarray, null: np.ndarray) -> Distance:
    if not (np.isfinite(value) and value > 0 and len(again) and len(null)):
        return unjudged(name, "", n)
    level = Score(float(null.mean()), float(null.std()), "", n)
    low, high = np.quantile(again, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    p = as_far(abs(np.log(value)), np.abs(np.log(null)))
    return Distance(name, Score(value, float(again.std()), "", n), level, float(low), float(high), p)


def _light(sample: Photometry) -> Float[np.ndarray, "n c"]:
    """Flux in units of a 0 mag source's."""
    return np.nan_to_num(flux_of(sample.magnitudes, 0.0))


def _ratio(one: Float[np.ndarray, "s"], other: Float[np.ndarray, "s"]) -> Float[np.ndarray, "s"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return one / other


def _means(values: Float[np.ndarray, "n"], times: Int[np.ndarray, "s n"] | None = None) -> Float[np.ndarray, "s"]:
    return np.atleast_1d(values.mean()) if times is None else times @ values / times.sum(1)


def _medians(values: Float[np.ndarray, "n"], times: Int[np.ndarray, "s n"] | None = None) -> Float[np.ndarray, "s"]:
    if times is None:
        return np.atleast_1d(np.median(values))
    order = np.argsort(values)
    reached = np.cumsum(times[:, order], 1)
    return values[order[(reached < reached[:, -1:] / 2).sum(1)]]


def _known(values: Float[np.ndarray, "s"]) -> Float[np.ndarray, "k"]:
    return values[np.isfinite(values) & (values > 0)]
