"""The same window of sky painted by `deep-field` as its training went on: field_training.jpg, after Fig. 3.1 of the
thesis.

    python docs/figures/field_training.py PIECES FOLDER

PIECES : what the weights were trained on; FOLDER : keeps the network of each step. The settings of the shipped weights
are used again, up to the last of STEPS, some 5 minutes of one core; networks that FOLDER has are not trained again.
Sources and noise are those of the shipped weights throughout, so that only the network changes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors.torch import load_file, save_file
from torch import nn

import skyloom as sl
from skyloom.data.cutout import Cutout
from skyloom.infer.fields.painter import Painter, painter_of
from skyloom.infer.placed import placed
from skyloom.recipes import deep_field
from skyloom.recipes.lesson import School, splits_of
from skyloom.recipes.settings import with_settings
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.sheets import Album, pictures, show
from skyloom.train import train

FIGURE = Path(__file__).with_name("field_training.jpg")
NAME = "deep-field"
STEPS = 0, 10, 50, 200, 800  # all of them without a critic, which comes in after 2,500
SEED, ROWS, COLUMNS = 7, range(0, 160), range(0, 160)
WHITE = 15  # sources


def learnt(survey: sl.Survey, folder: Path) -> None:
    """Train up to the last of STEPS, and keep the network at each."""
    recipe = with_settings(deep_field.deep_field("laptop"), {"where": "x > 1000", "steps": "3500", "alone": "2500"})
    torch.set_num_threads(1)
    lesson = deep_field.lesson(recipe, School([survey], splits_of([survey], recipe.split), torch.device("cpu"), None))
    keep(lesson.product, folder, 0)
    for step in train(lesson.update, islice(lesson.batches(0), STEPS[-1])):
        if step.number in STEPS:
            keep(lesson.product, folder, step.number)


def kept(folder: Path, step: int) -> Path:
    return folder / f"step_{step:05d}.safetensors"


def keep(net: nn.Module, folder: Path, step: int) -> None:
    save_file({name: part.contiguous() for name, part in net.state_dict().items()}, kept(folder, step))


def cutout(painter: Painter, name: str, rows: range = ROWS, columns: range = COLUMNS) -> Cutout:
    """A window, its sky and noise known."""
    flux = painter.pixels(SEED, rows, columns)
    rms = np.array(painter.rms, np.float32)
    return Cutout(name, flux, 0 * flux + 1, sky=0 * rms, sky_rms=rms)


def about_sources(painter: Painter) -> list[Cutout]:
    """Windows about the brightest sources of a part of the sky: their median colour is shown white."""
    there = painter.sources.strewn(SEED, range(0, 512), range(0, 512))
    found = []
    for k in np.argsort(-there.marks[:, 1:-4].sum(1))[:WHITE]:
        rows, columns = (
            range(round(at) - len(side) // 2, round(at) + len(side) // 2)
            for at, side in ((there.y[k], ROWS), (there.x[k], COLUMNS))
        )
        found.append(cutout(painter, f"source {k}", rows, columns))
    return found


def main() -> None:
    survey, folder = sl.open(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    if not all(kept(folder, step).exists() for step in STEPS):
        learnt(survey, folder)
    painter = painter_of(NAME)
    album = []
    for step in STEPS:
        net = painter_of(NAME).on("cpu")
        net.load_state_dict(load_file(kept(folder, step)))
        album.append((f"{step:,} steps", replace(painter, on=placed(net))))
    album.append(("3,500 steps, with a critic: the shipped weights", painter))
    cutouts = [cutout(one, words) for words, one in album]
    info = replace(painter.info, shape=(len(ROWS), len(COLUMNS)))
    _, shown = pictures(Album(about_sources(painter), info), Album(cutouts, info))

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 3).ravel()
        figure.subplots_adjust(0.003, 0.003, 0.997, 0.96, wspace=0.02, hspace=0.09)
        for axes in panels:
            axes.set_axis_off()
        for axes, one, each in zip(panels, shown, cutouts, strict=True):
            show(axes, one, sharp=True)
            axes.set_title(each.object_id, fontsize=8, color=PAPER.ink, pad=2)

    drawn(draw, 7.1, 5.0, PAPER).savefig(FIGURE, dpi=130, pil_kwargs={"quality": 85})


if __name__ == "__main__":
    main()
