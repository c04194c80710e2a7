"""From profile to galaxy: totals and radii of galaxies that have formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.growth import Growth, grow, radius_where
from skyloom.sky.isophotes import radii
from skyloom.sky.sersic import flux_fraction, intensity, sersic_b, total_flux
from skyloom.sky.tail import Tail

SMA = radii((128, 128))
RADIUS = SMA.numpy().astype(float)
LAST = len(RADIUS) - 4


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float32)


def grown(n, r_e, q=0.6, noise=0.0, sky_error=0.0, last=LAST) -> Growth:
    """Growth of the profile of a Sérsic galaxy with I(r_e) = 1, and its own law for a tail."""
    light = torch.from_numpy(intensity(RADIUS, r_e, n).astype(np.float32))[None]
    tail = Tail(one(0), one(sky_error), one(r_e), one(0), one(sersic_b(n) / n), one(n))
    np.testing.assert_allclose(tail.light(SMA[None]), light, rtol=1e-4)
    rings = torch.ones(1, len(RADIUS))
    return grow(light, noise * rings, q * rings, SMA, torch.tensor([last]), tail)


@pytest.mark.parametrize("q", [0.2, 1.0])
@pytest.mark.parametrize("n, r_e", [(0.7, 8), (1, 8), (1, 15), (2, 15), (2, 25)])
def test_total_and_half_light_radius_are_those_of_the_law(n, r_e, q):
    """To 0.5 %, with up to a sixth of the flux extrapolated. The profile is taken flat inside half a pixel, so the cusp
    of n = 4 is not: at r_e = 8 it holds 1 % of the flux."""
    growth = grown(n, r_e, q)
    assert float(growth.total) == pytest.approx(float(total_flux(1, r_e, n, q)), rel=0.005)
    assert float(growth.half_light) == pytest.approx(r_e, rel=0.005)


@pytest.mark.parametrize("n", [1, 2])
def test_the_curve_of_growth_is_that_of_the_law(n):
    growth = grown(n, 12)
    inside = (RADIUS > 4) & (RADIUS < 60)
    fractions = growth.enclosed[0] / float(total_flux(1, 12, n, 0.6))
    np.testing.assert_allclose(fractions[inside], flux_fraction(RADIUS[inside], 12, n), atol=0.005)


def test_the_total_does_not_depend_on_where_the_measured_profile_ends():
    """Though its error does: half of what is extrapolated."""
    short, long = (grown(1, 12, last=last) for last in (40, 50))
    assert float(short.total) == pytest.approx(float(long.total), rel=2e-3)
    assert short.total_error > 2 * long.total_error


def test_the_sky_error_enters_with_the_area_and_noise_in_quadrature():
    area = np.pi * 0.6 * RADIUS**2
    sky = grown(1, 12, sky_error=0.01)
    np.testing.assert_allclose(sky.enclosed_error[0], 0.01 * area, rtol=1e-4)
    noise, both = grown(1, 12, noise=0.02), grown(1, 12, noise=0.02, sky_error=0.01)
    np.testing.assert_allclose(both.enclosed_error, torch.hypot(sky.enclosed_error, noise.enclosed_error), rtol=1e-4)
    assert (noise.enclosed_error.diff() > 0).all()


@given(st.floats(1e-10, 1e10))
def test_growth_scales_with_the_light(factor):
    light = torch.from_numpy(intensity(RADIUS, 12, 1))[None]
    rings = torch.ones_like(light)
    growths = []
    for scale in (1.0, factor):
        tail = Tail(*(torch.tensor([v]).double() for v in (0, 0.01 * scale, 12, np.log(scale), 1.678, 1)))
        growths.append(grow(light * scale, 0.02 * rings * scale, rings, SMA.double(), torch.tensor([45]), tail))
    for name in ("enclosed", "enclosed_error", "total", "total_error"):
        plain, scaled = (getattr(growth, name) for growth in growths)
        np.testing.assert_allclose(scaled, plain * factor, rtol=1e-6)
    np.testing.assert_allclose(growths[1].half_light, growths[0].half_light, rtol=1e-6)


@given(st.floats(0.6, 80), st.floats(-3, -0.3))
def test_a_power_law_crosses_a_level_where_it_should(radius, slope):
    """To 0.5 %: between rings the profile is taken linear in log radius."""
    profile = (SMA.double() ** slope)[None]
    found = radius_where(profile, torch.tensor([radius**slope]).double(), SMA.double(), rising=False)
    assert float(found) == pytest.approx(radius, rel=5e-3)


def test_the_crossing_is_the_first_one_in_the_direction_asked_for():
    values = torch.tensor([[5.0, 3.0, 1.0, 3.0, 1.0]])
    sma = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    level = torch.tensor([2.0])
    assert float(radius_where(values, level, sma, rising=False)) == pytest.approx(8**0.5)
    assert float(radius_where(values, level, sma, rising=True)) == pytest.approx(32**0.5)


@pytest.mark.parametrize(
    "values",
    [[1.0, 0.5, 0.2], [9.0, 8.0, 7.0], [torch.nan] * 3, [0.0] * 3, [torch.nan, 1.0, 0.5]],
    ids=["below", "above", "unknown", "zero", "unknown then below"],
)
def test_what_never_crosses_has_no_radius(values):
    assert torch.isnan(radius_where(torch.tensor([values]), torch.tensor([2.0]), SMA[:3], rising=False)).all()


def test_each_galaxy_has_its_own_level():
    values = torch.tensor([[4.0, 2.0, 1.0], [4.0, 2.0, 1.0]])
    found = radius_where(values, torch.tensor([2.0, 3.0]), torch.tensor([1.0, 2.0, 4.0]), rising=False)
    np.testing.assert_allclose(found, [2.0, 2**0.5], rtol=1e-6)
