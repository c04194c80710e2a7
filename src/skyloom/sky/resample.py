"""Reading an image between its pixels: cubic B-splines for the core, a pyramid of averages for the outskirts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

_POLE = 3**0.5 - 2  # of the cubic B-spline's inverse filter
_REACH = 8  # taps to each side: the filter has fallen to 3e-5


def spline_coefficients(image: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Coefficients whose cubic B-spline passes through the pixels; the edge is mirrored.

    Source: Unser 1999, IEEE Signal Processing Magazine 16, 22.
    We differ: the recursive filter is cut to 17 taps (relative error 3e-5), so that it is one convolution.
    """
    taps = torch.arange(-_REACH, _REACH + 1, device=image.device)
    kernel = (-6 * _POLE / (1 - _POLE**2)) * _POLE ** taps.abs().to(image.dtype)
    padded = F.pad(image[:, None], (_REACH,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1))
    return F.conv2d(rows, kernel.view(1, 1, -1, 1))[:, 0]


def _spline_weights(fraction: Tensor) -> Tensor:
    """Values of the four cubic B-splines that reach a point `fraction` of a pixel past a knot."""
    t = fraction
    return torch.stack([(1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3], -1) / 6


def spline_sample(
    coefficients: Float[Tensor, "b h w"], x: Float[Tensor, "b n"], y: Float[Tensor, "b n"]
) -> Float[Tensor, "b n"]:
    """Spline value at (x, y) [pixel]; points outside the frame repeat its edge."""
    b, h, w = coefficients.shape
    column, row = x.floor(), y.floor()
    weight_x, weight_y = _spline_weights(x - column), _spline_weights(y - row)
    reach = torch.arange(-1, 3, device=x.device)
    columns = (column.long()[..., None] + reach).clamp(0, w - 1)
    rows = (row.long()[..., None] + reach).clamp(0, h - 1)
    index = (rows[..., :, None] * w + columns[..., None, :]).flatten(1)
    taps = coefficients.flatten(1).gather(1, index).view(b, -1, 4, 4)
    return torch.einsum("bnij,bni,bnj->bn", taps, weight_y, weight_x)


def window_about(
    x: Float[Tensor, "b"], y: Float[Tensor, "b"], half: int, shape: tuple[int, int]
) -> tuple[tuple[Tensor, Tensor, Tensor], Bool[Tensor, "b s s"], Tensor, Tensor]:
    """The square of 2 half + 1 pixels about each centre: where to read it, what lies in the frame, first x and y."""
    offset = torch.arange(-half, half + 1, device=x.device)
    column, row = (torch.round(c).long()[:, None] + offset for c in (x, y))
    h, w = shape
    inside = ((row >= 0) & (row < h))[:, :, None] & ((column >= 0) & (column < w))[:, None, :]
    which = torch.arange(len(x), device=x.device)[:, None, None]
    place = which, row.clamp(0, h - 1)[:, :, None], column.clamp(0, w - 1)[:, None, :]
    return place, inside, column[:, :1], row[:, :1]


def filled(flux: Float[Tensor, "b h w"], good: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Bad pixels replaced by the mean of their good neighbours, so that a spline does not ring."""
    kernel = torch.ones(1, 1, 5, 5, device=flux.device, dtype=flux.dtype)
    total, count = (torch.conv2d(a[:, None], kernel, padding=2)[:, 0] for a in (flux, good))
    return torch.where(good > 0, flux, total / count.clamp_min(1))


def pyramid(flux: Float[Tensor, "b h w"], good: Float[Tensor, "b h w"], levels: int) -> list[Float[Tensor, "b 2 h w"]]:
    """(good flux, good fraction) at 1, 2, 4 … pixels a side, sharpened so that `sample_layer` does not blur.

    flux must be 0 where good is 0. Averaging over a box and reading it bilinearly convolves the image with a kernel of
    known variance; subtracting half that variance times the Laplacian cancels it to fourth order.
    """
    h, w = flux.shape[1:]
    side = 2 ** (levels - 1)
    layer = F.pad(torch.stack([flux, good], 1), (0, -w % side, 0, -h % side))
    layers = []
    for level in range(levels):
        layers.append(_sharpened(layer, (1 - 4.0**-level) / 12 + 1 / 6))
        layer = F.avg_pool2d(layer, 2) if level < levels - 1 else layer
    return layers


def _sharpened(layer: Float[Tensor, "b 2 h w"], variance: float) -> Float[Tensor, "b 2 h w"]:
    """Undo a blur of that variance [pixel²] along each axis, where a pixel and its four neighbours are all good."""
    flux, good = layer.unbind(1)
    whole = good[:, 1:-1, 1:-1] > 0.999
    around = torch.zeros_like(flux[:, 1:-1, 1:-1])
    for rows, columns in ((slice(0, -2), slice(1, -1)), (slice(2, None), slice(1, -1)),
                          (slice(1, -1), slice(0, -2)), (slice(1, -1), slice(2, None))):  # fmt: skip
        around += flux[:, rows, columns]
        whole &= good[:, rows, columns] > 0.999
    sharp = flux.clone()
    inner = sharp[:, 1:-1, 1:-1]
    inner -= torch.where(whole, variance / 2 * (around - 4 * inner), 0.0)
    return torch.stack([sharp, good], 1)


def sample_layer(
    layer: Float[Tensor, "b 2 h w"], level: int, x: Float[Tensor, "b r t"], y: Float[Tensor, "b r t"]
) -> tuple[Float[Tensor, "b r t"], Float[Tensor, "b r t"]]:
    """Mean of the good flux near (x, y) [pixel of the full image] and the good fraction there, by bilinear weights."""
    h, w = layer.shape[2:]
    side = 2**level
    grid = torch.stack([(2 * x + 1) / (side * w) - 1, (2 * y + 1) / (side * h) - 1], -1)
    flux, good = F.grid_sample(layer, grid, mode="bilinear", padding_mode="zeros", align_corners=False).unbind(1)
    return flux / good.clamp_min(1e-6), good


def box_mean(planes: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Mean over 3 × 3 pixels; outside the frame counts as zero."""
    padded = F.pad(planes, (1, 1, 1, 1))
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def dilate(mask: Bool[Tensor, "b h w"], margin: int) -> Bool[Tensor, "b h w"]:
    """A mask grown by `margin` pixels to every side, corners included; reach doubles with every pass."""
    for axis in (1, 2):
        reach = 0
        while reach < margin:
            step = min(reach + 1, margin - reach)
            kept = mask.shape[axis] - step
            if kept <= 0:
                break
            grown = mask.clone()
            grown.narrow(axis, step, kept).logical_or_(mask.narrow(axis, 0, kept))
            grown.narrow(axis, 0, kept).logical_or_(mask.narrow(axis, step, kept))
            mask, reach = grown, reach + step
    return mask
