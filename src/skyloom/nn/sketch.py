"""Smooth drawings of one galaxy in the middle of an image, as sums of fixed shapes: what words say before pixels do."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

WIDTHS = 8  # Gaussians, from FIRST pixels on, each STEP times wider than the one before
FIRST, STEP = 0.9, 1.6
SHAPES = 5 * WIDTHS  # each round, and under cosine and sine of twice and four times the angle


@lru_cache(maxsize=16)
def shapes(height: int, width: int, device: torch.device) -> Float[Tensor, "k h w"]:
    """Gaussians about the middle of an image, and their multipoles of order 2 and 4, each with a peak near 1.

    Sums of few of them are close to galaxies of any size, ellipticity and position angle: the multi-Gaussian expansion
    of Emsellem, Monnet & Bacon 1994, with angles in front, so that a sum is linear in all that is said.
    """
    y = torch.arange(height, device=device) - (height - 1) / 2
    x = torch.arange(width, device=device) - (width - 1) / 2
    square = x**2 + y[:, None] ** 2
    plus, cross = (x**2 - y[:, None] ** 2) / square.clamp_min(1e-6), 2 * x * y[:, None] / square.clamp_min(1e-6)
    angles = (plus, cross, plus**2 - cross**2, 2 * plus * cross)
    found = []
    for k in range(WIDTHS):
        part = square / (FIRST * STEP**k) ** 2
        round_ = torch.exp(-part / 2)
        found += [round_, *(round_ * part * angle for angle in angles[:2])]
        found += [round_ * part**2 / 4 * angle for angle in angles[2:]]
    return torch.stack(found)


def sketch(weights: Float[Tensor, "b n"], channels: int, height: int, width: int) -> Float[Tensor, "b c h w"]:
    """One drawing per band. weights : of every shape in every band, n = channels · SHAPES"""
    flat = shapes(height, width, weights.device).to(weights).flatten(1)
    return (weights.unflatten(1, (channels, SHAPES)) @ flat).unflatten(2, (height, width))
