"""The sources of a survey's images, and what is said of each: the marks that a painter of fields is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32

from skyloom.data.detections import searched
from skyloom.data.images import ImageSet
from skyloom.metrics.counts import AROUND
from skyloom.sky.detection import away_from, pixels_of
from skyloom.sky.grid import turn_matrix, turn_points
from skyloom.sky.noise_model import NoiseModel
from skyloom.sky.sources import CELL, Sources, Strewn, counts_contrast

FAINT = 20.0  # flux below which a mark is linear in it, above which logarithmic [rms of a pixel]
SIZE = 2.7  # half-light radius whose mark is 0 [pixel]
SHARP = 0.04  # share of the flux in the brightest pixel, whose mark is 0
LARGE = 2500  # pixels of a source that is too large to be learnt from so few
BRIGHT = 600.0  # brightest pixel of one that is too bright [rms]: saturated stars are among them
LEFT_OUT = 0.3  # share of a window that may be left out
FLUX_JITTER = 0.04  # σ by which the marks of all fluxes of a new source differ from a known one's: 8 % of a bright flux
JITTER = (0.05, 0.1, 0.1, 0.1)  # and those of its size, shape and sharpness


class Known(NamedTuple):
    """sources : of one image; good : pixels to learn from"""

    sources: Strewn
    good: Bool[np.ndarray, "h w"]

    @property
    def counted(self) -> Strewn:
        """The sources that lie on pixels to learn from: what a density is counted of."""
        here = self.good[pixels_of(self.sources.x, self.sources.y, self.good.shape)]
        return Strewn(self.sources.x[here], self.sources.y[here], self.sources.marks[here])


def known_sources(images: ImageSet, noise: NoiseModel) -> list[Known]:
    """What `detect` finds in the mean S/N of all bands of each image, as the catalogue of a mosaic does.

    Sources too large or too bright to be learnt, and the pixels about them, are left out.
    """
    return [
        _known(flux.numpy(), images.good(row).numpy() > 0, np.array(noise.rms)) for row, flux in enumerate(images.flux)
    ]


def _known(flux: Float32[np.ndarray, "c h w"], good: Bool[np.ndarray, "c h w"], rms: Float[np.ndarray, "c"]) -> Known:
    found, fluxes, seen = searched(flux, good, rms.tolist())
    table, fluxes = found.table, fluxes / rms[:, None]
    left_out = (table["pixels"] > LARGE) | (table["peak"] > BRIGHT) | ~np.isfinite(fluxes).all(0)
    usable = good.all(0) & away_from(table[left_out], seen.shape, AROUND)
    kept = table[~left_out]
    return Known(Strewn(kept["x"], kept["y"], _marks(kept, fluxes[:, ~left_out])), usable)


def _marks(table: np.ndarray, fluxes: Float[np.ndarray, "c n"]) -> Float32[np.ndarray, "n m"]:
    """fluxes : [rms of a pixel]"""
    ratio = table["b"] / np.maximum(table["a"], 1e-6)
    ellipticity = 2 * (1 - ratio) / (1 + ratio)
    angle = np.radians(2 * table["theta"])
    size = np.log(np.maximum(np.nan_to_num(table["half_light_radius"], nan=SIZE), 1.0) / SIZE)
    sharp = np.log(np.maximum(table["peak"] / np.maximum(table["flux"], 1e-3), 1e-3) / SHARP)
    return np.column_stack([
        np.ones(len(table)), *(np.arcsinh(fluxes / FAINT) / 2), size,
        ellipticity * np.cos(angle), ellipticity * np.sin(angle), sharp,
    ]).astype(np.float32)  # fmt: skip


def flux_of(marks: Float32[np.ndarray, "n m"], bands: int) -> Float[np.ndarray, "n c"]:
    """Flux that the marks stand for [rms of a pixel]."""
    return FAINT * np.sinh(2 * marks[:, 1 : 1 + bands].astype(float))


def turned(sources: Strewn, k: int, size: int) -> Strewn:
    """Sources of a size × size image under one of the 8 symmetries of the square."""
    points = turn_points(np.column_stack([sources.x, sources.y]), k, size)
    matrix = turn_matrix(k)
    marks = sources.marks.copy()
    e1, e2 = sources.marks[:, -3], sources.marks[:, -2]
    # an ellipse's quadrupole [[e1, e2], [e2, −e1]] turns from both sides
    marks[:, -3] = (matrix[0, 0] ** 2 - matrix[0, 1] ** 2) * e1 + 2 * matrix[0, 0] * matrix[0, 1] * e2
    marks[:, -2] = (matrix[0, 0] * matrix[1, 0] - matrix[0, 1] * matrix[1, 1]) * e1 + (
        matrix[0, 0] * matrix[1, 1] + matrix[0, 1] * matrix[1, 0]
    ) * e2
    return Strewn(points[:, 0], points[:, 1], marks)


def population(found: Sequence[Known], bands: int) -> Sources:
    """The point process that the sources of some images are a draw of."""
    known = np.concatenate([one.counted.marks for one in found])
    area = sum(int(one.good.sum()) for one in found)
    own = np.array([0.0] * (1 + bands) + list(JITTER), np.float32)
    shared = np.array([0.0] + [FLUX_JITTER] * bands + [0.0] * len(JITTER), np.float32)
    counts = np.stack([_counts(one) for one in found])
    last = known.shape[1]
    weights = np.ones(len(known))
    return Sources(known, own, shared, (last - 3, last - 2), weights, len(known) / area, counts_contrast(counts))


def brightness(marks: Float32[np.ndarray, "n m"], bands: int) -> Float[np.ndarray, "n"]:
    """Flux of a source in all bands together [rms of a pixel of their mean S/N]."""
    return flux_of(marks, bands).sum(1) / np.sqrt(bands)


def _counts(one: Known) -> Float[np.ndarray, "h w"]:
    """Sources in each whole cell, scaled to a whole one; NaN where less than half of it was good."""
    h, w = (side // CELL for side in one.good.shape)
    share = one.good[: h * CELL, : w * CELL].reshape(h, CELL, w, CELL).mean((1, 3))
    down, across = ((place + 0.5) // CELL for place in (one.counted.y, one.counted.x))
    inside = (down < h) & (across < w)
    counts = np.zeros((h, w))
    np.add.at(counts, (down[inside].astype(int), across[inside].astype(int)), 1)
    return np.where(share >= 0.5, counts / np.maximum(share, 0.5), np.nan)
