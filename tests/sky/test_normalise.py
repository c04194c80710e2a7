"""Preparing an image: bad pixels change nothing, hot ones are clipped, the range is as stated, bins keep means."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.normalise import bin_mean, clip_percentile, min_max, prepare

seeds, fractions = st.integers(0, 2**31), st.sampled_from([0.0, 0.05, 0.6])


def frames(seed: int, bad: float = 0.1, shape=(3, 24, 20)) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng), torch.rand(shape, generator=rng) >= bad


@given(seeds, fractions, st.sampled_from([1, 2, 5]))
def test_nothing_depends_on_what_lies_under_a_bad_pixel(seed, bad, factor):
    flux, good = frames(seed, bad)
    prepared = prepare(flux.masked_fill(~good, 0), good, -1.0, 3.0, factor=factor)
    assert prepared.isfinite().all()
    for rubbish in (torch.nan, torch.inf, -torch.inf, 1e30):
        assert torch.equal(prepare(flux.masked_fill(~good, rubbish), good, -1.0, 3.0, factor=factor), prepared)


@given(seeds, fractions, st.floats(50, 100))
def test_the_percentile_is_numpys_over_the_good_pixels(seed, bad, percent):
    flux, good = frames(seed, bad)
    clipped = clip_percentile(flux, good, percent)
    for image, mask, ours in zip(flux.numpy(), good.numpy(), clipped.numpy(), strict=True):
        ceiling = np.percentile(image[mask], percent)
        np.testing.assert_allclose(ours, np.where(mask, np.minimum(image, ceiling), 0), rtol=1e-4, atol=1e-4)


def test_one_hot_pixel_does_not_set_the_range():
    flux, good = frames(0, bad=0.0, shape=(1, 64, 64))
    flux[0, 5, 5] = 1e6
    assert clip_percentile(flux, good).max() < 6


def test_an_image_without_a_good_pixel_is_zero():
    flux, good = frames(0, bad=2.0)
    assert not prepare(flux * torch.nan, good, 0.0, 1.0, factor=2).any()


@given(st.floats(-10, 10), st.floats(0.1, 100))
def test_the_range_becomes_zero_to_one(low, width):
    ends = torch.tensor([[[low, low + width]]], dtype=torch.float64)
    torch.testing.assert_close(min_max(ends, low, low + width)[0, 0], torch.tensor([0.0, 1.0], dtype=torch.float64))


@given(seeds, st.sampled_from([1, 2, 4]))
def test_a_bin_is_the_mean_of_its_good_pixels(seed, factor):
    flux, good = frames(seed, 0.5)
    binned, filled = bin_mean(flux, good, factor)
    blocks = flux.where(good, torch.nan).unfold(1, factor, factor).unfold(2, factor, factor).flatten(3)
    torch.testing.assert_close(binned, blocks.nanmean(-1).nan_to_num(0.0), rtol=1e-4, atol=1e-5)
    assert torch.equal(filled, blocks.isfinite().any(-1))


@pytest.mark.parametrize("factor", [3, 7])
def test_rows_and_columns_that_fill_no_block_are_dropped(factor):
    binned, _ = bin_mean(*frames(0), factor)
    assert binned.shape == (3, 24 // factor, 20 // factor)
