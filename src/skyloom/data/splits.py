"""Training, validation and test sets by position on the sky, never by row: neighbours share a side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy_healpix import HEALPix
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from skyloom.data.store import Survey
from skyloom.errors import CatalogueError, RequestError, UnitError

FEWEST_CELLS = 50  # occupied, if possible: then a tenth of the sky is five cells or more
ARCSEC = np.pi / 180 / 3600  # [rad]
FINEST = 2**20  # HEALPix nside; cells of 0.2 arcsec


@dataclass(frozen=True)
class Split:
    """Names of objects by side, and what stands on no side.

    ids : {side: object_ids}, in the order of the survey
    left_out : objects within `margin` of another side; they are in none
    cells : how the sky was cut, in words
    margin : [arcsec] if positions are ra and dec, [pixel] if x and y, 0 if only tiles are known
    """

    ids: dict[str, tuple[str, ...]]
    left_out: tuple[str, ...]
    cells: str
    margin: float


@dataclass(frozen=True)
class _Places:
    cell: np.ndarray  # one label per object; equal labels never part
    points: Float[np.ndarray, "n d"] | None  # in which a distance is the margin's, or None
    words: str
    reach: float  # the margin in the unit of the points
    margin: float


def split(
    survey: Survey, fractions: Mapping[str, float], seed: int, *, margin: float | None = None, cell: float | None = None
) -> Split:
    """Cut the sky into cells and deal whole cells to the sides, so that objects and overlaps never leak across.

    fractions : e.g. {"train": 0.8, "validation": 0.1, "test": 0.1}; they sum to 1, and count objects
    margin : closest approach of two sides; None means the diagonal of a cutout, so that no two cutouts share a pixel.
        Objects nearer than that to a later side are left out, and listed; sides named first give way.
    cell : smallest width of a cell; None means as wide as leaves 50 occupied cells, and never under four margins
    Cells are HEALPix if every object has ra and dec (margin and cell in arcsec); else blocks of the mosaic if every
    object has x and y [pixel] on its tile (in pixels); else whole tiles. The same survey and seed give the same split.
    Raises RequestError if there are fewer cells than sides, UnitError if a margin is needed and no pixel scale known.
    """
    if not fractions or abs(sum(fractions.values()) - 1) > 1e-6 or min(fractions.values()) <= 0:
        raise RequestError(f"fractions {dict(fractions)} must be positive and sum to 1")
    there = [name for name in ("object_id", "ra", "dec", "tile", "x", "y") if name in survey.column_names]
    table = survey.table(there)
    places = _places(survey, table, margin, cell)
    side = _deal(places.cell, list(fractions.values()), seed, survey.path.name)
    near = _too_near(places, side, len(fractions))
    ids = np.array(table["object_id"].to_pylist(), object)
    sides = {name: tuple(ids[(side == number) & ~near]) for number, name in enumerate(fractions)}
    return Split(sides, tuple(ids[near]), places.words, places.margin)


def _places(survey: Survey, table: pa.Table, margin: float | None, cell: float | None) -> _Places:
    if not len(table):
        raise RequestError(f"{survey.path.name} is empty; there is nothing to split")
    if (lonlat := _numbers(table, "ra", "dec")) is not None:
        return _on_the_sky(survey, lonlat, margin, cell)
    if (xy := _numbers(table, "x", "y")) is not None:
        return _on_mosaics(survey, xy, _tiles(table), margin, cell)
    if margin or cell:
        raise CatalogueError(f"{survey.path.name} has no positions, only tiles, so margin and cell mean nothing to it")
    tiles = _tiles(table)
    return _Places(tiles, None, f"{len(set(tiles))} tiles", 0.0, 0.0)


def _on_the_sky(survey: Survey, lonlat: Float[np.ndarray, "n 2"], margin: float | None, cell: float | None) -> _Places:
    if margin is None and not survey.info.has_images:
        margin = 0.0
    if margin is None:
        if survey.info.pixel_scale is None:
            raise UnitError(f"{survey.path.name} has no pixel scale, so say how far apart sides must be: margin=ARCSEC")
        margin = survey.info.pixel_scale * float(np.hypot(*survey.info.shape))
    ra, dec = np.radians(lonlat).T
    points = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    smallest = max(4 * margin, 0.0) if cell is None else cell
    nside = 1
    while nside < FINEST:
        finer = HEALPix(2 * nside, order="nested")
        if finer.pixel_resolution.to_value(u.arcsec) < smallest:
            break
        nside *= 2
        if cell is None and len(np.unique(_healpix(nside, lonlat))) >= FEWEST_CELLS:
            break
    cells = _healpix(nside, lonlat)
    words = f"{len(np.unique(cells))} HEALPix cells of nside {nside}"
    return _Places(cells, points, words, 2 * np.sin(margin * ARCSEC / 2), margin)


def _healpix(nside: int, lonlat: Float[np.ndarray, "n 2"]) -> Int[np.ndarray, "n"]:
    return HEALPix(nside, order="nested").lonlat_to_healpix(lonlat[:, 0] * u.deg, lonlat[:, 1] * u.deg)


def _on_mosaics(
    survey: Survey, xy: Float[np.ndarray, "n 2"], tiles: np.ndarray, margin: float | None, cell: float | None
) -> _Places:
    margin = float(np.hypot(*survey.info.shape)) if margin is None else margin
    names, number = np.unique(tiles, return_inverse=True)
    apart = 4 * (np.abs(xy).max() + margin) + 1  # tiles are different skies: put them out of each other's reach
    points = np.column_stack([xy, number * apart])
    area = sum(np.prod(np.ptp(xy[number == tile], axis=0) + 1) for tile in range(len(names)))
    width = max(4 * margin, np.sqrt(area / FEWEST_CELLS), 1.0) if cell is None else cell
    blocks = np.column_stack([np.floor(xy / width), number]).astype(np.int64)
    _, label = np.unique(blocks, axis=0, return_inverse=True)
    words = f"{label.max() + 1} blocks of {width:.0f} pixels on {len(names)} mosaics"
    return _Places(label.ravel(), points, words, margin, margin)


def _deal(cells: np.ndarray, fractions: list[float], seed: int, name: str) -> Int[np.ndarray, "n"]:
    """Cells in random order: one to each side, then each to the side that is furthest behind its fraction."""
    labels, place, counts = np.unique(cells, return_inverse=True, return_counts=True)
    if len(labels) < len(fractions):
        raise RequestError(
            f"{name} falls into {len(labels)} cell(s) and {len(fractions)} sides are wanted; "
            f"give its objects positions, a smaller cell or margin, or ask for fewer sides"
        )
    side, behind = np.empty(len(labels), np.int64), np.array(fractions) * len(place)
    for turn, cell in enumerate(np.random.default_rng(seed).permutation(len(labels))):
        side[cell] = turn if turn < len(fractions) else behind.argmax()
        behind[side[cell]] -= counts[cell]
    return side[place.ravel()]


def _too_near(places: _Places, side: Int[np.ndarray, "n"], sides: int) -> np.ndarray:
    """Objects closer than the margin to any of a later side."""
    near = np.zeros(len(side), bool)
    if places.points is None or places.reach <= 0:
        return near
    for number in range(sides - 1):
        here, later = side == number, side > number
        if here.any() and later.any():
            reach = np.nextafter(places.reach, np.inf)
            distance, _ = cKDTree(places.points[later]).query(places.points[here], distance_upper_bound=reach)
            near[here] = np.isfinite(distance)
    return near


def _numbers(table: pa.Table, *names: str) -> Float[np.ndarray, "n k"] | None:
    """Columns as one array, or None if one is missing or holds a value that is missing or not finite."""
    if any(name not in table.column_names for name in names):
        return None
    values = np.column_stack([np.array(table[name].to_pylist(), float) for name in names])
    return values if np.isfinite(values).all() else None


def _tiles(table: pa.Table) -> np.ndarray:
    return np.array([tile or "" for tile in table["tile"].to_pylist()])
