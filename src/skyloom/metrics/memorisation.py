"""Whether a generator gives back the images it was trained on: nearest neighbours, beside a held-out set's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.score import Score, mean

GRID = 16  # images are compared as averages on so many cells along each axis
SAME = 4e-3  # added to distances before their ratio is taken: none is 0
BLOCK, MOST = 1 << 23, 1024  # distances, and fakes, in memory at once
RELABELLINGS = 499
DEPTH, DEEPEST = 16, 128  # neighbours that are looked through for one of the other set, per part of the training set
SHARES = (0.02, 0.05, 0.25, 1.0)  # of the most suspicious fakes, over which suspicion is averaged
WRONG = 0.1  # share of the suspects that may be none


class Suspects(NamedTuple):
    """Fakes that are copies, but for a share of WRONG; the most suspicious first.

    fake, train : places in their sets; distance : between them, as in `neighbours`
    ratio : that distance over the one to the nearest image of the held-out set
    """

    fake: Int[np.ndarray, "s"]
    train: Int[np.ndarray, "s"]
    distance: Float[np.ndarray, "s"]
    ratio: Float[np.ndarray, "s"]


class Memorised(NamedTuple):
    """How much nearer fakes lie to the training set than to a held-out one.

    ratio : geometric mean of the two nearest distances, training over held-out; error : bootstrap over fakes
    null : what it is when nothing was memorised, and how much it then scatters
    p_value : how often images dealt at random to training and held-out sets look as memorised; below 0.01 is an alarm
    share : of the fakes that are suspects
    """

    ratio: Score
    null: Score
    p_value: float
    share: Score
    suspects: Suspects

    @property
    def alarm(self) -> bool:
        return self.p_value < 0.01


def memorisation(
    fake: Float32[np.ndarray, "n c h w"],
    train: Float32[np.ndarray, "t C H W"],
    held_out: Float32[np.ndarray, "u C H W"],
    seed: int = 0,
    relabellings: int = RELABELLINGS,
) -> Memorised:
    """Distances of fakes to their nearest training images, against those to a held-out set of the same population.

    Images are stretched, N(0, 1) on blank sky, and compared as in `neighbours`: copies that were turned, mirrored,
    shifted by a fraction of a pixel, or lie in noise of their own are copies. The p-value is exact for any generator
    that did not see which images were held out: training and held-out images are dealt anew, and the suspicion of the
    most suspicious 2, 5, 25 and 100 % of the fakes is compared. One copy in twenty raises the alarm from 400 fakes on
    (of 200 it had p = 0.02). The suspects are those whose ratio is so small that the held-out set, in the place of the
    training set, would give a tenth as many; it takes ten to be sure of any.
    Unequal sets: of a larger held-out set as many are used as the training set has, drawn by the seed. For a smaller
    one the null says what a larger training set explains, and suspects are sought in equal parts of the training set,
    each no larger than the held-out set, against as many held-out images. A small held-out set finds little.
    What gives a copy away is its light and, averaged over cells, its very noise. Blind to copies of smooth galaxies in
    noise of their own, where the population is so dense that many others are as near; to copies of parts of images; to
    copies made brighter or larger.
    Source: Meehan et al. 2020, arXiv:2004.05675 (a training set, a held-out set and fakes); Barber & Candès 2015,
    arXiv:1404.5609, §1.2 (the suspects: held-out images are the knockoffs).
    We differ: fakes, not held-out images, are what is near to either set; the p-value is a permutation's.
    """
    _require_comparable(fake, train, held_out)
    rng = np.random.default_rng(seed)
    parts = -(-len(train) // len(held_out))
    sides = np.array_split(np.arange(len(train)), parts)
    chosen = np.sort(rng.permutation(len(held_out))[: max(map(len, sides))])
    depth = min(DEPTH * parts, DEEPEST)
    found = [_nearest(fake, train[side], depth) for side in sides]
    nearest = [(side[index], distance) for side, (index, distance) in zip(sides, found, strict=True)]
    index, distance = _nearest(fake, held_out[chosen], depth)
    nearest.append((index + len(train), distance))
    pool = _merged(nearest, depth)
    held = np.arange(len(train) + len(chosen)) >= len(train)
    deals = [held, *(rng.permutation(held) for _ in range(relabellings))]
    suspicion = np.stack([_suspicion(pool, deal) for deal in deals])
    parts_ratio = np.stack([_ratio(one[1][:, 0], distance[:, 0]) for one in nearest[:-1]], 1)
    suspects = _suspects(nearest[:-1], parts_ratio)
    ratio, null = mean(-suspicion[0]), -suspicion[1:].mean(1)
    return Memorised(
        Score(float(np.exp(ratio.value)), float(np.exp(ratio.value) * ratio.error), "", len(fake)),
        Score(float(np.exp(null.mean())), float(np.exp(null).std()), "", len(fake)),
        _p_value(suspicion),
        mean(np.isin(np.arange(len(fake)), suspects.fake).astype(float)),
        suspects,
    )


def neighbours(
    fake: Float32[np.ndarray, "n c h w"], train: Float32[np.ndarray, "t C H W"], k: int = 1
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """The k nearest images of `train` to each of `fake`, nearest first: their places and distances.

    fake, train : stretched, N(0, 1) on blank sky; finite; of one shape
    The distance is the rms difference of averages on 16 × 16 cells, in which noise counts for less than light, in units
    of the noise of a cell: √2 and more for galaxies without noise in common. It is the least over the 8 symmetries of
    a square image, or 4 of another.
    Brute force: 10,000 × 10,000 images of three bands take 20 to 30 s of one core; memory is bounded.
    Source: Smith et al. 2022, MNRAS 511, 1808, arXiv:2111.01713, Fig. 3 (nearest neighbours by pixels).
    We differ: cells, not pixels, and over the symmetries.
    """
    _require_comparable(fake, train)
    if not 0 < k <= len(train):
        raise RequestError(f"{k} neighbours of {len(train)} images; ask for 1 to {len(train)}")
    return _nearest(fake, train, k)


def _nearest(fake: np.ndarray, train: np.ndarray, k: int) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """As `neighbours`, but of a smaller set all there are."""
    k = min(k, len(train))
    cells, theirs = _cells(fake), _cells(train).flatten(1)
    columns = theirs.T.contiguous()
    squares = theirs.square().sum(1)
    index, distance = np.empty((len(fake), k), np.int64), np.empty((len(fake), k))
    step = max(1, min(MOST, BLOCK // len(train)))
    for start in range(0, len(fake), step):
        turned = _symmetries(cells[start : start + step])
        closest = torch.full((turned.shape[1], len(train)), torch.inf)
        for view in turned:
            torch.minimum(closest, torch.addmm(squares, view, columns, alpha=-2), out=closest)
        candidates = closest.topk(min(k + 4, len(train)), 1, largest=False).indices
        exact = _exact(turned, theirs, candidates)
        exact, order = exact.sort(stable=True)
        index[start : start + step] = candidates.gather(1, order)[:, :k].numpy()
        distance[start : start + step] = exact[:, :k].numpy()
    return index, distance


def _cells(images: Float32[np.ndarray, "n c h w"]) -> Float[Tensor, "n c g f"]:
    """Averages on a grid of cells, times the root of the pixels in one, so that white noise keeps its rms of 1."""
    h, w = images.shape[2:]
    grid = min(h, GRID), min(w, GRID)
    noise = (grid[0] * grid[1] / (h * w)) ** 0.5
    cells = torch.empty((*images.shape[:2], *grid))
    for start in range(0, len(images), MOST):
        some = torch.from_numpy(np.ascontiguousarray(images[start : start + MOST], np.float32))
        cells[start : start + MOST] = F.adaptive_avg_pool2d(some, grid) / noise
    return cells


def _symmetries(cells: Float[Tensor, "b c g f"]) -> Float[Tensor, "s b d"]:
    """The images in all orientations that keep their shape, flat."""
    mirrored = [cells, cells.flip(3), cells.flip(2), cells.flip(2, 3)]
    square = cells.shape[2] == cells.shape[3]
    return torch.stack([view.flatten(1) for view in mirrored + [v.mT for v in mirrored if square]])


def _exact(turned: Tensor, train: Float[Tensor, "t d"], candidates: Int[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """Rms differences without the rounding of a product of matrices, which hides how near a copy is."""
    exact = torch.empty(candidates.shape)
    for column in range(candidates.shape[1]):
        difference = turned - train[candidates[:, column]]
        exact[:, column] = difference.square().mean(2).min(0).values.sqrt()
    return exact


def _merged(
    nearest: list[tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]], depth: int
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """The nearest of several sets together."""
    index, distance = (np.concatenate([one[column] for one in nearest], 1) for column in (0, 1))
    order = np.argsort(distance, 1, kind="stable")[:, :depth]
    return np.take_along_axis(index, order, 1), np.take_along_axis(distance, order, 1)


def _suspicion(
    pool: tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]], held: Bool[np.ndarray, "p"]
) -> Float[np.ndarray, "n"]:
    """ln of the distance to the nearest held-out image over that to the nearest training image.

    If none of one kind is among the nearest, the last of them stands for it.
    """
    index, distance = pool
    is_held = held[index]
    nearest = []
    for wanted in (is_held, ~is_held):
        first = np.where(wanted.any(1), wanted.argmax(1), index.shape[1] - 1)
        nearest.append(np.take_along_axis(distance, first[:, None], 1)[:, 0])
    return _ratio(nearest[1], nearest[0])


def _ratio(train: np.ndarray, held_out: np.ndarray) -> Float[np.ndarray, "n"]:
    return np.log((held_out + SAME) / (train + SAME))


def _p_value(suspicion: Float[np.ndarray, "deals n"]) -> float:
    """The share of the deals in which some share of the fakes is as suspicious as in the first, which is the true one.

    The mean suspicion of each share counts in standard deviations over the deals.
    """
    ordered = np.sort(suspicion, 1)[:, ::-1]
    counts = [max(1, round(share * ordered.shape[1])) for share in SHARES]
    means = np.stack([ordered[:, :count].mean(1) for count in counts], 1)
    spread = means.std(0)
    most = ((means - means.mean(0)) / np.where(spread > 0, spread, 1)).max(1)
    return float(np.mean(most >= most[0] - 1e-9))


def _suspects(
    nearest: list[tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]], suspicion: Float[np.ndarray, "n parts"]
) -> Suspects:
    """Fakes above the least suspicion at which the held-out set has WRONG times as many, and one more, in its favour.

    suspicion : of each fake, for each part of the training set
    """
    part = suspicion.argmax(1)
    most = suspicion.max(1)
    falling = np.sort(most[most > 0])[::-1]
    against = np.sort(-suspicion.ravel())
    wrong = 1 + len(against) - np.searchsorted(against, falling)
    allowed = np.flatnonzero(wrong <= WRONG * np.arange(1, len(falling) + 1))
    least = falling[allowed[-1]] if len(allowed) else np.inf
    fakes = np.flatnonzero(most >= least)
    fakes = fakes[np.argsort(-most[fakes], kind="stable")]
    index, distance = (np.stack([one[column][:, 0] for one in nearest], 1) for column in (0, 1))
    here = fakes, part[fakes]
    return Suspects(fakes, index[here], distance[here], np.exp(-most[fakes]))


def _require_comparable(*sets: np.ndarray) -> None:
    shapes = {images.shape[1:] for images in sets}
    if len(shapes) > 1 or min(map(len, sets)) == 0:
        raise RequestError(f"sets of shapes {', '.join(str(one.shape) for one in sets)}; compare images of one shape")
    if not all(np.isfinite(images).all() for images in sets):
        raise CatalogueError("images have pixels that are not finite; set bad pixels to the level of the sky first")
