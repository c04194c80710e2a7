"""Flux to magnitude and back, with errors. AB magnitudes wherever the zero point is AB.

Numbers in, numbers out: any shape, NumPy broadcasting. What has no magnitude is NaN, never an infinity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Numbers = Any  # a number or an array of any shape: NumPy broadcasts

POGSON = 2.5 / np.log(10)  # [mag] per unit of relative flux, 1.0857


def magnitude(flux: Numbers, zero_point: Numbers) -> Numbers:
    """Magnitude [mag] of a sky-subtracted flux; NaN where the flux is not positive.

    zero_point : magnitude of one unit of flux [mag]
    """
    flux = np.asarray(flux, np.float64)
    positive = np.where(flux > 0, flux, np.nan)
    return np.asarray(zero_point) - 2.5 * np.log10(positive)


def flux(magnitude: Numbers, zero_point: Numbers) -> Numbers:
    """Flux of a magnitude [mag], in the unit that the zero point [mag] belongs to; the inverse of `magnitude`."""
    return 10 ** (0.4 * np.subtract(zero_point, magnitude))


def magnitude_error(flux: Numbers, flux_error: Numbers) -> Numbers:
    """1σ error [mag] of a magnitude, to first order in flux_error / flux; NaN where the flux is not positive.

    The same number is the error of a surface brightness: the pixel's area has none.
    """
    flux = np.asarray(flux, np.float64)
    return POGSON * np.asarray(flux_error, np.float64) / np.where(flux > 0, flux, np.nan)


def surface_brightness(flux_per_pixel: Numbers, pixel_scale: float, zero_point: Numbers) -> Numbers:
    """Surface brightness [mag/arcsec²] of a sky-subtracted intensity; NaN where it is not positive.

    flux_per_pixel : flux in one pixel
    pixel_scale : side of a pixel [arcsec]
    zero_point : magnitude of one unit of flux [mag]
    """
    return magnitude(np.asarray(flux_per_pixel, np.float64) / pixel_scale**2, zero_point)


def flux_per_pixel(surface_brightness: Numbers, pixel_scale: float, zero_point: Numbers) -> Numbers:
    """Flux in one pixel of a surface brightness [mag/arcsec²]; the inverse of `surface_brightness`."""
    return flux(surface_brightness, zero_point) * pixel_scale**2
