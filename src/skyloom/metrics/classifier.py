"""The two-sample classifier test: how well a small classifier tells fake galaxies from real ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.score import Score

FOLDS = 5
FARTHEST = 4.0  # standard deviations to which features are cut, so that no outlier rules
STRENGTH = 0.03  # of the fit over the pull of the weights to 0 (scikit-learn's C)
LEAST = 2 * FOLDS  # galaxies in each sample


def classifier_test(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m D"], seed: int = 0) -> Score:
    """The probability that a classifier finds the fake one of a real and a fake galaxy it has not seen (ROC area).

    A logistic regression on the standardised features and their squares, cross-validated five times; 0.5 says that it
    learned nothing, 1 that every galaxy betrays itself. Features: any; morphology, photometry or an encoder's.
    The error is that of the ranks of unseen galaxies, for the classifiers at hand; Score.n counts both samples. Null:
    `classifier_null`, whose scatter is larger, and which alone says whether a score near 0.5 means anything.
    Squares let it see populations that are too narrow or too wide. Blind to copies of training images, to whatever the
    features do not hold, and to modes that are missing only in a way that neither a mean nor a spread shows.
    Source: Lopez-Paz & Oquab 2017, arXiv:1610.06545; error DeLong et al. 1988, Biometrics 44, 837.
    We differ: the area under the curve, not the accuracy, and cross-validated, so that every galaxy is used.
    """
    _require_comparable(real, fake)
    features = np.concatenate([real, fake]).astype(np.float64)
    is_fake = np.repeat([False, True], [len(real), len(fake)])
    areas, variances = [], []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, is_fake):
        scaler = StandardScaler().fit(features[train])
        net = LogisticRegression(C=STRENGTH, max_iter=500, class_weight="balanced")
        net.fit(_terms(scaler, features[train]), is_fake[train])
        suspicion = net.decision_function(_terms(scaler, features[test]))
        area, variance = _area(suspicion[~is_fake[test]], suspicion[is_fake[test]])
        areas.append(area)
        variances.append(variance)
    return Score(float(np.mean(areas)), float(np.sqrt(np.sum(variances)) / FOLDS), "", len(features))


def classifier_null(n: int, m: int) -> Score:
    """What `classifier_test` says of two samples of one population: 0.5, and by how much it scatters around it.

    √2 times the scatter of the ranks alone: what one fold shares with another by chance counts in both, once as
    training and once as test. In simulations of 1 to 192 features it is 1.25 to 1.55 times.
    Source: Mann & Whitney 1947, Annals of Mathematical Statistics 18, 50. We differ: the factor √2.
    """
    return Score(0.5, float(np.sqrt((n + m + 1) / (6 * n * m))), "", n + m)


def _terms(scaler: StandardScaler, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d2"]:
    """Standardised features, and their squares less 1."""
    scaled = scaler.transform(features).clip(-FARTHEST, FARTHEST)
    return np.concatenate([scaled, scaled**2 - 1], 1)


def _area(real: Shaped[np.ndarray, "n"], fake: Shaped[np.ndarray, "m"]) -> tuple[float, float]:
    """The share of pairs in which the fake one is the more suspicious, ties half, and its variance."""
    n, m = len(real), len(fake)
    ranks = rankdata(np.concatenate([real, fake]))
    above = 1 - (ranks[:n] - rankdata(real)) / m  # of the fake ones, for each real one
    below = (ranks[n:] - rankdata(fake)) / n  # of the real ones, for each fake one
    return float(below.mean()), float(above.var(ddof=1) / n + below.var(ddof=1) / m)


def _require_comparable(real: np.ndarray, fake: np.ndarray) -> None:
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise RequestError(f"features {real.shape} and {fake.shape}; both must be (sample, feature) of one kind")
    if min(len(real), len(fake)) < LEAST:
        raise RequestError(f"{len(real)} real and {len(fake)} fake galaxies; the test needs {LEAST} of each")
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise CatalogueError("features that are not finite; drop those galaxies, and say how many, before scoring")
