"""How volunteers might vote on a mock galaxy: a rule from its truth to chances, and votes drawn by them.

The rule knows what the mocks draw: smooth or featured, edge-on, bars, arms, bulges, rings, companions, roundness. What
they never draw (lenses, dust lanes, boxy bulges …) has even, small chances. It is a test bed for what is learnt from
votes, and no model of people.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from skyloom.data.decision_tree import PARENTS, SIZES, STARTS

MOCK_COLUMNS = ("true_class", "true_components", "true_ellipticity", "true_companion")
VOTERS = 40  # on each galaxy, as Galaxy Zoo 2 has on average (Willett et al. 2013)
FEATURED = {"elliptical": 0.08, "disc": 0.35, "bulge+disc": 0.4, "barred": 0.9, "spiral": 0.92, "ringed": 0.85}
ARTIFACT = 0.02
EDGE_ON, EDGE_WIDTH = 0.35, 0.05  # axis ratio of a disc at which half call it edge-on, and over which that changes
BULGES = (0.05, 0.25, 0.6)  # shares of the light in a bulge between its four answers
ROUND = (0.2, 0.6)  # ellipticities between round, in between, and cigar-shaped
WINDING = (18.0, 25.0)  # pitch angles [deg] between tight, medium and loose
BAND = "i"  # of the light; mocks without it: the first band there is


def mock_votes(table: pa.Table) -> Float[np.ndarray, "n 37"]:
    """Votes on every row of a mock survey's truth (`object_id` and MOCK_COLUMNS); one object, one set of votes.

    Everybody answers question 1 and question 6; another question, as many as gave the answer that leads to it.
    """
    votes = np.zeros((len(table), sum(SIZES)))
    for row, facts in enumerate(table.to_pylist()):
        seed = int.from_bytes(hashlib.sha256(facts["object_id"].encode()).digest()[:8], "little")
        rng, chances = np.random.default_rng(seed), mock_chances(facts)
        for question, size in enumerate(SIZES):
            asked = VOTERS if PARENTS[question] < 0 else int(votes[row, PARENTS[question]])
            part = slice(STARTS[question], STARTS[question] + size)
            votes[row, part] = rng.multinomial(asked, chances[part])
    return votes


def mock_chances(facts: dict[str, Any]) -> Float[np.ndarray, "37"]:
    """The chance of every answer among those who are asked, from a mock's truth."""
    parts = json.loads(facts["true_components"])
    disc, pattern = parts.get("disc"), parts.get("pattern") or {}
    bulge = _share(parts, "bulge")
    edge_on = 0.0 if disc is None else _above(EDGE_ON, disc["q"], EDGE_WIDTH)
    featured = max(FEATURED[facts["true_class"]], 0.95 * edge_on)
    arms, ring = pattern.get("contrast", 0.0), pattern.get("ring", 0.0)
    odd = min(0.05 + 0.9 * ring + 0.5 * bool(facts["true_companion"]), 0.95)
    found = [
        [(1 - ARTIFACT) * (1 - featured), (1 - ARTIFACT) * featured, ARTIFACT],
        _yes(0.02 + 0.96 * edge_on),
        _yes(0.9 if "bar" in parts else 0.06),
        _yes(min(0.08 + 1.3 * arms, 0.95)),
        _ordered(np.log(max(bulge, 1e-3)), np.log(BULGES), 0.3),
        _yes(odd),
        _ordered(facts["true_ellipticity"], ROUND, 0.06),
        _most([ring, 0, 0, 0, 0, 0.6 * bool(facts["true_companion"]), 0]),
        _most([bulge, 0, 0.1 if bulge < BULGES[0] else 0.0]),
        _ordered(abs(pattern.get("pitch", 0.0)), WINDING, 2.0) if arms else [1 / 3] * 3,
        _most([0, arms * (pattern.get("arms") == 2), 0, arms * (pattern.get("arms") == 4), 0, 0]),
    ]
    return np.concatenate(found)


def _share(parts: dict[str, Any], name: str) -> float:
    """Of the light in one component; an elliptical is all bulge."""
    components = {key: part for key, part in parts.items() if key != "pattern"}
    if name not in components:
        return 0.0
    band = BAND if BAND in components[name]["magnitudes"] else next(iter(components[name]["magnitudes"]))
    light = {key: 10 ** (-0.4 * part["magnitudes"][band]) for key, part in components.items()}
    return light[name] / sum(light.values())


def _above(level: float, value: float, width: float) -> float:
    return float(1 / (1 + np.exp(-(level - value) / width)))


def _yes(chance: float) -> list[float]:
    return [chance, 1 - chance]


def _ordered(value: float, edges, width: float) -> list[float]:
    """Chances of answers in an order, which go over into each other at the edges."""
    below = [0.0, *(_above(edge, value, width) for edge in edges), 1.0]
    return np.maximum(np.diff(below), 0.0).tolist()


def _most(weights: list[float]) -> list[float]:
    """Chances in proportion to the weights, and a little of each answer beside."""
    found = np.array(weights, float) + 0.02
    return (found / found.sum()).tolist()
