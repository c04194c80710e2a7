"""What does it help to have learnt from objects without labels? Two answers, with 1 to 100 % of the labels.

    python scripts/label_efficiency.py redshift SDSS.lance FOLDER [--table FILE]
    python scripts/label_efficiency.py morphology PICTURES.lance FOLDER [--table FILE]

SDSS.lance has mag_u … mag_z and redshift (scripts/multimodal.py); PICTURES.lance are Galaxy Zoo's, with a column
spiral_label of 0 and 1. A network learns the magnitudes, or the pictures, alone, then is fine-tuned, wholly or by
changes of low rank, on the few that have labels; beside it one that learns from those few alone, and what needs no such
network: boosted trees, and a logistic regression on the vectors that were learnt without labels. All are judged on
the objects that no training saw. FOLDER holds the runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from score_completion import column, rms
from score_resemblance import vectors
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skyloom as sl
from skyloom.data import store
from skyloom.data.destination import write_whole
from skyloom.metrics.classification import area_under_curve
from skyloom.metrics.score import Score
from skyloom.recipes.lesson import splits_of

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
NAMES = [f"mag_{band}" for band in "ugriz"]
FEWEST = 4  # of each class that a logistic regression learns from


class Sides(NamedTuple):
    """Objects that are learnt from, and those that no training saw."""

    learnt: list[str]
    unseen: list[str]


class Task(NamedTuple):
    """What is asked for, and from what.

    given : what is shown; always, before, after : settings of all runs, of the one without labels, of those with
    score : of what is said beside the truth; other : what needs no network, from the survey with its labels in a
    column, and the run without labels
    """

    column: str
    given: list[str]
    always: dict[str, str]
    before: dict[str, str]
    after: dict[str, str]
    score: Callable[[np.ndarray, np.ndarray], Score]
    others: dict[str, Callable[[store.Survey, Sides, str, Path], np.ndarray | None]]


def with_few_labels(survey: store.Survey, learnt: list[str], wanted: str) -> store.Survey:
    """The survey with a column for each share: what is known of so many of the objects that are learnt from, and of all
    others."""
    order = np.random.default_rng(0).permutation(learnt)
    columns: dict[str, list] = {"object_id": survey.table(["object_id"])["object_id"].to_pylist()}
    known = dict(zip(columns["object_id"], survey.table([wanted])[wanted].to_pylist(), strict=True))
    for share in SHARES:
        without = set(order[round(share * len(order)) :])
        columns[label(wanted, share)] = [None if name in without else known[name] for name in columns["object_id"]]
    return survey.add_columns(pa.table(columns))


def label(wanted: str, share: float) -> str:
    return f"{wanted}_{share:g}".replace(".", "_")


def redshift_miss(truth: np.ndarray, said: np.ndarray) -> Score:
    return rms((said - truth) / (1 + truth), "Δz/(1+z)")


def area(truth: np.ndarray, said: np.ndarray) -> Score:
    """Area under the receiver's curve; what is said need be no chance, only its order counts."""
    return area_under_curve(np.column_stack([1 - said, said]), truth.astype(int)).score


def trees(survey: store.Survey, sides: Sides, name: str, before: Path) -> np.ndarray:
    goal = column(survey, sides.learnt, name)
    known = np.isfinite(goal)
    magnitudes = [np.column_stack([column(survey, ids, one) for one in NAMES]) for ids in sides]
    return HistGradientBoostingRegressor(random_state=0).fit(magnitudes[0][known], goal[known]).predict(magnitudes[1])


def probe(survey: store.Survey, sides: Sides, name: str, before: Path) -> np.ndarray | None:
    """None with fewer than FEWEST labels of a class."""
    made = sl.embed(survey, before).survey
    seen, unseen = (vectors(made, ids, before) for ids in sides)
    goal = column(survey, sides.learnt, name)
    known = np.isfinite(goal)
    _, counts = np.unique(goal[known], return_counts=True)
    if len(counts) < 2 or counts.min() < FEWEST:
        return None
    fitted = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-4, 1, 6), cv=4, max_iter=2_000))
    return fitted.fit(seen[known], goal[known]).predict_proba(unseen)[:, 1]


TASKS = {
    "redshift": Task(
        "redshift", NAMES, {"batch": "64", "depth": "3", "others": "1", "warm": "50", "numbers": ",".join(NAMES)},
        {"steps": "1500"}, {"steps": "600", "learning_rate": "1e-3"}, redshift_miss, {"boosted trees": trees},
    ),
    "morphology": Task(
        "spiral_label", ["images"],
        {"batch": "32", "depth": "3", "others": "1", "warm": "50", "bin": "4", "crop": "64", "patch": "8",
         "soften": "60", "masked": "0.7"},
        {"steps": "2000"}, {"steps": "300", "learning_rate": "1e-3"}, area, {"linear probe": probe},
    ),
}  # fmt: skip


def curve(task: Task, survey: store.Survey, folder: Path) -> tuple[list[dict[str, Score | None]], int]:
    """Scores at every share of the labels, and how many labels there are."""
    split = splits_of([survey], 0)[0].ids
    sides = Sides(list(split["train"]), [name for side in ("calibration", "test") for name in split[side]])
    survey = with_few_labels(survey, sides.learnt, task.column)
    truth = column(survey, sides.unseen, task.column)

    def trained(name: str, **settings: str) -> Path:
        return sl.train("sky_gpt", survey, folder / name, settings=task.always | settings).path

    def judged(run: Path, name: str) -> Score:
        table = sl.complete(survey, with_=run, say=[name], given=task.given, ids=sides.unseen)
        return task.score(truth, table[name].to_numpy())

    before = trained("without_labels", **task.before)
    rows: list[dict[str, Score | None]] = []
    for share in SHARES:
        name = label(task.column, share)
        numbers = ",".join(filter(None, (task.always.get("numbers"), name)))
        settings = {**task.after, "numbers": numbers, "where": f"{name} is not null"}
        tuned = settings | {"start": str(before)}
        new = {key: value for key, value in settings.items() if key != "learning_rate"}
        rows.append({
            "fine-tuned": judged(trained(f"tuned_{name}", **tuned), name),
            "low rank 4": judged(trained(f"thin_{name}", **tuned, low_rank="4"), name),
            "from nothing": judged(trained(f"new_{name}", **new), name),
        })  # fmt: skip
        for how, make in task.others.items():
            said = make(survey, sides, name, before)
            rows[-1][how] = None if said is None else task.score(truth, said)
        print(share, {how: one and f"{one.value:.4f} ± {one.error:.4f}" for how, one in rows[-1].items()}, flush=True)
    return rows, len(sides.learnt)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("survey", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", type=Path)
    told = parser.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    rows, n = curve(TASKS[told.task], store.open(told.survey), told.folder)
    lines = [f"| labels | {' | '.join(rows[0])} |", "|---|" + "---|" * len(rows[0])]
    for share, row in zip(SHARES, rows, strict=True):
        cells = " | ".join(f"{one.value:.3f} ± {one.error:.3f}" if one else "" for one in row.values())
        lines.append(f"| {share:.0%} ({round(share * n):,}) | {cells} |")
    if told.table:
        write_whole(told.table, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
