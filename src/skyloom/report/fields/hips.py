"""`hips`: a field as a HiPS, the hierarchy of HEALPix tiles that Aladin and other clients of the VO show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy_healpix import healpix_to_lonlat
from jaxtyping import Float64, Int64
from PIL import Image
from scipy.ndimage import map_coordinates

from skyloom import __version__
from skyloom.data.destination import drafted_folder, require_room
from skyloom.data.tiles.mosaic import TiledField, open_field
from skyloom.data.tiles.plan import RECORD
from skyloom.errors import RequestError
from skyloom.report.fields.colours import Colours, colours_of
from skyloom.report.fields.quadtree import SIDE, Node, Picture, Progress, draw, halved, place_of

FOLDER = "hips"
BITS = 9  # of the row and of the column of a pixel in its tile
COARSER = 1.05  # by which a tile's pixels may be larger than the field's
MARGIN = 12  # pixels around those that a tile is read from, which the spline needs to forget the edge
COVERAGE = 4  # levels between the finest tiles and those whose pixels are the cells of the MOC
FIRST, ALLSKY = 3, 64  # order that Allsky is made of, and the side of its tiles [pixel]
BYTES = 4.5  # of a pixel of the finest tiles, at most, with its share of the coarser ones; noise hardly compresses


@dataclass(frozen=True)
class HipsTiles:
    """The tiles of a HiPS, as `quadtree.draw` asks for them. depth : the finest order"""

    field: TiledField
    colours: Colours
    folder: Path
    depth: int

    @property
    def roots(self) -> list[Node]:
        return [Node(0, place) for place in range(12)]

    @cached_property
    def wcs(self) -> WCS:
        return _wcs(self.field)

    @cached_property
    def radius(self) -> float:
        """Of the circle about the field [rad]."""
        h, w = self.field.shape
        ra, dec = self.wcs.wcs_pix2world([-0.5, w - 0.5, -0.5, w - 0.5], [-0.5, -0.5, h - 0.5, h - 0.5], 0)
        return float(_distance(ra, dec, *self.wcs.wcs.crval).max())

    def holds(self, node: Node) -> bool:
        """A circle about the tile meets one about the field; of the finest tiles, also their outline the field."""
        middle = np.array(0.5)
        apart = _distance(*_positions(node, middle, middle), *self.wcs.wcs.crval)
        if apart > self.radius + 1.1 * np.sqrt(np.pi / 3) / 2**node.level:  # 1.07/nside is the longest way to a corner
            return False
        if node.level < self.depth:
            return True
        nine = np.linspace(0, 1, 9)
        spans = zip(self._pixels(node, nine[:, None], nine), self.field.shape[::-1], strict=True)
        return all(at.min() - 0.1 * np.ptp(at) < side and at.max() + 0.1 * np.ptp(at) > -1 for at, side in spans)

    def drawn(self, node: Node) -> Picture | None:
        """Flux is read by a cubic spline at the centres of the tile's pixels, then coloured."""
        centres = (np.arange(SIDE) + 0.5) / SIDE
        x, y = self._pixels(node, centres[:, None], centres)
        h, w = self.field.shape
        inside = (x > -0.5) & (x < w - 0.5) & (y > -0.5) & (y < h - 0.5)
        if not inside.any():
            return None
        rows, columns = _around(y[inside], h), _around(x[inside], w)
        flux = self.field.flux(rows, columns, self.colours.look.bands)
        at = np.array([y[inside] - rows.start, x[inside] - columns.start])
        there = np.zeros((len(flux), SIDE, SIDE))
        for band, image in zip(there, flux, strict=True):
            band[inside] = map_coordinates(image, at, order=3, mode="nearest", output=np.float64)
        return self.colours.picture(there, inside)

    def save(self, node: Node, picture: Picture) -> None:
        path = tile_path(self.folder, node)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path, "PNG")

    def _pixels(self, node: Node, down: Float64[np.ndarray, "*h 1"], across: Float64[np.ndarray, "w"]):
        """x and y in the field of places in a tile, which are 0 to 1."""
        ra, dec = _positions(node, down, across)
        x, y = self.wcs.wcs_world2pix(ra.ravel(), dec.ravel(), 0)
        return x.reshape(ra.shape), y.reshape(ra.shape)


def hips(folder: str | Path, *, progress: Progress | None = None) -> Path:
    """Write a HiPS of a field that `field` has made, into its folder, and return its own: what Aladin opens.

    PNG tiles of 512 × 512 pixels in colour, transparent outside the field, from order 0 to the first whose pixels are
    no larger than the field's; `properties`, `Moc.fits`, and an Allsky file. Three bands are shown, as in a report,
    under one stretch. Tiles are drawn one at a time from the window that they lie on, so that memory does not grow
    with the field. One that is there is left as it is: it is whole, or not there at all.
    Raises RequestError for a folder that holds no field, or an unfinished one; for one without a pixel scale, which has
    no place on the sky; and for a disk that is too small.
    Source: Fernique et al. 2017, IVOA Recommendation HiPS 1.0; Górski et al. 2005, ApJ 622, 759.
    """
    field = open_field(folder)
    out = field.folder / FOLDER
    if out.exists():
        return out
    order, colours = order_of(field), colours_of(field)
    require_room(field.folder, int(_pixels_of(field, order) * BYTES))
    with drafted_folder(out) as draft:
        tiles = HipsTiles(field, colours, draft, order)
        draw(tiles, progress, "HiPS")
        _write_allsky(draft)
        cells = coverage(draft, order)
        _write_moc(draft / "Moc.fits", cells)
        (draft / "properties").write_text(_properties(tiles, cells), encoding="utf-8")
    return out


def order_of(field: TiledField) -> int:
    """The first order whose pixels are no larger than the field's; RequestError if it has no place on the sky."""
    _wcs(field)
    assert field.info.pixel_scale is not None
    pixel = np.radians(field.info.pixel_scale / 3600)
    return max(FIRST, int(np.ceil(np.log2(np.sqrt(np.pi / 3) / (COARSER * pixel)))) - BITS)


def _wcs(field: TiledField) -> WCS:
    wcs = field.plan.wcs(field.info)
    if wcs is None:
        raise RequestError(
            f"{field.folder} has no pixel scale, so no place on the sky, and a HiPS needs one; sl.field_page shows it "
            "without, or learn from a survey ingested with --pixel-scale"
        )
    return wcs


def _pixels_of(field: TiledField, order: int) -> float:
    """How many pixels of the finest tiles a field covers."""
    assert field.info.pixel_scale is not None
    ratio = np.radians(field.info.pixel_scale / 3600) / (np.sqrt(np.pi / 3) / 2 ** (order + BITS))
    return field.shape[0] * field.shape[1] * float(ratio) ** 2


def tile_path(folder: Path, node: Node) -> Path:
    return folder / f"Norder{node.level}" / f"Dir{node.place // 10000 * 10000}" / f"Npix{node.place}.png"


def _positions(node: Node, down, across):
    """Right ascension and declination [deg] of places in a HEALPix cell: along its north-east and north-west side."""
    down, across = np.broadcast_arrays(down, across)
    lon, lat = healpix_to_lonlat(np.full(down.shape, node.place), 1 << node.level, dx=down, dy=across, order="nested")
    return lon.deg, lat.deg


def _distance(ra, dec, ra0: float, dec0: float):
    """Between positions in degrees [rad]."""
    ra, dec, ra0, dec0 = map(np.radians, (ra, dec, ra0, dec0))
    chord = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    return 2 * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))


def _around(at: Float64[np.ndarray, "n"], side: int) -> slice:
    """Where a window must lie that is read at these places."""
    return slice(max(0, int(at.min()) - MARGIN), min(side, int(at.max()) + MARGIN + 2))


def _tiles_in(folder: Path, order: int) -> Iterable[tuple[int, Path]]:
    """Numbers and files of the tiles of an order."""
    return sorted((int(path.stem[4:]), path) for path in (folder / f"Norder{order}").glob("Dir*/Npix*.png"))


def _write_allsky(folder: Path) -> None:
    """All tiles of an order, small, side by side: what a client shows first."""
    count = 12 * 4**FIRST
    across = int(np.sqrt(count))
    sheet = Image.new("RGBA", (across * ALLSKY, -(-count // across) * ALLSKY))
    for number, path in _tiles_in(folder, FIRST):
        with Image.open(path) as tile:
            small = np.asarray(tile)
        while len(small) > ALLSKY:
            small = halved(small)
        sheet.paste(Image.fromarray(small), (number % across * ALLSKY, number // across * ALLSKY))
    sheet.save(folder / f"Norder{FIRST}" / "Allsky.png")


def coverage(folder: Path, order: int) -> list[Int64[np.ndarray, "n"]]:
    """HEALPix cells, by order, that have a pixel of the field in them; four of which make one are one."""
    level = max(0, order - COVERAGE)
    found = [np.zeros(0, np.int64)]
    for number, path in _tiles_in(folder, level):
        with Image.open(path) as tile:
            row, column = np.nonzero(np.asarray(tile)[..., 3])
        found.append((number << 2 * BITS) + place_of(row, column, BITS))
    cells, by_order = np.sort(np.concatenate(found)), []
    for _ in range(level + BITS):
        parents, counts = np.unique(cells >> 2, return_counts=True)
        whole = parents[counts == 4]
        by_order.append(cells[~np.isin(cells >> 2, whole)])
        cells = whole
    return [cells, *reversed(by_order)]


def _write_moc(path: Path, cells: list[Int64[np.ndarray, "n"]]) -> None:
    """Source: Fernique et al. 2022, IVOA Recommendation MOC 2.0, §4.2: cells of all orders, each number unique."""
    unique = np.concatenate([(4 << 2 * order) + numbers for order, numbers in enumerate(cells)])
    table = fits.BinTableHDU.from_columns([fits.Column("UNIQ", "1K", array=unique)])
    for key, value in {
        "PIXTYPE": "HEALPIX", "ORDERING": "NUNIQ", "COORDSYS": "C", "MOCVERS": "2.0", "MOCDIM": "SPACE",
        "MOCORDER": len(cells) - 1, "MOCORD_S": len(cells) - 1, "MOCTOOL": f"skyloom {__version__}",
    }.items():  # fmt: skip
        table.header[key] = value
    table.writeto(path)


def _properties(tiles: HipsTiles, cells: list[Int64[np.ndarray, "n"]]) -> str:
    """The record of a HiPS, with all that the standard requires."""
    plan, info = tiles.field.plan, tiles.field.info
    names = [info.band_names[band] for band in tiles.colours.look.bands]
    digest = sha256((tiles.field.folder / RECORD).read_bytes()).hexdigest()[:16]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ")
    fraction = sum(len(numbers) / (12 * 4**order) for order, numbers in enumerate(cells))
    facts = {
        "creator_did": f"ivo://PRIVATE_USER/P/skyloom/field/{digest}",
        "obs_title": f"Made field: {plan.weights}, seed {plan.seed}",
        "obs_collection": "skyloom",
        "obs_description": (
            f"Simulated: no pixel was observed, and the position is made up. {plan.shape[0]} x {plan.shape[1]} pixels "
            f"by the weights {plan.weights} ({plan.hash}), seed {plan.seed}, noise {plan.noise:g} times the survey's."
        ),
        "prov_progenitor": info.source or info.citation or "not stated",
        "dataproduct_type": "image",
        "dataproduct_subtype": "color",
        "hips_rgb_red": names[0],
        "hips_rgb_green": names[1],
        "hips_rgb_blue": names[2],
        "hips_builder": f"skyloom {__version__}",
        "hips_version": "1.4",
        "hips_creation_date": now,
        "hips_release_date": now,
        "hips_status": "private master clonable",
        "hips_tile_format": "png",
        "hips_tile_width": SIDE,
        "hips_order": tiles.depth,
        "hips_order_min": 0,
        "hips_frame": "equatorial",
        "hips_initial_ra": f"{plan.centre[0]:.7f}",
        "hips_initial_dec": f"{plan.centre[1]:.7f}",
        "hips_initial_fov": f"{np.degrees(2 * tiles.radius):.7f}",
        "s_pixel_scale": f"{np.degrees(np.sqrt(np.pi / 3)) / 2 ** (tiles.depth + BITS):.6g}",
        "moc_sky_fraction": f"{fraction:.6g}",
        "moc_order": len(cells) - 1,
    }
    return "".join(f"{key:<20} = {' '.join(str(value).split())}\n" for key, value in facts.items())
