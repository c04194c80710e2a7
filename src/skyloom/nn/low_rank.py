"""Matrices that change by a product of two thin ones: fine-tuning that learns a hundredth of the weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SCALE = 2.0  # of the change, whatever its rank


class LowRankLinear(nn.Linear):
    """A linear layer whose matrix stays as it was, plus a product of two thin matrices, which starts at nought.

    Source: Hu et al. 2022, arXiv:2106.09685 (LoRA), §4.1. We differ: nothing.
    """

    def __init__(self, into: int, out: int, rank: int):
        super().__init__(into, out, bias=False)
        self.weight.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, into) / into**0.5)
        self.up = nn.Parameter(torch.zeros(out, rank))
        self.scale = SCALE / rank

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        return super().forward(x) + self.scale * F.linear(F.linear(x, self.down), self.up)


def linear(into: int, out: int, rank: int) -> nn.Linear:
    """An ordinary linear layer without bias, or one that changes by a low rank."""
    return LowRankLinear(into, out, rank) if rank else nn.Linear(into, out, bias=False)
