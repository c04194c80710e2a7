"""A catalogue made of the image itself: sources found in all bands together, with their photometry in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Float32

from skyloom.data.cutout import Band
from skyloom.data.headers import wcs_of
from skyloom.data.mosaic import Mosaic, Target, Window
from skyloom.sky.detection import Detections, detect, elliptical_flux
from skyloom.sky.photometry import magnitude

OVERLAP = 256  # of neighbouring windows; a source larger than this may be cut at a seam [pixel]
MEMORY = 500_000_000  # for a window and what is made of it: PER_PIXEL, and PER_BAND for each of its bands [byte]
PER_PIXEL, PER_BAND = 60, 25
FLAGS = ("is_star", "is_extended", "is_saturated", "is_blended", "is_fragment", "is_cut")
Planes = Sequence[np.ndarray] | np.ndarray  # one per band: maps or numbers


class SkyMap(Protocol):
    """Level and rms of the sky of one band in a window [flux]."""

    def over(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]: ...


def find_targets(mosaic: Mosaic, meshes: Sequence[SkyMap]) -> list[Target]:
    """Sources of the mosaic, sought in the mean S/N of its bands, in windows that fit in memory.

    A source belongs to the window in whose core its centre lies, so none is found twice.
    """
    targets: list[Target] = []
    for core in cores(mosaic):
        targets += targets_of(mosaic, found_in(mosaic, meshes, *core), before=len(targets))
    return targets


def found_in(
    mosaic: Mosaic, meshes: Sequence[SkyMap], core_rows: slice, core_columns: slice, overlap: int = OVERLAP
) -> dict[str, np.ndarray]:
    """Catalogue columns of those sources whose centres lie in a core, sought in a window `overlap` pixels wider."""
    rows, columns = (
        _widened(core, side, overlap) for core, side in zip((core_rows, core_columns), mosaic.shape, strict=True)
    )
    window = mosaic.window(rows, columns)
    sky, rms = zip(*(one.over(rows, columns) for one in meshes), strict=True)
    found = detect(*mean_signal(window, sky, rms))
    photometry = fluxes_in_bands(window, sky, rms, found, mosaic.bands)
    found.table["x"] += columns.start
    found.table["y"] += rows.start
    own = np.flatnonzero(_inside(found.table["x"], core_columns) & _inside(found.table["y"], core_rows))
    return described(mosaic, found.table[own], {name: v[own] for name, v in photometry.items()})


def mean_signal(
    window: Window, sky: Planes, rms: Planes
) -> tuple[Float[np.ndarray, "h w"], float, Bool[np.ndarray, "h w"]]:
    """Image, rms and good pixels to detect in: the bands' S/N added up and divided by √(bands good at that pixel)."""
    shape = window.flux.shape[1:]
    signal, depth = np.zeros(shape), np.zeros(shape, np.int16)
    for flux, weight, level, noise in zip(*window, sky, rms, strict=True):
        good = (weight > 0) & np.isfinite(noise) & (noise > 0)
        with np.errstate(all="ignore"):
            signal += np.where(good, (flux - level) / noise, 0)
        depth += good
    return signal / np.sqrt(np.maximum(depth, 1)), 1.0, depth > 0


def searched(
    flux: Float32[np.ndarray, "c h w"], good: Bool[np.ndarray, "c h w"], rms: Sequence[float]
) -> tuple[Detections, Float[np.ndarray, "c n"], Bool[np.ndarray, "h w"]]:
    """Sources of a sky-subtracted window of one noise per band, their flux in each, and which pixels were looked at."""
    planes = np.array(rms)[:, None, None]
    signal, unit, seen = mean_signal(Window(flux, good.astype(np.float32)), tuple(np.zeros_like(planes)), tuple(planes))
    found = detect(signal, unit, seen)
    fluxes = [elliptical_flux(one, sigma, fine, found)[0] for one, sigma, fine in zip(flux, rms, good, strict=True)]
    return found, np.array(fluxes), seen


def fluxes_in_bands(
    window: Window, sky: Planes, rms: Planes, found: Detections, bands: Sequence[Band]
) -> dict[str, np.ndarray]:
    """Columns flux_<band>, flux_error_<band> [flux] and, where there is a zero point, mag_<band> [AB mag]."""
    columns = {}
    for band, flux, weight, level, noise in zip(bands, *window, sky, rms, strict=True):
        total, error = elliptical_flux(flux - level, noise, weight > 0, found)
        columns[f"flux_{band.name}"], columns[f"flux_error_{band.name}"] = total, error
        if band.zero_point is not None:
            columns[f"mag_{band.name}"] = magnitude(total, band.zero_point)
    return columns


def described(mosaic: Mosaic, table: np.ndarray, photometry: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Detections as catalogue columns; ra and dec [deg] among them where there is a WCS."""
    columns = {name: table[name] for name in ("x", "y", "snr", "half_light_radius")}
    columns |= {"ellipticity": 1 - table["b"] / table["a"], "theta": table["theta"]}
    columns |= {name: table[name] for name in FLAGS}
    if mosaic.wcs and len(table):
        place = wcs_of(mosaic.wcs).pixel_to_world(table["x"], table["y"]).icrs
        columns |= {"ra": place.ra.deg, "dec": place.dec.deg}
    elif mosaic.wcs:
        columns |= {"ra": np.empty(0), "dec": np.empty(0)}
    return columns | photometry


def targets_of(mosaic: Mosaic, columns: dict[str, np.ndarray], before: int = 0) -> list[Target]:
    """Catalogue columns as targets, numbered on from `before`."""
    plain = {name: values.tolist() for name, values in columns.items()}
    nowhere = [None] * len(plain["x"])
    places = list(zip(plain["x"], plain["y"], plain.pop("ra", nowhere), plain.pop("dec", nowhere), strict=True))
    return [
        Target(f"{mosaic.name}-{before + n + 1:05d}", x, y, ra, dec, columns={name: v[n] for name, v in plain.items()})
        for n, (x, y, ra, dec) in enumerate(places)
    ]


def cores(mosaic: Mosaic, memory: int = MEMORY, overlap: int = OVERLAP) -> Iterator[tuple[slice, slice]]:
    """Row and column ranges that cover the mosaic once, each small enough to be held with its margin."""
    height, width = mosaic.shape
    room = memory // (PER_PIXEL + PER_BAND * len(mosaic.bands))
    side = max(int(room**0.5) - 2 * overlap, overlap)
    tall, wide = (height, width) if height * width <= room else (side, side)
    for y in range(0, height, tall):
        for x in range(0, width, wide):
            yield slice(y, min(y + tall, height)), slice(x, min(x + wide, width))


def _widened(core: slice, length: int, overlap: int) -> slice:
    return slice(max(core.start - overlap, 0), min(core.stop + overlap, length))


def _inside(centre: np.ndarray, core: slice) -> np.ndarray:
    """Whether a centre falls on a pixel of the core."""
    pixel = np.floor(centre + 0.5)
    return (pixel >= core.start) & (pixel < core.stop)
