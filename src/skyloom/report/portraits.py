"""Pictures of galaxies for a page: a colour composite with isophotes drawn over it and a bar that gives the scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.report.galaxies import Look, picture, png_uri
from skyloom.report.profiles import Ellipse, ellipses, shown_radii

BARS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)  # lengths of a scale bar [arcsec], or [pixel] without a pixel scale
LEAST = 12  # half the side of the smallest crop [pixel]


def crop(shape: tuple[int, int], x: float, y: float, half: float) -> tuple[slice, slice]:
    """Rows and columns of a square about a position, moved and if need be shrunk to lie within the cutout [pixel]."""
    side = int(min(2 * max(half, LEAST), *shape))
    centre = [n / 2 if not np.isfinite(p) else p for p, n in zip((y, x), shape, strict=True)]
    corners = [int(np.clip(round(p + 0.5 - side / 2), 0, n - side)) for p, n in zip(centre, shape, strict=True)]
    rows, columns = (slice(corner, corner + side) for corner in corners)
    return rows, columns


def portrait(
    cutout: Cutout,
    look: Look,
    info: SurveyInfo,
    row: Mapping[str, Any] | None = None,
    *,
    half: float | None = None,
    side: int = 128,
    drawn: bool = False,
) -> str:
    """One galaxy as an `<svg>`; with its isophotes if `drawn`, the one of half light apart.

    row : its profile, which centres and crops the picture; half : half the side of the crop, instead [pixel]
    side : of the picture at most [pixel]; a larger crop is binned
    """
    scale = info.pixel_scale
    if half is None and row is not None and row["sma"]:
        half = 1.15 * row["sma"][-1] / (scale or 1.0)
    x, y = (row["x"], row["y"]) if row is not None and row["sma"] else (info.shape[1] // 2, info.shape[0] // 2)
    box = crop(info.shape, x, y, half or max(info.shape) / 2)
    box = _whole_bins(box, side)
    size = box[0].stop - box[0].start
    marks = isophote_marks(row, info, cutout.wcs, box) if drawn and row is not None else ""
    image = f'<image href="{png_uri(picture(cutout, look, box, side))}" width="{size}" height="{size}"/>'
    head = f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{escape(cutout.object_id)}">'
    return f"{head}{image}{marks}{scale_bar(size, scale)}</svg>"


def _whole_bins(box: tuple[slice, slice], side: int) -> tuple[slice, slice]:
    """The box cut down to a whole number of the bins that `picture` will make."""
    size = box[0].stop - box[0].start
    size -= size % max(1, -(-size // side))
    rows, columns = (slice(edge.start, edge.start + size) for edge in box)
    return rows, columns


def isophote_marks(row: Mapping[str, Any], info: SurveyInfo, wcs: str | None, box: tuple[slice, slice]) -> str:
    """Isophotes as SVG ellipses over a crop whose first row is at the bottom."""
    thin = [mark(ellipse, box, "#ffffff", 0.9) for ellipse in ellipses(row, info.pixel_scale, wcs, shown_radii(row))]
    bold = [mark(ellipse, box, "#ff9f43", 1.6) for ellipse in ellipses(row, info.pixel_scale, wcs, [row["r_e"]])]
    return "".join(thin + bold)


def mark(ellipse: Ellipse, box: tuple[slice, slice], colour: str, width: float) -> str:
    x, y = ellipse.x + 0.5 - box[1].start, box[0].stop - (ellipse.y + 0.5)
    return (
        f'<ellipse cx="{x:.2f}" cy="{y:.2f}" rx="{ellipse.a:.2f}" ry="{ellipse.b:.2f}" '
        f'transform="rotate({-ellipse.angle:.2f} {x:.2f} {y:.2f})" fill="none" stroke="{colour}" '
        f'stroke-width="{width}" stroke-opacity=".85" vector-effect="non-scaling-stroke"/>'
    )


def scale_bar(size: int, pixel_scale: float | None) -> str:
    """A bar of a round length, about a quarter of the picture's width, with its length written over it."""
    width = size * (pixel_scale or 1.0)
    length = min(BARS, key=lambda bar: abs(np.log(bar / (0.22 * width))))
    long, left, low = length / (pixel_scale or 1.0), 0.05 * size, 0.94 * size
    name = f"{length:g}{'″' if pixel_scale else ' px'}"
    return (
        f'<path d="M{left:.2f} {low:.2f}h{long:.2f}" stroke="#fff" stroke-width="1.6" '
        f'vector-effect="non-scaling-stroke"/>'
        f'<text x="{left:.2f}" y="{low - 0.025 * size:.2f}" font-size="{0.075 * size:.2f}">{name}</text>'
    )


def tiles(pictures: Iterable[tuple[str, str, str]]) -> str:
    """A grid of pictures: (HTML, what a pointer resting on it reads, caption or "")."""
    cells = (
        f'<div class="tile" title="{escape(hint)}">{svg}{f"<span>{escape(caption)}</span>" if caption else ""}</div>'
        for svg, hint, caption in pictures
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def largest(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The rows with the largest radius of 26 mag/arcsec², first the largest; by R_e or their end if none."""
    return sorted((row for row in rows if row["sma"]), key=lambda row: -_size(row))[:count]


def _size(row: Mapping[str, Any]) -> float:
    sizes = (row.get("r_26"), row["r_e"], row["sma"][-1])
    return next((size for size in sizes if size is not None and np.isfinite(size)), 0.0)
