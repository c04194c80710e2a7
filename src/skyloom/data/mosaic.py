"""An image far larger than a cutout, read window by window: its sky in a mesh, and cutouts at positions on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from skyloom.data.cutout import Band, Cutout
from skyloom.data.headers import shift_cards
from skyloom.data.source import Quarantine
from skyloom.errors import CutoutError, SourceError
from skyloom.sky.background import Mesh, mesh, mesh_row

GRID = "grid"  # in place of a catalogue: pieces side by side that cover the mosaic
CELL = 256  # side of a cell of the sky mesh [pixel]
BLOCK = 512  # side of the blocks that objects are assigned to, as their `tile` [pixel]
BUDGET = 24_000_000  # pixels, of all bands together, held at once: 0.5 GB with their weights and copies


class Window(NamedTuple):
    """Pixels of a mosaic. weight : inverse variance, or 1 where the band states none; 0 where the pixel is bad."""

    flux: Float32[np.ndarray, "c h w"]
    weight: Float32[np.ndarray, "c h w"]


@runtime_checkable
class Mosaic(Protocol):
    """C aligned bands on one pixel grid that may not fit in memory.

    file : to name in errors; name : to name objects by
    weighted : of each band, whether it states its inverse variance
    wcs : FITS header cards, or None
    """

    @property
    def file(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def bands(self) -> tuple[Band, ...]: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def weighted(self) -> tuple[bool, ...]: ...

    @property
    def wcs(self) -> str | None: ...

    def window(self, rows: slice, columns: slice) -> Window:
        """Pixels of a window that lies within the mosaic."""
        ...


@dataclass(frozen=True)
class Target:
    """A position to cut at.

    x, y : [pixel]; ra, dec : ICRS [deg]; row : of the catalogue, from 1; columns : what travels along
    """

    object_id: str
    x: float
    y: float
    ra: float | None = None
    dec: float | None = None
    row: int | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


def grid_targets(mosaic: Mosaic, size: int) -> list[Target]:
    """Pieces of `size` × `size` pixels side by side, in the middle of the mosaic; what fills none is left out."""
    (first_y, down), (first_x, across) = ((side % size // 2, side // size) for side in mosaic.shape)
    return [
        Target(f"{mosaic.name}-{row:03d}-{column:03d}", float(x), float(y), columns={"x": float(x), "y": float(y)})
        for row in range(down)
        for column in range(across)
        for x, y in [(first_x + column * size + size // 2, first_y + row * size + size // 2)]
    ]


def sky_meshes(mosaic: Mosaic) -> list[Mesh]:
    """Sky level and rms of each band in cells of CELL pixels; SourceError if no band has a good pixel."""
    height, width = mosaic.shape
    rows: list[list[np.ndarray]] = [[] for _ in mosaic.bands]
    for y in range(0, height, CELL):
        window = mosaic.window(slice(y, min(y + CELL, height)), slice(0, width))
        for band, flux, weight in zip(rows, *window, strict=True):
            band.append(mesh_row(flux, weight, CELL))
    meshes = [mesh(band, CELL) for band in rows]
    if not any(np.isfinite(one.level).any() for one in meshes):
        raise SourceError(
            mosaic.file, "no pixel of any band is finite and has weight", "give an image with data, or other weights"
        )
    return meshes


def cut(
    mosaic: Mosaic,
    targets: Sequence[Target],
    size: int,
    meshes: Sequence[Mesh],
    quarantine: list[Quarantine] | None = None,
) -> Iterator[Cutout]:
    """Cutouts of `size` × `size` pixels about each target, in the order in which their rows lie in the mosaic.

    The object's pixel, rounded, becomes pixel (size // 2, size // 2). Pixels beyond the mosaic are NaN with ivar 0.
    A band without weights gets ivar 1/rms² of its sky mesh at the object, one number per cutout.
    A cutout that breaks its rules is raised, or listed in `quarantine` if there is one.
    """
    height, width = mosaic.shape
    ordered = sorted(targets, key=lambda target: (_corner(target.y, size), _corner(target.x, size), target.object_id))
    step = max(size, BUDGET // (len(mosaic.bands) * width) - size)
    first = 0
    while first < len(ordered):
        top = _corner(ordered[first].y, size)
        last = first
        while last < len(ordered) and _corner(ordered[last].y, size) < top + step:
            last += 1
        rows = slice(max(top, 0), min(_corner(ordered[last - 1].y, size) + size, height))
        window = mosaic.window(rows, slice(0, width))
        for target in ordered[first:last]:
            try:
                yield _cutout(mosaic, target, window, rows.start, size, meshes)
            except CutoutError as error:
                if quarantine is None:
                    raise
                quarantine.append(Quarantine(target.object_id, mosaic.file, target.row, str(error)))
        first = last


def _corner(centre: float, size: int) -> int:
    """First pixel of the window whose pixel size // 2 is the one that the centre falls on."""
    return int(np.floor(centre + 0.5)) - size // 2


def _cutout(mosaic: Mosaic, target: Target, strip: Window, first_row: int, size: int, meshes) -> Cutout:
    left, top = _corner(target.x, size), _corner(target.y, size)
    sky, rms = np.array([one.at(np.array([target.x]), np.array([target.y])) for one in meshes])[:, :, 0].T
    flux = _padded(strip.flux, top - first_row, left, size, np.float32(np.nan))
    ivar = _padded(strip.weight, top - first_row, left, size, np.float32(0))
    for band, (weighted, noise) in enumerate(zip(mosaic.weighted, rms, strict=True)):
        if not weighted:
            ivar[band] *= noise**-2.0 if noise > 0 else 0
    return Cutout(
        target.object_id,
        flux,
        ivar,
        ra=target.ra,
        dec=target.dec,
        tile=f"{mosaic.name}-{int(target.y) // BLOCK}-{int(target.x) // BLOCK}",
        wcs=shift_cards(mosaic.wcs, left, top),
        sky=sky.astype(np.float32),
        sky_rms=rms.astype(np.float32),
        columns=target.columns,
    )


def _padded(strip: Float32[np.ndarray, "c h w"], top: int, left: int, size: int, fill: np.float32) -> np.ndarray:
    """The window of `size` × `size` pixels whose first is (left, top) of the strip, with `fill` beyond its edges."""
    out = np.full((len(strip), size, size), fill, np.float32)
    rows, columns = (
        slice(max(start, 0), min(start + size, n)) for start, n in zip((top, left), strip.shape[1:], strict=True)
    )
    out[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = strip[:, rows, columns]
    return out
