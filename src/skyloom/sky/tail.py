"""The sky under a galaxy that fills its frame: a constant and a Sérsic tail, fitted to the outer annuli together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from skyloom.sky.annuli import Annuli

_PRIOR = (0.7, 0.3)  # centre of (ln slope, ln n)
_WIDTH = (0.7, 0.5)
_SKY_WIDTH = 0.3  # how far the sky may lie from the faintest annuli, in units of the light where the tail begins
_MISFIT = 0.03  # how far a galaxy's light may stray from a Sérsic law, as a fraction of it
_STEPS = 15


class Tail(NamedTuple):
    """Sky level and the law that the outer light follows: ln I = log_light − slope · n · ((a/a₀)^(1/n) − 1).

    sky, sky_error : [flux/pixel]
    start : a₀, the radius from which it was fitted [pixel]
    log_light : ln of the light at a₀; slope : −d ln I / d ln a at a₀; n : Sérsic index
    """

    sky: Float[Tensor, "b"]
    sky_error: Float[Tensor, "b"]
    start: Float[Tensor, "b"]
    log_light: Float[Tensor, "b"]
    slope: Float[Tensor, "b"]
    n: Float[Tensor, "b"]

    def light(self, sma: Float[Tensor, "b r"]) -> Float[Tensor, "b r"]:
        """Light of the tail [flux/pixel] at semi-major axes `sma` [pixel], without the sky."""
        return _law(self.log_light, self.slope, self.n, sma / self.start[:, None])


def _law(log_light, slope, index, ratio) -> Tensor:
    n = index[:, None]
    return torch.exp(log_light[:, None] - slope[:, None] * n * (ratio ** (1 / n) - 1))


def fit_tail(annuli: Annuli, sma: Float[Tensor, "r"], start: Float[Tensor, "b"]) -> Tail:
    """Sky and tail of every galaxy from its annuli at a ≥ start.

    start : [pixel], about the half-light radius, outside the seeing disc
    The error of the sky is that of the joint fit, so it grows when the galaxy leaves no blank sky to look at.
    Source: ours. A plain border mean or mode, as in AutoProf, counts the galaxy's own wings as sky.
    """
    ratio = (sma / start[:, None]).double()
    used = torch.isfinite(annuli.mean) & (ratio >= 0.999) & (annuli.share > 0.2)
    data = torch.where(used, annuli.mean, 0.0).double()
    scale = _lowest_rings(data, used)
    noise = torch.where(used, annuli.noise, torch.inf).double()
    peak = ((data - scale[:, None]) * used).amax(1).clamp_min(1e-30)
    prior = torch.stack([scale, peak.log(), *(torch.full_like(peak, centre) for centre in _PRIOR)], -1)
    width = torch.stack(
        [_SKY_WIDTH * peak, torch.full_like(peak, 1e3), *(torch.full_like(peak, width) for width in _WIDTH)], -1
    )
    p = prior
    damping = torch.full_like(peak, 1e-2)
    cost, normal, gradient = _normal_equations(p, data, noise, ratio, prior, width, used)
    for _ in range(_STEPS):
        damped = normal + torch.diag_embed(damping[:, None] * normal.diagonal(dim1=1, dim2=2))
        trial = _bounded(p - torch.linalg.solve(damped, gradient))
        t_cost, t_normal, t_gradient = _normal_equations(trial, data, noise, ratio, prior, width, used)
        better = t_cost < cost
        damping = torch.where(better, damping / 4, damping * 6).clamp(1e-8, 1e8)
        p, gradient = (torch.where(better[:, None], a, b) for a, b in ((trial, p), (t_gradient, gradient)))
        normal = torch.where(better[:, None, None], t_normal, normal)
        cost = torch.where(better, t_cost, cost)
    freedom = (used.sum(1) - 4).clamp_min(1)
    excess = (cost / freedom).clamp_min(1)
    sky_error = (torch.linalg.inv(normal)[:, 0, 0] * excess).clamp_min(0).sqrt()
    kind = annuli.mean.dtype
    return Tail(*(v.to(kind) for v in (p[:, 0], sky_error, start, p[:, 1], p[:, 2].exp(), p[:, 3].exp())))


def _lowest_rings(data: Tensor, used: Tensor) -> Tensor:
    """A first sky: the median of the three faintest annuli."""
    faintest = torch.where(used, data, torch.inf).sort(1).values[:, :3]
    return torch.where(torch.isfinite(faintest), faintest, faintest[:, :1]).median(1).values.nan_to_num(0, 0, 0)


def _bounded(p: Tensor) -> Tensor:
    sky, log_light, log_slope, log_index = p.unbind(-1)
    return torch.stack([sky, log_light, log_slope.clamp(-2.3, 3.4), log_index.clamp(-0.9, 2.1)], -1)


def _normal_equations(p, data, noise, ratio, prior, width, used) -> tuple[Tensor, Tensor, Tensor]:
    """χ² with priors, JᵀJ and Jᵀr at parameters p = (sky, ln I, ln slope, ln n)."""
    slope, n = p[:, 2:3].exp(), p[:, 3:4].exp()
    power = ratio ** (1 / n)
    light = _law(p[:, 1], slope[:, 0], n[:, 0], ratio)
    by_slope = -slope * n * (power - 1) * light
    by_index = -slope * n * (power - 1 - power * ratio.clamp_min(1e-9).log() / n) * light
    error = torch.hypot(noise, _MISFIT * light.detach())
    jacobian = torch.stack([torch.ones_like(light), light, by_slope, by_index], -1) / error[..., None]
    residual = torch.where(used, (p[:, :1] + light - data) / error, 0.0)
    pull = (p - prior) / width
    cost = (residual**2).sum(1) + (pull**2).sum(1)
    normal = jacobian.transpose(1, 2) @ jacobian + torch.diag_embed(width**-2)
    gradient = torch.einsum("brk,br->bk", jacobian, residual) + pull / width
    return cost, normal, gradient
