"""The loss is the mean square over what counts, blind to padding, and forced as often as it says."""

import pytest
import torch
from torch import nn

from skyloom.nn.pix2prof import Pix2Prof, Pix2ProfConfig
from skyloom.objectives.sequence import Sequence, SequenceBatch, with_plateau

STEPS = 12


class Recorder(nn.Module):
    """Predicts one number everywhere, and remembers how it was asked."""

    def __init__(self, value: float = 0.0):
        super().__init__()
        self.value, self.asked = value, []

    def forward(self, images, targets, forced):
        self.asked.append(forced)
        return torch.full_like(targets, self.value)


def batch(weight: torch.Tensor | None = None) -> SequenceBatch:
    rng = torch.Generator().manual_seed(0)
    images, targets = torch.randn(3, 1, 32, 32, generator=rng), torch.randn(3, STEPS, generator=rng)
    return SequenceBatch(images, targets, torch.ones(3, STEPS) if weight is None else weight)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_loss_is_the_mean_squared_error():
    one = batch()
    loss = Sequence()(Recorder(0.5), one, generator())
    torch.testing.assert_close(loss, (one.targets - 0.5).square().mean())


def test_a_profile_counts_by_its_number_of_values():
    weight = torch.zeros(3, STEPS)
    weight[0, :2], weight[1, :9] = 1, 1
    one = batch(weight)
    residual = torch.cat([one.targets[0, :2], one.targets[1, :9]])
    torch.testing.assert_close(Sequence()(Recorder(), one, generator()), residual.square().mean())


@pytest.mark.parametrize("decoder", ["gru", "reinjected", "transformer"])
@pytest.mark.parametrize("teacher_forcing", [0.0, 1.0])
def test_the_loss_and_its_gradient_ignore_the_padding(decoder, teacher_forcing):
    torch.manual_seed(0)
    net = Pix2Prof(Pix2ProfConfig(stem="strided", width=8, decoder=decoder, reinject_every=5)).eval()
    weight = (torch.arange(STEPS) < torch.tensor([4, 12, 7])[:, None]).float()
    one = batch(weight)
    other = one._replace(targets=torch.where(weight > 0, one.targets, 7.0))
    losses, gradients = [], []
    for each in (one, other):
        net.zero_grad()
        losses.append(Sequence(teacher_forcing)(net, each, generator()))
        losses[-1].backward()
        gradients.append(net.encoder.features[0][0].weight.grad.clone())
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_a_batch_is_forced_as_often_as_the_objective_says():
    net, rng = Recorder(), generator()
    for _ in range(1000):
        Sequence(0.4)(net, batch(), rng)
    assert sum(net.asked) == pytest.approx(400, abs=47)  # 3 σ of a binomial


def test_the_same_generator_gives_the_same_decisions():
    first, second = Recorder(), Recorder()
    for net in (first, second):
        rng = generator()
        for _ in range(20):
            Sequence()(net, batch(), rng)
    assert first.asked == second.asked and len(set(first.asked)) == 2


def test_a_plateau_holds_the_last_value_and_its_beginning_counts():
    profiles = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, torch.nan, torch.inf]])
    targets, weight = with_plateau(profiles, torch.tensor([4, 2]), steps=2)
    assert targets.tolist() == [[1, 2, 3, 4, 4, 4], [5, 6, 6, 6, 6, 6]]
    assert weight.tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]
