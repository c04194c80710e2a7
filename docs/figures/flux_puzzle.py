"""Why did AstroDDPM's galaxies need factors of 1.16 to 1.23? The ablation, its numbers and its figure.

    python docs/figures/flux_puzzle.py train SURVEY RUNS      # twelve runs of equal compute, three of ours; resumable
    python docs/figures/flux_puzzle.py measure REAL RUNS      # draws galaxies of each; writes flux_puzzle.json
    python docs/figures/flux_puzzle.py draw                   # flux_puzzle.png from flux_puzzle.json

SURVEY : mocks to learn from; REAL : other mocks, to compare with; RUNS : a folder
Everything is the published recipe at a small size but for two switches, L1 or L2 and clipping or none; every arm sees
the same images in the same order for the same number of steps, from three seeds. A network that names the noise learns
slowly: 450 steps made no galaxies at all (docs/LOG.md). With these 60,000 it is a day on two cores, or a GPU's hour.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import skyloom as sl
from skyloom.data.images import read_images
from skyloom.infer.generator import generator_of
from skyloom.infer.simulate import draw as galaxies
from skyloom.report.drawing import PAPER, drawn, margins

HERE = Path(__file__)
FOUND, FIGURE = HERE.with_suffix(".json"), HERE.with_suffix(".png")
SEEDS = (0, 1, 2)
SIDE = 20  # pixels
SHARED = {"crop": str(SIDE), "batch": "16", "steps": "60000"}
ARMS = [
    ("astroddpm", {"loss": loss, "clip": clip, "learning_rate": "0.001", "widths": "16,32"})
    for loss, clip in product(("l1", "l2"), ("true", "false"))
] + [("galaxy_edm", {"widths": "24,48", "learning_rate": "0.008", "warm": "100"})]
DRAWN = 400  # galaxies per run
STEPS = 25
APERTURE = 7.5  # radius [pixel]


def name_of(recipe: str, settings: dict[str, str], seed: int) -> str:
    parts = [settings[key] for key in ("loss", "clip") if key in settings]
    return "-".join([recipe, *parts, str(seed)])


def label_of(name: str) -> str:
    recipe, *parts, _ = name.split("-")
    if recipe == "galaxy_edm":
        return "galaxy_edm\n(asinh, L2)"
    return f"{parts[0].upper()}\n{'clipped' if parts[1] == 'true' else 'not clipped'}"


def train(survey: str, runs: Path) -> None:
    for seed, (recipe, settings) in product(SEEDS, ARMS):
        sl.train(
            recipe, survey, runs / name_of(recipe, settings, seed), settings={**SHARED, **settings, "seed": str(seed)}
        )


def measure(real: str, runs: Path) -> None:
    """Fluxes of real and drawn galaxies, in the flux of the survey."""
    opened = sl.open(real)
    ids = opened.table(["object_id"])["object_id"].to_pylist()[:6000]
    truth = read_images(opened, ids, size=SIDE).flux.numpy()
    found = {"bands": list(opened.info.band_names), "noise": read_images(opened, ids[:500]).noise.tolist()}
    found["runs"] = {}
    for seed, (recipe, settings) in product(SEEDS, ARMS):
        name = name_of(recipe, settings, seed)
        generator = generator_of(runs / name)
        drawn_ones = np.stack(
            [one for one, _ in zip(galaxies(generator, DRAWN, STEPS, seed, "dpm"), range(DRAWN), strict=False)]
        )
        clipped = recipe == "astroddpm" and settings["clip"] == "true"
        as_seen = truth.clip(0, generator.scaling.high[0]) if clipped else truth
        found["runs"][name] = compared(truth, as_seen, drawn_ones)
    FOUND.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def compared(truth: np.ndarray, as_seen: np.ndarray, fake: np.ndarray) -> dict[str, list[float]]:
    """Per band: ratios real/drawn of the mean flux in an aperture, against the truth and against what was clipped from
    it; the published multiplier, the slope of sorted median pixels; level and width of the sky in the outer pixels."""
    return {
        "flux": (aperture(truth).mean(0) / aperture(fake).mean(0)).tolist(),
        "flux_error": bootstrapped(truth, fake).tolist(),
        "flux_as_seen": (aperture(as_seen).mean(0) / aperture(fake).mean(0)).tolist(),
        "published": [slope(truth[:, band], fake[:, band]) for band in range(truth.shape[1])],
        "level": (outer(fake).mean((0, 2)) - outer(truth).mean((0, 2))).tolist(),
        "median": np.median(outer(fake), (0, 2)).tolist(),
        "rms": (outer(fake).std((0, 2)) / outer(truth).std((0, 2))).tolist(),
    }


def aperture(flux: np.ndarray) -> np.ndarray:
    y, x = np.indices(flux.shape[-2:]) - (SIDE - 1) / 2
    return flux[..., np.hypot(x, y) < APERTURE].sum(-1)


def outer(flux: np.ndarray) -> np.ndarray:
    """The outermost pixels, without the tenth of the images with most light in them."""
    y, x = np.indices(flux.shape[-2:]) - (SIDE - 1) / 2
    pixels = flux[..., np.maximum(abs(x), abs(y)) > SIDE / 2 - 3]
    quiet = pixels.mean((1, 2)) < np.percentile(pixels.mean((1, 2)), 90)
    return pixels[quiet]


def slope(real: np.ndarray, fake: np.ndarray) -> float:
    """The published correction: medians of images, sorted and paired, and a straight line through them."""
    medians = [np.sort(np.median(one, (1, 2)))[:: max(1, len(one) // DRAWN)][:DRAWN] for one in (real, fake)]
    return float(np.polyfit(medians[1], medians[0], 1)[0])


def bootstrapped(truth: np.ndarray, fake: np.ndarray, times: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    real, drawn_ones = aperture(truth), aperture(fake)
    ratios = [
        real[rng.integers(len(real), size=len(real))].mean(0)
        / drawn_ones[rng.integers(len(drawn_ones), size=len(drawn_ones))].mean(0)
        for _ in range(times)
    ]
    return np.std(ratios, 0)


def paint(figure: Figure, found: dict) -> None:
    """Left the ratio of fluxes, right the sky: a point per seed, a bar for their mean."""
    names = list(dict.fromkeys(label_of(name) for name in found["runs"]))
    axes = figure.subplots(1, 2)
    colours = PAPER.for_bands(len(found["bands"]))
    titles = {"flux": "mean flux, real / simulated", "rms": "rms of the sky, simulated / real"}
    for panel, (key, title) in zip(axes, titles.items(), strict=True):
        for place, label in enumerate(names):
            runs = [run for name, run in found["runs"].items() if label_of(name) == label]
            for band, colour in enumerate(colours):
                x = place + 0.22 * (band - (len(colours) - 1) / 2)
                values = [run[key][band] for run in runs]
                panel.plot([x - 0.08, x + 0.08], [np.mean(values)] * 2, color=colour, lw=2.2)
                panel.plot([x] * len(values), values, "o", ms=3, color=colour, mfc="white", mew=0.9)
        panel.axhline(1, color=PAPER.faint, zorder=0)
        panel.set_xticks(range(len(names)), names, fontsize=8)
        panel.tick_params(axis="x", which="both", length=0)
        panel.set_ylabel(title)
    axes[0].axhspan(1.16, 1.23, color=PAPER.faint, alpha=0.35, lw=0, zorder=0)
    axes[0].text(len(names) - 0.55, 1.195, "published", ha="right", va="center", fontsize=8, color="#6b6b75")
    for band, colour in zip(found["bands"], colours, strict=True):
        axes[0].plot([], [], color=colour, lw=2.2, label=f"${band}$")
    axes[0].legend(loc="upper right", ncols=3)
    margins(figure, 0.55, 0.5, 0.08, 0.1, wspace=0.24)


def main() -> None:
    job, *paths = sys.argv[1:]
    if job == "train":
        train(paths[0], Path(paths[1]))
    if job == "measure":
        measure(paths[0], Path(paths[1]))
    if job == "draw":
        found = json.loads(FOUND.read_text(encoding="utf-8"))
        drawn(lambda figure: paint(figure, found), 7.1, 3.0, PAPER).savefig(FIGURE, dpi=200)


if __name__ == "__main__":
    main()
