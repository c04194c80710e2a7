"""Power against spatial frequency: of whole images, and of the sky's noise alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.fft import rfft2
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.special import j0

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.score import RESAMPLES, Score, median
from skyloom.sky.noise_model import lag_sums

TOGETHER = 256  # images in memory at once
REACH = 8  # largest lag of the sky's correlation [pixel]; spectra resolve 1/(2 · 8) cycles/pixel
FAINTEST = 1e-3  # of the variance: power below it counts as that much
SMOOTHING = 1.5  # σ of the filter that finds sources [pixel]
FOUND = 3.0  # rms of the filtered sky above which something is a source
GROWN = 4  # pixels around a source that are not sky either
LEAST = 100  # pixels of sky in an image that counts


class Spectra(NamedTuple):
    """Azimuthal means of the power of images.

    k : mean frequency of each ring, from 0 to the corners [cycles/pixel]
    power : [flux²]; white noise of variance s² has s² at every k
    modes : how many Fourier modes each ring is the mean of
    """

    k: Float[np.ndarray, "k"]
    power: Float[np.ndarray, "n c k"]
    modes: Int[np.ndarray, "k"]

    @property
    def resolved(self) -> Bool[np.ndarray, "k"]:
        """The rings at 0 < k ≤ 0.5: neither an image's mean, nor its corners."""
        return (self.k > 0) & (self.k <= 0.5)


class SkyNoise(NamedTuple):
    """What the source-free pixels of images say.

    level, rms : of each image and band [flux]; NaN with fewer than LEAST such pixels
    share : of the pixels that are sky
    r : distances of pairs of pixels [pixel]; lags : how many lags have each
    products, pairs : sums over pairs of sky pixels that far apart of the product of their heights above the level
        [flux²], and of 1
    """

    level: Float[np.ndarray, "n c"]
    rms: Float[np.ndarray, "n c"]
    share: Float[np.ndarray, "n"]
    r: Float[np.ndarray, "r"]
    lags: Int[np.ndarray, "r"]
    products: Float[np.ndarray, "n c r"]
    pairs: Float[np.ndarray, "n c r"]


class SkyOffset(NamedTuple):
    """How the sky of fake images differs from that of real ones, in one band.

    rms : median of the fakes' noise over that of the real; level : its difference [real rms]
    """

    rms: Score
    level: Score


def window(height: int, width: int) -> Float[np.ndarray, "h w"]:
    """A Hann window, of mean square 1, that takes both edges of an image to 0: they do not fit onto each other."""
    rows, columns = (np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in (height, width))
    weight = np.outer(rows, columns)
    return weight / np.sqrt(np.mean(weight**2))


def power_spectra(flux: Float[np.ndarray, "n c h w"]) -> Spectra:
    """Power of each image and band in rings of frequency, 1 / (shorter side) wide, of the image times `window`.

    flux : finite; in any unit, linear or stretched
    Parseval: the mean over all modes is the mean square of the windowed image.
    """
    _require_finite(flux)
    n, c, h, w = flux.shape
    ky, kx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)
    radius = np.hypot(ky, kx)
    both = np.where((kx == 0) | (2 * kx * (w % 2 == 0) == 1), 1, 2) * np.ones((h, 1))  # a mode and its mirror image
    ring = np.rint(radius * min(h, w)).astype(int).ravel()
    modes = np.bincount(ring, both.ravel())
    to_rings = np.zeros((ring.size, len(modes)), np.float32)
    to_rings[np.arange(ring.size), ring] = both.ravel() / modes[ring]
    weight = window(h, w).astype(flux.dtype)
    power = np.empty((n, c, len(modes)))
    for start in range(0, n, TOGETHER):
        some = slice(start, start + TOGETHER)
        square = np.abs(rfft2(flux[some] * weight)) ** 2 / (h * w)
        power[some] = square.reshape(*square.shape[:2], -1) @ to_rings
    k = np.bincount(ring, (both * radius).ravel()) / modes
    return Spectra(k, power, np.rint(modes).astype(int))


def power_distance(
    real: Float[np.ndarray, "n c h w"], fake: Float[np.ndarray, "m C H W"], resamples: int = RESAMPLES, seed: int = 0
) -> Score:
    """Rms difference [dex] of two samples' mean log₁₀ power, over the bands and over 0 < k ≤ 0.5 cycles/pixel.

    0.1 dex is a factor of 1.26 in power, 1.12 in flux, at a typical frequency; every k counts alike. The mean of the
    logarithm, not of the power: that of a few bright galaxies would be all there is to see. Images without power at
    some k, such as empty ones, drop out; Score.n is how many remain in the smaller sample. The error is a bootstrap
    over images. Null: of disjoint real samples as large; above 0, and falling as 1/√n.
    Blind to phases, and so to where the light lies: images of equal spectra may look unlike. Blind to copies.
    """
    if real.shape[1:] != fake.shape[1:]:
        raise RequestError(f"images of shapes {real.shape[1:]} and {fake.shape[1:]}; compare equal ones")
    logs = [_logarithms(images) for images in (real, fake)]
    if min(map(len, logs)) == 0:
        return Score(np.nan, np.nan, "dex", 0)
    rng = np.random.default_rng(seed)
    again = [_drawn(rng, len(one), resamples) @ one / len(one) for one in logs]
    found = np.sqrt(np.mean((again[0] - again[1]) ** 2, 1))
    value = np.sqrt(np.mean((logs[0].mean(0) - logs[1].mean(0)) ** 2))
    return Score(float(value), float(found.std()), "dex", min(map(len, logs)))


def sky_pixels(flux: Float[np.ndarray, "n c h w"]) -> Bool[np.ndarray, "n h w"]:
    """Where no band shows a source: pixels farther than GROWN from what rises above the filtered noise of all bands.

    flux : bad pixels are not finite, and are not sky
    Level and noise are first those of the outer eighth of each image, where a galaxy in its middle is faintest, then
    those of what was found to be sky. Pixels darker than the sky remain: they are part of what is to be measured.
    """
    n, _, h, w = flux.shape
    sky = np.empty((n, h, w), bool)
    for start in range(0, n, TOGETHER):
        some = slice(start, start + TOGETHER)
        good = np.isfinite(flux[some]).all(1)
        border = np.ones((h, w), bool)
        border[h // 8 : h - h // 8, w // 8 : w - w // 8] = False
        here = good & border
        for _ in range(2):
            level, rms = _level_and_rms(flux[some], here)
            scaled = np.where(good[:, None], (flux[some] - level[..., None, None]) / rms[..., None, None], 0)
            filtered = gaussian_filter(scaled.sum(1), (0, SMOOTHING, SMOOTHING), mode="reflect")
            middle, spread = _level_and_rms(filtered[:, None], here)
            source = filtered > middle[..., None] + FOUND * spread[..., None]
            here = good & ~maximum_filter(source, (1, 2 * GROWN + 1, 2 * GROWN + 1))
        sky[some] = here
    return sky


def sky_noise(flux: Float[np.ndarray, "n c h w"], sky: Bool[np.ndarray, "n h w"] | None = None) -> SkyNoise:
    """Level, rms and correlations of the sky of each image. sky : which pixels; None: those of `sky_pixels`."""
    sky = sky_pixels(flux) if sky is None else sky
    n, c = flux.shape[:2]
    r, lags, to_distance = _lags()
    counts = sky.sum((1, 2))
    level, rms = np.full((n, c), np.nan), np.full((n, c), np.nan)
    products, pairs = np.zeros((n, c, len(r))), np.zeros((n, c, len(r)))
    for start in range(0, n, TOGETHER):
        some = slice(start, start + TOGETHER)
        here = sky[some, None]
        clean = np.where(here, flux[some], 0)
        total = np.maximum(counts[some], 1)[:, None]
        mean = clean.sum((2, 3), dtype=float) / total
        height = np.where(here, clean - mean[..., None, None], 0).astype(np.float32)
        products[some] = _correlation(height) @ to_distance
        pairs[some] = np.rint(_correlation(here.astype(np.float32))) @ to_distance
        enough = (counts[some] >= LEAST)[:, None]
        level[some] = np.where(enough, mean, np.nan)
        rms[some] = np.where(enough, np.sqrt((height.astype(float) ** 2).sum((2, 3)) / total), np.nan)
    few = counts < LEAST
    products[few], pairs[few] = 0, 0
    return SkyNoise(level, rms, sky.mean((1, 2)), r, lags, products, pairs)


def noise_spectrum(
    noise: SkyNoise, times: Int[np.ndarray, "s n"] | None = None
) -> tuple[Float[np.ndarray, "k"], Float[np.ndarray, "s c k"]]:
    """Frequencies [cycles/pixel] and the power [flux²] of a sample's sky at them; white noise: its variance at each.

    times : how often each image counts in each of s resamples; None: all once
    The Fourier transform of the correlation of all pairs of sky pixels up to REACH apart, through a Hann window, which
    holes in the sky leave unbiased. Of a resample without sky: NaN. Where noise is correlated over several pixels its
    brightest patches pass for sources, and the power at the lowest k is up to 10 % too low, in real and fake alike.
    Source: Blackman & Tukey 1958, The Measurement of Power Spectra, Dover. We differ: nothing; in two dimensions.
    """
    times = np.ones((1, len(noise.share))) if times is None else times
    flat = (len(noise.share), -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (times @ noise.products.reshape(flat)) / (times @ noise.pairs.reshape(flat))
    correlation = correlation.reshape(len(times), *noise.products.shape[1:])
    k = np.arange(1, REACH + 1) / (2 * REACH)
    taper = noise.lags * np.cos(np.pi * noise.r / (2 * (REACH + 1))) ** 2
    return k, correlation @ (taper[:, None] * j0(2 * np.pi * noise.r[:, None] * k))


def noise_distance(
    real: Float[np.ndarray, "n c h w"], fake: Float[np.ndarray, "m C H W"], resamples: int = RESAMPLES, seed: int = 0
) -> Score:
    """Rms difference [dex] of the power of two samples' sky noise, over the bands and over k up to 0.5 cycles/pixel.

    Source-free pixels only (`sky_pixels`). Noise that is 12 % too strong is 0.1 dex away; noise as strong but smooth,
    where the real one is white, is far. Power below 1/1000 of the larger variance counts as that. Score.n is the number
    of images with LEAST pixels of sky, in the smaller sample. The error is a bootstrap over images.
    Null: of disjoint real samples as large; above 0, and falling as 1/√n.
    Blind to galaxies, to the level of the sky (`sky_offsets`) and to anything smoother than 16 pixels; but the wings of
    one that fills its cutout pass for noise.
    """
    if real.shape[1] != fake.shape[1]:
        raise RequestError(f"images of {real.shape[1]} and {fake.shape[1]} bands; compare equal ones")
    noises = [sky_noise(images) for images in (real, fake)]
    counts = [int(np.isfinite(noise.rms[:, 0]).sum()) for noise in noises]
    if min(counts) == 0:
        return Score(np.nan, np.nan, "dex", 0)
    rng = np.random.default_rng(seed)
    once = [noise_spectrum(noise)[1] for noise in noises]
    again = [noise_spectrum(noise, _drawn(rng, len(noise.share), resamples))[1] for noise in noises]
    variance = np.max([spectrum.mean(2, keepdims=True) for spectrum in once], 0)
    value, found = (dex_apart(one, other, FAINTEST * variance) for one, other in (once, again))
    return Score(float(value[0]), float(np.nanstd(found)), "dex", min(counts))


def sky_offsets(real: SkyNoise, fake: SkyNoise, seed: int = 0) -> tuple[SkyOffset, ...]:
    """Per band, how much stronger the noise of fake images is, and how much higher their sky: medians over images."""
    found = []
    for band, (ratio, level) in enumerate(offsets_alone(real, fake).T):
        parts = (real.rms, fake.rms, real.level, fake.level)
        ours, theirs, low, high = (median(part[:, band], seed=seed) for part in parts)
        n = min(ours.n, theirs.n)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.hypot(ratio * ours.error, theirs.error) / ours.value
            doubt = np.hypot(low.error, high.error) / ours.value
        rms = Score(float(ratio), float(error), "", n)
        found.append(SkyOffset(rms, Score(float(level), float(doubt), "rms", n)))
    return tuple(found)


def offsets_alone(real: SkyNoise, fake: SkyNoise) -> Float[np.ndarray, "2 c"]:
    """Ratio of the rms and difference of the levels [real rms], as `sky_offsets` has them, without their errors."""
    ours, theirs, low, high = (_median(part) for part in (real.rms, fake.rms, real.level, fake.level))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([theirs / ours, (high - low) / ours])


def _median(values: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "c"]:
    """Of the images that are known; NaN for none."""
    known = values[np.isfinite(values).all(1)]
    return np.median(known, 0) if len(known) else np.full(values.shape[1], np.nan)


def dex_apart(
    real: Float[np.ndarray, "s c k"], fake: Float[np.ndarray, "s c k"], least: Float[np.ndarray, "... c 1"]
) -> Float[np.ndarray, "s"]:
    """Rms difference [dex] of power over bands and frequencies. least : power below it counts as that much"""
    ours, theirs = (np.log10(np.maximum(spectrum, least)) for spectrum in (real, fake))
    return np.sqrt(np.mean((ours - theirs) ** 2, (1, 2)))


def _require_finite(flux: np.ndarray) -> None:
    if not np.isfinite(flux).all():
        raise CatalogueError("images have pixels that are not finite; set bad pixels to the level of the sky first")


def _logarithms(images: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "m ck"]:
    """log₁₀ of the power of each image that has some at all k, at 0 < k ≤ 0.5."""
    spectra = power_spectra(images)
    seen = spectra.power[:, :, spectra.resolved].reshape(len(images), -1)
    return np.log10(seen[(seen > 0).all(1)])


def _drawn(rng: np.random.Generator, n: int, resamples: int) -> Int[np.ndarray, "s n"]:
    """How often each of n images is drawn in each of the resamples."""
    return rng.multinomial(n, np.full(n, 1 / n), resamples)


def _level_and_rms(
    flux: Float[np.ndarray, "n c h w"], where: Bool[np.ndarray, "n h w"]
) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, "n c"]]:
    """Median, and its height above the 16th percentile, of some pixels of each plane; rms 1 where all are equal.

    Sources lie above, and so the lower side is that of noise.
    """
    n, c = flux.shape[:2]
    ordered = np.sort(np.where(where[:, None], flux, np.inf).reshape(n, c, -1), 2)
    count = where.sum((1, 2))
    places = [(share * np.maximum(count - 1, 0)).astype(int) for share in (0.5, 0.1587)]
    middle, low = (np.take_along_axis(ordered, place[:, None, None].repeat(c, 1), 2)[..., 0] for place in places)
    middle, low = (np.where(count[:, None] > 0, value, 0) for value in (middle, low))
    return middle, np.where(middle > low, middle - low, 1)


def _lags() -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, "l r"]]:
    """Distances up to REACH and their numbers of lags; a matrix that sums lags of one distance."""
    dy, dx = np.arange(-REACH, REACH + 1)[:, None], np.arange(-REACH, REACH + 1)
    square = (dy**2 + dx**2).ravel()
    distinct = np.unique(square[square <= REACH**2])
    to_distance = (square[:, None] == distinct).astype(float)
    return np.sqrt(distinct), to_distance.sum(0).astype(int), to_distance


def _correlation(images: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n c l"]:
    return lag_sums(images, REACH).reshape(*images.shape[:2], -1)
