"""An encoder to which a galaxy is the same galaxy however it is turned: every filter is there in all 8 orientations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

ORIENTATIONS = 8  # quarter turns of an image, and of its mirror image


@dataclass(frozen=True)
class EquivariantConfig:
    """bands : channels of the images

    widths : filters of each stage, all of them in 8 orientations; the first stage halves the image by steps of 2, and
        after each other but the last the map is halved
    first : side of the filters that see the image [pixel], even; the others have 3
    """

    bands: int = 3
    widths: tuple[int, ...] = (4, 6, 12, 24, 32)
    first: int = 6

    @property
    def dimension(self) -> int:
        """Length of a feature vector: of every filter of the last stage the mean and the strongest orientation."""
        return 2 * self.widths[-1]

    @property
    def multiple(self) -> int:
        """Of which both sides of an image [pixel] must be multiples, so that the halvings turn along with it."""
        return 2 ** (len(self.widths) - 1)

    def flop(self, side: int) -> int:
        """Floating point operations, two for each product, of one square image of `side` pixels."""
        total, into, size = 0, self.bands, self.first
        for stage, width in enumerate(self.widths):
            total += 2 * (side >> max(stage, 1)) ** 2 * size**2 * into * ORIENTATIONS * width
            into, size = ORIENTATIONS * width, 3
        return total


class EquivariantEncoder(nn.Module):
    """Square images to (b, dimension): the same vector, but for rounding, for all 8 symmetries of an image.

    Stages of one convolution over positions and orientations, a batch norm that all orientations share, a ReLU, and a
    halving by the maximum (the first by its steps); at the end the mean over positions, and over orientations the mean
    and the maximum. At 64² pixels and 3 bands the default is 0.09 GFLOP and 83 thousand weights; a network without
    shared orientations of the same cost has eight times as many.
    Images : about N(0, 1) on blank sky; sides a multiple of `config.multiple`
    Source: Cohen & Welling 2016, arXiv:1602.07576 (the group p4m). We differ: pooled over the group at the end only.
    """

    def __init__(self, config: EquivariantConfig):
        super().__init__()
        self.config, self.dimension = config, config.dimension
        stages: list[nn.Module] = []
        for number, width in enumerate(config.widths):
            lift = number == 0
            into, size = (config.bands, config.first) if lift else (config.widths[number - 1], 3)
            stages += [TurnedConv(into, width, size, lift=lift), SharedNorm(width), nn.ReLU(inplace=True)]
            if 0 < number < len(config.widths) - 1:
                stages.append(nn.MaxPool2d(2))
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        maps = self.stages(images).mean((2, 3)).unflatten(1, (-1, ORIENTATIONS))
        return torch.cat([maps.mean(2), maps.amax(2)], 1)

    def maps(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k 8 p q"]:
        """What the last stage sees, place by place and orientation by orientation.

        If an image turns, the maps turn with it, and orientations change places.
        """
        return self.stages(images).unflatten(1, (-1, ORIENTATIONS))


class PlainEncoder(nn.Module):
    """The same stages at the same cost with ordinary filters, eight times as many weights: what to compare with.

    The features are the means of the last maps over positions.
    """

    def __init__(self, config: EquivariantConfig):
        super().__init__()
        self.dimension = ORIENTATIONS * config.widths[-1]
        stages: list[nn.Module] = []
        into = config.bands
        for number, width in enumerate(config.widths):
            out, size = ORIENTATIONS * width, 3 if number else config.first
            conv = nn.Conv2d(into, out, size, 1 if number else 2, (size - 1) // 2, bias=False)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            stages += [conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            if 0 < number < len(config.widths) - 1:
                stages.append(nn.MaxPool2d(2))
            into = out
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        return self.stages(images).mean((2, 3))


class TurnedConv(nn.Module):
    """A convolution with every filter in all orientations; `lift` : of an image, by steps of 2 and with an even `size`,
    else of maps that have orientations.

    Orientation g of a filter meets orientation h of the maps with the weights that it has for g⁻¹ h, turned by g.
    Source: Cohen & Welling 2016, arXiv:1602.07576, Eq. 10-11 and §7.
    """

    def __init__(self, into: int, out: int, size: int, *, lift: bool):
        super().__init__()
        per = 1 if lift else ORIENTATIONS
        self.per, self.size, self.step = per, size, 2 if lift else 1
        self.weight = nn.Parameter(torch.empty(out, into, per, size, size))
        nn.init.normal_(self.weight, std=(2 / (into * per * size**2)) ** 0.5)
        self.register_buffer("places", torch.from_numpy(_places(size, lift)), persistent=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        return nn.functional.conv2d(x, self.filters(), stride=self.step, padding=(self.size - 1) // 2)

    def filters(self) -> Float[Tensor, "d c s s"]:
        """The weights of an ordinary convolution that does the same."""
        out, into = self.weight.shape[:2]
        turned = self.weight.flatten(2)[:, :, self.get_buffer("places")]  # out, into, g, h · size · size
        turned = turned.unflatten(3, (self.per, self.size, self.size)).transpose(1, 2)
        return turned.reshape(out * ORIENTATIONS, into * self.per, self.size, self.size)


class SharedNorm(nn.BatchNorm2d):
    """A batch norm of maps whose orientations share one mean and variance."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        b, c, h, w = x.shape
        return super().forward(x.reshape(b, c // ORIENTATIONS, ORIENTATIONS * h, w)).reshape(b, c, h, w)


def turned(x: np.ndarray, g: int) -> np.ndarray:
    """Rows and columns, the last two axes, under symmetry g: g % 4 quarter turns, mirrored first if g is 4 or more."""
    return np.rot90(x[..., ::-1] if g >= 4 else x, g % 4, (-2, -1))


@lru_cache(maxsize=1)
def _table() -> Int[np.ndarray, "8 8"]:
    """[g, h] is g⁻¹ h: found by what the symmetries do to a square without any."""
    square = np.arange(9).reshape(3, 3)
    after = {turned(square, g).tobytes(): g for g in range(ORIENTATIONS)}
    product = np.array(
        [[after[turned(turned(square, h), g).tobytes()] for h in range(ORIENTATIONS)] for g in range(ORIENTATIONS)]
    )
    inverse = (product == 0).argmax(1)
    return product[inverse]


@lru_cache(maxsize=8)
def _places(size: int, lift: bool) -> Int[np.ndarray, "8 k"]:
    """For each orientation of a filter, where in its flat weights each of its numbers comes from."""
    per = 1 if lift else ORIENTATIONS
    flat = np.arange(per * size * size).reshape(per, size, size)
    found = [turned(flat if lift else flat[_table()[g]], g).reshape(-1) for g in range(ORIENTATIONS)]
    return np.stack(found)
