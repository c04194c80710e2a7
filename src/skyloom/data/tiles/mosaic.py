"""A field in a folder of tiles, read window by window: what `ingest` and the catalogue see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from skyloom.data.admission import Request
from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.data.detections import find_targets
from skyloom.data.mosaic import GRID, Window, cut, grid_targets, sky_meshes
from skyloom.data.readers.mosaic import DEFAULT_SIZE
from skyloom.data.source import Source
from skyloom.data.tiles.files import noise_of, read_tile
from skyloom.data.tiles.plan import TILES, Plan, planned
from skyloom.errors import RequestError, SourceError
from skyloom.sky.grid import overlap


@dataclass(frozen=True)
class TiledField:
    """A field on disk as a `data.mosaic.Mosaic`."""

    folder: Path
    plan: Plan
    info: SurveyInfo
    wcs: str | None

    @property
    def file(self) -> str:
        return str(self.folder)

    @property
    def name(self) -> str:
        return f"field-{self.plan.seed}"

    @property
    def bands(self) -> tuple[Band, ...]:
        return self.info.bands

    @property
    def shape(self) -> tuple[int, int]:
        return self.plan.shape

    @property
    def weighted(self) -> tuple[bool, ...]:
        return (False,) * len(self.bands)

    @property
    def rms(self) -> tuple[float, ...]:
        """Of the noise of the survey that was learnt from, per pixel and band, however strong the field's own is."""
        return noise_of(self.folder / TILES / self.plan.tile_at(0).name)

    def window(self, rows: slice, columns: slice) -> Window:
        """Pixels of a window that lies within the field."""
        flux = self.flux(rows, columns, range(len(self.bands)))
        return Window(flux, np.broadcast_to(np.float32(1), flux.shape))

    def flux(self, rows: slice, columns: slice, bands: Sequence[int]) -> Float32[np.ndarray, "c h w"]:
        """Flux of a window in some bands; a band may be asked for twice."""
        flux = np.empty((len(bands), rows.stop - rows.start, columns.stop - columns.start), np.float32)
        side = self.plan.tile
        for down in range(rows.start // side, -(-rows.stop // side)):
            for across in range(columns.start // side, -(-columns.stop // side)):
                tile = self.plan.tile_at(down * self.plan.grid[1] + across)
                to_rows, of_rows = overlap(range(rows.start, rows.stop), tile.rows)
                to_columns, of_columns = overlap(range(columns.start, columns.stop), tile.columns)
                flux[:, to_rows, to_columns] = read_tile(self.folder / TILES / tile.name, of_rows, of_columns, bands)
        return flux


def open_field(folder: str | Path) -> TiledField:
    """A field that `skyloom field` has made; RequestError if the folder holds none."""
    plan, info = planned(Path(folder))
    wcs = plan.wcs(info)
    return TiledField(Path(folder), plan, info, None if wcs is None else wcs.to_header_string())


def read_field(folder: Path, catalogue: Path | None, request: Request) -> Source:
    """A field as a survey: pieces side by side (catalogue "grid"), or cutouts about the sources that are detected."""
    if (catalogue is not None and str(catalogue) != GRID) or replace(request, size=None, skip_bad=False) != Request():
        raise RequestError(
            f"{folder} is a field that skyloom made and knows its pixel scale and zero points; leave out "
            "--pixel-scale, --zero-point, and any --catalogue but grid"
        )
    mosaic, size = open_field(folder), request.size or DEFAULT_SIZE
    if size > min(mosaic.shape):
        raise RequestError(f"--size {size} does not fit a field of {mosaic.shape[0]} × {mosaic.shape[1]} pixels")
    info = replace(
        mosaic.info, shape=(size, size), source=f"skyloom field, {mosaic.plan.weights}, seed {mosaic.plan.seed}"
    ).with_notes("Simulated: no pixel is real.")
    return Source(info, _cutouts(mosaic, size, pieces=catalogue is not None))


def _cutouts(mosaic: TiledField, size: int, pieces: bool) -> Iterator[Cutout]:
    meshes = sky_meshes(mosaic)
    targets = grid_targets(mosaic, size) if pieces else find_targets(mosaic, meshes)
    if not targets:
        raise SourceError(mosaic.file, "no source in it is brighter than the noise", "ingest it with --catalogue grid")
    yield from cut(mosaic, targets, size, meshes)
