"""Reading between pixels: exact on what a spline or a parabola can hold, and blind to bad pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from skyloom.sky.resample import pyramid, sample_layer, spline_coefficients, spline_sample

coefficients = st.lists(st.floats(-1, 1), min_size=6, max_size=6)
SIDE = 96


def scattered(margin: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Three hundred points at least `margin` pixels from the edge, as (1, r, t)."""
    points = np.random.default_rng(5).uniform(margin, SIDE - 1 - margin, (2, 1, 10, 30))
    return tuple(torch.from_numpy(axis) for axis in points)


def parabola(terms, x, y):
    a, b, c, d, e, f = terms
    u, v = (x - SIDE / 2) / 10, (y - SIDE / 2) / 10
    return 10 + a * u + b * v + c * u**2 + d * v**2 + e * u * v + f


def image_of(surface) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIDE).double(), torch.arange(SIDE).double(), indexing="ij")
    return surface(x, y)[None]


def test_a_spline_passes_through_the_pixels():
    image = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (3, 24, 31)))
    y, x = np.indices((24, 31))
    x, y = (torch.from_numpy(np.tile(a.ravel(), (3, 1))).double() for a in (x, y))
    inside = ((x > 9) & (x < 21) & (y > 9) & (y < 14))[0]  # the filter is 17 pixels long
    read = spline_sample(spline_coefficients(image), x, y)
    np.testing.assert_allclose(read[:, inside], image.flatten(1)[:, inside], atol=1e-4)


def test_a_spline_is_that_of_scipy():
    """Tolerance 1e-4 of the rms: our inverse filter is cut to 17 taps."""
    image = np.random.default_rng(1).normal(0, 1, (40, 50))
    x, y = np.random.default_rng(2).uniform(12, 27, (2, 200))
    ours = spline_sample(
        spline_coefficients(torch.from_numpy(image)[None]), *(torch.from_numpy(a)[None] for a in (x, y))
    )
    np.testing.assert_allclose(ours[0], map_coordinates(image, (y, x), order=3, mode="mirror"), atol=2e-4)


@settings(max_examples=20)
@given(coefficients, st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_a_spline_reproduces_cubics(terms, g, h):
    def surface(x, y):
        return parabola(terms, x, y) + g * ((x - 48) / 10) ** 3 + h * ((x - 48) / 10) * ((y - 48) / 10) ** 2

    x, y = (points.flatten(1) for points in scattered(12))
    read = spline_sample(spline_coefficients(image_of(surface)), x, y)
    np.testing.assert_allclose(read, surface(x, y), atol=2e-3)


@pytest.mark.parametrize("level", range(5))
@settings(max_examples=15)
@given(terms=coefficients)
def test_a_layer_of_the_pyramid_reproduces_a_parabola_on_average(level, terms):
    """Unsharpened, a box of side s read bilinearly is too high by s²/8 of a second derivative on average. Sharpened,
    points spread evenly between knots have the right mean, and each one is off by s²/12 at most: one on a knot."""
    side = 2**level
    layers = pyramid(image_of(lambda x, y: parabola(terms, x, y)), torch.ones(1, SIDE, SIDE).double(), 5)
    knot = (SIDE // 2 // side - 1) * side + (side - 1) / 2
    between = knot + (torch.arange(20).double() + 0.5) / 20 * side
    x, y = (a[None] for a in torch.meshgrid(between, between, indexing="xy"))
    read, good = sample_layer(layers[level], level, x, y)
    error = read - parabola(terms, x, y)
    bend = (abs(terms[2]) + abs(terms[3])) * 2 / 100  # second derivative per pixel²
    assert error.abs().max() <= bend * side**2 / 12 + 1e-9
    assert abs(error.mean()) <= bend * side**2 / 12 / 100 + 1e-9
    np.testing.assert_allclose(good, 1)


@pytest.mark.parametrize("value", [0.0, 1e4, -1e30, 1e30])
def test_bad_pixels_never_enter_a_layer(value):
    rng = np.random.default_rng(3)
    good = torch.from_numpy((rng.random((1, SIDE, SIDE)) > 0.3).astype(float))
    flux = torch.full((1, SIDE, SIDE), 7.0).double()
    spoiled = torch.where(good > 0, flux, value)
    x, y = scattered(1)
    for level, layer in enumerate(pyramid(spoiled * good, good, 5)):
        read, seen = sample_layer(layer, level, x, y)
        np.testing.assert_allclose(read[seen > 0.01], 7.0, rtol=1e-6)


def test_the_good_fraction_counts_what_lies_outside_as_bad():
    layers = pyramid(torch.ones(1, 50, 70), torch.ones(1, 50, 70), 5)
    x, y = torch.tensor([[[-100.0, 35.0, 69.5, 200.0]]]), torch.tensor([[[25.0, 25.0, 25.0, 25.0]]])
    for level, layer in enumerate(layers):
        _, good = sample_layer(layer, level, x, y)
        assert good[0, 0, 0] == 0
        assert good[0, 0, 1] == pytest.approx(1)
        assert good[0, 0, 3] == 0


@pytest.mark.parametrize("shape", [(8, 8), (9, 9), (33, 47), (17, 200)])
def test_layers_cover_frames_of_any_side(shape):
    flux = torch.ones(2, *shape)
    for level, layer in enumerate(pyramid(flux, flux, 5)):
        assert layer.shape[2] * 2**level >= shape[0] and layer.shape[3] * 2**level >= shape[1]
        here = torch.full((2, 1, 1), 3.0)
        read, good = sample_layer(layer, level, here, here)
        np.testing.assert_allclose(read[good > 0.5], 1.0, rtol=1e-5)
