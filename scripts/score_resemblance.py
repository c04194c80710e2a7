"""Ask for galaxies by an embedding, by a profile, by votes: are those that come like the ones that were asked for?

    python scripts/score_resemblance.py MOCKS UNSEEN ENCODER FOLDER [--start galaxy-mock] [--steps 3000] [--n 200]
        [--table FILE]

MOCKS and UNSEEN are surveys of skyloom mock, ENCODER weights that give them vectors. Both get columns: their
embedding, and the vote fractions that follow from their truth. A generator is then taught on MOCKS to be asked by all
three (FOLDER/resembling, killed it goes on), and is asked, by each alone, for galaxies like n of UNSEEN. What is
measured on those is compared with what was asked for; beside it the same measurement of UNSEEN itself, which is the
best there can be, and of galaxies that were asked to be like another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from score_completion import rms
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skyloom as sl
from skyloom.checkpoint import Run, open_run
from skyloom.data.conditions import at_radii, values_of, wished
from skyloom.data.decision_tree import COLUMNS, fractions_of
from skyloom.data.destination import write_whole
from skyloom.data.embeddings import column_of
from skyloom.data.labels import read_labels
from skyloom.metrics.asked import measured_properties, response
from skyloom.metrics.score import Score, mean

SEED, LEARN, BAND, FAINTEST = 31, 5_000, "r", 26.0  # mag/arcsec², of the profiles that are compared
QUESTIONS = {"Class1_1": "smooth", "Class1_2": "features", "Class2_1": "edge-on", "Class4_1": "spiral"}
PROPERTIES = {"r_mag": "r magnitude", "r_e": "ln R_e", "g_r": "g − r", "r_i": "r − i", "e1": "e₁", "e2": "e₂"}
NEAR = 10  # neighbours among which the galaxy that was asked for is looked for
Row = tuple[str, str, Score, Score, Score]  # asked by, what is compared, drawn, the best there can be, of another one


def prepared(path: Path, encoder: str) -> sl.Survey:
    """The survey with embeddings and vote fractions."""
    survey = sl.embed(path, encoder).survey
    if COLUMNS[0] not in survey.column_names:
        labels = read_labels(survey, target="true")
        columns = dict(zip(COLUMNS, np.nan_to_num(fractions_of(labels.values)).T, strict=True))
        survey = survey.add_columns(pa.table({"object_id": list(labels.ids), **columns}))
    return survey


def told(encoder: str) -> dict[str, str]:
    column = column_of(open_run(encoder).name)
    return {"like": f"like={column}", "sb": f"sb=profile(true.{BAND})", "votes": "votes=Class*"}


def vectors(survey: sl.Survey, ids: Sequence[str], encoder: str | Path) -> np.ndarray:
    """Those that the survey holds of weights, in this order."""
    column = column_of(open_run(encoder).name)
    return np.array(survey.table([column]).take(survey.rows_of(ids))[column].to_pylist())


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def recalled(found: np.ndarray, asked: np.ndarray) -> Score:
    """Share of vectors that have the one that was asked for among their NEAR nearest of all that were."""
    near = np.argsort(-unit(found) @ unit(asked).T, axis=1)[:, :NEAR]
    return mean((near == np.arange(len(found))[:, None]).any(1).astype(float))


def explained(found: np.ndarray, truth: np.ndarray) -> Score:
    """Share of the variance of what was found that a line on the truth explains."""
    return response(truth, found).r2


def profiles(survey: sl.Survey, ids: Sequence[str]) -> np.ndarray:
    """Measured surface brightness at the radii at which a profile is told."""
    table = sl.profile(survey, band=BAND, ids=list(ids))
    pairs = zip(table["sma"].to_pylist(), table["sb"].to_pylist(), strict=True)
    return np.stack([at_radii(np.array(sma, float), np.array(sb, float)) for sma, sb in pairs])


def apart(found: np.ndarray, asked: np.ndarray) -> Score:
    """Root mean square difference of profiles where those asked for are brighter than FAINTEST."""
    miss = np.where(asked < FAINTEST, found - asked, np.nan)
    whose = np.repeat(np.arange(len(miss)), miss.shape[1]).reshape(miss.shape)
    known = np.isfinite(miss)
    _, group = np.unique(whose[known], return_inverse=True)
    return rms(miss[known], "mag/arcsec²", group)


def rows_of(by: str, made: sl.Survey, real: sl.Survey, ids: list[str], voter, encoder: str) -> list[Row]:
    """Everything that can be compared of galaxies that were asked for by one condition; another one is the next."""
    drawn = made.table(["object_id"])["object_id"].to_pylist()
    other = np.roll(np.arange(len(ids)), 1)
    if by == "sb":
        asked = values_of(real, wished([f"sb=profile(true.{BAND})"])[0], real.rows_of(ids))
        ours, best = profiles(made, drawn), profiles(real, ids)
        return [(by, "profile, rms [mag/arcsec²]", apart(ours, asked), apart(best, asked), apart(ours, asked[other]))]
    seen, truth = vectors(made, drawn, encoder), vectors(real, ids, encoder)
    if by == "like":
        rows: list[Row] = [
            (by, f"it is among the {NEAR} nearest", recalled(seen, truth), mean(np.ones(len(ids))),
             recalled(seen, truth[other]))
        ]  # fmt: skip
        ours, best = measured_properties(made, BAND, drawn), measured_properties(real, BAND, ids)
        for name, words in PROPERTIES.items():
            a, b = ours[name], best[name]
            rows.append((by, f"{words}, R²", explained(a, b), mean(np.ones(len(ids))), explained(a, b[other])))
        return rows
    stored = real.table(list(QUESTIONS)).take(real.rows_of(ids))
    said, known = voter.predict(seen), voter.predict(truth)
    return [
        (by, f"{words}, R²", *(explained(a, b) for a, b in (
            (said[:, k], asked), (known[:, k], asked), (said[:, k], asked[other]))))
        for k, (name, words) in enumerate(QUESTIONS.items())
        for asked in [stored[name].to_numpy()]
    ]  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    words = {"like": "an embedding", "sb": "a profile", "votes": "votes"}
    lines = [
        "| asked by | compared | drawn | the galaxies themselves | drawn for another one |",
        "|---|---|---|---|---|",
    ]
    for by, what, *scores in rows:
        cells = [f"{one.value:.2f} ± {one.error:.2f}" if one.error else f"{one.value:.2f}" for one in scores]
        lines.append(f"| {words[by]} | {what} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def trained(mocks: sl.Survey, texts: dict[str, str], folder: Path, start: str, steps: int) -> Run:
    settings = {
        "labels": ",".join(texts.values()), "start": start, "steps": str(steps), "batch": "16", "warm": "50",
        "learning_rate": "5e-3", "log_sigma_mean": "2.2",
    }  # fmt: skip
    return sl.train("galaxy_edm", mocks, folder / "resembling", settings=settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mocks", type=Path)
    parser.add_argument("unseen", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--start", default="galaxy-mock")
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    mocks, real = (prepared(path, asked.encoder) for path in (asked.mocks, asked.unseen))
    texts = told(asked.encoder)
    run = trained(mocks, texts, asked.folder, asked.start, asked.steps)
    ids = real.table(["object_id"])["object_id"].to_pylist()[: asked.n]
    learnt = mocks.table(["object_id"])["object_id"].to_pylist()[:LEARN]
    goal = mocks.table(list(QUESTIONS)).take(mocks.rows_of(learnt))
    voter = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
    voter.fit(vectors(mocks, learnt, asked.encoder), np.array([goal[name].to_numpy() for name in QUESTIONS]).T)
    rows: list[Row] = []
    for by, text in texts.items():
        path = asked.folder / f"resembling-{by}.lance"
        if not path.exists():
            values = values_of(real, wished([text])[0], real.rows_of(ids))
            sl.simulate(path, run.path, len(ids), seed=SEED, labels={by: values})
        made = sl.embed(path, asked.encoder).survey
        rows += rows_of(by, made, real, ids, voter, asked.encoder)
        print(table(rows[-7:]), flush=True)
    if asked.table:
        write_whole(asked.table, table(rows))


if __name__ == "__main__":
    main()
