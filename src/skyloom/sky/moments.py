"""The least that is to be known of the light in a frame: how much, where, how wide."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CLEAR = 3.0  # light is seen where the bands together stand so far above their noise [rms]
STEP = 0.25  # between the radii at which light is summed [pixel]


class Light(NamedTuple):
    """x, y : of the middle of the light [pixel]; half : radius that holds half of it [pixel]

    Of the pixels in which light is seen; NaN if there are none.
    """

    x: float
    y: float
    half: float


def light(flux: Float[np.ndarray, "c h w"], noise: Float[np.ndarray, "c"]) -> Light:
    """Centroid and half-light radius of a sky-subtracted frame. noise : rms per pixel of each band"""
    together = (np.asarray(flux, np.float64) / np.asarray(noise)[:, None, None]).sum(0) / np.sqrt(len(flux))
    y, x = np.nonzero(together > CLEAR)
    weight = together[y, x]
    if not len(weight):
        return Light(np.nan, np.nan, np.nan)
    middle_x, middle_y = float(np.average(x, weights=weight)), float(np.average(y, weights=weight))
    return Light(middle_x, middle_y, _half(np.hypot(x - middle_x, y - middle_y), weight))


def enclosed(flux: Float[np.ndarray, "c h w"], where: Light, radii: float = 2.0) -> tuple[Float[np.ndarray, "c"], int]:
    """Flux of each band within so many half-light radii, and the number of pixels; of the whole frame if it is dark."""
    y, x = np.indices(flux.shape[1:])
    inside = np.hypot(x - where.x, y - where.y) <= radii * where.half
    if not inside.any():
        inside[:] = True
    return np.asarray(flux, np.float64)[:, inside].sum(1), int(inside.sum())


def _half(radius: Float[np.ndarray, "n"], weight: Float[np.ndarray, "n"]) -> float:
    """The radius that holds half of the weight of pixels, each of which reaches half a pixel in and out."""
    radii = np.arange(0, radius.max() + 1, STEP)
    enclosed = np.clip(radii[:, None] - radius + 0.5, 0, 1) @ weight
    return float(np.interp(weight.sum() / 2, enclosed, radii))
