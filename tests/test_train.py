"""The loop, the averages, and the schedule."""

import pytest
import torch
from torch import nn

from skyloom.train import averaged, descend, follow, level_then_linear, train, warm_then_cosine


def objective(net, batch, rng):
    noise = torch.rand((), generator=rng)
    return {"square": (net(batch) ** 2).mean() * (1 + 0 * noise), "noise": noise * net(batch).mean() * 0.1}


def update_of(net, seed=0):
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    return descend(net, objective, optimiser, seed=seed, rate=lambda number: 1e-2 / number)


def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))


def batches(start=0):
    return [torch.randn(4, 3, generator=torch.Generator().manual_seed(k)) for k in range(start, 6)]


def test_a_step_depends_on_its_number_and_seed_alone():
    """Dropout too: a loop that starts late, from the same weights, does the same."""
    first, second = small(), small()
    whole = list(train(update_of(first), batches()))
    torch.manual_seed(99)
    again = list(train(update_of(second), batches()))
    assert [step.number for step in whole] == [1, 2, 3, 4, 5, 6]
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(a.losses["square"] == b.losses["square"] for a, b in zip(whole, again, strict=True))


def test_the_callers_randomness_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    list(train(update_of(small()), batches()))
    assert torch.equal(torch.rand(2), expected)


def test_an_average_follows_and_keeps_its_distance():
    net = small()
    slow = averaged(net)
    with torch.no_grad():
        net[0].weight.add_(1.0)
    before = slow[0].weight.clone()
    follow(slow, net, 0.75)
    torch.testing.assert_close(slow[0].weight, before + 0.25)
    assert not any(p.requires_grad for p in slow.parameters())


@pytest.mark.parametrize("number, expected", [(5, 0.5), (10, 1.0), (60, 0.505), (110, 0.01), (500, 0.01)])
def test_the_rate_warms_up_and_falls_along_half_a_cosine(number, expected):
    assert warm_then_cosine(1.0, 10, 110)(number) == pytest.approx(expected)


def test_a_level_rate_falls_to_nearly_nought_at_the_end():
    rate = level_then_linear(1.0, 10, 4)
    assert [rate(number) for number in (1, 6, 7, 8, 10)] == pytest.approx([1, 1, 1, 0.75, 0.25])
    assert level_then_linear(1.0, 10, 0)(10) == 1.0
