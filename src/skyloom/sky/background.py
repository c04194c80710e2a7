"""The level and the noise of the sky: of one cutout, of a mesh of cells, and as a map of a whole image.

Nothing here reads a value whose weight is zero: set it to NaN, 1e30 or 0 and the same bytes come out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import sep
from jaxtyping import Bool, Float, Float32, Float64
from scipy.ndimage import map_coordinates, median_filter
from scipy.special import erf

CLIP = 3.0  # half-width of the window of pixels that count as sky [rms]
ROUNDS = 50  # the window narrows to a fixed point in 5 to 15


def sky_level(
    flux: Float[np.ndarray, "*bands h w"], ivar: Float[np.ndarray, "*bands h w"]
) -> tuple[Float64[np.ndarray, "*bands"], Float64[np.ndarray, "*bands"]]:
    """Sky level and rms per pixel of each plane, in the unit of its flux; NaN where no pixel is good.

    flux : linear; sources may lie on it, as long as most pixels are sky
    ivar : pixels with 0 are left out

    The level is the mode, 2.5 median − 1.5 mean, of the pixels within 3 rms of it; the rms is that of the pixels
    below the level, which sources do not reach. Both are corrected for the clipping, and repeated until they stand.
    Unbiased on pure noise, with a scatter of 2.3 rms/√n. Sources bias it upward: docs/detection.md says how much.
    Source: the mode of Bertin & Arnouts 1996, A&AS 117, 393, §3 (their 2.5 and 1.5).
    We differ: the rms comes from the lower half of the histogram, and the mode is used in crowded planes too.
    """
    planes = np.broadcast_arrays(flux, ivar)
    lead = planes[0].shape[:-2]
    rows = [_mode(np.sort(f[w > 0]).astype(np.float64)) for f, w in zip(*map(_planes, planes), strict=True)]
    level, rms = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    return level.reshape(lead), rms.reshape(lead)


def _planes(cube: np.ndarray) -> np.ndarray:
    return cube.reshape(-1, cube.shape[-2] * cube.shape[-1])


def _mode(values: Float64[np.ndarray, "n"]) -> tuple[float, float]:
    """Mode and rms of sorted values, most of which are Gaussian noise about one level; NaN if there are none."""
    if values.size == 0:
        return np.nan, np.nan
    centre, spread = _first_guess(values)
    if spread == 0:
        return float(centre), 0.0
    x = ((values - centre) / spread).clip(-1e100, 1e100)  # so that squares are numbers
    sums, squares = (np.concatenate([[0.0], np.cumsum(power)]) for power in (x, x * x))
    level, rms, window = 0.0, 1.0, (-1, -1)
    for _ in range(ROUNDS):
        low, high = np.searchsorted(x, [level - CLIP * rms, level + CLIP * rms]).tolist()
        if (low, high) == window or high - low < 2:
            break
        window = (low, high)
        mean = (sums[high] - sums[low]) / (high - low)
        level = 2.5 * _middle(x, low, high) - 1.5 * mean
        rms = _lower_rms(x, sums, squares, low, level) or rms
    return float(centre + spread * level), float(spread * rms)


def _first_guess(values: Float64[np.ndarray, "n"]) -> tuple[float, float]:
    """Median, and a width from the steepest quarter of the histogram below it (sources lie above)."""
    n = len(values)
    median = _middle(values, 0, n)
    width = (median - values[int(0.1587 * (n - 1))]) or values[-1] - values[0]
    return median, float(width)


def _middle(values: Float64[np.ndarray, "n"], low: int, high: int) -> float:
    """Median of values[low:high], which are sorted."""
    return float(values[(low + high - 1) // 2] + values[(low + high) // 2]) / 2


def _lower_rms(x, sums, squares, low: int, level: float) -> float:
    """Rms about the level of the values from x[low] up to it, corrected for the cut tail; 0 if there is none."""
    high = int(np.searchsorted(x, level))
    n = high - low
    if n < 1:
        return 0.0
    square = (squares[high] - squares[low]) - 2 * level * (sums[high] - sums[low]) + n * level**2
    return float(np.sqrt(max(square, 0.0) / n / _KEPT_VARIANCE))


def _variance_within(clip: float) -> float:
    """Variance of a unit normal whose tails beyond ±clip are cut off."""
    density = np.exp(-(clip**2) / 2) / np.sqrt(2 * np.pi)
    return float(1 - 2 * clip * density / erf(clip / np.sqrt(2)))


_KEPT_VARIANCE = _variance_within(CLIP)


class Mesh(NamedTuple):
    """Sky level and rms in the cells of a coarse grid over one band of an image.

    level, rms : (rows, columns), in flux units
    cell : side of a cell [pixel]
    """

    level: Float64[np.ndarray, "rows columns"]
    rms: Float64[np.ndarray, "rows columns"]
    cell: int

    def at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Level and rms at pixel positions of any shape, bilinear between cell centres and constant beyond."""
        where = [(np.asarray(p, float) + 0.5) / self.cell - 0.5 for p in (y, x)]
        return tuple(map_coordinates(grid, where, order=1, mode="nearest") for grid in (self.level, self.rms))

    def over(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Level and rms as maps of a window of the image."""
        down = _between_centres(np.arange(rows.start, rows.stop), self.level.shape[0], self.cell)
        across = _between_centres(np.arange(columns.start, columns.stop), self.level.shape[1], self.cell)
        level, rms = (down @ grid @ across.T for grid in (self.level, self.rms))
        return level.astype(np.float32), rms.astype(np.float32)


def _between_centres(pixels: np.ndarray, cells: int, cell: int) -> Float64[np.ndarray, "n cells"]:
    """Weights of the cells' centres at each pixel along one axis, linear between them and constant beyond."""
    place = np.clip((pixels + 0.5) / cell - 0.5, 0, cells - 1)
    return np.clip(1 - np.abs(place[:, None] - np.arange(cells)), 0, 1)


def mesh_row(flux: Float32[np.ndarray, "h w"], ivar: Float32[np.ndarray, "h w"], cell: int) -> np.ndarray:
    """One row of a mesh, (2, columns): sky level and rms of the cells of a strip of at most `cell` rows."""
    edges = range(0, flux.shape[1], cell)
    return np.array([sky_level(flux[:, x : x + cell], ivar[:, x : x + cell]) for x in edges]).T


def mesh(rows: list[np.ndarray], cell: int) -> Mesh:
    """Rows of `mesh_row` as one mesh: empty cells take the median of the others; a 3 × 3 median removes outliers.

    A mesh without a single good pixel is NaN throughout.
    """
    level, rms = np.stack(rows, axis=1)
    empty = ~np.isfinite(level)
    if not empty.all():
        for grid in (level, rms):
            grid[empty] = np.median(grid[~empty])
        level, rms = (median_filter(grid, 3, mode="nearest") for grid in (level, rms))
    return Mesh(level, rms, cell)


def _rough_level(image, good) -> tuple[np.ndarray, np.ndarray]:
    """Sky level and rms from a coarse grid of pixels, or from all if the grid falls on none that is good."""
    step = max(1, int((image.size / 200_000) ** 0.5))
    sparse = sky_level(image[::step, ::step], good[::step, ::step].astype(np.float32))
    return sparse if np.isfinite(sparse[0]) else sky_level(image, good.astype(np.float32))


def background_map(
    image: Float[np.ndarray, "h w"], good: Bool[np.ndarray, "h w"], mesh: int
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Maps of the sky level and of its rms, in the unit of the image; NaN everywhere if no pixel is good.

    good : pixels that may be looked at: neither bad nor, if you can help it, part of a source
    mesh : side of the cells [pixel]; several times the largest source that must keep its light

    Source: `sep.Background` (Barbary 2016, doi:10.21105/joss.00058), with a 3 × 3 median filter of its cells.
    We differ: the image is brought to zero level and unit rms first, so the answer does not depend on its unit.
    """
    level, rms = _rough_level(image, good)
    if not np.isfinite(level):
        return np.full(image.shape, np.nan, np.float32), np.full(image.shape, np.nan, np.float32)
    scale = float(rms) or 1.0
    flat = np.where(good, (image - level) / scale, 0).astype(np.float32)
    sky = sep.Background(flat, mask=np.ascontiguousarray(~good), bw=mesh, bh=mesh, fw=3, fh=3)
    level_map = sky.back() * np.float64(scale) + level
    return level_map.astype(np.float32), (sky.rms() * np.float64(scale)).astype(np.float32)
