"""Light on given isophotes: unbiased on noise, exact on a constant, faithful on a gradient, calm beside a hole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.sky.annuli import CORE, measure
from skyloom.sky.isophotes import Isophotes, radii
from skyloom.sky.sersic import intensity


def held(count, shape, e=(0.0, 0.0), centre=None, light=0.0) -> tuple[Isophotes, torch.Tensor]:
    """Isophotes of one shape that nobody has to fit, and their radii."""
    sma = radii(shape)
    x, y = ((shape[1] - 1) / 2, (shape[0] - 1) / 2) if centre is None else centre
    one, ring = torch.ones(count), torch.ones(count, len(sma))
    light = ring * torch.as_tensor(light, dtype=torch.float32)
    return Isophotes(x * one, y * one, e[0] * ring, e[1] * ring, 0 * ring, 0 * one, light, 0 * one), sma


def planes(*arrays) -> list[torch.Tensor]:
    return [torch.as_tensor(np.asarray(a, np.float32)).reshape(1, *np.shape(a)[-2:]) for a in arrays]


@pytest.mark.parametrize("e", [(0.0, 0.0), (0.3, 0.2)])
def test_pure_noise_has_pulls_of_one(e):
    """200 frames, so 1σ of a ring's rms pull is 5 %: within 4σ of 1 outside the core. Along an ellipse of less than a
    few pixels the spline's overshoot raises it to at most 1.4."""
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (200, 64, 64)).astype(np.float32))
    isophotes, sma = held(200, (64, 64), e, (31.3, 31.8))
    annuli = measure(noise, torch.ones_like(noise), torch.full_like(noise, 4), isophotes, sma)
    seen = annuli.share[0] > 0.2
    pulls = (annuli.mean / annuli.noise)[:, seen]
    rms = pulls.square().mean(0).sqrt()
    assert (rms[sma[seen] >= CORE] > 0.8).all() and (rms[sma[seen] >= CORE] < 1.25).all()
    assert (rms[sma[seen] < CORE] > 0.8).all() and (rms[sma[seen] < CORE] < 1.4).all()
    assert (pulls.mean(0).abs() < 4 / 200**0.5).all()


@settings(max_examples=15)
@given(
    st.floats(-1e4, 1e4),
    st.floats(-0.6, 0.6),
    st.floats(-0.6, 0.6),
    st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    st.tuples(st.integers(40, 64), st.integers(40, 64)),
)
def test_a_constant_image_has_that_constant_everywhere(value, e1, e2, off, shape):
    """To 2e-4 of it, whatever the shape, the frame and the centre; NaN only where a ring has left the frame."""
    centre = shape[1] / 2 + off[0], shape[0] / 2 + off[1]
    isophotes, sma = held(1, shape, (e1, e2), centre, value)
    flux, good = torch.full((1, *shape), value), torch.ones(1, *shape)
    annuli = measure(flux, good, good, isophotes, sma)
    seen = annuli.share > 0.2
    np.testing.assert_allclose(annuli.mean[seen], value, rtol=2e-4, atol=1e-6)
    assert torch.isnan(annuli.mean[~seen]).all()


@pytest.mark.parametrize("scale, q", [(5, 1.0), (5, 0.7), (8, 0.5)])
def test_a_steep_disc_is_read_at_its_nominal_radius(draw, scale, q):
    """0.5 % over ten scale lengths; light falls by up to 60 % between rings, and half of the 0.5 % is the pixels'."""
    centre, ellipticity = (63.2, 63.9), 1 - q
    truth = intensity(radii((128, 128)).numpy().astype(float), 1.678 * scale, 1, 100.0)
    e = ellipticity * np.cos(1), ellipticity * np.sin(1)
    isophotes, sma = held(1, (128, 128), e, centre, truth * 1.05)
    flux, good = planes(draw((128, 128), centre, 1.678 * scale, 1, q, 0.5, 100.0), np.ones((128, 128)))
    annuli = measure(flux, good, good, isophotes, sma)
    seen = (sma > 2) & (sma < min(10 * scale, 55))
    np.testing.assert_allclose(annuli.mean[0, seen], truth[seen], rtol=0.005)


def test_a_missing_sector_tilts_the_mean_less_than_half_as_much_as_a_plain_average():
    """Lopsided light, a radian of every ring masked: harmonics stand in for what is not seen."""
    y, x = np.indices((96, 96)) - 47.5
    angle = np.arctan2(y, x)
    light = 10 + 3 * np.cos(angle) + 2 * np.sin(2 * angle)
    seen = np.abs(angle) > 0.5
    plain = light[seen].mean() - 10
    isophotes, sma = held(1, (96, 96))
    flux, good, variance = planes(light * seen, seen, np.full(seen.shape, 0.01))
    annuli = measure(flux, good, variance, isophotes, sma)
    off = (annuli.mean[0] - 10)[(sma > CORE) & (sma < 45)].abs()
    assert off.max() < 0.5 * abs(plain)
    np.testing.assert_allclose(annuli.share[0, (sma > 20) & (sma < 45)], 1 - 1 / (2 * np.pi), atol=0.05)


def test_bad_pixels_never_enter():
    rng = np.random.default_rng(2)
    good = (rng.random((64, 64)) > 0.2).astype(np.float32)
    isophotes, sma = held(1, (64, 64), (0.2, -0.3))
    flux, good, variance = planes(np.full((64, 64), 5.0) * good, good, np.ones((64, 64)))
    annuli = measure(flux, good, variance, isophotes, sma)
    seen = (annuli.share[0] > 0.2) & (sma > 1)
    np.testing.assert_allclose(annuli.mean[0, seen], 5.0, rtol=1e-3)


def test_structure_and_a_doubtful_shape_raise_the_error():
    y, x = np.indices((96, 96)) - 47.5
    radius = np.hypot(x, y)
    smooth = 100 * np.exp(-radius / 12)
    arms = smooth * (1 + 0.3 * np.cos(3 * np.arctan2(y, x) - radius / 3))
    isophotes, sma = held(1, (96, 96))
    doubtful = isophotes._replace(shape_error=isophotes.shape_error + 0.1)
    ones = planes(np.ones((96, 96)))[0]
    plain, wound = (measure(planes(image)[0], ones, ones * 0.01, isophotes, sma) for image in (smooth, arms))
    doubted = measure(planes(smooth)[0], ones, ones * 0.01, doubtful, sma)
    rings = (sma > 5) & (sma < 40)
    assert (wound.noise > 2 * plain.noise)[0, rings].all()
    assert (doubted.error > 2 * plain.error)[0, rings].all()
    np.testing.assert_allclose(doubted.noise, plain.noise)
    assert (plain.error >= plain.noise).all()
