"""A survey of galaxies of three kinds, and an encoder that nobody trained but that tells them apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import skyloom as sl
from skyloom.data import store
from skyloom.infer.embed import Encoder
from skyloom.nn.random_features import RandomEncoder, RandomEncoderConfig
from skyloom.recipes import training
from skyloom.sky.scaling import Asinh

SIDE, NOISE, FILTERS = 32, 0.5, (16, 24, 28)
KINDS = ("round", "long", "pair")


class Random(torch.nn.Module):
    """Random features, whatever bands are there."""

    def __init__(self):
        super().__init__()
        self.net = RandomEncoder(RandomEncoderConfig(bands=3, filters=FILTERS))

    def forward(self, images, seen):
        return self.net(images)


def drawn_light(kind, sersic_image, number=0, scale=1.0, size=SIDE):
    """A galaxy of one kind without noise; scale : of its pixels, larger for more pixels across it"""
    middle = (size - 1) / 2
    shape = {"flux": 4000 + 200 * (number % 5), "pa": 0.5 * number, "size": size}
    if kind == "pair":
        places = [(middle - 4 * scale, middle), (middle + 4 * scale, middle)]
        return sum(sersic_image(**shape, r_e=1.5 * scale, axis_ratio=0.9, centre=place) for place in places)
    return sersic_image(**shape, r_e=(3 + 0.1 * number) * scale, axis_ratio=0.95 if kind == "round" else 0.2)


def drawn(kind, number, sersic_image, seed=0):
    rng = np.random.default_rng([seed, number])
    light = drawn_light(kind, sersic_image, number)
    flux = np.stack([light * (1 + band) + rng.normal(0, NOISE, light.shape) for band in range(3)]).astype(np.float32)
    place = {"ra": 10 + 0.01 * number, "dec": -5 + 0.01 * KINDS.index(kind), "tile": kind}
    return sl.Cutout(f"{kind}-{number}", flux, np.full_like(flux, NOISE**-2), **place, columns={"mag": float(number)})


@pytest.fixture
def light_of(sersic_image):
    """The maker of galaxies without noise: (kind, number, scale, size) to an image."""
    return lambda kind, number=0, scale=1.0, size=SIDE: drawn_light(kind, sersic_image, number, scale, size)


@pytest.fixture
def galaxies(tmp_path, sersic_image):
    """Twelve of each kind in g, r and i."""
    bands = tuple(sl.Band(name, 22.5, 0.7, "nanomaggy") for name in "gri")
    info = sl.SurveyInfo(bands, (SIDE, SIDE), 0.2, source="drawn by tests/recipes/conftest.py")
    cutouts = (drawn(kind, number, sersic_image) for kind in KINDS for number in range(12))
    return store.write(tmp_path / "galaxies.lance", info, cutouts)


@pytest.fixture
def encoder(galaxies):
    noise, width = (NOISE,) * 3, RandomEncoderConfig(3, 0, FILTERS).dimension
    return Encoder(
        "random", "0" * 16, "simclr", galaxies.info, noise, Asinh(noise), 1, width,
        False, lambda device: Random().eval(),
    )  # fmt: skip


@pytest.fixture
def embedded(galaxies, encoder):
    return sl.embed(galaxies, encoder).survey


@pytest.fixture
def train_in_two(monkeypatch):
    """(at, …) as `train` takes them: a run that was stopped after so many steps, its state saved, and then ended."""

    class Stopped(Exception):
        pass

    def train(at, *arguments, **more):
        def stop(done, total, what):
            if what == "steps" and done == at:
                raise Stopped

        monkeypatch.setattr(training, "SAVE", 0.0)
        with pytest.raises(Stopped):
            sl.train(*arguments, **more, progress=stop)
        return sl.train(*arguments, **more)

    return train
