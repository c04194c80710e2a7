"""Features that need no training, to compare what was learnt with: photometry, moments, a random encoder, pixels.

All take flux without sky, bad pixels 0, (n, c, h, w), and the sky's rms in one pixel of each band, (c,).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32

from skyloom.metrics.features import random_features
from skyloom.metrics.morphology import morphology
from skyloom.metrics.photometry import circles, photometry
from skyloom.nn.random_features import RandomEncoderConfig
from skyloom.sky.moments import light

RADII = (1.5, 3.0, 6.0, 12.0)  # of the circles [pixel]
WINDOW = 4.0  # σ of the Gaussian under which moments are taken [pixel]
APERTURE = 12.0  # diameter for magnitudes [pixel]
GRID = 16  # cells along each axis of the coarse pixels


def in_circles(flux: Float32[np.ndarray, "n c h w"], noise: Float[np.ndarray, "c"]) -> Float[np.ndarray, "n f"]:
    """Light of each band in four circles about the middle, through asinh, and the size and shape of all bands together.

    None of them changes when an image is turned by quarters or mirrored: what vectors that do not either are beside.
    """
    seen = _in_noise(flux, noise)
    n, c, h, w = seen.shape
    middle = ((w - 1) / 2, (h - 1) / 2)
    inside = circles((h, w), middle, tuple(min(radius, min(middle)) for radius in RADII)).astype(np.float64)
    within = seen.reshape(n, c, -1).astype(np.float64) @ inside / np.sqrt(inside.sum(0))
    y, x = np.indices((h, w), dtype=float) - np.array([middle[1], middle[0]])[:, None, None]
    weight = np.exp(-0.5 * (x**2 + y**2) / WINDOW**2)
    together = seen.sum(1) / np.sqrt(c) * weight
    total = np.maximum(np.abs(together.sum((1, 2))), 1.0)
    xx, yy, xy = ((together * part).sum((1, 2)) / total for part in (x * x, y * y, x * y))
    shape = np.hypot(xx - yy, 2 * xy) / np.maximum(np.abs(xx + yy), 1e-3)
    return np.column_stack([np.arcsinh(within).reshape(n, -1), xx + yy, shape, np.arcsinh(total)])


def as_catalogued(flux: Float32[np.ndarray, "n c h w"], noise: Float[np.ndarray, "c"]) -> Float[np.ndarray, "n d"]:
    """Magnitudes, colours, size, the middle band's morphology, moments; a number and a mark where one is not known."""
    middle, noise = flux.shape[1] // 2, np.maximum(noise, 1e-12)
    aperture = photometry(
        flux, None, [None] * flux.shape[1], aperture=min(APERTURE, flux.shape[-1] - 1), reference=middle
    )
    shapes = morphology(flux[:, middle], np.full(len(flux), noise[middle]))
    spread = np.array([light(one, noise) for one in flux])
    found = np.column_stack(
        [
            aperture.magnitudes,
            aperture.colours,
            np.log(aperture.r_e),
            *shapes,
            *spread.T,
            *_second_moments(flux, noise).T,
        ]
    )
    known = np.isfinite(found)
    typical = np.nanmedian(np.where(known, found, np.nan), 0, keepdims=True)
    return np.concatenate([np.where(known, found, np.nan_to_num(typical)), ~known], 1)


def of_random_encoder(flux: Float32[np.ndarray, "n c h w"], noise: Float[np.ndarray, "c"]) -> Float[np.ndarray, "n d"]:
    """Features of an encoder that nobody trained."""
    multiple = RandomEncoderConfig().multiple
    side = flux.shape[-1] // multiple * multiple
    return random_features(np.arcsinh(_in_noise(flux[..., :side, :side], noise)))


def middle_pixels(
    flux: Float32[np.ndarray, "n c h w"], noise: Float[np.ndarray, "c"], side: int
) -> Float[np.ndarray, "n f"]:
    """The middle of the images through asinh, pixel by pixel."""
    h, w = flux.shape[-2:]
    y0, x0 = (h - side) // 2, (w - side) // 2
    seen = _in_noise(flux, noise)[..., y0 : y0 + side, x0 : x0 + side]
    return np.arcsinh(seen).reshape(len(flux), -1).astype(np.float64)


def coarse_pixels(flux: Float32[np.ndarray, "n c h w"], noise: Float[np.ndarray, "c"]) -> Float[np.ndarray, "n f"]:
    """The whole images through asinh, averaged onto GRID × GRID cells."""
    seen = torch.asinh(torch.from_numpy(_in_noise(flux, noise)))
    return F.adaptive_avg_pool2d(seen, GRID).flatten(1).numpy()


def _in_noise(flux: Float32[np.ndarray, "n c h w"], noise: Float[np.ndarray, "c"]) -> Float32[np.ndarray, "n c h w"]:
    return (flux / np.maximum(noise, 1e-12)[:, None, None]).astype(np.float32)


def _second_moments(flux: Float[np.ndarray, "n c h w"], noise: Float[np.ndarray, "c"]) -> Float[np.ndarray, "n 3"]:
    """Log width, ellipticity and log peak of the light that is seen in all bands together."""
    together = (flux / noise[:, None, None]).sum(1) / np.sqrt(len(noise))
    weight = np.where(together > 3, together, 0.0)
    h, w = weight.shape[1:]
    y, x = np.indices((h, w)) - np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    total = weight.sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        xx, yy, xy = ((weight * product).sum((1, 2)) / total for product in (x * x, y * y, x * y))
        bright = together[:, h // 2 - 1 : h // 2 + 2, w // 2 - 1 : w // 2 + 2].mean((1, 2))
        return np.column_stack(
            [np.log(xx + yy), np.hypot(xx - yy, 2 * xy) / (xx + yy), np.log(np.maximum(bright, 1e-3))]
        )
