"""Losses of rivals: by hand, by symmetry, and a contest that ends in a draw."""

import numpy as np
import torch

from skyloom.objectives.adversarial import average_loss, pair_loss, steepness
from skyloom.train import contend


def test_the_average_loss_is_that_of_the_paper():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.5, -1.0])
    sigmoid = torch.sigmoid
    by_hand = -(torch.log(sigmoid(real - fake.mean())).mean() + torch.log(1 - sigmoid(fake - real.mean())).mean())
    torch.testing.assert_close(average_loss(real, fake), by_hand)


def test_equal_verdicts_are_a_draw():
    same = torch.tensor([0.3, 0.3])
    torch.testing.assert_close(pair_loss(same, same), torch.tensor(np.log(2.0), dtype=torch.float32))
    torch.testing.assert_close(average_loss(same, same), torch.tensor(2 * np.log(2.0), dtype=torch.float32))


def test_steepness_is_the_square_of_the_slope():
    weight = torch.randn(2, 4, 4)
    images = torch.randn(5, 2, 4, 4)
    found = steepness(lambda x: (x * weight).sum((1, 2, 3)), images)
    torch.testing.assert_close(found, weight.square().sum())


class Shift(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.by = torch.nn.Parameter(torch.zeros(()))


class Tug:
    """A net that shifts noise, a critic that is a slope: the shift must end at the mean of the real numbers."""

    def __init__(self):
        self.net, self.critic = Shift(), torch.nn.Linear(1, 1)

    def made(self, batch):
        return torch.randn_like(batch) + self.net.by

    def critic_losses(self, number, batch, made):
        losses = {"critic": pair_loss(self.critic(batch)[:, 0], self.critic(made.detach())[:, 0])}
        return losses | {"steep": 0.5 * self.critic.weight.square().sum()}

    def net_losses(self, number, batch, made):
        return {"contest": pair_loss(self.critic(made)[:, 0], self.critic(batch)[:, 0].detach())}


def test_a_contest_ends_where_neither_can_tell():
    tug = Tug()
    optimisers = (torch.optim.SGD(tug.net.parameters(), 0.5), torch.optim.SGD(tug.critic.parameters(), 0.5))
    update = contend(tug, optimisers, seed=0, rates=lambda number: (min(1, 100 / number), 1.0))
    rng = torch.Generator().manual_seed(1)
    for number in range(1, 400):
        losses = update(number, 2.5 + torch.randn(256, 1, generator=rng))
    assert set(losses) == {"critic", "steep", "contest"}
    assert abs(tug.net.by.item() - 2.5) < 0.2
    assert abs(tug.critic.weight.item()) < 0.1
