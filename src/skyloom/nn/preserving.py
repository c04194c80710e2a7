"""Layers that keep the magnitude of what passes through them, so that no layer learns by growing.

Source for all: Karras et al. 2024, arXiv:2312.02696, §2 and Appendix B (the equations are named at each).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SILU_RMS = 0.596  # of SiLU under a unit normal, Eq. 81
TINY = 1e-4


def unit_vectors(x: Tensor, over: tuple[int, ...]) -> Tensor:
    """x divided by its rms over some axes. Eq. 30"""
    length = torch.linalg.vector_norm(x, dim=over, keepdim=True)
    count = math.prod(x.shape[axis] for axis in over)
    return x / (TINY + length / math.sqrt(count))


def silu(x: Tensor) -> Tensor:
    """SiLU of unit rms under a unit normal. Eq. 81"""
    return F.silu(x) / SILU_RMS


def blend(a: Tensor, b: Tensor, part: float) -> Tensor:
    """(1 − part) a + part b, of unit rms if both are and they are independent. Eq. 88"""
    return a.lerp(b, part) / math.hypot(1 - part, part)


def side_by_side(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b d h w"]) -> Float[Tensor, "b e h w"]:
    """Both along the channels, each with the same say in what comes next. Eq. 103 with t = 1/2"""
    whole = math.sqrt((a.shape[1] + b.shape[1]) / 2)
    return torch.cat([a * (whole / math.sqrt(a.shape[1])), b * (whole / math.sqrt(b.shape[1]))], 1)


class Conv(nn.Module):
    """A convolution, or with size 0 a linear layer, whose weights have unit length whatever the optimiser does.

    In training the stored weights are put back to unit length before each use. Eqs. 47 and 66
    """

    def __init__(self, into: int, out: int, size: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into, *((size, size) if size else ())))

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        over = tuple(range(1, self.weight.ndim))
        if self.training:
            with torch.no_grad():
                self.weight.copy_(unit_vectors(self.weight, over))
        weight = unit_vectors(self.weight, over) * (gain / math.sqrt(self.weight[0].numel()))
        if self.weight.ndim == 2:
            return x @ weight.T
        return F.conv2d(x, weight.to(memory_format=torch.channels_last), padding=self.weight.shape[-1] // 2)


class Waves(nn.Module):
    """A number as random cosines of unit rms. Eq. 75"""

    rate: Tensor
    phase: Tensor

    def __init__(self, count: int):
        super().__init__()
        self.register_buffer("rate", 2 * math.pi * torch.randn(count))
        self.register_buffer("phase", 2 * math.pi * torch.rand(count))

    def forward(self, x: Float[Tensor, "b"]) -> Float[Tensor, "b d"]:
        return math.sqrt(2) * torch.cos(x[:, None] * self.rate + self.phase)
