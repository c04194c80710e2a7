"""Galaxies of the shipped generators beside real ones: the tables and figures of docs/simulate.md.

    python docs/figures/simulated.py                                 # simulated.inc, from the weights' scores.json
    python docs/figures/simulated.py NAME REAL.lance FAKE.lance      # NAME_sheet.jpg and NAME_histograms.png

REAL : galaxies that no training has seen; FAKE : drawn by the weights NAME
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import skyloom as sl
from skyloom.checkpoint import open_run
from skyloom.infer.generator import generators
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.histograms import draw_histograms, histogram_size
from skyloom.report.sheets import Album, pictures, show, whole

OUT = Path(__file__).with_suffix(".inc")
COLUMNS, ROWS, PANEL, HEAD = 9, 2, 0.92, 0.24  # of each half of a sheet; side of a panel and height of a line [inch]
SHOWN = {
    ("sgd", "r"): "W of r", ("sgd", "g − r"): "W of g − r", ("sgd", "R_e"): "W of R_e",
    ("sgd", "sum"): "SGD, scale-free",
    ("effect", "r"): "Cohen's d of r", ("noise", "r rms, fake / real"): "rms of the sky, r",
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


def histograms(name: str, real: sl.Survey, fake: sl.Survey) -> None:
    """What was measured on both, after Smith et al. 2022, Fig. 4."""
    pairs = sl.score(real, fake, ["sgd"]).properties
    figure = drawn(lambda one: draw_histograms(one, pairs, PAPER), *histogram_size(len(pairs)), PAPER)
    figure.savefig(OUT.with_name(f"{name}_histograms.png"), dpi=130)


def tables() -> None:
    lines = []
    for name in generators():
        scores = open_run(name).facts("scores")
        lines.append(
            f"\n**`{name}`**: {scores['n']:,} galaxies ({scores['sampler']}, {scores['steps']} steps, "
            f"{1 / scores['cpu_seconds_per_galaxy']:.1f} galaxies a second and core) beside as many real ones.\n\n"
            "| score | simulated beside real | real beside real |\n|---|---|---|"
        )
        for row in scores["rows"]:
            words = SHOWN.get((row["metric"], row["name"]))
            if words:
                lines.append(
                    f"| {words} | {row['value']:.3g} ± {row['error']:.1g} {row['unit']} | {row['null']:.3g} ± "
                    f"{row['null_error']:.1g} |"
                )
    OUT.write_text("\n".join(lines).lstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:]:
        given = (sys.argv[1], sl.open(sys.argv[2]), sl.open(sys.argv[3]))
        sheet(*given)
        histograms(*given)
    else:
        tables()
