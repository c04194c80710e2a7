"""A text table of objects without images: catalogues of numbers, or light curves and profiles, a row per point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from skyloom.data.admission import Request
from skyloom.data.catalogues import Catalogue, read_catalogue
from skyloom.data.cutout import NO_IMAGES, Band, Cutout, SurveyInfo
from skyloom.data.source import Quarantine, Source
from skyloom.errors import CatalogueError, RequestError


def read_table(source: Path, catalogue: Path | None, request: Request) -> Source:
    """Objects of a CSV or ECSV file, each with one bad pixel for an image.

    Rows with one object_id are one object: what is the same in all its rows is one value, what is not a list, in the
    order of the rows. An object without a position is its own tile, so that a split may deal it to any side.
    Raises CatalogueError for a row without an id, or an object in two places; RequestError for options about pixels.
    """
    if catalogue is not None or request.size is not None or request.pixel_scale is not None or request.zero_point:
        raise RequestError(
            f"{source} is a table without images; leave out --catalogue, --size, --pixel-scale and --zero-point, or "
            "give the images as SOURCE and the table as --catalogue"
        )
    rows = read_catalogue(source)
    members, aside = _members(rows, request.skip_bad)
    notes = ["No images: objects are rows of a table.", *rows.notes]
    info = SurveyInfo((Band("none"),), NO_IMAGES, source=str(source.name), notes=tuple(notes))
    return Source(info, _objects(rows, members), aside, len(members))


def _members(rows: Catalogue, skip_bad: bool) -> tuple[dict[str, list[int]], list[Quarantine]]:
    """The rows of each object, in the order of their first, and rows without an id or in two places."""
    found: dict[str, list[int]] = {}
    aside = []
    for row, name in enumerate(rows.ids):
        reason = _fault(rows, row, found.get(name, [row])[0])
        if reason is None:
            found.setdefault(name, []).append(row)
        elif skip_bad:
            aside.append(Quarantine(name, str(rows.path), row + 1, reason))
        else:
            raise CatalogueError(f"{rows.path}, row {row + 1}: {reason}; correct it, or --skip-bad sets it aside")
    return found, aside


def _fault(rows: Catalogue, row: int, first: int) -> str | None:
    if not rows.ids[row]:
        return "the object_id is blank"
    if rows.ra is None or rows.dec is None:
        return None
    here, there = (rows.ra[row], rows.dec[row]), (rows.ra[first], rows.dec[first])
    if not (0 <= here[0] <= 360 and -90 <= here[1] <= 90):
        return f"the position ra={here[0]:g}, dec={here[1]:g} of {rows.ids[row]!r} is not within 0…360 and −90…90 deg"
    if here != there:
        return f"{rows.ids[row]!r} is at ra={here[0]:g}, dec={here[1]:g}, and in row {first + 1} it is elsewhere"
    return None


def _objects(rows: Catalogue, members: Mapping[str, Sequence[int]]) -> Iterator[Cutout]:
    lists = {name for name in rows.table.column_names if _varies(rows.table[name], list(members.values()))}
    pixel = np.zeros((1, *NO_IMAGES), np.float32)
    sky = np.full(1, np.nan, np.float32)
    for name, some in members.items():
        table = rows.table.take(pa.array(some))
        columns: dict[str, Any] = {
            column: table[column].to_pylist() if column in lists else table[column][0].as_py()
            for column in table.column_names
        }
        ra = None if rows.ra is None else float(rows.ra[some[0]])
        dec = None if rows.dec is None else float(rows.dec[some[0]])
        tile = rows.tiles[some[0]] if rows.tiles else ("" if ra is not None else name)
        yield Cutout(name, pixel, pixel, ra, dec, tile, sky=sky, sky_rms=sky, columns=columns)


def _varies(column: pa.ChunkedArray, members: Sequence[Sequence[int]]) -> bool:
    """Whether some object has two values of it."""
    codes: Int[np.ndarray, "n"] = np.asarray(
        column.dictionary_encode(null_encoding="encode").combine_chunks().indices
        if not pa.types.is_nested(column.type)
        else np.arange(len(column))
    )
    return any((codes[some] != codes[some[0]]).any() for some in members if len(some) > 1)
