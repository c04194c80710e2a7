"""The generators that come with skyloom, beside galaxies that no training saw: sky, fluxes, how smooth cores are."""

import numpy as np
import pytest

import skyloom as sl
from skyloom.checkpoint import shipped
from skyloom.data import store
from skyloom.data.images import read_images
from skyloom.data.mocks.mock import info, mock_cutouts, studio
from skyloom.infer.generator import FACTS

pytest.importorskip("galsim")

N, SIDE, SEED = 96, 64, 77


@pytest.fixture(scope="module")
def mocks(tmp_path_factory):
    path = tmp_path_factory.mktemp("mocks") / "mocks.lance"
    return store.write(path, info(studio(SIDE, "gri", SEED)), mock_cutouts(2 * N, SIDE, "gri", SEED))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return sl.simulate(tmp_path_factory.mktemp("drawn") / "drawn.lance", "galaxy-mock", N, seed=5)


def light(survey) -> np.ndarray:
    """Sky-subtracted flux in units of the sky's rms."""
    images = read_images(survey, survey.table(["object_id"])["object_id"].to_pylist())
    return images.flux.numpy() / images.noise[:, None, None]


def grain(flux: np.ndarray) -> np.ndarray:
    """Second differences, which smooth light does not have and white noise of unit rms has as 1."""
    inner = flux[..., 1:-1, 1:-1]
    around = flux[..., 2:, 1:-1] + flux[..., :-2, 1:-1] + flux[..., 1:-1, 2:] + flux[..., 1:-1, :-2]
    return (4 * inner - around) / np.sqrt(20)


@pytest.mark.slow
def test_mocks_and_what_was_learnt_from_them_have_one_sky_and_one_brightness(mocks, drawn):
    found = sl.score(mocks, drawn, ["sgd", "flux", "noise"])
    rows = {row.found.name: row.found for row in found.rows}
    for band in "gri":
        assert rows[f"{band} rms, fake / real"].score.value == pytest.approx(1, abs=0.04)
        assert abs(rows[f"{band} level, fake − real"].score.value) < 0.03
        median = rows[f"{band} median, real / fake"]
        assert abs(np.log(median.score.value)) < 3 * np.hypot(median.score.error, median.null.error)
    assert rows["sum"].score.value < 3 * rows["sum"].null.value


@pytest.mark.slow
def test_simulated_cores_are_smoother_than_the_sky_as_real_ones_are(mocks, drawn):
    """In an asinh of 4 rms, where photon noise of the bright pixels is smaller than the sky's."""
    core, sky = np.s_[..., 28:35, 28:35], np.s_[..., 1:6, :]
    ratios = []
    for survey in (mocks, drawn):
        scaled = np.arcsinh(light(survey) / 4)
        bright = scaled[:, :, 29:36, 29:36].mean((2, 3)) > 1
        rough = grain(scaled)
        ratios.append(np.sqrt(np.mean(np.square(rough[core][bright]))) / rough[sky].std())
    assert ratios[0] < 0.7 and ratios[1] == pytest.approx(ratios[0], rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped(FACTS))
def test_a_generator_draws_galaxies_in_the_middle_of_its_images(name, tmp_path):
    survey = sl.simulate(tmp_path / "drawn.lance", name, 16, seed=1)
    flux = light(survey)
    side = flux.shape[-1]
    middle = flux[..., side // 4 : -side // 4, side // 4 : -side // 4].mean((2, 3))
    assert np.isfinite(flux).all()
    assert (middle.mean(0) > 1.3 * flux[..., :3, :].mean((0, 2, 3))).all()  # large galaxies reach the edge
