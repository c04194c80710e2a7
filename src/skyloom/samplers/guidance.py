"""What was asked for, followed more closely than the training galaxies follow it."""

from __future__ import annotations

import torch
from torch import Tensor

from skyloom.samplers.solvers import Denoiser


def guided(told: Denoiser, untold: Denoiser, guidance: float) -> Denoiser:
    """The denoiser that heard what was asked, pushed away from the one that heard nothing.

    guidance : 1 for the told one itself, which draws from what was learnt of such galaxies; 0 for the untold one; above
        1 what was asked for counts for more, galaxies grow more alike, and their mean is no longer that of real ones
    Two calls of the network where there was one, unless guidance is 1.
    Source: Ho & Salimans 2022, arXiv:2207.12598, Eq. 6, whose w is guidance − 1. We differ: in the variables of
    Karras et al. 2022, where it holds for the clean image as for the noise.
    """
    if guidance == 1:
        return told

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        free = untold(x, sigma)
        return torch.lerp(free, told(x, sigma), guidance)

    return denoise
