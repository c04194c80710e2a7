"""How often known sources must be drawn for as many of each brightness to be found again as there were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from skyloom.data.images import ImageSet
from skyloom.infer.fields.painter import Painter
from skyloom.recipes.known_sources import Known, brightness, known_sources
from skyloom.sky.sources import Sources

ROUNDS = 4
BINS = 10  # of brightness, with as many sources each
LIMITS = 0.2, 5.0  # least and largest weight
SIDE = 512  # of the pieces that are made and searched [pixel]
SEED = 1_000_003  # of the first round's sky: not one that a user asks for first


def recounted(painter: Painter, known: Sequence[Known], pieces: int) -> Sources:
    """The painter's sources, weighted.

    Near the threshold a source that was found once, helped by the noise on it, is often missed when it is painted again
    under other noise, and there are more unseen ones below. So the skies that are made are searched as the survey was,
    and each brightness is drawn more or less often, until both have as many of it.
    pieces : of SIDE × SIDE pixels that each round makes
    Source: Richardson 1972, JOSA 62, 55. We differ: a ratio for each bin by itself, without what leaks between them.
    """
    assert painter.sources is not None
    sources, bands = painter.sources, len(painter.info.bands)
    found = brightness(sources.known, bands)
    edges = np.quantile(found, np.linspace(0, 1, BINS + 1))[1:-1]
    own = np.digitize(found, edges)
    wanted = _density(known, edges, bands)
    weights = np.ones(BINS)
    for number in range(ROUNDS):
        sources = replace(sources, weights=weights[own], density=painter.sources.density * weights[own].mean())
        made = _density(_searched(replace(painter, sources=sources), pieces, SEED + number), edges, bands)
        weights = np.clip(weights * (wanted + 1e-9) / (made + 1e-9), *LIMITS)
    return replace(sources, weights=weights[own], density=painter.sources.density * weights[own].mean())


def _searched(painter: Painter, pieces: int, seed: int) -> list[Known]:
    assert painter.noise is not None
    sky = [
        painter.pixels(seed, range(SIDE), range(number * SIDE, (number + 1) * SIDE)) for number in range(pieces)
    ]  # fmt: skip
    images = ImageSet(
        tuple(map(str, range(pieces))), torch.from_numpy(np.stack(sky)), {}, np.array(painter.rms), painter.info
    )
    return known_sources(images, painter.noise)


def _density(known: Sequence[Known], edges: Float[np.ndarray, "e"], bands: int) -> Float[np.ndarray, "b"]:
    """Sources of each brightness per good pixel."""
    marks = np.concatenate([one.counted.marks for one in known])
    counts = np.bincount(np.digitize(brightness(marks, bands), edges), minlength=len(edges) + 1)
    return counts / sum(int(one.good.sum()) for one in known)
