"""The table of docs/scale.md: how often intervals of the law of scaling held the truth.

python docs/figures/scale_coverage.py [--repeats 200]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from skyloom.metrics.law_fit import fit_law
from skyloom.metrics.scaling import HOFFMANN, Law

OUT = Path(__file__).parent / "scale_coverage.inc"
WIDE, DECADE = ((7.5, 10), (9, 11.5)), ((8, 9), (9.5, 10.5))  # log10 of N and of D
CASES = {  # sizes, numbers of tokens, ranges, scatter of log loss, degrees of freedom of its law
    "12 runs that scatter by 0.5 %": (4, 3, WIDE, 0.005, np.inf),
    "16": (4, 4, WIDE, 0.005, np.inf),
    "30": (6, 5, WIDE, 0.005, np.inf),
    "16, with outliers (Student's t, 3 degrees of freedom)": (4, 4, WIDE, 0.005, 3),
    "16 that scatter by 2 %": (4, 4, WIDE, 0.02, np.inf),
    "16 over one decade of N and of D": (4, 4, DECADE, 0.005, np.inf),
}


def scattered(rng: np.random.Generator, scatter: float, freedom: float, count: int) -> np.ndarray:
    """Factors of losses whose logarithm has the standard deviation `scatter`."""
    drawn = rng.normal(size=count) if np.isinf(freedom) else rng.standard_t(freedom, count) / np.sqrt(3)
    return np.exp(scatter * drawn)


def held(case: tuple, repeats: int) -> np.ndarray:
    """Share of repeats in which A, B, E, alpha, beta, and a larger run's loss, lay in their intervals."""
    sizes, amounts, (of_n, of_d), scatter, freedom = case
    n, d = (grid.ravel() for grid in np.meshgrid(np.logspace(*of_n, sizes), np.logspace(*of_d, amounts)))
    found = []
    for seed in range(repeats):
        rng = np.random.default_rng([11, seed])
        fit = fit_law(n, d, HOFFMANN.loss(n, d) * scattered(rng, scatter, freedom, len(n)), seed=seed)
        new = HOFFMANN.loss(4 * n.max(), 4 * d.max()) * scattered(rng, scatter, freedom, 1)[0]
        told = fit.predicted(4 * n.max(), 4 * d.max())
        pairs = [(fit.intervals()[name], getattr(HOFFMANN, name)) for name in Law._fields]
        found.append([one.low <= truth <= one.high for one, truth in [*pairs, (told, new)]])
    return np.mean(found, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    head = ["runs", *Law._fields, "a run of 4 N, 4 D"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, case in CASES.items():
        lines.append("| " + " | ".join([name, *(f"{share:.3f}" for share in held(case, repeats))]) + " |")
        print(lines[-1], flush=True)
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
