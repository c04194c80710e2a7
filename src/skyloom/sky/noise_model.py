"""The noise of a sky without sources, measured on a survey and drawn anew: its rms, and how pixels share it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.signal import fftconvolve

REACH = 4  # lags beyond which pixels share nothing [pixel]
MARGIN = 2 * REACH  # pixels by which white noise must be wider, on each side, than the noise made of it
FAINTEST = 1e-3  # of the mean power: less than that counts as that much
TOGETHER = 64  # images in memory at once


@dataclass(frozen=True)
class NoiseModel:
    """Gaussian noise, stationary, independent between bands.

    rms : per pixel, of each band [flux]; kernel : of each band, (4 · REACH + 1) pixels a side and of unit square sum;
        unit white noise seen through it has unit rms and the survey's correlations
    """

    rms: tuple[float, ...]
    kernel: tuple[tuple[tuple[float, ...], ...], ...]

    def seen(self, band: int, white: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        """Noise of a band [flux], of unit white noise that is MARGIN pixels wider on each side."""
        kernel = np.array(self.kernel[band], np.float32)  # even: no need to flip it
        return np.float32(self.rms[band]) * fftconvolve(white, kernel, mode="valid")

    def only(self, bands: list[int]) -> NoiseModel:
        """The noise of some bands."""
        return NoiseModel(tuple(self.rms[k] for k in bands), tuple(self.kernel[k] for k in bands))

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def noise_model_of(facts: dict[str, Any]) -> NoiseModel:
    """The model that `facts` wrote down."""
    return NoiseModel(tuple(facts["rms"]), tuple(tuple(map(tuple, one)) for one in facts["kernel"]))


def measure_noise(flux: Float[np.ndarray, "n c h w"], sky: Bool[np.ndarray, "n h w"]) -> NoiseModel:
    """The noise of the source-free pixels of images.

    flux : in which only pixels of the sky are looked at; sky : which those are
    The correlation of pairs of sky pixels up to REACH apart along each axis; its Fourier transform is the power, and
    the kernel that of its root, so that it is even and of zero phase.
    """
    products, pairs = (np.zeros((flux.shape[1], 2 * REACH + 1, 2 * REACH + 1)) for _ in range(2))
    for start in range(0, len(flux), TOGETHER):
        here = sky[start : start + TOGETHER, None]
        count = np.maximum(here.sum((2, 3), keepdims=True), 1)
        some = np.where(here, flux[start : start + TOGETHER], 0).astype(np.float64)
        height = np.where(here, some - some.sum((2, 3), keepdims=True) / count, 0)
        products += lag_sums(height, REACH, together=True)
        pairs += lag_sums(here.astype(np.float64), REACH, together=True)
    correlation = products / np.maximum(pairs, 1)
    variance = correlation[:, REACH, REACH]
    return NoiseModel(
        tuple(np.sqrt(variance).tolist()),
        tuple(_root(one / full) for one, full in zip(correlation, variance, strict=True)),
    )


def lag_sums(
    images: Float[np.ndarray, "n c h w"], reach: int, *, together: bool = False
) -> Float[np.ndarray, "*n c k k"]:
    """Sums over pixels of the product with the pixel a lag away, for lags up to `reach` along each axis.

    together : over all images; else of each
    """
    size = tuple(next_fast_len(side + reach, real=True) for side in images.shape[2:])
    power = np.abs(rfft2(images, size)) ** 2
    around = irfft2(power.sum(0) if together else power, size)
    near = np.arange(-reach, reach + 1)
    return around[..., near[:, None], near]


def _root(correlation: Float[np.ndarray, "k k"]) -> tuple[tuple[float, ...], ...]:
    """The even kernel whose correlation with itself this is, as nearly as one of so few pixels can."""
    size = 4 * len(correlation)
    wide = np.zeros((size, size))
    near = np.arange(-REACH, REACH + 1)
    wide[near[:, None], near] = correlation
    power = rfft2(wide).real
    root = irfft2(np.sqrt(np.maximum(power, FAINTEST * power.mean())), wide.shape)
    reach = np.arange(-MARGIN, MARGIN + 1)
    kernel = root[reach[:, None], reach]
    return tuple(map(tuple, (kernel / np.sqrt((kernel**2).sum())).tolist()))
