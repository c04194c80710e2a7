"""The published objective of AstroDDPM: to say which noise was added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from skyloom.data.images import ImageBatch

Loss = Literal["l1", "l2"]


@dataclass(frozen=True)
class Noise:
    """Mean error of the predicted noise over uniformly drawn steps.

    loss : "l2" as in the paper's Eq. 6, or "l1" as in its code. L1 aims at the median of what the noise may have been
    and not at its mean; where light is rare and bright the two differ (docs/flux-puzzle.md)
    kept : (T,) share of the image's variance that is left at each step
    Source: Ho, Jain & Abbeel 2020, arXiv:2006.11239, Eq. 14; Smith et al. 2022, arXiv:2111.01713, Eq. 6.
    We differ: bad pixels count for nothing.
    """

    loss: Loss
    kept: Tensor

    def __call__(self, net: nn.Module, batch: ImageBatch, rng: torch.Generator) -> dict[str, Tensor]:
        clean = batch.images
        step = torch.randint(len(self.kept), (len(clean),), generator=rng)
        kept = self.kept[step].to(clean)[:, None, None, None]
        noise = torch.randn(clean.shape, generator=rng).to(clean.device)
        miss = net(kept.sqrt() * clean + (1 - kept).sqrt() * noise, step.to(clean.device)) - noise
        error = miss.abs() if self.loss == "l1" else miss.square()
        return {"noise": (error * batch.good).sum() / batch.good.expand_as(error).sum().clamp_min(1)}
