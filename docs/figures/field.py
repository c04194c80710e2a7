"""A part of the real field beside a made one: field_pair.jpg, from surveys of one piece each, as a tour leaves them.

    python docs/figures/field.py TOUR          # a folder that `skyloom tour` has written

field.inc and field_counts.png are by scripts/score_fields.py (--table, --figure).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import skyloom as sl
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.sheets import Album, pictures, show

FIGURE = Path(__file__).with_name("field_pair.jpg")
SHOWN = 640  # side of the part that is shown, from the middle [pixel]


def middle(survey: sl.Survey) -> Album:
    (one,) = survey.read()
    first = (one.flux.shape[-1] - SHOWN) // 2
    here = np.s_[:, first : first + SHOWN, first : first + SHOWN]
    info = replace(survey.info, shape=(SHOWN, SHOWN))
    return Album([replace(one, flux=one.flux[here], ivar=np.ones_like(one.flux[here]), wcs=None)], info)


def main() -> None:
    tour = Path(sys.argv[1])
    (real,), (made,) = pictures(*(middle(sl.open(tour / name)) for name in ("real_field.lance", "made_field.lance")))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, 2)
        figure.subplots_adjust(0.005, 0.005, 0.995, 0.94, wspace=0.01)
        for axes, one, words in zip(panels, (real, made), ("real", "made"), strict=True):
            show(axes, one, sharp=True)
            axes.set_title(words, fontsize=9, color=PAPER.ink, pad=3)

    drawn(draw, 7.1, 3.75, PAPER).savefig(FIGURE, dpi=200, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    main()
