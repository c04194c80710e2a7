"""The network of the lecture: six convolutions and three dense layers to 37 fractions, and small networks on top."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

WIDTHS = (1, 2, 4, 4, 8, 8)  # channels of the convolutions, in units of the first
SIZES = (5, 5, 3, 3, 3, 3)  # sides of the filters [pixel]
POOLS = (3, 2, 0, 0, 0, 3)  # sides and strides of the max-pools after them, 0 for none


@dataclass(frozen=True)
class GalaxyZooConfig:
    """bands : channels of the images; side : of the images [pixel]; outputs : fractions to say

    width : channels of the first convolution; dense : of each dense layer; dropout : before each of them
    perceptrons : small networks on the penultimate features, whose answers are averaged with the network's own; each
        has one hidden layer of `hidden` units
    """

    bands: int = 3
    side: int = 120
    outputs: int = 37
    width: int = 48
    dense: int = 2048
    dropout: float = 0.5
    perceptrons: int = 2
    hidden: int = 512

    @property
    def maps(self) -> tuple[int, ...]:
        """Sides of what each convolution sees, and of what the first dense layer sees."""
        sides = [self.side]
        for size, pool in zip(SIZES, POOLS, strict=True):
            left = sides[-1] - size + 1
            sides.append(-(-left // pool) if pool else left)
        return tuple(sides)

    def flop(self) -> int:
        """Floating point operations, two for each product, of one image through the network without perceptrons."""
        channels = [self.bands, *(self.width * times for times in WIDTHS)]
        total = 0
        for (into, out), size, side in zip(pairwise(channels), SIZES, self.maps, strict=False):
            total += 2 * (side - size + 1) ** 2 * size**2 * into * out
        flat = channels[-1] * self.maps[-1] ** 2
        return total + 2 * self.dense * (flat + self.dense + self.outputs)


class GalaxyZooNet(nn.Module):
    """Images to fractions. At 120² pixels and full width: convolutions of 48 … 384 channels, maps of 120, 39, 18, 16,
    14, 12 and 4 pixels, 1.1 GFLOP, 19.5 million weights.

    Source: Tran & Hoang 2017, Deep Learning for Astronomy (lecture, Deakin University), the table of their solution of
    Kaggle's Galaxy Challenge with Tu Nguyen (fourth there, with an error of 0.0795). The pools count the last, cut one,
    as the table's map sides ask for. It is silent on activations (ReLU here), on dropout (half, before every dense
    layer) and on the networks on top.
    """

    def __init__(self, config: GalaxyZooConfig):
        super().__init__()
        self.config = config
        channels = [config.bands, *(config.width * times for times in WIDTHS)]
        layers: list[nn.Module] = []
        for (into, out), size, pool in zip(pairwise(channels), SIZES, POOLS, strict=True):
            layers += [nn.Conv2d(into, out, size), nn.ReLU(inplace=True)]
            if pool:
                layers.append(nn.MaxPool2d(pool, ceil_mode=True))
        flat = channels[-1] * config.maps[-1] ** 2
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.dense = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(flat, config.dense), nn.ReLU(inplace=True),
            nn.Dropout(config.dropout), nn.Linear(config.dense, config.dense), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.out = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.dense, config.outputs))
        self.perceptrons = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(config.dropout), nn.Linear(config.dense, config.hidden), nn.ReLU(inplace=True),
                nn.Dropout(config.dropout), nn.Linear(config.hidden, config.outputs),
            )
            for _ in range(config.perceptrons)
        )  # fmt: skip
        self.apply(_initialise)

    def features(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """The penultimate layer."""
        return self.dense(self.convolutions(images))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b a"]:
        """The network's own fractions, which nothing holds within 0 and 1."""
        return self.out(self.features(images))

    def on_top(self, features: Float[Tensor, "b d"]) -> Float[Tensor, "m b a"]:
        """What each of the perceptrons says of the features."""
        return torch.stack([net(features) for net in self.perceptrons])

    def said(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "m b a"]:
        """Fractions of the network and of each perceptron, within 0 and 1."""
        features = self.features(images)
        parts = [self.out(features)[None]]
        return torch.cat([*parts, self.on_top(features)] if len(self.perceptrons) else parts).clamp(0, 1)


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
