"""All isophotes of many galaxies, fitted together: centre, ellipticity and position angle against radius.

On a trial ellipse the light is I₀ + A₁ sin E + B₁ cos E + A₂ sin 2E + B₂ cos 2E; the first harmonics say how far the
centre is off, the second how far the shape is. Each round reads every ellipse of every galaxy, turns the harmonics into
corrections with errors, and lets a random-walk prior along log radius carry the shape across rings that say little.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skyloom.sky.ellipse import bound, ellipticity_and_angle, ring_offsets
from skyloom.sky.resample import pyramid, sample_layer

ANGLES = 64
LEVELS = 5
WALK = 0.07  # rms change of the shape per square root of e-fold in radius that the prior expects
ARMS = 4.0  # variance of low harmonics that arms and bars bring, in units of what the higher ones show
CERTAINTY = 0.6  # true errors of the shape on mocks, in units of the formal ones
TWIST = 0.5  # and in units of how the fitted shape strays from a smooth run
GAIN = 0.7  # of a round's corrections to the shape: arms answer a change of ellipse more than ellipses do
UNRESOLVED = 1.5  # pixels: of the rings inside, it does not matter whether their shape comes to rest
STEADY = 0.01  # a change of shape below which nobody cares
_SAMPLE = 0.06  # a ring at radius a is read on pixels of at most this fraction of a


class Isophotes(NamedTuple):
    """Fitted ellipses of b galaxies at r radii.

    x, y : centre [pixel]
    e1, e2 : shape, ε (cos 2φ, sin 2φ), φ from +x towards +y
    shape_error : 1σ of e1 and of e2
    centre_error : 1σ of x and of y [pixel]
    intensity : mean over the ring [flux/pixel], rough: for gradients and starts
    moved : how far the shape still moved in the last round, in units of its error (0.01 added to it)
    """

    x: Float[Tensor, "b"]
    y: Float[Tensor, "b"]
    e1: Float[Tensor, "b r"]
    e2: Float[Tensor, "b r"]
    shape_error: Float[Tensor, "b r"]
    centre_error: Float[Tensor, "b"]
    intensity: Float[Tensor, "b r"]
    moved: Float[Tensor, "b"]


def radii(shape: tuple[float, float], first: float = 0.5, growth: float = 1.1) -> Float[Tensor, "r"]:
    """Semi-major axes [pixel] from `first` to the half-diagonal of the frame, each `growth` times the last."""
    last = ((shape[0] / 2) ** 2 + (shape[1] / 2) ** 2) ** 0.5
    count = int(torch.log(torch.tensor(last / first)) / torch.log(torch.tensor(growth))) + 1
    return first * growth ** torch.arange(count, dtype=torch.float32)


def fit_isophotes(
    flux: Float[Tensor, "b h w"],
    good: Float[Tensor, "b h w"],
    noise: Float[Tensor, "b 2"],
    x: Float[Tensor, "b"],
    y: Float[Tensor, "b"],
    e1: Float[Tensor, "b r"],
    e2: Float[Tensor, "b r"],
    sma: Float[Tensor, "r"],
    rounds: int,
    walk: float = WALK,
    arms: float = ARMS,
) -> Isophotes:
    """Centre and shape of the isophotes of every galaxy at every radius.

    flux : sky-subtracted, 0 where good is 0; good : 1 for pixels of this galaxy or of blank sky, else 0
    noise : variance of a sky pixel [flux²], and its rise per unit of light [flux]
    x, y [pixel], e1, e2 : where the search starts
    walk, arms : the prior; a large walk and arms = 0 let every ring follow its own light, arms and all
    Source: Jedrzejewski 1987, MNRAS 226, 747, Eqs. 1-5 (corrections from harmonics); Courteau 1996, ApJS 103, 363
    (smooth geometry in the outskirts).
    We differ: all rings move together, the shape is the pair (e1, e2), one centre serves all rings, and smoothness is a
    prior weighed against each ring's own error instead of a choice by eye.
    """
    layers = pyramid(flux, good, LEVELS)
    groups = _rings_by_layer(sma, len(layers))
    anomaly = torch.arange(ANGLES, device=flux.device, dtype=flux.dtype) * (2 * torch.pi / ANGLES)
    basis = torch.stack([torch.ones_like(anomaly), *(f(m * anomaly) for m in (1, 2) for f in (torch.sin, torch.cos))])
    trust = torch.ones(*e1.shape, ANGLES, device=flux.device, dtype=flux.dtype)
    for round_ in range(rounds):
        light, seen = _read(layers, groups, x, y, sma, e1, e2, anomaly)
        harmonics, spread, trust = _harmonics(light, seen * trust, basis)
        ring = _ring_statistics(harmonics, spread, seen, noise, sma, arms)
        previous = e1, e2
        x, y, centre_error = _move_centre(x, y, harmonics, ring, e1, e2, sma, gain=1.0 if round_ else 0.5)
        e1, e2, shape_error = _move_shape(e1, e2, harmonics, ring, sma, walk)
    shape_error = torch.hypot(CERTAINTY * shape_error, TWIST * torch.hypot(_wiggle(e1), _wiggle(e2)))
    moved = torch.hypot(e1 - previous[0], e2 - previous[1]) / (shape_error + STEADY)
    seen = moved * (sma > UNRESOLVED)
    return Isophotes(x, y, e1, e2, shape_error, centre_error, harmonics[..., 0], seen.amax(1))


class _Rings(NamedTuple):
    slope: Tensor  # dI/da [flux/pixel/pixel], (b, r)
    amplitude_variance: Tensor  # of one harmonic amplitude, (b, r); infinite where the ring says nothing


def _rings_by_layer(sma: Tensor, layers: int) -> list[tuple[int, slice]]:
    """Which consecutive rings are read on which layer of the pyramid."""
    level = torch.log2((_SAMPLE * sma).clamp_min(1)).floor().clamp(0, layers - 1).long().tolist()
    bounds = [index for index in range(1, len(level)) if level[index] != level[index - 1]]
    starts = [0, *bounds]
    return [(level[start], slice(start, stop)) for start, stop in zip(starts, [*bounds, len(level)], strict=True)]


def _read(layers, groups, x, y, sma, e1, e2, anomaly) -> tuple[Float[Tensor, "b r t"], Float[Tensor, "b r t"]]:
    """Flux on every ring at every angle, and 1 where it rests on at least half good pixels, else 0."""
    dx, dy = ring_offsets(sma, e1, e2, anomaly)
    dx, dy = dx + x[:, None, None], dy + y[:, None, None]
    parts = [sample_layer(layers[level], level, dx[:, here], dy[:, here]) for level, here in groups]
    light, good = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    return light, (good > 0.5).to(light.dtype)


def _harmonics(
    light: Float[Tensor, "b r t"], weight: Float[Tensor, "b r t"], basis: Float[Tensor, "5 t"]
) -> tuple[Float[Tensor, "b r 5"], Float[Tensor, "b r"], Float[Tensor, "b r t"]]:
    """Weighted least-squares harmonics, the rms that they leave, and the trust in each sample for the next round."""
    pairs = basis[:, None] * basis[None]
    normal = torch.einsum("brt,ijt->brij", weight, pairs)
    normal.diagonal(dim1=-2, dim2=-1).add_(1e-3)
    projected = torch.einsum("brt,it->bri", weight * light, basis)
    harmonics = torch.linalg.solve(normal, projected)
    residual = light - torch.einsum("bri,it->brt", harmonics, basis)
    count = weight.sum(-1)
    spread = ((weight * residual**2).sum(-1) / (count - 5).clamp_min(1)).sqrt()
    trust = (2.5 * spread[..., None] / residual.abs().clamp_min(1e-30)).clamp_max(1)
    return harmonics, spread, trust


def _independent(sma: Float[Tensor, "r"]) -> tuple[Float[Tensor, "r"], Float[Tensor, "r"]]:
    """Independent samples on each ring, and pixels under each sample."""
    side = 2 ** torch.log2((_SAMPLE * sma).clamp_min(1)).floor().clamp(0, LEVELS - 1)
    samples = (2 * torch.pi * sma / (1.5 * side)).clamp(3, ANGLES)
    return samples, side**2


def _ring_statistics(harmonics, spread, seen, noise, sma, arms) -> _Rings:
    """Radial slope and the variance of a harmonic amplitude; a ring less than half seen, or flat, says nothing."""
    step = torch.log(sma[1] / sma[0])
    mean = harmonics[..., 0]
    share = seen.mean(-1)
    samples, pixels = _independent(sma)
    expected = (noise[:, :1] + noise[:, 1:] * mean.clamp_min(0)) / pixels  # of one sample, from noise alone
    structure = (spread**2 - expected).clamp_min(0)
    variance = torch.maximum(expected, spread**2) / samples / share.clamp_min(0.05)
    padded = torch.cat([mean[:, :1], mean, mean[:, -1:]], 1)
    slope = (padded[:, 2:] - padded[:, :-2]) / (2 * step * sma)
    slope_error = torch.sqrt(2 * variance) / (2 * step * sma)
    says = (share > 0.5) & (slope < -3 * slope_error)
    return _Rings(slope, torch.where(says, 2 * (variance + arms * structure), torch.inf))


def _wiggle(e: Float[Tensor, "b r"], reach: int = 6) -> Float[Tensor, "b r"]:
    """How far a ring's shape strays from a straight line through its neighbours: arms that twist the fit."""
    padded = F.pad(e[:, None], (reach, reach), mode="replicate")
    return e - F.avg_pool1d(padded, 2 * reach + 1, 1)[:, 0]


def _move_centre(x, y, harmonics, ring, e1, e2, sma, gain) -> tuple[Tensor, Tensor, Tensor]:
    """Shift the common centre by the rings' corrections, each weighed by its error; at most 2 pixels a round."""
    ellipticity, angle = ellipticity_and_angle(e1, e2)
    along = -harmonics[..., 2] / ring.slope
    across = -harmonics[..., 1] * (1 - ellipticity) / ring.slope
    dx = along * torch.cos(angle) - across * torch.sin(angle)
    dy = along * torch.sin(angle) + across * torch.cos(angle)
    weight = ring.slope**2 / ring.amplitude_variance
    total = weight.sum(1).clamp_min(1e-30)
    dx = (weight * dx.nan_to_num(0, 0, 0)).sum(1) / total
    dy = (weight * dy.nan_to_num(0, 0, 0)).sum(1) / total
    return x + gain * dx.clamp(-2, 2), y + gain * dy.clamp(-2, 2), total.rsqrt()


def _move_shape(e1, e2, harmonics, ring, sma, walk) -> tuple[Tensor, Tensor, Tensor]:
    """The most probable shapes given the rings' corrections and the random walk, and their error."""
    ellipticity, angle = ellipticity_and_angle(e1, e2)
    q = 1 - ellipticity
    lever = sma * ring.slope
    along = -2 * GAIN * q * harmonics[..., 4] / lever
    across = -4 * GAIN * q * harmonics[..., 3] / ((1 + q) * lever)
    cos, sin = torch.cos(2 * angle), torch.sin(2 * angle)
    precision = (lever / (2 * q)) ** 2 / ring.amplitude_variance
    says = precision > 0
    de1 = torch.where(says, (along * cos - across * sin).clamp(-0.2, 0.2), 0.0)
    de2 = torch.where(says, (along * sin + across * cos).clamp(-0.2, 0.2), 0.0)
    stiffness = 1 / (walk**2 * torch.log(sma[1] / sma[0]))
    links = torch.zeros(len(sma), len(sma), device=sma.device, dtype=torch.float64)
    steps = torch.arange(len(sma) - 1, device=sma.device)
    links[steps, steps + 1] = links[steps + 1, steps] = -stiffness.double()
    links -= torch.diag(links.sum(1))
    matrix = links + torch.diag_embed(precision.double().clamp_max(1e8) + 1e-3)
    targets = precision.double().clamp_max(1e8)[..., None] * torch.stack([e1 + de1, e2 + de2], -1).double()
    inverse = torch.linalg.inv(matrix)
    smooth = (inverse @ targets).to(e1.dtype)
    error = inverse.diagonal(dim1=-2, dim2=-1).sqrt().to(e1.dtype)
    return *bound(smooth[..., 0], smooth[..., 1]), error
