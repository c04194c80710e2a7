"""Starlets: SciPy as referee, the published noise of each scale, and laws of a linear, undecimated transform."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d

from skyloom.nn.starlets import noise_in, starlets


def image(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_scipy(x, scales):
    details = []
    for scale in range(scales):
        kernel = np.zeros(4 * 2**scale + 1)
        kernel[:: 2**scale] = np.array([1, 4, 6, 4, 1]) / 16
        smooth = convolve1d(convolve1d(x, kernel, 0, mode="nearest"), kernel, 1, mode="nearest")
        details.append(x - smooth)
        x = smooth
    return details, x


def test_details_are_those_of_scipy_and_with_the_rest_sum_to_the_image():
    x = image(2, 3, 24, 20)
    found = starlets(x, 3)
    for b in range(2):
        for c in range(3):
            details, rest = by_scipy(x[b, c].numpy(), 3)
            np.testing.assert_allclose(found[:, b, c].numpy()[..., 9:-9, 9:-9], np.stack(details)[..., 9:-9, 9:-9])
            np.testing.assert_allclose(sum(details) + rest, x[b, c].numpy(), atol=1e-12)
            np.testing.assert_allclose(found[0, b, c].numpy(), details[0], atol=1e-12)


def test_the_noise_of_each_scale_is_as_published():
    """Starck & Murtagh 2006, Astronomical Image and Data Analysis, Table 2.1: 0.890, 0.201, 0.086, 0.041."""
    assert noise_in(4) == pytest.approx((0.890, 0.201, 0.086, 0.041), abs=1e-3)
    white = starlets(image(1, 1, 512, 512), 4).std((1, 2, 3, 4))
    assert white.tolist() == pytest.approx(noise_in(4), rel=0.06)


def test_a_flat_image_has_no_details_and_a_shift_moves_them():
    assert starlets(torch.full((1, 1, 16, 16), 3.0), 3).abs().max() < 1e-6
    x = image(1, 1, 64, 64)
    moved = starlets(torch.roll(x, (3, 5), (2, 3)), 2)
    torch.testing.assert_close(moved[..., 20:40, 20:40], torch.roll(starlets(x, 2), (3, 5), (3, 4))[..., 20:40, 20:40])
