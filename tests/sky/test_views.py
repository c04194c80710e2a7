"""What another view of a galaxy does to its light, its width, its noise and its colours."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.extinction import extinction
from skyloom.sky.grid import turn
from skyloom.sky.psf import gaussian
from skyloom.sky.views import blurred, deepened_to, dimming, smoothed_noise, turned

SIDE = 64
angles = st.floats(-np.pi / 4, np.pi / 4)


def galaxy(x=31.5, y=31.5, wide=5.0, narrow=3.0, pa=0.0, flux=1000.0) -> torch.Tensor:
    """An elliptical Gaussian, (1, 1, 64, 64); pa [rad] from +x towards +y."""
    rows, columns = np.indices((SIDE, SIDE), dtype=float)
    along = (columns - x) * np.cos(pa) + (rows - y) * np.sin(pa)
    across = (rows - y) * np.cos(pa) - (columns - x) * np.sin(pa)
    light = np.exp(-0.5 * ((along / wide) ** 2 + (across / narrow) ** 2)) * flux / (2 * np.pi * wide * narrow)
    return torch.from_numpy(light[None, None].astype(np.float32))


def still(n=1):
    return torch.zeros(n, 2)


@given(angle=angles, dx=st.floats(-2, 2), dy=st.floats(-2, 2))
def test_a_turned_and_moved_galaxy_is_the_galaxy_drawn_turned_and_moved(angle, dx, dy):
    seen = turned(galaxy(pa=0.3), torch.tensor([angle]), torch.tensor([[dx, dy]]))
    drawn = galaxy(31.5 + dx, 31.5 + dy, pa=0.3 + angle)
    assert (seen - drawn).abs().max() < 1e-3 * drawn.max()
    assert float(seen.sum()) == pytest.approx(1000, rel=1e-3)


def test_off_centre_light_goes_round_the_middle_from_x_towards_y():
    seen = turned(galaxy(x=41.5, wide=2, narrow=2), torch.tensor([np.pi / 6]), still())
    place = 31.5 + 10 * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    drawn = galaxy(*place, wide=2, narrow=2)
    assert (seen - drawn).abs().max() < 1e-3 * drawn.max()


def test_two_turns_by_an_eighth_are_the_exact_quarter_turn():
    eighth = torch.tensor([np.pi / 4])
    twice = turned(turned(galaxy(pa=0.4), eighth, still()), eighth, still())
    quarter = turn(galaxy(pa=0.4).numpy(), 1)
    np.testing.assert_allclose(twice.numpy(), quarter, atol=1e-3 * quarter.max())


@given(angle=angles)
def test_white_noise_stays_white_and_as_strong(angle):
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 1, SIDE, SIDE)).astype(np.float32))
    seen = turned(noise, torch.full((8,), angle), torch.full((8, 2), 0.3))
    assert float(seen.std()) == pytest.approx(1, abs=0.03)
    assert abs(float((seen[..., 1:] * seen[..., :-1]).mean())) < 0.03


@given(own=st.floats(2.5, 5), more=st.floats(0.5, 4))
def test_widths_add_in_quadrature_and_light_stays(own, more):
    rows, columns = np.indices((SIDE, SIDE)) - 31.5
    star = torch.from_numpy(gaussian(np.hypot(rows, columns), own)[None, None].astype(np.float32))
    seen = blurred(star, torch.tensor([more]))
    wider = gaussian(np.hypot(rows, columns), np.hypot(own, more))
    assert float((seen - torch.from_numpy(wider)).abs().max()) < 2e-3 * wider.max()
    assert float(seen.sum()) == pytest.approx(float(star.sum()), rel=1e-4)


@given(fwhm=st.floats(0.3, 4))
def test_the_noise_left_by_a_blur_is_as_stated(fwhm):
    noise = torch.from_numpy(np.random.default_rng(2).normal(size=(16, 1, SIDE, SIDE)).astype(np.float32))
    seen = blurred(noise, torch.full((16,), fwhm))
    assert float(seen.std()) == pytest.approx(float(smoothed_noise(torch.tensor([fwhm]))), rel=0.03)


@given(own=st.floats(0.5, 2), wanted=st.floats(1, 4))
def test_noise_is_added_to_the_depth_asked_for_and_never_taken_away(own, wanted):
    noise = own * torch.from_numpy(np.random.default_rng(3).normal(size=(4, 2, SIDE, SIDE)).astype(np.float32))
    rms = torch.full((4, 2), own)
    seen = deepened_to(noise, rms, torch.full((4, 2), wanted), torch.Generator().manual_seed(0))
    assert float(seen.std()) == pytest.approx(max(own, wanted), rel=0.02)
    assert wanted > own or torch.equal(seen, noise)


def test_the_law_of_dust_has_the_values_of_an_independent_code():
    """At R = 3.1, as dust_extinction 1.7 (CCM89) has them.

    The paper's Table 3 has the same to 0.003, but for B (2.27), where the observed 1.337 lies above the fit.
    """
    inverse = np.array([8.0, 7.0, 6.0, 5.0, 4.6, 4.0, 3.0, 2.78, 2.27, 1.82, 1.43, 1.11, 0.80, 0.63, 0.46])  # [1/µm]
    theirs = [
        3.33685933, 2.77962453, 2.52195399, 2.84252644, 3.18598916, 2.31531711, 1.64254927, 1.56880904, 1.32257836,
        1.0, 0.75125994, 0.4780346, 0.28206957, 0.19200814, 0.11572348,
    ]  # fmt: skip
    np.testing.assert_allclose(extinction(1000 / inverse), theirs, rtol=1e-6)


def test_the_law_has_its_bump_and_no_steps():
    nanometres = np.linspace(130, 3300, 20000)
    law = extinction(nanometres)
    assert nanometres[(nanometres > 180) & (nanometres < 260)][
        law[(nanometres > 180) & (nanometres < 260)].argmax()
    ] == pytest.approx(217.5, abs=3)
    assert np.abs(np.diff(law)).max() < 0.05


@given(visual=st.floats(0, 2))
def test_dust_dims_every_band_by_its_own_law(visual):
    bands = [355.0, 475.0, 622.0, 2150.0]
    left = dimming(bands, torch.tensor([visual]))[0].numpy()
    np.testing.assert_allclose(-2.5 * np.log10(left), visual * extinction(bands), atol=1e-5)
    assert (np.diff(left) >= 0).all()
