"""Pix2Prof's laws: batches, modes and compaction change nothing; profiles stop by the published rule; it can learn."""

import pytest
import torch
from torch import nn

from skyloom.nn.pix2prof import Pix2Prof, Pix2ProfConfig
from skyloom.nn.resnet import fast
from skyloom.objectives.sequence import Sequence, SequenceBatch

STEPS = 24
DECODERS = ["gru", "reinjected", "transformer"]
each_decoder = pytest.mark.parametrize("decoder", DECODERS)


def small(decoder: str = "gru", **config) -> Pix2Prof:
    """A net whose batch norms have seen images and whose outputs differ from galaxy to galaxy, in evaluation mode."""
    torch.manual_seed(0)
    net = Pix2Prof(Pix2ProfConfig(stem="strided", width=8, decoder=decoder, reinject_every=7, **config))
    with torch.no_grad():
        for _ in range(5):
            net.encoder(discs(8))
    return net.eval()


def discs(n: int, side: int = 64) -> torch.Tensor:
    """Exponential discs, each of its own size."""
    place = torch.arange(side) - (side - 1) / 2
    radius = torch.hypot(place[:, None], place)
    return torch.exp(-radius / torch.linspace(3, 20, n)[:, None, None])[:, None]


class Slopes(nn.Module):
    """A decoder that falls by `slope` a step until the step that the image's first pixel names, and is flat then."""

    slope = 0.05

    def begin(self, features):
        return features[:, 0, 0, 0], 0

    def step(self, last, memory):
        end, steps = memory
        return self.slope * end.clamp_max(steps), (end, steps + 1)

    def forced(self, inputs, memory):
        return self.slope * memory[0][:, None].minimum(torch.arange(inputs.shape[1]))

    def keep(self, memory, rows):
        return memory[0][rows], memory[1]


def falling(ends: list[int]) -> tuple[Pix2Prof, torch.Tensor]:
    net = small()
    net.encoder.features, net.decoder = nn.Identity(), Slopes()
    return net, torch.tensor(ends, dtype=torch.float32)[:, None, None, None]


@each_decoder
def test_a_batch_is_its_galaxies_one_by_one(decoder):
    net, images = small(decoder), discs(5)
    together = net.predict(images, most=STEPS, tolerance=-1.0)
    alone = torch.cat([net.predict(image, most=STEPS, tolerance=-1.0).values for image in images.split(1)])
    assert together.values.std(0).max() > 1e-3, "the galaxies should differ"
    torch.testing.assert_close(together.values, alone, rtol=0, atol=1e-5)


@each_decoder
def test_the_fast_copy_predicts_the_same(decoder):
    net, images = small(decoder), discs(5)
    quick = fast(net).predict(images, most=STEPS, tolerance=-1.0).values
    torch.testing.assert_close(quick, net.predict(images, most=STEPS, tolerance=-1.0).values, rtol=0, atol=1e-4)


@each_decoder
def test_known_inputs_in_one_pass_are_the_same_as_step_by_step(decoder):
    net, images, targets = small(decoder), discs(4), torch.randn(4, STEPS)
    with torch.no_grad():
        memory = net.decoder.begin(net.encoder.features(images))
        values = []
        for last in torch.cat([torch.zeros(4, 1), targets[:, :-1]], 1).T:
            value, memory = net.decoder.step(last, memory)
            values.append(value)
        torch.testing.assert_close(net(images, targets, forced=True), torch.stack(values, 1), rtol=0, atol=1e-5)


@each_decoder
def test_being_fed_with_its_own_values_is_running_free(decoder):
    net, images = small(decoder), discs(4)
    with torch.no_grad():
        own = net(images, torch.zeros(4, STEPS), forced=False)
        torch.testing.assert_close(net(images, own, forced=True), own, rtol=0, atol=1e-5)
    torch.testing.assert_close(net.predict(images, most=STEPS, tolerance=-1.0).values, own, rtol=0, atol=1e-5)


@each_decoder
def test_the_future_does_not_change_the_past(decoder):
    net, images, targets = small(decoder), discs(2), torch.randn(2, STEPS)
    later = targets.clone()
    later[:, 10:] += 5
    with torch.no_grad():
        values, changed = (net(images, inputs, forced=True) for inputs in (targets, later))
    torch.testing.assert_close(values[:, :11], changed[:, :11], rtol=0, atol=1e-6)
    assert (values[:, 11:] != changed[:, 11:]).any()


@each_decoder
def test_running_free_keeps_the_gradient_of_its_own_inputs(decoder):
    net = small(decoder, dropout=0.0).train()
    net(discs(2), torch.zeros(2, 12), forced=False)[:, -1].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())


@each_decoder
def test_leaving_the_batch_changes_nothing_for_those_that_stay(decoder):
    net, images = small(decoder), discs(6)
    whole = net.predict(images, most=STEPS, tolerance=-1.0).values
    spread = whole.unfold(1, 5, 1).std(-1, correction=0)
    tolerance = float(spread.min(1).values.median()) * 1.001
    values, length = net.predict(images, most=STEPS, window=5, tolerance=tolerance)
    stops = spread <= tolerance
    expected = torch.where(stops.any(1), stops.to(torch.int8).argmax(1), STEPS)
    assert len(set(length.tolist())) > 1, "some should stop and some not, or at other steps"
    torch.testing.assert_close(length, expected)
    for row, all_of_it, end in zip(values, whole, length, strict=True):
        last = min(int(end) + 5, STEPS)
        torch.testing.assert_close(row[:last], all_of_it[:last], rtol=0, atol=1e-5)
        assert row[last:].isnan().all()


def test_a_profile_ends_where_it_goes_flat():
    net, images = falling([0, 30, 7, 150])
    values, length = net.predict(images, most=400, window=100, tolerance=1e-3)
    assert length.tolist() == [0, 30, 7, 150]
    assert values.shape == (4, 250), "the batch goes on until the last has stopped"
    assert values.isfinite().sum(1).tolist() == [100, 130, 107, 250]


def test_a_wider_tolerance_stops_earlier_and_a_negative_one_never():
    net, images = falling([30, 60])
    lengths = [net.predict(images, most=200, window=20, tolerance=t).length for t in (1e-4, 0.05, 0.2)]
    assert (lengths[0] > lengths[1]).all() and (lengths[1] > lengths[2]).all()
    values, length = net.predict(images, most=200, window=20, tolerance=-1.0)
    assert length.tolist() == [200, 200] and values.isfinite().all()


def test_a_profile_that_is_never_flat_is_cut_at_most():
    net, images = falling([1000])
    values, length = net.predict(images, most=150, window=100, tolerance=0.01)
    assert values.shape == (1, 150) and length.tolist() == [150]


def test_predicting_is_not_random_and_leaves_the_net_in_its_mode():
    net, images = small().train(), discs(3)
    first, second = (net.predict(images, most=STEPS, tolerance=-1.0).values for _ in range(2))
    assert net.training and torch.equal(first, second)


@pytest.mark.parametrize(
    ("decoder", "rate", "steps"),
    [("gru", 3e-3, 60), ("reinjected", 3e-3, 60), pytest.param("transformer", 1e-3, 200, marks=pytest.mark.slow)],
)
def test_it_learns_eight_galaxies_by_heart(decoder, rate, steps):
    net, images = small(decoder, dropout=0.0).train(), discs(8)
    targets = -1.5 + 3 * torch.arange(12) / torch.linspace(12, 48, 8)[:, None]
    batch = SequenceBatch(images, targets, torch.ones_like(targets))
    optimiser = torch.optim.Adam(net.parameters(), rate)
    rng = torch.Generator().manual_seed(0)
    for _ in range(steps):
        optimiser.zero_grad()
        Sequence()(net, batch, rng).backward()
        optimiser.step()
    residual = net(images, targets, forced=False) - targets
    assert residual.square().mean() < 0.03 * targets.var()
