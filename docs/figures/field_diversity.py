"""How unlike each other skies of `deep-field` are: field_diversity.inc, a table of docs/field.md.

    python docs/figures/field_diversity.py PIECES

A made sky follows from the sources that its network is told of, from the network's own noise, and from the noise of
the sky. Pairs of windows share some of these; PIECES (what was learnt from) has pairs of the real sky.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import skyloom as sl
from skyloom.checkpoint import open_run
from skyloom.data.destination import write_whole
from skyloom.data.images import read_images
from skyloom.infer.fields.painter import Painter, painter_of
from skyloom.metrics.counts import field_sources
from skyloom.metrics.diversity import Unlike, unlike
from skyloom.recipes.known_sources import BRIGHT, LARGE
from skyloom.recipes.lesson import learnt_and_held_out
from skyloom.sky.sources import Sources, Strewn

TABLE = Path(__file__).with_name("field_diversity.inc")
NAME = "deep-field"
SIDE = 128  # of a window [pixel]
PAIRS = 64
ROWS = COLUMNS = range(0, 2 * SIDE)  # four windows of each seed


@dataclass(frozen=True)
class Told:
    """The sources of one seed, whichever is asked for."""

    sources: Sources
    seed: int

    def strewn(self, _seed: int, rows: range, columns: range) -> Strewn:
        return self.sources.strewn(self.seed, rows, columns)


def light(painter: Painter, told: int, own: int) -> np.ndarray:
    """Light of the sources of one seed under the network's noise of another."""
    return replace(painter, sources=Told(painter.sources, told)).light(own, ROWS, COLUMNS)


def noise(painter: Painter, seed: int) -> np.ndarray:
    return painter.pixels(seed, ROWS, COLUMNS) - painter.light(seed, ROWS, COLUMNS)


def tiled(images: np.ndarray) -> np.ndarray:
    """Images in windows of SIDE × SIDE pixels, side by side."""
    n, c, h, w = images.shape
    parts = images.reshape(n, c, h // SIDE, SIDE, w // SIDE, SIDE).transpose(0, 2, 4, 1, 3, 5)
    return parts.reshape(-1, c, SIDE, SIDE)


def windows(images: np.ndarray, painter: Painter) -> np.ndarray:
    """Stretched windows."""
    return np.arcsinh(tiled(images) / np.array(painter.rms)[:, None, None]).astype(np.float32)


def real_windows(survey: sl.Survey, painter: Painter) -> np.ndarray:
    """Windows of all pieces, in random order, those away from sources that are too large or bright to be made."""
    settings, bands = open_run(NAME).record["settings"], painter.info.band_names
    learnt, held_out = learnt_and_held_out(survey, settings["where"], settings["split"])
    ids = [*learnt, *held_out]
    images = read_images(survey, ids, bands=bands)
    seen = field_sources(survey, ids, painter.rms, bands=bands, most_pixels=LARGE, peak=BRIGHT).good
    usable = tiled(seen[:, None]).all((1, 2, 3))
    found = windows(images.flux.numpy(), painter)[usable]
    return found[np.random.default_rng(0).permutation(len(found))][: 2 * PAIRS]


def table(found: list[tuple[str, str, Unlike]]) -> str:
    lines = ["| pairs of | share | pixels apart [rms, asinh] | features apart | n |", "|---|---|---|---|---|"]
    for name, shared, one in found:
        pixels, features = (f"{each.value:.3f} ± {each.error:.3f}" for each in one)
        lines.append(f"| {name} | {shared} | {pixels} | {features} | {one.pixels.n} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    survey, painter = sl.open(sys.argv[1]), painter_of(NAME)
    real = real_windows(survey, painter)
    count = PAIRS // 4
    first, second = range(count), range(count, 2 * count)
    one = np.stack([light(painter, seed, seed) for seed in first])
    other = np.stack([light(painter, seed, seed) for seed in second])
    again = np.stack([light(painter, told, own) for told, own in zip(first, second, strict=True)])
    skies, others = (np.stack([noise(painter, seed) for seed in seeds]) for seeds in (first, second))
    pairs = [
        ("made windows", "nothing", one + skies, other + others),
        ("made windows", "sources told of", one + skies, again + others),
        ("made windows", "all but the network's own noise", one + skies, again + skies),
        ("their light alone", "nothing", one, other),
        ("their light alone", "sources told of", one, again),
    ]
    found = [("real windows", "nothing", unlike(real[:PAIRS], real[PAIRS : 2 * PAIRS]))]
    found += [
        (name, shared, unlike(windows(left, painter), windows(right, painter))) for name, shared, left, right in pairs
    ]
    write_whole(TABLE, table(found))


if __name__ == "__main__":
    main()
