"""Images of any of the bands learnt from to one vector each, the same however the image is turned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.nn.equivariant import EquivariantConfig, EquivariantEncoder


@dataclass(frozen=True)
class EmbedderConfig:
    """channels : bands; widths, first : of the encoder
    radii : of the circles whose light in each band is told beside what the encoder finds [pixel]
    dimension : of a vector; shown : of what a contrastive loss sees of it, 0 for networks that are held to no such loss
    """

    channels: int = 9
    widths: tuple[int, ...] = (8, 8, 12, 32)
    first: int = 4
    radii: tuple[float, ...] = (1.5, 3.0, 6.0)
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

    Two things are told beside what convolutions find: which bands were seen, as a band without light and one that is
    missing look alike; and how much light each band has in circles about the middle, as a mean over rectified maps
    keeps colours badly (docs/LOG.md).
    `shown` is the head of which the contrastive loss is taken; vectors come from before it, as in the paper.
    Source: Chen et al. 2020, arXiv:2002.05709 (SimCLR), §2. We differ: an encoder with orientations, told more.
    """

    def __init__(self, config: EmbedderConfig):
        super().__init__()
        self.config = config
        self.encoder = EquivariantEncoder(config.encoder)
        told = config.channels * len(config.radii)
        self.steady = nn.BatchNorm1d(told)
        self.vector = nn.Linear(config.encoder.dimension + config.channels + told, config.dimension)
        self.head = nn.Sequential(
            nn.BatchNorm1d(config.dimension), nn.ReLU(), nn.Linear(config.dimension, config.dimension),
            nn.BatchNorm1d(config.dimension), nn.ReLU(), nn.Linear(config.dimension, config.shown),
        )  # fmt: skip

    def forward(self, images: Float[Tensor, "b c h w"], seen: Float[Tensor, "b c"]) -> Float[Tensor, "b d"]:
        """images : scaled, 0 where nothing was seen; seen : share of good pixels of each band"""
        light = self.steady(circled(images, self.config.radii))
        images = images.contiguous(memory_format=torch.channels_last)
        return self.vector(torch.cat([self.encoder(images), seen, light], 1))

    def shown(self, vectors: Float[Tensor, "b d"]) -> Float[Tensor, "b s"]:
        """What the contrastive loss is taken of."""
        return self.head(vectors)


def circled(scaled: Float[Tensor, "b c h w"], radii: Sequence[float]) -> Float[Tensor, "b k"]:
    """Light of each band in circles about the middle, through asinh, in units of what noise adds up to in them.

    scaled : asinh of flux in units of the noise
    """
    h, w = scaled.shape[-2:]
    y, x = (torch.arange(side, device=scaled.device) - (side - 1) / 2 for side in (h, w))
    radius = torch.hypot(y[:, None], x)
    inside = torch.stack([(one + 0.5 - radius).clamp(0, 1) for one in radii])
    inside = (inside / inside.square().sum((1, 2), keepdim=True).sqrt()).flatten(1)
    return (scaled.sinh().flatten(2) @ inside.T).asinh().flatten(1)
