"""The nearest of a survey's embeddings: exact for few, through an index of cells in the survey's folder for many.

    index = open_index(survey, "simclr-kids")
    found = index.search(vectors, k=10, where="mag_r < 20")

The distance is 1 − cos of the angle between two vectors. Up to EXACT vectors every one is compared. Beyond that an
inverted file (faiss, IVF-Flat: whole vectors, in cells about √n centres) is made once, and as many cells are looked
through as found RECALL of the true neighbours when it was made.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Float32, Int, Shaped

from skyloom.data.destination import drafted, write_whole
from skyloom.data.embeddings import column_of, embedded, held, read_embeddings, require_weights
from skyloom.data.store import Survey
from skyloom.errors import MissingExtraError, RequestError

EXACT = 50_000  # vectors, up to which every one is compared
FOLDER = "_search"  # in the survey's folder
RECALL = 0.995  # of the true neighbours, on average over TRIED of the vectors: what decides how many cells are read
TRIED = 256
ASKED = (10, 100)  # neighbours for which that is found out; for more, every cell is read
PER_CELL, ROUNDS = 64, 10  # vectors that each centre is found from, and rounds of k-means
TOGETHER = 1 << 24  # products in memory at once
ROUNDING = 1e-5  # of a product of unit vectors in single precision: candidates within it are compared in double

Progress = Callable[[int, int | None, str], None]


class Nearest(NamedTuple):
    """For each query the nearest objects, nearest first, and how far they are; fewer than asked for are padded.

    ids : None where there was no more; distance : 1 − cos, 0 to 2; NaN where there was no more
    """

    ids: Shaped[np.ndarray, "q k"]
    distance: Float[np.ndarray, "q k"]


class Index:
    """The embeddings of one name in a survey, ready to be searched. See `open_index`."""

    def __init__(self, survey: Survey, name: str, hash: str, ids: tuple[str, ...], cells: _Cells | _All):
        self.survey, self.name, self.hash, self.ids = survey, name, hash, ids
        self._cells, self._names = cells, np.array([*ids, None], object)  # place −1 is none

    def search(
        self,
        vectors: Float[np.ndarray, "q d"],
        k: int = 10,
        where: str | None = None,
        without: Sequence[str | None] | None = None,
    ) -> Nearest:
        """The k nearest to each vector; where two are equally near, the first in the survey.

        where : an SQL filter that neighbours must pass; without : for each vector the object that is not to be found
        Raises RequestError for vectors of another length, or k < 1.
        """
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self._cells.dimension or k < 1:
            raise RequestError(
                f"{k} neighbours of vectors of shape {vectors.shape}; embeddings of {self.name} have "
                f"{self._cells.dimension} numbers, and at least one neighbour must be asked for"
            )
        passing = None if where is None else self._passing(where)
        places, distance = self._cells.search(unit(vectors), k + (without is not None), passing)
        names = self._names[places]
        shown = [_without(row, own, k) for row, own in zip(names, without or [None] * len(names), strict=True)]
        return Nearest(np.take_along_axis(names, np.array(shown), 1), np.take_along_axis(distance, np.array(shown), 1))

    def require(self, hash: str) -> None:
        """RequestError unless the vectors come from these weights."""
        require_weights(self.survey, self.name, self.hash, hash)

    def _passing(self, where: str) -> Bool[np.ndarray, "n"]:
        some, _ = embedded(self.survey, self.name, where)
        return np.asarray(pc.is_in(pa.array(self.ids, pa.string()), value_set=pa.array(some, pa.string())))


def open_index(
    survey: Survey, name: str | None = None, *, hash: str | None = None, progress: Progress | None = None
) -> Index:
    """The index of a survey's embeddings; beyond EXACT vectors it is read from the survey's folder, or first made.

    It belongs to one version of the survey; of a later one it is used while the vectors are the same, else made anew.
    hash : of the weights that the vectors must come from
    Raises RequestError if the survey does not hold such embeddings, MissingExtraError beyond EXACT without faiss.
    """
    name, column = held(survey, name)
    ids, found = embedded(survey, name)
    if not ids:
        raise RequestError(f"{column} of {survey.path.name} is empty; run skyloom embed with {name}")
    require_weights(survey, name, found, hash)
    if len(ids) <= EXACT:
        return Index(survey, name, found, ids, _All(unit(read_embeddings(survey, name).vectors)))
    return Index(survey, name, found, ids, _kept_cells(survey, name, ids, progress))


def unit(vectors: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Vectors of length 1, or 0 for those of zeros."""
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return vectors * (1 / np.where(length > 0, length, 1)).astype(np.float32)[:, None]


class _All:
    """Unit vectors that are all compared."""

    def __init__(self, vectors: Float32[np.ndarray, "n d"]):
        self.vectors, self.dimension = vectors, vectors.shape[1]

    def search(self, queries: Float32[np.ndarray, "q d"], k: int, passing: Bool[np.ndarray, "n"] | None):
        rows = np.arange(len(self.vectors)) if passing is None else np.flatnonzero(passing)
        places, distance = exact(self.vectors if passing is None else self.vectors[rows], queries, k)
        return np.where(places < 0, -1, rows[places] if len(rows) else -1), distance


def exact(
    vectors: Float32[np.ndarray, "n d"], queries: Float32[np.ndarray, "q d"], k: int
) -> tuple[Int[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
    """Places and distances of the k unit vectors nearest to each query; −1 and NaN beyond the last."""
    places, distance = np.full((len(queries), k), -1), np.full((len(queries), k), np.nan)
    have, step = min(k, len(vectors)), max(1, TOGETHER // max(1, len(vectors)))
    for start in range(0, len(queries) if have else 0, step):
        for row, alike in enumerate(queries[start : start + step] @ vectors.T, start):
            least = np.partition(alike, len(alike) - have)[len(alike) - have]
            near = np.flatnonzero(alike >= least - ROUNDING)
            apart = 0.5 * np.square(vectors[near].astype(float) - queries[row]).sum(1)
            first = np.lexsort((near, apart))[:have]
            places[row, :have], distance[row, :have] = near[first], apart[first]
    return places, distance


def _without(names: Shaped[np.ndarray, "k"], own: str | None, k: int) -> np.ndarray:
    """Places of the k names to show, one object left out."""
    return np.flatnonzero(names != own)[:k] if own is not None else np.arange(min(k, len(names)))


class _Cells:
    """An inverted file, and how many cells are read for how many neighbours."""

    def __init__(self, cells: Any, probes: dict[int, int]):
        self.cells, self.probes, self.dimension = cells, probes, cells.d

    def search(self, queries: Float32[np.ndarray, "q d"], k: int, passing: Bool[np.ndarray, "n"] | None):
        faiss, total = _faiss(), self.cells.ntotal
        enough = [probes for asked, probes in sorted(self.probes.items()) if k <= asked + 1]
        probes = enough[0] if enough else self.cells.nlist
        options: dict[str, Any] = {}
        if passing is not None:
            left = int(passing.sum())
            probes = self.cells.nlist if left <= EXACT else min(self.cells.nlist, -(-probes * total // left))
            bits = np.packbits(passing, bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)
        options["nprobe"] = probes
        found, places = self.cells.search(queries, k, params=faiss.SearchParametersIVF(**options))
        distance = np.where(places < 0, np.nan, found.astype(float) / 2)
        order = np.lexsort((places, np.where(places < 0, np.inf, distance)))
        return np.take_along_axis(places, order, 1), np.take_along_axis(distance, order, 1)


def _kept_cells(survey: Survey, name: str, ids: tuple[str, ...], progress: Progress | None) -> _Cells:
    """The index as it lies in the survey's folder, if it is of these vectors; else made, and kept there if possible."""
    folder, column = survey.path / FOLDER, column_of(name)
    record = _record(folder / f"{column}.json")
    stamp = {"content_hash": survey.content_hash, "version": survey.version}
    if {key: record.get(key) for key in stamp} == stamp:
        return _read_cells(folder, record)
    vectors = read_embeddings(survey, name).vectors
    digest = blake2b("\n".join(ids).encode(), digest_size=16)
    digest.update(vectors.data)
    if record.get("digest") == digest.hexdigest():
        write_whole(folder / f"{column}.json", json.dumps({**record, **stamp}, indent=1) + "\n")
        return _read_cells(folder, record)
    made, facts = _made(unit(vectors), progress)
    file = f"{column}-{digest.hexdigest()}.faiss"
    try:
        folder.mkdir(exist_ok=True)
        with drafted(folder / file) as draft:
            _faiss().write_index(made, str(draft))
        facts |= {**stamp, "digest": digest.hexdigest(), "file": file}
        write_whole(folder / f"{column}.json", json.dumps(facts, indent=1) + "\n")
        for other in folder.glob(f"{column}-*.faiss"):
            if other.name != file:
                other.unlink(missing_ok=True)
    except (OSError, RuntimeError) as fault:
        warnings.warn(f"the index of {survey.path.name} cannot be kept ({fault}): it is made each time", stacklevel=4)
    return _Cells(made, _probes(facts))


def _record(file: Path) -> dict[str, Any]:
    """What is said of the index that lies there; nothing if it is missing or cut short."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return record if (file.parent / record["file"]).is_file() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _read_cells(folder: Path, record: dict[str, Any]) -> _Cells:
    faiss = _faiss()
    mapped = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY  # only the cells that are looked at come into memory
    return _Cells(faiss.read_index(str(folder / record["file"]), mapped), _probes(record))


def _probes(record: dict[str, Any]) -> dict[int, int]:
    return {int(asked): probes for asked, probes in record["probes"].items()}


def _made(vectors: Float32[np.ndarray, "n d"], progress: Progress | None) -> tuple[Any, dict[str, Any]]:
    """An inverted file of unit vectors, and for each number of neighbours the cells to read and the recall found."""
    faiss, (n, d) = _faiss(), vectors.shape
    cells = faiss.IndexIVFFlat(faiss.IndexFlatL2(d), d, 2 ** round(np.log2(np.sqrt(n))))
    cells.cp.max_points_per_centroid, cells.cp.niter, cells.cp.seed = PER_CELL, ROUNDS, 1
    cells.train(vectors)
    for start in range(0, n, EXACT):
        cells.add(vectors[start : start + EXACT])
        if progress:
            progress(min(n, start + EXACT), n, "index")
    tried = vectors[np.random.default_rng(0).choice(n, min(n, TRIED), replace=False)]
    true, _ = exact(vectors, tried, max(ASKED))
    found = {asked: _enough(cells, tried, true[:, :asked]) for asked in ASKED}
    facts = {"probes": {k: one[0] for k, one in found.items()}, "recall": {k: one[1] for k, one in found.items()}}
    return cells, {"vectors": n, "dimension": d, "cells": cells.nlist, **facts}


def _enough(cells: Any, tried: Float32[np.ndarray, "q d"], true: Int[np.ndarray, "q k"]) -> tuple[int, float]:
    """The cells that must be read, in steps of a quarter, for RECALL of these neighbours; and the recall."""
    probes, recall = 1, 0.0
    while True:
        cells.nprobe = probes
        _, places = cells.search(tried, true.shape[1])
        recall = float(np.mean([len(np.intersect1d(*pair)) for pair in zip(places, true, strict=True)]) / true.shape[1])
        if recall >= RECALL or probes == cells.nlist:
            return probes, recall
        probes = min(cells.nlist, probes + max(1, probes // 4))


def _faiss() -> Any:
    """The library of the index, an optional extra."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss", "search") from error
    return faiss
