"""A painter of sky of any size, and its critic: sources and noise on a few grids in, light out; there are no edges.

No convolution is padded. A window of the sky is made from what lies in it and a little around it, so that it is the
same whatever else is made beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SLOPE = 0.2  # of the leaky rectifiers
EMPTY = 1e-4  # added to variances
COLOUR, SIZE, SHAPE = 10.0, 3.0, 5.0  # by how much more sources are told apart by these than they differ


@dataclass(frozen=True)
class DeepFieldConfig:
    """bands : of the light

    widths : channels of each grid, coarse to fine; each grid is twice as fine as the one before, the last one's places
        are pixels
    told : grids on which the sources are told of; noisy : grids with `fresh` numbers of noise at each place
    critic : channels of the critic, each layer at half the resolution
    """

    bands: int = 3
    widths: tuple[int, ...] = (48, 64, 48, 32, 16)
    told: tuple[int, ...] = (0, 1, 2, 3)
    noisy: tuple[int, ...] = (1, 2, 3)
    fresh: int = 2
    critic: tuple[int, ...] = (32, 64, 128, 128)

    @property
    def marks(self) -> int:
        """Numbers that say what a source is: that it is there, one per band, size, two of ellipticity, sharpness."""
        return self.bands + 5

    @property
    def cell(self) -> int:
        """Side of a place of the coarsest grid [pixel]."""
        return 1 << (len(self.widths) - 1)

    @property
    def depths(self) -> tuple[tuple[int, int], ...]:
        """Numbers at a place of each grid: about sources (marks, and where in the place they lie), and of noise."""
        grids = range(len(self.widths))
        return tuple(((self.marks + 2) * (k in self.told), self.fresh * (k in self.noisy)) for k in grids)


def stressed(bands: int, before: int, after: int) -> Float[Tensor, "n n"]:
    """What channels become before a convolution: `before` of them, those of sources, and `after`.

    Sources differ in brightness far more than in colour or shape, and squares of errors say so: a network that is told
    of them as they are is late to learn what is worth little, and paints every source in the mean colour. So colours
    (each band's mark less the mean of all) are told COLOUR times as large, sizes SIZE times, and shapes SHAPE times.
    """
    matrix = torch.eye(before + bands + 7 + after)
    marks = slice(before + 1, before + 1 + bands)
    matrix[marks, marks] += (COLOUR - 1) * (torch.eye(bands) - 1 / bands)
    for place, factor in enumerate((SIZE, SHAPE, SHAPE), marks.stop):
        matrix[place, place] = factor
    return matrix


class EqualConv(nn.Module):
    """A convolution whose weights are learnt at unit size and scaled when used: every layer learns as fast as another.

    Source: Karras et al. 2018, arXiv:1710.10196, §4.1.
    """

    stress: Tensor | None

    def __init__(
        self, into: int, out: int, size: int, stride: int = 1, padding: int = 0, gain: float = math.sqrt(2),
        stress: Float[Tensor, "i i"] | None = None,
    ):  # fmt: skip
        """stress : which sums of its channels the convolution sees in place of them"""
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into, size, size))
        self.bias = nn.Parameter(torch.zeros(out))
        self.scale = gain / math.sqrt(into * size**2)
        self.stride, self.padding = stride, padding
        self.register_buffer("stress", stress, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        if self.stress is not None:
            weight = torch.einsum("oihw,ij->ojhw", weight, self.stress)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class DeepField(nn.Module):
    """Sources and unit noise on grids to light, in the scaling's numbers.

    We differ from the spatial GAN (Smith & Geach 2019, arXiv:1904.10286): it is told where sources lie and what they
    are, and noise decides only how they look; bilinear upsampling and a convolution stand for a transposed one,
    whose steps leave a chequered pattern; light alone is made, without the sky's noise.
    """

    def __init__(self, config: DeepFieldConfig):
        super().__init__()
        self.config = config
        widths = config.widths
        self.first = nn.ModuleList(
            EqualConv(above + told + fresh, width, 3, stress=stressed(config.bands, above, fresh) if told else None)
            for above, (told, fresh), width in zip((0, *widths), config.depths, widths, strict=False)
        )
        self.second = nn.ModuleList(EqualConv(width, width, 3) for width in widths)
        self.light = EqualConv(widths[-1], config.bands, 1, gain=0.3)

    @property
    def cell(self) -> int:
        return self.config.cell

    def of(self, seed: int) -> DeepField:
        """The generator that makes the sky of a seed: there is one."""
        return self

    def windows(self, pixels: range) -> list[range]:
        """The places of each grid, coarse to fine, that a line of pixels follows from."""
        first, last, found = pixels.start, pixels.stop, []
        for _ in self.config.widths:
            first, last = first - 2, last + 2  # two convolutions of three pixels
            found.append(range(first, last))
            first, last = (first - 1) // 2, last // 2 + 1  # bilinear: the nearest two
        return found[::-1]

    def forward(
        self, inputs: Sequence[Tensor | None], rows: Sequence[range], columns: Sequence[range]
    ) -> Float[Tensor, "b c h w"]:
        """inputs : of each grid (b, depth, h, w), None where its depth is 0; rows, columns : its `windows`"""
        x = None
        for level, (fresh, down, across) in enumerate(zip(inputs, rows, columns, strict=True)):
            if x is not None:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
                top, left = (
                    here.start - 2 * (above.start + 2)
                    for here, above in ((down, rows[level - 1]), (across, columns[level - 1]))
                )
                x = x[..., top : top + len(down), left : left + len(across)]
            x = fresh if x is None else x if fresh is None else torch.cat([x, fresh], 1)
            x = F.leaky_relu_(self.first[level](x), SLOPE)
            x = F.leaky_relu_(self.second[level](x), SLOPE)
        return self.light(x)

    def flop_per_pixel(self) -> float:
        """Of a field without edges."""
        last = len(self.config.widths) - 1
        total = 2.0 * self.light.weight.numel()
        for level in range(last + 1):
            for layer in (self.first[level], self.second[level]):
                total += sum(2 * part.numel() for part in layer.parameters() if part.ndim == 4) / 4 ** (last - level)
        return total


class FieldCritic(nn.Module):
    """How real a window looks: strided convolutions, the mean and the spread of what they find, one number."""

    def __init__(self, config: DeepFieldConfig):
        super().__init__()
        sides = zip((config.bands, *config.critic), config.critic, strict=False)
        self.layers = nn.ModuleList(EqualConv(into, out, 4, 2, 1) for into, out in sides)
        self.verdict = EqualConv(2 * config.critic[-1], 1, 1, gain=1.0)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b"]:
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
        spread = (x.var((2, 3), correction=0) + EMPTY).sqrt()
        return self.verdict(torch.cat([x.mean((2, 3)), spread], 1)[:, :, None, None])[:, 0, 0, 0]
