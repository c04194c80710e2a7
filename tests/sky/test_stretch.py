"""The laws of the stretch: it inverts, it knows no unit, it orders, and torch and NumPy agree."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skyloom.sky.stretch import stretch, unstretch

RMS, SKY = 0.37, 4.0
heights = st.floats(1e-1, 1e5)  # above the sky, in rms: six decades
signs = st.sampled_from([-1.0, 1.0])


def cube(*values) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 1, -1)


def level(value) -> np.ndarray:
    return np.array([value], np.float32)


@given(st.lists(heights, min_size=1, max_size=50), signs)
def test_unstretching_gives_the_flux_back_over_six_decades(values, sign):
    flux = cube(*(sign * RMS * height for height in values))
    back = unstretch(stretch(flux, level(0), level(RMS)), level(0), level(RMS))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, flux, rtol=1e-5)


@given(st.lists(heights, min_size=1, max_size=50), signs)
def test_a_sky_under_the_object_costs_no_more_than_its_own_rounding(values, sign):
    flux = cube(*(SKY + sign * RMS * height for height in values))
    back = unstretch(stretch(flux, level(SKY), level(RMS)), level(SKY), level(RMS))
    np.testing.assert_allclose(back - SKY, flux - SKY, rtol=1e-5, atol=4 * np.spacing(np.float32(SKY)))


@given(arrays(np.float32, (2, 3, 4), elements=st.floats(-1e5, 1e5, width=32)), st.sampled_from([1e-12, 1e12, 3.7]))
def test_the_unit_of_the_flux_does_not_matter(flux, factor):
    sky, rms = np.float32([0.5, -2.0]), np.float32([0.1, 3.0])
    factor = np.float32(factor)
    scaled = stretch(flux * factor, sky * factor, rms * factor)
    np.testing.assert_allclose(scaled, stretch(flux, sky, rms), rtol=1e-5, atol=3e-5)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=20, unique=True))
def test_brighter_stays_brighter(values):
    stretched = stretch(cube(*sorted(values)), level(0), level(1))
    assert (np.diff(stretched.ravel()) >= 0).all()


def test_blank_sky_has_mean_zero_and_unit_scatter_within_its_curvature():
    sky = np.random.default_rng(1).normal(SKY, RMS, (1, 300, 300)).astype(np.float32)
    stretched = stretch(sky, level(SKY), level(RMS))
    assert abs(stretched.mean()) < 4 / 300
    assert 0.7 < stretched.std() < 0.9  # asinh(1) = 0.88


def test_each_band_has_a_sky_of_its_own():
    flux = np.stack([np.full((2, 2), 5.0), np.full((2, 2), 50.0)]).astype(np.float32)
    assert (stretch(flux, np.float32([5, 50]), np.float32([1, 2])) == 0).all()


@pytest.mark.parametrize("function", [stretch, unstretch])
def test_torch_and_numpy_agree(function):
    torch = pytest.importorskip("torch")
    flux = (10.0 ** np.linspace(-2, 1, 60) * np.tile([1, -1], 30)).astype(np.float32).reshape(2, 5, 6)
    sky, rms = np.float32([0.1, -1]), np.float32([0.01, 2])
    theirs = function(torch.from_numpy(flux), torch.from_numpy(sky), torch.from_numpy(rms))
    np.testing.assert_allclose(theirs.numpy(), function(flux, sky, rms), rtol=2e-5, atol=1e-6)


def test_torch_inverts_over_six_decades_and_carries_a_gradient():
    torch = pytest.importorskip("torch")
    flux = torch.logspace(-1, 5, 500).reshape(1, 1, -1) * torch.tensor([-1.0, 1.0]).reshape(2, 1, 1)
    flux.requires_grad_()
    rms = torch.ones(2)
    back = unstretch(stretch(flux, 0 * rms, rms), 0 * rms, rms)
    torch.testing.assert_close(back, flux, rtol=1e-5, atol=0)
    back.sum().backward()
    torch.testing.assert_close(flux.grad, torch.ones_like(flux), rtol=1e-4, atol=0)


def test_stretching_does_not_import_torch():
    code = "import sys, skyloom.sky.stretch, skyloom.sky.grid; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
