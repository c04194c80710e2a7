"""How fast are the ten nearest of a million embeddings found, and how many of the true ones?

Vectors in crowds of ten degrees of freedom each, as embeddings of galaxies lie, in 256 numbers with noise. `cells`: the
inverted file that a survey of more than 50,000 vectors keeps beside its table, read back from disk; `exact`: every
vector compared, the yardstick of recall. Queries are vectors of the same kind that are not in the index, one at a time,
on one thread. The number of cells read is the one that the index itself chose when it was made.
Expected: at most 2 ms a query at a recall of 0.99; exact grows with n, cells about with √n.

    python benchmarks/bench_search.py [--n 100000] [--dimension 256] [--queries 500]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from _bench import environment, timed

from skyloom.data.index import _faiss, _made, _read_cells, exact, unit

CROWDS, WITHIN, FREEDOM, NOISE = 300, 0.5, 10, 0.02


def vectors(n: int, dimension: int, seed: int) -> np.ndarray:
    """Unit vectors; crowds are the same for every seed."""
    rng, shared = np.random.default_rng([1, seed]), np.random.default_rng(0)
    middles = shared.normal(size=(CROWDS, dimension)).astype(np.float32)
    planes = shared.normal(size=(CROWDS, FREEDOM, dimension)).astype(np.float32) * WITHIN
    out = np.empty((n, dimension), np.float32)
    for start in range(0, n, 100_000):
        crowd = rng.integers(0, CROWDS, min(n - start, 100_000))
        order = np.argsort(crowd, kind="stable")
        some = out[start : start + len(crowd)]
        for one in np.unique(crowd):
            rows = order[crowd[order] == one]
            some[rows] = middles[one] + rng.standard_normal((len(rows), FREEDOM), np.float32) @ planes[one]
        some += NOISE * np.sqrt(dimension) * rng.standard_normal(some.shape, np.float32)
        some[:] = unit(some)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--queries", type=int, default=500)
    asked = parser.parse_args()
    print(environment())
    every, queries = vectors(asked.n, asked.dimension, 0), vectors(asked.queries, asked.dimension, 1)
    with timed() as build:
        made, facts = _made(every, None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cells.faiss"
        with timed() as write:
            _faiss().write_index(made, str(file))
        size = file.stat().st_size
        del made
        with timed() as read:
            cells = _read_cells(Path(folder), {"file": file.name, **facts})
        rows = {"cells": lambda one: cells.search(one, 10, None), "exact": lambda one: exact(every, one, 10)}
        found, cost = {}, {}
        for name, job in rows.items():
            some = queries if name == "cells" else queries[:100]
            job(some[:1])
            with timed() as timing:
                found[name] = np.concatenate([job(one[None])[0] for one in some])
            cost[name] = timing
    print(f"\n{asked.n:,} × {asked.dimension}: {facts['cells']} cells, {facts['probes'][10]} read for ten neighbours")
    print(f"made in {build.wall:.1f} s ({build.cpu:.1f} s CPU); {size / 1e6:.0f} MB, written in {write.wall:.1f} s")
    print(f"opened in {1e3 * read.wall:.1f} ms")
    print(f"\n{'':<8} {'ms/query':>9} {'CPU ms':>8} {'recall@10':>10}")
    for name, timing in cost.items():
        n = len(found[name])
        same = [len(np.intersect1d(*pair)) for pair in zip(found[name], found["exact"], strict=False)]
        print(f"{name:<8} {1e3 * timing.wall / n:>9.2f} {1e3 * timing.cpu / n:>8.2f} {np.mean(same) / 10:>10.4f}")
    print(f"\n{environment().splitlines()[-1]}")


if __name__ == "__main__":
    main()
