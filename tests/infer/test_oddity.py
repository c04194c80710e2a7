"""What lies apart is odd, whatever it lies apart in; labels bring what was wanted to the front."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.errors import RequestError
from skyloom.infer import oddity as oddities
from skyloom.infer.oddity import main_directions, oddity, relabelled


def population(n=800, d=40, seed=0):
    """Ordinary vectors in two crowds; then two kinds of rare ones, fifteen of each, beyond the edge of the crowds."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(4, d))
    ordinary = middles[rng.integers(0, 2, n)] + 0.4 * rng.normal(size=(n, d))
    rare = np.repeat(middles[2:], 15, 0) * 1.2 + 0.4 * rng.normal(size=(30, d))
    return np.concatenate([ordinary, rare]).astype(np.float32), np.repeat([0, 1, 2], [n, 15, 15])


def test_vectors_far_from_all_others_come_first():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(500, 20)).astype(np.float32) * 0.3 + 1
    far = [17, 211, 480]
    vectors[far] = 3 * rng.normal(size=(3, 20))
    found = oddity(main_directions(vectors))
    assert set(np.argsort(-found.score)[:3]) == set(far)
    assert (found.isolation > 0).all() and (found.sparsity > 0).all() and found.score.max() <= 1


def test_length_and_turning_of_all_vectors_change_nothing():
    vectors, _ = population()
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(40, 40)))
    one, other = (oddity(main_directions(each.astype(np.float32))).sparsity for each in (vectors, 5 * vectors @ turn))
    np.testing.assert_allclose(one, other, rtol=1e-3)


def test_sparsity_among_some_is_close_to_that_among_all(monkeypatch):
    places = main_directions(population()[0])
    every = oddity(places).sparsity
    monkeypatch.setattr(oddities, "REFERENCES", 600)
    assert np.corrcoef(np.argsort(np.argsort(every)), np.argsort(np.argsort(oddity(places).sparsity)))[0, 1] > 0.9


def test_the_same_seed_gives_the_same_order():
    places = main_directions(population()[0])
    assert (oddity(places, 3).score == oddity(places, 3).score).all()


def looked_at(places, kind, wanted, reorder, rounds=6, each=15):
    """How many wanted ones an observer has seen after some rounds of looking at the first ones of the list."""
    score, seen = oddity(places).score, np.zeros(len(kind), bool)
    for _ in range(rounds):
        order = relabelled(places, score, seen, kind == wanted) if reorder else np.where(seen, -np.inf, score)
        seen[np.argsort(-order)[:each]] = True
    return int((seen & (kind == wanted)).sum())


@pytest.mark.parametrize("wanted", [1, 2])
def test_labels_find_more_of_what_is_wanted_than_looking_at_the_oddest(wanted):
    vectors, kind = population()
    places = main_directions(vectors)
    plain, led = (looked_at(places, kind, wanted, reorder) for reorder in (False, True))
    assert led >= 12 and led > plain and led > 15 * 90 / 830 * 3


def test_labels_that_all_say_the_same_leave_the_order_but_for_what_was_seen():
    vectors, _ = population()
    places = main_directions(vectors)
    score = oddity(places).score
    seen = np.arange(len(score)) < 40
    for answer in (True, False):
        found = relabelled(places, score, seen, np.full(len(score), answer))
        assert (found[seen] == -np.inf).all() and (found[~seen] == score[~seen]).all()


def test_nobody_is_odd_among_two_or_among_equals():
    for vectors in (np.ones((2, 3), np.float32), np.ones((9, 3), np.float32)):
        with pytest.raises(RequestError, match="all alike"):
            oddity(main_directions(vectors))
