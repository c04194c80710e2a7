"""The encoder with filters in all orientations: turned images, turned maps and one vector; its cost is as stated."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from skyloom.nn.equivariant import ORIENTATIONS, EquivariantConfig, EquivariantEncoder, TurnedConv, turned

SMALL = EquivariantConfig(bands=2, widths=(2, 3, 4))


def images(count=3, bands=2, side=16, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, bands, side, side)).astype(np.float32))


def trained(config=SMALL, seed=1):
    """An encoder whose norms have seen images, so that they do something."""
    torch.manual_seed(seed)
    net = EquivariantEncoder(config)
    for step in range(3):
        net(3 * images(8, config.bands, seed=step) + 1)
    return net.eval().double()


def under(x: torch.Tensor, g: int) -> torch.Tensor:
    return torch.from_numpy(turned(x.numpy(), g).copy())


@pytest.mark.parametrize("g", range(ORIENTATIONS))
def test_all_symmetries_of_an_image_have_one_vector(g):
    net, upright = trained(), images().double()
    with torch.no_grad():
        torch.testing.assert_close(net(under(upright, g)), net(upright), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("g", range(ORIENTATIONS))
def test_the_maps_turn_with_the_image_and_their_orientations_change_places(g):
    net, upright = trained(), images().double()
    with torch.no_grad():
        before, after = net.maps(upright), net.maps(under(upright, g))
    square = np.arange(9).reshape(3, 3)
    numbers = {turned(square, k).tobytes(): k for k in range(ORIENTATIONS)}
    for h in range(ORIENTATIONS):
        moved = numbers[turned(turned(square, h), g).tobytes()]  # g after h
        torch.testing.assert_close(after[:, :, moved], under(before[:, :, h], g), atol=1e-12, rtol=1e-12)


def test_in_single_precision_it_holds_to_rounding():
    net, upright = trained().float(), images()
    with torch.no_grad():
        for g in range(ORIENTATIONS):
            torch.testing.assert_close(net(under(upright, g)), net(upright), atol=1e-5, rtol=1e-5)


def test_other_images_have_other_vectors():
    net = trained()
    with torch.no_grad():
        a, b = net(images(seed=0).double()), net(images(seed=9).double())
        shifted = net(images(seed=0).double() + 0.5)
    assert (a - b).abs().max() > 1e-2 and (a - shifted).abs().max() > 1e-2


def test_a_turn_by_less_than_a_quarter_is_another_image():
    """What is exact holds for the square's symmetries alone; pixels do not lie on each other for other angles."""
    net, upright = trained(), images().double()
    angle = torch.tensor(np.pi / 4)
    matrix = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]]).double().expand(3, 2, 3)
    grid = torch.nn.functional.affine_grid(matrix, list(upright.shape), align_corners=False)
    with torch.no_grad():
        leaning = net(torch.nn.functional.grid_sample(upright, grid, align_corners=False))
        assert (leaning - net(upright)).abs().max() > 1e-3


def test_each_filter_of_a_lifted_layer_is_one_filter_turned():
    layer = TurnedConv(2, 3, 4, lift=True)
    filters = layer.filters().detach().numpy().reshape(3, ORIENTATIONS, 2, 4, 4)
    for g in range(ORIENTATIONS):
        np.testing.assert_array_equal(filters[:, g], turned(layer.weight.detach().numpy()[:, :, 0], g))


def test_the_cost_is_what_the_config_says_and_the_weights_are_an_eighth_of_a_plain_networks():
    config = EquivariantConfig()
    net = EquivariantEncoder(config).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        assert net(images(1, 3, 64)).shape == (1, config.dimension)
    assert counter.get_total_flops() == config.flop(64) <= 1.1e8
    turned_layers = [layer for layer in net.modules() if isinstance(layer, TurnedConv)]
    shared, plain = (sum(part.numel() for part in parts) for parts in (
        [layer.weight for layer in turned_layers], [layer.filters() for layer in turned_layers],
    ))  # fmt: skip
    assert plain == ORIENTATIONS * shared


def test_every_weight_learns():
    net = EquivariantEncoder(SMALL)
    net(images()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
