"""Shapes of galaxies without a model: concentration, asymmetry, smoothness, Gini and M20, of many small cutouts.

Each cutout has its galaxy in the middle. It is found here, its neighbours are left out, and it is measured within its
own Petrosian radius.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int8
from scipy.ndimage import binary_dilation, gaussian_filter, label, uniform_filter

from skyloom.errors import RequestError

SKY, GALAXY, OTHER = 0, 1, 2  # what a pixel shows
SMOOTHING = 1.0  # σ of the filter that finds sources [pixel]
FOUND = 1.0  # noise of a pixel above which the filtered image shows a source
FEWEST = 5  # pixels of a galaxy
MIDDLE = 8  # the galaxy is the brightest source within 1/8 of the cutout's side from its centre
PETROSIAN = 0.2  # surface brightness at the Petrosian radius over the mean within
EXTENT = 1.5  # Petrosian radii within which C, A and S are measured
CORE = 0.25  # of the Petrosian radius: smoothness leaves it out, and smooths by as much
BLUR = 0.2  # of the Petrosian radius: σ of the filter that outlines a galaxy for Gini and M20
STEP, PARTS = 0.25, 4  # width of the rings of a growth curve [pixel]; parts of a pixel along each axis
SEARCH = (0.5, 0.25, 0.125, 0.0625)  # steps of the search for the centre [pixel]
LEAST_SKY = 50  # pairs of pixels that say how asymmetric the sky is
EIGHT = np.ones((3, 3), bool)


class Morphology(NamedTuple):
    """Shapes of n galaxies; NaN where unmeasurable.

    concentration : 5 log₁₀(r80 / r20); asymmetry, smoothness : corrected for the sky's, and below 0 by chance
    gini, m20 : pure numbers; petrosian_radius : [pixel], circular; snr : mean flux over noise per pixel of the galaxy
    """

    concentration: Float[np.ndarray, "n"]
    asymmetry: Float[np.ndarray, "n"]
    smoothness: Float[np.ndarray, "n"]
    gini: Float[np.ndarray, "n"]
    m20: Float[np.ndarray, "n"]
    petrosian_radius: Float[np.ndarray, "n"]
    snr: Float[np.ndarray, "n"]


class _Growth(NamedTuple):
    """Area [pixel] and flux within circles or ellipses of growing radius [pixel], without holes."""

    radius: Float[np.ndarray, "r"]
    area: Float[np.ndarray, "r"]
    flux: Float[np.ndarray, "r"]


class _Ellipse(NamedTuple):
    """Centre [pixel], axis ratio, and the direction of the major axis [rad from +x towards +y]."""

    x: float
    y: float
    ratio: float = 1.0
    angle: float = 0.0


def morphology(flux: Float[np.ndarray, "n h w"], noise: Float[np.ndarray, "m"]) -> Morphology:
    """CAS, Gini and M20 of the galaxy in the middle of each image.

    flux : one band, sky-subtracted; bad pixels are not finite. noise : rms of the sky per pixel, in the same unit
    NaN where nothing is found in the middle, the Petrosian radius does not lie in the image, or, for smoothness, it is
    below 8 pixels: too few to smooth by a quarter of it. Neighbours that touch the galaxy are taken for part of it.
    Source: Conselice 2003, ApJS 147, 1, arXiv:astro-ph/0303065 (C, A, S); Lotz et al. 2004, AJ 128, 163,
    arXiv:astro-ph/0311352, Eq. 6-8 (Gini, M20), and §2 for the outline.
    We differ: A and S of the sky come from the pixels around the galaxy; pixels of neighbours count as the mean of
    their ring in the growth curve; the box of S has an odd side, and S no factor of 10 (as in Lotz et al. 2004).
    """
    maps = segmented(flux, noise)
    found = [_measured(*one) for one in zip(flux.astype(float), maps, np.asarray(noise, float), strict=True)]
    return Morphology(*np.array(found, float).reshape(-1, len(Morphology._fields)).T)


def segmented(flux: Float[np.ndarray, "n h w"], noise: Float[np.ndarray, "m"]) -> Int8[np.ndarray, "n h w"]:
    """SKY, GALAXY or OTHER: what each pixel shows. Bad pixels, which are not finite, are OTHER.

    Sources are connected pixels above the noise of one pixel after a Gaussian filter; the galaxy is the brightest in
    the middle, if there is one of FEWEST pixels at least.
    """
    if len(noise) != len(flux):
        raise RequestError(f"noise of {len(noise)} images for {len(flux)}; give one rms for each")
    bad = ~np.isfinite(flux)
    filtered = gaussian_filter(np.where(bad, 0, flux), (0, SMOOTHING, SMOOTHING), output=float)
    above = filtered > FOUND * np.asarray(noise)[:, None, None]
    connected = np.zeros((3, 3, 3), bool)
    connected[1] = True  # pixels of one image, never those of the next
    numbers, _ = label(above, connected)
    h, w = flux.shape[1:]
    y, x = np.indices((h, w))
    middle = np.hypot(y - (h - 1) / 2, x - (w - 1) / 2) <= max(1.0, min(h, w) / MIDDLE)
    brightest = np.where(middle & above, filtered, -np.inf).reshape(len(flux), h * w).argmax(1)
    chosen = numbers.reshape(len(flux), h * w)[np.arange(len(flux)), brightest][:, None, None]
    galaxy = (numbers == chosen) & (chosen > 0)
    galaxy &= (galaxy.sum((1, 2)) >= FEWEST)[:, None, None]
    return np.where(bad, OTHER, np.where(galaxy, GALAXY, np.where(above, OTHER, SKY))).astype(np.int8)


def _measured(image: Float[np.ndarray, "h w"], what: Int8[np.ndarray, "h w"], noise: float) -> tuple[float, ...]:
    """The fields of Morphology, of one image."""
    nothing = (np.nan,) * len(Morphology._fields)
    if not (what == GALAXY).any():
        return nothing
    good = ~_grown(what == OTHER, 1) | (what == GALAXY)
    good &= np.isfinite(image)
    image = np.where(good, image, 0)
    start = _ellipse(np.where(what == GALAXY, image, 0))
    if start is None:
        return nothing
    circle = _Ellipse(start.x, start.y)
    radius = _petrosian(_growth(image, good, circle))
    if not np.isfinite(radius):
        return nothing
    circle = _most_symmetric(image, good, circle, radius)
    growth = _growth(image, good, circle)
    radius = _petrosian(growth)
    if not np.isfinite(radius):
        return nothing
    sky = good & ~_grown(what == GALAXY, 2) & (_soft(image.shape, circle, EXTENT * radius) == 0)
    asymmetry = _asymmetry(image, good, circle, EXTENT * radius, sky, noise)
    smoothness = _smoothness(image, good, circle, radius, sky)
    ellipse = start._replace(x=circle.x, y=circle.y)
    outline = _outline(image, good, ellipse, _petrosian(_growth(image, good, ellipse)))
    gini, m20, snr = _gini(image[outline]), _m20(image, outline), np.nan
    if outline.any() and noise > 0:
        snr = float(image[outline].mean() / noise)
    return _concentration(growth, radius), asymmetry, smoothness, gini, m20, radius, snr


def _grown(mask: Bool[np.ndarray, "h w"], pixels: int) -> Bool[np.ndarray, "h w"]:
    return binary_dilation(mask, EIGHT, pixels)


def _ellipse(light: Float[np.ndarray, "h w"]) -> _Ellipse | None:
    """Centroid and shape from the first and second moments; None for light that adds up to nothing."""
    total = light.sum()
    if total <= 0:
        return None
    y, x = np.indices(light.shape)
    x0, y0 = (light * x).sum() / total, (light * y).sum() / total
    xx, yy = (light * (x - x0) ** 2).sum() / total, (light * (y - y0) ** 2).sum() / total
    xy = (light * (x - x0) * (y - y0)).sum() / total
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    if mean <= half:
        return _Ellipse(float(x0), float(y0))
    ratio, angle = np.sqrt((mean - half) / (mean + half)), np.arctan2(2 * xy, xx - yy) / 2
    return _Ellipse(float(x0), float(y0), float(ratio), float(angle))


def _radii(x: Any, y: Any, ellipse: _Ellipse) -> np.ndarray:
    """Semi-major axes [pixel] of the ellipses through points."""
    dx, dy = x - ellipse.x, y - ellipse.y
    if ellipse.ratio < 1:
        cos, sin = np.cos(ellipse.angle), np.sin(ellipse.angle)
        dx, dy = dx * cos + dy * sin, (dy * cos - dx * sin) / ellipse.ratio
    return np.sqrt(dx * dx + dy * dy)  # half the time of np.hypot


def _growth(image: Float[np.ndarray, "h w"], good: Bool[np.ndarray, "h w"], ellipse: _Ellipse) -> _Growth:
    """Flux within ellipses of the same shape: means over rings, times their areas, so that holes are filled.

    Every pixel is cut into PARTS × PARTS, each as bright; a ring too narrow to hold one lies between its neighbours.
    """
    h, w = image.shape
    y, x = ((np.arange(side * PARTS) + 0.5) / PARTS - 0.5 for side in (h, w))
    ring = (_radii(x, y[:, None], ellipse) / STEP).astype(np.int32).ravel()
    values = image.repeat(PARTS, 0).repeat(PARTS, 1).ravel()
    known = good.repeat(PARTS, 0).repeat(PARTS, 1).ravel().astype(float)
    count, total = np.bincount(ring, known), np.bincount(ring, values)
    rings = min(len(count), int(EXTENT * max(h, w) / STEP))
    held = np.flatnonzero(count[:rings] > 0)
    mean = np.interp(np.arange(rings), held, total[held] / count[held])
    edges = STEP * np.arange(rings + 1)
    area = np.pi * ellipse.ratio * edges**2
    return _Growth(edges, area, np.concatenate([[0.0], np.cumsum(mean * np.diff(area))]))


def _petrosian(growth: _Growth) -> float:
    """Radius [pixel] at which a ring 1 pixel wide is first PETROSIAN times as bright as the mean within; or NaN."""
    wide = int(0.5 / STEP)
    inner, outer, here = slice(None, -2 * wide), slice(2 * wide, None), slice(wide, -wide)
    ring = (growth.flux[outer] - growth.flux[inner]) / (growth.area[outer] - growth.area[inner])
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = ring - PETROSIAN * growth.flux[here] / growth.area[here]
    radius = growth.radius[here]
    below = np.flatnonzero((excess < 0) & (radius > 1))
    if len(below) == 0 or growth.flux[here][below[0]] <= 0:
        return np.nan
    last = below[0]
    share = excess[last - 1] / (excess[last - 1] - excess[last]) if excess[last - 1] > 0 else 1.0
    found = radius[last - 1] + share * STEP
    return float(found) if EXTENT * found <= growth.radius[-1] else np.nan


def _concentration(growth: _Growth, radius: float) -> float:
    total = np.interp(EXTENT * radius, growth.radius, growth.flux)
    r20, r80 = (_first(growth, share * total) for share in (0.2, 0.8))
    return float(5 * np.log10(r80 / r20)) if total > 0 and r20 > 0 else np.nan


def _first(growth: _Growth, flux: float) -> float:
    """The radius [pixel] within which there is so much light for the first time."""
    place = int(np.argmax(growth.flux >= flux))
    if place == 0:
        return np.nan
    share = (flux - growth.flux[place - 1]) / (growth.flux[place] - growth.flux[place - 1])
    return float(growth.radius[place - 1] + share * STEP)


def _soft(shape: tuple[int, int], circle: _Ellipse, radius: float) -> Float[np.ndarray, "h w"]:
    """How much of each pixel lies within a circle, about."""
    y, x = np.indices(shape)
    return np.clip(radius - _radii(x, y, circle) + 0.5, 0, 1)


def _turned(image: Float[np.ndarray, "h w"], x: float, y: float) -> Float[np.ndarray, "h w"]:
    """The image turned by 180° about a point, bilinear between pixels; 0 from beyond its edges."""
    h, w = image.shape
    across, down = 2 * x - (w - 1), 2 * y - (h - 1)
    left, top = int(np.floor(across)), int(np.floor(down))
    right, low = across - left, down - top
    edge = max(abs(left), abs(top)) + 1
    padded = np.zeros((h + 2 * edge, w + 2 * edge))
    padded[edge : edge + h, edge : edge + w] = image[::-1, ::-1]
    rows = (1 - low) * padded[edge - top :][:h] + low * padded[edge - top - 1 :][:h]
    return (1 - right) * rows[:, edge - left :][:, :w] + right * rows[:, edge - left - 1 :][:, :w]


def _most_symmetric(image: np.ndarray, good: np.ndarray, circle: _Ellipse, radius: float) -> _Ellipse:
    """The centre about which the asymmetry is least, by steps that become finer."""
    weight = _soft(image.shape, circle, EXTENT * radius) * good
    known = {}

    def asymmetry(x: float, y: float) -> float:
        if (x, y) not in known:
            known[x, y] = float((np.abs(image - _turned(image, x, y)) * weight).sum())
        return known[x, y]

    x, y = circle.x, circle.y
    for step in SEARCH:
        for _ in range(4):
            around = [(x + i * step, y + j * step) for j in (-1, 0, 1) for i in (-1, 0, 1)]
            best = min(around, key=lambda place: asymmetry(*place))
            if best == (x, y) or np.hypot(best[0] - circle.x, best[1] - circle.y) > radius / 2:
                break
            x, y = best
    return _Ellipse(x, y)


def _asymmetry(
    image: np.ndarray, good: np.ndarray, circle: _Ellipse, extent: float, sky: np.ndarray, noise: float
) -> float:
    """Σ|I − I₁₈₀| / Σ|I| within the extent, less what the sky alone would give."""
    difference = np.abs(image - _turned(image, circle.x, circle.y))
    both = good & (_turned(good.astype(float), circle.x, circle.y) > 0.999)
    weight = _soft(image.shape, circle, extent) * both
    empty = sky & (_turned(sky.astype(float), circle.x, circle.y) > 0.999)
    blank = difference[empty].mean() if empty.sum() >= LEAST_SKY else _difference_of_noise(noise, circle)
    light = (np.abs(image) * weight).sum()
    return float(((difference * weight).sum() - blank * weight.sum()) / light) if light > 0 else np.nan


def _difference_of_noise(noise: float, circle: _Ellipse) -> float:
    """Mean |N − N₁₈₀| of white noise, of which interpolation between pixels leaves less in the turned image."""
    kept = [1 - 2 * share * (1 - share) for share in (2 * circle.x % 1, 2 * circle.y % 1)]
    return noise * np.sqrt(2 / np.pi * (1 + kept[0] * kept[1]))


def _smoothness(image: np.ndarray, good: np.ndarray, circle: _Ellipse, radius: float, sky: np.ndarray) -> float:
    """Σ max(I − smooth I, 0) / Σ I from CORE to EXTENT Petrosian radii, less what the sky alone would give."""
    box = 2 * round((CORE * radius - 1) / 2) + 1
    if box < 3 or sky.sum() < LEAST_SKY:
        return np.nan
    rough = np.maximum(image - uniform_filter(image, box), 0)
    weight = _soft(image.shape, circle, EXTENT * radius) - _soft(image.shape, circle, CORE * radius)
    weight *= good
    light = (image * weight).sum()
    return float(((rough * weight).sum() - rough[sky].mean() * weight.sum()) / light) if light > 0 else np.nan


def _outline(image: np.ndarray, good: np.ndarray, ellipse: _Ellipse, axis: float) -> Bool[np.ndarray, "h w"]:
    """The galaxy's pixels: connected, and as bright as the Petrosian ellipse after smoothing; none without one."""
    nowhere = np.zeros(image.shape, bool)
    if not np.isfinite(axis):
        return nowhere
    smooth = gaussian_filter(image, BLUR * axis)
    y, x = np.indices(image.shape)
    radius = _radii(x, y, ellipse)
    ring = good & (np.abs(radius - axis) <= 0.5)
    if not ring.any():
        return nowhere
    numbers, _ = label((smooth >= smooth[ring].mean()) & good, EIGHT)
    centre = numbers.ravel()[np.argmin(np.where(numbers > 0, radius, np.inf))]
    return (numbers == centre) & (numbers > 0)


def _gini(values: Float[np.ndarray, "p"]) -> float:
    """How unequally light is spread over pixels: 0 where all have the same, 1 where one has it all."""
    n, ordered = len(values), np.sort(np.abs(values))
    if n < 2 or ordered.sum() == 0:
        return np.nan
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (ordered.mean() * n * (n - 1)))


def _m20(image: Float[np.ndarray, "h w"], outline: Bool[np.ndarray, "h w"]) -> float:
    """log₁₀ of the second moment of the brightest pixels, which hold 20 % of the light, over that of all."""
    values = image[outline]
    y, x = np.nonzero(outline)
    total = values.sum()
    if len(values) < 5 or total <= 0:
        return np.nan
    moment = values * ((x - (values * x).sum() / total) ** 2 + (y - (values * y).sum() / total) ** 2)
    falling = np.argsort(-values, kind="stable")
    bright = falling[: int(np.searchsorted(np.cumsum(values[falling]), 0.2 * total)) + 1]
    part = moment[bright].sum() / moment.sum()
    return float(np.log10(part)) if part > 0 else np.nan
