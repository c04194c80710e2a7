"""Light on fitted isophotes: along the ellipse in the core, over whole annuli outside, with honest errors."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from skyloom.sky.ellipse import ellipticity_and_angle, ring_offsets, stretch_table
from skyloom.sky.isophotes import Isophotes
from skyloom.sky.resample import filled, spline_coefficients, spline_sample, window_about

CORE = 8.0  # pixels; inside, light is read along the ellipse, outside it is summed over the pixels of an annulus
SECTORS = 32  # of angle, in an annulus
SAMPLES = 64  # along an ellipse of the core
STEEPEST = 5.0  # −d ln I / d ln a of a disc at five scale lengths
LOOSEST = 0.3  # error of an ellipticity of which nothing is known
FINE = 8  # steps through each annulus at which its slope is followed


class Annuli(NamedTuple):
    """Mean light of b galaxies in r annuli, the sky still in it.

    mean : [flux/pixel]; NaN where fewer than a fifth of the annulus is good
    error : 1σ of the mean from pixel noise, azimuthal structure and the shape's own error
    noise : the part of `error` that comes from pixel noise and structure alone, independent from ring to ring
    share : good fraction of the whole annulus, the part outside the frame counted as bad
    """

    mean: Float[Tensor, "b r"]
    error: Float[Tensor, "b r"]
    noise: Float[Tensor, "b r"]
    share: Float[Tensor, "b r"]


def measure(
    flux: Float[Tensor, "b h w"],
    good: Float[Tensor, "b h w"],
    variance: Float[Tensor, "b h w"],
    isophotes: Isophotes,
    sma: Float[Tensor, "r"],
) -> Annuli:
    """Mean light on every isophote.

    flux : [flux/pixel], 0 where good is 0; variance : of each pixel; sma : radii [pixel], equally spaced in log
    Every pixel counts alike: weights from a variance that was itself measured on the pixel would favour low ones.
    """
    core = sma < CORE
    ring_core = _along(flux, good, variance, isophotes, sma, core)
    ring_out = _across(flux, good, variance, isophotes, sma)
    mean, noise, share = (torch.where(core, a, b) for a, b in zip(ring_core, ring_out, strict=True))
    filled = torch.where(torch.isfinite(mean), mean, isophotes.intensity)
    shape_part = _shape_part(filled, noise, isophotes, sma)
    mean = torch.where(share > 0.2, mean, torch.nan)
    return Annuli(mean, torch.hypot(noise, shape_part), noise, share)


def _shape_part(mean, noise, isophotes: Isophotes, sma) -> Float[Tensor, "b r"]:
    """Error of the mean that a wrong shape brings: the light's slope times how far the ellipse is off on average.

    The slope is taken over five rings and held to STEEPEST, so that where noise rules it does not feed on noise.
    """
    step = torch.log(sma[1] / sma[0])
    slope = _over_neighbours(torch.gradient(mean, dim=1)[0] / step) / 5
    steepest = STEEPEST * torch.maximum(mean, noise)
    q = 1 - torch.hypot(isophotes.e1, isophotes.e2)
    return torch.minimum(slope.abs(), steepest) * isophotes.shape_error.clamp_max(LOOSEST) / (2 * q)


def _along(flux, good, variance, isophotes, sma, core: Bool[Tensor, "r"]) -> tuple[Tensor, ...]:
    """Mean of a cubic-spline image along each ellipse of the core; other rings are left at zero."""
    count = int(core.sum())
    anomaly = torch.arange(SAMPLES, device=flux.device, dtype=flux.dtype) * (2 * torch.pi / SAMPLES)
    dx, dy = ring_offsets(sma[:count], isophotes.e1[:, :count], isophotes.e2[:, :count], anomaly)
    x, y = (dx + isophotes.x[:, None, None]).flatten(1), (dy + isophotes.y[:, None, None]).flatten(1)
    flux, good, variance, x, y = _centre_window(flux, good, variance, isophotes, x, y)
    near = tuple(c.round().long().clamp(0, n - 1) for c, n in ((y, flux.shape[1]), (x, flux.shape[2])))
    which = torch.arange(len(flux), device=flux.device)[:, None]
    seen = good[which, *near].view_as(dx)
    light = spline_sample(spline_coefficients(filled(flux, good)), x, y).view_as(dx)
    scatter = (variance * good)[which, *near].view_as(dx)
    number = seen.sum(-1).clamp_min(1)
    harmonics, basis, _ = _fit_harmonics(light, seen, anomaly)
    residual = seen * (light - torch.einsum("bri,brit->brt", harmonics, basis))
    q = 1 - torch.hypot(isophotes.e1, isophotes.e2)[:, :count]
    pixels = core_pixels(sma[:count], q)
    share = seen.mean(-1)
    spread = torch.maximum(scatter.sum(-1) / number, (residual**2).sum(-1) / number)
    noise = (spread / (pixels * share.clamp_min(0.05))).sqrt()
    parts = (harmonics[..., 0], noise, share)
    return tuple(torch.cat([part, torch.zeros_like(isophotes.e1[:, count:])], 1) for part in parts)


def _centre_window(flux, good, variance, isophotes, x, y) -> tuple[Tensor, ...]:
    """The square around each centre that the core needs, and (x, y) in it; what lies outside the frame is bad."""
    place, inside, left, low = window_about(isophotes.x, isophotes.y, int(CORE) + 12, (flux.shape[1], flux.shape[2]))
    return flux[place] * inside, good[place] * inside, variance[place], x - left, y - low


def core_pixels(sma: Tensor, q: Tensor) -> Tensor:
    """Pixels that the mean of a cubic spline along an ellipse is worth, in white noise: its length, less if flat."""
    return (2 * torch.pi * sma * ((1 + q**2) / 2).sqrt() * (0.7 + 0.3 * q)).clamp_min(1)


def _fit_harmonics(
    light: Float[Tensor, "b r t"], weight: Float[Tensor, "b r t"], anomaly: Float[Tensor, "*b t"]
) -> tuple[Float[Tensor, "b r 5"], Float[Tensor, "b r 5 t"], Float[Tensor, "b r t"]]:
    """Constant and two harmonics, so that a missing sector does not tilt the mean; their basis; each sample's share
    in the constant.

    anomaly : eccentric anomaly of each sample. In plain angle the minor axis of a flat galaxy would get more than its
    share. Where samples are few, a ridge draws the harmonics to zero and the constant to the plain mean.
    """
    waves = [f(m * anomaly) for m in (1, 2) for f in (torch.sin, torch.cos)]
    basis = torch.stack([torch.ones_like(anomaly), *waves], -2).expand(*weight.shape[:2], -1, -1)
    normal = torch.einsum("brt,brit,brjt->brij", weight, basis, basis)
    ridge = torch.tensor([1e-6, 1, 1, 1, 1], device=light.device, dtype=light.dtype) * weight.shape[-1] / 16
    inverse = torch.linalg.inv(normal + torch.diag(ridge))
    harmonics = torch.einsum("brij,brt,brjt->bri", inverse, weight * light, basis)
    return harmonics, basis, weight * torch.einsum("brj,brjt->brt", inverse[..., 0, :], basis)


def _across(flux, good, variance, isophotes, sma) -> tuple[Tensor, ...]:
    """Mean over the pixels of each annulus, reduced to the nominal radius by the local slope, sector by sector."""
    b, r = len(flux), len(sma)
    dx, dy = _from_centre(isophotes, (flux.shape[1], flux.shape[2]))
    angle = torch.atan2(dy, dx)
    place = radial_places(isophotes, sma, dx**2 + dy**2, angle)
    fine = ((place + 0.5) * FINE).clamp(0, r * FINE).to(torch.int32)  # the last one gathers what lies outside
    sector = (angle.remainder(2 * torch.pi) * (SECTORS / (2 * torch.pi))).to(torch.int32).clamp_(max=SECTORS - 1)
    bins = (r * FINE + 1) * SECTORS
    first = torch.arange(b, device=flux.device, dtype=torch.int32)[:, None, None] * bins
    index = (first + fine * SECTORS + sector).flatten()
    sums = [torch.bincount(index, v.flatten(), b * bins) for v in (good, flux * good, variance * good)]
    number, light, scatter = (s.view(b, -1, SECTORS)[:, :-1].reshape(b, r, FINE, SECTORS).to(flux.dtype) for s in sums)
    profile, area = isophotes.intensity, _whole_area(isophotes, sma)
    anomaly = _anomalies(isophotes)
    for _ in range(2):  # the first profile was read on averaged pixels; its own annuli give the slope better
        reduced = (light - number * _excess(profile)[..., None]).sum(2)
        mean, noise, share = _combine(number.sum(2), reduced, scatter.sum(2), area, anomaly)
        profile = torch.where(share > 0.2, mean, profile)
    return mean, noise, share


def _from_centre(isophotes: Isophotes, frame: tuple[int, int]) -> tuple[Float[Tensor, "b 1 w"], Float[Tensor, "b h 1"]]:
    """Columns and rows relative to each centre [pixel]."""
    x, y = isophotes.x, isophotes.y
    columns, rows = (torch.arange(n, device=x.device, dtype=x.dtype) for n in (frame[1], frame[0]))
    return (columns - x[:, None])[:, None, :], (rows - y[:, None])[:, :, None]


def radial_places(
    isophotes: Isophotes, sma: Float[Tensor, "r"], square: Float[Tensor, "b h w"], angle: Float[Tensor, "b h w"]
) -> Float[Tensor, "b h w"]:
    """Where each pixel lies on the ladder of radii: 0 on the first, r − 1 on the last.

    square, angle : its squared distance to the centre [pixel²] and its direction from +x towards +y [rad]
    """
    log_radius = square.clamp_min(1e-4).log().div_(2)
    log_sma = torch.log(sma)
    knots = torch.linspace(float(log_sma[0]) - 2, float(log_sma[-1]), 64, device=sma.device)
    turns = torch.arange(129, device=sma.device) * (torch.pi / 128)
    table = stretch_table(knots, turns, log_sma, isophotes.e1, isophotes.e2)
    across = angle.remainder(torch.pi).mul_(2 / torch.pi).sub_(1)
    along = (log_radius - knots[0]).mul_(2 / float(knots[-1] - knots[0])).sub_(1)
    stretch = F.grid_sample(
        table[:, None], torch.stack([across, along], -1), mode="bilinear", padding_mode="border", align_corners=True
    )[:, 0]
    return (log_radius + stretch - log_sma[0]) / (log_sma[1] - log_sma[0])


def _excess(intensity: Float[Tensor, "b r"]) -> Float[Tensor, "b r fine"]:
    """Light at each of the fine steps through a ring minus that at its nominal radius, by cubic interpolation."""
    padded = torch.cat([2 * intensity[:, :1] - intensity[:, 1:2], intensity, intensity[:, -1:], intensity[:, -1:]], 1)
    before, here, after, beyond = (padded[:, k : k + intensity.shape[1]] for k in range(4))
    first = (after - before) / 2
    second = before - 2 * here + after
    third = (beyond - 3 * after + 3 * here - before) / 6
    t = (torch.arange(FINE, device=intensity.device, dtype=intensity.dtype) + 0.5) / FINE - 0.5
    first, second, third = (c[..., None] for c in (first - third, second, third))
    return first * t + second * t**2 / 2 + third * t**3


def _whole_area(isophotes, sma) -> Float[Tensor, "b r"]:
    """Pixels that each annulus would have were the frame endless."""
    q = 1 - torch.hypot(isophotes.e1, isophotes.e2)
    return torch.pi * q * sma**2 * 2 * torch.sinh(torch.log(sma[1] / sma[0]))


def _anomalies(isophotes: Isophotes) -> Float[Tensor, "b r s"]:
    """Eccentric anomaly of the middle of each sector on each ring."""
    middle = (torch.arange(SECTORS, device=isophotes.e1.device) + 0.5) * (2 * torch.pi / SECTORS)
    ellipticity, major = (v[..., None] for v in ellipticity_and_angle(isophotes.e1, isophotes.e2))
    return torch.atan2(torch.sin(middle - major), torch.cos(middle - major) * (1 - ellipticity))


def _combine(number, light, scatter, area, anomaly) -> tuple[Tensor, ...]:
    """Sector sums to one mean per ring; sectors that disagree by more than their noise raise the error."""
    sectors = light / number.clamp_min(1)
    total = number.sum(-1)
    weight = number / (total[..., None] / SECTORS).clamp_min(1)
    harmonics, basis, share_of_mean = _fit_harmonics(sectors, weight, anomaly)
    residual = sectors - torch.einsum("bri,bris->brs", harmonics, basis)
    expected = scatter / number.clamp_min(1) ** 2
    seen = number > 0
    excess = torch.where(seen, residual**2 / expected.clamp_min(1e-30), 0.0).sum(-1)
    freedom = (seen.sum(-1) - 5).clamp_min(0).to(excess.dtype)
    ratio = _over_neighbours(excess) / _over_neighbours(freedom).clamp_min(1)
    noise = ((share_of_mean**2 * expected).sum(-1) * ratio.clamp_min(1)).sqrt()
    return harmonics[..., 0], noise, (total / area).clamp_max(1)


def _over_neighbours(values: Float[Tensor, "b r"], reach: int = 2) -> Float[Tensor, "b r"]:
    """Sum over each ring and its two neighbours on either side."""
    return F.avg_pool1d(values[:, None], 2 * reach + 1, 1, reach)[:, 0] * (2 * reach + 1)
