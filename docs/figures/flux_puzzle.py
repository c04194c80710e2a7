"""Why did AstroDDPM's galaxies need factors of 1.16 to 1.23? Two ablations, their numbers and their figure.

    python docs/figures/flux_puzzle.py ideal SURVEY           # the published chain with a network that cannot be better
    python docs/figures/flux_puzzle.py train SURVEY RUNS      # twelve runs of equal compute; resumable
    python docs/figures/flux_puzzle.py measure REAL RUNS      # draws galaxies of each run
    python docs/figures/flux_puzzle.py draw                   # flux_puzzle.png from flux_puzzle.json

SURVEY : mocks to learn from; REAL : other mocks, to compare with; RUNS : a folder
There are two switches, L1 or L2 and clipping or none, and three seeds. `ideal` has the published scaling, schedule and
sampler, with the denoiser that infinite training on some hundred galaxies would end at: their mean as weighed by how
likely each made the noisy image (L2), or pixel by pixel their median (L1). `train` has networks, and as a network that
names the noise of 20,000 times the images' range learns too slowly for this (docs/LOG.md), they are `galaxy_edm`'s at a
small size; every arm sees the same images in the same order for the same number of steps. An hour on one core.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import skyloom as sl
from skyloom.data import store
from skyloom.data.images import ImageSet, read_images
from skyloom.infer.generator import generator_of, unit_noise
from skyloom.infer.rows import sky_of
from skyloom.infer.simulate import draw as galaxies
from skyloom.recipes.astroddpm import truncation_of
from skyloom.recipes.generators import Images
from skyloom.report.drawing import PAPER, drawn, margins
from skyloom.samplers.schedules import cosine_kept, sub_sampled
from skyloom.samplers.solvers import ancestral
from skyloom.sky.grid import corner
from skyloom.sky.scaling import MinMax

HERE = Path(__file__)
FOUND, FIGURE = HERE.with_suffix(".json"), HERE.with_suffix(".png")
SEEDS = (0, 1, 2)
ARMS = list(product(("l2", "l1"), (False, True)))  # the loss, and whether flux is clipped
SIDE = 20  # pixels
NET = {"widths": "24,48", "learning_rate": "0.008", "warm": "100", "log_sigma_mean": "1.5", "steps": "1800"}
DRAWN, STEPS = 300, 24  # galaxies per run, and the sampler's steps
KNOWN, MADE, WALK = 400, 100, 50  # galaxies that the ideal network knows and makes, per seed, in so many steps
APERTURE = 7.5  # radius [pixel]


def name_of(loss: str, clip: bool, seed: int) -> str:
    return f"{loss}-{'clipped' if clip else 'whole'}-{seed}"


def label_of(name: str) -> str:
    loss, clip, _ = name.split("-")
    return f"{loss.upper()}\n{'clipped' if clip == 'clipped' else 'not clipped'}"


def prepare(survey: str, runs: Path) -> dict[bool, store.Survey]:
    """The middle of every image as it is, and clipped as published: below 0, and above the truncation."""
    there = sl.open(survey)
    ids = there.table(["object_id"])["object_id"].to_pylist()
    truncation = cut_of(read_images(there, ids[:6000]))
    found = {}
    for clip in (False, True):
        path = runs / f"{'clipped' if clip else 'whole'}.lance"
        info = replace(there.info, shape=(SIDE, SIDE))
        found[clip] = sl.open(path) if path.exists() else store.write(path, info, middles(there, clip, truncation))
    return found


def cut_of(images: ImageSet) -> float:
    return truncation_of([Images(images, np.empty((len(images), 0)))])


def middles_of(survey: str, which: slice) -> ImageSet:
    there = sl.open(survey)
    return read_images(there, there.table(["object_id"])["object_id"].to_pylist()[which], size=SIDE)


def middles(survey: store.Survey, clip: bool, truncation: float) -> Iterator[sl.Cutout]:
    x0, y0 = corner(*((side - 1) / 2 for side in reversed(survey.info.shape)), SIDE)
    here = np.s_[:, y0 : y0 + SIDE, x0 : x0 + SIDE]
    for one in survey.read():
        level, rms = (np.asarray(part, np.float32) for part in sky_of(one))
        light = one.flux[here] - level[:, None, None]
        flux = np.ascontiguousarray(light.clip(0, truncation) if clip else light, np.float32)
        ivar = np.ascontiguousarray(one.ivar[here])
        yield replace(one, flux=flux, ivar=ivar, sky=np.zeros_like(rms), sky_rms=rms, wcs=None, columns={})


def train(survey: str, runs: Path) -> None:
    runs.mkdir(exist_ok=True)
    surveys = prepare(survey, runs)
    for seed, (loss, clip) in product(SEEDS, ARMS):
        settings = {**NET, "batch": "16", "loss": loss, "seed": str(seed)}
        sl.train("galaxy_edm", surveys[clip], runs / name_of(loss, clip, seed), settings=settings)


def measure(real: str, runs: Path) -> None:
    """Fluxes and skies of real and drawn galaxies."""
    truth = middles_of(real, slice(0, 6000)).flux.numpy()
    found = {}
    for seed, (loss, clip) in product(SEEDS, ARMS):
        generator = generator_of(runs / name_of(loss, clip, seed))
        made = [one for one, _ in zip(galaxies(generator, DRAWN, STEPS, seed, "dpm"), range(DRAWN), strict=False)]
        found[generator.name] = compared(truth, np.stack(made))
    noted({"bands": list(sl.open(real).info.band_names), "trained": found})


def ideal(survey: str) -> None:
    """The published chain with the denoiser that infinite training would end at."""
    found = {}
    sigmas = sub_sampled(cosine_kept(1000), WALK)
    known_of = {seed: middles_of(survey, slice(seed * KNOWN, (seed + 1) * KNOWN)) for seed in SEEDS}
    for seed, (loss, clip) in product(SEEDS, ARMS):
        known = known_of[seed]
        scaling = MinMax((cut_of(known),) * known.flux.shape[1], clip)
        fresh = torch.Generator().manual_seed(seed)
        noise = unit_noise(seed, range(MADE), known.flux.shape[1:])
        *_, made = ancestral(
            knows_by_heart(scaling.scaled(known.flux), loss), noise * float(sigmas[0]), sigmas,
            normal=lambda like=noise, rng=fresh: torch.randn(like.shape, generator=rng),
        )  # fmt: skip
        found[name_of(loss, clip, seed)] = compared(known.flux.numpy(), scaling.flux(made).numpy())
    noted({"bands": list(sl.open(survey).info.band_names), "ideal": found})


def knows_by_heart(images: torch.Tensor, loss: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """A denoiser that weighs every image it knows by how likely it made the noisy one: their mean, or their median."""
    flat = images.flatten(1).double()
    ordered, order = flat.sort(0)

    def median(weight: torch.Tensor) -> torch.Tensor:
        if weight.max() > 0.5:
            return flat[weight.argmax()]
        place = (weight.float()[order].cumsum(0) < 0.5).sum(0).clamp_max(len(flat) - 1)
        return ordered.gather(0, place[None])[0]

    def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        far = torch.cdist(x.flatten(1).double(), flat).square()
        weights = torch.softmax(-far / (2 * float(sigma) ** 2), 1)
        clean = weights @ flat if loss == "l2" else torch.stack([median(weight) for weight in weights])
        return clean.float().view(x.shape)

    return denoise


def noted(part: dict) -> None:
    before = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else {}
    FOUND.write_text(json.dumps({**before, **part}, indent=1) + "\n", encoding="utf-8")


def compared(truth: np.ndarray, fake: np.ndarray) -> dict[str, list[float]]:
    """Per band: real / drawn of the mean flux in an aperture, with its error, and of the median flux; the published
    multiplier, the slope of sorted median pixels; level of the sky over its real rms, and width over the real one."""
    rms = outer(truth).std((0, 2))
    return {
        "flux": (aperture(truth).mean(0) / aperture(fake).mean(0)).tolist(),
        "flux_error": bootstrapped(truth, fake).tolist(),
        "flux_median": (np.median(aperture(truth), 0) / np.median(aperture(fake), 0)).tolist(),
        "published": [slope(truth[:, band], fake[:, band]) for band in range(truth.shape[1])],
        "level": ((outer(fake).mean((0, 2)) - outer(truth).mean((0, 2))) / rms).tolist(),
        "rms": (outer(fake).std((0, 2)) / rms).tolist(),
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
    share = np.linspace(0, 100, 200)
    real, fake = (np.percentile(np.median(one, (1, 2)), share) for one in (real, fake))
    return float(np.polyfit(fake, real, 1)[0])


def bootstrapped(truth: np.ndarray, fake: np.ndarray, times: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    real, made = aperture(truth), aperture(fake)
    ratios = [
        real[rng.integers(len(real), size=len(real))].mean(0) / made[rng.integers(len(made), size=len(made))].mean(0)
        for _ in range(times)
    ]
    return np.std(ratios, 0)


TITLES = {"ideal": "ideal network", "trained": "trained network"}
PANELS = {
    "flux": "mean flux,\nreal / simulated",
    "level": "level of the sky,\nsimulated − real [rms]",
    "rms": "rms of the sky,\nsimulated / real",
}


def paint(figure: Figure, found: dict) -> None:
    """The ideal network, trained ones, or both; a point per seed, a bar for their mean."""
    kinds = {kind: title for kind, title in TITLES.items() if kind in found}
    axes = figure.subplots(len(kinds), 3, squeeze=False)
    colours = PAPER.for_bands(len(found["bands"]))
    for row, (kind, title) in zip(axes, kinds.items(), strict=True):
        names = list(dict.fromkeys(label_of(name) for name in found[kind]))
        for panel, (key, label) in zip(row, PANELS.items(), strict=True):
            for place, arm in enumerate(names):
                runs = [run for name, run in found[kind].items() if label_of(name) == arm]
                for band, colour in enumerate(colours):
                    x = place + 0.22 * (band - (len(colours) - 1) / 2)
                    values = [run[key][band] for run in runs]
                    panel.plot([x - 0.08, x + 0.08], [np.mean(values)] * 2, color=colour, lw=2.2)
                    panel.plot([x] * len(values), values, "o", ms=3, color=colour, mfc="white", mew=0.9)
            panel.axhline(0 if key == "level" else 1, color=PAPER.faint, zorder=0)
            panel.set_xticks(range(len(names)), names, fontsize=6.5)
            panel.tick_params(axis="x", which="both", length=0)
            panel.set_ylabel(label, fontsize=8)
        row[0].axhspan(1.16, 1.23, color=PAPER.faint, alpha=0.35, lw=0, zorder=0)
        row[1].set_title(title, fontsize=9)
    for band, colour in zip(found["bands"], colours, strict=True):
        axes[0][1].plot([], [], color=colour, lw=2.2, label=f"${band}$")
    axes[0][1].legend(loc="upper right", fontsize=8)
    margins(figure, 0.65, 0.45, 0.08, 0.25, wspace=0.6, hspace=0.45)


def main() -> None:
    job, *paths = sys.argv[1:]
    if job == "ideal":
        ideal(paths[0])
    if job == "train":
        train(paths[0], Path(paths[1]))
    if job == "measure":
        measure(paths[0], Path(paths[1]))
    if job == "draw":
        found = json.loads(FOUND.read_text(encoding="utf-8"))
        drawn(lambda figure: paint(figure, found), 7.1, 0.4 + 2.0 * (len(found) - 1), PAPER).savefig(FIGURE, dpi=200)


if __name__ == "__main__":
    main()
