"""Images on rings: true to the light, blind to what is bad, and turned when the image is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.isophotes import radii
from skyloom.sky.polar import ANGLES, unroll, unroll_galaxies

SIDE = 96


def gaussian(sigma, x, y, side=SIDE):
    """A round Gaussian of peak 1000, sampled at pixel centres."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return 1000 * torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)).double().float()


def one(image, x, y, ivar=None):
    ivar = torch.ones_like(image) if ivar is None else ivar
    radius = radii(tuple(image.shape))
    return radius, unroll(image[None], ivar[None], torch.tensor([float(x)]), torch.tensor([float(y)]), radius)


@pytest.mark.parametrize("sigma", [1.5, 3.0, 8.0, 15.0])
def test_rings_of_a_round_galaxy_hold_its_law(sigma):
    """To 0.5 % of the peak anywhere, and the means of rings to 1 % where there is light."""
    x, y = 47.3, 47.9
    radius, found = one(gaussian(sigma, x, y), x, y)
    law = 1000 * torch.exp(-(radius**2) / (2 * sigma**2))
    here = (radius < 3 * sigma) & (radius < 40)
    assert (found.light[0] - law[:, None]).abs()[here].max() < 5
    mean = (found.light[0] * found.good[0]).sum(-1) / found.good[0].sum(-1)
    np.testing.assert_allclose(mean[here], law[here], rtol=0.01)


@pytest.mark.parametrize("value", [float("nan"), 1e30, 0.0])
def test_what_lies_under_ivar_0_is_never_read(value):
    image, ivar = gaussian(5.0, 47, 48), torch.ones(SIDE, SIDE)
    ivar[40:44, 50:60] = 0
    ivar[47, 47] = 0
    plain = torch.where(ivar > 0, image, 7.0)
    spoilt = torch.where(ivar > 0, image, value)
    for a, b in zip(one(plain, 47, 48, ivar)[1], one(spoilt, 47, 48, ivar)[1], strict=True):
        assert torch.equal(a, b)


def test_a_quarter_turn_of_the_image_shifts_the_angles_by_a_quarter():
    generator = torch.Generator().manual_seed(3)
    image = gaussian(6.0, 50, 45) + torch.randn(SIDE, SIDE, generator=generator)
    middle = (SIDE - 1) / 2
    _, before = one(image, middle, middle)
    _, after = one(torch.rot90(image, -1), middle, middle)
    turned = before.light.roll(ANGLES // 4, -1)
    core = slice(0, 40)
    torch.testing.assert_close(after.light[:, core], turned[:, core], atol=0.02, rtol=1e-3)


@given(st.floats(1e-12, 1e12))
def test_the_map_of_a_galaxy_does_not_know_the_unit_of_flux(factor):
    image, ivar = gaussian(5.0, 47.2, 47.6)[None, None] + 3, torch.full((1, 1, SIDE, SIDE), 4.0)
    sky, rms = torch.tensor([[3.0]]), torch.tensor([[0.5]])
    radius = radii((SIDE, SIDE))
    one_, x, y = unroll_galaxies(image, ivar, sky, rms, radius)
    other, u, v = unroll_galaxies(image * factor, ivar / factor**2, sky * factor, rms * factor, radius)
    torch.testing.assert_close(one_, other, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(torch.stack([x, y]), torch.stack([u, v]), atol=1e-3, rtol=0)


def test_a_band_without_a_sky_is_bad_throughout():
    image, ivar = gaussian(5.0, 47, 47).expand(1, 2, -1, -1), torch.ones(1, 2, SIDE, SIDE)
    sky = torch.tensor([[0.0, float("nan")]])
    maps, *_ = unroll_galaxies(image, ivar, sky, torch.ones(1, 2), radii((SIDE, SIDE)))
    assert maps[0, 0, 1].any() and not maps[0, 1].any()


def test_rings_outside_the_frame_are_bad():
    _, found = one(gaussian(5.0, 10, 10), 10, 10)
    outside = found.good[0, -1] == 0
    assert outside.sum() > ANGLES // 2 and not found.light[0, -1][outside].any()
