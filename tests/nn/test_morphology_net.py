"""The network of answers: sums along the tree, variances, exact invariance, and a member that learns."""

import numpy as np
import pytest
import torch

from skyloom.data.decision_tree import PARENTS, SIZES, inconsistency
from skyloom.nn.equivariant import EquivariantConfig
from skyloom.nn.morphology import Answers, MorphologyConfig, MorphologyNet, members_of
from skyloom.objectives.votes import votes_loss

SMALL = EquivariantConfig(bands=2, widths=(2, 3, 4))
TREE = MorphologyConfig(SMALL, hidden=8, sizes=SIZES, parents=PARENTS)


def answers(count=50, seed=0) -> Answers:
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, 37, generator=rng, dtype=torch.float64)
    return Answers(logits, torch.randn(count, 11, generator=rng, dtype=torch.float64))


def test_whatever_the_logits_the_37_answers_add_up():
    fractions = answers().fractions(SIZES, PARENTS)
    assert fractions.min() >= 0 and fractions.max() <= 1
    np.testing.assert_allclose(inconsistency(fractions.numpy()), 0, atol=1e-12)


def test_the_variance_of_a_fraction_is_that_of_draws_from_the_dirichlet_laws():
    said, rng = answers(1), np.random.default_rng(1)
    alpha = [part[0].numpy() for part in said.concentrations(SIZES).split(list(SIZES), 1)]
    drawn: list[np.ndarray] = []
    for part, parent in zip(alpha, PARENTS, strict=True):
        above = np.concatenate(drawn, 1)[:, parent, None] if parent >= 0 else 1.0
        drawn.append(rng.dirichlet(part, 200_000) * above)
    fractions = np.concatenate(drawn, 1)
    np.testing.assert_allclose(fractions.mean(0), said.fractions(SIZES, PARENTS)[0], atol=3e-3)
    np.testing.assert_allclose(fractions.var(0), said.variances(SIZES, PARENTS)[0], rtol=0.05, atol=2e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_turned_images_have_the_same_answers_only_if_orientations_are_shared(shared):
    torch.manual_seed(0)
    config = MorphologyConfig(SMALL, shared, hidden=8, sizes=SIZES, parents=PARENTS)
    net, images = MorphologyNet(config).eval().double(), torch.randn(3, 2, 16, 16).double()
    with torch.no_grad():
        apart = (net(images).logits - net(torch.rot90(images, 1, (2, 3))).logits).abs().max()
    assert apart < 1e-12 if shared else apart > 1e-4


def test_members_begin_apart():
    members = members_of(MorphologyConfig(SMALL, members=2))
    assert not torch.equal(members[0].head.answers.weight, members[1].head.answers.weight)


def test_every_weight_learns_from_votes():
    net = MorphologyNet(TREE)
    votes_loss(net(torch.randn(4, 2, 16, 16)), torch.ones(4, 37), SIZES).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
