"""Is a made field a survey's? How many sources it has of which magnitude, their colours and sizes, how they cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from scipy.stats import ks_2samp

from skyloom.data.detections import searched
from skyloom.data.images import read_images
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.metrics.score import RESAMPLES, Score
from skyloom.sky.detection import away_from, pixels_of
from skyloom.sky.photometry import magnitude

STEP = 0.5  # of magnitude, in number counts
RANDOMS = 20  # random positions per source
AROUND = 1.3, 6.0  # what is about a source: so many radii of its isophote's area, and so many pixels more
LEAST = 20  # sources of each side, below which nothing is said of them


class FieldSources(NamedTuple):
    """Sources of some pieces of a field.

    piece : which one it lies in, from 0; x, y : in it [pixel]; magnitudes : NaN where the flux is not positive
    size : half-light radius [pixel]; snr : within the isophote
    good : which pixels of each piece were looked at
    """

    bands: tuple[str, ...]
    piece: Int[np.ndarray, "n"]
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    magnitudes: Float[np.ndarray, "n c"]
    size: Float[np.ndarray, "n"]
    snr: Float[np.ndarray, "n"]
    good: Bool[np.ndarray, "p h w"]

    @property
    def area(self) -> int:
        """[pixel]"""
        return int(self.good.sum())

    def where(self, wanted: Bool[np.ndarray, "n"]) -> FieldSources:
        return FieldSources(
            self.bands, self.piece[wanted], self.x[wanted], self.y[wanted], self.magnitudes[wanted], self.size[wanted],
            self.snr[wanted], self.good,
        )  # fmt: skip


class Counts(NamedTuple):
    """Sources per magnitude and area. edges : of the bins [mag]; error : of Poisson's law"""

    edges: Float[np.ndarray, "b"]
    density: Float[np.ndarray, "b"]
    error: Float[np.ndarray, "b"]


class Likeness(NamedTuple):
    """One property of real and made sources.

    apart : largest distance of the two cumulative distributions (Kolmogorov-Smirnov); p : of one as large by chance
    shift : median of the made ones less that of the real ones
    """

    name: str
    apart: float
    p: float
    shift: Score
    n: tuple[int, int]


class Clustering(NamedTuple):
    """w : excess of pairs over chance at each separation [pixel]; error : of pieces drawn anew"""

    r: Float[np.ndarray, "r"]
    w: Float[np.ndarray, "r"]
    error: Float[np.ndarray, "r"]


def field_sources(
    survey: Survey, ids: Sequence[str], rms: Sequence[float], *, bands: Sequence[str] = (),
    most_pixels: float = np.inf, peak: float = np.inf,
) -> FieldSources:  # fmt: skip
    """What `detect` finds in the mean S/N of all bands of pieces of a field, with its flux in each.

    bands : names, none for all; rms : of the sky per pixel, of each band, the same for real and made fields [flux]
    most_pixels, peak : [pixel] and [rms of the mean S/N]; larger and brighter sources are left out on both sides, with
        all that is about them (AROUND), and so are sources whose isophote is cut
    """
    images = read_images(survey, ids, bands=bands)
    chosen = [survey.info.bands[survey.info.index(name)] for name in (bands or survey.info.band_names)]
    found, seen = [], []
    for row, flux in enumerate(images.flux.numpy()):
        good = images.good(row).numpy() > 0
        sources, fluxes, here = searched(flux, good, rms)
        points = np.array([band.zero_point or 0.0 for band in chosen])
        table = sources.table
        too_much = (table["pixels"] > most_pixels) | (table["peak"] > peak)
        here = here & away_from(table[too_much], here.shape, AROUND)
        rows, columns = pixels_of(table["x"], table["y"], here.shape)
        kept = ~too_much & ~table["is_cut"] & here[rows, columns]
        brightness = magnitude(fluxes.T, points)
        found.append((table[kept], brightness[kept]))
        seen.append(here)
    table = np.concatenate([one[0] for one in found])
    piece = np.repeat(np.arange(len(found)), [len(one[0]) for one in found])
    return FieldSources(
        tuple(band.name for band in chosen), piece, table["x"], table["y"], np.concatenate([one[1] for one in found]),
        table["half_light_radius"], table["snr"], np.stack(seen),
    )  # fmt: skip


def number_counts(magnitudes: Float[np.ndarray, "n"], area: float, edges: Float[np.ndarray, "b"]) -> Counts:
    """Sources per magnitude and unit of area in bins. area : in any unit"""
    counts = np.histogram(magnitudes[np.isfinite(magnitudes)], edges)[0]
    unit = area * np.diff(edges)
    return Counts(edges, counts / unit, np.sqrt(counts) / unit)


def completeness_limit(magnitudes: Float[np.ndarray, "n"]) -> float:
    """The faint end of the bin of STEP mag with most sources: beyond it the counts fall, as sources are missed."""
    known = magnitudes[np.isfinite(magnitudes)]
    if len(known) < LEAST:
        return np.nan
    edges = np.arange(np.floor(known.min()), np.ceil(known.max()) + STEP, STEP)
    return float(edges[np.argmax(np.histogram(known, edges)[0]) + 1])


def likeness(name: str, real: Float[np.ndarray, "n"], fake: Float[np.ndarray, "m"], unit: str = "mag") -> Likeness:
    """How far the distribution of made sources is from that of real ones; the shift's error is a bootstrap's."""
    ours, theirs = (values[np.isfinite(values)] for values in (real, fake))
    n = len(ours), len(theirs)
    if min(n) < LEAST:
        return Likeness(name, np.nan, np.nan, Score(np.nan, np.nan, unit, min(n)), n)
    test = ks_2samp(ours, theirs)
    rng = np.random.default_rng(0)
    again = [np.median(rng.choice(theirs, n[1])) - np.median(rng.choice(ours, n[0])) for _ in range(RESAMPLES)]
    shift = Score(float(np.median(theirs) - np.median(ours)), float(np.std(again)), unit, min(n))
    return Likeness(name, float(test.statistic), float(test.pvalue), shift, n)


def two_point(sources: FieldSources, edges: Float[np.ndarray, "r"], seed: int = 0) -> Clustering:
    """w(r) of the sources within pieces, against positions strewn at random over the same good pixels.

    edges : of the bins of separation [pixel]; pairs of different pieces do not count
    Source: Landy & Szalay 1993, ApJ 412, 64. The error is a bootstrap over pieces.
    """
    if len(sources.x) < LEAST:
        raise RequestError(f"{len(sources.x)} sources; clustering needs {LEAST} at least")
    rng = np.random.default_rng(seed)
    pairs = np.array([_pairs(sources, number, edges, rng) for number in range(len(sources.good))])

    def estimate(times: Int[np.ndarray, "p"]) -> Float[np.ndarray, "r"]:
        dd, dr, rr, d, r = (times @ pairs.reshape(len(pairs), -1)).reshape(5, -1)
        share = d[0] / r[0]  # pairs scale with the numbers of points
        with np.errstate(invalid="ignore", divide="ignore"):
            return dd / (rr * share**2) - 2 * dr / (rr * share) + 1

    again = [estimate(rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)))) for _ in range(RESAMPLES)]
    middle = np.sqrt(edges[:-1] * edges[1:])
    return Clustering(middle, estimate(np.ones(len(pairs), int)), np.nanstd(again, 0))


def _pairs(sources: FieldSources, number: int, edges: np.ndarray, rng: np.random.Generator) -> Float[np.ndarray, "5 r"]:
    """Pairs of one piece at each separation: of sources, of sources and randoms, of randoms; and the two numbers."""
    here = sources.piece == number
    points = np.column_stack([sources.y[here], sources.x[here]])
    rows, columns = np.nonzero(sources.good[number])
    drawn = rng.integers(len(rows), size=round(RANDOMS * len(sources.x) * len(rows) / sources.area))
    chance = np.column_stack([rows[drawn], columns[drawn]]) + rng.uniform(-0.5, 0.5, (len(drawn), 2))
    ours, theirs = (cKDTree(some) if len(some) else None for some in (points, chance))

    def between(one, other) -> np.ndarray:
        return np.diff(one.count_neighbors(other, edges)) if one is not None and other is not None else 0 * edges[1:]

    size = np.full(len(edges) - 1, 1.0)
    return np.array([
        between(ours, ours), between(ours, theirs), between(theirs, theirs), len(points) * size, len(chance) * size
    ])  # fmt: skip
