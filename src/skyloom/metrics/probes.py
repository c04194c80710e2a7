"""What vectors know: how well a linear model, or the nearest neighbours, read a number or a class out of them.

A score means something only beside those of what needs no learning: photometry and moments, a random encoder, pixels.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.score import Score

Kind = Literal["linear", "knn"]
NEIGHBOURS = 10
PULLS = np.logspace(-1, 5, 13)  # of a ridge's weights to 0, among which it chooses on the training side
STRENGTHS = np.logspace(-4, 1, 6)  # the same for a logistic regression
FARTHEST = 10.0  # standard deviations to which features are cut
RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percentiles
FEWEST = 10  # objects on either side, and of either class
FOLDS = 5


class Probe(NamedTuple):
    """score : R² of a number, ROC area of a class, on unseen objects; low, high : 95 % by bootstrap over them"""

    score: Score
    low: float
    high: float


def probe(
    features: Float[np.ndarray, "n d"],
    target: Shaped[np.ndarray, "n"],
    train: Bool[np.ndarray, "n"],
    test: Bool[np.ndarray, "n"],
    kind: Kind = "linear",
    seed: int = 0,
) -> Probe:
    """Learn the target on one side, and score it on the other.

    features : standardised on the training side; finite
    target : numbers (NaN: the object is left out), or booleans for a class
    kind : ridge or logistic regression, its pull to 0 chosen on the training side; or the mean of the 10 nearest
        neighbours, weighted by distance
    R² is 1 − Σ (error)² / Σ (deviation from the test objects' mean)²: 1 is perfect, 0 no better than one number for
    all, and it may be negative. The area is the share of pairs of two classes that are put in the right order.
    Raises RequestError for fewer than 10 objects on a side or of a class, CatalogueError for features not finite.
    """
    known = np.isfinite(target) if target.dtype != bool else np.ones(len(target), bool)
    train, test = train & known, test & known
    _require_enough(features, target, train, test)
    return _judged(target[test], _found(features, target, train, test, kind), seed)


def cross_probe(
    features: Float[np.ndarray, "n d"],
    target: Shaped[np.ndarray, "n"],
    kind: Kind = "linear",
    folds: int = 5,
    seed: int = 0,
) -> Probe:
    """As `probe`, where there are too few objects for two sides: each fifth is read by what the rest taught.

    The interval is that of the objects; that the folds share most of what they learn from is not in it.
    """
    known = np.isfinite(target) if target.dtype != bool else np.ones(len(target), bool)
    features, target = features[known], target[known]
    fold = np.random.default_rng([seed, 1]).permutation(len(target)) % folds
    found = np.empty(len(target))
    for number in range(folds):
        test = fold == number
        _require_enough(features, target, ~test, test)
        found[test] = _found(features, target, ~test, test, kind)
    return _judged(target, found, seed)


def _found(features, target, train, test, kind: Kind) -> Float[np.ndarray, "m"]:
    """What a model of the one side says of the other."""
    scaler = StandardScaler().fit(features[train])
    own, unseen = (scaler.transform(features[side]).clip(-FARTHEST, FARTHEST) for side in (train, test))
    if kind == "linear" and own.shape[1] > len(own):  # no weight outside the span of what is learnt from is used
        span = np.linalg.svd(own, full_matrices=False)[2]
        own, unseen = own @ span.T, unseen @ span.T
    return (_classified if target.dtype == bool else _read_off)(own, target[train], unseen, kind)


def _judged(truth, found, seed: int) -> Probe:
    measure = _area if truth.dtype == bool else _determination
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(truth), len(truth)) for _ in range(RESAMPLES)]
    again = np.array([measure(truth[rows], found[rows]) for rows in drawn])
    low, high = np.nanpercentile(again, INTERVAL)
    return Probe(Score(measure(truth, found), float(np.nanstd(again)), "", len(truth)), float(low), float(high))


def _require_enough(features, target, train, test) -> None:
    if not np.isfinite(features[train | test]).all():
        raise CatalogueError("features that are not finite; leave those objects out of both sides before probing")
    if (train & test).any():
        raise RequestError(f"{int((train & test).sum())} objects on both sides; split them first")
    if min(train.sum(), test.sum()) < FEWEST:
        raise RequestError(
            f"{train.sum()} objects to learn from and {test.sum()} to test; a probe needs {FEWEST} of each"
        )
    if target.dtype == bool:
        counts = [int((target[side] == sort).sum()) for side in (train, test) for sort in (False, True)]
        if min(counts) < FEWEST:
            raise RequestError(f"{counts} objects of each class on each side; a probe needs {FEWEST} of each")


def _read_off(own, target, unseen, kind: Kind) -> Float[np.ndarray, "m"]:
    if kind == "linear":
        return RidgeCV(PULLS).fit(own, target).predict(unseen)
    return KNeighborsRegressor(min(NEIGHBOURS, len(own)), weights="distance").fit(own, target).predict(unseen)


def _classified(own, target, unseen, kind: Kind) -> Float[np.ndarray, "m"]:
    if kind == "linear":
        net = LogisticRegression(class_weight="balanced", max_iter=500)
        chosen = GridSearchCV(net, {"C": STRENGTHS}, scoring="roc_auc", cv=StratifiedKFold(FOLDS)).fit(own, target)
        return chosen.decision_function(unseen)
    net = KNeighborsClassifier(min(NEIGHBOURS, len(own)), weights="distance").fit(own, target)
    return net.predict_proba(unseen)[:, 1]


def _determination(truth, found) -> float:
    """R²."""
    around = np.square(truth - truth.mean()).sum()
    return float(1 - np.square(truth - found).sum() / around) if around > 0 else np.nan


def _area(truth, found) -> float:
    """Mann & Whitney's share of pairs in the right order, ties half."""
    yes, no = truth.sum(), (~truth).sum()
    if not yes or not no:
        return np.nan
    return float((rankdata(found)[truth].sum() - yes * (yes + 1) / 2) / (yes * no))


def recall_at_one(
    asked: Float[np.ndarray, "q d"], among: Float[np.ndarray, "n d"], answers: Shaped[np.ndarray, "q"], seed: int = 0
) -> Score:
    """Of galaxies seen once more in other conditions, the share whose nearest neighbour is themselves.

    answers : for each of those asked, the row of `among` that is the same galaxy
    Nearest by cosine, after standardising with the mean and spread of `among`. Chance is 1 / n.
    """
    scaler = StandardScaler().fit(among)
    one, other = (scaler.transform(part).clip(-FARTHEST, FARTHEST) for part in (asked, among))
    one, other = (part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12) for part in (one, other))
    right = (one @ other.T).argmax(1) == answers
    again = np.random.default_rng(seed).binomial(len(right), right.mean(), RESAMPLES) / len(right)
    return Score(float(right.mean()), float(again.std()), "", len(right))
