"""The lecture's network: the sides of its maps, its cost and its weights are those of the table."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from skyloom.nn.galaxy_zoo import GalaxyZooConfig, GalaxyZooNet


def test_maps_channels_and_filters_are_those_of_the_lectures_table():
    config = GalaxyZooConfig()
    assert config.maps == (120, 39, 18, 16, 14, 12, 4)  # "spatial input size" of layers 1 to 7
    net = GalaxyZooNet(GalaxyZooConfig(perceptrons=0))
    convolutions = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [48, 96, 192, 192, 384, 384]
    assert [layer.kernel_size[0] for layer in convolutions] == [5, 5, 3, 3, 3, 3]
    assert {layer.padding[0] for layer in convolutions} == {0} and {layer.stride[0] for layer in convolutions} == {1}
    assert [layer.out_features for layer in net.modules() if isinstance(layer, nn.Linear)] == [2048, 2048, 37]
    pools = [layer for layer in net.modules() if isinstance(layer, nn.MaxPool2d)]
    assert [(pool.kernel_size, pool.stride) for pool in pools] == [(3, 3), (2, 2), (3, 3)]


def test_the_cost_is_what_the_config_says():
    config = GalaxyZooConfig(width=4, dense=32, perceptrons=0)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        assert GalaxyZooNet(config)(torch.zeros(1, 3, 120, 120)).shape == (1, 37)
    assert counter.get_total_flops() == config.flop()
    assert 1.0e9 < GalaxyZooConfig().flop() < 1.1e9


def test_what_it_says_lies_within_0_and_1_and_perceptrons_see_the_penultimate_features():
    torch.manual_seed(0)
    net = GalaxyZooNet(GalaxyZooConfig(bands=2, side=84, width=2, dense=16, hidden=8)).eval()
    images = 50 * torch.randn(5, 2, 84, 84)
    said = net.said(images)
    assert said.shape == (3, 5, 37) and said.min() >= 0 and said.max() <= 1
    torch.testing.assert_close(said[1:], net.on_top(net.features(images)).clamp(0, 1))
