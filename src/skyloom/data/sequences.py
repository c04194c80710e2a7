"""Images and profiles on equal steps, in memory: what a network that writes profiles is trained on.

Batch k depends on the set, the arguments and k alone, as in `data.batches`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from skyloom.data.cutout import SurveyInfo
from skyloom.data.profiles import read_profiles
from skyloom.data.rings import SKIES, known_sky, unit_of_light
from skyloom.data.store import Survey
from skyloom.errors import RequestError, UnitError
from skyloom.sky.normalise import bin_mean, clip_percentile
from skyloom.sky.steps import STEP, cut_at_limit, on_steps

CHUNK = 16  # cutouts prepared together
NANOMAGGY = 22.5  # zero point of the flux that the network sees [AB mag]
DEPTH = 2.5  # [mag] below one rms of a pixel, where the truth of a mock is cut: it has no end of its own
Progress = Callable[[int, int | None, str], None]


class Pairs(NamedTuple):
    """Images and profiles: `images` [nanomaggy per pixel], prepared; `sb` [mag/arcsec²], NaN beyond `length`."""

    images: Float[Tensor, "b h w"]
    sb: Float[Tensor, "b t"]
    length: Int[Tensor, "b"]


@dataclass
class SequenceSet:
    """Band-images of one survey, binned and clipped, in float16 units of `unit` [nanomaggy], beside their profiles."""

    images: Float[Tensor, "n h w"]
    unit: float
    sb: Float[Tensor, "n t"]
    length: Int[Tensor, "n"]

    def __len__(self) -> int:
        return len(self.images)

    def pairs(self, rows: np.ndarray, shifts: Int[np.ndarray, "b 2"], turns: np.ndarray) -> Pairs:
        """Some rows, each image moved by so many pixels (what enters is empty sky) and turned by quarters."""
        images = torch.stack([
            torch.rot90(_moved(self.images[row].float() * self.unit, *map(int, shift)), int(turn))
            for row, shift, turn in zip(rows, shifts, turns, strict=True)
        ])  # fmt: skip
        return Pairs(images, self.sb[rows], self.length[rows])


def _moved(image: Float[Tensor, "h w"], dx: int, dy: int) -> Float[Tensor, "h w"]:
    moved = torch.zeros_like(image)
    h, w = image.shape
    moved[max(dy, 0) : h + min(dy, 0), max(dx, 0) : w + min(dx, 0)] = image[
        max(-dy, 0) : h - max(dy, 0), max(-dx, 0) : w - max(dx, 0)
    ]
    return moved


def read_sequences(
    survey: Survey, target: str, ids: Sequence[str], *, bin: int, percent: float, progress: Progress | None = None
) -> SequenceSet:
    """Every band of the objects as an image of its own, with the profile called `target` on steps of 0.2 arcsec.

    bin : pixels averaged to one along each axis; percent : of the clip
    The truth of a mock is cut where it falls DEPTH below the noise of a pixel; measured profiles keep their own end.
    Raises UnitError without zero points or a pixel scale, RequestError if no object has a profile.
    """
    require_units(survey.info)
    rows, profiles = survey.rows_of(ids), read_profiles(survey, target)
    stored = survey.table(SKIES)
    pieces = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts, done = [], 0
        for piece, part in zip(
            pieces, pool.map(lambda some: images_of(survey, stored, some, bin, percent), pieces), strict=True
        ):
            parts.append((part.images / part.rms[..., None, None].float(), part.rms))
            done += len(piece)
            if progress:
                progress(done, len(rows), f"read {survey.path.name}")
    rms = torch.cat([part[1] for part in parts])
    unit = float(rms.median())
    images = torch.cat([(image * (noise / unit)[..., None, None]).half() for image, noise in parts])
    sequences = [
        _sequence(profiles[row][band], survey.info, band, float(rms[k, band]), cut=target.startswith("true"))
        for k, row in enumerate(rows)
        for band in range(len(survey.info.bands))
    ]
    kept = np.array([k for k, sequence in enumerate(sequences) if len(sequence)], np.int64)
    if not len(kept):
        raise RequestError(f"no object asked for in {survey.path.name} has a profile {target!r}; choose another target")
    length = torch.tensor([len(sequences[k]) for k in kept])
    sb = torch.full((len(kept), int(length.max())), torch.nan)
    for place, k in enumerate(kept):
        sb[place, : length[place]] = torch.from_numpy(sequences[k])
    return SequenceSet(images.flatten(0, 1)[kept], unit, sb, length)


class Prepared(NamedTuple):
    """images : (b, c, h, w), binned and clipped [nanomaggy]; rms : of the sky in one pixel as it came [nanomaggy]"""

    images: Float[Tensor, "b c h w"]
    rms: Float[Tensor, "b c"]


def images_of(survey: Survey, stored: pa.Table, rows, bin: int, percent: float) -> Prepared:
    """Images as the network takes them but for the min–max, sky-subtracted; 0 under bad pixels."""
    flux, ivar = survey.cutouts_at(rows)
    level, rms = known_sky(stored, rows, flux, ivar)
    return prepared(flux, ivar, level, rms, survey.info, bin, percent)


def prepared(flux, ivar, level, rms, info: SurveyInfo, bin: int, percent: float) -> Prepared:
    """The same from pixels (b, c, h, w) and their skies (b, c)."""
    scale = np.array([10 ** (0.4 * (NANOMAGGY - (band.zero_point or 0.0))) for band in info.bands])
    good = (ivar > 0) & np.isfinite(level)[..., None, None]
    light = np.where(good, flux - level[..., None, None], 0) * scale[:, None, None]
    light_, good_ = (torch.from_numpy(part).flatten(0, 1) for part in (light.astype(np.float32), good))
    images = clip_percentile(*(binned := bin_mean(light_, good_, bin)), percent).masked_fill(~binned[1], 0)
    return Prepared(images.unflatten(0, flux.shape[:2]), torch.from_numpy((rms * scale).astype(np.float32)))


def require_units(info: SurveyInfo) -> None:
    """UnitError if surface brightness against arcsec means nothing in this survey."""
    bare = [band.name for band in info.bands if band.zero_point is None]
    lacking = [f"a zero point in {', '.join(bare)}"] * bool(bare) + ["a pixel scale"] * (info.pixel_scale is None)
    if lacking:
        raise UnitError(
            f"pix2prof sees flux in nanomaggies and writes mag/arcsec²; the survey lacks {' and '.join(lacking)}: "
            "give it when you ingest (--zero-point, --pixel-scale)"
        )


def _sequence(profile, info: SurveyInfo, band: int, rms: float, cut: bool) -> np.ndarray:
    if profile is None:
        return np.empty(0, np.float32)
    sb = on_steps(profile.sma, profile.sb, STEP)
    if not cut:
        return sb
    assert info.pixel_scale is not None
    return cut_at_limit(sb, unit_of_light(NANOMAGGY, rms) + 5 * np.log10(info.pixel_scale) + DEPTH)


def sequence_batches(
    sets: Sequence[SequenceSet], batch: int, *, wobble: int, seed: int, start: int = 0
) -> Iterator[Pairs]:
    """For ever: `batch` band-images from one set, moved by up to `wobble` pixels along each axis and turned."""
    sizes = np.array([len(one) for one in sets], float)
    for step in count(start):
        draw = np.random.default_rng([seed, 3, step])
        one = sets[int(draw.choice(len(sets), p=sizes / sizes.sum()))]
        rows = draw.integers(0, len(one), batch)
        yield one.pairs(rows, draw.integers(-wobble, wobble + 1, (batch, 2)), draw.integers(0, 4, batch))
