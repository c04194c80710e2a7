"""A folder of JPEG or PNG pictures with a table of labels, as Galaxy Zoo gives them. Eight bits, and marked so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from skyloom.data.admission import Attempt, Piece, Request, admit
from skyloom.data.catalogues import Catalogue, read_catalogue, sound_rows
from skyloom.data.pictures import picture_files, read_picture
from skyloom.data.source import Quarantine, Source
from skyloom.errors import CatalogueError, RequestError, UnitError


def read_jpeg(source: Path, catalogue: Path | None, request: Request) -> Source:
    """Pictures named after their object, and the row of the table that has its GalaxyID or object_id.

    catalogue : without it, the one CSV in the folder; without that, the file names alone are the ids
    A picture is its own tile unless the table says otherwise, so that a split may deal it to any side.
    Raises UnitError if a zero point is asked for: a display stretch has none.
    """
    if request.zero_point:
        raise UnitError(f"{source}: pictures are in a display stretch and have no zero point; leave --zero-point out")
    files = picture_files(source)
    table = catalogue or _own_table(source)
    if table is None:
        attempts = _unlabelled(files)
        return admit(attempts, request, str(source), total=len(files), notes=["No table: the file names are the ids."])
    rows = read_catalogue(table)
    good, aside = sound_rows(rows, skip_bad=request.skip_bad)
    matched, missing, unused = _match(rows, good, files, request.skip_bad)
    notes = [f"Table: {table.name}.", *rows.notes]
    if unused:
        notes.append(
            f"{len(unused)} pictures are in no row of {table.name} and were not read, such as {unused[0].name}."
        )
    aside = [*aside, *missing]
    attempts = _labelled(rows, matched)
    return admit(attempts, request, str(source), quarantine=aside, total=len(matched) + len(aside), notes=notes)


def _own_table(source: Path) -> Path | None:
    tables = sorted(source.glob("*.csv")) if source.is_dir() else []
    if len(tables) > 1:
        raise RequestError(f"{source} holds {len(tables)} tables ({tables[0].name}, …); choose one with --catalogue")
    return tables[0] if tables else None


def _match(
    rows: Catalogue, good: Sequence[int], files: Sequence[Path], skip_bad: bool
) -> tuple[list[tuple[int, Path]], list[Quarantine], list[Path]]:
    """Rows with their pictures, rows without one, pictures without a row."""
    by_stem: dict[str, Path] = {}
    for file in files:
        if by_stem.setdefault(file.stem, file) != file:
            raise CatalogueError(f"{file} and {by_stem[file.stem]} are both named {file.stem!r}; rename one")
    matched: list[tuple[int, Path]] = []
    missing: list[Quarantine] = []
    for row in good:
        if rows.ids[row] in by_stem:
            matched.append((row, by_stem.pop(rows.ids[row])))
        elif skip_bad:
            missing.append(Quarantine(rows.ids[row], str(rows.path), row + 1, "no picture of this name"))
        else:
            raise CatalogueError(
                f"{rows.path}, row {row + 1}: no picture is named {rows.ids[row]!r}; add it, or give --skip-bad"
            )
    return matched, missing, sorted(by_stem.values())


def _unlabelled(files: Sequence[Path]) -> Iterator[Attempt]:
    for number, file in enumerate(files, 1):
        yield Attempt(file.stem, str(file), number, partial(_alone, file))


def _labelled(rows: Catalogue, matched: Sequence[tuple[int, Path]]) -> Iterator[Attempt]:
    columns = rows.columns_of([row for row, _ in matched])
    for (row, file), values in zip(matched, columns, strict=True):
        yield Attempt(rows.ids[row], str(file), row + 1, partial(_piece, rows, row, file, values))


def _alone(file: Path) -> Piece:
    return replace(read_picture(file, str(file)), tile=file.stem)


def _piece(rows: Catalogue, row: int, file: Path, values: dict[str, Any]) -> Piece:
    ra, dec = (None if place is None else float(place[row]) for place in (rows.ra, rows.dec))
    tile = file.stem if rows.tiles is None else rows.tiles[row]
    return replace(read_picture(file, str(file)), ra=ra, dec=dec, tile=tile, columns=values)
