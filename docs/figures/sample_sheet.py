"""Figures of docs/sample.md: the 100 largest galaxies of the sample survey in colour, and its sky after cleaning.

Run: python docs/figures/sample_sheet.py [FOLDER]      (writes sample_sheet.jpg and sample_sky.jpg, 30 s)
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from skyloom.data.sample import find_sources, read_field

COLOURS = {"i": 0.6, "r": 1.0, "g": 1.6}  # red, green, blue, and how much of each makes a galaxy look white
SIDE = 96


def colour(field, x: float, y: float) -> np.ndarray:
    """An RGB picture about a place, after Lupton et al. 2004: asinh of the mean of the bands, colour kept."""
    names = [band.name for band in field.bands]
    half, noise = SIDE // 2, 4.4e-12  # the rms of r
    row, column = round(y), round(x)
    out = np.zeros((3, SIDE, SIDE))
    top, left = max(row - half, 0), max(column - half, 0)
    piece = field.flux[[names.index(name) for name in COLOURS], top : row + half, left : column + half] / noise
    out[:, top - row + half :, left - column + half :][:, : piece.shape[1], : piece.shape[2]] = piece
    bands = out * np.array(list(COLOURS.values()))[:, None, None]
    mean = bands.mean(axis=0)
    stretch = np.arcsinh(0.24 * np.clip(mean, 0, None)) / 5 / np.where(mean > 0, mean, 1)
    return np.clip(bands * stretch, 0, 1).transpose(1, 2, 0)


def draw_sheet(field, table, path: Path) -> None:
    extended = table[table["is_extended"]]
    largest = extended[np.argsort(-extended["half_light_radius"])][:100]
    figure, panels = plt.subplots(10, 10, figsize=(16, 16), gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for panel, source in zip(panels.flat, largest, strict=True):
        panel.imshow(colour(field, source["x"], source["y"]), origin="lower")
        panel.axis("off")
    figure.savefig(path, dpi=75, bbox_inches="tight", pil_kwargs={"quality": 88})


def draw_sky(field, rms, segmap, path: Path) -> None:
    figure, panels = plt.subplots(3, 3, figsize=(15, 15), gridspec_kw={"wspace": 0.03, "hspace": 0.1})
    for panel, band, image, noise, good in zip(panels.flat, field.bands, field.flux, rms, field.good, strict=True):
        sky = np.where((segmap == 0) & good, image / noise, np.nan).reshape(325, 8, 325, 8)
        with np.errstate(all="ignore"):
            panel.imshow(np.nanmean(sky, axis=(1, 3)), origin="lower", vmin=-0.5, vmax=0.5, cmap="gray")
        panel.set_title(band.name)
        panel.axis("off")
    figure.savefig(path, dpi=60, bbox_inches="tight", pil_kwargs={"quality": 80})


def main(folder: Path) -> None:
    field, rms = read_field()
    _, found = find_sources(field, rms)
    draw_sheet(field, found.table, folder / "sample_sheet.jpg")
    draw_sky(field, rms, found.segmap, folder / "sample_sky.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
