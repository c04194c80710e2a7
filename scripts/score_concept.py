"""Learn concepts from a dozen mocks each, and measure whether galaxies drawn with them are of the kind.

    python scripts/score_concept.py WEIGHTS MOCKS UNSEEN FOLDER [--n 100] [--table FILE]

WEIGHTS : of galaxy_edm, which stay as they are. The examples are the first dozen of each kind in MOCKS; they are
compared with n of the kind in UNSEEN, which no concept was learnt from, and n galaxies drawn with nothing said.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

import skyloom as sl
from skyloom.checkpoint import open_run
from skyloom.data.destination import write_whole
from skyloom.infer.concept import concept_error
from skyloom.metrics.asked import measured_properties
from skyloom.metrics.score import Score, mean

EXAMPLES, SEED, BAND = 12, 41, "r"
KINDS = {
    "edge-on": "true_ellipticity > 0.7 AND true_mag_r < 21",
    "bright and red": "true_mag_g - true_mag_r > 1.5 AND true_mag_r < 20.5",
    "bright and blue": "true_mag_g - true_mag_r < 1 AND true_mag_r < 20.5",
    "large and faint": "true_r_e > 1.5 AND true_mag_r > 21.5",
}
SHOWN = {"r_mag": "r [mag]", "g_r": "g − r [mag]", "r_i": "r − i [mag]", "r_e": "ln R_e", "ellipticity": "ellipticity"}


class Found(NamedTuple):
    """A kind: means of what is measured, of the kind and of what was drawn with its concept; and errors of denoising
    of unseen galaxies of the kind, and of all, with the concept over those with nothing said."""

    kind: Mapping[str, Score]
    drawn: Mapping[str, Score]
    own: float
    others: float


def means(survey: sl.Survey, ids: list[str]) -> dict[str, Score]:
    """Of the measured properties, over those galaxies that have them."""
    values = measured_properties(survey, BAND, ids)
    return {name: mean(values[name][np.isfinite(values[name])]) for name in SHOWN}


def ids_of(survey: sl.Survey, where: str | None, n: int) -> list[str]:
    return survey.table(["object_id"], where)["object_id"].to_pylist()[:n]


def drawn(weights: Path, folder: Path, name: str, n: int, concept: Path | None) -> dict[str, Score]:
    path = folder / f"{name}.lance"
    if not path.exists():
        sl.simulate(path, weights, n, seed=SEED, concept=concept)
    made = sl.open(path)
    return means(made, ids_of(made, None, n))


def found(weights: Path, mocks: sl.Survey, unseen: sl.Survey, folder: Path, kind: str, n: int) -> Found:
    name = kind.replace(" ", "-")
    file = folder / f"{name}.json"
    made = sl.concept(mocks, ids_of(mocks, KINDS[kind], EXAMPLES), weights, file)
    own, others = (ids_of(unseen, where, n) for where in (KINDS[kind], None))
    errors = [concept_error(unseen, ids, weights, made) for ids in (own, others)]
    return Found(means(unseen, own), drawn(weights, folder, name, n, file), *(error / plain for error, plain in errors))


def table(plain: Mapping[str, Score], rows: Mapping[str, Found]) -> str:
    def cells(scores: Mapping[str, Score]) -> str:
        return " | ".join(f"{scores[name].value:.2f} ± {scores[name].error:.2f}" for name in SHOWN)

    lines = [
        f"| | {' | '.join(SHOWN.values())} | error of its own kind | of all |", "|---|" + "---|" * (len(SHOWN) + 2),
        f"| nothing said | {cells(plain)} | 1 | 1 |",
    ]  # fmt: skip
    for name, one in rows.items():
        lines += [
            f"| {name}: mocks | {cells(one.kind)} | | |",
            f"| {name}: drawn | {cells(one.drawn)} | {one.own:.3f} | {one.others:.3f} |",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("mocks", type=Path)
    parser.add_argument("unseen", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    weights, mocks, unseen = open_run(asked.weights).path, sl.open(asked.mocks), sl.open(asked.unseen)
    plain = drawn(weights, asked.folder, "plain", asked.n, None)
    rows = {kind: found(weights, mocks, unseen, asked.folder, kind, asked.n) for kind in KINDS}
    print(table(plain, rows))
    if asked.table:
        write_whole(asked.table, table(plain, rows))


if __name__ == "__main__":
    main()
