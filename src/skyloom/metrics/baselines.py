"""What can be said of a galaxy's looks without learning from images: always beside what was learnt.

Each baseline is a list of numbers per galaxy (`metrics.plain_features`), and the simplest model on them: a logistic
regression for classes, a ridge regression for fractions. How strongly a model is held back is chosen by
cross-validation on what it learns from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Float32, Int
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skyloom.data.images import ImageSet
from skyloom.errors import RequestError
from skyloom.metrics.plain_features import as_catalogued, coarse_pixels, of_random_encoder

FOLDS = 5
Features = Callable[[Float32[np.ndarray, "n c h w"], Float[np.ndarray, "c"]], Float[np.ndarray, "n d"]]
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
PULLS = (1.0, 10.0, 100.0, 1e3, 1e4)


BASELINES: Mapping[
    str, Callable[[Float32[np.ndarray, "n c h w"], Float[np.ndarray, "c"]], Float[np.ndarray, "n d"]]
] = {
    "photometry and moments": as_catalogued,
    "random encoder": of_random_encoder,
    "linear on pixels": coarse_pixels,
}


def features_of(name: str, images: ImageSet) -> Float[np.ndarray, "n d"]:
    """The numbers of every galaxy that a baseline learns from."""
    return BASELINES[name](images.flux.numpy(), np.asarray(images.noise))


def chances_by(
    learn: Float[np.ndarray, "n d"], classes: Int[np.ndarray, "n"], judge: Float[np.ndarray, "m d"], seed: int = 0
) -> Float[np.ndarray, "m k"]:
    """Chances of classes 0 … k − 1 by a logistic regression on standardised features."""
    if np.bincount(classes).min() < FOLDS:
        raise RequestError(f"a class has {np.bincount(classes).min()} objects to learn from; baselines need {FOLDS}")
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    net = GridSearchCV(LogisticRegression(max_iter=500), {"C": STRENGTHS}, scoring="neg_log_loss", cv=folds)
    return _scaled(net).fit(learn, classes).predict_proba(judge)


def fractions_by(
    learn: Float[np.ndarray, "n d"], fractions: Float[np.ndarray, "n a"], judge: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "m a"]:
    """Fractions by a ridge regression on standardised features, within 0 and 1; unknown ones count as the mean."""
    known = np.where(np.isfinite(fractions), fractions, np.nanmean(fractions, 0))
    return _scaled(RidgeCV(alphas=PULLS)).fit(learn, known).predict(judge).clip(0, 1)


def mean_fractions(fractions: Float[np.ndarray, "n a"], count: int) -> Float[np.ndarray, "m a"]:
    """The mean galaxy, again and again: what any model must beat."""
    return np.tile(np.nanmean(fractions, 0), (count, 1))


def _scaled(model) -> Pipeline:
    return make_pipeline(StandardScaler(), model)
