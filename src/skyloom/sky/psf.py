"""Round point-spread functions: the Moffat law, its width, its light, and its Fourier transform.

I(r) = (β - 1) / (π α²) [1 + (r/α)²]^(-β), of unit flux.
Source: Moffat 1969, A&A 3, 455; Trujillo et al. 2001, MNRAS 328, 977, Eqs. 1-5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import gamma, kv

Numbers = Any  # a number or an array of any shape: NumPy broadcasts

GAUSSIAN_FWHM = 2 * np.sqrt(2 * np.log(2))  # FWHM of a Gaussian of σ = 1, 2.3548


def moffat_fwhm(alpha: Numbers, beta: Numbers) -> Numbers:
    """Full width at half maximum of a Moffat, in the unit of its scale α."""
    return 2 * np.asarray(alpha, np.float64) * np.sqrt(2 ** (1 / np.asarray(beta, np.float64)) - 1)


def moffat_alpha(fwhm: Numbers, beta: Numbers) -> Numbers:
    """Scale α of a Moffat, in the unit of its full width at half maximum; the inverse of `moffat_fwhm`."""
    return np.asarray(fwhm, np.float64) / (2 * np.sqrt(2 ** (1 / np.asarray(beta, np.float64)) - 1))


def moffat(radius: Numbers, fwhm: float, beta: float) -> Numbers:
    """Intensity of a Moffat of unit flux, per square of the unit of radius and fwhm; beta > 1."""
    alpha = moffat_alpha(fwhm, beta)
    return (beta - 1) / (np.pi * alpha**2) * (1 + (np.asarray(radius, np.float64) / alpha) ** 2) ** -beta


def moffat_flux_fraction(radius: Numbers, fwhm: float, beta: float) -> Numbers:
    """Share of the flux inside a circle, 0 to 1."""
    return 1 - (1 + (np.asarray(radius, np.float64) / moffat_alpha(fwhm, beta)) ** 2) ** (1 - beta)


def moffat_half_light_radius(fwhm: float, beta: float) -> Numbers:
    """Radius of the circle with half of the flux, in the unit of fwhm."""
    return moffat_alpha(fwhm, beta) * np.sqrt(2 ** (1 / (beta - 1)) - 1)


def moffat_transfer(wavenumber: Numbers, fwhm: float, beta: float) -> Numbers:
    """Fourier transform of a Moffat of unit flux: 1 at wavenumber 0.

    wavenumber : k = 2π / wavelength, in radians per unit of fwhm
    Source: the Hankel transform of (1 + x²)^(-β), DLMF 10.22.46.
    """
    x = np.maximum(np.asarray(wavenumber, np.float64) * moffat_alpha(fwhm, beta), 1e-6)
    return 2 / gamma(beta - 1) * (x / 2) ** (beta - 1) * kv(beta - 1, x)


def gaussian(radius: Numbers, fwhm: float) -> Numbers:
    """Intensity of a Gaussian of unit flux, per square of the unit of radius and fwhm."""
    sigma = fwhm / GAUSSIAN_FWHM
    return np.exp(-0.5 * (np.asarray(radius, np.float64) / sigma) ** 2) / (2 * np.pi * sigma**2)


def widening(fwhm: float, wider: float) -> float:
    """σ of the Gaussian that makes a PSF of one FWHM about as wide as another, in their unit; 0 if it is so already.

    Exact for Gaussian PSFs; widths are taken to add in quadrature.
    """
    return float(np.sqrt(max(wider**2 - fwhm**2, 0.0)) / GAUSSIAN_FWHM)


def pixel_transfer(wavenumber: Numbers, pixel_scale: float, angles: int = 16) -> Numbers:
    """Fourier transform of a square pixel of unit flux, averaged over direction: 1 at wavenumber 0.

    wavenumber : [rad per unit of pixel_scale]
    We differ: a square is not round; the mean leaves out its fourfold part, which changes an isophote's mean by
    less than 3e-4 mag where the PSF is at least three pixels wide.
    """
    directions = (np.arange(angles) + 0.5) * (np.pi / 2 / angles)
    cycles = np.multiply.outer(np.asarray(wavenumber, np.float64), pixel_scale / (2 * np.pi) * np.ones(angles))
    return (np.sinc(cycles * np.cos(directions)) * np.sinc(cycles * np.sin(directions))).mean(-1)
