"""Images as sequences of square patches: row by row, or in a spiral from the middle outwards."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Order = Literal["spiral", "raster"]


@lru_cache(maxsize=16)
def patch_places(rows: int, columns: int, order: Order = "spiral") -> Int[np.ndarray, "t 2"]:
    """(row, column) of each patch in turn.

    A spiral begins at the middle (just above and right of it, if there is none) and winds outwards, so that the galaxy
    comes before the sky about it.
    """
    every = np.indices((rows, columns)).reshape(2, -1).T
    if order == "raster":
        return every
    at = every - (np.array([rows, columns]) // 2)
    ring = np.abs(at).max(1)
    angle = np.arctan2(at[:, 0], at[:, 1])
    return every[np.lexsort((angle, ring))]


def to_patches(images: Float[Tensor, "b c h w"], patch: int, order: Order = "spiral") -> Float[Tensor, "b t p"]:
    """Patches in their order, the pixels of all bands of each in a row: band after band, row after row."""
    rows, columns = (side // patch for side in images.shape[-2:])
    at = patch_places(rows, columns, order)
    return F.unfold(images, patch, stride=patch).transpose(1, 2)[:, at[:, 0] * columns + at[:, 1]]


def from_patches(
    patches: Float[Tensor, "b t p"], patch: int, rows: int, columns: int, order: Order = "spiral"
) -> Float[Tensor, "b c h w"]:
    """The images whose patches these are; `rows`, `columns` : numbers of patches."""
    at = patch_places(rows, columns, order)
    back = patches.new_zeros(patches.shape)
    back[:, at[:, 0] * columns + at[:, 1]] = patches
    return F.fold(back.transpose(1, 2), (rows * patch, columns * patch), patch, stride=patch)
