"""SAGAN's generator and discriminator as published: transposed convolutions, one noise vector per 16 × 16 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

HALO = 3  # cells of noise around a window, from which it follows too
AGAIN = 3  # convolutions of stride 1 after each of stride 2


@dataclass(frozen=True)
class SpatialGANConfig:
    """bands : of the image

    widths : channels after the first layer, and in the three sets that follow, each twice as fine
    depth : numbers of noise in each cell of 16 × 16 pixels
    critic : channels of the discriminator's five layers; packed : images that it sees as one sample
    members : generators of a self-ensemble, which are one training's at several times
    """

    bands: int = 3
    widths: tuple[int, ...] = (64, 64, 64, 32)
    depth: int = 50
    critic: tuple[int, ...] = (32, 64, 128, 256, 512)
    packed: int = 2
    members: int = 1

    @property
    def cell(self) -> int:
        return 1 << len(self.widths)


class SameSize(nn.ConvTranspose2d):
    """A transposed convolution of 4 × 4 pixels and stride 1 with as many pixels out as in."""

    def __init__(self, width: int):
        super().__init__(width, width, 4, 1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(x, output_size)[..., 1:-2, 1:-2]


class SpatialGAN(nn.Module):
    """Noise, (b, depth, h, w) cells, to images in 0 to 1.

    Source: Smith & Geach 2019, MNRAS 490, 4985 (arXiv:1904.10286), §2.3. The paper gives no number of channels; these
    make 250 kFLOP a pixel.
    We differ: a window is made with HALO cells around it, which are cut off, so that it does not know where it ends.
    """

    def __init__(self, config: SpatialGANConfig):
        super().__init__()
        self.config = config
        into = (config.depth, *config.widths[:-1])
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(n, width, 4, 2, 1) for n, width in zip(into, config.widths, strict=True)
        )
        self.again = nn.ModuleList(
            nn.Sequential(*(layer for _ in range(AGAIN if stage else 0) for layer in (SameSize(width), nn.ELU())))
            for stage, width in enumerate(config.widths)
        )
        self.image = nn.ConvTranspose2d(config.widths[-1], config.bands, 3, 1, 1)

    @property
    def cell(self) -> int:
        return self.config.cell

    @property
    def depths(self) -> tuple[int, ...]:
        return (self.config.depth,)

    def windows(self, pixels: range) -> list[range]:
        """The cells of noise that a line of pixels follows from."""
        return [range(pixels.start // self.cell - HALO, -(-pixels.stop // self.cell) + HALO)]

    def forward(
        self, noise: Sequence[Tensor | None], rows: Sequence[range], columns: Sequence[range]
    ) -> Float[Tensor, "b c h w"]:
        """noise : (b, depth, h, w) of whole cells; the pixels of all cells but the HALO come out"""
        x = noise[0]
        assert x is not None
        for up, again in zip(self.up, self.again, strict=True):
            x = again(F.elu(up(x)))
        edge = HALO * self.cell
        return torch.sigmoid(self.image(x))[..., edge:-edge, edge:-edge]

    def flop_per_pixel(self) -> float:
        """Of a field without edges; a transposed convolution of stride 2 puts a quarter of its weights into a pixel."""
        stages = len(self.config.widths)
        total = 2.0 * self.image.weight.numel()
        for stage, (up, again) in enumerate(zip(self.up, self.again, strict=True)):
            share = 4.0 ** -(stages - 1 - stage)
            shapes = [part.numel() for part in up.parameters() if part.ndim == 4]
            total += share * (shapes[0] / 2 + sum(2 * part.numel() for part in again.parameters() if part.ndim == 4))
        return total


class SelfEnsemble(nn.Module):
    """Generators that are one at several times of its training; a sky is made by one of them.

    Source: Smith & Geach 2019, §3, after Wang, Zhang & van de Weijer 2016.
    """

    def __init__(self, config: SpatialGANConfig):
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(SpatialGAN(config) for _ in range(config.members))

    def of(self, seed: int) -> nn.Module:
        """The generator that makes the sky of a seed."""
        return self.members[seed % len(self.members)]


class PackedDiscriminator(nn.Module):
    """Several images of one kind in, stacked along their bands; one number for all of them."""

    def __init__(self, config: SpatialGANConfig):
        super().__init__()
        self.packed = config.packed
        into = (config.bands * config.packed, *config.critic[:-1])
        self.layers = nn.ModuleList(nn.Conv2d(n, width, 4, 2, 1) for n, width in zip(into, config.critic, strict=True))
        self.verdict = nn.Linear(config.critic[-1], 1)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "p"]:
        x = images.reshape(len(images) // self.packed, -1, *images.shape[2:])
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.verdict(x.mean((2, 3)))[:, 0]
