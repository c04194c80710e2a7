"""What a network of polar maps is trained on: turned truly, and the same for the same seed."""

import numpy as np
import pytest
import torch

import skyloom as sl
from skyloom.data.profiles import read_profiles
from skyloom.data.rings import JITTER, read_rings, ring_batches, unit_of_light
from skyloom.errors import RequestError
from skyloom.sky.polar import ANGLES

pytest.importorskip("galsim")


@pytest.fixture(scope="module")
def mocks(tmp_path_factory):
    return sl.mock(tmp_path_factory.mktemp("rings") / "mocks.lance", 4, size=48, bands="gr", seed=5)


@pytest.fixture(scope="module")
def rings(mocks):
    return read_rings(mocks, "true", names(mocks), seed=1)


def names(survey):
    return survey.table(["object_id"])["object_id"].to_pylist()


def test_profiles_on_the_rings_are_the_truth_in_units_of_the_skys_rms(mocks, rings):
    profile = read_profiles(mocks, "true")[2][1]
    sma, scale = rings.radius.numpy() * mocks.info.pixel_scale, mocks.info.pixel_scale
    inside = (sma > profile.sma[0]) & (sma < profile.sma[-1])
    expected = np.interp(np.log(sma[inside]), np.log(profile.sma), profile.sb)
    shifted = rings.profiles["sb"][2, 1][inside]
    unit = expected - shifted
    assert np.ptp(unit) < 1e-4
    rms = 10 ** (-0.4 * (unit.mean() - 5 * np.log10(scale) - mocks.info.bands[1].zero_point))
    assert rms == pytest.approx(mocks.table(["true_sky_rms_r"])["true_sky_rms_r"][2].as_py(), rel=0.1)
    assert unit_of_light(None, 1.0) == 0


def test_centres_are_relative_to_the_maps(mocks, rings):
    exact = read_rings(mocks, "true", names(mocks), seed=1, jitter=0.0)
    assert np.abs(exact.profiles["x"]).max() < 1.0
    moved = exact.profiles["x"] - rings.profiles["x"]
    assert 0 < np.abs(moved).max() < 5 * JITTER


def test_turning_the_image_turns_the_shape_and_the_centre(rings):
    rows, bands = np.arange(4), [0, 1]
    plain = rings.batch(rows, bands, np.zeros(4, int), np.zeros(4, bool))
    turned = rings.batch(rows, bands, np.full(4, ANGLES // 4), np.zeros(4, bool))
    torch.testing.assert_close(turned.maps, plain.maps.roll(ANGLES // 4, -1))
    torch.testing.assert_close(turned.e1, -plain.e1, equal_nan=True)
    torch.testing.assert_close(turned.x, -plain.y)
    torch.testing.assert_close(turned.y, plain.x)


def test_mirroring_the_image_mirrors_the_shape_and_the_centre(rings):
    rows = np.arange(4)
    plain = rings.batch(rows, [0], np.zeros(4, int), np.zeros(4, bool))
    mirrored = rings.batch(rows, [0], np.zeros(4, int), np.ones(4, bool))
    torch.testing.assert_close(mirrored.maps[..., 1:], plain.maps[..., 1:].flip(-1))
    torch.testing.assert_close(mirrored.e2, -plain.e2, equal_nan=True)
    torch.testing.assert_close(mirrored.y, -plain.y)
    torch.testing.assert_close(mirrored.sb, plain.sb, equal_nan=True)


def test_batch_k_depends_on_nothing_but_k(rings):
    whole = ring_batches([rings], 4, seed=9)
    first = [next(whole) for _ in range(5)]
    late = next(ring_batches([rings], 4, seed=9, start=4))
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(first[4], late, strict=True))


def test_a_survey_without_the_profiles_is_refused(tiny_survey):
    with pytest.raises(RequestError, match="true"):
        read_rings(tiny_survey, "true", names(tiny_survey), seed=0)
