"""One galaxy as it might have been photographed: turned, mirrored, nearer or farther, not quite in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from skyloom.data.images import ImageSet


@dataclass(frozen=True)
class Wobble:
    """How far views of one galaxy may lie apart in training.

    zoom : largest factor, and its inverse, by which a galaxy is enlarged
    shift : largest shift along each axis [pixel of the view]
    dim : standard deviation of the logarithm of the brightness
    """

    zoom: float = 1.0
    shift: float = 0.0
    dim: float = 0.0


class ViewBatch(NamedTuple):
    """images : scaled; labels : what is to be learnt of each"""

    images: Float[Tensor, "b c s s"]
    labels: Float[Tensor, "b k"]

    def to(self, device: torch.device) -> ViewBatch:
        return ViewBatch(self.images.to(device), self.labels.to(device))


def viewed(
    images: Float[Tensor, "b c h w"],
    side: int,
    angle: Float[Tensor, "b"],
    mirrored: Float[Tensor, "b"],
    zoom: Float[Tensor, "b"],
    shift: Float[Tensor, "b 2"],
    reach: float = 1.0,
) -> Float[Tensor, "b c s s"]:
    """The middle of images, `side` pixels a side, turned by an angle [rad], mirrored (−1) or not (1), enlarged, moved.

    reach : pixels of the image to one of the view, without zoom
    Bicubic; beyond the image there is sky, 0. Without turn, zoom, shift and reach pixels are the image's own if both
    sides are even or both odd.
    """
    cosine, sine = angle.cos(), angle.sin()
    scale = reach * side / (images.shape[-1] * zoom), reach * side / (images.shape[-2] * zoom)
    across, down = 2 * shift[:, 0] / side, 2 * shift[:, 1] / side
    first = torch.stack([cosine * mirrored, -sine * mirrored, -(cosine * across - sine * down) * mirrored], 1)
    second = torch.stack([sine, cosine, -(sine * across + cosine * down)], 1)
    matrix = torch.stack([first * scale[0][:, None], second * scale[1][:, None]], 1)
    grid = F.affine_grid(matrix, [len(images), images.shape[1], side, side], align_corners=False)
    return F.grid_sample(images, grid, mode="bicubic", padding_mode="zeros", align_corners=False)


def fixed_views(
    images: Float[Tensor, "b c h w"], side: int, angles: Sequence[float], mirrors: bool, reach: float = 1.0
) -> Iterator[Float[Tensor, "b c s s"]]:
    """The same images once for each angle [deg], and once more mirrored if `mirrors`."""
    one = images.new_ones(len(images))
    for angle in angles:
        for mirrored in (1.0, -1.0) if mirrors else (1.0,):
            yield viewed(
                images,
                side,
                one * float(np.radians(angle)),
                one * mirrored,
                one,
                images.new_zeros(len(images), 2),
                reach,
            )


def view_batches(
    sets: Sequence[ImageSet],
    labels: Sequence[Float[np.ndarray, "n k"]],
    scaled: Callable[[Tensor], Tensor],
    batch: int,
    *,
    side: int,
    reach: float,
    wobble: Wobble,
    seed: int,
    start: int = 0,
) -> Iterator[ViewBatch]:
    """For ever: `batch` images of all sets with their labels, each turned by any angle, mirrored or not, and wobbled.

    Every image comes once per epoch. Batch k depends on the sets, the arguments and k alone.
    scaled : from flux to what the network sees
    """
    place = np.concatenate([np.stack([np.full(len(one), k), np.arange(len(one))], 1) for k, one in enumerate(sets)])
    for step in count(start):
        draw = np.random.default_rng([seed, 6, step])
        rows = place[_rows(seed, step, batch, len(place))]
        angle, mirror, zoom, shift, light = (
            torch.from_numpy(part.astype(np.float32))
            for part in (
                draw.uniform(0, 2 * np.pi, batch),
                draw.choice([-1.0, 1.0], batch),
                wobble.zoom ** draw.uniform(-1, 1, batch),
                wobble.shift * draw.uniform(-1, 1, (batch, 2)),
                np.exp(wobble.dim * draw.standard_normal(batch)),
            )
        )
        flux = torch.stack([sets[k].flux[row] for k, row in rows])
        seen = viewed(flux, side, angle, mirror, zoom, shift, reach) * light[:, None, None, None]
        known = np.stack([labels[k][row] for k, row in rows]).astype(np.float32)
        yield ViewBatch(scaled(seen), torch.from_numpy(known))


def _rows(seed: int, step: int, batch: int, n: int) -> Int[np.ndarray, "b"]:
    """Which of n images come at a step: all of them, shuffled, in every epoch."""
    numbers = np.arange(step * batch, (step + 1) * batch)
    orders = {epoch: np.random.default_rng([seed, 7, epoch]).permutation(n) for epoch in {*(numbers // n).tolist()}}
    return np.array([orders[number // n][number % n] for number in numbers.tolist()])
