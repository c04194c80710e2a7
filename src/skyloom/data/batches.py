"""A survey to tensors: shuffled, cropped, turned, shifted, sky-subtracted, stretched; and back to flux.

Batch k depends on the survey, the arguments and k, and on nothing else: not on the number of workers, not on
what was drawn before. So a run killed at step k goes on with `start=k` as if nothing had happened.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from skyloom.data.store import MEASURED, Survey
from skyloom.errors import RequestError
from skyloom.sky.background import sky_level
from skyloom.sky.grid import SYMMETRIES, corner, crop, shift, turn
from skyloom.sky.stretch import stretch as asinh
from skyloom.sky.stretch import unstretch

AHEAD = 2  # batches that each worker has ready or in work
TENSORS = ("flux", "ivar", "sky", "sky_rms", "rows")


@dataclass(frozen=True)
class Augment:
    """What is drawn anew for each cutout of each batch.

    symmetry : one of the 8 symmetries of the square
    shift : largest sub-pixel shift along each axis [pixel]; 0 for none (it interpolates: sky.grid.shift)
    crop : a crop from anywhere in the cutout, instead of its centre
    """

    symmetry: bool = True
    shift: float = 0.5
    crop: bool = True


TRAINING, UNCHANGED = Augment(), Augment(symmetry=False, shift=0.0, crop=False)


@dataclass(frozen=True)
class Batch:
    """Cutouts as a network sees them, and what undoes it.

    flux : stretched, or (stretch=False) in units of the sky's rms; 0 at bad pixels
    ivar : of the flux in units of the sky's rms, before the stretch; 0 at bad pixels
    sky, sky_rms : in the survey's flux unit; 0 and 1 where a band has no good pixel, and then its ivar is 0
    rows, ids : which objects
    """

    flux: Float32[Tensor, "b c h w"]
    ivar: Float32[Tensor, "b c h w"]
    sky: Float32[Tensor, "b c"]
    sky_rms: Float32[Tensor, "b c"]
    rows: Int64[Tensor, "b"]
    ids: tuple[str, ...]
    stretched: bool = True

    def to(self, device: torch.device | str) -> Batch:
        return replace(self, **{name: getattr(self, name).to(device) for name in TENSORS})


def undo(batch: Batch, flux: Float32[Tensor, "b c h w"] | None = None) -> Float32[Tensor, "b c h w"]:
    """Flux in the survey's own unit, sky included: the batch's own, or what a network made of it."""
    flux = batch.flux if flux is None else flux
    if batch.stretched:
        return unstretch(flux, batch.sky, batch.sky_rms)
    return flux * batch.sky_rms[..., None, None] + batch.sky[..., None, None]


def batches(
    survey: Survey,
    size: int,
    batch: int,
    *,
    seed: int,
    start: int = 0,
    epochs: int | None = None,
    ids: Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    augment: Augment | None = TRAINING,
    stretch: bool = True,
    workers: int = 1,
) -> Iterator[Batch]:
    """Batches of `batch` crops of size × size pixels, every object once per epoch, in an order drawn from the seed.

    start : the number of the first batch; those before it are not read
    epochs : stop after so many, with a smaller last batch if need be; None goes on for ever
    ids : the objects to draw from, e.g. one side of a split; None means all
    bands : names, in the order wanted; None means all
    augment : None for centred crops, unturned and unshifted
    stretch : asinh in units of the sky's rms; False leaves the flux linear, in those units
    workers : threads that prepare batches ahead; 0 prepares each when it is asked for. The batches are the same.
    """
    rows = np.arange(len(survey)) if ids is None else survey.rows_of(ids)
    side = min(survey.info.shape)
    if not 0 < size <= side:
        raise RequestError(f"size={size} does not fit into cutouts of {survey.info.shape} pixels; ask for 1 to {side}")
    if batch < 1 or start < 0 or workers < 0 or not len(rows):
        raise RequestError(f"batch={batch}, start={start}, workers={workers} of {len(rows)} objects: need at least one")
    planes = [survey.info.index(name) for name in (bands or survey.info.band_names)]
    prepare = _Preparer(survey, size, batch, seed, planes, augment or UNCHANGED)
    order = _Order(rows, batch, seed, epochs)
    jobs = (partial(prepare, *order(step), stretch) for step in order.steps(start))
    return _in_order(jobs, workers)


def _in_order(jobs: Iterator[Callable[[], Batch]], workers: int) -> Iterator[Batch]:
    """What the jobs return, one after the other, however many threads do them."""
    if not workers:
        for job in jobs:
            yield job()
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    try:
        waiting = deque(map(pool.submit, itertools.islice(jobs, workers * AHEAD)))
        while waiting:
            ready = waiting.popleft().result()
            waiting.extend(map(pool.submit, itertools.islice(jobs, 1)))
            yield ready
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Preparer:
    """Makes batch k, in any thread, from nothing but k."""

    def __init__(self, survey: Survey, size: int, batch: int, seed: int, planes: list[int], augment: Augment):
        self.survey, self.size, self.batch, self.seed = survey, size, batch, seed
        everything = planes == [*range(len(survey.info.bands))]
        self.planes, self.augment = slice(None) if everything else planes, augment
        facts = survey.table(["object_id", *MEASURED])
        self.ids = facts["object_id"]
        self.sky, self.sky_rms = (_per_band(facts[name], len(survey.info.bands))[:, self.planes] for name in MEASURED)
        self._buffers = threading.local()

    def __call__(self, numbers: range, rows: np.ndarray, stretched: bool) -> Batch:
        flux, ivar = (pixels[:, self.planes] for pixels in self._read(rows))
        sky, sky_rms = self._sky(rows, flux, ivar)
        known = np.isfinite(sky) & np.isfinite(sky_rms) & (sky_rms > 0)
        sky, sky_rms = np.where(known, sky, np.float32(0)), np.where(known, sky_rms, np.float32(1))
        ivar *= known[..., None, None]
        pairs = [self._cut(number, *planes) for number, *planes in zip(numbers, flux, ivar, strict=True)]
        flux, ivar = (np.stack(parts) for parts in zip(*pairs, strict=True))
        arrays = (*_normalised(flux, ivar, sky, sky_rms, stretched), sky, sky_rms, rows)
        tensors = dict(zip(TENSORS, map(torch.from_numpy, arrays), strict=True))
        return Batch(**tensors, ids=tuple(self.ids.take(rows).to_pylist()), stretched=stretched)

    def _read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of whole cutouts, in memory that this thread uses again."""
        shape = (len(rows), len(self.survey.info.bands), *self.survey.info.shape)
        if getattr(self._buffers, "shape", None) != shape:
            self._buffers.shape = shape
            self._buffers.pixels = np.empty(shape, np.float32), np.empty(shape, np.float32)
        return self.survey.cutouts_at(rows, *self._buffers.pixels)

    def _sky(self, rows: np.ndarray, flux: np.ndarray, ivar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sky and its rms; those that the survey does not know are measured on the whole cutout, and remembered."""
        unknown = np.flatnonzero(np.isnan(self.sky[rows] + self.sky_rms[rows]).any(axis=1))
        if len(unknown):
            self.sky[rows[unknown]], self.sky_rms[rows[unknown]] = sky_level(flux[unknown], ivar[unknown])
        return self.sky[rows], self.sky_rms[rows]

    def _cut(self, number: int, flux: np.ndarray, ivar: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        draw = np.random.default_rng([self.seed, 1, number])
        height, width = flux.shape[-2:]
        x0, y0 = corner((width - 1) / 2, (height - 1) / 2, self.size)
        free = draw.integers(0, [width - self.size + 1, height - self.size + 1])
        moves = draw.uniform(-self.augment.shift, self.augment.shift, 2)
        k = int(draw.integers(len(SYMMETRIES)))
        if self.augment.crop:
            x0, y0 = map(int, free)
        if self.augment.shift:
            border = int(np.ceil(self.augment.shift))
            flux, ivar = crop(flux, ivar, x0 - border, y0 - border, self.size + 2 * border)
            flux, ivar = shift(flux, ivar, *moves)
            x0, y0 = border, border
        flux, ivar = crop(flux, ivar, x0, y0, self.size)
        return (turn(flux, k), turn(ivar, k)) if self.augment.symmetry else (flux, ivar)


def _normalised(flux, ivar, sky, sky_rms, stretched: bool) -> tuple[np.ndarray, np.ndarray]:
    bad = ivar == 0
    flux[bad] = 0
    flux = asinh(flux, sky, sky_rms) if stretched else (flux - sky[..., None, None]) / sky_rms[..., None, None]
    flux[bad] = 0
    return flux, ivar * np.square(sky_rms)[..., None, None]


def _per_band(column: pa.ChunkedArray, bands: int) -> np.ndarray:
    """(n, bands) float32; NaN where the survey has no value."""
    if column.null_count == len(column):
        return np.full((len(column), bands), np.nan, np.float32)
    missing = [np.nan] * bands
    return np.array([missing if row is None else row for row in column.to_pylist()], np.float32)


class _Order:
    """Which rows come in which batch: a new permutation of all in each epoch."""

    def __init__(self, rows: np.ndarray, batch: int, seed: int, epochs: int | None):
        self.rows, self.batch, self.seed, self.epochs = rows, batch, seed, epochs
        self._shuffled = lru_cache(maxsize=2)(self._shuffle)

    def steps(self, start: int) -> Iterator[int]:
        if self.epochs is None:
            return itertools.count(start)
        return iter(range(start, -(-len(self.rows) * self.epochs // self.batch)))

    def __call__(self, step: int) -> tuple[range, np.ndarray]:
        """Numbers of a batch's cutouts, counted from the beginning of training, and their rows."""
        end = (step + 1) * self.batch
        if self.epochs is not None:
            end = min(end, len(self.rows) * self.epochs)
        numbers = range(step * self.batch, end)
        places = (divmod(number, len(self.rows)) for number in numbers)
        return numbers, np.array([self._shuffled(epoch)[place] for epoch, place in places], np.int64)

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(self.rows)
