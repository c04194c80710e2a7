"""What sky_gpt says of objects that no training saw, beside what needs no network; write scores.json and card.md.

    python scripts/score_completion.py RUN SAMPLE MOCKS FOLDER [--n N] [--ship] [--table FILE]

SAMPLE is the sample survey and FOLDER holds asas.lance, ztf.lance, sparc.lance and sdss.lance (scripts/multimodal.py):
the sides of them that RUN did not learn from are judged. MOCKS is a survey of mocks that it never saw.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from shipping import head, keep, ship
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from skyloom.checkpoint import Run, open_run
from skyloom.data import store
from skyloom.data.destination import write_whole
from skyloom.data.vocabulary import read_objects, source_of
from skyloom.infer.complete import complete, image_facts
from skyloom.infer.token_nets import Reader, reader_of
from skyloom.metrics.score import Score, mean
from skyloom.recipes.lesson import splits_of
from skyloom.sky.patches import from_patches
from skyloom.sky.tokens import IMAGE

UNSEEN = ("calibration", "test")
FIRST = 12  # points of a series that are shown
LEARN = 4_000  # objects that baselines learn from, at most


class Row(NamedTuple):
    """A task: root mean square miss of the network and of others, and the share of truths in the 68 % interval."""

    task: str
    unit: str
    miss: dict[str, Score]
    covered: Score | None


def rms(miss: np.ndarray, unit: str, group: np.ndarray | None = None) -> Score:
    """Root of the mean square, with its error."""
    square = mean(np.square(miss), unit, group)
    root = float(np.sqrt(square.value))
    return Score(root, square.error / (2 * root), unit, square.n)


def sides(run: Run, survey: store.Survey) -> tuple[list[str], list[str]]:
    """What was learnt from, and what was not."""
    split = splits_of([survey], run.record["settings"]["split"])[0].ids
    return list(split["train"]), [name for side in UNSEEN for name in split[side]]


def column(survey: store.Survey, ids: list[str], name: str) -> np.ndarray:
    values = survey.table([name]).take(survey.rows_of(ids))[name].to_pylist()
    return np.array([np.nan if value is None else value for value in values], float)


def light_of(reader: Reader, survey: store.Survey, ids: list[str]) -> tuple[list[str], np.ndarray]:
    """Photometry as the network is told it: asinh of the light in circles, in every band."""
    facts = image_facts(reader, survey)
    assert facts is not None
    read = read_objects(survey, ids, bands=facts.info.band_names, bin=facts.bin, crop=facts.info.shape[0])
    source = source_of(read, reader.vocabulary, 2)
    found = source.batch(np.arange(len(source)))[source.names[0]].values.flatten(1).numpy()
    return list(source.ids), found


def regressions() -> dict[str, Callable]:
    return {
        "ridge on photometry": lambda: make_pipeline(
            StandardScaler(), PolynomialFeatures(2), StandardScaler(), RidgeCV(np.logspace(-3, 5, 17))
        ),
        "neighbours in photometry": lambda: make_pipeline(
            StandardScaler(), KNeighborsRegressor(10, weights="distance")
        ),
    }


def numbers_of_images(reader: Reader, survey: store.Survey, learnt, unseen, names, units) -> list[Row]:
    """Columns of a catalogue from images alone."""
    known, photometry = light_of(reader, survey, learnt[:LEARN])
    table = complete(survey, with_=reader.run.path, say=names, given=["images"], ids=unseen)
    ids = table["object_id"].to_pylist()
    _, theirs = light_of(reader, survey, ids)
    rows = []
    for name, unit in zip(names, units, strict=True):
        goal, truth = column(survey, known, name), column(survey, ids, name)
        low, middle, high = (table[f"{name}{mark}"].to_numpy() for mark in ("_q16", "", "_q84"))
        sound = np.isfinite(truth)
        miss = {"sky_gpt": rms((middle - truth)[sound], unit)}
        for how, make in regressions().items():
            good = np.isfinite(goal)
            said = make().fit(photometry[good], goal[good]).predict(theirs)
            miss[how] = rms((said - truth)[sound], unit)
        miss["mean of all"] = rms((np.nanmean(goal) - truth)[sound], unit)
        covered = mean(((low < truth) & (truth < high))[sound].astype(float))
        rows.append(Row(f"image → {name}", unit, miss, covered))
    return rows


def profiles_of_images(reader: Reader, survey: store.Survey, learnt, unseen) -> list[Row]:
    """Surface brightness in r at the radii of the truth, down to 28 mag/arcsec²."""
    name = "true_sb_r@true_sma[:28]"
    known, photometry = light_of(reader, survey, learnt[:LEARN])
    table = complete(survey, with_=reader.run.path, say=[name], given=["images"], ids=unseen)
    ids = table["object_id"].to_pylist()
    _, theirs = light_of(reader, survey, ids)
    profiles = [_profile(survey, some) for some in (known, ids)]
    length = profiles[0].shape[1]
    goal = np.where(np.isfinite(profiles[0]), profiles[0], 28.0)
    truth = profiles[1]
    group = np.repeat(np.arange(len(ids)), length).reshape(len(ids), length)
    ours, inside = np.full_like(truth, np.nan), np.full_like(truth, np.nan)
    columns = (table[f"true_sb_r{mark}"].to_pylist() for mark in ("_q16", "", "_q84"))
    for k, (low, middle, high) in enumerate(zip(*columns, strict=True)):
        there = np.flatnonzero(np.isfinite(truth[k]))
        ours[k, there] = middle
        inside[k, there] = (np.array(low) < truth[k, there]) & (truth[k, there] < np.array(high))
    sound, unit = np.isfinite(truth), "mag/arcsec²"
    miss = {"sky_gpt": rms((ours - truth)[sound], unit, group[sound])}
    for how, make in regressions().items():
        said = make().fit(photometry, goal).predict(theirs)
        miss[how] = rms((said - truth)[sound], unit, group[sound])
    miss["mean of all"] = rms((goal.mean(0) - truth)[sound], unit, group[sound])
    return [Row("image → profile in r (mocks)", unit, miss, mean(inside[sound], group=group[sound]))]


def _profile(survey: store.Survey, ids: list[str]) -> np.ndarray:
    rows = survey.table(["true_sb_r"]).take(survey.rows_of(ids))["true_sb_r"].to_pylist()
    values = np.array([[np.nan if value is None else value for value in row] for row in rows], float)
    return np.where(values <= 28, values, np.nan)


def halves(reader: Reader, survey: store.Survey, unseen: list[str]) -> Row:
    """The right half of each image from the left half: miss in the scaled unit (asinh of light over the sky's rms)."""
    facts = image_facts(reader, survey)
    assert facts is not None
    read = read_objects(survey, unseen, bands=facts.info.band_names, bin=facts.bin, crop=facts.info.shape[0])
    source = source_of(read, reader.vocabulary, 2)
    name, side = source.names[1], facts.tokeniser.side
    ours, others, group = [], {"half turned about the middle": [], "blank sky": []}, []
    for rows in np.array_split(np.arange(len(source)), max(1, len(source) // 64)):
        batch = source.batch(rows)
        light, tokens = (batch[one] for one in source.names)
        right = tokens.places[..., 1] > 0
        hidden = {source.names[0]: torch.ones_like(light.present), name: right}
        with torch.inference_mode():
            said = reader.net.filled({source.names[0]: light, name: tokens}, hidden)[name].expected
        truth, drawn = (
            from_patches(part, facts.patch, side, side, facts.order).numpy() for part in (tokens.values, said)
        )
        half = np.s_[..., truth.shape[-1] // 2 :]
        turned = truth[..., ::-1, ::-1]
        bright = truth[half] > 3
        ours.append((drawn[half] - truth[half])[bright])
        others["half turned about the middle"].append((turned[half] - truth[half])[bright])
        others["blank sky"].append(truth[half][bright])
        group.append(np.repeat(rows, bright.sum((1, 2, 3))))
    _, whose = np.unique(np.concatenate(group), return_inverse=True)
    miss = {"sky_gpt": rms(np.concatenate(ours), "asinh(light / rms)", whose)}
    miss |= {how: rms(np.concatenate(parts), "asinh(light / rms)", whose) for how, parts in others.items()}
    return Row(f"left half → right half, pixels above 10 rms ({IMAGE}s)", "asinh(light / rms)", miss, None)


def rest_of_series(reader: Reader, survey: store.Survey, name: str, unseen, task: str, unit: str) -> Row:
    """The points after the first FIRST of each object, beside the mean and the last of those that were shown."""
    table = complete(survey, with_=reader.run.path, say=[name], given=[], first=FIRST, ids=unseen)
    value, place = name.split("@")[0], name.split("@")[1].split("/")[0].removesuffix("-first")
    stored = survey.table([value, place]).take(survey.rows_of(table["object_id"].to_pylist())).to_pylist()
    misses: dict[str, list] = {"sky_gpt": [], "mean of those shown": [], "last of those shown": []}
    inside, group = [], []
    columns = (table[f"{value}{mark}"].to_pylist() for mark in ("_q16", "", "_q84"))
    for k, (row, low, middle, high) in enumerate(zip(stored, *columns, strict=True)):
        pairs = sorted(
            (time, one)
            for time, one in zip(row[place] or [], row[value] or [], strict=True)
            if time is not None and one is not None and np.isfinite(time + one)
        )
        values = np.array([one for _, one in pairs])
        shown, rest = values[:FIRST], values[FIRST:]
        if not len(rest):
            continue
        misses["sky_gpt"].append(np.array(middle) - rest)
        misses["mean of those shown"].append(shown.mean() - rest)
        misses["last of those shown"].append(shown[-1] - rest)
        inside.append((np.array(low) < rest) & (rest < np.array(high)))
        group.append(np.full(len(rest), k))
    _, whose = np.unique(np.concatenate(group), return_inverse=True)
    miss = {how: rms(np.concatenate(parts), unit, whose) for how, parts in misses.items()}
    return Row(task, unit, miss, mean(np.concatenate(inside).astype(float), group=whose))


def redshifts(reader: Reader, survey: store.Survey, learnt, unseen) -> Row:
    """Redshifts of galaxies, stars and quasars together, from five magnitudes."""
    names = [f"mag_{band}" for band in "ugriz"]
    table = complete(survey, with_=reader.run.path, say=["redshift"], given=names, ids=unseen)
    magnitudes = [np.column_stack([column(survey, ids, name) for name in names]) for ids in (learnt, unseen)]
    goal, truth = column(survey, learnt, "redshift"), column(survey, unseen, "redshift")
    low, middle, high = (table[f"redshift{mark}"].to_numpy() for mark in ("_q16", "", "_q84"))
    scale = 1 + truth
    miss = {"sky_gpt": rms((middle - truth) / scale, "Δz/(1+z)")}
    others = regressions() | {"boosted trees": lambda: HistGradientBoostingRegressor(random_state=0)}
    for how, make in others.items():
        said = make().fit(magnitudes[0], goal).predict(magnitudes[1])
        miss[how.replace("photometry", "magnitudes")] = rms((said - truth) / scale, "Δz/(1+z)")
    miss["mean of all"] = rms((goal.mean() - truth) / scale, "Δz/(1+z)")
    return Row(
        "u, g, r, i, z → redshift (SDSS)", "Δz/(1+z)", miss, mean(((low < truth) & (truth < high)).astype(float))
    )


def all_rows(reader: Reader, sample: store.Survey, mocks: store.Survey, folder: Path, n: int) -> list[Row]:
    run = reader.run
    learnt, unseen = sides(run, sample)
    rows = numbers_of_images(
        reader, sample, learnt, unseen, ["mag_r", "half_light_radius", "ellipticity"], ["mag", "pixel", ""]
    )
    fresh = mocks.table(["object_id"])["object_id"].to_pylist()
    rows += profiles_of_images(reader, mocks, fresh[n : n + LEARN], fresh[:n])
    rows.append(halves(reader, mocks, fresh[:n]))
    for name, series, task, unit in (
        ("asas", "mag@time-first", "12 epochs → the rest (ASAS, V)", "mag"),
        ("ztf", "mag@time-first/filter", "12 epochs → the rest (ZTF)", "mag"),
        ("sparc", "velocity@radius", "12 radii → the rest of a rotation curve (SPARC)", "km/s"),
    ):
        survey = store.open(folder / f"{name}.lance")
        rows.append(rest_of_series(reader, survey, series, sides(run, survey)[1], task, unit))
    sdss = store.open(folder / "sdss.lance")
    rows.append(redshifts(reader, sdss, *sides(run, sdss)))
    return rows


def markdown(rows: list[Row]) -> str:
    lines = ["| shown → said | rms miss of sky_gpt | of others | in its 68 % interval | n |", "|---|---|---|---|---|"]
    for row in rows:
        ours = row.miss["sky_gpt"]
        others = "; ".join(f"{name} {one.value:.3g} ± {one.error:.1g}" for name, one in list(row.miss.items())[1:])
        covered = f"{row.covered.value:.2f} ± {row.covered.error:.2f}" if row.covered else ""
        lines.append(
            f"| {row.task} [{row.unit}] | {ours.value:.3g} ± {ours.error:.1g} | {others} | {covered} | {ours.n:,} |"
        )
    return "\n".join(lines)


def card(run: Run, rows: list[Row]) -> str:
    """The model card."""
    scaling = run.facts("scaling") or {}
    return "\n".join([
        head(run, f"the training side (80 %, by position) of {len(run.record['surveys'])} surveys"),
        f"{scaling['n_parameters']:,} parameters, {scaling['n_tokens']:,} tokens seen, {scaling['flops']:.2g} FLOP.\n",
        "**Says** what is asked of objects that it did not learn from; the miss is the root mean square.\n",
        markdown(rows),
        "\n**Not for** other bands and pixel scales than those of the sample survey, of mocks and of ZTF's stamps; for "
        "numbers in other definitions than those of the columns it learnt from; nor where a miss above is larger than "
        "that of what needs no network.\n",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("run", "sample", "mocks", "folder"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--n", type=int, default=500, help="mocks that are judged")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--table", type=Path)
    told = parser.parse_args()
    run = open_run(told.run)
    rows = all_rows(reader_of(told.run), store.open(told.sample), store.open(told.mocks), told.folder, told.n)
    print(markdown(rows))
    scores = {"completion": [
        {"task": row.task, "unit": row.unit, "miss": {name: list(one) for name, one in row.miss.items()},
         "covered": list(row.covered) if row.covered else None} for row in rows
    ]}  # fmt: skip
    keep(run, scores, card(run, rows))
    if told.table:
        write_whole(told.table, markdown(rows) + "\n")
    if told.ship:
        ship(run)


if __name__ == "__main__":
    main()
