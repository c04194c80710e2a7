"""From noise to galaxies, and back: functions that yield every state; `*_, galaxies = heun(...)` for the last.

A denoiser is (x, sigma) → the mean of the clean images, with x = clean + sigma · noise. A network that was trained in
other variables is brought to this form once (`infer.generator`), and then every sampler serves every network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
Normal = Callable[[], Tensor]  # a fresh image of unit noise


@torch.no_grad()
def begun(denoiser: Denoiser, noise: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, "b c h w"]:
    """Where a walk down from noise begins: the noise, with the mean image in it.

    noise : of level sigma
    High noise does not hide what all images share. A galaxy sits in the middle of each, and its light, all pixels and
    bands together, can be a third of a σ even of noise of 300 times the sky's: whoever starts without it draws galaxies
    that are a third of their scatter too faint.
    Source: none; the flaw is that of a last signal-to-noise ratio above 0, Lin et al. 2024, arXiv:2305.08891, who
    change the training where this changes the start.
    """
    return noise + denoiser(noise, _level(sigma, noise))


@torch.no_grad()
def heun(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigmas: Float[Tensor, "n"]
) -> Iterator[Float[Tensor, "b c h w"]]:
    """Deterministic, second order: two calls a step, one in the last.

    x : an image with noise of the first level in it
    Source: Karras et al. 2022, arXiv:2206.00364, Algorithm 1. We differ: nothing.
    """
    for now, then in pairwise(sigmas.tolist()):
        slope = (x - denoiser(x, _level(now, x))) / now
        ahead = x + (then - now) * slope
        if then > 0:
            slope = (slope + (ahead - denoiser(ahead, _level(then, x))) / then) / 2
            ahead = x + (then - now) * slope
        x = ahead
        yield x


@torch.no_grad()
def dpm_solver(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigmas: Float[Tensor, "n"], spread: float = 0.0
) -> Iterator[Float[Tensor, "b c h w"]]:
    """Deterministic, second order from two steps on: DPM-Solver++(2M), one call a step.

    spread : σ of the pixels that most of the image is made of, the sky's: their path is followed exactly, in however
        few steps. With 0, in 24 steps to a 25th of it, the sky comes out 3 % too noisy; in 12 steps 8 %
    Source: Lu et al. 2022, arXiv:2211.01095, Algorithm 2, in the variables of Karras et al. 2022.
    We differ: the last step, to no noise at all, is of first order, as every such step must be. And with a spread: the
    path of N(m, spread²) to level σ is m + (x − m) · √(spread² + σ²), so that m, not D(x, σ), is what changes slowly
    and is carried on from step to step.
    """
    before: tuple[Tensor, float] | None = None
    for now, then in pairwise(sigmas.tolist()):
        kept = spread**2 / (spread**2 + now**2)
        middle = (denoiser(x, _level(now, x)) - kept * x) / (1 - kept)
        wide, narrow = math.hypot(spread, now), math.hypot(spread, then)
        aim = middle
        if before is not None and then > 0:
            old, wider = before
            ratio = math.log(wider / wide) / math.log(wide / narrow)
            aim = middle + (middle - old) / (2 * ratio)
        x = aim + (narrow / wide) * (x - aim)
        before = (middle, wide)
        yield x


@torch.no_grad()
def ddim(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigmas: Float[Tensor, "n"]
) -> Iterator[Float[Tensor, "b c h w"]]:
    """Deterministic, first order.

    Source: Song, Meng & Ermon 2021, arXiv:2010.02502, Eq. 12 with σ = 0, which in these variables is Euler's step
    (their Eq. 14). We differ: nothing.
    """
    for now, then in pairwise(sigmas.tolist()):
        clean = denoiser(x, _level(now, x))
        x = clean + (then / now) * (x - clean)
        yield x


@torch.no_grad()
def ancestral(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigmas: Float[Tensor, "n"], normal: Normal
) -> Iterator[Float[Tensor, "b c h w"]]:
    """The published way: a step down in noise, and a little fresh noise.

    normal : what is called for each step's noise
    Source: Ho, Jain & Abbeel 2020, arXiv:2006.11239, Algorithm 2 with σ² = β (§2.2.2 of Smith et al. 2022), on any
    subset of the steps (Nichol & Dhariwal 2021, Eq. 19). We differ: nothing but the variables.
    """
    for now, then in pairwise(sigmas.tolist()):
        clean = denoiser(x, _level(now, x))
        x = x + (then**2 - now**2) / now**2 * (x - clean)
        if then > 0:
            added = (now**2 - then**2) * (1 + then**2) / (1 + now**2)
            x = x + added**0.5 * normal()
        yield x


@torch.no_grad()
def encode(
    denoiser: Denoiser, x: Float[Tensor, "b c h w"], sigmas: Float[Tensor, "n"]
) -> Iterator[Float[Tensor, "b c h w"]]:
    """The noise that `ddim` would turn into an image: its steps walked upward, from the lowest level.

    x : images; sigmas : as for ddim, from highest to lowest and then 0
    Source: Song, Meng & Ermon 2021, arXiv:2010.02502, §4.3. We differ: nothing.
    """
    upward = sigmas.flip(0).tolist()
    for now, then in pairwise(upward):
        level = _level(max(now, upward[1]), x)
        clean = denoiser(x, level)
        slope = (x - clean) / float(level)
        x = x + (then - now) * slope
        yield x


def between(a: Float[Tensor, "*s"], b: Float[Tensor, "*s"], part: float) -> Float[Tensor, "*s"]:
    """Noise part of the way from one to the other along the sphere, so that it stays as likely as both.

    Source: Shoemake 1985, SIGGRAPH 19, 245; Ho, Jain & Abbeel 2020, Fig. 8. We differ: nothing.
    """
    cosine = (a.flatten() @ b.flatten() / (a.norm() * b.norm())).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle < 1e-4:
        return torch.lerp(a, b, part)
    return (torch.sin((1 - part) * angle) * a + torch.sin(part * angle) * b) / torch.sin(angle)


def _level(sigma: float, like: Tensor) -> Tensor:
    return torch.tensor(sigma, dtype=like.dtype, device=like.device)
