"""What a denoiser is held to: the mean of the clean images that a noisy one may be (with L1: their median)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skyloom.data.images import ImageBatch
from skyloom.objectives.noise import Loss


@dataclass(frozen=True)
class Denoising:
    """Mean weighted squared error over log-normally drawn noise levels, each divided by what is expected of its level.

    net : (x, sigma, labels) to the clean image, with `log_variance(sigma)`
    log_sigma_mean, log_sigma_std : of ln σ, of scaled images; spread : their rms
    silent : share of the galaxies of which nothing is said; hushed : share of the others of which part is said, so that
        any of the conditions can be asked for alone; widths : numbers of each condition, which are said together
    loss : "l2"; or "l1", whose aim is each pixel's median, to see what that does (docs/flux-puzzle.md)
    Source: Karras et al. 2022, arXiv:2206.00364, Table 1 and Eq. 2; the uncertainty Karras et al. 2024,
    arXiv:2312.02696, Eq. 21.
    We differ: bad pixels count for nothing, and with `emphasis` pixels with light count for more. One pixel in a
    hundred has any, and without it the network learns the sky. As the weight is found from what the network sees, and
    not from the clean image, the mean remains what it is held to.
    """

    log_sigma_mean: float
    log_sigma_std: float
    spread: float
    emphasis: float = 0.0
    silent: float = 0.1
    hushed: float = 0.5
    widths: tuple[int, ...] = ()
    loss: Loss = "l2"

    def __call__(self, net: Any, batch: ImageBatch, rng: torch.Generator) -> dict[str, Tensor]:
        clean = batch.images
        sigma = (self.log_sigma_mean + self.log_sigma_std * _normal((len(clean),), rng)).exp().to(clean.device)
        level = sigma[:, None, None, None]
        labels = None if batch.labels is None else silenced(batch.labels, self.silent, self.hushed, self.widths, rng)
        noisy = clean + level * _normal(clean.shape, rng).to(clean.device)
        miss = net(noisy, sigma, labels) - clean
        say = batch.good * self.say(noisy, level)
        doubt = net.log_variance(sigma)
        return {"denoising": (self._error(miss, say, sigma) / doubt.exp() + doubt).mean()}

    def _error(
        self, miss: Float[Tensor, "b c h w"], say: Float[Tensor, "b c h w"], sigma: Float[Tensor, "b"]
    ) -> Float[Tensor, "b"]:
        """Of every image, in units of what its noise level leaves one to expect."""
        unit = sigma * self.spread / (sigma**2 + self.spread**2).sqrt()
        miss = miss / unit.view(-1, 1, 1, 1)
        cost = miss.abs() if self.loss == "l1" else miss.square()
        return (cost * say).flatten(1).sum(1) / say.flatten(1).sum(1).clamp_min(1)

    def say(self, noisy: Float[Tensor, "b c h w"], level: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 1 h w"]:
        """How much a pixel's error counts: more where there is light, seen through the noise."""
        light = F.avg_pool2d(noisy.mean(1, keepdim=True), 3, 1, 1) / (level**2 + self.spread**2).sqrt()
        return 1 + self.emphasis * light.clamp_min(0).square()

    def error_at(
        self, net: Any, clean: Float[Tensor, "b c h w"], sigma: float, rng: torch.Generator,
        labels: Float[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b"]:  # fmt: skip
        """Weighted error of every image at one noise level: what runs are compared by."""
        noise = _normal(clean.shape, rng).to(clean.device)
        level = torch.full((len(clean),), sigma, device=clean.device)
        noisy = clean + sigma * noise
        say = self.say(noisy, level.view(-1, 1, 1, 1)).expand_as(clean)
        return self._error(net(noisy, level, labels) - clean, say, level)


def silenced(
    labels: Float[Tensor, "b l"], silent: float, hushed: float, widths: tuple[int, ...], rng: torch.Generator
) -> Float[Tensor, "b l"]:
    """Labels with NaN, which says nothing, in all that is told of some galaxies, and in part of it of others.

    silent, hushed, widths : as in `Denoising`; without widths every number is a condition of its own. A hushed galaxy
        loses each condition with a chance that is drawn evenly between 0 and 1 for it: one condition alone, and all but
        one, come as often as any number between.
    Source: Ho & Salimans 2022, arXiv:2207.12598, Algorithm 1. We differ: they have one condition, and no `hushed`.
    """
    widths = widths or (1,) * labels.shape[1]
    none, some = (torch.rand(len(labels), 1, generator=rng) < part for part in (silent, hushed))
    chance = torch.rand(len(labels), 1, generator=rng)
    lost = none | (some & (torch.rand(len(labels), len(widths), generator=rng) < chance))
    lost = lost.repeat_interleave(torch.tensor(widths), 1)
    return labels.masked_fill(lost.to(labels.device), math.nan)


def _normal(shape: tuple[int, ...] | torch.Size, rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng)
