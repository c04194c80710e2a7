"""A masked autoencoder: most patches of a galaxy are hidden, and drawn from the few that are seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from skyloom.nn.blocks import Layer


@dataclass(frozen=True)
class MaskedConfig:
    """channels : bands; side : of the images [pixel]; patch : side of a patch [pixel]

    dimension, layers, heads : of the encoder; thin, thin_layers : of the decoder, which is thrown away
    """

    channels: int = 9
    side: int = 32
    patch: int = 4
    dimension: int = 96
    layers: int = 4
    heads: int = 4
    thin: int = 64
    thin_layers: int = 1

    @property
    def multiple(self) -> int:
        """Images must be a multiple of so many pixels along each axis."""
        return self.patch

    @property
    def patches(self) -> int:
        return (self.side // self.patch) ** 2


class MaskedAutoencoder(nn.Module):
    """(images, seen) to the mean of the encoder's tokens over all patches; `hidden_again` is what it is trained by.

    Source: He et al. 2022, CVPR, 15979 (arXiv:2111.06377), §3.
    We differ: places are learnt; vectors are the mean of all tokens; the bands seen are told to every patch.
    """

    def __init__(self, config: MaskedConfig):
        super().__init__()
        self.config = config
        pixels = config.channels * config.patch**2
        self.enter = nn.Linear(pixels, config.dimension)
        self.bands = nn.Linear(config.channels, config.dimension)
        self.places = nn.Parameter(0.02 * torch.randn(config.patches, config.dimension))
        self.layers = nn.ModuleList(Layer(config.dimension, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dimension)
        self.thinner = nn.Linear(config.dimension, config.thin)
        self.unseen = nn.Parameter(torch.zeros(config.thin))
        self.thin_places = nn.Parameter(0.02 * torch.randn(config.patches, config.thin))
        self.thin_layers = nn.ModuleList(Layer(config.thin, config.heads) for _ in range(config.thin_layers))
        self.leave = nn.Sequential(nn.LayerNorm(config.thin), nn.Linear(config.thin, pixels))

    def forward(self, images: Float[Tensor, "b c h w"], seen: Float[Tensor, "b c"]) -> Float[Tensor, "b d"]:
        """images : scaled, 0 where nothing was seen; seen : share of good pixels of each band"""
        everything = torch.arange(self.config.patches, device=images.device).expand(len(images), -1)
        return self._tokens(images, seen, everything).mean(1)

    def patches(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b t p"]:
        """Images cut into patches, row by row, the pixels of all bands of each in a row."""
        return F.unfold(images, self.config.patch, stride=self.config.patch).transpose(1, 2)

    def _tokens(self, images, seen, shown: Int[Tensor, "b k"]) -> Float[Tensor, "b k d"]:
        pixels = self.patches(images)
        some = pixels.gather(1, shown[..., None].expand(-1, -1, pixels.shape[2]))
        x = self.enter(some) + self.places[shown] + self.bands(seen)[:, None]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def hidden_again(
        self, images: Float[Tensor, "b c h w"], seen: Float[Tensor, "b c"], shown: Int[Tensor, "b k"]
    ) -> Float[Tensor, "b t p"]:
        """All patches, drawn from those at the places `shown`; of the others no pixel is looked at."""
        known = self.thinner(self._tokens(images, seen, shown))
        x = self.unseen.expand(len(images), self.config.patches, -1)
        x = x.scatter(1, shown[..., None].expand_as(known), known) + self.thin_places
        for layer in self.thin_layers:
            x = layer(x)
        return self.leave(x)
