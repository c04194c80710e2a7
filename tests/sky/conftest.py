"""Galaxies with a truth that the profile engine is held against."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skyloom.sky.background import sky_level
from skyloom.sky.detection import central_and_neighbours
from skyloom.sky.isophotes import Isophotes, fit_isophotes, radii
from skyloom.sky.profiles import Profiles, extract
from skyloom.sky.sersic import intensity

SAMPLES = 5  # a side of a pixel, over which its light is averaged


def draw_galaxy(shape=(128, 128), centre=None, r_e=12.0, n=1.0, q=0.6, pa=0.5, i_e=100.0) -> np.ndarray:
    """A Sérsic galaxy without PSF or noise, pixel-averaged; i_e [flux/pixel] at r_e [pixel], pa [rad, +x to y]."""
    x0, y0 = ((shape[1] - 1) / 2, (shape[0] - 1) / 2) if centre is None else centre
    fine = [(np.arange(side * SAMPLES) + 0.5) / SAMPLES - 0.5 for side in shape]
    dx, dy = fine[1][None, :] - x0, fine[0][:, None] - y0
    along, across = dx * np.cos(pa) + dy * np.sin(pa), dy * np.cos(pa) - dx * np.sin(pa)
    light = intensity(np.hypot(along, across / q), r_e, n, i_e)
    return light.reshape(shape[0], SAMPLES, shape[1], SAMPLES).mean((1, 3))


def fit(images, rounds=12, noise=1.0, start=(0.1, 0.1), good=None, **prior) -> tuple[Isophotes, torch.Tensor]:
    """Isophotes of sky-subtracted images (b, h, w), searched from the middle of the frame and from one shape."""
    flux = torch.as_tensor(np.asarray(images), dtype=torch.float32)
    good = torch.ones_like(flux) if good is None else torch.as_tensor(good, dtype=torch.float32)
    b, h, w = flux.shape
    sma = radii((h, w))
    x, y = (torch.full((b,), (side - 1) / 2) for side in (w, h))
    e1, e2 = (torch.full((b, len(sma)), e) for e in start)
    law = torch.tensor([[noise**2, 0.0]]).expand(b, 2)
    return fit_isophotes(flux * good, good, law, x, y, e1, e2, sma, rounds, **prior), sma


def extract_images(flux, ivar) -> Profiles:
    """The engine on (b, h, w) images, with the sky and the sources that `infer.profiles` would hand it."""
    flux, ivar = (np.asarray(a, np.float32) for a in (flux, ivar))
    level, rms = sky_level(flux, ivar)
    found = []
    for image, weight, sky, noise in zip(flux, ivar, level, rms, strict=True):
        usable = bool(np.isfinite(sky) and noise > 0)
        signal = np.where(weight > 0, (image - (sky if usable else 0)) / (noise if usable else 1), 0)
        found.append(central_and_neighbours(signal.astype(np.float32), (weight > 0) & usable, 1.0))
    central, sources = (np.array(a) for a in zip(*found, strict=True))
    arrays = flux, ivar, sources, central, level.astype(np.float32), rms.astype(np.float32)
    with torch.inference_mode():
        return extract(*(torch.from_numpy(a) for a in arrays))


@pytest.fixture(scope="session")
def draw() -> Callable[..., np.ndarray]:
    """The maker `draw_galaxy`."""
    return draw_galaxy


@pytest.fixture(scope="session")
def engine() -> SimpleNamespace:
    """`fit` and `extract` on plain arrays."""
    return SimpleNamespace(fit=fit, extract=extract_images)
