"""The starlet transform: an image as details of doubling size, none of them decimated."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SPLINE = (1 / 16, 1 / 4, 3 / 8)  # half of the cubic B-spline, sampled


def starlets(x: Float[Tensor, "b c h w"], scales: int) -> Float[Tensor, "s b c h w"]:
    """Details of 1, 2, 4 … pixels; the image is their sum and what is smoother than all of them.

    Beyond the edge the outermost pixels go on.
    Source: Starck & Murtagh 1994, A&A 288, 342; Starck, Fadili & Murtagh 2007, IEEE Trans. Image Process. 16, 297.
    We differ: nothing.
    """
    details = []
    for scale in range(scales):
        smooth = _smoothed(x, 2**scale)
        details.append(x - smooth)
        x = smooth
    return torch.stack(details)


def _smoothed(x: Float[Tensor, "b c h w"], step: int) -> Float[Tensor, "b c h w"]:
    """The spline with holes along columns and rows: as sums, which are faster than so thin a convolution."""
    wide = F.pad(x, (2 * step,) * 4, mode="replicate")
    for axis in (2, 3):
        first, second, third, fourth, fifth = (wide.narrow(axis, k * step, x.shape[axis]) for k in range(5))
        wide = SPLINE[0] * (first + fifth) + SPLINE[1] * (second + fourth) + SPLINE[2] * third
    return wide


def noise_in(scales: int) -> tuple[float, ...]:
    """Rms of each scale's details of white noise of unit rms: 0.891, 0.201, 0.086 …"""
    side = 2 ** (scales + 3) + 1
    point = torch.zeros(1, 1, side, side, dtype=torch.float64)
    point[..., side // 2, side // 2] = 1
    return tuple(float(value) for value in starlets(point, scales).square().sum((1, 2, 3, 4)).sqrt())
