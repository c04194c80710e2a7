"""Features that need no training, to compare vectors with: photometry and moments, and the pixels themselves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from skyloom.metrics.photometry import circles

RADII = (1.5, 3.0, 6.0, 12.0)  # of the apertures [pixel]
WINDOW = 4.0  # σ of the Gaussian under which moments are taken [pixel]


def measured_features(light: Float32[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n f"]:
    """Light of each band in four circles about the middle, through asinh, and the size and shape of all bands together.

    light : sky-subtracted, in units of the sky's rms, bad pixels 0
    None of them changes when an image is turned by quarters or mirrored.
    """
    n, c, h, w = light.shape
    middle = ((w - 1) / 2, (h - 1) / 2)
    inside = circles((h, w), middle, tuple(min(radius, min(middle)) for radius in RADII)).astype(np.float64)
    within = light.reshape(n, c, -1).astype(np.float64) @ inside / np.sqrt(inside.sum(0))
    y, x = np.indices((h, w), dtype=float) - np.array([middle[1], middle[0]])[:, None, None]
    weight = np.exp(-0.5 * (x**2 + y**2) / WINDOW**2)
    together = light.sum(1) / np.sqrt(c) * weight
    total = np.maximum(np.abs(together.sum((1, 2))), 1.0)
    xx, yy, xy = ((together * part).sum((1, 2)) / total for part in (x * x, y * y, x * y))
    shape = np.hypot(xx - yy, 2 * xy) / np.maximum(np.abs(xx + yy), 1e-3)
    return np.column_stack([np.arcsinh(within).reshape(n, -1), xx + yy, shape, np.arcsinh(total)])


def pixel_features(light: Float32[np.ndarray, "n c h w"], side: int) -> Float[np.ndarray, "n f"]:
    """The middle of the images through asinh, pixel by pixel. light : as for `measured_features`"""
    h, w = light.shape[-2:]
    y0, x0 = (h - side) // 2, (w - side) // 2
    return np.arcsinh(light[..., y0 : y0 + side, x0 : x0 + side]).reshape(len(light), -1).astype(np.float64)
