"""The tree of Galaxy Zoo 2: its shape as published, votes to fractions of everybody and back, what does not add up."""

from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.data.decision_tree import (
    COLUMNS,
    KAGGLE,
    PARENTS,
    QUESTIONS,
    SIZES,
    STARTS,
    TOLERANCE,
    conditional,
    cumulative,
    fractions_of,
    inconsistency,
)
from skyloom.data.labels import COUNT

TABLE = Path(__file__).parent / "gz2_stripe82.csv"
"""Every 400th row of Willett et al. 2013, MNRAS 435, 2835, Table 5 (Galaxy Zoo 2, Stripe 82): counts, fractions."""


def drawn_votes(rng: np.random.Generator, voters: int = 40) -> np.ndarray:
    """Votes of people who answer at random down the tree."""
    votes = np.zeros(37)
    for start, size, parent in zip(STARTS, SIZES, PARENTS, strict=True):
        asked = voters if parent < 0 else int(votes[parent])
        votes[start : start + size] = rng.multinomial(asked, rng.dirichlet(np.full(size, 0.5)))
    return votes


def test_the_tree_is_the_published_one():
    assert len(QUESTIONS) == 11 and sum(SIZES) == len(COLUMNS) == 37
    assert SIZES == (3, 2, 2, 2, 4, 2, 3, 7, 3, 3, 6)  # Willett et al. 2013, Table 2
    assert KAGGLE[0] == "Class1.1" and KAGGLE[-1] == "Class11.6" and "Class8.7" in KAGGLE
    leads = {q + 1: KAGGLE[parent] for q, parent in enumerate(PARENTS) if parent >= 0}
    assert leads == {
        2: "Class1.2", 3: "Class2.2", 4: "Class2.2", 5: "Class2.2", 7: "Class1.1", 8: "Class6.1", 9: "Class2.1",
        10: "Class4.1", 11: "Class4.1",
    }  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_children_sum_to_the_answer_that_leads_to_them_and_the_way_back_is_the_way_there(seed):
    votes = drawn_votes(np.random.default_rng(seed))
    fractions = fractions_of(votes)
    np.testing.assert_allclose(inconsistency(fractions), 0, atol=1e-12)
    np.testing.assert_allclose(fractions, votes / 40, atol=1e-12)  # everybody answered all that they were asked
    shares = conditional(fractions)
    np.testing.assert_allclose(np.nan_to_num(shares), np.nan_to_num(conditional(votes)), atol=1e-12)
    np.testing.assert_allclose(cumulative(shares), fractions, atol=1e-12)


def test_what_was_not_asked_is_not_known():
    votes = np.zeros(37)
    votes[1], votes[13], votes[14] = 10, 4, 6  # all say featured, nobody was asked about an edge
    fractions = fractions_of(votes)
    assert np.isnan(fractions[3:5]).all() and (fractions[15:18] == 0).all() and fractions[13] == 0.4
    assert np.isnan(conditional(np.where(np.isnan(fractions), 0, fractions))[3:5]).all()


def test_a_sum_that_is_wrong_is_measured():
    fractions = fractions_of(drawn_votes(np.random.default_rng(1)))
    fractions[3] += 0.1
    excess = inconsistency(fractions)
    assert excess[1] == pytest.approx(0.1) and abs(np.delete(excess, [1, 8])).max() < 1e-12
    assert excess[8] == pytest.approx(-0.1)  # and now too few were asked about the bulge of an edge-on disc


def test_the_votes_on_real_galaxies_satisfy_the_tree():
    """Real rows of the Stripe 82 table: its fractions, of those who were asked, become sums that hold to rounding."""
    table = pyarrow.csv.read_csv(TABLE)
    names = sorted(name for name in table.column_names if COUNT.match(name))
    shares = np.stack([table[name.replace("_count", "_fraction")].to_numpy() for name in names], 1)
    assert shares.shape == (50, 37)  # with three digits each
    asked = np.stack([part.sum(1) > 0 for part in np.split(shares, np.cumsum(SIZES)[:-1], 1)], 1)
    sums = cumulative(shares)
    assert np.abs(inconsistency(sums))[asked].max() <= TOLERANCE
    back = conditional(sums)
    known = np.isfinite(back)
    np.testing.assert_allclose(back[known], shares[known], atol=TOLERANCE)
