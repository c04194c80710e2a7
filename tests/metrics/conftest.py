"""A population of galaxies drawn by NumPy alone, and what can go wrong with a generator of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter


def draw_discs(n: int, seed: int, side: int = 32, bands: int = 3, missing: float = 0.0) -> np.ndarray:
    """Exponential discs of many fluxes, colours, sizes and shapes on white noise of rms 1: (n, bands, side, side).

    missing : the share of the population, the brightest, that is missing
    """
    rng = np.random.default_rng(seed)
    flux = np.sort(np.exp(rng.normal(6.5, 0.8, round(n / (1 - missing)))))[:n]
    flux = rng.permutation(flux)[:, None, None]
    size = 2 * (flux / 700) ** 0.3 * np.exp(rng.normal(0, 0.2, (n, 1, 1)))
    ratio, angle = rng.uniform(0.3, 1, (n, 1, 1)), rng.uniform(0, np.pi, (n, 1, 1))
    centre = rng.normal(0, 0.5, (2, n, 1, 1))
    y, x = np.indices((side, side)) - (side - 1) / 2
    y, x = y - centre[0], x - centre[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / ratio
    light = np.exp(-np.sqrt(along**2 + across**2 + 0.5) / size)
    light *= flux / light.sum((1, 2), keepdims=True)
    colour = np.exp(np.arange(bands) * rng.normal(0.3, 0.15, (n, 1)))
    images = light[:, None] * colour[..., None, None] + rng.normal(0, 1, (n, bands, side, side))
    return images.astype(np.float32)


DAMAGE = {
    "blur": lambda images, grade: gaussian_filter(images, (0, 0, 0.6 * grade, 0.6 * grade)),
    "gain": lambda images, grade: images * np.float32(1 + 0.15 * grade),
    "colour": lambda images, grade: images * np.array([1 + 0.3 * grade, 1, 1], np.float32)[:, None, None],
    "dropped": lambda images, grade: images[np.argsort(images.sum((1, 2, 3)))][
        : round(len(images) * (1 - 0.2 * grade))
    ],
}


@pytest.fixture(scope="session")
def discs():
    """The maker `draw_discs`."""
    return draw_discs


@pytest.fixture(scope="session")
def real():
    return draw_discs(300, 1)


@pytest.fixture(scope="session")
def fakes():
    """Fakes from the population of the real, damaged more and more: a function of the kind of damage."""
    honest = draw_discs(300, 2)
    return lambda kind: [honest, *(DAMAGE[kind](honest, grade) for grade in (1, 2))]
