"""`field`: weights in, a sky of any size out, tile by tile."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from skyloom.data.destination import require_room, write_whole
from skyloom.data.tiles.files import is_whole, write_tile
from skyloom.data.tiles.mosaic import TiledField, open_field
from skyloom.data.tiles.plan import TILES, Plan, begin
from skyloom.data.workers import shared_out
from skyloom.errors import RequestError
from skyloom.infer.fields.catalogue import CATALOGUE, catalogue
from skyloom.infer.fields.painter import BLOCK, Painter, painter_of

INDEX = "index.json"
WORTH = 2  # tiles that make it worth starting a process
Progress = Callable[[int, int | None, str], None]


@dataclass(frozen=True)
class FieldMade:
    """A field on disk. new : tiles made by this call, the others were there; sources : in its catalogue"""

    field: TiledField
    new: int
    sources: int


def field(
    folder: str | Path,
    with_: str | Path,
    shape: tuple[int, int],
    *,
    tile: int = 4 * BLOCK,
    seed: int = 0,
    noise: float = 1.0,
    centre: tuple[float, float] = (0.0, 0.0),
    for_hips: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> FieldMade:
    """Make a sky that no telescope has seen in `folder`: tiles, an index of them, and a catalogue of its sources.

    with_ : weights that ship with skyloom (deep-field), or a run directory
    shape : rows and columns [pixel]; tile : side of a tile [pixel]; the tiles of the last row and column may be smaller
    noise : of the sky, in units of that of the survey learnt from; 0 for light alone
    centre : ra and dec of the middle [deg]; made up, like the sky
    for_hips : refuse weights that learnt from pixels of no known scale: their fields have no place on the sky
    A pixel follows from the weights, the seed and its place, not from the shape or the tiles: a larger field of the
    same seed begins with the smaller one, and any tile can be made alone, by any process, in any order. On a CPU of
    the same kind it is the same bit for bit; a GPU adds in another order, so that its last bits may differ.
    Call it again after an interruption: whole tiles are kept, a torn one is made anew.
    Raises RequestError, before any work, for weights that make no fields, shapes, tiles or noise that cannot be, too
    little room on the disk, or a folder that holds anything else.
    """
    painter, folder = painter_of(with_), Path(folder)
    _require_sensible(painter, shape, tile, seed, noise)
    if for_hips and painter.info.pixel_scale is None:
        raise RequestError(
            f"{painter.name} learnt from pixels of no known scale, so its fields have no place on the sky and no HiPS; "
            "leave out --hips (sl.field_page shows such a field too)"
        )
    plan = Plan((int(shape[0]), int(shape[1])), tile, seed, painter.name, painter.hash, noise, centre, device)
    there = sum(one.stat().st_size for one in (folder / TILES).glob("*.fits"))
    require_room(folder, plan.bytes(len(painter.info.bands)), there)
    begin(folder, plan, painter.info)
    missing = [number for number, one in enumerate(plan.tiles()) if not is_whole(folder / TILES / one.name)]
    total = plan.grid[0] * plan.grid[1]
    shared = (str(folder), str(with_), plan, missing)
    for done, _ in enumerate(shared_out(_make, len(missing), shared, WORTH if device == "cpu" else total), 1):
        if progress:
            progress(total - len(missing) + done, total, "tiles")
    made = open_field(folder)
    write_index(made)
    if missing or not (folder / CATALOGUE).exists():
        catalogue(made, painter.rms, progress)
    return FieldMade(made, len(missing), pq.read_metadata(folder / CATALOGUE).num_rows)


def _make(place: int, shared: tuple[str, str, Plan, list[int]]) -> int:
    """Make and write one of the missing tiles."""
    folder, with_, plan, missing = shared
    painter, tile = _opened(with_, plan.hash), plan.tile_at(missing[place])
    flux = painter.pixels(plan.seed, tile.rows, tile.columns, plan.noise, plan.device)
    write_tile(Path(folder) / TILES / tile.name, flux, tile, plan, painter.info, painter.rms)
    return missing[place]


@lru_cache(maxsize=1)
def _opened(with_: str, _hash: str) -> Painter:
    """The weights, once per process."""
    return painter_of(with_)


def write_index(made: TiledField) -> None:
    """Which tile has which pixels and which part of the sky."""
    wcs = made.plan.wcs(made.info)
    tiles = []
    for one in made.plan.tiles():
        entry: dict[str, Any] = {
            "file": f"{TILES}/{one.name}",
            "first": [one.rows.start, one.columns.start],
            "shape": [len(one.rows), len(one.columns)],
        }
        if wcs is not None:
            x, y = (side.start + len(side) / 2 - 0.5 for side in (one.columns, one.rows))
            entry["ra"], entry["dec"] = (round(float(value), 7) for value in wcs.wcs_pix2world(x, y, 0))
        tiles.append(entry)
    facts = {"field": asdict(made.plan), "bands": list(made.info.band_names), "tiles": tiles}
    write_whole(made.folder / INDEX, json.dumps(facts, indent=1) + "\n")


def _require_sensible(painter: Painter, shape: tuple[int, int], tile: int, seed: int, noise: float) -> None:
    if min(shape) < 1:
        raise RequestError(f"shape {shape[0]}x{shape[1]}: ask for one row and one column of pixels at least")
    if tile < painter.halo:
        raise RequestError(
            f"--tile {tile} is less than the {painter.halo} pixels around a tile that {painter.name} makes it from; "
            f"ask for {painter.halo} at least, best for a multiple of {BLOCK}"
        )
    if seed < 0:
        raise RequestError(f"seed {seed}: ask for 0 or more")
    if not noise >= 0 or (noise != 1 and painter.noise is None):
        why = "ask for 0 or more" if painter.noise is not None else f"{painter.name} draws light and noise together"
        raise RequestError(f"noise {noise}: {why}")
