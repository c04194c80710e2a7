"""The pixel grid: crops, the eight symmetries of the square, shifts, and tiles.

Pixel (0, 0) is the centre of the first pixel; positions are (x, y), arrays [..., y, x] (docs/concepts/pixels.md).
Whatever falls off the grid comes back as NaN with ivar 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.wcs import WCS
from jaxtyping import Float, Float32

from skyloom.errors import RequestError

SYMMETRIES = range(8)  # k % 4 quarter turns from +x towards +y, after mirroring x if k is 4 or more


def corner(x: float, y: float, size: int) -> tuple[int, int]:
    """First column and row of the size × size crop whose centre comes nearest to (x, y); ties go right and up."""
    middle = (size - 1) / 2
    return int(np.floor(x - middle + 0.5)), int(np.floor(y - middle + 0.5))


def crop(
    flux: Float32[np.ndarray, "*c h w"], ivar: Float32[np.ndarray, "*c h w"], x0: int, y0: int, size: int
) -> tuple[Float32[np.ndarray, "*c s s"], Float32[np.ndarray, "*c s s"]]:
    """The size × size pixels from column x0 and row y0 on, both arrays copied; it may reach beyond the image."""
    height, width = flux.shape[-2:]
    shape = (*flux.shape[:-2], size, size)
    new_flux, new_ivar = np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
    left, right = np.clip([x0, x0 + size], 0, width)
    low, high = np.clip([y0, y0 + size], 0, height)
    there = np.s_[..., low - y0 : high - y0, left - x0 : right - x0]
    if left < right and low < high:
        new_flux[there] = flux[..., low:high, left:right]
        new_ivar[there] = ivar[..., low:high, left:right]
    return new_flux, new_ivar


def turn(image: np.ndarray, k: int) -> np.ndarray:
    """An image under symmetry k of the square, as a view: no pixel changes its value, only its place."""
    if k not in SYMMETRIES or image.shape[-1] != image.shape[-2]:
        raise RequestError(f"symmetry {k} of an image {image.shape[-2:]}: there are 8, from 0, and they need a square")
    mirrored = image[..., ::-1] if k >= 4 else image
    return np.rot90(mirrored, -k, axes=(-2, -1))  # rows run upward, so the turn from +x towards +y is NumPy's -1


def turn_matrix(k: int) -> Float[np.ndarray, "2 2"]:
    """What symmetry k does to a vector (x, y) from the centre."""
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[k % 4]
    return np.array([[cosine, -sine], [sine, cosine]], float) @ np.diag([-1.0 if k >= 4 else 1.0, 1.0])


def turn_points(points: Float[np.ndarray, "*n 2"], k: int, size: int) -> Float[np.ndarray, "*n 2"]:
    """Where symmetry k of a size × size image takes positions (x, y) [pixel]."""
    middle = (size - 1) / 2
    return (np.asarray(points, float) - middle) @ turn_matrix(k).T + middle


def turn_pa(pa: Float[np.ndarray, "*n"], k: int) -> Float[np.ndarray, "*n"]:
    """A position angle [deg, from +x towards +y, in 0 to 180] after symmetry k."""
    mirrored = 180 - np.asarray(pa, float) if k >= 4 else np.asarray(pa, float)
    return (mirrored + 90 * (k % 4)) % 180


def turn_wcs(wcs: WCS, k: int, size: int) -> WCS:
    """The WCS of a size × size image after symmetry k; RequestError for distortions, which do not turn along."""
    if wcs.has_distortion:
        raise RequestError("a WCS with distortion terms cannot be turned; cut out with a linear WCS, or use symmetry 0")
    turned = wcs.deepcopy()
    turned.wcs.crpix = turn_points(wcs.wcs.crpix - 1, k, size) + 1
    if wcs.wcs.has_cd():
        turned.wcs.cd = wcs.wcs.cd @ turn_matrix(k).T
    else:
        turned.wcs.pc = wcs.wcs.get_pc() @ turn_matrix(k).T
    return turned


def shift(
    flux: Float32[np.ndarray, "*c h w"], ivar: Float32[np.ndarray, "*c h w"], dx: float, dy: float
) -> tuple[Float32[np.ndarray, "*c h w"], Float32[np.ndarray, "*c h w"]]:
    """Move the sky by (dx, dy) pixels over the grid: what was at (x, y) is at (x + dx, y + dy) afterwards.

    Linear interpolation: each pixel's flux is shared among the four it now overlaps, so flux is conserved up to the
    border, no new extrema or rings appear, and whole-pixel shifts are exact. An output pixel is bad if it would use
    any bad pixel; the ivar of the others is 1 / Σ weight² / ivar, which leaves out that neighbours are now correlated.
    A fraction f of a pixel widens the PSF's variance along that axis by f (1 − f) pixel², 0.25 at most.
    We differ from Fourier shifting, which keeps the PSF but spreads every bad or saturated pixel over its whole row.
    """
    whole_x, whole_y = int(np.floor(dx)), int(np.floor(dy))
    part_x, part_y = dx - whole_x, dy - whole_y
    moved_flux, moved_ivar = _window(flux, ivar, -whole_x, -whole_y)
    good = moved_ivar > 0
    clean = np.where(good, moved_flux, np.float32(0))
    with np.errstate(divide="ignore"):
        variance = np.where(good, 1 / moved_ivar, np.float32(np.inf))
    for axis, part in ((-1, part_x), (-2, part_y)):
        clean, variance = _blend(clean, variance, np.float32(part), axis)
    good = np.isfinite(variance)
    return np.where(good, clean, np.float32(np.nan)), np.where(good, 1 / variance, np.float32(0))


def _window(flux, ivar, x0: int, y0: int) -> tuple[np.ndarray, np.ndarray]:
    """The image's own size and one more column and row before it, from (x0 - 1, y0 - 1) on."""
    height, width = flux.shape[-2:]
    side = max(height, width) + 1
    new_flux, new_ivar = crop(flux, ivar, x0 - 1, y0 - 1, side)
    return new_flux[..., : height + 1, : width + 1], new_ivar[..., : height + 1, : width + 1]


def _blend(clean, variance, part: np.float32, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """(1 - part) of each pixel and part of the one before it; the first pixel of the axis is used up."""
    before, here = ([slice(None)] * clean.ndim for _ in range(2))
    before[axis], here[axis] = slice(None, -1), slice(1, None)
    if part == 0:
        return clean[tuple(here)], variance[tuple(here)]
    stay = 1 - part
    blended = stay * clean[tuple(here)] + part * clean[tuple(before)]
    with np.errstate(invalid="ignore"):  # a bad pixel times a weight too small to square: NaN, and so still bad
        return blended, stay**2 * variance[tuple(here)] + part**2 * variance[tuple(before)]


def overlap(wanted: range, there: range) -> tuple[slice, slice]:
    """Where two ranges of pixels meet: as a part of the one, and as a part of the other."""
    first, last = max(wanted.start, there.start), min(wanted.stop, there.stop)
    return slice(first - wanted.start, last - wanted.start), slice(first - there.start, last - there.start)


def tiles(shape: Sequence[int], size: int, overlap: int = 0) -> list[tuple[int, int]]:
    """Corners (x0, y0) of the size × size tiles that cover an image (H, W), row by row.

    Neighbours share at least `overlap` pixels; the last of each row and column ends with the image.
    """
    if not 0 <= overlap < size or min(shape) < size:
        raise RequestError(f"size={size}, overlap={overlap} on {tuple(shape)}: need overlap < size ≤ the image's sides")
    rows, columns = ([*range(0, side - size, size - overlap), side - size] for side in shape)
    return [(x0, y0) for y0 in rows for x0 in columns]
