"""Draws of what cannot be seen, given what can: two samplers that fill the masked pixels of an image.

x = clean + σ · noise, as everywhere in this room. `known` is the image, `mask` is True where it is to be filled; what
`known` holds there is never read. `error` is noise of the known pixels that the generator's own images do not have, as
when a shallower survey observed them: 0 or None where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from skyloom.samplers.solvers import Denoiser, begun, dpm_solver

Rng = torch.Generator | Sequence[torch.Generator]  # one for all images, or one for each equal share of the batch

SLACK, LEAP = 0.05, 3.0  # with these networks are safe; 0.03 was not


def normal(like: Float[Tensor, "b c h w"], rng: Rng) -> Float[Tensor, "b c h w"]:
    """Unit noise, drawn on the CPU, so that every device sees the same; a share's noise is that of its own rng."""
    shares = [rng] if isinstance(rng, torch.Generator) else list(rng)
    shape = (len(like) // len(shares), *like.shape[1:])
    return torch.cat([torch.randn(shape, generator=share, dtype=like.dtype) for share in shares]).to(like.device)


@torch.no_grad()
def repaint(
    denoiser: Denoiser,
    noise: Float[Tensor, "b c h w"],
    sigmas: Float[Tensor, "n"],
    known: Float[Tensor, "b c h w"],
    mask: Bool[Tensor, "#b #c h w"],
    rng: Rng,
    resamplings: int = 10,
    error: Float[Tensor, "#b #c #h #w"] | None = None,
) -> Iterator[Float[Tensor, "b c h w"]]:
    """Ancestral steps in which the known pixels are put back at every noise level; `*_, images = repaint(...)`.

    noise : unit variance; sigmas : falling, the last one 0; resamplings : times that each step is taken
    Exact in the limit of many steps and many resamplings, and only there: docs/inpaint.md has the errors.
    Source: Lugmayr et al. 2022, arXiv:2201.09865, Algorithm 1.
    We differ: variance-exploding variables; jumps are one step long, since our steps are long; a known pixel with
    noise of its own is put back only as long as the level is above that noise, where the two are one thing; below it no
    step is repeated, since free pixels would forget what they were told.
    """
    known, error = _prepared(known, mask, error)
    sigmas = sigmas.to(noise)
    x = torch.where(mask, sigmas[0] * noise, known + _left(sigmas[0], error) * normal(noise, rng))
    for now, then in pairwise(sigmas):
        free = mask | (then < error)
        for turn in range(resamplings if then > error.max() else 1):
            if turn:
                x = x + (now**2 - then**2).sqrt() * normal(x, rng)
            clean, share = denoiser(x, now), (then / now) ** 2
            x = clean + share * (x - clean) + then * (1 - share).sqrt() * normal(x, rng)
            x = torch.where(free, x, known + _left(then, error) * normal(x, rng))
        yield x if then > 0 else torch.where(mask, x, known)


def posterior(
    denoiser: Denoiser,
    noise: Float[Tensor, "b c h w"],
    sigmas: Float[Tensor, "n"],
    known: Float[Tensor, "b c h w"],
    mask: Bool[Tensor, "#b #c h w"],
    iterations: int = 3,
    error: Float[Tensor, "#b #c #h #w"] | None = None,
    slack: float = SLACK,
    leap: float = LEAP,
    spread: float = 0.0,
) -> Iterator[Float[Tensor, "b c h w"]]:
    """`dpm_solver` on the denoiser that is told of the known pixels; `*_, images = posterior(...)`.

    noise : unit variance; sigmas : falling, the last one 0; iterations, slack, leap : see `conditioned`; spread : see
        `dpm_solver`
    Source: see `conditioned`. We differ: as there; and a solver of second order, so that few steps do.
    """
    told = conditioned(denoiser, known, mask, iterations, error, slack, leap)
    start = begun(told, sigmas[0].to(noise) * noise, float(sigmas[0]))
    for number, x in enumerate(dpm_solver(told, start, sigmas, spread), 2):
        yield x if number < len(sigmas) else torch.where(mask, x, known)


def conditioned(
    denoiser: Denoiser,
    known: Float[Tensor, "b c h w"],
    mask: Bool[Tensor, "#b #c h w"],
    iterations: int = 3,
    error: Float[Tensor, "#b #c #h #w"] | None = None,
    slack: float = SLACK,
    leap: float = LEAP,
) -> Denoiser:
    """The mean of the clean images given the noisy one *and* the known pixels, for any sampler of this room.

    iterations : of conjugate gradients, one gradient through the denoiser each; 3 leave a tenth or two of a σ
    slack : error that every known pixel is granted besides, as a share of the level's variance
    leap : largest change of a pixel that being told may make, in units of the level

    D(x, σ) + V Aᵀ (A V Aᵀ + error² + slack σ²)⁻¹ (known − A D(x, σ)), where A picks the known pixels and V = σ² ∂D/∂x
    is the covariance of the clean image given x (Tweedie's formula). Exact for a Gaussian with slack 0 and leap ∞, once
    the iterations have converged. A network's derivative is not quite a covariance: without these two, a direction in
    which it is small or negative by mistake is followed without end. Both lose their force as the level falls.
    Source: moment-matching posterior sampling, Rozet et al. 2024, arXiv:2405.13712. Diffusion posterior sampling
    (Chung et al. 2023, arXiv:2209.14687) and pseudo-inverse guidance (Song et al. 2023, ICLR) have a number for V.
    We differ: the iterations carry V times their solution along, which saves the last gradient.
    """
    known, error = _prepared(known, mask, error)
    seen = (~mask).to(known.dtype)

    def told(x: Float[Tensor, "b c h w"], sigma: Float[Tensor, "*b"]) -> Float[Tensor, "b c h w"]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            told_by_noise = denoiser(x, sigma)
        root = sigma.to(x).reshape(-1, 1, 1, 1)
        level, mean = root**2, told_by_noise.detach()
        clean = mean
        granted = error**2 + slack * level
        left = seen * (known - clean)
        towards, size = left, _dot(left, left)
        for _ in range(iterations):
            (slope,) = torch.autograd.grad(told_by_noise, x, towards, retain_graph=True)
            spread = level * slope
            own = _dot(towards, granted * towards)
            length = _ratio(size, _dot(towards, spread).clamp(min=0) + own)
            clean, left = clean + length * spread, left - length * (seen * spread + granted * towards)
            size, before = _dot(left, left), size
            towards = left + _ratio(size, before) * towards
        return mean + (clean - mean).clamp(-leap * root, leap * root)

    return told


def _prepared(known: Tensor, mask: Tensor, error: Tensor | None) -> tuple[Tensor, Tensor]:
    """The known pixels, 0 in place of the others, and their error as a tensor."""
    error = torch.zeros((), dtype=known.dtype, device=known.device) if error is None else error
    return torch.where(mask, torch.zeros_like(known), known), error


def _left(sigma: Tensor, error: Tensor) -> Tensor:
    """The noise still to be added to a pixel that has some already; 0 where it has more."""
    return (sigma**2 - error**2).clamp(min=0).sqrt()


def _dot(a: Float[Tensor, "b c h w"], b: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 1 1"]:
    return (a * b).sum((1, 2, 3), keepdim=True)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Their ratio; 0 where the whole is not positive: converged, or no minimum in that direction."""
    return torch.where(whole > 0, part / whole, torch.zeros_like(part))
