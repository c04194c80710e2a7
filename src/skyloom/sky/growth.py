"""From a profile to the galaxy: curve of growth, total flux, the radius of half the light and of an isophote."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from skyloom.sky.tail import Tail

_BEYOND = (
    15  # radii beyond the last ring over which the tail is summed, each a tenth larger than the last: to 4 times it
)
_TAIL_DOUBT = 0.5  # fraction of the extrapolated flux that enters the error of the total


class Growth(NamedTuple):
    """Flux within each isophote; total, with the extrapolated tail; semi-major axis that holds half of it [pixel]."""

    enclosed: Float[Tensor, "b r"]
    enclosed_error: Float[Tensor, "b r"]
    total: Float[Tensor, "b"]
    total_error: Float[Tensor, "b"]
    half_light: Float[Tensor, "b"]
    half_light_error: Float[Tensor, "b"]


def grow(
    light: Float[Tensor, "b r"],
    noise: Float[Tensor, "b r"],
    q: Float[Tensor, "b r"],
    sma: Float[Tensor, "r"],
    last: Float[Tensor, "b"],
    tail: Tail,
) -> Growth:
    """Integrate the profile over the areas of its own isophotes.

    light : sky-subtracted [flux/pixel], finite; noise : its 1σ, independent from ring to ring; q : b/a; sma : [pixel]
    last : index of the last ring that is measured; beyond it the tail's law takes over
    Source: Stone et al. 2021, MNRAS 508, 1870 (AutoProf: the profile is integrated, not the pixels).
    We differ: cubic quadrature in log radius, and the total includes the extrapolated tail, with half of it as error.
    """
    step = torch.log(sma[1] / sma[0])
    area = torch.pi * q * sma**2
    spread = torch.pi * sma**2 * (2 * q + torch.gradient(q, spacing=float(step), dim=1)[0])  # dA / d ln a
    enclosed = _cumulative(light * spread, step) + (light * area)[:, :1]
    random = torch.cumsum((noise * spread * step) ** 2, 1)
    enclosed_error = (random + (tail.sky_error[:, None] * area) ** 2).sqrt()
    at_last = enclosed.gather(1, last[:, None])[:, 0]
    beyond = _beyond(tail, sma, q, last, step)
    total = at_last + beyond
    error_last = enclosed_error.gather(1, last[:, None])[:, 0]
    total_error = torch.hypot(error_last, _TAIL_DOUBT * beyond)
    inner = torch.where(torch.arange(len(sma), device=sma.device) <= last[:, None], enclosed, torch.nan)
    half = radius_where(inner, total / 2, sma, rising=True)
    near = torch.bucketize(half.nan_to_num(1), sma).clamp(1, len(sma) - 1)[:, None]
    steepness = ((light * spread) / sma).gather(1, near)[:, 0]
    half_error = torch.hypot(total_error / 2, enclosed_error.gather(1, near)[:, 0]) / steepness.clamp_min(1e-30)
    return Growth(enclosed, enclosed_error, total, total_error, half, half_error)


def _cumulative(rate: Float[Tensor, "b r"], step: Tensor) -> Float[Tensor, "b r"]:
    """∫ rate d ln a from the first ring to each, by cubics through four neighbours (trapezia at both ends)."""
    piece = (rate[:, 1:] + rate[:, :-1]) / 2
    inner = (13 * (rate[:, 1:-2] + rate[:, 2:-1]) - rate[:, :-3] - rate[:, 3:]) / 24
    piece = torch.cat([piece[:, :1], inner, piece[:, -1:]], 1)
    return torch.cat([torch.zeros_like(rate[:, :1]), piece.cumsum(1)], 1) * step


def _beyond(tail: Tail, sma, q, last, step) -> Float[Tensor, "b"]:
    """Flux of the tail outside the last measured ring."""
    outermost = sma[last][:, None]
    ratio = torch.exp(step * torch.arange(_BEYOND + 1, device=sma.device))
    beyond = outermost * ratio
    rate = tail.light(beyond) * 2 * torch.pi * q.gather(1, last[:, None]) * beyond**2
    return torch.trapezoid(rate, dx=float(step), dim=1)


def radius_where(
    values: Float[Tensor, "b r"], level: Float[Tensor, "b"], sma: Float[Tensor, "r"], rising: bool
) -> Float[Tensor, "b"]:
    """First radius, by interpolation in log radius, at which `values` crosses `level`; NaN where it never does.

    rising : the crossing is from below to above (a curve of growth) rather than downwards (a profile)
    """
    sign = 1.0 if rising else -1.0
    excess = sign * (values - level[:, None])
    crosses = (excess[:, :-1] < 0) & (excess[:, 1:] >= 0)
    found = crosses.any(1)
    index = crosses.to(torch.int8).argmax(1)[:, None]
    low, high = excess.gather(1, index), excess.gather(1, index + 1)
    part = (low / (low - high))[:, 0]
    log_sma = torch.log(sma)
    radius = torch.exp(torch.lerp(log_sma[index[:, 0]], log_sma[index[:, 0] + 1], part))
    return torch.where(found, radius, torch.nan)
