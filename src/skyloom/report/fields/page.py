"""`field_page`: a field as a page to pan and zoom in, which opens without a server and without a network."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from skyloom import __version__
from skyloom.data.destination import drafted_folder, require_room
from skyloom.data.tiles.mosaic import TiledField, open_field
from skyloom.infer.fields.catalogue import CATALOGUE
from skyloom.report.bands import reference_band
from skyloom.report.destination import write_page
from skyloom.report.fields.colours import Colours, colours_of
from skyloom.report.fields.quadtree import SIDE, Node, Picture, Progress, draw, row_and_column
from skyloom.report.markup import Chapter, count, facts, frame, number, paragraph

PAGE, FOLDER = "index.html", "page"
HERE = Path(__file__).parent
LIBRARY = HERE.parent / "openseadragon"
SHOWN = 4000  # sources that are marked, the ones of highest S/N
QUALITY = 90  # of the JPEG tiles, with colours at full resolution
BYTES = 2.0  # of a pixel of the finest tiles, at most, with its share of the coarser ones
VIEWER = """<div class="field"><div class="sky">
<div class="view" role="region" aria-label="The field: drag or use the arrow keys to move, scroll or use + and − to
zoom"></div>
<canvas class="marks" aria-hidden="true"></canvas>
<div class="over buttons">
<button name="in" aria-label="Zoom in">+</button><button name="out" aria-label="Zoom out">−</button>
<button name="all">Whole field</button><button name="full">Full screen</button>
<label title="Shown when zoomed in"><input type="checkbox">Sources</label></div>
$compass<div class="over scale" role="img" aria-label="Scale bar"><b></b><i></i></div>
<div class="over place"></div>
</div></div>
<noscript><p>Moving about in the field needs JavaScript; the pictures lie in the folder page.</p></noscript>
<script type="application/json" id="field">$facts</script>
<script src="$folder/openseadragon.min.js"></script>
"""
COMPASS = """<div class="over compass" role="img" aria-label="North is up, east is left"><svg width="54" height="54"
viewBox="0 0 54 54"><path d="M44 48V16M44 48H14M40 21l4-7 4 7M19 44l-7 4 7 4" fill="none" stroke="#fff"
stroke-width="1.5"/><text x="44" y="10" fill="#fff" font-size="12" text-anchor="middle">N</text><text x="5" y="52"
fill="#fff" font-size="12" text-anchor="middle">E</text></svg></div>
"""


@dataclass(frozen=True)
class PageTiles:
    """The pictures of a page, as `quadtree.draw` asks for them: in the field's own pixels, the last row at the top."""

    field: TiledField
    colours: Colours
    folder: Path

    @property
    def depth(self) -> int:
        """The level in which a pixel is the field's; each coarser one has half as many, and level 0 one tile."""
        return max(0, -(-max(self.field.shape) // SIDE) - 1).bit_length()

    @property
    def roots(self) -> list[Node]:
        return [Node(0, 0)]

    def size(self, level: int) -> tuple[int, int]:
        """Rows and columns of pixels."""
        h, w = (-(-side // 2 ** (self.depth - level)) for side in self.field.shape)
        return h, w

    def holds(self, node: Node) -> bool:
        return all(SIDE * at < side for at, side in zip(row_and_column(node), self.size(node.level), strict=True))

    def drawn(self, node: Node) -> Picture:
        h, w = self.field.shape
        row, column = row_and_column(node)
        rows = slice(max(0, h - (row + 1) * SIDE), h - row * SIDE)
        columns = slice(column * SIDE, min(w, (column + 1) * SIDE))
        part = self.colours.picture(self.field.flux(rows, columns, self.colours.look.bands))[::-1]
        picture = np.zeros((SIDE, SIDE, 4), np.uint8)
        picture[: part.shape[0], : part.shape[1]] = part
        return picture

    def save(self, node: Node, picture: Picture) -> None:
        row, column = row_and_column(node)
        h, w = self.size(node.level)
        part = picture[: h - row * SIDE, : w - column * SIDE, :3]
        path = self.folder / str(node.level) / f"{row}_{column}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(part)).save(path, "JPEG", quality=QUALITY, subsampling=0)


def field_page(folder: str | Path, *, progress: Progress | None = None) -> Path:
    """Write a page on a field that `field` has made, into its folder, and return its path: index.html.

    It shows the field in three bands under one stretch, north up and east left, to pan and to zoom in, with position,
    scale bar and the SHOWN sources of highest S/N; its pictures, JPEG tiles that halve from level to level, and the
    viewer (OpenSeadragon) lie beside it in `page`. Nothing is loaded from elsewhere. Pictures that are there are left
    as they are. Tiles are drawn one at a time, so that memory does not grow with the field.
    Raises RequestError for a folder that holds no field, or an unfinished one, and for a disk that is too small.
    """
    field = open_field(folder)
    colours = colours_of(field)
    out = field.folder / FOLDER
    if not out.exists():
        require_room(field.folder, int(field.shape[0] * field.shape[1] * BYTES))
        with drafted_folder(out) as draft:
            draw(PageTiles(field, colours, draft), progress, "pictures")
            shutil.copy(LIBRARY / "openseadragon.min.js", draft)
            shutil.copy(LIBRARY / "LICENSE.txt", draft / "openseadragon.LICENSE.txt")
    page = field.folder / PAGE
    write_page(page, _html(PageTiles(field, colours, out)))
    return page


def _html(tiles: PageTiles) -> str:
    field = tiles.field
    total, marked = _sources(field)
    view = VIEWER.replace("$compass", COMPASS if field.info.pixel_scale is not None else "")
    view = view.replace("$folder", FOLDER).replace("$facts", _inline(_facts(tiles, marked)))
    chapters = [
        Chapter("Look", view + paragraph(*_told(tiles, total, len(marked)))),
        Chapter("What it is", facts(_pairs(tiles, total))),
        Chapter("Made with", paragraph(
            f"skyloom {__version__}; the viewer is <a href=\"{FOLDER}/openseadragon.LICENSE.txt\">OpenSeadragon</a>, "
            "BSD-3-Clause."
        )),
    ]  # fmt: skip
    h, w = field.shape
    size = _angles(field)
    lead = (
        f"{w:,} × {h:,} pixels{f', {size},' if size else ''} made by {escape(field.plan.weights)} from seed "
        f"{field.plan.seed}. <b>Simulated: no pixel is real.</b>"
    )
    style, script = ((HERE / f"viewer.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return frame("A made field", lead, chapters, f"skyloom {__version__}", style=style, script=script)


def _facts(tiles: PageTiles, marked: list[list[Any]]) -> dict[str, Any]:
    """What the page's script knows. sources : x, y, half-light radius [pixel], name, magnitude"""
    h, w = tiles.field.shape
    return {
        "width": w, "height": h, "tile": SIDE, "depth": tiles.depth, "scale": tiles.field.info.pixel_scale,
        "centre": tiles.field.plan.centre, "band": reference_band(tiles.field.info.band_names), "sources": marked,
    }  # fmt: skip


def _inline(value: dict[str, Any]) -> str:
    """JSON inside a page, where no text of it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _sources(field: TiledField) -> tuple[int, list[list[Any]]]:
    """How many the catalogue has, and those that are marked."""
    path, magnitude = field.folder / CATALOGUE, f"mag_{reference_band(field.info.band_names)}"
    known = magnitude in pq.read_schema(path).names
    order = np.argsort(-pq.read_table(path, columns=["snr"])["snr"].to_numpy(), kind="stable")
    names = ["x", "y", "half_light_radius", "object_id", *([magnitude] if known else [])]
    rows = pq.read_table(path, columns=names).take(np.sort(order[:SHOWN]))
    columns = [rows[name].to_pylist() for name in names] + ([] if known else [[None] * len(rows)])
    return len(order), [
        [*(_rounded(value, 2) for value in (x, y, radius)), name, _rounded(mag, 2)]
        for x, y, radius, name, mag in zip(*columns, strict=True)
    ]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, digits)


def _told(tiles: PageTiles, total: int, marked: int) -> list[str]:
    """What the viewer shows, in sentences."""
    names = [escape(tiles.field.info.band_names[band]) for band in tiles.colours.look.bands]
    which = "all" if marked == total else f"the {marked:,} of highest S/N among"
    return [
        f"Red, green and blue are {', '.join(names)}; white is the median colour of the sources, and the stretch is "
        "the same everywhere.",
        f"“Sources” marks {which} {count(total, 'source')} of the catalogue, once you are near; point at one for its "
        "name.",
        "Pixel (0, 0) is the centre of the first, lower left. Drag, scroll, double-click, or use the arrow keys, + and "
        "−.",
    ]


def _pairs(tiles: PageTiles, total: int) -> list[tuple[str, str]]:
    plan, info = tiles.field.plan, tiles.field.info
    pairs = [
        ("pixels", f"simulated; {plan.shape[0]:,} rows, {plan.shape[1]:,} columns"),
        ("bands", escape(", ".join(info.band_names))),
        ("weights", f"{escape(plan.weights)}, SHA-256 {escape(plan.hash)}"),
        ("learnt from", escape(info.source or "not stated")),
        ("seed", str(plan.seed)),
        ("noise", f"{plan.noise:g} times that of the survey learnt from"),
        ("sources found", f"{total:,}"),
    ]
    if info.pixel_scale is None:
        return [*pairs, ("pixel scale", "not known, so no position on the sky")]
    return [
        *pairs,
        ("pixel scale", f"{info.pixel_scale:g} arcsec"),
        ("centre", f"RA {number(plan.centre[0], 5)}°, Dec {number(plan.centre[1], 5)}° (ICRS), made up"),
    ]


def _angles(field: TiledField) -> str:
    """Width × height on the sky, in arcminutes; empty if not known."""
    if field.info.pixel_scale is None:
        return ""
    h, w = (f"{side * field.info.pixel_scale / 60:.3g}′" for side in field.shape)
    return f"{w} × {h}"
