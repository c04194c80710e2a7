"""Compare fields made by weights with pieces of the real field that no training saw; write scores.json and card.md.

    python scripts/score_fields.py RUN PIECES [--fields 20] [--ship] [--figure FILE] [--table FILE]

PIECES : the survey of pieces (skyloom ingest … --catalogue grid) that RUN was trained on. Its held-out pieces, by
position, are the real sky; each made field has as many pixels, and all are searched and measured alike. The made ones
are kept beside RUN.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist
from shipping import head, keep, ship

import skyloom as sl
from skyloom.checkpoint import Run, open_run
from skyloom.data.destination import write_whole
from skyloom.data.images import read_images
from skyloom.infer.fields.painter import painter_of
from skyloom.metrics.counts import (
    PAIRED,
    RADII,
    STEP,
    SURE,
    FieldSources,
    Likeness,
    completeness_limits,
    field_sources,
    likenesses,
    number_counts,
    two_point,
)
from skyloom.metrics.spectra import noise_distance
from skyloom.recipes.known_sources import BRIGHT, LARGE
from skyloom.recipes.lesson import learnt_and_held_out
from skyloom.report.drawing import PAPER, drawn, margins

SEED = 100


def made_fields(run: Run, count: int, pieces: int, side: int, folder: Path) -> sl.Survey:
    """Fields of as many pieces as the real sky has, side by side in one, as a survey of pieces."""
    path, there = folder / f"{run.name}-fields.lance", folder / f"{run.name}-fields"
    if not path.exists():
        sl.field(there, run.path, (side, side * pieces * count), tile=side, seed=SEED)
        sl.ingest(there, path, catalogue="grid", size=side)
    return sl.open(path)


def facts_of(found: list[Likeness]) -> list[dict]:
    return [
        {"name": one.name, "apart": round(one.apart, 4), "p": float(f"{one.p:.3g}"), "shift": round(one.shift.value, 4),
         "shift_error": round(one.shift.error, 4), "unit": one.shift.unit, "effect": round(one.effect.value, 4),
         "effect_error": round(one.effect.error, 4), "n": list(one.n)}
        for one in found
    ]  # fmt: skip


def counts_of(skies: dict[str, FieldSources], limits: np.ndarray) -> dict:
    """Number counts of each sky in each band [1 / mag / Mpixel], about its limit."""
    found = {}
    for band, (name, limit) in enumerate(zip(skies["made"].bands, limits.tolist(), strict=True)):
        edges = np.arange(limit - 6, limit + 1.01, STEP)
        found[name] = {"edges": edges.tolist()}
        for key, sky in skies.items():
            counts = number_counts(sky.magnitudes[:, band], sky.area / 1e6, edges)
            found[name][key] = {part: np.round(getattr(counts, part), 3).tolist() for part in ("density", "error")}
    return found


def densities(skies: dict[str, FieldSources], fields: int) -> dict[str, float]:
    """Sources per Mpixel, and by how much one made field scatters."""
    made, real, learnt = (skies[key] for key in ("made", "held out", "learnt"))
    each = len(made.good) // fields
    per_field = np.bincount(made.piece // each, minlength=fields) * 1e6 / (made.area / fields)
    return {
        "made": float(per_field.mean()), "made_error": float(per_field.std() / np.sqrt(fields)),
        "scatter": float(per_field.std()), "held out": 1e6 * len(real.x) / real.area,
        "held_out_error": 1e6 * np.sqrt(len(real.x)) / real.area, "learnt": 1e6 * len(learnt.x) / learnt.area,
    }  # fmt: skip


def clustering(sources: FieldSources) -> dict:
    found = two_point(sources.where(sources.snr > PAIRED), np.array(RADII))
    return {name: np.round(value, 4).tolist() for name, value in found._asdict().items()}


def nearest(real: np.ndarray, fake: np.ndarray, most: int = 600) -> dict:
    """Is anything copied? Distance [rms per pixel] of patches about made sources to the nearest of the field learnt."""
    ours, theirs = (one.reshape(len(one), -1) for one in (real[:most], fake[:most]))
    scale = np.sqrt(ours.shape[1])
    across, within = (cdist(one, ours).astype(float) / scale for one in (theirs, ours))
    across = across.min(1)
    np.fill_diagonal(within, np.inf)
    found = {"made": np.median(across), "learnt": np.median(within.min(1))}
    found |= {"least made": across.min(), "least": within.min()}
    return {name: round(float(value), 4) for name, value in found.items()}


def patches(flux: np.ndarray, sources: FieldSources, rms: np.ndarray, side: int = 16) -> np.ndarray:
    """asinh of cutouts about sources in units of the noise."""
    found = []
    places = np.rint([sources.x, sources.y]).astype(int)
    for piece, x, y in zip(sources.piece, *places, strict=True):
        if min(x, y) >= side and max(x, y) < flux.shape[-1] - side:
            cut = flux[piece][:, y - side : y + side, x - side : x + side] / rms[:, None, None]
            found.append(np.arcsinh(cut))
    return np.array(found)


def scores_of(run: Run, survey: sl.Survey, fields: int) -> dict:
    """Everything that is compared."""
    painter, settings = painter_of(run.path), run.record["settings"]
    bands, rms = painter.info.band_names, np.array(painter.rms)
    learnt, held_out = learnt_and_held_out(survey, settings["where"], settings["split"])
    fake = made_fields(run, fields, len(held_out), min(survey.info.shape), run.path.parent)
    everything = fake.table(["object_id"])["object_id"].to_pylist()
    skies = {
        key: field_sources(one, ids, painter.rms, bands=bands, most_pixels=LARGE, peak=BRIGHT)
        for key, one, ids in (("held out", survey, held_out), ("learnt", survey, learnt), ("made", fake, everything))
    }
    real, past, made = skies.values()
    limits = completeness_limits(past)
    images = [read_images(*which, bands=bands).flux.numpy() for which in ((survey, learnt), (fake, everything))]
    about = [patches(flux, sky.where(sky.snr > SURE), rms) for flux, sky in zip(images, (past, made), strict=True)]
    return {
        "bands": list(bands), "pixel_scale": painter.info.pixel_scale, "fields": fields,
        "pieces_learnt": len(learnt), "pieces_held_out": len(held_out),
        "limits": dict(zip(bands, limits.tolist(), strict=True)), "density": densities(skies, fields),
        "likeness": facts_of(likenesses(real, made, limits)), "null": facts_of(likenesses(real, past, limits)),
        "learnt": facts_of(likenesses(past, made, limits)), "counts": counts_of(skies, limits),
        "clustering": {key: clustering(sky) for key, sky in skies.items()},
        "noise": noise_distance(*images)._asdict(), "nearest": nearest(*about),
    }  # fmt: skip


def card(run: Run, scores: dict) -> str:
    """The model card."""
    bands = ", ".join(scores["bands"])
    lines = [
        head(run, f"{scores['pieces_learnt']} pieces, the training side (80 %, by position) of"),
        f"**Makes** sky of any size in {bands}, pixels of {scores['pixel_scale']} arcsec, with the survey's noise or "
        "any share of it. Stars and galaxies that saturate or cover more than 2,500 pixels are not made.\n",
        f"**Scores** of {scores['fields']} fields beside the {scores['pieces_held_out']} pieces held out.\n",
        *table(scores),
    ]
    return "\n".join(lines) + "\n"


def table(scores: dict) -> list[str]:
    """How alike the distributions are, and all that is one number."""
    density = scores["density"]
    lines = [
        "| distribution of | KS distance | p | Cohen's d | median, made − real | n real, made "
        "| two real skies: distance, p, d |",
        "|---|---|---|---|---|---|---|",
    ]
    for one, null in zip(scores["likeness"], scores["null"], strict=True):
        shift = f"{one['shift']:+.3f} ± {one['shift_error']:.3f} {one['unit']}"
        lines.append(
            f"| {one['name']} | {one['apart']:.3f} | {one['p']:.2g} | {one['effect']:+.2f} ± {one['effect_error']:.2f} "
            f"| {shift} | {one['n'][0]}, {one['n'][1]} | {null['apart']:.3f}, {null['p']:.2g}, {null['effect']:+.2f} |"
        )
    noise, near = scores["noise"], scores["nearest"]
    return [
        *lines,
        "",
        f"Sources per Mpixel: {density['made']:.0f} ± {density['made_error']:.0f} made (one field scatters by "
        f"{density['scatter']:.0f}), {density['held out']:.0f} ± {density['held_out_error']:.0f} held out, "
        f"{density['learnt']:.0f} learnt from. Power of the sky's noise: {noise['value']:.3f} ± {noise['error']:.3f} "
        "dex from the real one's. From a patch about a source to the nearest one learnt from [asinh of rms, a pixel]: "
        f"median {near['made']:.3f} made, {near['learnt']:.3f} between those learnt from; least "
        f"{near['least made']:.3f} and {near['least']:.3f}.",
    ]


def paint(figure: Figure, scores: dict) -> None:
    """Number counts of each band, and how sources cluster."""
    names = scores["bands"]
    columns = 5
    axes = figure.subplots(2, columns).ravel()
    for panel, name in zip(axes, names, strict=False):
        one = scores["counts"][name]
        middle = (np.array(one["edges"][1:]) + one["edges"][:-1]) / 2
        for key, colour, words in (("held out", PAPER.ink, "real, held out"), ("made", PAPER.for_bands(3)[1], "made")):
            density, error = (np.array(one[key][part]) for part in ("density", "error"))
            seen = density > 0
            panel.errorbar(
                middle[seen], density[seen], error[seen], fmt="o-", ms=2.5, lw=0.9, color=colour, label=words
            )
        panel.axvline(scores["limits"][name], color=PAPER.faint, lw=0.8)
        panel.set_yscale("log")
        panel.set_title(name, fontsize=8)
        panel.set_xlabel("AB mag", fontsize=7)
    last = axes[len(names)]
    for key, colour in (("learnt", PAPER.ink), ("made", PAPER.for_bands(3)[1])):
        one = scores["clustering"][key]
        last.errorbar(one["r"], one["w"], one["error"], fmt="o-", ms=2.5, lw=0.9, color=colour)
    last.axhline(0, color=PAPER.faint, lw=0.8)
    last.set_xscale("log")
    last.set_title("w(r)", fontsize=8)
    last.set_xlabel("pixel", fontsize=7)
    axes[0].legend(fontsize=6)
    axes[0].set_ylabel("sources / mag / Mpixel", fontsize=7)
    for panel in axes:
        panel.tick_params(labelsize=6)
    margins(figure, 0.55, 0.35, 0.1, 0.25, wspace=0.35, hspace=0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("pieces", type=Path)
    parser.add_argument("--fields", type=int, default=20)
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--table", type=Path)
    asked = parser.parse_args()
    run = open_run(asked.run)
    scores = scores_of(run, sl.open(asked.pieces), asked.fields)
    keep(run, scores, card(run, scores))
    if asked.table:
        write_whole(asked.table, "\n".join(table(scores)) + "\n")
    if asked.figure:
        drawn(lambda figure: paint(figure, scores), 7.1, 3.4, PAPER).savefig(asked.figure, dpi=200)
    if asked.ship:
        ship(run)


if __name__ == "__main__":
    main()
