"""What can be said of a galaxy's looks without learning from images: always beside what was learnt.

Each baseline is a list of numbers per galaxy, and the simplest model on them: a logistic regression for classes, a
ridge regression for fractions. How strongly a model is held back is chosen by cross-validation on what it learns from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skyloom.data.images import ImageSet
from skyloom.errors import RequestError
from skyloom.metrics.features import random_features
from skyloom.metrics.morphology import morphology
from skyloom.metrics.photometry import photometry
from skyloom.nn.random_features import RandomEncoderConfig
from skyloom.sky.moments import light

GRID = 16  # pixels along each axis that the linear model sees
FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
PULLS = (1.0, 10.0, 100.0, 1e3, 1e4)
APERTURE = 12.0  # diameter for magnitudes [pixel]


def measured_features(images: ImageSet) -> Float[np.ndarray, "n d"]:
    """Photometry and moments: magnitudes, colours, sizes, shapes; a number and a mark where one cannot be measured."""
    flux = images.flux.numpy()
    middle = flux.shape[1] // 2
    aperture = photometry(
        flux, None, [None] * flux.shape[1], aperture=min(APERTURE, flux.shape[-1] - 1), reference=middle
    )
    noise = np.maximum(images.noise, 1e-12)
    shapes = morphology(flux[:, middle], np.full(len(flux), noise[middle]))
    spread = np.array([light(one, noise) for one in flux])
    found = np.column_stack(
        [
            aperture.magnitudes,
            aperture.colours,
            np.log(aperture.r_e),
            *shapes,
            *spread.T,
            *_second_moments(flux, noise).T,
        ]
    )
    known = np.isfinite(found)
    typical = np.nanmedian(np.where(known, found, np.nan), 0, keepdims=True)
    return np.concatenate([np.where(known, found, np.nan_to_num(typical)), ~known], 1)


def random_encoder_features(images: ImageSet) -> Float[np.ndarray, "n d"]:
    """Features of an encoder that nobody trained."""
    unit = np.maximum(images.noise, 1e-12)[:, None, None]
    side = images.flux.shape[-1] // (multiple := RandomEncoderConfig().multiple) * multiple
    return random_features(np.arcsinh(images.flux.numpy()[..., :side, :side] / unit).astype(np.float32))


def pixel_features(images: ImageSet) -> Float[np.ndarray, "n d"]:
    """The pixels, averaged onto a coarse grid, in the stretch of networks."""
    unit = torch.from_numpy(np.maximum(images.noise, 1e-12).astype(np.float32))[:, None, None]
    return F.adaptive_avg_pool2d(torch.asinh(images.flux / unit), GRID).flatten(1).numpy()


BASELINES: Mapping[str, Callable[[ImageSet], Float[np.ndarray, "n d"]]] = {
    "photometry and moments": measured_features,
    "random encoder": random_encoder_features,
    "linear on pixels": pixel_features,
}


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


def _second_moments(flux: Float[np.ndarray, "n c h w"], noise: Float[np.ndarray, "c"]) -> Float[np.ndarray, "n 3"]:
    """Log width, ellipticity and log peak of the light that is seen in all bands together."""
    together = (flux / noise[:, None, None]).sum(1) / np.sqrt(len(noise))
    weight = np.where(together > 3, together, 0.0)
    h, w = weight.shape[1:]
    y, x = np.indices((h, w)) - np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    total = weight.sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        xx, yy, xy = ((weight * product).sum((1, 2)) / total for product in (x * x, y * y, x * y))
        bright = together[:, h // 2 - 1 : h // 2 + 2, w // 2 - 1 : w // 2 + 2].mean((1, 2))
        return np.column_stack(
            [np.log(xx + yy), np.hypot(xx - yy, 2 * xy) / (xx + yy), np.log(np.maximum(bright, 1e-3))]
        )
