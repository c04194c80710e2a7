"""How odd the objects of a survey are among the others, by their embeddings; and how labels change the order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.svm import SVC

from skyloom.data.index import unit
from skyloom.errors import RequestError

COMPONENTS = 32  # principal ones, each brought to variance 1
NEIGHBOURS = 10  # distance to which of them says how sparse it is around an object
REFERENCES = 20_000  # objects among which neighbours are sought, drawn by the seed from more
TREES, LEAVES = 200, 512
TOGETHER = 1 << 24  # distances in memory at once
OWN = 0.5  # weight of oddness itself, 0 to 1, beside the classifier's verdict in units of its margin


class Oddity(NamedTuple):
    """Numbers of each object; the higher, the odder.

    isolation : how few random cuts part it from the others, 0 to 1, about 0.5 for none in particular
    sparsity : distance to its tenth neighbour, in units of the embeddings' spread along each of their main directions
    score : the mean of the places that it has by both, 0 to 1
    """

    isolation: Float[np.ndarray, "n"]
    sparsity: Float[np.ndarray, "n"]
    score: Float[np.ndarray, "n"]


def main_directions(vectors: Float32[np.ndarray, "n d"]) -> Float[np.ndarray, "n c"]:
    """Unit vectors along their COMPONENTS principal directions, each of variance 1; those without any left out."""
    if len(vectors) < 2 or not np.ptp(unit(vectors), axis=0).any():
        return np.empty((len(vectors), 0))
    count = min(COMPONENTS, *vectors.shape)
    model = PCA(count, svd_solver="covariance_eigh" if vectors.shape[1] <= len(vectors) else "full")
    found = model.fit_transform(unit(vectors).astype(np.float64))
    spread = found.std(0)
    seen = spread > 1e-6 * spread.max()
    return found[:, seen] / spread[seen]


def oddity(places: Float[np.ndarray, "n c"], seed: int = 0) -> Oddity:
    """How odd each object is by where it lies along the main directions.

    Source: Liu, Ting & Zhou 2008, ICDM, 413 (isolation forests); Ramaswamy, Rastogi & Shim 2000, SIGMOD 29, 427
    (distance to the k-th neighbour).
    We differ: of more than REFERENCES objects, neighbours are sought among as many, drawn by the seed.
    Raises RequestError for fewer than 3 objects, or objects that are all alike.
    """
    if len(places) < 3 or not places.shape[1]:
        raise RequestError(f"{len(places)} objects, all alike: none is odder than another; give more objects")
    forest = IsolationForest(n_estimators=TREES, max_samples=min(LEAVES, len(places)), random_state=seed)
    isolation = -forest.fit(places).score_samples(places)
    sparsity = _sparsity(places, seed)
    return Oddity(isolation, sparsity, (_place(isolation) + _place(sparsity)) / 2)


def relabelled(
    places: Float[np.ndarray, "n c"], score: Float[np.ndarray, "n"], labelled: Bool[np.ndarray, "n"],
    wanted: Bool[np.ndarray, "n"], seed: int = 0,
) -> Float[np.ndarray, "n"]:  # fmt: skip
    """How much each object is like those that were wanted, and odd; −inf for those that have a label.

    labelled : objects that were looked at; wanted : those of them that are what is sought
    A support vector machine tells the wanted from the others; its margin, and OWN of the oddity, make the order. While
    all labels say the same, the oddity alone does.
    Source: Lochner & Bassett 2021, Astronomy and Computing 36, 100481, arXiv:2010.11202 (the loop: look at the oddest,
    label, reorder).
    We differ: a support vector machine where they weigh the score by a random forest and the distance to labels.
    """
    told = wanted[labelled]
    found = score.astype(float).copy()
    if told.any() and not told.all():
        machine = SVC(class_weight="balanced", random_state=seed).fit(places[labelled], told)
        found = machine.decision_function(places) + OWN * score
    found[labelled] = -np.inf
    return found


def _sparsity(places: Float[np.ndarray, "n c"], seed: int) -> Float[np.ndarray, "n"]:
    """Distance of each object to its tenth neighbour, or to the last there is."""
    n = len(places)
    some = np.arange(n)
    if n > REFERENCES:
        some = np.sort(np.random.default_rng([seed, 11]).choice(n, REFERENCES, replace=False))
    near, own = places[some], np.full(n, -1)
    own[some] = np.arange(len(some))
    k = min(NEIGHBOURS, len(some) - 1)
    square, found, step = np.square(near).sum(1), np.empty(n), max(1, TOGETHER // len(some))
    for start in range(0, n, step):
        rows = np.arange(start, min(n, start + step))
        distance = np.square(places[rows]).sum(1)[:, None] + square - 2 * places[rows] @ near.T
        mine = np.flatnonzero(own[rows] >= 0)
        distance[mine, own[rows[mine]]] = np.inf  # nobody is their own neighbour
        found[rows] = np.sqrt(np.maximum(np.partition(distance, k - 1, axis=1)[:, k - 1], 0))
    return found


def _place(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The share of objects with a lower value; equal ones share a place."""
    low = np.searchsorted(np.sort(values), values, "left")
    return low / max(1, len(values) - 1)
