"""The questions of Galaxy Zoo 2, and its votes as fractions: of those who were asked, or of everybody.

A question is asked of whoever gave a certain answer to an earlier one. Of those who were asked, the fractions of a
question's answers sum to 1: conditional. Times the fraction of the answer that led there they are cumulative, and sum
to it. Kaggle's Galaxy Challenge gives these, as Class1.1 … Class11.6; a survey's columns are Class1_1 … Class11_6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

TOLERANCE = 0.005  # of sums of fractions: half a digit of each of seven, where three digits are given


class Question(NamedTuple):
    """text : as it was asked, in short; answers : in order; parent : (question, answer) that leads to it, from 1"""

    text: str
    answers: tuple[str, ...]
    parent: tuple[int, int] | None


QUESTIONS = (
    Question("smooth or featured", ("smooth", "features or disk", "star or artifact"), None),
    Question("edge-on", ("yes", "no"), (1, 2)),
    Question("bar", ("yes", "no"), (2, 2)),
    Question("spiral arms", ("yes", "no"), (2, 2)),
    Question("bulge prominence", ("no bulge", "just noticeable", "obvious", "dominant"), (2, 2)),
    Question("anything odd", ("yes", "no"), None),
    Question("roundness", ("completely round", "in between", "cigar-shaped"), (1, 1)),
    Question(
        "odd feature",
        ("ring", "lens or arc", "disturbed", "irregular", "other", "merger", "dust lane"),
        (6, 1),
    ),
    Question("bulge shape edge-on", ("rounded", "boxy", "no bulge"), (2, 1)),
    Question("arms winding", ("tight", "medium", "loose"), (4, 1)),
    Question("number of arms", ("1", "2", "3", "4", "more than 4", "can't tell"), (4, 1)),
)
"""Willett et al. 2013, MNRAS 435, 2835, arXiv:1308.3496, Table 2. We differ, as Kaggle does: everybody is asked whether
anything is odd, so that the answers to question 6 sum to 1; on the site, whoever saw a star was not."""

SIZES = tuple(len(question.answers) for question in QUESTIONS)
STARTS = tuple(int(start) for start in np.cumsum((0, *SIZES[:-1])))
COLUMNS = tuple(f"Class{q}_{a}" for q, size in enumerate(SIZES, 1) for a in range(1, size + 1))
KAGGLE = tuple(name.replace("_", ".") for name in COLUMNS)
PARENTS = tuple(
    -1 if question.parent is None else STARTS[question.parent[0] - 1] + question.parent[1] - 1 for question in QUESTIONS
)
"""For each question the place of the answer that leads to it among all 37, -1 where everybody is asked."""


def cumulative(conditional: Float[np.ndarray, "*n 37"]) -> Float[np.ndarray, "*n 37"]:
    """Fractions of everybody, from fractions of those who were asked.

    Of an answer that nobody gave, what follows is 0, whatever the conditional fractions say, NaN included. NaN where
    somebody should have been asked and no vote is known.
    """
    found = np.array(conditional, float)
    for q in range(len(SIZES)):  # a question comes after the one that leads to it
        part = _answers(q)
        if PARENTS[q] >= 0:
            parent = found[..., PARENTS[q], None]
            found[..., part] = np.where(parent == 0, 0.0, found[..., part] * parent)
    return found


def conditional(cumulative: Float[np.ndarray, "*n 37"]) -> Float[np.ndarray, "*n 37"]:
    """Fractions of those who were asked, from fractions of everybody: the inverse of `cumulative`.

    NaN for the answers to a question that nobody was asked. Divided by the sum over a question's answers, not by the
    answer that leads to it, so that what was rounded sums to 1 again.
    """
    found = np.array(cumulative, float)
    for q in range(len(SIZES)):
        total = found[..., _answers(q)].sum(-1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            found[..., _answers(q)] = np.where(total > 0, found[..., _answers(q)] / total, np.nan)
    return found


def inconsistency(cumulative: Float[np.ndarray, "*n 37"]) -> Float[np.ndarray, "*n 11"]:
    """For every question, by how much its cumulative fractions sum to more than the answer that leads to it."""
    values = np.asarray(cumulative, float)
    sums = np.stack([values[..., _answers(q)].sum(-1) for q in range(len(SIZES))], -1)
    return sums - np.stack([values[..., p] if p >= 0 else np.ones(values.shape[:-1]) for p in PARENTS], -1)


def fractions_of(counts: Float[np.ndarray, "*n 37"]) -> Float[np.ndarray, "*n 37"]:
    """Cumulative fractions of vote counts."""
    return cumulative(conditional(counts))


def _answers(question: int) -> slice:
    return slice(STARTS[question], STARTS[question] + SIZES[question])
