"""Noise levels: those that a sampler walks down, and the published steps of a diffusion."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def karras_sigmas(steps: int, lowest: float, highest: float, rho: float = 7.0) -> Float[Tensor, "n"]:
    """`steps` noise levels from highest to lowest, close together where they are low, and then 0.

    Source: Karras et al. 2022, arXiv:2206.00364, Eq. 5. We differ: nothing.
    """
    part = torch.linspace(0, 1, steps, dtype=torch.float64)
    ends = (highest ** (1 / rho), lowest ** (1 / rho))
    return torch.cat([(ends[0] + part * (ends[1] - ends[0])) ** rho, torch.zeros(1, dtype=torch.float64)])


def cosine_kept(steps: int, offset: float = 0.008, most: float = 0.999) -> Float[Tensor, "t"]:
    """Share of an image's variance that is left after each of `steps` steps of adding noise, the first step first.

    Source: Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 17, with their ceiling of 0.999 on what one step may add.
    We differ: nothing.
    """
    time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    curve = torch.cos((time + offset) / (1 + offset) * math.pi / 2).square()
    added = (1 - curve[1:] / curve[:-1]).clamp(max=most)
    return (1 - added).cumprod(0)


def sigmas_of(kept: Float[Tensor, "t"]) -> Float[Tensor, "t"]:
    """The noise level of each step, in units of the image as it was before it was made smaller."""
    return ((1 - kept) / kept).sqrt()


def sub_sampled(kept: Float[Tensor, "t"], steps: int) -> Float[Tensor, "n"]:
    """Noise levels of `steps` of the T steps, evenly taken, from the last to the first, and then 0.

    Source: Nichol & Dhariwal 2021, arXiv:2102.09672, Eq. 19 (1.29 of Smith's thesis): with these levels
    `solvers.ancestral` adds and removes what that equation says. We differ: nothing.
    """
    taken = torch.linspace(len(kept) - 1, 0, steps).round().long()
    return torch.cat([sigmas_of(kept)[taken], torch.zeros(1, dtype=kept.dtype)])
