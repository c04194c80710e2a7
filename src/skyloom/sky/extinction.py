"""Dust between us and a galaxy: how many magnitudes each band loses."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.polynomial import Polynomial

OPTICAL_A = Polynomial([1, 0.17699, -0.50447, -0.02427, 0.72085, 0.01979, -0.77530, 0.32999])
OPTICAL_B = Polynomial([0, 1.41338, 2.28305, 1.07233, -5.38434, -0.62251, 5.30260, -2.09002])
LIMITS = (0.3, 8.0)  # of the law [1/µm]


def extinction(wavelength: Any, ratio: float = 3.1) -> Float[np.ndarray, "n"]:
    """A(λ) / A(V), the loss in magnitudes for one magnitude in V.

    wavelength : [nm], 125 to 3333 by the law; beyond, its ends are held
    ratio : R(V), total to selective extinction; 3.1 in the diffuse medium of the Milky Way
    Source: Cardelli, Clayton & Mathis 1989, ApJ 345, 245, Eqs. 1-4.
    """
    x = np.clip(1000 / np.atleast_1d(np.asarray(wavelength, float)), *LIMITS)
    pieces = [x < 1.1, (x >= 1.1) & (x < 3.3)]
    far = np.maximum(x - 5.9, 0)
    a = np.select(
        pieces,
        [0.574 * x**1.61, OPTICAL_A(x - 1.82)],
        1.752 - 0.316 * x - 0.104 / ((x - 4.67) ** 2 + 0.341) - 0.04473 * far**2 - 0.009779 * far**3,
    )
    b = np.select(
        pieces,
        [-0.527 * x**1.61, OPTICAL_B(x - 1.82)],
        -3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263) + 0.2130 * far**2 + 0.1207 * far**3,
    )
    return a + b / ratio
