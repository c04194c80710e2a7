"""Images unrolled about a centre: rings against angle, where a turn is a shift and a magnification is another."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skyloom.sky.companions import windowed_centre
from skyloom.sky.resample import filled, pyramid, sample_layer, spline_coefficients, spline_sample, window_about

ANGLES = 96
LEVELS = 5
CORE = 8.0  # pixels: rings inside are read on a cubic spline, those outside on averages over wider and wider pixels
FINENESS = 0.06  # a ring at radius r is read on pixels of at most this fraction of r
BRIGHTEST = 1e6  # rms: light beyond is held there


class PolarMap(NamedTuple):
    """What b images show on r rings at ANGLES directions, from +x towards +y.

    light : flux per pixel; 0 where good is 0
    good : share of good pixels under each sample; 0 outside the frame
    weight : 1/σ of a pixel there, averaged
    """

    light: Float[Tensor, "b r a"]
    good: Float[Tensor, "b r a"]
    weight: Float[Tensor, "b r a"]


def unroll(
    flux: Float[Tensor, "b h w"],
    ivar: Float[Tensor, "b h w"],
    x: Float[Tensor, "b"],
    y: Float[Tensor, "b"],
    radius: Float[Tensor, "r"],
) -> PolarMap:
    """Images on rings of some radii [pixel] about (x, y) [pixel].

    flux : linear; what lies under ivar 0 is never read
    True to 0.5 % of the peak everywhere, on galaxies of 1.5 pixels rms or wider (tests/sky/test_polar.py).
    """
    usable = ivar > 0
    good = usable.to(flux.dtype)
    flux, weight = torch.where(usable, flux, 0.0), ivar.sqrt()
    turns = torch.arange(ANGLES, device=flux.device, dtype=flux.dtype) * (2 * torch.pi / ANGLES)
    dx, dy = (radius[:, None] * f(turns) for f in (torch.cos, torch.sin))
    layers, weights = pyramid(flux, good, LEVELS), _averages(weight)
    level = torch.log2((FINENESS * radius).clamp_min(1)).floor().clamp(0, LEVELS - 1).long()
    light, seen, sure = [], [], []
    for k in range(LEVELS):
        here = level == k
        if here.any():
            at = dx[here] + x[:, None, None], dy[here] + y[:, None, None]
            part, share = sample_layer(layers[k], k, *at)
            light.append(part)
            seen.append(share)
            sure.append(sample_layer(weights[k], k, *at)[0])
    found, share, sure_ = (torch.cat(parts, 1) for parts in (light, seen, sure))
    core = int((radius < CORE).sum())
    found[:, :core] = _core(flux, good, x, y, dx[:core], dy[:core])
    return PolarMap(found * (share > 0), share, sure_ * (share > 0))


def _averages(weight: Float[Tensor, "b h w"]) -> list[Float[Tensor, "b 2 h w"]]:
    """Mean 1/σ, bad pixels counted as 0, at 1, 2, 4 … pixels a side, as `sample_layer` reads it."""
    side = 2 ** (LEVELS - 1)
    h, w = weight.shape[1:]
    layer = F.pad(weight[:, None], (0, -w % side, 0, -h % side))
    layers = []
    for level in range(LEVELS):
        layers.append(torch.cat([layer, torch.ones_like(layer)], 1))
        layer = F.avg_pool2d(layer, 2) if level < LEVELS - 1 else layer
    return layers


def _core(flux, good, x, y, dx, dy) -> Float[Tensor, "b r a"]:
    """The innermost rings, on a cubic spline through a window about each centre."""
    place, inside, left, low = window_about(x, y, int(CORE) + 12, (flux.shape[1], flux.shape[2]))
    window, seen = (part[place] * inside for part in (flux, good))
    at_x, at_y = (c[:, None, None] - start[..., None] + d for c, start, d in ((x, left, dx), (y, low, dy)))
    coefficients = spline_coefficients(filled(window, seen))
    return spline_sample(coefficients, at_x.flatten(1), at_y.flatten(1)).view(len(flux), *dx.shape)


def unroll_galaxies(
    flux: Float[Tensor, "b c h w"],
    ivar: Float[Tensor, "b c h w"],
    sky: Float[Tensor, "b c"],
    rms: Float[Tensor, "b c"],
    radius: Float[Tensor, "r"],
    jitter: Float[Tensor, "b 2"] | None = None,
) -> tuple[Float[Tensor, "b c 3 r a"], Float[Tensor, "b"], Float[Tensor, "b"]]:
    """Maps (light, good, weight) of every band in units of its sky's rms, and the centre (x, y) [pixel] of each galaxy.

    The centre is that of the light of all bands under a narrow window in the middle of the frame, plus `jitter`.
    A band without a known sky is bad throughout.
    """
    known = torch.isfinite(sky) & torch.isfinite(rms) & (rms > 0)
    unit = torch.where(known, rms, 1.0)[..., None, None]
    ivar = ivar * known[..., None, None]
    usable = ivar > 0
    light = torch.where(usable, (flux - torch.where(known, sky, 0.0)[..., None, None]) / unit, 0.0)
    light = light.clamp(-BRIGHTEST, BRIGHTEST)
    h, w = flux.shape[-2:]
    across, up = (torch.full_like(sky[:, 0], (side - 1) / 2) for side in (w, h))
    x, y = windowed_centre(light.sum(1), across, up)
    if jitter is not None:
        x, y = x + jitter[:, 0], y + jitter[:, 1]
    bands = flux.shape[1]
    at_x, at_y = (c.repeat_interleave(bands) for c in (x, y))
    maps = unroll(light.flatten(0, 1), (ivar * unit**2).flatten(0, 1), at_x, at_y, radius)
    return torch.stack(maps, 1).unflatten(0, (-1, bands)), x, y
