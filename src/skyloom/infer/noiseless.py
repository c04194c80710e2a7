"""The light behind a galaxy's noise, by a generator that has only ever seen noisy ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from skyloom.errors import RequestError
from skyloom.infer.generator import Generator, unit_noise

EXTRA = 1.5  # noise that is added, in units of the sky's own
STREAM = 1_000_003  # between the seeds of two draws, the first of which is not that of the galaxies themselves
DRAWS = 8  # of it, over which the answer is averaged


@torch.inference_mode()
def noiseless(
    generator: Generator,
    flux: Float[Tensor, "b c h w"],
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    device: str = "cpu",
) -> Float[Tensor, "b c h w"]:
    """The mean of the noise-free images that these noisy ones may be of, in their own unit.

    flux : sky-subtracted, with the noise that the generator learnt from, as its own galaxies have
    numbers : of the images, by which each gets its own noise, whatever comes beside it; None: from 0 on
    Noise of a times the sky's is added to an image y, which makes z, and the denoiser says what y was. What it takes
    away is of one law with what was in y, and so the light x lies beyond y on the way from z:
    E[x|z] = ((1 + a²) E[y|z] − z) / a². Exact for white noise of the rms `spread` that the network assumes; a survey
    whose noise is correlated keeps part of it.
    Source: Moran et al. 2020, arXiv:1910.11908, Eq. 6. We differ: averaged over draws of the added noise.
    Raises RequestError for generators that assume no spread.
    """
    if not generator.spread:
        raise RequestError(f"{generator.name} ({generator.recipe}) cannot tell light from noise; use one of galaxy_edm")
    denoiser, level = generator.denoiser(device), EXTRA * generator.spread
    y = generator.scaling.scaled(flux).to(device, torch.float32)
    numbers = range(len(y)) if numbers is None else numbers
    found = torch.zeros_like(y)
    for draw in range(DRAWS):
        noise = unit_noise(seed + STREAM * (draw + 1), numbers, y.shape[1:]).to(y)
        z = y + level * noise
        found += ((1 + EXTRA**2) * denoiser(z, torch.tensor(level, device=device)) - z) / EXTRA**2
    return generator.scaling.flux(found / DRAWS).cpu()
