"""Light that breaks a galaxy's symmetry: stars and companions that a segmentation map counts as its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from skyloom.sky.resample import box_mean, dilate

EXCESS = 5.0  # of the smoothed difference, in units of its noise
CONTRAST = 0.25  # and of the light on the opposite side, which arms and dust do not balance exactly
MARGIN = 2  # pairs of pixels by which what was found is grown: its wings are fainter than its core
REACH = 4.0  # pixels by which a cutout may be off its object
NUCLEUS = 3.0  # pixels about the centre that are left alone


def windowed_centre(
    signal: Float[Tensor, "b h w"], x: Float[Tensor, "b"], y: Float[Tensor, "b"], width: float = 2.0, rounds: int = 8
) -> tuple[Float[Tensor, "b"], Float[Tensor, "b"]]:
    """Centre [pixel] of the light under a Gaussian window of rms `width`, which follows it from a first guess.

    Goes at most REACH pixels along each axis, and stays on the nearest concentration of light: a bright companion a few
    widths away does not draw it.
    Source: the windowed positions of SExtractor, Bertin & Arnouts 1996.
    We differ: fixed width and number of rounds.
    """
    first = x, y
    rows, columns = (torch.arange(n, device=signal.device, dtype=signal.dtype) for n in signal.shape[1:])
    light = signal.clamp_min(0)
    for _ in range(rounds):
        wx = torch.exp(-((columns - x[:, None]) ** 2) / (2 * width**2))
        wy = torch.exp(-((rows - y[:, None]) ** 2) / (2 * width**2))
        across = torch.bmm(wy[:, None], light)[:, 0] * wx
        down = torch.bmm(light, wx[..., None])[..., 0] * wy
        total = across.sum(1).clamp_min(1e-30)
        dx = (across * (columns - x[:, None])).sum(1) / total
        dy = (down * (rows - y[:, None])).sum(1) / total
        x, y = (torch.clamp(c + 2 * d, f - REACH, f + REACH) for c, d, f in zip((x, y), (dx, dy), first, strict=True))
    return x, y


def lopsided(
    signal: Float[Tensor, "b h w"],
    good: Float[Tensor, "b h w"],
    variance: Float[Tensor, "b h w"],
    x: Float[Tensor, "b"],
    y: Float[Tensor, "b"],
) -> Bool[Tensor, "b h w"]:
    """Pixels much brighter than their counterparts half a turn around the centre, judged on 6 × 6 pixels at a time.

    signal, variance (of each pixel) : 0 where good is 0
    Light whose counterpart is bad or outside the frame is left alone, and so is the nucleus.
    """
    h, w = signal.shape[1:]
    planes = F.avg_pool2d(F.pad(torch.stack([signal, good, variance], 1), (0, w % 2, 0, h % 2)), 2)
    planes = box_mean(planes)
    light, seen, noise = planes.unbind(1)
    rows, columns = (torch.arange(n, device=x.device, dtype=x.dtype) * 2 + 0.5 for n in light.shape[1:])
    dx, dy = columns - x[:, None], rows - y[:, None]
    turned = F.grid_sample(
        planes, _points(x[:, None] - dx, y[:, None] - dy, (light.shape[1], light.shape[2])), align_corners=False
    )
    opposite, unseen, counter_noise = turned.unbind(1)
    error = ((noise + counter_noise) / 36).sqrt()
    both = (seen > 0.5) & (unseen > 0.5)
    scale = seen / unseen.clamp_min(0.5)
    found = both & (light - scale * opposite > EXCESS * error + CONTRAST * scale * opposite.clamp_min(0))
    outside = dx[:, None, :] ** 2 + dy[:, :, None] ** 2 > NUCLEUS**2
    return (dilate(found & outside, MARGIN) & outside).repeat_interleave(2, 1).repeat_interleave(2, 2)[:, :h, :w]


def _points(x: Float[Tensor, "b w"], y: Float[Tensor, "b h"], binned: tuple[int, int]) -> Float[Tensor, "b h w 2"]:
    """Grid-sample coordinates, on a frame of pixels binned two by two, of the lattice of columns x and rows y."""
    across, down = (x + 0.5) / binned[1] - 1, (y + 0.5) / binned[0] - 1
    return torch.stack(torch.broadcast_tensors(across[:, None, :], down[:, :, None]), -1)
