"""`classify`: a survey in, a table out of what every galaxy looks like: chances of classes, or fractions of votes."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from skyloom import __version__
from skyloom.checkpoint import Run, open_run, shipped
from skyloom.data import store
from skyloom.data.cutout import SurveyInfo
from skyloom.data.decision_tree import COLUMNS, KAGGLE, PARENTS, QUESTIONS, SIZES
from skyloom.data.destination import drafted, require_place
from skyloom.data.images import ImageSet, read_images
from skyloom.data.tables import check_destination, write_table
from skyloom.errors import RequestError, RunError
from skyloom.infer.looks import FACTS, LEVELS, Eye, Look, calibrated, eye_of, half_widths
from skyloom.infer.placed import device_of
from skyloom.infer.suited import require_suited

CHUNK = 512  # objects in memory at a time
MOST_BAD = 0.2  # share of bad pixels of a band, above which nothing is said of a galaxy
MARKS = {0.68: ("q16", "q84"), 0.90: ("q05", "q95")}  # ends of the intervals, as columns are called
USUAL = "morphology"

Progress = Callable[[int, int | None, str], None]


def classify(
    survey: store.Survey | str | Path,
    out: str | Path | None = None,
    with_: str | Path | Sequence[str | Path] = USUAL,
    *,
    submission: str | Path | None = None,
    ids: Iterable[str] | None = None,
    device: str | None = None,
    anyway: bool = False,
    progress: Progress | None = None,
) -> pa.Table:
    """Say what every object of a survey looks like; write the table to `out` if it is given.

    out : .parquet, .ecsv or .fits; written whole or not at all
    with_ : weights that ship with skyloom, or run directories; of several, which must have learnt the same, the average
    submission : also write Kaggle's 37 columns to this CSV file; only for weights that learnt votes
    ids : only these objects; device : "cpu" or "cuda", None for the GPU where there is one
    anyway : also bands and pixel scales that the weights were not trained on
    One row for each object, in the survey's order. Weights that learnt two classes: `label`, `probability` of the
    second one, and `probability_error`, by how much views and members disagree; more classes: `label` and
    `probability_<class>`. Weights that learnt votes: for each of the 37 answers the fraction of everybody, `Class1_1`
    … `Class11_6`, which add up along the tree, and the ends of its 90 and 68 % interval, `…_q05` `…_q16` `…_q84`
    `…_q95`. Empty where an object has no sound image: a fifth of a band is bad, or it has no sky. Chances and intervals
    are calibrated on objects that training did not see.
    Raises RequestError for weights that classify nothing, or do not suit the survey or each other.
    """
    survey = store.opened(survey)
    runs = [_opened(name) for name in _listed(with_)]
    eyes = [eye_of(run) for run in runs]
    _require_alike(runs, eyes)
    for run, eye in zip(runs, eyes, strict=True):
        _require_suited(run, eye, survey, anyway=anyway)
    destination = None if out is None else check_destination(out)
    if submission is not None:
        _require_submission(eyes[0], Path(submission))
    names = survey.table(["object_id"])["object_id"].to_pylist() if ids is None else list(ids)
    survey.rows_of(names)
    columns = _columns(eyes, survey, names, device_of(device), progress)
    table = _table(columns, names, eyes[0], survey, runs)
    if destination is not None:
        write_table(table, destination)
    if submission is not None:
        write_submission(table, submission)
    return table


def write_submission(table: pa.Table, path: str | Path) -> None:
    """Kaggle's format: GalaxyID and Class1.1 … Class11.6, one line for each object; the file is written whole or not.

    Raises RequestError for a table without these fractions, or with an object that has none.
    """
    if not set(COLUMNS) <= set(table.column_names):
        raise RequestError("a submission has the 37 fractions of votes, and this table has none; classify with others")
    values = np.stack([table[name].to_numpy(zero_copy_only=False) for name in COLUMNS], 1)
    names = table["object_id"].to_pylist()
    lost = np.flatnonzero(~np.isfinite(values).all(1))
    if len(lost):
        raise RequestError(f"{names[lost[0]]!r} and {len(lost) - 1} others have no fractions; a submission needs all")
    require_place(Path(path))
    with drafted(Path(path)) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["GalaxyID", *KAGGLE])
        lines.writerows([name, *(f"{value:.6f}" for value in row)] for name, row in zip(names, values, strict=True))


def _listed(with_: str | Path | Sequence[str | Path]) -> list[str | Path]:
    listed: list[str | Path] = [with_] if isinstance(with_, str | Path) else list(with_)
    if not listed:
        raise RequestError("classify needs weights; name some that ship with skyloom, or a run")
    return listed


def _opened(name: str | Path) -> Run:
    try:
        return open_run(name)
    except RunError as fault:
        raise RequestError(
            f"no weights {str(name)!r} to classify with; there is {', '.join(shipped(FACTS))}, or a run directory "
            f"({fault})"
        ) from fault


def _require_alike(runs: Sequence[Run], eyes: Sequence[Eye]) -> None:
    for run, eye in zip(runs[1:], eyes[1:], strict=True):
        votes = [one.kind != "classes" for one in (eyes[0], eye)]
        if votes[0] != votes[1] or eye.classes != eyes[0].classes:
            raise RequestError(
                f"{runs[0].name} and {run.name} learnt different things ({eyes[0].facts['target']} and "
                f"{eye.facts['target']}); average weights that learnt the same"
            )


def _require_suited(run: Run, eye: Eye, survey: store.Survey, *, anyway: bool) -> None:
    """Bands, pixel scale, and images as large as the network looks at."""
    learnt = SurveyInfo.from_json(eye.facts["info"])
    require_suited(run, survey.info, learnt.band_names, anyway=anyway)
    lacking = [name for name in learnt.band_names if name not in survey.info.band_names]
    if lacking:
        raise RequestError(
            f"{run.name} looks at {', '.join(learnt.band_names)}, and {survey.path.name} has no {', '.join(lacking)}; "
            "train on its bands (skyloom train)"
        )
    pixels = eye.facts["crop"] * eye.facts["bin"]
    if min(survey.info.shape) < pixels:
        raise RequestError(
            f"{run.name} looks at {pixels} × {pixels} pixels, and the cutouts of {survey.path.name} have "
            f"{survey.info.shape[0]} × {survey.info.shape[1]}; ingest larger ones"
        )


def _require_submission(eye: Eye, path: Path) -> None:
    if eye.kind == "classes":
        raise RequestError(
            f"{path}: a submission has 37 fractions, and these weights learnt {eye.facts['target']}; give "
            "weights that learnt votes"
        )
    require_place(path)


def _columns(eyes, survey: store.Survey, names: list[str], device: str, progress) -> dict[str, Float[np.ndarray, "n"]]:
    """Every column of the table as numbers, NaN where an object has no sound image."""
    found: dict[str, Float[np.ndarray, "n"]] = {}
    for start in range(0, len(names), CHUNK):
        some = names[start : start + CHUNK]
        for name, (rows, values) in _seen(eyes, survey, some, device).items():
            column = found.setdefault(name, np.full(len(names), np.nan))
            column[start + rows] = values
        if progress:
            progress(start + len(some), len(names), "galaxies")
    return found


def _seen(eyes: Sequence[Eye], survey: store.Survey, names: list[str], device: str) -> dict:
    """Of a few objects, {column: (places among them, values)}."""
    place = {name: row for row, name in enumerate(names)}
    images: dict[tuple, ImageSet] = {}
    parts = []
    for eye in eyes:
        learnt, bin, crop = SurveyInfo.from_json(eye.facts["info"]), eye.facts["bin"], eye.facts["crop"]
        key = (learnt.band_names, bin, crop)
        if key not in images:
            images[key] = read_images(
                survey, names, bands=learnt.band_names, bin=bin, size=crop, fewest=0, most_bad=MOST_BAD
            )
        if not len(images[key]):
            return {}
        parts.append(eye.look(images[key].flux, device))
    rows = np.array([place[name] for name in images[key].ids])
    columns = _chances(eyes, parts) if eyes[0].kind == "classes" else _fractions(eyes, parts)
    return {name: (rows, values) for name, values in columns.items()}


def _chances(eyes: Sequence[Eye], looks: Sequence[Look]) -> dict[str, Float[np.ndarray, "n"]]:
    """Calibrated chances of classes, averaged over runs."""
    each = np.stack(
        [calibrated(look.mean, eye.facts["calibration"]["temperature"]) for eye, look in zip(eyes, looks, strict=True)]
    )
    mean = each.mean(0)
    spread = np.sqrt(np.mean([look.spread**2 for look in looks], 0) + each.var(0))
    number = {"number": mean.argmax(1).astype(float)}
    if len(eyes[0].classes) == 2:
        return number | {"probability": mean[:, 1], "probability_error": spread[:, 1]}
    return number | {f"probability_{name}": mean[:, k] for k, name in enumerate(eyes[0].classes)}


def _fractions(eyes: Sequence[Eye], looks: Sequence[Look]) -> dict[str, Float[np.ndarray, "n"]]:
    """Fractions that add up, averaged over runs, and their intervals."""
    mean = consistent(np.mean([look.mean for look in looks], 0))
    found = {name: mean[:, k] for k, name in enumerate(COLUMNS)}
    for level in LEVELS:
        half = np.mean(
            [
                half_widths(look, eye.facts["calibration"]["factors"][f"{level:.2f}"])
                for eye, look in zip(eyes, looks, strict=True)
            ],
            0,
        )
        for mark, sign in zip(MARKS[level], (-1, 1), strict=True):
            ends = np.clip(mean + sign * half, 0, 1)
            found |= {f"{name}_{mark}": ends[:, k] for k, name in enumerate(COLUMNS)}
    return found


def consistent(fractions: Float[np.ndarray, "n 37"]) -> Float[np.ndarray, "n 37"]:
    """Fractions that add up along the tree: as they are if they do, else each question scaled to what leads to it."""
    found = np.array(fractions, float)
    start = 0
    for size, parent in zip(SIZES, PARENTS, strict=True):
        part = found[:, start : start + size]
        total, wanted = part.sum(1, keepdims=True), found[:, parent, None] if parent >= 0 else 1.0
        found[:, start : start + size] = np.where(
            total > 0, part * wanted / np.where(total > 0, total, 1), wanted / size
        )
        start += size
    return found


def _table(columns, names: list[str], eye: Eye, survey: store.Survey, runs: Sequence[Run]) -> pa.Table:
    story = {
        "weights": ", ".join(f"{run.name} {run.hash}" for run in runs),
        "survey": survey.path.name,
        "survey_hash": survey.content_hash,
        "skyloom": __version__,
        "source": survey.info.source,
        "citation": survey.info.citation,
    }
    fields, arrays = [pa.field("object_id", pa.string())], [pa.array(names, pa.string())]
    wanted = _described(eye)
    for name, meaning in wanted.items():
        values = columns.get("number" if name == "label" else name, np.full(len(names), np.nan))
        if name == "label":
            array = pa.array([None if np.isnan(k) else eye.classes[int(k)] for k in values], pa.string())
        else:
            array = pa.array(values, pa.float64())
        fields.append(pa.field(name, array.type, metadata={"description": meaning}))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=story))


def _described(eye: Eye) -> dict[str, str]:
    """What each column means."""
    if eye.kind == "classes":
        what = eye.facts["target"]
        if len(eye.classes) == 2:
            chance = {
                "probability": f"that {what} is {eye.classes[1]}",
                "probability_error": "disagreement of views and members",
            }
        else:
            chance = {f"probability_{name}": f"that {what} is {name}" for name in eye.classes}
        return {"label": f"the likeliest {what}", **chance}
    answers = [f"{question.text}: {answer}" for question in QUESTIONS for answer in question.answers]
    plain = {name: f"fraction of everybody, {answer}" for name, answer in zip(COLUMNS, answers, strict=True)}
    ends = {
        f"{name}_{mark}": f"end of an interval, {name}"
        for marks in MARKS.values()
        for mark in marks
        for name in COLUMNS
    }
    return plain | ends
