"""Score weights that can be asked for galaxies: is what comes what was asked for, and what else moves?

    python scripts/score_conditional.py RUN REAL [--n 300] [--pairs 32] [--guidance 1 1.5] [--band r] [--ship]
        [--figures FOLDER]

REAL : mocks that no training saw, with the columns that the weights were told of. What is asked for is what n of them
are; the same measurements on those mocks themselves are the ceiling. For the leakage matrix one property at a time is
asked for one standard deviation lower and higher than `pairs` of the mocks have it, all others and the noise held.
--figures writes conditional.inc, conditional_leakage.png and conditional_grid.jpg there.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from shipping import head, keep, ship

import skyloom as sl
from skyloom.checkpoint import Run, open_run
from skyloom.data.conditions import Condition, values_of, wished
from skyloom.data.destination import write_whole
from skyloom.infer.generator import Generator, generator_of
from skyloom.metrics.asked import (
    Leakage,
    Response,
    asked_properties,
    leakage,
    measured_properties,
    responses,
)
from skyloom.report.asked import asked_sheet, leakage_figure
from skyloom.report.sheets import Album, pictures

SEED = 21
WORDS = {
    "r_mag": ("r magnitude", "mag"), "r_e": ("ln R_e", ""), "g_r": ("g − r", "mag"), "r_i": ("r − i", "mag"),
    "ellipticity": ("ellipticity", ""), "n": ("ln n, as concentration", "mag/2.5"), "e1": ("e₁", ""), "e2": ("e₂", ""),
}  # fmt: skip
GRID = {"r_mag": (18.5, 19.5, 20.5, 21.5, 22.5), "r_e": (0.5, 1.0, 2.0)}
REST = {"g_r": 0.9, "r_i": 0.4, "ellipticity": 0.4, "pa": 30.0}


def asked_values(generator: Generator, real: sl.Survey, ids: list[str]) -> dict[str, np.ndarray]:
    """What the mocks are, by the names of the conditions; NaN where they have no such number."""
    rows = real.rows_of(ids)
    return {one.name: values_of(real, wished([one.text])[0], rows) for one in generator.conditions}


def drawn(run: Run, path: Path, values: dict[str, np.ndarray], guidance: float) -> sl.Survey:
    """Galaxies with one row of values each, all from the same noise; drawn once."""
    if not path.exists():
        labels = {name: value[:, 0] if value.shape[1] == 1 else value for name, value in values.items()}
        n = len(next(iter(values.values())))
        sl.simulate(path, run.path, n, seed=SEED, labels=labels, guidance=guidance)
    return sl.open(path)


def moved(condition: Condition, value: np.ndarray, by: float) -> np.ndarray:
    """Values of one condition some standard deviations from where they are, within the range learnt from."""
    step = by * condition.std[0]
    there = value * np.exp(step) if condition.kind == "log" else value + step
    return np.clip(there, condition.low[0], condition.high[0])


def matrix(run: Run, generator: Generator, real: sl.Survey, ids: list[str], band: str, unit: dict) -> Leakage:
    """Each property of these mocks asked for lower and higher than it is."""
    values = asked_values(generator, real, ids)
    low, high, apart = {}, {}, {}
    for one in generator.conditions:
        if one.kind not in ("linear", "log"):
            continue
        ends = {side: moved(one, values[one.name], by) for side, by in (("low", -1.0), ("high", 1.0))}
        told = [one.told(ends[side])[:, 0] for side in ("low", "high")]
        apart[one.name] = told[1] - told[0]
        for side, found in (("low", low), ("high", high)):
            path = run.path.parent / f"{run.name}-{one.name}-{side}.lance"
            found[one.name] = measured_properties(drawn(run, path, values | {one.name: ends[side]}, 1.0), band)
    names = [name for name in low if name in unit]
    return leakage(
        *({p: {m: part[p][m] for m in names} for p in names} for part in (low, high)),
        {name: apart[name] for name in names}, {name: unit[name] for name in names},
    )  # fmt: skip


def grid(run: Run, generator: Generator) -> Album:
    """One galaxy for each magnitude and size, from the same noise in each row's place; all other conditions held."""
    path = run.path.parent / f"{run.name}-grid.lance"
    known = {one.name for one in generator.conditions}
    size, light = (part.ravel() for part in np.meshgrid(GRID["r_e"], GRID["r_mag"], indexing="ij"))
    labels = {"r_mag": light, "r_e": size, **{name: value for name, value in REST.items() if name in known}}
    if not path.exists():
        sl.simulate(path, run.path, len(light), seed=3, labels=labels)
    made = sl.open(path)
    return Album(list(made.read()), made.info)


def facts_of(found: dict[str, Response]) -> dict:
    return {
        name: {part: [round(score.value, 4), round(score.error, 4)] for part, score in one._asdict().items()}
        | {"n": one.r2.n}
        for name, one in found.items()
    }


def table(scores: dict) -> str:
    """Markdown: every property, the ceiling first."""
    names = ["the mocks themselves", *(f"asked, guidance {g}" for g in scores["asked"])]
    columns = [scores["real"], *scores["asked"].values()]
    lines = [
        "| property | n | " + " | ".join(f"slope, {name} | scatter | R²" for name in names) + " |",
        "|---|---|" + "---|" * 3 * len(names),
    ]
    for key in scores["real"]:
        cells = []
        for column in columns:
            one = column[key]
            cells += [f"{one[part][0]:.3f} ± {one[part][1]:.3f}" for part in ("slope", "scatter", "r2")]
        unit = f" [{WORDS[key][1]}]" if WORDS[key][1] == "mag" else ""
        lines.append(f"| {WORDS[key][0]}{unit} | {scores['real'][key]['n']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def card(run: Run, scores: dict, generator: Generator) -> str:
    facts = run.facts("generator")
    can = "\n".join(
        f"- `{one.name}` from `{one.text.split('=', 1)[-1]}`, {one.low[0]:.3g} to {one.high[0]:.3g} {one.unit}"
        for one in generator.conditions
    )
    return (
        head(run, f"{facts['images']:,} images, the training side (80 %, by position) of")
        + f"\n**Makes** galaxies that can be asked for, in any part of this; the range is that learnt from:\n\n{can}\n"
        f"\n**Scores.** {scores['n']} galaxies asked to be as {scores['n']} of {scores['mocks']} are, measured as "
        f"those are (`skyloom.metrics.asked`), {scores['cpu_seconds_per_galaxy']:.3f} CPU s each at guidance 1:\n\n"
        + table(scores)
        + f"\nSynthetic galaxy distance to those mocks: {scores['sgd']['value']:.3f} ± {scores['sgd']['error']:.3f}, "
        f"mocks beside mocks {scores['sgd']['null']:.3f}.\n"
        "\n**Not for** what lies outside those ranges, nor for pairs that mocks do not have, however likely each is "
        "alone.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("real", type=Path)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 1.5])
    parser.add_argument("--band", default="r")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--figures", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")  # mocks at the edge of the range are asked for on purpose
    run, real = open_run(asked.run), sl.open(asked.real)
    generator, folder = generator_of(run.path), run.path.parent
    names = real.table(["object_id"])["object_id"].to_pylist()
    ids = names[: asked.n]
    values = asked_values(generator, real, ids)
    wanted, there = asked_properties(values), measured_properties(real, asked.band, ids)
    scores: dict = {
        "mocks": asked.real.name, "n": len(ids), "weights": generator.hash,
        "real": facts_of(responses(wanted, there)), "asked": {},
    }  # fmt: skip
    for guidance in asked.guidance:
        started = time.process_time()
        made = drawn(run, folder / f"{run.name}-asked-{guidance:g}.lance", values, guidance)
        if guidance == 1:
            scores["cpu_seconds_per_galaxy"] = round((time.process_time() - started) / len(ids), 4)
            total = next(row for row in sl.score(real, made, ["sgd"]).table().to_pylist() if row["name"] == "sum")
            scores["sgd"] = {name: round(float(total[name]), 4) for name in ("value", "error", "null", "null_error")}
        scores["asked"][f"{guidance:g}"] = facts_of(responses(wanted, measured_properties(made, asked.band)))
    whole = np.all([np.isfinite(value).all(1) for value in values.values()], axis=0)
    single = [name for name, known in zip(ids, whole, strict=True) if known][: asked.pairs]
    found = matrix(run, generator, real, single, asked.band, there)
    scores["leakage"] = {
        "asked": found.asked, "measured": found.measured, "n": found.n,
        "move": found.move.round(4).tolist(), "error": found.error.round(4).tolist(),
    }  # fmt: skip
    keep(run, scores, card(run, scores, generator))
    if asked.figures:
        write_whole(asked.figures / "conditional.inc", table(scores))
        words = [[WORDS[name][0].replace(", as concentration", "") for name in part] for part in found[:2]]
        words[1] = ["concentration" if name == "ln n" else name for name in words[1]]
        leakage_figure(found, *words).savefig(asked.figures / "conditional_leakage.png", dpi=150)
        sheet = asked_sheet(
            pictures(grid(run, generator))[0], [f"{mag:g}" for mag in GRID["r_mag"]],
            [f"{size:g}\"" for size in GRID["r_e"]], "r magnitude asked for", "R_e asked for",
        )  # fmt: skip
        sheet.savefig(asked.figures / "conditional_grid.jpg", dpi=150)
    if asked.ship:
        ship(run)


if __name__ == "__main__":
    main()
