"""What was said of galaxies' looks beside what is known, and three baselines that learnt from the same objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from skyloom.data.images import ImageSet
from skyloom.metrics.baselines import BASELINES, chances_by, features_of, fractions_by, mean_fractions
from skyloom.metrics.classification import (
    Calibration,
    Interval,
    accuracy,
    area_under_curve,
    calibration,
    fraction_error,
)
from skyloom.metrics.score import Score, mean


class ClassesJudged(NamedTuple):
    """Chances of classes, judged on objects that nothing was learnt from."""

    name: str
    accuracy: Interval
    area: Interval
    calibration: Calibration


class FractionsJudged(NamedTuple):
    """Fractions of votes, judged; covered : the shares of fractions within stated intervals, by level"""

    name: str
    error: Interval
    covered: dict[float, Score]


def judge_classes(name: str, chances: Float[np.ndarray, "n k"], classes: Int[np.ndarray, "n"]) -> ClassesJudged:
    """Accuracy, area under the curve and calibration of chances."""
    return ClassesJudged(
        name, accuracy(chances, classes), area_under_curve(chances, classes), calibration(chances, classes)
    )


def judge_fractions(
    name: str,
    fractions: Float[np.ndarray, "n a"],
    truth: Float[np.ndarray, "n a"],
    intervals: dict[float, tuple[Float[np.ndarray, "n a"], Float[np.ndarray, "n a"]]] | None = None,
) -> FractionsJudged:
    """The error over all answers, and how often intervals hold what they state. Errors are over galaxies."""
    galaxy = np.repeat(np.arange(len(truth)), truth.shape[1])
    covered = {}
    for level, (low, high) in (intervals or {}).items():
        inside = np.where(np.isfinite(truth), (truth >= low) & (truth <= high), np.nan)
        covered[level] = mean(inside.ravel(), "", galaxy)
    return FractionsJudged(name, fraction_error(fractions, truth), covered)


def baselines_of_classes(
    learn: ImageSet, known: Int[np.ndarray, "n"], judge: ImageSet, truth: Int[np.ndarray, "m"]
) -> Iterator[ClassesJudged]:
    """The three baselines, each taught on one set and judged on the other."""
    for name in BASELINES:
        yield judge_classes(name, chances_by(features_of(name, learn), known, features_of(name, judge)), truth)


def baselines_of_fractions(
    learn: ImageSet, known: Float[np.ndarray, "n a"], judge: ImageSet, truth: Float[np.ndarray, "m a"]
) -> Iterator[FractionsJudged]:
    """The three baselines, and the mean galaxy, which any of them must beat."""
    for name in BASELINES:
        yield judge_fractions(name, fractions_by(features_of(name, learn), known, features_of(name, judge)), truth)
    yield judge_fractions("the mean galaxy", mean_fractions(known, len(truth)), truth)
