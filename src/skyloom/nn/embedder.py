"""Images of any of the bands learnt from to one vector each, the same however the image is turned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.nn.equivariant import EquivariantConfig, EquivariantEncoder


@dataclass(frozen=True)
class EmbedderConfig:
    """channels : bands; widths, first : of the encoder; with too few filters first it never sees all colours

    dimension : of a vector; shown : of what a contrastive loss sees of it, 0 for networks that are held to no such loss
    """

    channels: int = 9
    widths: tuple[int, ...] = (8, 8, 12, 32)
    first: int = 4
    dimension: int = 96
    shown: int = 64

    @property
    def encoder(self) -> EquivariantConfig:
        return EquivariantConfig(self.channels, self.widths, self.first)

    @property
    def multiple(self) -> int:
        """Images must be a multiple of so many pixels along each axis."""
        return self.encoder.multiple


class Embedder(nn.Module):
    """(images, seen) to (b, dimension): for all 8 symmetries of an image the same vector, but for rounding.

    Which bands were seen is told beside the image, as a band without light and one that is missing look alike in it.
    `shown` is the head of which the contrastive loss is taken; vectors come from before it, as in the paper.
    Source: Chen et al. 2020, arXiv:2002.05709 (SimCLR), §2. We differ: an encoder with orientations; the bands seen.
    """

    def __init__(self, config: EmbedderConfig):
        super().__init__()
        self.config = config
        self.encoder = EquivariantEncoder(config.encoder)
        self.vector = nn.Linear(config.encoder.dimension + config.channels, config.dimension)
        self.head = nn.Sequential(
            nn.BatchNorm1d(config.dimension), nn.ReLU(), nn.Linear(config.dimension, config.dimension),
            nn.BatchNorm1d(config.dimension), nn.ReLU(), nn.Linear(config.dimension, config.shown),
        )  # fmt: skip

    def forward(self, images: Float[Tensor, "b c h w"], seen: Float[Tensor, "b c"]) -> Float[Tensor, "b d"]:
        """images : scaled, 0 where nothing was seen; seen : share of good pixels of each band"""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.vector(torch.cat([self.encoder(images), seen], 1))

    def shown(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b s"]:
        """What the contrastive loss is taken of."""
        return self.head(vectors)
