"""Figure of docs/inpaint.md: galaxies that no training has seen, a trail across each, and what three ways make of it.

Run: python docs/figures/inpaint.py WEIGHTS SURVEY.lance [--where is_extended] [--band r] [--seed 0] [--out FILE.png]

Rows are the brightest galaxies of the survey's test part; the errors below are filled less observed, in units of the
sky's rms, on the pixels that the trail took.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from skyloom.data import store
from skyloom.infer.inpaint import inpaint
from skyloom.infer.rows import sky_of
from skyloom.metrics.inpainting import biharmonic, linear
from skyloom.recipes.lesson import splits_of
from skyloom.report.drawing import PAPER, drawn
from skyloom.sky.trails import Trail, draw_trail

TRAILS = (Trail(0.5, 1.0, 3.0, 40.0), Trail(2.2, -3.0, 5.0, 80.0, 11.0, 0.8), Trail(1.4, 4.0, 4.0, 150.0))
SAMPLES = 16
DEEP, BRIGHT = 3.0, 0.7  # black lies so many rms below the sky; white at this share of the brightest pixel


def chosen(path: Path, where: str | None, band: int, seed: int):
    """The galaxies with the most light in a band."""
    survey = store.open(path)
    passing = set(survey.table(["object_id"], where)["object_id"].to_pylist())
    ids = [name for name in splits_of([survey], seed)[0].ids["test"] if name in passing]
    cutouts = [one for one in survey.read(ids=ids) if (one.ivar > 0).all()]
    light = [float(np.sum(one.flux[band] - sky_of(one)[0][band])) for one in cutouts]
    return survey.info, [cutouts[place] for place in np.argsort(light)[::-1][: len(TRAILS)]]


def filled(info, cutouts, weights: str):
    """Per galaxy: the cutout, its spoilt pixels, the image with the trail, and the filled cutout."""
    spoilt = []
    for one, trail in zip(cutouts, TRAILS, strict=True):
        light, mask = draw_trail(info.shape, trail)
        rms = np.asarray(sky_of(one)[1])[:, None, None]
        flux = (one.flux + light * rms).astype(np.float32)
        spoilt.append(replace(one, flux=flux, columns={"spoilt": mask.astype(np.uint8).ravel()}))
    with tempfile.TemporaryDirectory() as folder:
        there = store.write(Path(folder) / "in.lance", info, spoilt)
        done = inpaint(there, Path(folder) / "out.lance", "spoilt", weights, samples=SAMPLES, keep_samples=True)
        return [
            (one, two.columns["spoilt"].reshape(info.shape) > 0, two, three)
            for one, two, three in zip(cutouts, spoilt, done.read(), strict=True)
        ]


def planes(one, mask, spoilt, done, band: int) -> dict[str, np.ndarray]:
    """What is shown of a galaxy: planes of one band, sky-subtracted, in units of its rms."""
    level, rms = (float(values[band]) for values in sky_of(one))
    hidden = np.broadcast_to(mask, one.flux.shape)
    place = np.flatnonzero(hidden.ravel())
    draw = done.flux.copy()
    draw.ravel()[place] = done.columns["filled_samples"].reshape(SAMPLES, -1)[0]
    shown = {
        "observed": one.flux, "with a trail": spoilt.flux, "linear": linear(spoilt.flux, hidden),
        "biharmonic": biharmonic(spoilt.flux, hidden), "mean of samples": done.flux, "one sample": draw,
    }  # fmt: skip
    found = {name: (flux[band] - level) / rms for name, flux in shown.items()}
    sigma = done.columns["filled_sigma"].reshape(one.flux.shape)[band] / rms
    return {**found, "σ": np.where(mask, sigma, np.nan)}


def draw(figure: Figure, galaxies, band: int) -> None:
    each = [planes(*galaxy, band) for galaxy in galaxies]
    names = list(each[0])
    panels = figure.subplots(2 * len(each), len(names), gridspec_kw={"hspace": 0.06, "wspace": 0.04})
    figure.subplots_adjust(0.03, 0.02, 0.93, 0.94)
    for number, (found, (_, mask, *_)) in enumerate(zip(each, galaxies, strict=True)):
        top = np.arcsinh(BRIGHT * found["observed"].max() / DEEP)
        for column, name in enumerate(names):
            above, below = panels[2 * number, column], panels[2 * number + 1, column]
            if name == "σ":
                picture = above.imshow(found[name], origin="lower", cmap="magma", vmin=0)
                bar = figure.colorbar(picture, ax=above, pad=0.04, fraction=0.05)
                bar.set_label("σ [sky rms]", fontsize=8)
                bar.ax.tick_params(labelsize=7)
            else:
                above.imshow(np.arcsinh(found[name] / DEEP), origin="lower", cmap="gray", vmin=-np.arcsinh(1), vmax=top)
            if name in ("observed", "σ"):
                below.set_visible(False)
            else:
                error = np.where(mask, found[name] - found["observed"], np.nan)
                last = below.imshow(error, origin="lower", cmap="RdBu_r", vmin=-8, vmax=8)
                if name != "with a trail":
                    rms = np.sqrt(np.nanmean(error**2))
                    below.text(0.03, 0.97, f"rms {rms:.2f}", transform=below.transAxes, va="top", fontsize=8)
            for panel in (above, below):
                panel.set_xticks([])
                panel.set_yticks([])
            if number == 0:
                above.set_title(name, fontsize=10)
        panels[2 * number + 1, 1].set_ylabel("filled − observed", fontsize=8)
    bar = figure.colorbar(last, ax=panels[1, -1], pad=0.04, fraction=0.5, aspect=8)
    bar.ax.tick_params(labelsize=7)


def main(given: argparse.Namespace) -> None:
    info = store.open(given.survey).info
    band = info.index(given.band)
    info, cutouts = chosen(given.survey, given.where, band, given.seed)
    galaxies = filled(info, cutouts, given.weights)
    drawn(lambda figure: draw(figure, galaxies, band), 9.6, 8.4, PAPER).savefig(given.out, dpi=150, facecolor="white")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("weights")
    options.add_argument("survey", type=Path)
    options.add_argument("--where", default=None)
    options.add_argument("--band", default="r")
    options.add_argument("--seed", type=int, default=0, help="of the split that the weights were trained on")
    options.add_argument("--out", type=Path, default=Path(__file__).with_name("inpaint.png"))
    main(options.parse_args())
