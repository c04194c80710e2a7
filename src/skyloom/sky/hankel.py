"""Convolution of any image with a round PSF, in polar coordinates, exactly: one Hankel transform per angular order.

An image of point symmetry, I(r, θ) = Σ_m I_m(r) exp(2imθ), convolved with a round PSF stays in its orders:
each I_m is transformed with the Bessel function J_2m, multiplied by the PSF's transfer function, and transformed back.
On radii equally spaced in ln r both transforms are fast Fourier transforms.

Source: Hamilton 2000, MNRAS 312, 257 (FFTLog), Eqs. 162-175, unbiased (q = 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Complex128, Float64
from scipy import fft
from scipy.special import loggamma


@dataclass(frozen=True)
class PolarGrid:
    """Radii equally spaced in ln r, about 1, and angles equally spaced over half a turn.

    radii, angles : how many; angles must be even
    decades : of radius, half of them below 1 and half above, in whatever unit the caller measures lengths; the
        transforms are periodic in ln r, and with 8 decades 1e-8 of the flux comes back in at the other end
    """

    radii: int = 400
    angles: int = 64
    decades: float = 10.0

    @property
    def step(self) -> float:
        """Spacing in ln r."""
        return self.decades * np.log(10) / self.radii

    @cached_property
    def radius(self) -> Float64[np.ndarray, "r"]:
        return np.exp((np.arange(self.radii) - (self.radii - 1) / 2) * self.step)

    @cached_property
    def angle(self) -> Float64[np.ndarray, "a"]:
        """From the x axis towards y [rad], from 0 to less than π."""
        return np.arange(self.angles) * (np.pi / self.angles)

    @cached_property
    def wavenumber(self) -> Float64[np.ndarray, "r"]:
        """[rad per unit of length]; the radii and the wavenumbers are the same numbers."""
        return self.radius

    @cached_property
    def kernel(self) -> Complex128[np.ndarray, "m f"]:
        """Multipliers of the transforms of orders 0, 2, 4, … of the harmonics of `angles` directions."""
        order = 2 * np.arange(self.angles // 2 + 1)[:, None]
        frequency = np.arange(self.radii // 2 + 1) * (np.pi / (self.radii * self.step))
        phase = 2 * (frequency * np.log(2) + loggamma((order + 1) / 2 + 1j * frequency).imag)
        kernel = np.exp(1j * phase)
        kernel[:, -1] = kernel[:, -1].real
        return kernel

    def harmonics(self, image: Float64[np.ndarray, "*n r a"]) -> Complex128[np.ndarray, "*n m r"]:
        """Angular harmonics exp(2imθ) of an image on the grid."""
        return fft.rfft(image, axis=-1).swapaxes(-1, -2)

    def image(self, harmonics: Complex128[np.ndarray, "*n m r"]) -> Float64[np.ndarray, "*n r a"]:
        """The image of angular harmonics; the inverse of `harmonics`."""
        return fft.irfft(harmonics.swapaxes(-1, -2), n=self.angles, axis=-1)

    def transform(self, harmonics: Complex128[np.ndarray, "*n m r"]) -> Complex128[np.ndarray, "*n m r"]:
        """Hankel transform of every harmonic with its own order, up to 2π; its own inverse.

        Taken on r times the harmonic, as Hamilton's Eq. 162; r and k are the same numbers.
        """
        parts = np.stack([harmonics.real, harmonics.imag]) * self.radius
        turned = fft.irfft(fft.rfft(parts, axis=-1) * self.kernel, n=self.radii, axis=-1)[..., ::-1] / self.radius
        return turned[0] + 1j * turned[1]
