"""Do stated intervals hold what they state? Coverage of profile tables, like the data they were tuned on and unlike.

    python docs/figures/calibration.py --set NAME TABLE SURVEY_or_TABLE [--set ...] --out FILE.png

One column per set, e.g. `--set "as trained" test.parquet test.lance --set "bands unseen" red.parquet red.lance`.
Above: the share of true values within intervals of every level, by surface brightness of the reference; dots are the
levels that the engine states, the rest lies between its quantiles as a normal law would. Grey: ± 3 points, which is
what is asked for. Below: the 68 and 90 % intervals against surface brightness, of the reference (filled) and of the
prediction (open), with errors from a bootstrap over galaxies. The verdict is printed, and drawn in short.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skyloom.data import store
from skyloom.data.tables import read_table
from skyloom.metrics.calibration import LEVELS, TOLERANCE, Verdict, coverage, shift_report
from skyloom.metrics.profiles import BINS, Points, deviations
from skyloom.metrics.references import truth_table
from skyloom.report.drawing import PAPER, drawn

CURVE = np.linspace(0.05, 0.99, 48)  # levels of the curves
FINE = tuple((low, low + 1.0) for low in np.arange(17.0, 28.0))  # bins of the lower panels [mag/arcsec²]
FEWEST = 30  # points of a bin that is drawn
COLOURS = ("#44197a", "#b5367a", "#f1844b")  # of BINS but the last, bright to faint: dark to light
FILL = {0.68: "#d9622b", 0.90: "#0b6e99"}


class Set(NamedTuple):
    """A table beside its reference, and what is to be said of its intervals."""

    name: str
    points: Points
    verdict: Verdict


def read(name: str, table: str, reference: str) -> Set:
    path = Path(reference)
    lance = path.suffix == ".lance" or path.is_dir()
    points = deviations(read_table(Path(table)), truth_table(store.open(path)) if lance else read_table(path))
    return Set(name, points, shift_report(points))


def draw_levels(axes: Axes, one: Set) -> None:
    """Achieved against nominal level, a line per bin of the reference and one for all points."""
    axes.fill_between([0, 1], [-TOLERANCE, 1 - TOLERANCE], [TOLERANCE, 1 + TOLERANCE], color="0.88", lw=0)
    axes.plot([0, 1], [0, 1], color="0.45", lw=0.8)
    for place, (low, high) in enumerate(BINS):
        last = place == len(BINS) - 1
        look = {"color": "0.1" if last else COLOURS[place], "lw": 1.8 if last else 1.2}
        shares = [coverage(one.points, level, bins=((low, high),))[0].share.value for level in CURVE]
        name = f"all below {high:g}" if last else f"below {high:g}" if low == 0 else f"{low:g} to {high:g}"
        axes.plot(CURVE, shares, label=name, zorder=3 + last, **look)
        stated = [coverage(one.points, level, bins=((low, high),))[0].share for level in LEVELS]
        axes.errorbar(
            LEVELS, [s.value for s in stated], [s.error for s in stated], fmt="o", ms=3.5, zorder=5, color=look["color"]
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="nominal level", aspect="equal")
    axes.set_title(f"{one.name}: {'holds' if one.verdict.holds else 'does not hold'}", fontsize=10)


def draw_bins(axes: Axes, one: Set) -> None:
    """Coverage at the levels of LEVELS against surface brightness."""
    for level in LEVELS:
        axes.axhspan(level - TOLERANCE, level + TOLERANCE, color="0.88", lw=0)
        axes.axhline(level, color="0.45", lw=0.8)
        for by, shift, filled in (("reference", -0.1, True), ("predicted", 0.1, False)):
            found = [c for c in coverage(one.points, level, by, FINE) if c.share.n >= FEWEST and c.galaxies > 1]
            middle = [(c.low + c.high) / 2 + shift for c in found]
            shares, errors = [c.share.value for c in found], [c.share.error for c in found]
            colour = FILL[level]
            axes.errorbar(
                middle, shares, errors, fmt="o", ms=4, color=colour, mfc=colour if filled else "w", elinewidth=0.9
            )
    axes.set(xlim=(FINE[0][0] - 0.2, FINE[-1][1] + 0.2), xlabel=r"$\mu$ [mag arcsec$^{-2}$]")


def explain(axes: Axes) -> None:
    """What is filled, what is open, and which level has which colour."""
    dots = [(FILL[level], FILL[level], f"{100 * level:.0f} %") for level in LEVELS]
    dots += [("0.3", "0.3", "by reference"), ("0.3", "w", "by prediction")]
    handles = [axes.plot([], [], "o", ms=4, color=edge, mfc=face)[0] for edge, face, _ in dots]
    close = {"handletextpad": 0.1, "columnspacing": 0.8, "borderaxespad": 0.2, "fontsize": 8}
    axes.legend(handles, [name for *_, name in dots], ncols=2, loc="lower left", **close)


def draw(figure: Figure, sets: list[Set]) -> None:
    panels = figure.subplots(
        2, len(sets), squeeze=False, sharey="row", height_ratios=(1.5, 1), gridspec_kw={"hspace": 0.22, "wspace": 0.06}
    )
    figure.subplots_adjust(0.62 / figure.get_figwidth(), 0.085, 1 - 0.1 / figure.get_figwidth(), 0.95)
    for column, one in zip(panels.T, sets, strict=True):
        draw_levels(column[0], one)
        draw_bins(column[1], one)
    panels[0, 0].set_ylabel("share of true values within")
    panels[1, 0].set_ylabel("share within")
    panels[0, 0].legend(loc="upper left", title=r"$\mu$ [mag arcsec$^{-2}$]", title_fontsize=8, fontsize=8)
    explain(panels[1, 0])
    low = min(np.min(line.get_ydata()) for axes in panels[1] for line in axes.lines if len(line.get_ydata()))
    panels[1, 0].set_ylim(max(0, min(0.4, low - 0.1)), 1)


def main(given: argparse.Namespace) -> None:
    """Read the sets, say how each one fares, and draw them side by side."""
    sets = [read(*one) for one in given.set]
    for one in sets:
        print(one.name, *one.verdict.lines, sep="\n  ")
    width = 0.7 + 3.1 * len(sets)
    drawn(lambda figure: draw(figure, sets), width, 5.6, PAPER).savefig(given.out, dpi=170, facecolor="white")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--set", nargs=3, action="append", required=True, metavar=("NAME", "TABLE", "REFERENCE"))
    options.add_argument("--out", required=True, type=Path, metavar="FILE.png")
    main(options.parse_args())
