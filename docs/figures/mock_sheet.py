"""docs/figures/mock_sheet.jpg: 32 galaxies of each mock population, as a survey would show them.

Colours: arcsinh of the mean of i, r, g, after Lupton et al. 2004, arXiv:astro-ph/0312483.

    python docs/figures/mock_sheet.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from skyloom.data.mocks.mock import mock_cutouts

OUT = Path(__file__).with_suffix(".jpg")
TILE, COLUMNS = 128, 8


def colours(cutout) -> np.ndarray:
    """(H, W, 3) of 8-bit red, green, blue; bad pixels are black."""
    flux = np.stack([cutout.flux[band] - cutout.columns[f"true_sky_{name}"] for band, name in enumerate("irg")])
    rms = np.array([cutout.columns[f"true_sky_rms_{name}"] for name in "irg"])[:, None, None]
    balanced = np.nan_to_num(flux) * np.array([0.75, 1.0, 1.7])[:, None, None] / rms[1]
    mean = np.maximum(balanced.mean(0), 1e-6)
    stretched = balanced * np.arcsinh(mean / 3) / mean / np.arcsinh(600)
    stretched /= np.maximum(stretched.max(0), 1)
    return (255 * np.clip(1.1 * stretched + 0.05, 0, 1)).astype(np.uint8).transpose(1, 2, 0)


def tiles(size: int, count: int) -> list[np.ndarray]:
    cutouts = mock_cutouts(count, size=size, bands="irg", seed=11)
    return [
        np.asarray(Image.fromarray(colours(one)[::-1]).resize((TILE, TILE), Image.Resampling.BOX)) for one in cutouts
    ]


def main() -> None:
    sheet = tiles(256, 4 * COLUMNS) + tiles(64, 4 * COLUMNS)
    rows = [np.hstack(sheet[first : first + COLUMNS]) for first in range(0, len(sheet), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(OUT, quality=90)


if __name__ == "__main__":
    main()
