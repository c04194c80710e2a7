"""How good classes and their chances are: accuracy, area under the curve, calibration; and fractions of votes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.score import RESAMPLES, Score

BINS = 10  # of chances, of equal width
NULLS = 200  # sets of classes drawn by the chances themselves
SURE = 0.95  # of the intervals in words


class Interval(NamedTuple):
    """A score and the ends of its 95 % interval, by a bootstrap over objects."""

    score: Score
    low: float
    high: float


class Reliable(NamedTuple):
    """Objects whose chance lies between low and high: the mean of it, and the share that has the class."""

    low: float
    high: float
    chance: float
    share: Score


class Calibration(NamedTuple):
    """ece : expected calibration error; null : what it is for chances that are right, at the same n, and its scatter"""

    ece: Interval
    null: Score
    bins: tuple[Reliable, ...]


def accuracy(chances: Float[np.ndarray, "n k"], classes: Int[np.ndarray, "n"]) -> Interval:
    """The share of objects whose likeliest class is theirs."""
    _require(chances, classes)
    right = (chances.argmax(1) == classes).astype(float)
    return _interval(lambda rows: float(right[rows].mean()), len(right))


def area_under_curve(chances: Float[np.ndarray, "n k"], classes: Int[np.ndarray, "n"]) -> Interval:
    """The probability that of two objects the one of a class has the larger chance of it (ROC area), ties half.

    Of two classes: of the second one. Of more: the mean over classes, each against all others.
    Source: Hanley & McNeil 1982, Radiology 143, 29.
    """
    _require(chances, classes)
    wanted = (
        [1]
        if chances.shape[1] == 2
        else [k for k in range(chances.shape[1]) if 0 < (classes == k).sum() < len(classes)]
    )
    if not wanted or len(np.unique(classes)) < 2:
        raise RequestError("every object has one and the same class; an area needs two")

    def area(rows: np.ndarray) -> float:
        return float(np.mean([_area(chances[rows, k], classes[rows] == k) for k in wanted]))

    return _interval(area, len(classes))


def calibration(
    chances: Float[np.ndarray, "n k"], classes: Int[np.ndarray, "n"], bins: int = BINS, seed: int = 0
) -> Calibration:
    """How far chances are from shares: the expected calibration error over bins of equal width, beside its null.

    Of two classes the chance of the second one is binned; of more, that of the likeliest class.
    An error of 0 is out of reach with few objects: `null` is what right chances have, on average and ± its scatter.
    Source: Guo et al. 2017, arXiv:1706.04599, Eq. 3. We differ: of two classes, and the null.
    """
    _require(chances, classes)
    chance, has = _one_chance(chances, classes)
    number = np.minimum((chance * bins).astype(int), bins - 1)
    found = []
    for k in range(bins):
        here = number == k
        if here.any():
            found.append(Reliable(k / bins, (k + 1) / bins, float(chance[here].mean()), _share(has[here])))
    rng = np.random.default_rng(seed)
    drawn = [_ece(chance, rng.random(len(chance)) < chance, number, bins) for _ in range(NULLS)]
    error = _interval(lambda rows: _ece(chance[rows], has[rows], number[rows], bins), len(chance))
    return Calibration(error, Score(float(np.mean(drawn)), float(np.std(drawn)), "", len(chance)), tuple(found))


def fraction_error(predicted: Float[np.ndarray, "n a"], truth: Float[np.ndarray, "n a"]) -> Interval:
    """Root mean square difference over all objects and answers that are known, as Kaggle's Galaxy Challenge has it."""
    if predicted.shape != truth.shape:
        raise RequestError(
            f"fractions {predicted.shape} and {truth.shape}; they must be of the same objects and answers"
        )
    known = np.isfinite(truth)
    square = np.where(known, predicted - np.where(known, truth, predicted), 0.0) ** 2
    total, counts = square.sum(1), known.sum(1)
    return _interval(lambda rows: float(np.sqrt(total[rows].sum() / counts[rows].sum())), len(truth))


def _require(chances: np.ndarray, classes: np.ndarray) -> None:
    if chances.ndim != 2 or len(chances) != len(classes) or len(classes) < 2:
        raise RequestError(f"chances {chances.shape} of {len(classes)} objects; give (object, class) of two or more")
    if not np.isfinite(chances).all():
        raise CatalogueError("chances that are not finite; leave out those objects, and say how many")


def _one_chance(chances, classes) -> tuple[np.ndarray, np.ndarray]:
    if chances.shape[1] == 2:
        return chances[:, 1], classes == 1
    return chances.max(1), chances.argmax(1) == classes


def _share(has: np.ndarray) -> Score:
    """The share, with the error of a binomial law with one more of either kind: not 0 where all are alike."""
    n, guess = len(has), (has.sum() + 1) / (len(has) + 2)
    return Score(float(has.mean()), float(np.sqrt(guess * (1 - guess) / n)), "", n)


def _ece(chance: np.ndarray, has: np.ndarray, number: np.ndarray, bins: int) -> float:
    """Mean over objects of the distance between the mean chance and the share of their bin."""
    gap = np.bincount(number, has - chance, bins)
    return float(np.abs(gap).sum() / len(chance))


def _area(chance: np.ndarray, has: np.ndarray) -> float:
    n = int(has.sum())
    if n in (0, len(has)):
        return np.nan
    return float((rankdata(chance)[has].sum() - n * (n + 1) / 2) / (n * (len(has) - n)))


def _interval(value, n: int, seed: int = 0) -> Interval:
    """A number of rows, and its bootstrap; resamples of which it cannot be had do not count."""
    rng = np.random.default_rng(seed)
    drawn = np.array([value(rng.integers(0, n, n)) for _ in range(RESAMPLES)])
    tail = (1 - SURE) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(Score(value(np.arange(n)), float(np.nanstd(drawn)), "", n), float(low), float(high))
