"""The Sérsic law: I(R) = I_e exp(-b_n [(R / R_e)^(1/n) - 1]), on ellipses of axis ratio q.

R is the semi-major axis of the ellipse through a point, R_e that of the ellipse with half of the total flux inside.
Source: Graham & Driver 2005, arXiv:astro-ph/0503176, Eqs. 1-5. We differ: b_n is exact, never the 2n - 1/3 expansion.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import gamma, gammainc, gammaincinv

Numbers = Any  # a number or an array of any shape: NumPy broadcasts


def sersic_b(n: Numbers) -> Numbers:
    """The b_n that puts half of the flux inside R_e: the root of P(2n, b) = 1/2."""
    return gammaincinv(2 * np.asarray(n, np.float64), 0.5)


def intensity(radius: Numbers, r_e: Numbers, n: Numbers, i_e: Numbers = 1.0) -> Numbers:
    """Intensity at a semi-major axis, in the unit of i_e, the intensity at R_e.

    radius, r_e : in one unit
    """
    power = np.divide(radius, r_e) ** np.divide(1, n)
    return np.asarray(i_e) * np.exp(-sersic_b(n) * (power - 1))


def total_flux(i_e: Numbers, r_e: Numbers, n: Numbers, q: Numbers = 1.0) -> Numbers:
    """Flux out to infinity, in the unit of i_e times the square of that of r_e; q is the axis ratio b/a."""
    b, n = sersic_b(n), np.asarray(n, np.float64)
    round_one = 2 * np.pi * n * np.exp(b) * b ** (-2 * n) * gamma(2 * n)
    return round_one * np.asarray(q) * np.asarray(i_e) * np.square(r_e, dtype=np.float64)


def flux_fraction(radius: Numbers, r_e: Numbers, n: Numbers) -> Numbers:
    """Share of the total flux inside the ellipse of a semi-major axis: 1/2 at R_e, 1 at infinity."""
    return gammainc(2 * np.asarray(n, np.float64), sersic_b(n) * np.divide(radius, r_e) ** np.divide(1, n))


def flux_radius(fraction: Numbers, r_e: Numbers, n: Numbers) -> Numbers:
    """Semi-major axis that holds a share of the total flux, in the unit of r_e; the inverse of `flux_fraction`."""
    n = np.asarray(n, np.float64)
    return np.asarray(r_e) * (gammaincinv(2 * n, fraction) / sersic_b(n)) ** n


def scale_length(r_e: Numbers, n: Numbers) -> Numbers:
    """The h of I(R) = I_0 exp(-(R/h)^(1/n)), in the unit of r_e: for n = 1 the disc's scale length, R_e / 1.678."""
    return np.asarray(r_e) / sersic_b(n) ** np.asarray(n, np.float64)


def half_light_radius(scale_length: Numbers, n: Numbers) -> Numbers:
    """R_e of a scale length h, in the unit of h; the inverse of `scale_length`."""
    return np.asarray(scale_length) * sersic_b(n) ** np.asarray(n, np.float64)
