"""Where a network looks: at a whole image, or at windows of the size it knows about what is to be filled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from skyloom.errors import RequestError

ROOM = 1.5  # sides, in terms of those trained on, up to which an image is looked at as a whole


class Frame(NamedTuple):
    """A rectangle on the pixel grid, which may reach beyond the image. keep : rows and columns whose result is used"""

    top: int
    left: int
    height: int
    width: int
    keep: tuple[slice, slice]


def frames(fill: Bool[np.ndarray, "h w"], known: tuple[int, int], multiple: int) -> list[Frame]:
    """Frames that together keep every pixel to fill, in the order in which they are to be looked at.

    known : (H, W) that the network was trained on; multiple : that the sides of a frame must be of
    An image up to ROOM times as large is one frame, centred. In a larger one every pixel is kept from a window that
    has at least a quarter of its side around it, as far as the image goes; later windows see what earlier ones filled.
    """
    sides = [_rounded(side, multiple) for side in known]
    if all(side <= ROOM * size for side, size in zip(fill.shape, sides, strict=True)):
        sides = [max(size, _rounded(side, multiple)) for side, size in zip(fill.shape, sides, strict=True)]
        top, left = (-((size - side) // 2) for size, side in zip(sides, fill.shape, strict=True))
        return [Frame(top, left, sides[0], sides[1], keep=(slice(0, fill.shape[0]), slice(0, fill.shape[1])))]
    remaining, found = fill.copy(), []
    while remaining.any():
        row, column = np.argwhere(remaining)[0]
        top = _placed(int(row) - sides[0] // 4, sides[0], fill.shape[0])
        left = _placed(int(column) - sides[1] // 2, sides[1], fill.shape[1])
        keep = (_middle(top, sides[0], fill.shape[0]), _middle(left, sides[1], fill.shape[1]))
        found.append(Frame(top, left, sides[0], sides[1], keep))
        remaining[keep] = False
    return found


def _rounded(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _placed(start: int, size: int, side: int) -> int:
    """A start at which the window lies inside the image, or about it if it is larger."""
    return -((size - side) // 2) if side <= size else min(max(start, 0), side - size)


def _middle(start: int, size: int, side: int) -> slice:
    """The middle half of a window, and all of it towards a border of the image that it touches."""
    low = 0 if start <= 0 else start + size // 4
    high = side if start + size >= side else start + size - size // 4
    return slice(low, high)


def cut(image: Tensor, frame: Frame, beyond: float | bool) -> Tensor:
    """(…, height, width) of an image (…, h, w); `beyond` where the frame reaches out of it."""
    out = torch.full((*image.shape[:-2], frame.height, frame.width), beyond, dtype=image.dtype)
    there, here = _overlap(frame, image.shape[-2:])
    out[(..., *there)] = image[(..., *here)]
    return out


def kept(frame: Frame, shape: tuple[int, ...]) -> Bool[Tensor, "h w"]:
    """The pixels of an image of a shape whose result a frame decides."""
    pixels = torch.zeros(shape[-2:], dtype=torch.bool)
    pixels[frame.keep] = True
    return pixels


def put(image: Tensor, piece: Tensor, frame: Frame, where: Tensor) -> None:
    """Write a piece (…, height, width) into an image where `where` (…, h, w) is true."""
    there, here = _overlap(frame, image.shape[-2:])
    whole = image.clone()
    whole[(..., *here)] = piece[(..., *there)]
    image.copy_(torch.where(where, whole, image))


def _overlap(frame: Frame, shape) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a frame that lies on the image, in the frame's pixels and in the image's."""
    there, here = [], []
    for start, size, side in zip(frame[:2], frame[2:4], shape, strict=True):
        low, high = max(start, 0), min(start + size, side)
        if low >= high:
            raise RequestError(f"a frame from {start} to {start + size} lies beside an image of {side} pixels")
        there.append(slice(low - start, high - start))
        here.append(slice(low, high))
    return (there[0], there[1]), (here[0], here[1])
