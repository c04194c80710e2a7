"""A catalogue made of the image itself: sources found in all bands together, with their photometry in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Float32

from skyloom.data.cutout import Band
from skyloom.data.headers import wcs_of
from skyloom.data.mosaic import Mosaic, Target, Window
from skyloom.sky.detection import Detections, detect, elliptical_flux
from skyloom.sky.photometry import magnitude

OVERLAP = 256  # of neighbouring windows; a source larger than this may be cut at a seam [pixel]
MEMORY = 500_000_000  # for a window and what is made of it: 60 bytes a pixel, and 25 a pixel and band
FLAGS = ("is_star", "is_extended", "is_saturated", "is_blended", "is_fragment", "is_cut")


class SkyMap(Protocol):
    """Level and rms of the sky of one band in a window [flux]."""

    def over(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]: ...


def find_targets(mosaic: Mosaic, meshes: Sequence[SkyMap]) -> list[Target]:
    """Sources of the mosaic, sought in the mean S/N of its bands, in windows that fit in memory.

    A source belongs to the window in whose core its centre lies, so none is found twice.
    """
    targets: list[Target] = []
    for core in cores(mosaic):
        targets += targets_in(mosaic, meshes, *core, before=len(targets))
    return targets


def targets_in(
    mosaic: Mosaic, meshes: Sequence[SkyMap], core_rows: slice, core_columns: slice, before: int = 0
) -> list[Target]:
    """Those sources whose centres lie in a core, numbered on from `before`."""
    rows, columns = _widened(core_rows, mosaic.shape[0]), _widened(core_columns, mosaic.shape[1])
    window = mosaic.window(rows, columns)
    sky, rms = zip(*(one.over(rows, columns) for one in meshes), strict=True)
    found = detect(*mean_signal(window, np.array(sky), np.array(rms)))
    photometry = fluxes_in_bands(window, np.array(sky), np.array(rms), found, mosaic.bands)
    found.table["x"] += columns.start
    found.table["y"] += rows.start
    own = np.flatnonzero(_inside(found.table["x"], core_columns) & _inside(found.table["y"], core_rows))
    return describe(mosaic, found.table[own], {name: v[own] for name, v in photometry.items()}, before)


def mean_signal(window: Window, sky: np.ndarray, rms: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Image, rms and good pixels to detect in: the bands' S/N added up and divided by √(bands good at that pixel)."""
    good = (window.weight > 0) & np.isfinite(rms) & (rms > 0)
    with np.errstate(all="ignore"):
        signal = np.where(good, (window.flux - sky) / rms, 0)
    depth = good.sum(axis=0)
    return signal.sum(axis=0) / np.sqrt(np.maximum(depth, 1)), 1.0, depth > 0


def searched(
    flux: Float32[np.ndarray, "c h w"], good: Bool[np.ndarray, "c h w"], rms: Sequence[float]
) -> tuple[Detections, Float[np.ndarray, "c n"], Bool[np.ndarray, "h w"]]:
    """Sources of a sky-subtracted window of one noise per band, their flux in each, and which pixels were looked at."""
    planes = np.array(rms)[:, None, None]
    signal, unit, seen = mean_signal(Window(flux, good.astype(np.float32)), np.zeros_like(planes), planes)
    found = detect(signal, unit, seen)
    fluxes = [elliptical_flux(one, sigma, fine, found)[0] for one, sigma, fine in zip(flux, rms, good, strict=True)]
    return found, np.array(fluxes), seen


def fluxes_in_bands(
    window: Window, sky: np.ndarray, rms: np.ndarray, found: Detections, bands: Sequence[Band]
) -> dict[str, np.ndarray]:
    """Columns flux_<band>, flux_error_<band> [flux] and, where there is a zero point, mag_<band> [AB mag]."""
    columns = {}
    for band, flux, weight, level, noise in zip(bands, *window, sky, rms, strict=True):
        total, error = elliptical_flux(flux - level, noise, weight > 0, found)
        columns[f"flux_{band.name}"], columns[f"flux_error_{band.name}"] = total, error
        if band.zero_point is not None:
            columns[f"mag_{band.name}"] = magnitude(total, band.zero_point)
    return columns


def describe(mosaic: Mosaic, table: np.ndarray, photometry: dict[str, np.ndarray], before: int = 0) -> list[Target]:
    """Detections as targets, numbered on from `before`, with catalogue columns; ra and dec where there is a WCS."""
    sky = wcs_of(mosaic.wcs).pixel_to_world(table["x"], table["y"]).icrs if mosaic.wcs and len(table) else None
    targets = []
    for n, source in enumerate(table):
        columns: dict[str, Any] = {name: float(source[name]) for name in ("x", "y", "snr", "half_light_radius")}
        columns |= {"ellipticity": float(1 - source["b"] / source["a"]), "theta": float(source["theta"])}
        columns |= {name: bool(source[name]) for name in FLAGS}
        columns |= {name: values[n].item() for name, values in photometry.items()}
        ra, dec = (float(sky.ra.deg[n]), float(sky.dec.deg[n])) if sky is not None else (None, None)
        object_id = f"{mosaic.name}-{before + n + 1:05d}"
        targets.append(Target(object_id, float(source["x"]), float(source["y"]), ra, dec, columns=columns))
    return targets


def cores(mosaic: Mosaic) -> Iterator[tuple[slice, slice]]:
    """Row and column ranges that cover the mosaic once, each small enough to be held with its margin."""
    height, width = mosaic.shape
    room = MEMORY // (60 + 25 * len(mosaic.bands))
    side = max(int(room**0.5) - 2 * OVERLAP, OVERLAP)
    tall, wide = (height, width) if height * width <= room else (side, side)
    for y in range(0, height, tall):
        for x in range(0, width, wide):
            yield slice(y, min(y + tall, height)), slice(x, min(x + wide, width))


def _widened(core: slice, length: int) -> slice:
    return slice(max(core.start - OVERLAP, 0), min(core.stop + OVERLAP, length))


def _inside(centre: np.ndarray, core: slice) -> np.ndarray:
    """Whether a centre falls on a pixel of the core."""
    pixel = np.floor(centre + 0.5)
    return (pixel >= core.start) & (pixel < core.stop)
