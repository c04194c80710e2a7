"""An image on other pixels: each new pixel gets the light that fell on its area, so that no light is lost or made."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def regrid(
    flux: Float[np.ndarray, "*c h w"], good: Bool[np.ndarray, "*c h w"], ratio: float, shape: tuple[int, int]
) -> tuple[Float[np.ndarray, "*c H W"], Float[np.ndarray, "*c H W"]]:
    """Flux per new pixel, and the share of the new pixel's area that good pixels cover; 0 and 0 where none does.

    ratio : side of a new pixel in old ones; with 1, pixels keep their values and are only cropped or padded
    The middles of both frames coincide (to the whole pixel if ratio is 1). Where a new pixel is covered in part, its
    flux is that of the covered part over its share: surface brightness goes on into the gap.
    """
    down, across = (_overlaps(old, new, ratio) for old, new in zip(flux.shape[-2:], shape, strict=True))
    light = down @ np.where(good, flux, 0).astype(np.float64) @ across.T
    share = down @ good.astype(np.float64) @ across.T / ratio**2
    covered = share > 1e-6
    return np.where(covered, light / np.where(covered, share, 1), 0.0), np.where(covered, share, 0.0)


def _overlaps(old: int, new: int, ratio: float) -> Float[np.ndarray, "new old"]:
    """How much of each old pixel lies in each new one, along one axis."""
    first = (old - new * ratio) / 2
    edges = (np.floor(first) if ratio == 1 else first) + ratio * np.arange(new + 1)
    low, high = np.maximum(edges[:-1, None], np.arange(old)), np.minimum(edges[1:, None], np.arange(1, old + 1))
    return np.clip(high - low, 0, None)
