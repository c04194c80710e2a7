"""Losses of answers: scipy's law of votes, Kaggle's error, and classes."""

import numpy as np
import pytest
import torch
from scipy.stats import dirichlet_multinomial as reference

from skyloom.data.decision_tree import PARENTS, SIZES, fractions_of
from skyloom.nn.morphology import Answers
from skyloom.objectives.votes import answers_loss, class_loss, dirichlet_multinomial, rmse, votes_loss


@pytest.mark.parametrize("answers", [2, 3, 7])
def test_the_law_of_votes_is_scipys(answers):
    rng = np.random.default_rng(answers)
    for _ in range(20):
        alpha, votes = rng.gamma(1.0, 3.0, answers) + 1e-2, rng.integers(0, 30, answers)
        found = dirichlet_multinomial(torch.tensor(votes).double(), torch.tensor(alpha))
        assert float(found) == pytest.approx(-reference.logpmf(votes, alpha, votes.sum()), abs=1e-9)


def test_a_question_that_nobody_was_asked_costs_nothing():
    assert float(dirichlet_multinomial(torch.zeros(3), torch.tensor([1.0, 2.0, 0.3]))) == 0


def test_the_likeliest_concentrations_are_those_that_votes_were_drawn_from():
    rng = np.random.default_rng(0)
    alpha = np.array([4.0, 2.0, 1.0])
    votes = torch.tensor(np.array([rng.multinomial(40, rng.dirichlet(alpha)) for _ in range(4000)])).double()
    logs = torch.zeros(3, dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([logs], max_iter=60)

    def loss():
        optimiser.zero_grad()
        value = dirichlet_multinomial(votes, logs.exp().expand(len(votes), 3)).mean()
        value.backward()
        return value

    optimiser.step(loss)
    np.testing.assert_allclose(logs.exp().detach(), alpha, rtol=0.05)


def test_votes_on_all_questions_are_added():
    said = Answers(torch.randn(5, 37), torch.randn(5, 11))
    counts = torch.randint(0, 9, (5, 37)).float()
    alpha = said.concentrations(SIZES)
    each = [dirichlet_multinomial(n, a) for n, a in zip(counts.split(SIZES, 1), alpha.split(SIZES, 1), strict=True)]
    torch.testing.assert_close(votes_loss(said, counts, SIZES), torch.stack(each).sum(0).mean())


def test_the_error_of_fractions_is_kaggles_and_leaves_out_what_is_unknown():
    rng = np.random.default_rng(1)
    predicted, truth = rng.random((6, 37)), rng.random((6, 37))
    assert float(rmse(torch.tensor(predicted), torch.tensor(truth))) == pytest.approx(
        np.sqrt(np.mean((predicted - truth) ** 2))
    )
    truth[:, 5:] = np.nan
    leaf = torch.tensor(predicted, requires_grad=True)
    found = rmse(leaf, torch.tensor(truth))
    found.backward()
    assert found.item() == pytest.approx(np.sqrt(np.mean((predicted - truth)[:, :5] ** 2)))
    assert torch.isfinite(leaf.grad).all() and (leaf.grad[:, 5:] == 0).all()


def test_each_kind_of_label_has_its_loss():
    said, votes = Answers(torch.randn(4, 37), torch.randn(4, 11)), torch.randint(1, 9, (4, 37)).float()
    fractions = torch.tensor(fractions_of(votes.numpy())).float()
    assert answers_loss(said, votes, "counts", SIZES, PARENTS) == votes_loss(said, votes, SIZES)
    assert answers_loss(said, fractions, "fractions", SIZES, PARENTS) == rmse(said.fractions(SIZES, PARENTS), fractions)
    two, kinds = Answers(torch.randn(4, 2), torch.zeros(4, 1)), torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(two.logits[:, 1] - two.logits[:, 0], kinds[:, 0])
    torch.testing.assert_close(answers_loss(two, kinds, "classes", (2,), (-1,)), expected)
    torch.testing.assert_close(class_loss(two.logits, kinds), expected)
