"""Do chances hold what they state? The shares of galaxies with a label beside the chances that were stated of them.

    python docs/figures/reliability.py [WEIGHTS] [--out docs/figures/reliability.png]

From the scores of weights that ship (scripts/score_morphology.py): theirs, and those of the three baselines. Errors of
shares are binomial. Below: how many galaxies were given each chance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from skyloom.checkpoint import open_run

COLOURS = ("#b5367a", "#0b6e99", "#d9622b", "#5a8f3d")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("weights", nargs="?", default="morphology")
    options.add_argument("--out", type=Path, default=Path("docs/figures/reliability.png"))
    given = options.parse_args()
    scores = open_run(given.weights).facts("scores")
    judged = scores["judged"]
    figure = Figure(figsize=(3 * len(judged), 4.2), dpi=110, layout="constrained")
    grid = figure.subplots(2, len(judged), sharex=True, sharey="row", height_ratios=(3, 1))
    for (above, below), row, colour in zip(grid.T, judged, COLOURS, strict=False):
        chance, share, error, n = zip(*row["bins"], strict=True)
        above.plot([0, 1], [0, 1], color="0.6", lw=0.8)
        above.errorbar(chance, share, error, fmt="o", ms=4.5, lw=1.2, color=colour)
        above.set_title(row["name"], fontsize=10)
        ece, null = row["ece"], row["null"]
        above.text(
            0.04, 0.97, f"ECE {ece[0]:.3f} ± {ece[1]:.3f}\nright chances {null[0]:.3f} ± {null[1]:.3f}\n"
            f"AUC {row['area'][0]:.3f} ± {row['area'][1]:.3f}", transform=above.transAxes, va="top", fontsize=8,
        )  # fmt: skip
        above.set(xlim=(0, 1), ylim=(-0.03, 1.03))
        below.bar(chance, n, width=0.06, color=colour)
        below.set_xlabel("chance that was stated")
    grid[0, 0].set_ylabel("share with the label")
    grid[1, 0].set_ylabel("galaxies")
    figure.savefig(given.out)


if __name__ == "__main__":
    main()
