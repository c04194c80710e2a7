"""Contrastive losses beside formulas written out one pair at a time, and at their known least values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from skyloom.objectives.contrastive import LOSSES, margin, nt_xent, nt_xent_floor, triplet

galaxies, seeds = st.integers(2, 6), st.integers(0, 10_000)


def vectors(n: int, seed: int, dimension=5) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(2 * n, dimension)))


def cosines(shown: torch.Tensor) -> np.ndarray:
    unit = shown.numpy() / np.linalg.norm(shown.numpy(), axis=1, keepdims=True)
    return unit @ unit.T


def simplex(n: int) -> torch.Tensor:
    """Both views of each of n galaxies at one corner of a regular simplex."""
    corners = torch.eye(n, dtype=torch.float64) - 1 / n
    return torch.cat([corners, corners])


@given(n=galaxies, seed=seeds, temperature=st.floats(0.05, 2))
def test_nt_xent_is_the_published_sum(n, seed, temperature):
    shown = vectors(n, seed)
    alike, terms = cosines(shown) / temperature, []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        terms.append(logsumexp([alike[i, k] for k in range(2 * n) if k != i]) - alike[i, j])
    assert float(nt_xent(shown, temperature)) == pytest.approx(np.mean(terms), rel=1e-9)


@given(n=galaxies, seed=seeds, least=st.floats(0.1, 2))
def test_margin_and_triplet_are_the_published_sums(n, seed, least):
    shown = vectors(n, seed)
    distance = 1 - cosines(shown)
    m = range(2 * n)
    partner = [distance[i, (i + n) % (2 * n)] for i in m]
    other = [(i, k) for i in m for k in m if i % n != k % n]
    far = np.mean([max(0, least - distance[i, k]) for i, k in other])
    assert float(margin(shown, least)) == pytest.approx(np.mean(partner) + far, rel=1e-9)
    threes = [max(0, partner[i] - distance[i, k] + least) for i, k in other]
    assert float(triplet(shown, least)) == pytest.approx(np.mean(threes), rel=1e-9, abs=1e-12)


@given(n=galaxies, temperature=st.floats(0.1, 2))
def test_a_simplex_reaches_the_floor(n, temperature):
    assert float(nt_xent(simplex(n), temperature)) == pytest.approx(nt_xent_floor(n, temperature), rel=1e-9)


@given(n=galaxies, seed=seeds)
def test_nothing_is_below_the_floor(n, seed):
    assert float(nt_xent(vectors(n, seed), 0.5)) > nt_xent_floor(n, 0.5) - 1e-9


def test_descent_comes_down_to_the_floor():
    shown = vectors(4, 1).requires_grad_()
    optimiser = torch.optim.Adam([shown], lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        loss = nt_xent(shown, 0.5)
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) == pytest.approx(nt_xent_floor(4, 0.5), abs=1e-3)


def test_margin_and_triplet_are_zero_where_partners_meet_and_others_are_apart():
    assert float(margin(simplex(3), 1.4)) == pytest.approx(0, abs=1e-12)
    assert float(triplet(simplex(3), 1.4)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", LOSSES)
def test_each_loss_draws_partners_together_and_others_apart(kind):
    """Not so with the signs of the thesis' margin loss and Eq. 1.30."""
    shown = vectors(3, 2).requires_grad_()
    LOSSES[kind](shown, 1.0).backward()
    with torch.no_grad():
        before, after = cosines(shown.detach()), cosines(shown - 1e-3 * shown.grad)
    own = [(i, (i + 3) % 6) for i in range(6)]
    other = [(i, k) for i in range(6) for k in range(6) if i % 3 != k % 3]
    assert np.mean([after[p] - before[p] for p in own]) > 0 > np.mean([after[p] - before[p] for p in other])


@given(n=galaxies, seed=seeds, scale=st.floats(0.1, 100))
@pytest.mark.parametrize("kind", LOSSES)
def test_only_directions_count(kind, n, seed, scale):
    shown = vectors(n, seed)
    assert float(LOSSES[kind](scale * shown, 0.5)) == pytest.approx(float(LOSSES[kind](shown, 0.5)), rel=1e-9)
