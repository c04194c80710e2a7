"""How unlike each other the images of one population are: distances within pairs, of pixels and of features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from skyloom.errors import RequestError
from skyloom.metrics.features import random_features
from skyloom.metrics.score import Score, mean


class Unlike(NamedTuple):
    """Means over pairs. pixels : rms difference of pixels; features : rms difference of random features"""

    pixels: Score
    features: Score


def unlike(
    one: Float32[np.ndarray, "n c h w"], other: Float32[np.ndarray, "n c h w"], seed: int = 0, unit: str = "rms"
) -> Unlike:
    """How far the images of each pair (one[k], other[k]) are apart; errors are a bootstrap over pairs.

    one, other : stretched, N(0, 1) on blank sky; unit : of their pixels. Pairs of pure noise are √2 apart in pixels,
        where the stretch is linear.
    A generator that makes much the same image whatever noise it is given has pairs that are nearer than real ones.
    Blind to whether what differs is right. Features: `RandomEncoder`, which sees no places: two skies of one law are
    near in them though no source of theirs is at one place.
    """
    if one.shape != other.shape:
        raise RequestError(f"images {one.shape} and {other.shape}; pairs need as many of one shape")
    apart = np.sqrt(np.mean((one - other) ** 2, (1, 2, 3), dtype=float))
    found = [random_features(images, seed) for images in (one, other)]
    features = np.sqrt(np.mean((found[0] - found[1]) ** 2, 1, dtype=float))
    return Unlike(mean(apart, unit, seed=seed), mean(features, seed=seed))
