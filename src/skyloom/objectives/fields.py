"""What a painter of fields is told when it errs: by how much, and whether a critic saw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.nn.deep_field import DeepField
from skyloom.nn.spatial_gan import SpatialGAN
from skyloom.objectives.adversarial import average_loss, pair_loss, steepness
from skyloom.sky.noise_model import MARGIN, NoiseModel
from skyloom.sky.scaling import Asinh

RARELY = 4  # the critic is kept from growing steep at every RARELY-th step


class FieldBatch(NamedTuple):
    """images : scaled flux of a survey; good : 1 where a pixel counts; told : of each grid, of the sources

    rows, columns : windows of the grids, the same for all images
    """

    images: Float[Tensor, "b c h w"]
    good: Float[Tensor, "b 1 h w"]
    told: Sequence[Tensor | None]
    rows: Sequence[range]
    columns: Sequence[range]

    def to(self, device: torch.device) -> FieldBatch:
        told = [None if one is None else one.to(device) for one in self.told]
        return FieldBatch(self.images.to(device), self.good.to(device), told, self.rows, self.columns)


class Made(NamedTuple):
    """light : scaled; seen : the same with the noise of the sky, scaled"""

    light: Tensor
    seen: Tensor


@dataclass
class PaintedField:
    """The light of known sources, by squares; after `alone` steps also by what a critic says of it.

    weight : of the squares, in units of the mean square of the sky's noise, once there is a critic
    steep : weight of the critic's steepness, on real and on made images
    """

    net: DeepField
    critic: nn.Module
    scaling: Asinh
    noise: NoiseModel
    alone: int
    weight: float = 3.0
    steep: float = 1.0
    study: int = 150  # steps that the critic learns for before it is heard

    def made(self, batch: FieldBatch) -> Made:
        light = self.net(inputs_of(self.net, batch), batch.rows, batch.columns)
        return Made(light, self.scaling.scaled(self.scaling.flux(light) + self._noise(light)))

    def _noise(self, like: Tensor) -> Tensor:
        kernel = torch.tensor(self.noise.kernel, dtype=like.dtype, device=like.device)[:, None]
        rms = torch.tensor(self.noise.rms, dtype=like.dtype, device=like.device)[:, None, None]
        n, c, h, w = like.shape
        white = torch.randn(n, c, h + 2 * MARGIN, w + 2 * MARGIN).to(like)
        return rms * F.conv2d(white, kernel, groups=c)

    def critic_losses(self, number: int, batch: FieldBatch, made: Made) -> dict[str, Tensor]:
        if number <= self.alone:
            return {}
        real, fake = batch.images * batch.good, (made.seen * batch.good).detach()
        losses = {"critic": pair_loss(self.critic(real), self.critic(fake))}
        if number % RARELY == 0:
            steep = steepness(self.critic, real) + steepness(self.critic, fake)
            losses["steepness"] = RARELY * self.steep / 2 * steep
        return losses

    def net_losses(self, number: int, batch: FieldBatch, made: Made) -> dict[str, Tensor]:
        square = ((made.light - batch.images).square() * batch.good).sum() / batch.good.sum() / made.light.shape[1]
        if number <= self.alone + self.study:
            return {"squares": square}
        with torch.no_grad():
            real = self.critic(batch.images * batch.good)
        contest = pair_loss(self.critic(made.seen * batch.good), real)
        return {"squares": self.weight * square / self.noise_square(), "contest": contest}

    def noise_square(self) -> float:
        """Mean square of the sky's noise, scaled, as if it were small."""
        ratios = [rms / soft for rms, soft in zip(self.noise.rms, self.scaling.softening, strict=True)]
        return sum(ratio**2 for ratio in ratios) / len(ratios)


def inputs_of(net: DeepField, batch: FieldBatch) -> list[Tensor | None]:
    """What is told of the sources, and fresh noise, on each grid."""
    inputs: list[Tensor | None] = []
    for told, (_, fresh), down, across in zip(batch.told, net.config.depths, batch.rows, batch.columns, strict=True):
        shape = (len(batch.images), fresh, len(down), len(across))
        noise = torch.randn(shape).to(batch.images) if fresh else None
        parts = [part for part in (told, noise) if part is not None]
        inputs.append(torch.cat(parts, 1).contiguous(memory_format=torch.channels_last) if parts else None)
    return inputs


@dataclass
class ImitatedField:
    """Pieces of a survey, noise and all, imitated from noise alone, as published.

    batch : scaled images (b, c, h, w), flipped; the net makes as many of the same size
    Source: Smith & Geach 2019, MNRAS 490, 4985 (arXiv:1904.10286), §2.3.
    """

    net: SpatialGAN
    critic: nn.Module

    def made(self, batch: Float[Tensor, "b c h w"]) -> Tensor:
        rows, columns = (self.net.windows(range(side)) for side in batch.shape[2:])
        noise = torch.randn(len(batch), self.net.config.depth, len(rows[0]), len(columns[0])).to(batch)
        return self.net([noise], rows, columns)

    def critic_losses(self, number: int, batch: Tensor, made: Tensor) -> dict[str, Tensor]:
        return {"critic": average_loss(self.critic(batch), self.critic(made.detach()))}

    def net_losses(self, number: int, batch: Tensor, made: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            real = self.critic(batch)
        return {"contest": average_loss(self.critic(made), real)}
