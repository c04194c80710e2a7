"""Score weights that say what galaxies look like on objects that no training saw, beside three baselines that learnt
from the same objects; write scores.json and card.md, and ship the weights if asked.

    python scripts/score_morphology.py RUN SURVEY [--beside RUN ...] [--ship]

SURVEY is the one that was learnt from: its test side, a quarter by position, is judged. --beside names runs of the same
recipe with other settings, such as `shared=false`, whose scores go into the table of what each part adds.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shipping import head, keep, ship
from torch import nn

import skyloom as sl
from skyloom.checkpoint import Run, open_run
from skyloom.data import store
from skyloom.data.decision_tree import COLUMNS, fractions_of
from skyloom.data.images import ImageSet
from skyloom.infer.classify import MARKS
from skyloom.infer.looks import Eye, eye_of
from skyloom.metrics.looks import (
    ClassesJudged,
    FractionsJudged,
    baselines_of_classes,
    baselines_of_fractions,
    judge_classes,
    judge_fractions,
)
from skyloom.recipes.looking import pupils
from skyloom.recipes.settings import with_settings
from skyloom.recipes.training import RECIPES

Sides = dict[str, tuple[ImageSet, np.ndarray]]


def sides_of(run: Run, survey: store.Survey) -> Sides:
    """Images and what is known of them, on the side that was learnt from and on the one that is judged."""
    record = run.record["settings"]
    recipe = RECIPES[run.record["recipe"]].sizes(run.record["size"])
    wanted = {"split": str(record["split"]), "bin": str(record["bin"]), "crop": str(record["crop"])}
    recipe = replace(with_settings(recipe, wanted), target=record["target"], labels=record["labels"])
    school = RECIPES[run.record["recipe"]].school(recipe, [survey], torch.device("cpu"), None)
    found = {side: pupils(recipe, school, side) for side in ("train", "test")}
    return {side: (one.images[0], one.values[0]) for side, one in found.items()}


def classified(run: Run, survey: store.Survey, ids: tuple[str, ...]) -> tuple[Any, float]:
    """The table of `classify`, and the CPU seconds of a thousand galaxies, reading included."""
    sl.classify(survey, with_=run.path, ids=ids[:8], anyway=True)
    started = time.process_time()
    table = sl.classify(survey, with_=run.path, ids=ids, anyway=True)
    return table, 1000 * (time.process_time() - started) / len(ids)


def numbers(table: Any, names: list[str]) -> np.ndarray:
    return np.stack([table[name].to_numpy(zero_copy_only=False) for name in names], 1)


def chances_of(table: Any, eye: Eye) -> np.ndarray:
    if len(eye.classes) == 2:
        second = numbers(table, ["probability"])[:, 0]
        return np.stack([1 - second, second], 1)
    return numbers(table, [f"probability_{name}" for name in eye.classes])


def parts_of(run: Run, images: ImageSet, classes: np.ndarray, beside: list[Run]) -> list[dict]:
    """What views, members and shared orientations add: areas and accuracies without calibration."""
    rows = []
    for one in (*beside, run):
        eye = eye_of(one)
        net, facts = eye.on("cpu"), eye.facts
        members = list(net) if isinstance(net, nn.ModuleList) else [None]
        for count in sorted({1, len(members)}):
            for angles in (facts["angles"][:1], facts["angles"]):
                on = eye.on if members[0] is None else (lambda _, some=members[:count]: nn.ModuleList(some))
                seen = replace(eye, facts={**facts, "angles": angles}, on=on).look(images.flux)
                judged = judge_classes("", seen.mean, classes)
                rows.append({
                    "run": one.name, "shared": facts["net"].get("shared"), "members": count,
                    "views": len(angles) * (1 + facts["mirrors"]),
                    "area": as_list(judged.area), "accuracy": as_list(judged.accuracy),
                })  # fmt: skip
    return rows


def as_list(interval) -> list[float]:
    return [interval.score.value, interval.score.error, interval.low, interval.high]


def facts_of(judged: ClassesJudged | FractionsJudged) -> dict:
    if isinstance(judged, FractionsJudged):
        covered = {f"{level:.2f}": [score.value, score.error] for level, score in judged.covered.items()}
        return {"name": judged.name, "error": as_list(judged.error), "covered": covered}
    bins = [[one.chance, one.share.value, one.share.error, one.share.n] for one in judged.calibration.bins]
    return {
        "name": judged.name, "accuracy": as_list(judged.accuracy), "area": as_list(judged.area),
        "ece": as_list(judged.calibration.ece), "null": [*judged.calibration.null[:2]], "bins": bins,
    }  # fmt: skip


def score(run: Run, survey: store.Survey, beside: list[Run]) -> dict:
    eye, sides = eye_of(run), sides_of(run, survey)
    (learn, known), (judge, truth) = sides["train"], sides["test"]
    table, seconds = classified(run, survey, judge.ids)
    scores = {
        "survey": survey.path.name, "n": len(judge), "learnt": len(learn), "target": eye.facts["target"],
        "kind": eye.kind, "seconds_per_1000": seconds,
    }  # fmt: skip
    if eye.kind == "classes":
        ours = judge_classes(run.name, chances_of(table, eye), truth[:, 0].astype(int))
        others = baselines_of_classes(learn, known[:, 0].astype(int), judge, truth[:, 0].astype(int))
        scores |= {
            "share": float(truth[:, 0].mean()), "judged": [facts_of(one) for one in (ours, *others)],
            "parts": parts_of(run, judge, truth[:, 0].astype(int), beside),
        }  # fmt: skip
        return scores
    known, truth = (fractions_of(part) if eye.kind == "counts" else part for part in (known, truth))
    ends = {
        level: tuple(numbers(table, [f"{name}_{mark}" for name in COLUMNS]) for mark in marks)
        for level, marks in MARKS.items()
    }
    ours = judge_fractions(run.name, numbers(table, list(COLUMNS)), truth, ends)
    others = [facts_of(one) for one in baselines_of_fractions(learn, known, judge, truth)]
    runs = []
    for one in beside:
        found = numbers(sl.classify(survey, with_=one.path, ids=judge.ids, anyway=True), list(COLUMNS))
        runs.append(facts_of(judge_fractions(one.name, found, truth)))
    return scores | {"judged": [facts_of(ours), *runs, *others]}


def said(row: list[float]) -> str:
    return f"{row[0]:.3f} ± {row[1]:.3f} ({row[2]:.3f}–{row[3]:.3f})"


def table_of(scores: dict) -> str:
    """What was measured, as Markdown."""
    if scores["kind"] != "classes":
        text = "| | RMSE of 37 fractions (95 % interval) | within 68 % intervals | within 90 % |\n|---|---|---|---|\n"
        for row in scores["judged"]:
            held = [f"{100 * v:.1f} ± {100 * e:.1f} %" for v, e in row["covered"].values()] or ["", ""]
            text += f"| {row['name']} | {said(row['error'])} | {held[0]} | {held[1]} |\n"
        return text
    text = "| | accuracy (95 % interval) | AUC (95 % interval) | ECE | ECE of right chances |\n|---|---|---|---|---|\n"
    for row in scores["judged"]:
        text += (
            f"| {row['name']} | {said(row['accuracy'])} | {said(row['area'])} | {row['ece'][0]:.3f} ± "
            f"{row['ece'][1]:.3f} | {row['null'][0]:.3f} ± {row['null'][1]:.3f} |\n"
        )
    return text


def parts_table(scores: dict) -> str:
    text = "| run | orientations shared | members | views | AUC | accuracy |\n|---|---|---|---|---|---|\n"
    for row in scores["parts"]:
        shared = {True: "yes", False: "no"}.get(row["shared"], "")
        text += (
            f"| {row['run']} | {shared} | {row['members']} | {row['views']} | {said(row['area'])} | "
            f"{row['accuracy'][0]:.3f} ± {row['accuracy'][1]:.3f} |\n"
        )
    return text


def card(run: Run, scores: dict) -> str:
    """The model card."""
    facts = run.facts("looks")
    what = "votes" if scores["kind"] != "classes" else f"`{scores['target']}`"
    text = head(run, f"{facts['images']:,} images, the training side (63 %, by position) of") + (
        f"\n**Says** {what} of images of {facts['side']} × {facts['side']} pixels, each of "
        f"{facts['bin'] * facts['reach']:g} of the survey, in {', '.join(json_bands(facts))}. Calibrated on "
        f"{facts['calibration']['objects']} other objects.\n\n"
        f"**Scores** on {scores['n']:,} objects of `{scores['survey']}` that neither training nor calibration saw, "
        f"beside baselines that learnt from the same {scores['learnt']:,}; {scores['seconds_per_1000']:.1f} CPU s for "
        f"1,000 galaxies, reading included.\n\n"
        f"<!-- --8<-- [start:scores] -->\n{table_of(scores)}<!-- --8<-- [end:scores] -->\n"
    )
    if "parts" in scores:
        text += (
            "\n**What each part adds**, on the same objects, without calibration.\n\n"
            f"<!-- --8<-- [start:parts] -->\n{parts_table(scores)}<!-- --8<-- [end:parts] -->\n"
        )
    return text + CAVEATS.get(scores["target"], "")


CAVEATS = {
    "spiral_label": (
        "\n**What the label means.** 1: most volunteers saw features, spiral arms, and something odd (`Class1.2`, "
        "`Class4.1` and `Class6.1` above 0.5). It is no clean label of spirals: the rest, 0, holds ordinary ones. "
        "Images of Kaggle's Galaxy Challenge (Galaxy Zoo 2, SDSS), in a display stretch; weights ship, no image does.\n"
    )
}


def json_bands(facts: dict) -> list[str]:
    return [band["name"] for band in json.loads(facts["info"])["bands"]]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path)
    options.add_argument("survey", type=Path)
    options.add_argument("--beside", type=Path, nargs="*", default=[])
    options.add_argument("--ship", action="store_true", help="copy the run into the package")
    given = options.parse_args()
    run = open_run(given.run)
    scores = score(run, sl.open(given.survey), [open_run(one) for one in given.beside])
    said = card(run, scores)
    keep(run, json.loads(json.dumps(scores, default=float)), said)
    print(said)
    if given.ship:
        ship(run)


if __name__ == "__main__":
    main()
