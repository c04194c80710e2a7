"""Galaxies of the shipped generators beside real ones: the tables and figures of docs/simulate.md.

    python docs/figures/simulated.py               # simulated.inc and steps.inc, from the weights' scores.json, and
                                                   # astroddpm*.json, the scores of runs of the published recipe
    python docs/figures/simulated.py NAME REAL.lance FAKE.lance      # NAME_sheet.jpg and NAME_histograms.png
    python docs/figures/simulated.py NAME FAKE.lance                 # NAME_sheet.jpg of pictures, as they are

REAL : galaxies that no training has seen; FAKE : drawn by the weights NAME
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import skyloom as sl
from skyloom.checkpoint import open_run
from skyloom.infer.generator import generators
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.histograms import draw_histograms, histogram_size
from skyloom.report.sheets import Album, galaxies_grid, pictures, show, whole

OUT = Path(__file__).with_suffix(".inc")
STEPS = OUT.with_name("steps.inc")
PUBLISHED = {"galaxy-mock": "astroddpm.json", "galaxy-kids": "astroddpm-sample.json"}  # trained on the same galaxies
COLUMNS, ROWS, PANEL, HEAD = 9, 2, 0.92, 0.24  # of each half of a sheet; side of a panel and height of a line [inch]
SHOWN = {
    ("sgd", "g"): "W of g", ("sgd", "r"): "W of r", ("sgd", "i"): "W of i",
    ("sgd", "g − r"): "W of g − r", ("sgd", "r − i"): "W of r − i", ("sgd", "R_e"): "W of R_e",
    ("sgd", "sum"): "SGD, scale-free", ("sgd_legacy", "published sum"): "SGD, as published",
    ("flux", "g mean, real / fake"): "mean flux, real / simulated, g", ("flux", "r mean, real / fake"): "… r",
    ("flux", "i mean, real / fake"): "… i", ("flux", "g median, real / fake"): "median flux, real / simulated, g",
    ("flux", "r median, real / fake"): "… r", ("flux", "i median, real / fake"): "… i",
    ("effect", "r"): "Cohen's d of r", ("noise", "r rms, fake / real"): "rms of the sky, r",
    ("noise", "r level, fake − real"): "level of the sky, r",
    ("frechet", "Fréchet distance"): "Fréchet, random features", ("classifier", "area under ROC"): "classifier, AUC",
    ("memorisation", "nearest neighbours"): "memorisation, ratio",
}  # fmt: skip


def sheet(name: str, real: sl.Survey, fake: sl.Survey) -> None:
    """Real galaxies above, simulated ones below, none chosen, all in one stretch."""
    halves = []
    for survey in (real, fake):
        ids = survey.table(["object_id"])["object_id"].to_pylist()
        some = np.random.default_rng(1).permutation(len(ids))[: 3 * COLUMNS * ROWS]
        album = whole(Album([*survey.read(ids=[ids[place] for place in some])], survey.info))
        if len(album.cutouts) < COLUMNS * ROWS:  # bad pixels, which mocks have and which cannot be shown
            return
        halves.append(Album(album.cutouts[: COLUMNS * ROWS], survey.info))
    width, height = COLUMNS * PANEL, 2 * (ROWS * PANEL + HEAD)

    def draw(figure: Figure) -> None:
        for half, (some, words) in enumerate(zip(pictures(*halves), ("real", f"simulated by {name}"), strict=True)):
            top = half * height / 2
            figure.text(0.02 / width, 1 - (top + HEAD / 2) / height, words, va="center", fontsize=9, color=PAPER.ink)
            for place, one in enumerate(some):
                row, column = divmod(place, COLUMNS)
                low = top + HEAD + (row + 1) * PANEL
                side = 0.97 * PANEL
                show(figure.add_axes((column * PANEL / width, 1 - low / height, side / width, side / height)), one)

    drawn(draw, width, height, PAPER).savefig(OUT.with_name(f"{name}_sheet.jpg"), dpi=160, pil_kwargs={"quality": 88})


def levels(name: str, fake: sl.Survey) -> None:
    """Simulated pictures in their own levels; what they were learnt from may not be shown."""
    flux = np.stack([one.flux for one, _ in zip(fake.read(), range(COLUMNS * ROWS), strict=False)])
    some = np.full((*flux.shape[:1], *flux.shape[2:], 4), 255, np.uint8)
    some[..., :3] = np.rint(flux.clip(0, 255)).transpose(0, 2, 3, 1)
    galaxies_grid(some, COLUMNS).savefig(OUT.with_name(f"{name}_sheet.jpg"), dpi=130, pil_kwargs={"quality": 88})


def histograms(name: str, real: sl.Survey, fake: sl.Survey) -> None:
    """What was measured on both, after Smith et al. 2022, Fig. 4."""
    pairs = sl.score(real, fake, ["sgd"]).properties
    figure = drawn(lambda one: draw_histograms(one, pairs, PAPER), *histogram_size(len(pairs)), PAPER)
    figure.savefig(OUT.with_name(f"{name}_histograms.png"), dpi=130)


def tables() -> None:
    """A table per generator, with the published recipe beside ours on mocks; and one of the sampler's steps."""
    lines = []
    for name in generators():
        found = {name: open_run(name).facts("scores")}
        if name in PUBLISHED and OUT.with_name(PUBLISHED[name]).exists():
            found["astroddpm"] = json.loads(OUT.with_name(PUBLISHED[name]).read_text(encoding="utf-8"))
        lines += table(found)
    OUT.write_text("\n".join(lines).lstrip() + "\n", encoding="utf-8")
    STEPS.write_text("\n".join(curve(open_run("galaxy-mock").facts("scores"))) + "\n", encoding="utf-8")


def table(found: dict[str, dict]) -> list[str]:
    """Columns of value and null for each set of scores; rows that only one has are left out of the other."""
    lines = [
        f"\n**`{name}`**: {scores['n']:,} galaxies ({scores['sampler']}, {scores['steps']} steps, "
        f"{1 / scores['cpu_seconds_per_galaxy']:.1f} galaxies a second and core) beside as many real ones."
        for name, scores in found.items()
    ]
    lines += [
        "",
        "| score |" + "".join(f" {name} | real beside real |" for name in found),
        "|---|" + "---|---|" * len(found),
    ]
    rows = [{(row["metric"], row["name"]): row for row in scores["rows"]} for scores in found.values()]
    for key, words in SHOWN.items():
        if any(key in some and some[key]["value"] is not None for some in rows):
            lines.append(f"| {words} | " + " | ".join(cells(some.get(key)) for some in rows) + " |")
    return lines


def cells(row: dict | None) -> str:
    """A value and its null, to the digit of their errors."""
    if row is None or row["value"] is None:
        return "– | –"
    unit = f" {row['unit']}" if row["unit"] else ""
    return f"{to_error(row['value'], row['error'])}{unit} | {to_error(row['null'], row['null_error'])}"


def to_error(value: float, error: float) -> str:
    digits = int(np.clip(1 - np.floor(np.log10(error)), 0, 4)) if error > 0 else 2
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def curve(scores: dict) -> list[str]:
    lines = ["| steps | n | CPU s a galaxy | SGD, scale-free | real beside real | W of r [mag] | rms of the sky, r |"]
    lines.append("|---" * 7 + "|")
    for one in scores["curve"]:
        rows = {(row["metric"], row["name"]): row for row in one["rows"]}
        total = cells(rows[("sgd", "sum")])
        r, sky = (rows[key] for key in (("sgd", "r"), ("noise", "r rms, fake / real")))
        lines.append(
            f"| {one['steps']} | {one['n']} | {one['cpu_seconds']:.2f} | {total} | "
            f"{to_error(r['value'], r['error'])} | {to_error(sky['value'], sky['error'])} |"
        )
    return lines


if __name__ == "__main__":
    if len(sys.argv) == 3:
        levels(sys.argv[1], sl.open(sys.argv[2]))
    elif sys.argv[1:]:
        given = (sys.argv[1], sl.open(sys.argv[2]), sl.open(sys.argv[3]))
        sheet(*given)
        histograms(*given)
    else:
        tables()
