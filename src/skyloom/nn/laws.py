"""What a network says of numbers that it has not seen: a Gaussian for each, or a mixture where one is not enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

NARROWEST = 0.01  # standard deviation that a law can have: below it a likelihood would be won by a constant alone
HALVINGS = 40  # of the interval in which a quantile is looked for


@dataclass(frozen=True)
class Law:
    """Independent mixtures of Gaussians, one for each number: of `k` parts, the last axis.

    log_share : logarithms of the shares of the parts; mean, sigma : of each part
    """

    log_share: Float[Tensor, "*b w k"]
    mean: Float[Tensor, "*b w k"]
    sigma: Float[Tensor, "*b w k"]

    @classmethod
    def of(cls, raw: Float[Tensor, "*b o"], width: int, components: int) -> Law:
        """The law that the outputs of a head stand for: 2 numbers a value, 3 for every part of a mixture."""
        if not components:
            mean, spread = raw.unflatten(-1, (width, 2, 1)).unbind(-2)
            return cls(torch.zeros_like(mean), mean, NARROWEST + F.softplus(spread))
        share, mean, spread = raw.unflatten(-1, (width, 3, components)).unbind(-2)
        return cls(share.log_softmax(-1), mean, NARROWEST + F.softplus(spread))

    @staticmethod
    def outputs(width: int, components: int) -> int:
        return width * (3 * components or 2)

    def surprise(self, values: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w"]:
        """Minus the logarithm of the probability density of each number [nat]."""
        off = (values[..., None] - self.mean) / self.sigma
        each = self.log_share - self.sigma.log() - 0.5 * (off.square() + math.log(2 * math.pi))
        return -each.logsumexp(-1)

    @property
    def expected(self) -> Float[Tensor, "*b w"]:
        return (self.log_share.exp() * self.mean).sum(-1)

    def below(self, values: Float[Tensor, "*b w"]) -> Float[Tensor, "*b w"]:
        """Probability of a smaller number."""
        return (self.log_share.exp() * torch.special.ndtr((values[..., None] - self.mean) / self.sigma)).sum(-1)

    def quantile(self, level: float) -> Float[Tensor, "*b w"]:
        """The number below which this much of the probability lies."""
        low, high = ((self.mean + side * 12 * self.sigma) for side in (-1, 1))
        low, high = low.amin(-1), high.amax(-1)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            less = self.below(middle) < level
            low, high = torch.where(less, middle, low), torch.where(less, high, middle)
        return (low + high) / 2

    def drawn(self, rng: torch.Generator) -> Float[Tensor, "*b w"]:
        """One number of each law."""
        uniform = torch.rand(self.mean.shape[:-1], generator=rng).to(self.mean)
        part = (self.log_share.exp().cumsum(-1) < uniform[..., None]).sum(-1, keepdim=True)
        part = part.clamp(max=self.mean.shape[-1] - 1)
        noise = torch.randn(self.mean.shape[:-1], generator=rng).to(self.mean)
        return self.mean.gather(-1, part)[..., 0] + self.sigma.gather(-1, part)[..., 0] * noise
