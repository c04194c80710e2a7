"""The denoiser of galaxy_edm: its preconditioning, and that no layer lets magnitudes grow or shrink."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from skyloom.nn.denoiser import Block, Denoiser, DenoiserConfig
from skyloom.nn.preserving import Conv, Waves, blend, side_by_side, silu, unit_vectors
from skyloom.nn.starlets import starlets
from skyloom.recipes.galaxy_edm import galaxy_edm


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Denoiser(DenoiserConfig(**{"widths": (8, 16), "heads": 2, **changes}))


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 1e3])
def test_before_training_it_is_the_best_guess_about_white_noise(sigma):
    """Its last gain starts at 0, so it says what is true of images of independent pixels of rms `spread`."""
    net, x = small(spread=0.8), normal(2, 3, 16, 16)
    expected = x * 0.8**2 / (0.8**2 + sigma**2)
    torch.testing.assert_close(net(x, torch.tensor(sigma)), expected)


def test_it_takes_one_level_for_all_or_one_each():
    net, x = small().eval(), normal(3, 3, 16, 16)
    net.gain.data.fill_(1.0)
    net.filters.data.normal_(generator=torch.Generator().manual_seed(1))
    levels = torch.tensor([0.1, 1.0, 10.0])
    together = net(x, levels)
    for k, level in enumerate(levels):
        torch.testing.assert_close(net(x[k : k + 1], level), together[k : k + 1], rtol=1e-4, atol=1e-5)


def test_the_filter_of_a_band_sees_that_band_and_as_far_as_it_reaches():
    net = small(reach=2).eval()
    net.filters.data.normal_(generator=torch.Generator().manual_seed(1))
    dot = torch.zeros(1, 3, 16, 16)
    dot[0, 1, 8, 8] = 1.0
    seen = net(dot, torch.tensor(1.0))[0].detach() != 0
    assert not seen[[0, 2]].any() and seen[1, 6:11, 6:11].all() and seen[1].sum() == 25


def test_filters_learn_the_ideal_denoiser_of_a_correlated_sky():
    """One band of correlated noise, one of white noise fainter than `spread`. Wiener's filter is the referee."""
    net = small(channels=2, spread=1.0, reach=3, widths=(4, 4), heads=1)
    waves = torch.fft.fftfreq(16)
    power = torch.exp(-20 * (waves[:, None] ** 2 + waves**2))
    power = torch.stack([power / power.mean(), torch.full((16, 16), 0.25)])
    optimiser = torch.optim.Adam([net.filters], lr=0.05)

    def sky(seed):
        return torch.fft.ifft2(torch.fft.fft2(normal(16, 2, 16, 16, seed=seed)) * power.sqrt()).real

    def error(seed):
        clean, noise = sky(seed), normal(16, 2, 16, 16, seed=1000 + seed)
        off = (net(clean + noise, torch.tensor(1.0)) - clean)[..., 4:-4, 4:-4]
        return off.square().mean((0, 2, 3))

    for step in range(100):
        optimiser.zero_grad()
        error(step).sum().backward()
        optimiser.step()
    with torch.no_grad():
        found = torch.stack([error(5000 + k) for k in range(8)]).mean(0)
    ideal = (power / (power + 1)).mean((1, 2))
    assert (found / ideal).tolist() == pytest.approx([1, 1], abs=0.06)


class Said(torch.nn.Module):
    """The same shares at every pixel."""

    def __init__(self, shares):
        super().__init__()
        self.shares = shares

    def forward(self, x):
        return self.shares.view(1, -1, 1, 1).expand(len(x), -1, *x.shape[-2:])


def test_what_is_said_to_be_noise_is_taken_away_but_never_more_than_noise_can_be():
    """All details of a faint pattern go; a source of 1000 σ keeps what is more than 3 σ of it."""
    net, level = small(channels=1, spread=1.0, reach=0, widths=(4, 4), heads=1).eval(), 0.01
    net.weighed.data.fill_(1)
    net.shares = Said(torch.tensor([-0.891, -0.2007, -0.0855, 0, 0, 0]))  # of each scale's noise, all of it
    pattern = 0.001 * normal(1, 1, 32, 32)
    left = net(pattern, torch.tensor(level))[..., 8:-8, 8:-8]
    smooth = (pattern - starlets(pattern, 3).sum(0))[..., 8:-8, 8:-8]
    assert (left - smooth).abs().max() < 0.1 * pattern.std()
    star = torch.zeros(1, 1, 32, 32)
    star[..., 16, 16] = 1000 * level
    assert net(star, torch.tensor(level))[0, 0, 16, 16] > (1000 - 3 * 1.3) * level


def test_it_takes_any_size_that_is_a_multiple_and_any_number_of_bands():
    net = small(channels=5).eval()
    assert net.config.multiple == 4
    for side in (8, 12, 64):
        assert net(normal(1, 5, side, side), torch.tensor(1.0)).shape == (1, 5, side, side)


def test_a_label_that_is_not_known_says_nothing():
    net, x = small(conditions=2).eval(), normal(2, 3, 16, 16)
    net.gain.data.fill_(1.0)
    for block in net.modules():
        if isinstance(block, Block):
            block.say.data.fill_(1.0)
    net.label.heard.data.fill_(1.0)
    silent = net(x, torch.tensor(1.0))
    torch.testing.assert_close(net(x, torch.tensor(1.0), torch.full((2, 2), torch.nan)), silent)
    assert not torch.allclose(net(x, torch.tensor(1.0), torch.ones(2, 2)), silent)
    assert not torch.allclose(net(x, torch.tensor(1.0), torch.zeros(2, 2)), silent)  # the mean was said


def test_before_training_nothing_that_is_said_is_heard():
    net, x = small(conditions=2).eval(), normal(2, 3, 16, 16)
    for name, gain in net.named_parameters():
        if name.endswith(("gain", "say")):
            gain.data.fill_(1.0)
    assert torch.equal(net(x, torch.tensor(1.0), normal(2, 2)), net(x, torch.tensor(1.0)))
    heard = normal(1, net.config.embedding).expand(2, -1)
    assert not torch.allclose(net(x, torch.tensor(1.0), heard=heard), net(x, torch.tensor(1.0)))


def test_layers_keep_the_magnitude_of_noise():
    x = normal(64, 32, 16, 16)
    assert Conv(32, 48, 3)(x).detach().std() == pytest.approx(1, abs=0.07)  # its padding is empty
    assert silu(x).square().mean().sqrt() == pytest.approx(1, abs=0.01)
    assert blend(x, normal(64, 32, 16, 16, seed=1), 0.3).std() == pytest.approx(1, abs=0.01)
    assert side_by_side(x, normal(64, 8, 16, 16, seed=2)).square().mean() == pytest.approx(1, abs=0.01)
    assert Waves(512)(torch.linspace(-2, 2, 50)).square().mean() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(unit_vectors(5 * x, (1,)).square().mean(1), torch.ones(64, 16, 16), atol=1e-3, rtol=0)


def test_the_length_of_the_stored_weights_does_not_matter_and_training_takes_it_back():
    layer, x = Conv(8, 8, 3), normal(2, 8, 8, 8)
    before = layer.eval()(x)
    layer.weight.data.mul_(100)
    torch.testing.assert_close(layer(x), before, rtol=1e-3, atol=1e-4)
    layer.train()(x)
    torch.testing.assert_close(layer.weight.square().mean((1, 2, 3)), torch.ones(8), rtol=1e-3, atol=1e-3)


def test_a_network_of_the_size_for_a_gpu_costs_what_the_recipe_says():
    for size, most in (("laptop", 0.45), ("gpu", 1.2)):
        net = Denoiser(galaxy_edm(size).net).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            net(normal(1, 3, 64, 64), torch.tensor(1.0))
        assert counted.get_total_flops() < most * 1e9
