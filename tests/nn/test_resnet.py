"""The ResNet has the published size, does not care about batches, and its fast copy predicts the same."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from skyloom.nn.resnet import ResNet, ResNetConfig, fast

BACKBONE = 11_176_512  # parameters of the published ResNet-18 for ImageNet, 11,689,512, without its dense layer
STEMS = ["cifar", "strided"]


def seen(config: ResNetConfig) -> ResNet:
    """A net in evaluation mode whose batch norms are not as they began."""
    torch.manual_seed(0)
    net = ResNet(config)
    with torch.no_grad():
        for _ in range(5):
            net(torch.randn(4, config.channels, 32, 32))
    return net.eval()


def test_the_backbone_has_the_published_number_of_parameters():
    net = ResNet(ResNetConfig(channels=3, stem="strided"))
    assert sum(parameter.numel() for parameter in net.parameters()) == BACKBONE


@pytest.mark.parametrize(("stem", "gflop"), [("cifar", 70.9), ("strided", 4.5)])
def test_an_image_costs_the_stated_number_of_operations(stem, gflop):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        ResNet(ResNetConfig(stem=stem)).eval()(torch.zeros(1, 1, 256, 256))
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflop, abs=0.05)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("shape", [(64, 64), (33, 70), (1, 1)])
def test_any_image_becomes_one_vector(stem, channels, shape):
    net = seen(ResNetConfig(channels, stem, width=8))
    with torch.no_grad():
        vectors = net(torch.randn(2, channels, *shape))
    assert vectors.shape == (2, net.out_channels) == (2, 64)
    assert vectors.isfinite().all()


@pytest.mark.parametrize(("stem", "smaller"), [("cifar", 8), ("strided", 32)])
def test_the_map_is_smaller_than_the_image_by_the_stem_and_three_stages(stem, smaller):
    net = seen(ResNetConfig(1, stem, width=8))
    with torch.no_grad():
        features = net.features(torch.randn(1, 1, 64, 96))
    assert features.shape == (1, 64, 64 // smaller, 96 // smaller)


@pytest.mark.parametrize("stem", STEMS)
def test_a_batch_is_its_images_one_by_one(stem):
    net, images = seen(ResNetConfig(1, stem, width=8)), torch.randn(5, 1, 64, 64)
    with torch.no_grad():
        alone = torch.cat([net(image) for image in images.split(1)])
        torch.testing.assert_close(net(images), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stem", STEMS)
def test_the_fast_copy_predicts_the_same_and_leaves_the_net_alone(stem):
    net, images = seen(ResNetConfig(2, stem, width=8)), torch.randn(3, 2, 64, 64)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    quick = fast(net.train())
    assert net.training and not quick.training
    assert not [layer for layer in quick.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    with torch.no_grad():
        expected = net.eval()(images)
        torch.testing.assert_close(quick(images), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
