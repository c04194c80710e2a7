"""The profile engine: galaxies and the map of their sources in, surface photometry with errors and flags out."""

from __future__ import annotations

from enum import IntFlag
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from skyloom.sky.annuli import Annuli, measure
from skyloom.sky.companions import lopsided, windowed_centre
from skyloom.sky.ellipse import ellipticity_and_angle
from skyloom.sky.growth import Growth, grow, radius_where
from skyloom.sky.isophotes import Isophotes, fit_isophotes, radii
from skyloom.sky.resample import dilate
from skyloom.sky.tail import Tail, fit_tail

ROUNDS = (6, 12)  # of the fit, before and after companions are found
SKY_DOUBT = 1.75  # true errors of the sky on mocks, in units of the formal ones
LOUDEST = 1e12  # rms: a pixel beyond is held there, so that its square is a number
EDGE = 5.0  # significance of the light in the outermost annulus that makes a galaxy larger than its frame
TAIL_LIGHT = 1.0  # light [rms of a pixel] from which outwards the tail is fitted
MARGINS = (2, 4, 8, 16)  # pixels by which a neighbour's mask grows: the first that exceeds a third of its radius


class Flag(IntFlag):
    """What a profile's reader should know. Bits add up; 0 is a clean measurement."""

    NO_WCS = 1  # position angles run from +x towards +y, not from north through east
    NO_ZERO_POINT = 2  # magnitudes are instrumental: -2.5 log10(flux)
    NO_PIXEL_SCALE = 4  # radii are in pixels, areas in square pixels
    TRUNCATED = 8  # the galaxy is larger than the frame: its sky rests on extrapolation
    CROWDED = 16  # neighbours cover more than a quarter of the ellipse of half light
    BAD_CENTRE = 32  # bad pixels within 3 pixels of the centre
    UNSETTLED = 64  # the geometry was still moving when the search ended
    OFF_CENTRE = 128  # the fitted centre lies more than a tenth of the frame from where it was expected
    FAINT = 256  # too faint for a shape, or for half of its light to be seen: geometry comes from the detection
    NOTHING = 512  # no source, or no good pixel, in this band: the row is empty


class Profiles(NamedTuple):
    """Profiles of b galaxies at r radii, in units of pixels and of the input's flux.

    sma : semi-major axes [pixel], the same for all
    light, light_error : on each isophote, sky-subtracted [flux/pixel]; NaN where not measured
    ellipticity, angle : and their errors; angle from +x towards +y [rad]
    last : index of the last ring that stands above its error; −1 if none does
    """

    x: Float[Tensor, "b"]
    y: Float[Tensor, "b"]
    sma: Float[Tensor, "r"]
    light: Float[Tensor, "b r"]
    light_error: Float[Tensor, "b r"]
    ellipticity: Float[Tensor, "b r"]
    ellipticity_error: Float[Tensor, "b r"]
    angle: Float[Tensor, "b r"]
    angle_error: Float[Tensor, "b r"]
    growth: Growth
    sky: Float[Tensor, "b"]
    sky_error: Float[Tensor, "b"]
    last: Int[Tensor, "b"]
    flag: Int[Tensor, "b"]


def extract(
    flux: Float[Tensor, "b h w"],
    ivar: Float[Tensor, "b h w"],
    sources: Int[Tensor, "b h w"],
    central: Int[Tensor, "b"],
    level: Float[Tensor, "b"],
    rms: Float[Tensor, "b"],
) -> Profiles:
    """Surface photometry of the central galaxy of every frame.

    flux, ivar : linear flux as it came, inverse variance; what lies under ivar 0 is never read
    sources, central : segmentation map and the number of the galaxy in it (0: none)
    level, rms : a first sky [flux/pixel], only to start from and to scale by; NaN for a frame without good pixels
    """
    empty = (central == 0) | ~torch.isfinite(level) | ~(rms > 0)
    unit = torch.where(empty, 1.0, rms)
    start = torch.where(empty, 0.0, level)
    usable = (ivar > 0) & ~empty[:, None, None]
    good = (usable & ~_grown_neighbours(sources, central)).to(flux.dtype)
    signal = torch.where(good > 0, (flux - start[:, None, None]) / unit[:, None, None], 0.0).clamp(-LOUDEST, LOUDEST)
    variance = torch.where(good > 0, 1 / (ivar * unit[:, None, None] ** 2), 0.0)
    sma = radii((flux.shape[1], flux.shape[2])).to(flux.device)
    isophotes, good, expected = _fit(signal, good, variance, sources == central[:, None, None], sma)
    signal, variance = signal * good, variance * good
    annuli = measure(signal, good, variance, isophotes, sma)
    profiles = _assemble(isophotes, annuli, sma)
    flag = profiles.flag | _frame_flags(profiles, usable, good, isophotes, expected, empty)
    return _in_flux_units(profiles._replace(flag=flag), unit, start, empty)


def _fit(signal, good, variance, inside, sma) -> tuple[Isophotes, Tensor, tuple[Tensor, Tensor]]:
    """Isophotes fitted twice: the second time without the companions that the first one's centre gives away."""
    h, w = signal.shape[1:]
    middle = torch.full_like(signal[:, 0, 0], (w - 1) / 2), torch.full_like(signal[:, 0, 0], (h - 1) / 2)
    x, y = expected = windowed_centre(signal * inside, *middle)
    noise = _noise_law(signal, good, variance)
    alone = good * ~lopsided(signal, good, variance, x, y)
    e1, e2 = (e[:, None].expand(-1, len(sma)) for e in moments(signal, inside & (alone > 0), x, y))
    for rounds in ROUNDS:
        fit = fit_isophotes(signal * alone, alone, noise, x, y, e1, e2, sma, rounds)
        x, y, e1, e2 = fit.x, fit.y, fit.e1, fit.e2
        if rounds != ROUNDS[-1]:
            alone = good * ~lopsided(signal, good, variance, x, y)
    return fit, alone, expected


def _noise_law(signal, good, variance) -> Float[Tensor, "b 2"]:
    """(variance of a sky pixel, its rise per unit of light), by regression of the variances on the light."""
    count = good.sum((1, 2)).clamp_min(1)
    light, level = ((a * good).sum((1, 2)) / count for a in (signal, variance))
    spread = ((signal - light[:, None, None]) ** 2 * good).sum((1, 2)) / count
    together = ((signal - light[:, None, None]) * variance * good).sum((1, 2)) / count
    rise = (together / spread.clamp_min(1e-30)).clamp_min(0)
    return torch.stack([(level - rise * light).clamp_min(0.1 * level), rise], -1)


def moments(
    signal: Float[Tensor, "b h w"], inside: Bool[Tensor, "b h w"], x: Float[Tensor, "b"], y: Float[Tensor, "b"]
) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
    """Shape (e1, e2) from the light-weighted second moments of the marked pixels about (x, y) [pixel]."""
    light = torch.where(inside, signal.clamp_min(0), 0.0)
    rows, columns = (torch.arange(n, device=signal.device, dtype=signal.dtype) for n in signal.shape[1:])
    dx, dy = columns - x[:, None], rows - y[:, None]
    xx = (light.sum(1) * dx**2).sum(1)
    yy = (light.sum(2) * dy**2).sum(1)
    xy = (torch.bmm(light, dx[..., None])[..., 0] * dy).sum(1)
    # the moments' own ellipticity (1 − q²)/(1 + q²), turned into 1 − q
    c, s = (xx - yy) / (xx + yy).clamp_min(1e-12), 2 * xy / (xx + yy).clamp_min(1e-12)
    length = torch.hypot(c, s).clamp(1e-12, 0.99)
    ellipticity = 1 - ((1 - length) / (1 + length)).sqrt()
    return ellipticity * c / length, ellipticity * s / length


def _grown_neighbours(sources: Tensor, central: Tensor) -> Tensor:
    """Pixels of other sources, each grown by a margin that suits its size: their wings reach past their threshold."""
    b, count = len(sources), int(sources.max()) + 1
    number = sources.long() + torch.arange(b, device=sources.device)[:, None, None] * count
    radius = (torch.bincount(number.flatten(), minlength=b * count) / torch.pi).sqrt()
    size = torch.bucketize(radius / 3, torch.tensor(MARGINS[:-1], device=sources.device)) + 1
    size.view(b, count)[:, 0] = 0  # the sky
    size.view(b, count).scatter_(1, central.long()[:, None], 0)
    size = size.to(torch.uint8)[number]
    mask = size > 0
    for step, margin in enumerate(MARGINS, 1):
        here = size == step
        if here.any():
            mask |= dilate(here, margin) & (sources != central[:, None, None])
    return mask


def _assemble(isophotes: Isophotes, annuli: Annuli, sma: Tensor) -> Profiles:
    """Sky, light, growth and geometry from the annuli, in the engine's own unit."""
    ellipticity, angle = ellipticity_and_angle(isophotes.e1, isophotes.e2)
    angle_error = (isophotes.shape_error / (2 * ellipticity.clamp_min(1e-6))).clamp_max(torch.pi / 12**0.5)
    tail = _sky_under(isophotes, annuli, sma, 1 - ellipticity)
    light = annuli.mean - tail.sky[:, None]
    light_error = torch.hypot(annuli.error, tail.sky_error[:, None])
    last = _last_ring(light, light_error, annuli.share)
    inside = torch.arange(len(sma), device=sma.device) <= last[:, None]
    steady = torch.where(torch.isfinite(light), light, isophotes.intensity - tail.sky[:, None])
    growth = grow(steady, annuli.noise, 1 - ellipticity, sma, last.clamp_min(0), tail)
    growth = growth._replace(enclosed=torch.where(inside, growth.enclosed, torch.nan))
    faint = torch.isinf(isophotes.centre_error) | (last < 4)
    truncated = _bright_edge(annuli, tail, sma)
    faint |= growth.half_light.isnan() & ~truncated
    flag = truncated * int(Flag.TRUNCATED) | (isophotes.moved > 3) * int(Flag.UNSETTLED) | faint * int(Flag.FAINT)
    return Profiles(
        isophotes.x, isophotes.y, sma, light, light_error, ellipticity, isophotes.shape_error, angle, angle_error,
        growth, tail.sky, tail.sky_error, last, flag,
    )  # fmt: skip


def _sky_under(isophotes, annuli, sma, q) -> Tail:
    """The tail fitted from where the galaxy is half gone, or has sunk to a few times the noise, if that is further out.

    A second fit from further out says how far the level depends on that choice: their difference joins the error.
    """
    rough = isophotes.intensity
    furthest = float(sma[-1]) / 4
    fading = radius_where(rough, rough[:, :3].mean(1) / 10, sma, rising=False).nan_to_num(4.0)
    tail = fit_tail(annuli, sma, fading.clamp(4.0, furthest))
    light = torch.where(torch.isfinite(annuli.mean), annuli.mean, rough) - tail.sky[:, None]
    last = _last_ring(light, torch.hypot(annuli.error, tail.sky_error[:, None]), annuli.share).clamp_min(
        min(8, len(sma) - 1)
    )
    half = grow(light, annuli.noise, q, sma, last, tail).half_light.nan_to_num(4.0)
    low = radius_where(light, torch.full_like(half, TAIL_LIGHT), sma, rising=False).nan_to_num(4.0)
    near = torch.maximum(half, low).clamp(4.0, furthest)
    inner, outer = (fit_tail(annuli, sma, start) for start in (near, (near * 1.5).clamp_max(furthest * 1.3)))
    disagreement = (outer.sky - inner.sky).abs()
    return inner._replace(sky_error=SKY_DOUBT * torch.hypot(inner.sky_error, disagreement))


def _bright_edge(annuli: Annuli, tail: Tail, sma: Tensor) -> Bool[Tensor, "b"]:
    """Whether the fitted tail still stands above the noise of the outermost annulus that the frame holds."""
    furthest = (torch.isfinite(annuli.mean) * torch.arange(len(sma), device=sma.device)).amax(1, keepdim=True)
    light = tail.light(sma.expand_as(annuli.mean)).gather(1, furthest)
    return (light > EDGE * annuli.noise.gather(1, furthest))[:, 0]


def _last_ring(light: Tensor, error: Tensor, share: Tensor) -> Tensor:
    """Index of the ring before the first one that sinks below its own error or leaves the frame; −1 for none."""
    stands = (light > error) & (share > 0.2) | (torch.arange(light.shape[1], device=light.device) < 3) & (light > 0)
    return stands.to(torch.int64).cumprod(1).sum(1) - 1


def _frame_flags(profiles, usable, good, isophotes, expected, empty) -> Tensor:
    """Flags that need the pixels: crowding, a bad centre, a centre that wandered, an empty frame."""
    h, w = usable.shape[1:]
    rows, columns = (torch.arange(n, device=usable.device) for n in (h, w))
    distance = torch.hypot(columns - isophotes.x[:, None, None], rows[:, None] - isophotes.y[:, None, None])
    radius = profiles.growth.half_light.nan_to_num(5).clamp_min(3)[:, None, None]
    within = (distance < radius) & usable
    crowded = (within & (good == 0)).sum((1, 2)) > 0.25 * within.sum((1, 2)).clamp_min(1)
    bad_centre = ((distance < 3) & ~usable).any(2).any(1)
    strayed = torch.hypot(isophotes.x - expected[0], isophotes.y - expected[1]) > 0.1 * min(h, w)
    pairs = ((crowded, Flag.CROWDED), (bad_centre, Flag.BAD_CENTRE), (strayed, Flag.OFF_CENTRE), (empty, Flag.NOTHING))
    return sum(condition * int(flag) for condition, flag in pairs)


def _in_flux_units(p: Profiles, unit: Tensor, start: Tensor, empty: Tensor) -> Profiles:
    """Undo the engine's unit; rows of empty frames become NaN."""
    scale = torch.where(empty, torch.nan, unit)
    g = p.growth
    growth = Growth(
        g.enclosed * scale[:, None], g.enclosed_error * scale[:, None], g.total * scale, g.total_error * scale,
        g.half_light, g.half_light_error,
    )  # fmt: skip
    return p._replace(
        light=p.light * scale[:, None],
        light_error=p.light_error * scale[:, None],
        growth=growth,
        sky=p.sky * scale + start,
        sky_error=p.sky_error * scale,
        last=torch.where(empty, -1, p.last),
    )
