"""Is a made field a survey's? How many sources it has of which magnitude, their colours and sizes, how they cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from scipy.stats import ks_2samp

from skyloom.data.cutout import Band
from skyloom.data.detections import searched
from skyloom.data.images import read_images
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.metrics.photometry import Property
from skyloom.metrics.score import RESAMPLES, Score
from skyloom.metrics.synthetic_galaxy import cohens_d
from skyloom.sky.detection import away_from, pixels_of
from skyloom.sky.photometry import magnitude

STEP = 0.5  # of magnitude, in number counts
RANDOMS = 20  # random positions per source
AROUND = 1.3, 6.0  # what is about a source: so many radii of its isophote's area, and so many pixels more
LEAST = 20  # sources of each side, below which nothing is said of them
SURE = 20.0  # S/N of sources whose colours and sizes are compared
PAIRED = 10.0  # S/N of sources that are paired
RADII = (8.0, 16.0, 32.0, 64.0, 128.0, 256.0)  # edges of separations [pixel]


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

    def take(self, pieces: Int[np.ndarray, "k"]) -> FieldSources:
        """The sources of some pieces, which are numbered anew; one that is asked for twice comes twice."""
        rows = [np.flatnonzero(self.piece == one) for one in pieces]
        found = self.where(np.concatenate([*rows, np.empty(0, int)]).astype(int))
        return found._replace(piece=np.repeat(np.arange(len(rows)), [len(one) for one in rows]), good=self.good[pieces])

    def magnitudes_to(self, limits: Float[np.ndarray, "c"]) -> tuple[Property, ...]:
        """Magnitudes in each band; NaN for sources fainter than its limit [mag]."""
        known = np.where(self.magnitudes < limits, self.magnitudes, np.nan)
        return tuple(Property(name, "mag", known[:, band]) for band, name in enumerate(self.bands))

    @property
    def colours_and_size(self) -> tuple[Property, ...]:
        """Each band less the next, and the half-light radius; NaN for sources that are not SURE."""
        sure = self.snr > SURE
        colours = np.where(sure[:, None], self.magnitudes[:, :-1] - self.magnitudes[:, 1:], np.nan)
        names = [f"{one} − {other}" for one, other in zip(self.bands[:-1], self.bands[1:], strict=True)]
        found = [Property(name, "mag", colours[:, k]) for k, name in enumerate(names)]
        return (*found, Property("half-light radius", "pixel", np.where(sure, self.size, np.nan)))


class Counts(NamedTuple):
    """Sources per magnitude and area. edges : of the bins [mag]; error : of Poisson's law"""

    edges: Float[np.ndarray, "b"]
    density: Float[np.ndarray, "b"]
    error: Float[np.ndarray, "b"]


class Likeness(NamedTuple):
    """One property of real and made sources.

    apart : largest distance of the two cumulative distributions (Kolmogorov-Smirnov); p : of one as large by chance
    shift : median of the made ones less that of the real ones
    effect : Cohen's d, + where the made ones are larger
    """

    name: str
    apart: float
    p: float
    shift: Score
    effect: Score
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
    return joined_sources([
        sources_in(flux, images.good(row).numpy() > 0, rms, chosen, most_pixels, peak)
        for row, flux in enumerate(images.flux.numpy())
    ])  # fmt: skip


def sources_in(
    flux: Float[np.ndarray, "c h w"], good: Bool[np.ndarray, "c h w"], rms: Sequence[float], bands: Sequence[Band],
    most_pixels: float = np.inf, peak: float = np.inf,
) -> FieldSources:  # fmt: skip
    """Those of one piece, its sky subtracted; see `field_sources`."""
    sources, fluxes, here = searched(flux, good, rms)
    table = sources.table
    too_much = (table["pixels"] > most_pixels) | (table["peak"] > peak)
    here = here & away_from(table[too_much], here.shape, AROUND)
    rows, columns = pixels_of(table["x"], table["y"], here.shape)
    kept = ~too_much & ~table["is_cut"] & here[rows, columns]
    brightness, table = magnitude(fluxes.T, np.array([band.zero_point or 0.0 for band in bands]))[kept], table[kept]
    return FieldSources(
        tuple(band.name for band in bands), np.zeros(len(table), int), table["x"], table["y"], brightness,
        table["half_light_radius"], table["snr"], here[None],
    )  # fmt: skip


def joined_sources(parts: Sequence[FieldSources]) -> FieldSources:
    """The pieces of several sets, one after another."""
    before = np.cumsum([0, *(len(part.good) for part in parts[:-1])])
    piece = np.concatenate([part.piece + first for part, first in zip(parts, before, strict=True)])
    rest = (np.concatenate(column) for column in zip(*(part[2:] for part in parts), strict=True))
    return FieldSources(parts[0].bands, piece, *rest)


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


def completeness_limits(sources: FieldSources) -> Float[np.ndarray, "c"]:
    """`completeness_limit` of each band."""
    return np.array([completeness_limit(one) for one in sources.magnitudes.T])


def likenesses(real: FieldSources, fake: FieldSources, limits: Float[np.ndarray, "c"]) -> list[Likeness]:
    """Of magnitudes to the limit of each band, colours and sizes."""
    ours, theirs = ((*one.magnitudes_to(limits), *one.colours_and_size) for one in (real, fake))
    return [likeness(one.name, one.values, other.values, one.unit) for one, other in zip(ours, theirs, strict=True)]


def likeness(name: str, real: Float[np.ndarray, "n"], fake: Float[np.ndarray, "m"], unit: str = "mag") -> Likeness:
    """How far the distribution of made sources is from that of real ones; the shift's error is a bootstrap's."""
    ours, theirs = (values[np.isfinite(values)] for values in (real, fake))
    n = len(ours), len(theirs)
    if min(n) < LEAST:
        unknown = Score(np.nan, np.nan, unit, min(n))
        return Likeness(name, np.nan, np.nan, unknown, unknown._replace(unit=""), n)
    test = ks_2samp(ours, theirs)
    rng = np.random.default_rng(0)
    again = [np.median(rng.choice(theirs, n[1])) - np.median(rng.choice(ours, n[0])) for _ in range(RESAMPLES)]
    shift = Score(float(np.median(theirs) - np.median(ours)), float(np.std(again)), unit, min(n))
    return Likeness(name, float(test.statistic), float(test.pvalue), shift, cohens_d(ours, theirs), n)


def two_point(sources: FieldSources, edges: Float[np.ndarray, "r"], seed: int = 0) -> Clustering:
    """w(r) of the sources within pieces, against positions strewn at random over the same good pixels.

    edges : of the bins of separation [pixel]; pairs of different pieces do not count
    Source: Landy & Szalay 1993, ApJ 412, 64. The error is a bootstrap over pieces.
    """
    if len(sources.x) < LEAST:
        raise RequestError(f"{len(sources.x)} sources; clustering needs {LEAST} at least")
    pairs, n = pairs_in(sources, edges, seed), len(sources.good)
    again = excess(pairs, np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES))
    middle = np.sqrt(edges[:-1] * edges[1:])
    return Clustering(middle, excess(pairs, np.ones((1, n), int))[0], np.nanstd(again, 0))


def pairs_in(sources: FieldSources, edges: Float[np.ndarray, "r"], seed: int = 0) -> Float[np.ndarray, "p 5 b"]:
    """Pairs of each piece at each separation: of sources, of both, of random positions; and how many of the two."""
    rng = np.random.default_rng(seed)
    return np.array([_pairs(sources, number, edges, rng) for number in range(len(sources.good))])


def excess(pairs: Float[np.ndarray, "p 5 b"], times: Int[np.ndarray, "s p"]) -> Float[np.ndarray, "s b"]:
    """w at each separation. times : how often each piece counts in each of s resamples; NaN for one without pairs"""
    dd, dr, rr, d, r = np.moveaxis((times @ pairs.reshape(len(pairs), -1)).reshape(len(times), *pairs.shape[1:]), 1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = d / r  # pairs scale with the numbers of points
        return dd / (rr * share**2) - 2 * dr / (rr * share) + 1


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
