"""What a vector is told beside what convolutions find: light in circles, in units of noise, and the bands there are."""

import numpy as np
import pytest
import torch

from skyloom.nn.embedder import Embedder, EmbedderConfig, circled

RADII = (1.5, 3.0, 6.0)


def test_light_in_circles_has_unit_noise_on_blank_sky():
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(4000, 1, 32, 32)).astype(np.float32))
    np.testing.assert_allclose(circled(noise.asinh(), RADII).sinh().std(0), 1, atol=0.05)


def test_light_in_circles_is_that_of_an_aperture_and_keeps_colours():
    """Of a Gaussian of σ = 2: 1 − exp(−r²/8) of its light; twice as bright in the other band, at every radius."""
    y, x = np.indices((32, 32)) - 15.5
    light = 5000 / (8 * np.pi) * np.exp(-(x**2 + y**2) / 8)
    images = torch.from_numpy(np.stack([light, 2 * light])[None]).float()
    found = circled(images.asinh(), RADII).sinh()[0].unflatten(0, (2, 3)).numpy()
    np.testing.assert_allclose(found[1] / found[0], 2, rtol=1e-4)
    radii = np.array(RADII)
    expected = 5000 * (1 - np.exp(-(radii**2) / 8)) / np.sqrt(np.pi * radii**2)
    np.testing.assert_allclose(found[0, 1:], expected[1:], rtol=0.06)  # the smallest is too coarse for that


@pytest.mark.parametrize("turn", range(4))
def test_a_turned_image_has_the_same_vector(turn):
    torch.manual_seed(0)
    net = Embedder(EmbedderConfig(channels=2, widths=(2, 3), dimension=5, shown=4)).eval()
    images, seen = torch.randn(3, 2, 16, 16), torch.ones(3, 2)
    with torch.no_grad():
        torch.testing.assert_close(net(images.rot90(turn, (2, 3)), seen), net(images, seen), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(net(images, 0 * seen), net(images, seen))
