"""What a masked autoencoder is held to: the patches that were hidden from it, and no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from skyloom.data.views import ViewBatch


def some_places(images: int, patches: int, hidden: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Places of patches that are shown and of those that are hidden, drawn for each image; as many in each."""
    order: Int[Tensor, "b t"] = torch.rand(images, patches, generator=rng).argsort(1)
    shown = max(1, round(patches * (1 - hidden)))
    return order[:, :shown], order[:, shown:]


@dataclass(frozen=True)
class HiddenPatches:
    """Mean squared error over the good pixels of hidden patches, in units of the sky's noise.

    hidden : share of the patches; noise : of the sky in one pixel, scaled
    Source: He et al. 2022, CVPR, 15979 (arXiv:2111.06377), §3 (the loss on masked patches only).
    We differ: in units of the noise, and not of each patch's own spread, which would forget how bright it is.
    """

    hidden: float
    noise: float

    def __call__(self, net: Any, batch: ViewBatch, rng: torch.Generator) -> dict[str, Tensor]:
        images, good, seen = (part.flatten(0, 1) for part in batch)
        places = some_places(len(images), net.config.patches, self.hidden, rng)
        shown, hidden = (part.to(images.device) for part in places)
        miss = (net.hidden_again(images, seen, shown) - net.patches(images)) / self.noise
        counts = net.patches(good)
        at = hidden[..., None].expand(-1, -1, miss.shape[2])
        miss, counts = miss.gather(1, at), counts.gather(1, at)
        return {"hidden patches": (miss.square() * counts).sum() / counts.sum().clamp_min(1)}
