"""The Synthetic Galaxy Distance as its authors' script computes it, faults included: for the record, not for use.

What the script does, and ours does too:
- a mask `inside a circle of s, and of s − 1` is meant as a ring and is the disc of s − 1. The size is the radius of the
  first disc, growing by a pixel, whose *median* pixel has sunk to half of that within 2 pixels, after the image's own
  minimum is set to 0 and its maximum to 1: no half-light radius, and blind to the size of a galaxy with a steep core
- galaxy k of one set is dropped if galaxy k of the other has a NaN or no size, though they have nothing in common
- the sky is the median of four corners of 20 pixels, and is removed from magnitudes but not from sizes
- magnitudes and arcseconds are added up
As released the script stops with an error: sizes are appended to a number instead of a list, and pairs are unpacked
from the wrong thing. Both lines are read as what they plainly mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from skyloom.errors import RequestError
from skyloom.metrics.distances import Draws, bootstrapped, wasserstein
from skyloom.metrics.score import RESAMPLES, Score

APERTURE = 6.0  # radius [pixel]
CORNER = 20  # side of the squares from which the sky is taken [pixel]
CORE = 2  # radius of the first disc [pixel]
ZERO_POINT = 22.5  # of nanomaggies [mag]
NAMES = ("g", "r", "z", "R_e", "g − r", "r − z")
UNITS = ("mag", "mag", "mag", "arcsec", "mag", "mag")


class LegacyDistance(NamedTuple):
    """The six terms, each in its own unit, and their sum, whose unit is none."""

    terms: dict[str, Score]
    total: Score


def sgd_legacy(
    real: Float[np.ndarray, "n 3 h w"], fake: Float[np.ndarray, "m 3 h w"], *, pixel_scale: float, seed: int = 0
) -> LegacyDistance:
    """The published distance of two sets of images in g, r and z; see the head of this file for what is wrong with it.

    real, fake : [nanomaggy], sky included, in any order; the longer set is cut to the length of the shorter
    pixel_scale : [arcsec/pixel]; 0.262 in the script
    The sum is NaN if no pair is left. Errors, which the script has none of, are from a bootstrap over pairs.
    Source: Smith et al. 2022, MNRAS 511, 1808, arXiv:2111.01713, and the script that the paper names.
    We differ: nothing in the numbers.
    """
    return legacy_distance(legacy_photometry(real, pixel_scale), legacy_photometry(fake, pixel_scale), seed=seed)


def legacy_photometry(flux: Float[np.ndarray, "n 3 h w"], pixel_scale: float) -> Float[np.ndarray, "n 4"]:
    """Aperture fluxes in g, r, z [nanomaggy], and the script's size in g [arcsec]; NaN throughout if a pixel is NaN."""
    if flux.shape[1] != 3:
        raise RequestError(f"the published distance is of three bands, g, r and z; these images have {flux.shape[1]}")
    found = np.full((len(flux), 4), np.nan)
    whole = ~np.isnan(flux).any((1, 2, 3))
    if not whole.any():
        return found
    for band in range(3):
        found[whole, band] = _aperture_fluxes(flux[whole, band])
    found[whole, 3] = pixel_scale * _sizes(flux[whole, 0])
    return found


def legacy_distance(
    real: Float[np.ndarray, "n 4"], fake: Float[np.ndarray, "m 4"], resamples: int = RESAMPLES, seed: int = 0
) -> LegacyDistance:
    """The distance of what `legacy_photometry` measured."""
    pairs = [_properties(one[: min(len(real), len(fake))]) for one in (real, fake)]
    kept = np.isfinite(real[: len(pairs[0])]).all(1) & np.isfinite(fake[: len(pairs[0])]).all(1)
    pairs = [one[kept] for one in pairs]
    both = np.isfinite(pairs[0]) & np.isfinite(pairs[1])
    ours, theirs = (np.where(both, one, np.nan) for one in pairs)
    count = int(kept.sum())
    again = bootstrapped(count, count, resamples, seed).one if count else np.empty((0, 0))
    values, each = [], []
    for k in range(len(NAMES)):
        values.append(float(wasserstein(ours[:, k], theirs[:, k])[0]))
        each.append(wasserstein(ours[:, k], theirs[:, k], Draws(again, again)) if count else np.full(1, np.nan))
    terms = {
        name: Score(value, float(np.nanstd(spread)) if count > 1 else np.nan, unit, int(both[:, k].sum()))
        for k, (name, unit, value, spread) in enumerate(zip(NAMES, UNITS, values, each, strict=True))
    }
    error = float(np.nanstd(np.sum(each, 0))) if count > 1 else np.nan
    return LegacyDistance(terms, Score(float(np.sum(values)), error, "mag + arcsec", count))


def _properties(found: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 6"]:
    """The six numbers of NAMES; NaN or infinite where a flux is not positive."""
    with np.errstate(invalid="ignore", divide="ignore"):
        g, r, z = (ZERO_POINT - 2.5 * np.log10(found[:, :3])).T
    return np.stack([g, r, z, found[:, 3], g - r, r - z], 1)


def _aperture_fluxes(flux: Float[np.ndarray, "n h w"]) -> Float[np.ndarray, "n"]:
    top, bottom = flux[:, :CORNER], flux[:, -CORNER:]
    corners = [top[..., :CORNER], top[..., -CORNER:], bottom[..., :CORNER], bottom[..., -CORNER:]]
    sky = np.median(np.stack(corners, 1), axis=(1, 2, 3))
    inside = _disc(flux.shape[-2:], APERTURE)
    return flux[:, inside].sum(1) - sky * inside.sum()


def _sizes(flux: Float[np.ndarray, "n h w"]) -> Float[np.ndarray, "n"]:
    """The script's size [pixel]; NaN where no disc within half the image's height is faint enough."""
    low, high = flux.min((1, 2), keepdims=True), flux.max((1, 2), keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = (flux - low) / (high - low)
    limit = np.median(flux[:, _disc(flux.shape[-2:], CORE)], 1) * 0.5
    sizes, left = np.full(len(flux), np.nan), np.arange(len(flux))
    for radius in range(CORE, flux.shape[-2] // 2 - 1):
        if not len(left):
            break
        faint = np.median(flux[left][:, _disc(flux.shape[-2:], radius)], 1) <= limit[left]
        sizes[left[faint]] = radius
        left = left[~faint]
    return sizes


def _disc(shape: tuple[int, int], radius: float) -> Bool[np.ndarray, "h w"]:
    """Pixels whose centres lie within a radius of pixel (w // 2, h // 2)."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.sqrt((x - shape[1] // 2) ** 2 + (y - shape[0] // 2) ** 2) <= radius
