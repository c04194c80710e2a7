"""Drawings from fixed shapes: they turn with their angle, and are close to galaxies of any size and shape."""

import numpy as np
import pytest
import torch

from skyloom.nn.sketch import SHAPES, shapes, sketch

CPU = torch.device("cpu")


def test_each_shape_is_bounded_and_a_drawing_is_their_sum():
    drawn = shapes(32, 32, CPU)
    assert len(drawn) == SHAPES and float(drawn.abs().max()) <= 1.0
    weights = torch.randn(2, 3 * SHAPES, generator=torch.Generator().manual_seed(0))
    expected = (weights.view(2, 3, SHAPES, 1, 1) * drawn).sum(2)
    torch.testing.assert_close(sketch(weights, 3, 32, 32), expected, rtol=1e-4, atol=1e-4)


def test_a_quarter_turn_changes_the_sign_of_order_two_and_nothing_else():
    drawn = shapes(32, 32, CPU).unflatten(0, (-1, 5))
    turned = torch.rot90(drawn, 1, (-2, -1))
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0, 1.0]).view(5, 1, 1)
    torch.testing.assert_close(turned, drawn * signs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [{"r_e": 2.0, "axis_ratio": 0.9}, {"r_e": 6.0, "axis_ratio": 0.6, "pa": 1.1}])
def test_galaxies_are_within_reach(sersic_image, shape):
    """The best sum of shapes leaves less than a tenth of an exponential disc's rms light."""
    image = sersic_image(size=64, **shape)
    basis = shapes(64, 64, CPU).flatten(1).numpy().T
    left = image.ravel() - basis @ np.linalg.lstsq(basis, image.ravel(), rcond=None)[0]
    assert np.linalg.norm(left) < 0.1 * np.linalg.norm(image)
