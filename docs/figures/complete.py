"""What sky_gpt says of objects that no training saw: halves of galaxies, profiles, rotation curves, magnitudes.

    python docs/figures/complete.py RUN SAMPLE MOCKS FOLDER [--out docs/figures/complete.png]

As scripts/score_completion.py has them. Above: galaxies of MOCKS, their left half alone, and what is expected of the
right one. Below: surface brightness from the image alone, the rest of a rotation curve from its first 12 radii (SPARC),
and magnitudes of the sample survey from images alone, with 68 % intervals.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

import skyloom as sl
from skyloom.checkpoint import open_run
from skyloom.data.vocabulary import read_objects, source_of
from skyloom.infer.complete import complete, image_facts
from skyloom.infer.token_nets import Reader, reader_of
from skyloom.report.drawing import TYPE
from skyloom.sky.patches import from_patches

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from score_completion import FIRST, column, sides

GALAXIES, SHOWN = 6, 4
COLOURS = ("#b5367a", "#0b6e99", "#d9622b", "#5a8f3d")


def halves(reader: Reader, mocks, ids) -> list[np.ndarray]:
    """(galaxy, three images): the whole, the left half, and that with the right one as it is expected; band r."""
    facts = image_facts(reader, mocks)
    read = read_objects(mocks, ids, bands=facts.info.band_names, bin=facts.bin, crop=facts.info.shape[0])
    source = source_of(read, reader.vocabulary, 2)
    name, side = source.names[1], facts.tokeniser.side
    batch = source.batch(np.arange(len(source)))
    light, tokens = (batch[one] for one in source.names)
    right = tokens.places[..., 1] > 0
    hidden = {source.names[0]: torch.ones_like(light.present), name: right}
    with torch.inference_mode():
        said = reader.net.filled({source.names[0]: light, name: tokens}, hidden)[name].expected
    left = torch.where(right[..., None], torch.nan, tokens.values)
    both = torch.where(right[..., None], said, tokens.values)
    parts = [from_patches(part, facts.patch, side, side, facts.order).numpy() for part in (tokens.values, left, both)]
    band = list(facts.info.band_names).index("r")
    return [np.stack([part[k, band] for part in parts]) for k in range(len(source))]


def drawn_halves(places, galaxies) -> None:
    for column_, three in zip(places.T, galaxies, strict=True):
        high = float(np.nanmax(three[0]))
        for axes, image in zip(column_, three, strict=True):
            axes.imshow(image, origin="lower", cmap="gray_r", vmin=-1.5, vmax=high, interpolation="nearest")
            axes.set(xticks=[], yticks=[], facecolor="#dde6ee")
            axes.axvline(image.shape[1] / 2 - 0.5, color=COLOURS[1], lw=0.6)
    for axes, name in zip(places[:, 0], ("galaxy", "shown", "expected"), strict=True):
        axes.set_ylabel(name)


def bands_of(axes, table, names, places, values, colours) -> None:
    """Medians with their 68 % intervals over truths."""
    marks = (table[f"{names[1]}{mark}"].to_pylist() for mark in ("", "_q16", "_q84"))
    for k, (at, middle, low, high) in enumerate(zip(table[names[0]].to_pylist(), *marks, strict=True)):
        axes.plot(places[k], values[k], ".", color=colours[k], ms=4)
        axes.plot(at, middle, color=colours[k])
        axes.fill_between(at, low, high, color=colours[k], alpha=0.2, lw=0)


def profiles(axes, reader, mocks, ids) -> None:
    name = "true_sb_r@true_sma[:28]"
    table = complete(mocks, with_=reader.run.path, say=[name], given=["images"], ids=ids)
    stored = mocks.table(["true_sma", "true_sb_r"]).take(mocks.rows_of(table["object_id"].to_pylist())).to_pylist()
    bands_of(
        axes, table, ("true_sb_r_at_true_sma", "true_sb_r"), [row["true_sma"] for row in stored],
        [row["true_sb_r"] for row in stored], COLOURS,
    )  # fmt: skip
    axes.set(
        ylim=(28.3, 19), xlim=(0, 6), xlabel="semi-major axis [arcsec]", ylabel="surface brightness r [mag/arcsec²]"
    )


def curves(axes, reader, sparc, ids) -> None:
    table = complete(sparc, with_=reader.run.path, say=["velocity@radius"], first=FIRST, ids=ids)
    stored = sparc.table(["radius", "velocity"]).take(sparc.rows_of(ids)).to_pylist()
    bands_of(
        axes, table, ("velocity_at_radius", "velocity"), [row["radius"] for row in stored],
        [row["velocity"] for row in stored], COLOURS,
    )  # fmt: skip
    for row, colour in zip(stored, COLOURS, strict=False):
        axes.plot(row["radius"][:FIRST], row["velocity"][:FIRST], "o", color=colour, ms=5, mfc="none")
    axes.set(xlabel="radius [kpc]", ylabel="rotation [km/s]", ylim=(0, None), xlim=(0, None))


def magnitudes(axes, reader, sample, ids) -> None:
    table = complete(sample, with_=reader.run.path, say=["mag_r"], given=["images"], ids=ids)
    truth = column(sample, table["object_id"].to_pylist(), "mag_r")
    low, middle, high = (table[f"mag_r{mark}"].to_numpy() for mark in ("_q16", "", "_q84"))
    axes.errorbar(truth, middle, [middle - low, high - middle], fmt=".", ms=3, lw=0.5, color=COLOURS[1], alpha=0.6)
    ends = [np.nanmin(truth), np.nanmax(truth)]
    axes.plot(ends, ends, color="0.4", lw=0.8)
    axes.set(xlabel="mag r of the catalogue", ylabel="mag r from the image")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "sample", "mocks", "folder"):
        options.add_argument(name, type=Path)
    options.add_argument("--out", type=Path, default=Path("docs/figures/complete.png"))
    given = options.parse_args()
    run, reader = open_run(given.run), reader_of(given.run)
    sample, mocks, sparc = (sl.open(path) for path in (given.sample, given.mocks, given.folder / "sparc.lance"))
    rows = mocks.table(["object_id", "true_mag_r"], "true_mag_r < 19.5 and true_r_e > 0.8")
    bright = rows["object_id"].to_pylist()[:GALAXIES]
    lengths = sparc.table(["object_id", "radius"])
    unseen = set(sides(run, sparc)[1])
    long = [row["object_id"] for row in lengths.to_pylist() if row["object_id"] in unseen and len(row["radius"]) > 20]
    with rc_context(TYPE):
        figure = Figure(figsize=(9.5, 8), dpi=120, layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(1.35, 1))
        drawn_halves(above.subplots(3, GALAXIES), halves(reader, mocks, bright))
        panels = below.subplots(1, 3)
        profiles(panels[0], reader, mocks, bright[:SHOWN])
        curves(panels[1], reader, sparc, long[:SHOWN])
        magnitudes(panels[2], reader, sample, sides(run, sample)[1])
        figure.savefig(given.out)


if __name__ == "__main__":
    main()
