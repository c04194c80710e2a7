"""Profiles in one pass: laws that hold before anything is learnt, and light that is measured where it lies."""

import numpy as np
import pytest
import torch

from skyloom.nn.profile_decoder import Prediction, ProfileDecoder, ProfileDecoderConfig, dimmed, measure_along
from skyloom.sky.isophotes import radii
from skyloom.sky.polar import ANGLES, unroll

SMALL = ProfileDecoderConfig(widths=(8, 16), dim=16, heads=2, depth=(1, 1))
RADIUS = radii((64, 64))


def net(config=SMALL):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ProfileDecoder(config).eval()


def maps(galaxies=2, bands=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    light = (
        torch.randn(galaxies, bands, len(RADIUS), ANGLES, generator=generator) + 30 * torch.exp(-RADIUS / 6)[:, None]
    )
    return torch.stack([light, torch.ones_like(light), torch.ones_like(light)], 2)


def parts(said: Prediction):
    for part in said:
        yield from part if isinstance(part, tuple) else (part,)


def disc(q=0.4, pa=0.6, size=128, centre=(63.2, 63.7), scale=9.0):
    """An exponential disc on so fine a sky that its light is seen everywhere; and its law."""
    y, x = np.indices((size, size), dtype=float)
    along = (x - centre[0]) * np.cos(pa) + (y - centre[1]) * np.sin(pa)
    across = (y - centre[1]) * np.cos(pa) - (x - centre[0]) * np.sin(pa)
    return torch.from_numpy(500 * np.exp(-np.hypot(along, across / q) / scale)).float()


@torch.no_grad()
def test_the_order_of_the_bands_does_not_matter():
    order, seen = [2, 0, 1], maps()
    plain, permuted = net()(seen, RADIUS), net()(seen[:, order], RADIUS)
    for a, b in zip(parts(plain), parts(permuted), strict=True):
        torch.testing.assert_close(a[:, order], b, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("bands", [1, 2, 9])
def test_any_number_of_bands_and_rings(bands):
    for radius in (RADIUS, radii((32, 32))):
        said = net()(maps(bands=bands)[..., : len(radius), :], radius)
        assert said.sb.median.shape == (2, bands, len(radius)) and said.x.shape == (2, bands)
        assert all(torch.isfinite(part).all() for part in parts(said))


@torch.no_grad()
def test_galaxies_of_a_batch_do_not_know_of_each_other():
    together, alone = net()(maps(), RADIUS), net()(maps()[1:], RADIUS)
    for a, b in zip(parts(together), parts(alone), strict=True):
        torch.testing.assert_close(a[1:], b, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_quantiles_are_in_order_and_ellipses_are_ellipses():
    said = net()(50 * maps(seed=4), RADIUS)
    for quantity in (said.sb, said.cog, said.mag):
        low, middle, high = quantity.quantiles[..., :2], quantity.median[..., None], quantity.quantiles[..., 2:]
        line = torch.cat([low, middle, high], -1)
        assert (line.diff(dim=-1) >= 0).all() and (quantity.width > 0).all()
    assert (torch.hypot(said.e1, said.e2) < 1).all()


@torch.no_grad()
def test_light_along_the_true_ellipses_is_the_discs_own():
    """To 0.02 mag from 2 to 40 pixels, on a disc of b/a = 0.4, read from its polar map about another centre."""
    q, pa, scale = 0.4, 0.6, 9.0
    image = disc(q, pa, scale=scale)
    radius = radii((128, 128))
    found = unroll(image[None], torch.ones_like(image)[None], torch.tensor([63.0]), torch.tensor([63.5]), radius)
    shape = torch.full((1, len(radius)), 1 - q)
    e1, e2 = shape * np.cos(2 * pa), shape * np.sin(2 * pa)
    trust = torch.zeros(1, len(radius), ANGLES // 2)
    off = torch.tensor([0.2])
    light = measure_along(torch.stack(found, 1), trust, radius.log(), e1, e2, off, off).light[0]
    here = (radius > 2) & (radius < 40)
    miss = dimmed(light[here], 1e-3) - dimmed(500 * torch.exp(-radius[here] / scale), 1e-3)
    assert miss.abs().max() < 0.02


@torch.no_grad()
def test_learned_light_does_not_see_what_was_measured():
    """The other way to give light, kept for comparison: no base to correct."""
    learned = net(ProfileDecoderConfig(widths=(8, 16), dim=16, heads=2, depth=(1, 1), light="learned"))
    assert learned(1000 * maps(), RADIUS).sb.median.abs().max() < 1
    assert net()(1000 * maps(), RADIUS).sb.median.abs().max() > 5
