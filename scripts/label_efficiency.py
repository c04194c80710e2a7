"""What does it help to have learnt from objects without labels? Redshifts from magnitudes, with 1 to 100 % of them.

    python scripts/label_efficiency.py SDSS.lance FOLDER [--table FILE]

SDSS.lance has mag_u … mag_z and redshift (scripts/multimodal.py). A network learns the magnitudes alone, then is
fine-tuned, wholly or by changes of low rank, on the few that have redshifts; beside it one that learns from those few
alone, and boosted trees. All are judged on the objects that no training saw. FOLDER holds the runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
from score_completion import column, rms
from sklearn.ensemble import HistGradientBoostingRegressor

import skyloom as sl
from skyloom.data import store
from skyloom.data.destination import write_whole
from skyloom.metrics.score import Score
from skyloom.recipes.lesson import splits_of

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
NAMES = [f"mag_{band}" for band in "ugriz"]
MAGNITUDES = ",".join(NAMES)
USUAL = {"batch": "64", "depth": "3", "others": "1", "warm": "50"}


def with_few_labels(survey: store.Survey, learnt: list[str]) -> store.Survey:
    """The survey with a column for each share: redshifts of so many of the objects that are learnt from, and of all
    others."""
    order = np.random.default_rng(0).permutation(learnt)
    columns: dict[str, list] = {"object_id": survey.table(["object_id"])["object_id"].to_pylist()}
    known = dict(zip(columns["object_id"], survey.table(["redshift"])["redshift"].to_pylist(), strict=True))
    for share in SHARES:
        without = set(order[round(share * len(order)) :])
        columns[label(share)] = [None if name in without else known[name] for name in columns["object_id"]]
    return survey.add_columns(pa.table(columns))


def label(share: float) -> str:
    return f"redshift_{share:g}".replace(".", "_")


def judged(run: Path, survey: store.Survey, name: str, unseen: list[str]) -> Score:
    table = sl.complete(survey, with_=run, say=[name], given=NAMES, ids=unseen)
    truth = column(survey, unseen, "redshift")
    return rms((table[name].to_numpy() - truth) / (1 + truth), "Δz/(1+z)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("survey", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", type=Path)
    told = parser.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    survey = store.open(told.survey)
    split = splits_of([survey], 0)[0].ids
    learnt, unseen = list(split["train"]), [name for side in ("calibration", "test") for name in split[side]]
    survey = with_few_labels(survey, learnt)

    def trained(name: str, **settings: str) -> Path:
        return sl.train("sky_gpt", survey, told.folder / name, settings=USUAL | settings).path

    before = trained("magnitudes", numbers=MAGNITUDES, steps="1500")
    rows = []
    for share in SHARES:
        name = label(share)
        settings = {"numbers": f"{MAGNITUDES},{name}", "steps": "600", "where": f"{name} is not null"}
        tuned = settings | {"start": str(before), "learning_rate": "1e-3"}
        rows.append({
            "fine-tuned": judged(trained(f"tuned_{name}", **tuned), survey, name, unseen),
            "low rank 4": judged(trained(f"thin_{name}", **tuned, low_rank="4"), survey, name, unseen),
            "from nothing": judged(trained(f"new_{name}", **settings), survey, name, unseen),
            "boosted trees": trees(survey, learnt, unseen, name),
        })  # fmt: skip
        print(share, {how: f"{one.value:.4f} ± {one.error:.4f}" for how, one in rows[-1].items()}, flush=True)
    lines = [f"| labels | {' | '.join(rows[0])} |", "|---|" + "---|" * len(rows[0])]
    for share, row in zip(SHARES, rows, strict=True):
        cells = " | ".join(f"{one.value:.3f} ± {one.error:.3f}" for one in row.values())
        lines.append(f"| {share:.0%} ({round(share * len(learnt)):,}) | {cells} |")
    if told.table:
        write_whole(told.table, "\n".join(lines) + "\n")


def trees(survey: store.Survey, learnt: list[str], unseen: list[str], name: str) -> Score:
    goal = column(survey, learnt, name)
    known = np.isfinite(goal)
    magnitudes = [np.column_stack([column(survey, ids, one) for one in NAMES]) for ids in (learnt, unseen)]
    said = HistGradientBoostingRegressor(random_state=0).fit(magnitudes[0][known], goal[known]).predict(magnitudes[1])
    truth = column(survey, unseen, "redshift")
    return rms((said - truth) / (1 + truth), "Δz/(1+z)")


if __name__ == "__main__":
    main()
