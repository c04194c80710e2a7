"""Images of one kind in memory, sky-subtracted, for a network that makes galaxies; batches turned and shifted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from skyloom.data.cutout import SurveyInfo
from skyloom.data.rings import SKIES, known_sky
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.sky.grid import SYMMETRIES, corner, turn

CHUNK = 64  # cutouts read together
BORDER = 16  # pixels of mirror image about an image that is shifted, so that its ends do not meet
MOST_BAD = 0.02  # share of bad pixels of a plane, above which an image teaches nothing of its survey
Progress = Callable[[int, int | None, str], None]


class ImageBatch(NamedTuple):
    """images : scaled; good : 1 where a pixel counts; labels : standardised, NaN where unknown, or None"""

    images: Float[Tensor, "b c h w"]
    good: Float[Tensor, "b c h w"]
    labels: Float[Tensor, "b l"] | None = None

    def to(self, device: torch.device) -> ImageBatch:
        labels = None if self.labels is None else self.labels.to(device)
        return ImageBatch(self.images.to(device), self.good.to(device), labels)


@dataclass
class ImageSet:
    """flux : sky-subtracted, 0 at bad pixels; bad : rows and masks of the few images that have any; noise : (c,)"""

    ids: tuple[str, ...]
    flux: Float[Tensor, "n c h w"]
    bad: dict[int, Tensor]
    noise: Float[np.ndarray, "c"]
    info: SurveyInfo

    def __len__(self) -> int:
        return len(self.flux)

    def good(self, row: int) -> Float[Tensor, "c h w"]:
        return 1 - self.bad[row].float() if row in self.bad else torch.ones_like(self.flux[row])


def read_images(
    survey: Survey,
    ids: Sequence[str],
    *,
    bands: Sequence[str] = (),
    bin: int = 1,
    size: int = 0,
    fewest: int = 1,
    most_bad: float = MOST_BAD,
    progress: Progress | None = None,
) -> ImageSet:
    """The centres of cutouts, `size` pixels a side after `bin` × `bin` pixels were averaged; 0 for the whole cutout.

    bands : in the order wanted, none for all
    most_bad : largest share of bad pixels in a band; an image that has more, or no sky, is left out
    Raises RequestError if fewer than `fewest` are left, or the size does not fit.
    """
    planes = [survey.info.index(name) for name in (bands or survey.info.band_names)]
    side = min(survey.info.shape) // bin
    size = size or side
    if not 0 < size <= side:
        raise RequestError(
            f"size={size} does not fit into {survey.path.name}, which has {side} pixels a side after bin={bin}"
        )
    rows, stored = survey.rows_of(ids), survey.table(SKIES)
    kept, flux, bad, rms = [], [], [], []
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        pixels, good, level, noise = _read(survey, stored, some, planes, bin, size)
        sound = np.isfinite(level + noise).all(1) & ((~good).mean((2, 3)).max(1) <= most_bad)
        kept += [ids[start + int(k)] for k in np.flatnonzero(sound)]
        flux.append(pixels[sound])
        bad.append(~good[sound])
        rms.append(noise[sound])
        if progress:
            progress(start + len(some), len(rows), f"read {survey.path.name}")
    if len(kept) < fewest:
        raise RequestError(f"no image asked for in {survey.path.name} is sound in {len(planes)} bands; ask for others")
    marks = np.concatenate(bad)
    few = {int(row): torch.from_numpy(marks[row]) for row in np.flatnonzero(marks.any((1, 2, 3)))}
    noise = np.median(np.concatenate(rms), 0) if kept else np.full(len(planes), np.nan)
    return ImageSet(tuple(kept), torch.from_numpy(np.concatenate(flux)), few, noise, survey.info)


def _read(survey: Survey, stored, rows, planes, bin: int, size: int):
    flux, ivar = survey.cutouts_at(rows)
    level, rms = (part[:, planes] for part in known_sky(stored, rows, flux, ivar))
    flux, good = flux[:, planes], np.asarray(ivar[:, planes] > 0)
    light = np.where(good, flux - level[..., None, None], 0).astype(np.float32)
    h, w = (side // bin for side in light.shape[-2:])
    if bin > 1:
        cells = (*light.shape[:2], h, bin, w, bin)
        light = light[..., : h * bin, : w * bin].reshape(cells).mean((3, 5))
        good = np.asarray(good[..., : h * bin, : w * bin].reshape(cells).all((3, 5)))
        light = np.where(good, light, 0).astype(np.float32)
    x0, y0 = corner((w - 1) / 2, (h - 1) / 2, size)
    here = np.s_[..., y0 : y0 + size, x0 : x0 + size]
    return light[here], good[here], level, rms / bin


def image_batches(
    images: ImageSet,
    scaled: Callable[[Tensor], Tensor],
    batch: int,
    *,
    shift: float,
    seed: int,
    labels: Float[Tensor, "n l"] | None = None,
    angles: Sequence[int] = (),
    start: int = 0,
) -> Iterator[ImageBatch]:
    """For ever: `batch` images, each under one of the 8 symmetries and moved by up to `shift` pixels along each axis.

    Every image comes once per epoch. Batch k depends on the set, the arguments and k alone.
    scaled : from flux to what the network sees
    angles : places among the labels of cos 2θ, sin 2θ behind it, of position angles θ, which turn with the image
    """
    for step in count(start):
        draw = np.random.default_rng([seed, 4, step])
        numbers = range(step * batch, (step + 1) * batch)
        rows = np.array(
            [shuffled(seed, number // len(images), len(images))[number % len(images)] for number in numbers]
        )
        turns = draw.integers(0, len(SYMMETRIES), batch)
        moves = draw.uniform(-shift, shift, (batch, 2)).astype(np.float32)
        flux = images.flux[rows]
        if shift:
            flux = moved(flux, torch.from_numpy(moves))
        good = torch.stack([images.good(int(row)) for row in rows])
        yield ImageBatch(
            torch.stack([_turned(plane, int(k)) for plane, k in zip(scaled(flux), turns, strict=True)]),
            torch.stack([_turned(plane, int(k)) for plane, k in zip(good, turns, strict=True)]),
            None if labels is None else _labels_turned(labels[rows], angles, turns),
        )


@lru_cache(maxsize=4)
def shuffled(seed: int, epoch: int, n: int) -> Int[np.ndarray, "n"]:
    """The order of n images in an epoch."""
    return np.random.default_rng([seed, 5, epoch]).permutation(n)


def _turned(planes: Float[Tensor, "c h w"], k: int) -> Float[Tensor, "c h w"]:
    return torch.from_numpy(np.ascontiguousarray(turn(planes.numpy(), k)))


def _labels_turned(labels: Float[Tensor, "b l"], angles: Sequence[int], turns: np.ndarray) -> Float[Tensor, "b l"]:
    """Position angles after a symmetry each (`sky.grid.turn_pa`); the other labels as they are."""
    mirrored = torch.from_numpy(np.where(turns >= 4, -1.0, 1.0)).to(labels)
    quarter = torch.from_numpy(np.where(turns % 2, -1.0, 1.0)).to(labels)
    labels = labels.clone()
    for first in angles:
        labels[:, first] *= quarter
        labels[:, first + 1] *= quarter * mirrored
    return labels


def moved(flux: Float[Tensor, "b c h w"], by: Float[Tensor, "b 2"]) -> Float[Tensor, "b c h w"]:
    """Images whose sky is moved by (dx, dy) pixels each, by a turn of phase: noise and PSF stay as they are.

    `sky.grid.shift`, which interpolates, would smooth the noise, and a generator would learn to draw smooth noise.
    The image is mirrored beyond its edges, so that opposite edges do not meet.
    """
    h, w = flux.shape[-2:]
    border = min(BORDER, h - 1, w - 1)
    wide = F.pad(flux, (border,) * 4, mode="reflect")
    down, across = torch.fft.fftfreq(wide.shape[-2]), torch.fft.rfftfreq(wide.shape[-1])
    phase = by[:, 1, None, None] * down[:, None] + by[:, 0, None, None] * across
    waves = torch.fft.rfft2(wide) * torch.exp(-2j * torch.pi * phase)[:, None]
    back = torch.fft.irfft2(waves, s=wide.shape[-2:])
    return back[..., border : border + h, border : border + w].contiguous()
