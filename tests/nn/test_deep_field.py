"""Painters of fields: no pixel knows of an edge, and what they cost is what they say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from skyloom.nn.deep_field import COLOUR, SHAPE, SIZE, DeepField, DeepFieldConfig, EqualConv, FieldCritic, stressed
from skyloom.nn.spatial_gan import PackedDiscriminator, SpatialGAN, SpatialGANConfig
from skyloom.recipes.deep_field import deep_field

SMALL = DeepFieldConfig(bands=2, widths=(6, 5, 4), told=(0, 1), noisy=(1, 2), fresh=2)


def field_net():
    torch.manual_seed(0)
    return DeepField(SMALL).eval()


def gan():
    torch.manual_seed(0)
    return SpatialGAN(SpatialGANConfig(bands=2, widths=(8, 6, 4), depth=3)).eval()


def plane(seed, depth, rows, columns):
    """Numbers that follow from their place."""
    y, x = np.array(rows)[:, None, None], np.array(columns)[None, :, None]
    values = np.sin(12.9 * y + 78.2 * x + 37.7 * np.arange(depth) + seed) * 43.7
    return torch.from_numpy((values - np.floor(values)).transpose(2, 0, 1)[None].astype(np.float32))


def made(net, rows, columns):
    down, across = net.windows(rows), net.windows(columns)
    depths = [net.config.depth] if isinstance(net, SpatialGAN) else [sum(pair) for pair in net.config.depths]
    inputs = [
        plane(level, depth, *place) if depth else None
        for level, (depth, *place) in enumerate(zip(depths, down, across, strict=True))
    ]
    with torch.no_grad():
        return net(inputs, down, across).numpy()


@pytest.mark.parametrize("net", [field_net(), gan()], ids=["deep_field", "spatial_gan"])
@settings(max_examples=8)
@given(top=st.integers(-9, 9), left=st.integers(-9, 9), height=st.integers(1, 6), width=st.integers(1, 6))
def test_a_window_is_a_part_of_a_larger_one(net, top, left, height, width):
    cell = net.cell
    rows, columns = (range(first * cell, (first + side) * cell) for first, side in ((top, height), (left, width)))
    whole = made(net, range(-10 * cell, 16 * cell), range(-10 * cell, 16 * cell))
    part = made(net, rows, columns)
    there = np.s_[..., (top + 10) * cell : (top + 10 + height) * cell, (left + 10) * cell : (left + 10 + width) * cell]
    assert part.shape[-2:] == (height * cell, width * cell)
    np.testing.assert_allclose(whole[there], part, rtol=0, atol=2e-6 * np.abs(whole).max())


def test_colours_and_shapes_are_told_louder_than_they_are_and_nothing_else_is():
    rng = np.random.default_rng(0)
    before, marks, after = 4, SMALL.marks, 3
    said = rng.normal(size=before + marks + 2 + after)
    heard = stressed(SMALL.bands, before, after).numpy() @ said
    fluxes, shape = slice(before + 1, before + 1 + SMALL.bands), slice(before + 1 + SMALL.bands, before + marks)
    assert heard[fluxes].mean() == pytest.approx(said[fluxes].mean())
    np.testing.assert_allclose(np.diff(heard[fluxes]), COLOUR * np.diff(said[fluxes]), rtol=1e-5)
    np.testing.assert_allclose(heard[shape] / said[shape], [SIZE, SHAPE, SHAPE, 1], rtol=1e-5)
    same = np.r_[: before + 1, before + marks : len(said)]
    np.testing.assert_allclose(heard[same], said[same])
    conv = EqualConv(len(said), 5, 1, stress=stressed(SMALL.bands, before, after))
    plain = EqualConv(len(said), 5, 1)
    plain.load_state_dict(conv.state_dict())
    told = (torch.from_numpy(numbers).float()[None, :, None, None] for numbers in (said, heard))
    torch.testing.assert_close(conv(next(told)), plain(next(told)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("first", range(4))
def test_windows_of_the_field_net_may_begin_at_any_pixel(first):
    net = field_net()
    whole = made(net, range(-8, 40), range(-8, 40))
    part = made(net, range(first, first + 7), range(5, 12))
    np.testing.assert_allclose(whole[..., 8 + first : 15 + first, 13:20], part, rtol=0, atol=2e-6 * abs(whole).max())


@pytest.mark.parametrize(
    ("net", "most"),
    [(DeepField(DeepFieldConfig()), 70e3), (SpatialGAN(SpatialGANConfig()), 251e3)],
    ids=["deep_field", "spatial_gan"],
)
def test_the_cost_of_a_pixel_is_what_torch_counts(net, most):
    side = 512
    down = net.windows(range(side))
    depths = [net.config.depth] if isinstance(net, SpatialGAN) else [sum(pair) for pair in net.config.depths]
    inputs = [
        torch.zeros(1, depth, len(rows), len(rows)) if depth else None for depth, rows in zip(depths, down, strict=True)
    ]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(inputs, down, down)
    counted = counter.get_total_flops() / side**2
    assert net.flop_per_pixel() <= counted < 1.45 * net.flop_per_pixel()  # more: what lies around the window
    assert net.flop_per_pixel() <= most


def test_the_published_generator_costs_what_its_reference_does():
    assert SpatialGAN(SpatialGANConfig()).flop_per_pixel() == pytest.approx(249e3, rel=0.005)


@pytest.mark.parametrize("size", ["laptop", "gpu", "paper"])
@pytest.mark.parametrize("bands", [3, 9])
def test_every_size_is_below_70_kflop_a_pixel(size, bands):
    config = deep_field(size).net
    net = DeepField(DeepFieldConfig(bands, config.widths, config.told, config.noisy, config.fresh))
    assert net.flop_per_pixel() <= 70e3


def test_the_critic_gives_one_number_per_image_and_is_blind_to_their_order():
    torch.manual_seed(1)
    critic = FieldCritic(DeepFieldConfig(bands=2, critic=(4, 8)))
    images = torch.randn(3, 2, 32, 32)
    assert critic(images).shape == (3,)
    torch.testing.assert_close(critic(images.flip(0)), critic(images).flip(0))


def test_the_packed_discriminator_sees_pairs():
    critic = PackedDiscriminator(SpatialGANConfig(bands=2, critic=(4, 8)))
    images = torch.randn(6, 2, 32, 32)
    assert critic(images).shape == (3,)
    other = images.clone()
    other[1] += 1
    assert torch.equal(critic(images)[1:], critic(other)[1:])
    assert critic(images)[0] != critic(other)[0]
