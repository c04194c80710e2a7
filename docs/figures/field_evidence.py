"""Made fields beside the real one, in figures of docs/field.md: field_colours.png, field_pixels.png, field_noise.png,
field_sheet.jpg.

    python docs/figures/field_evidence.py PIECES FIELDS

PIECES : what `deep-field` was trained on (skyloom ingest sample PIECES --catalogue grid --size 512); FIELDS : fields
that it made, as pieces, which scripts/score_fields.py keeps beside the run. Both are searched and measured alike.
field_counts.png and field.inc are by that script too, field_training.jpg by field_training.py, field_diversity.inc by
field_diversity.py.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import gaussian_kde

import skyloom as sl
from skyloom.checkpoint import open_run
from skyloom.data.images import read_images
from skyloom.infer.fields.painter import painter_of
from skyloom.metrics.counts import SURE, FieldSources, field_sources
from skyloom.metrics.spectra import noise_spectrum, sky_noise
from skyloom.recipes.known_sources import BRIGHT, LARGE
from skyloom.recipes.lesson import learnt_and_held_out
from skyloom.report.drawing import PAPER, drawn, margins
from skyloom.report.sheets import Album, pictures, real_or_generated

HERE = Path(__file__).parent
NAME = "deep-field"
MADE = PAPER.for_bands(3)[1]
PLANES = (("g", "r", "u", "g"), ("r", "i", "g", "r"), ("i", "Z", "r", "i"), ("Y", "J", "Z", "Y"), ("J", "H", "H", "Ks"))
LOW, HIGH = -8.0, 300.0  # pixels in histograms [rms]
AGAIN = 200  # resamples of pieces
PATCH, OF_EACH = 80, 15  # side of a patch [pixel], and how many on the sheet
PIECES = 2  # of each kind that patches are taken of: no more are held out
SHOWN = 19.0, 23.0  # r of the sources about which the patches are [AB mag]


class Sky(NamedTuple):
    """Pieces of one kind: who they are, what was found in them, and their pixels in units of the noise."""

    survey: sl.Survey
    ids: list[str]
    sources: FieldSources
    scaled: np.ndarray


def sky_of(survey: sl.Survey, ids: list[str]) -> Sky:
    painter = painter_of(NAME)
    bands = painter.info.band_names
    sources = field_sources(survey, ids, painter.rms, bands=bands, most_pixels=LARGE, peak=BRIGHT)
    images = read_images(survey, ids, bands=bands)
    good = np.stack([images.good(row).numpy() > 0 for row in range(len(images))]) & sources.good[:, None]
    flux = np.where(good, images.flux.numpy() / np.array(painter.rms, np.float32)[:, None, None], np.nan)
    return Sky(survey, list(images.ids), sources, flux)


def draw_colours(figure: Figure, held_out: FieldSources, learnt: FieldSources, made: FieldSources, scale: float):
    """Colour against colour, and size against magnitude, of sources of S/N > SURE."""
    axes = figure.subplots(2, 3).ravel()
    skies = [one.where(one.snr > SURE) for one in (made, learnt, held_out)]

    def magnitude(sky: FieldSources, name: str) -> np.ndarray:
        return sky.magnitudes[:, sky.bands.index(name)]

    for panel, (a, b, c, d) in zip(axes, PLANES, strict=False):
        points = [(magnitude(sky, a) - magnitude(sky, b), magnitude(sky, c) - magnitude(sky, d)) for sky in skies]
        plane(panel, points)
        panel.set_xlabel(f"{a} − {b}", fontsize=7, labelpad=1)
        panel.set_ylabel(f"{c} − {d}", fontsize=7, labelpad=1)
    plane(axes[-1], [(magnitude(sky, "r"), np.log10(scale * sky.size)) for sky in skies])
    axes[-1].set_xlabel("r [AB mag]", fontsize=7, labelpad=1)
    axes[-1].set_ylabel("log half-light radius [arcsec]", fontsize=7, labelpad=1)
    for panel in axes:
        panel.tick_params(labelsize=6)
    handles = [*axes[0].collections[1:], Line2D([], [], color=MADE, lw=0.9)]
    figure.legend(
        handles, ("real, learnt", "real, held out", "made (contours)"), ncols=3, fontsize=7, loc="upper center"
    )
    margins(figure, 0.42, 0.32, 0.08, 0.28, wspace=0.3, hspace=0.28)


def plane(panel: Axes, points: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Contours about 39, 68, 86 and 95 % of the made sources, real ones as dots."""
    made, learnt, held_out = (np.array(one)[:, np.isfinite(one).all(0)] for one in points)
    every = np.concatenate([made, learnt], 1)
    low, high = np.percentile(every, [0.7, 99.3], axis=1)
    pad = 0.12 * (high - low)
    low, high = low - pad, high + pad
    grid = np.meshgrid(*(np.linspace(*ends, 90) for ends in zip(low, high, strict=True)))
    law = gaussian_kde(made, 0.25)
    height = law(np.array([part.ravel() for part in grid])).reshape(90, 90)
    levels = np.quantile(law(made), [0.05, 0.14, 0.32, 0.61])
    panel.contour(*grid, height, levels=levels, colors=[MADE], linewidths=0.9, zorder=2)
    panel.scatter(*learnt, s=2.5, color=PAPER.faint, lw=0, zorder=1)
    panel.scatter(*held_out, s=6, color=PAPER.ink, lw=0, zorder=3)
    panel.set_xlim(low[0], high[0])
    panel.set_ylim(low[1], high[1])


def draw_pixels(figure: Figure, real: np.ndarray, made: np.ndarray, bands: tuple[str, ...]) -> None:
    """How many pixels have which flux, below the sky too."""
    edges = np.sinh(np.linspace(np.arcsinh(LOW), np.arcsinh(HIGH), 100))
    middle = np.sqrt(edges[1:] * edges[:-1], where=edges[1:] * edges[:-1] > 0, out=(edges[1:] + edges[:-1]) / 2)
    middle = np.where(edges[1:] < 0, -np.abs(middle), middle)
    axes = nine(figure, bands)
    for band, panel in enumerate(axes):
        for flux, colour, words in ((real, PAPER.ink, "real"), (made, MADE, "made")):
            each = np.array([np.histogram(one[band], edges)[0] for one in flux])  # NaN lies in no bin
            share = each.sum(0) / np.isfinite(flux[:, band]).sum() / np.diff(np.arcsinh(edges))
            panel.plot(np.arcsinh(middle), np.where(share > 0, share, np.nan), color=colour, lw=1.0, label=words)
        panel.set_yscale("log")
        panel.set_ylim(1e-6, 2)
        ticks = (-8, -3, -1, 0, 1, 3, 10, 30, 100, 300)
        panel.set_xticks(np.arcsinh(ticks), [f"{tick}".replace("-", "−") for tick in ticks])
        panel.minorticks_off()
        panel.tick_params(labelsize=5.5)
    finish(figure, axes, "flux [rms of the sky]", "share of the pixels / unit of asinh")


def draw_noise(figure: Figure, real: np.ndarray, made: np.ndarray, bands: tuple[str, ...]) -> None:
    """Power of the sky's noise against frequency."""
    axes = nine(figure, bands)
    rng = np.random.default_rng(0)
    for flux, colour, words, moved in ((real, PAPER.ink, "real", -1), (made, MADE, "made", 1)):
        noise = sky_noise(flux)
        n = len(flux)
        k, power = noise_spectrum(noise)
        spread = noise_spectrum(noise, rng.multinomial(n, np.full(n, 1 / n), AGAIN))[1].std(0)
        for band, panel in enumerate(axes):
            panel.errorbar(k + 0.003 * moved, power[0, band], spread[band], fmt="o-", ms=2, lw=0.9, color=colour,
                           label=words)  # fmt: skip
    for panel in axes:
        panel.axhline(1, color=PAPER.faint, lw=0.8)
        panel.set_yscale("log")
        panel.set_ylim(0.28, 4.5)
        panel.set_yticks((0.3, 0.5, 1, 2, 4), ("0.3", "0.5", "1", "2", "4"))
        panel.yaxis.set_minor_formatter("")
        panel.tick_params(labelsize=6)
    finish(figure, axes, "frequency [cycles/pixel]", "power [rms²]")


def nine(figure: Figure, bands: tuple[str, ...]) -> list[Axes]:
    axes = figure.subplots(2, 5, sharex=True, sharey=True).ravel()
    for panel, name in zip(axes, bands, strict=False):
        panel.text(0.9, 0.94, name, transform=panel.transAxes, va="top", ha="right", fontsize=8)
    return list(axes[: len(bands)])


def finish(figure: Figure, axes: list[Axes], across: str, up: str) -> None:
    """Words beside the panels, the legend in the last, empty one."""
    last = figure.axes[-1]
    last.set_axis_off()
    last.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc="center")
    axes[4].tick_params(labelbottom=True)
    for panel in axes[5:]:
        panel.set_xlabel(across, fontsize=6.5, labelpad=1)
    for panel in axes[::5]:
        panel.set_ylabel(up, fontsize=6.5, labelpad=1)
    margins(figure, 0.42, 0.32, 0.06, 0.06, wspace=0.06, hspace=0.08)


def patches(sky: Sky, seed: int) -> Album:
    """Cutouts about OF_EACH sources drawn at random of the first PIECES, which do not overlap or have a bad pixel."""
    sources, half = sky.sources, PATCH // 2
    r = sources.magnitudes[:, sources.bands.index("r")]
    whole = {cutout.object_id: cutout for cutout in sky.survey.read(ids=sky.ids)}
    rows = np.flatnonzero((r > SHOWN[0]) & (r < SHOWN[1]) & (sources.piece < PIECES))
    found, taken = [], []
    for row in np.random.default_rng(seed).permutation(rows):
        piece, x, y = int(sources.piece[row]), round(sources.x[row]), round(sources.y[row])
        here = np.s_[y - half : y + half, x - half : x + half]
        one = whole[sky.ids[piece]]
        inside = min(x, y) >= half and max(x, y) < one.flux.shape[-1] - half
        apart = all(piece != p or max(abs(x - u), abs(y - v)) >= PATCH for p, u, v in taken)
        if inside and apart and sources.good[piece][here].all() and (one.ivar[:, *here] > 0).all():
            taken.append((piece, x, y))
            found.append(replace(one, flux=one.flux[:, *here], ivar=one.ivar[:, *here], wcs=None))
        if len(found) == OF_EACH:
            break
    return Album(found, replace(sky.survey.info, shape=(PATCH, PATCH)))


def main() -> None:
    pieces, fields = (sl.open(path) for path in sys.argv[1:])
    settings = open_run(NAME).record["settings"]
    learnt, held_out = learnt_and_held_out(pieces, settings["where"], settings["split"])
    past, real = sky_of(pieces, learnt), sky_of(pieces, held_out)
    made = sky_of(fields, fields.table(["object_id"])["object_id"].to_pylist())
    bands, scale = made.sources.bands, pieces.info.pixel_scale
    sheet, _ = real_or_generated(*pictures(patches(real, 1), patches(made, 2)), seed=3, columns=6)
    sheet.savefig(HERE / "field_sheet.jpg", dpi=140, pil_kwargs={"quality": 88})
    skies = real.sources, past.sources, made.sources
    drawn(lambda f: draw_colours(f, *skies, scale), 7.1, 4.4, PAPER).savefig(HERE / "field_colours.png", dpi=150)
    both = np.concatenate([past.scaled, real.scaled])
    for name, draw in (("pixels", draw_pixels), ("noise", draw_noise)):
        figure = drawn(lambda f, draw=draw: draw(f, both, made.scaled, bands), 7.1, 3.0, PAPER)
        figure.savefig(HERE / f"field_{name}.png", dpi=170)


if __name__ == "__main__":
    main()
