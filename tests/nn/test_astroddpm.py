"""The published U-Net."""

import pytest
import torch

from skyloom.nn.astroddpm import AstroDDPM, AstroDDPMConfig, LinearAttention, place


def small(**changes):
    return AstroDDPM(AstroDDPMConfig(**{"widths": (8, 16, 16), "blocks": 1, "heads": 2, **changes})).eval()


@pytest.mark.parametrize("bands", [1, 3, 9])
def test_noise_comes_out_in_the_shape_it_came_in(bands):
    x = torch.randn(2, bands, 16, 24)
    assert small(channels=bands)(x, torch.tensor([0, 999])).shape == x.shape


def test_the_step_is_told():
    net, x = small(), torch.randn(1, 3, 16, 16)
    assert not torch.allclose(net(x, torch.tensor([10])), net(x, torch.tensor([900])))


def test_steps_have_places_of_their_own():
    places = place(torch.arange(1000), 32)
    assert places.shape == (1000, 32)
    assert torch.cdist(places, places).add(torch.eye(1000)).min() > 1e-3


def test_linear_attention_does_not_care_in_which_order_the_pixels_come():
    layer = LinearAttention(16, 2).eval()
    x = torch.randn(1, 16, 4, 4)
    order = torch.randperm(16)
    mixed = x.flatten(2)[..., order].unflatten(-1, (4, 4))
    torch.testing.assert_close(layer(mixed).flatten(2), layer(x).flatten(2)[..., order], atol=1e-5, rtol=1e-4)


def test_the_published_layout_has_three_levels_of_two_blocks():
    net = AstroDDPM(AstroDDPMConfig())
    assert len(net.down) == len(net.up) == 3 and all(len(level.blocks) == 2 for level in (*net.down, *net.up))
    assert net.config.multiple == 8
