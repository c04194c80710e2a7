"""The nearest galaxy is found whichever way it lies, and how near is usual is said."""

from dataclasses import replace

import numpy as np
import pytest

import skyloom as sl
from skyloom.data import store
from skyloom.errors import RequestError
from skyloom.metrics.nearest import nearest, search
from skyloom.sky.grid import turn

SIDE, NOISE = 32, 0.5


def galaxy(number, sersic_image, seed=0):
    """A galaxy of its own shape on noise of its own."""
    rng = np.random.default_rng([seed, number])
    light = sersic_image(SIDE, flux=30000, r_e=2 + number % 5, axis_ratio=0.3 + 0.1 * (number % 7), pa=0.4 * number)
    flux = np.stack([light * (1 + band) + rng.normal(0, NOISE, light.shape) for band in range(3)])
    return np.asarray(flux, np.float32)


def survey(path, fluxes, names):
    bands = tuple(sl.Band(name, 22.5, 0.7, "nanomaggy") for name in "gri")
    info = sl.SurveyInfo(bands, (SIDE, SIDE), 0.2, source="made up")
    sky = {"sky": np.zeros(3, np.float32), "sky_rms": np.full(3, NOISE, np.float32)}
    cutouts = [
        sl.Cutout(name, np.ascontiguousarray(flux), np.full_like(flux, NOISE**-2), tile=name, **sky)
        for name, flux in zip(names, fluxes, strict=True)
    ]
    return store.write(path, info, cutouts)


@pytest.fixture
def real(tmp_path, sersic_image):
    return survey(
        tmp_path / "real.lance", [galaxy(k, sersic_image) for k in range(35)], [f"real-{k}" for k in range(35)]
    )


@pytest.mark.parametrize("k", [0, 1, 6])
def test_a_turned_copy_in_other_noise_is_found(k, real, tmp_path, sersic_image):
    light = [turn(galaxy(number, sersic_image, seed=1), k) for number in (3, 12, 20)]
    asked = survey(tmp_path / "asked.lance", light, ["a", "b", "c"])
    found = search(asked, real, 2)
    assert found.neighbours[:, 0].tolist() == ["real-3", "real-12", "real-20"]
    assert (found.distance[:, 0] < 0.9 * found.distance[:, 1]).all() and (found.distance[:, 0] < found.usual).all()
    assert found.searched == 35


def test_neighbours_come_nearest_first_by_name_and_can_be_kept(real, tmp_path, sersic_image):
    asked = survey(tmp_path / "asked.lance", [galaxy(7, sersic_image, seed=2)], ["seven"])
    near = nearest(asked.path, real.path, 3)["seven"]
    assert near.ids[0] == "real-7" and list(near.distances) == sorted(near.distances)
    kept = asked.add_columns(search(asked, real, 3).columns())
    assert kept.table(["neighbours"])["neighbours"].to_pylist() == [list(near.ids)]


def test_only_some_are_asked_for_or_looked_through(real, tmp_path, sersic_image):
    asked = survey(tmp_path / "asked.lance", [galaxy(k, sersic_image, seed=3) for k in range(4)], list("abcd"))
    found = search(asked, real, 1, ids=["c", "a"], most=10, seed=1)
    assert found.ids == ("c", "a") and found.searched == 10
    assert search(asked, real, 100).neighbours.shape == (4, 35)


def test_surveys_of_other_bands_are_refused(real, tmp_path, sersic_image):
    other = replace(real.info, bands=tuple(replace(band, name=f"x{band.name}") for band in real.info.bands))
    strange = store.write(tmp_path / "strange.lance", other, real.read())
    with pytest.raises(RequestError, match="bands"):
        search(strange, real)
