"""A folder of FITS cutouts, one object after the other: cubes, one HDU per band, or one file per band."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.io import fits
from pyarrow import parquet

from skyloom.data.admission import FROM_PLACE, ROUNDED, Attempt, Piece, Request, admit
from skyloom.data.catalogues import Catalogue, read_catalogue, sound_rows
from skyloom.data.cutout import SurveyInfo
from skyloom.data.fields import KEY
from skyloom.data.filenames import ObjectFiles, companions, group, stem_of
from skyloom.data.headers import FITS_SUFFIXES, sky_position
from skyloom.data.planes import read_stack
from skyloom.data.source import Quarantine, Source
from skyloom.errors import CatalogueError, CutoutError, SkyloomError, SourceError

LOOK_AHEAD = 500  # headers read before the first pixel, to find sizes that differ while it costs nothing
OWN_CATALOGUES = ("catalogue.parquet", "catalogue.ecsv", "catalogue.fits", "catalogue.csv")
BY_CENTRE = "No positions in a catalogue: ra and dec are those of the central pixel by the WCS."


class Entry(NamedTuple):
    """One object to read: its files, the HDU if only one is meant, and what its row of the catalogue says."""

    found: ObjectFiles
    hdu: int | None = None
    ra: float | None = None
    dec: float | None = None
    tile: str | None = None
    row: int | None = None


def fits_files(folder: Path) -> list[Path]:
    """Every FITS file below a folder, in the order of their names, without a catalogue of its own or hidden files."""
    found = (file for file in folder.rglob("*") if file.name.lower().endswith(FITS_SUFFIXES) and file.is_file())
    return sorted(file for file in found if file.name not in OWN_CATALOGUES and not file.name.startswith("."))


def own_catalogue(folder: Path) -> Path | None:
    """The catalogue that lies in the folder itself under the name that `export` gives it."""
    return next((folder / name for name in OWN_CATALOGUES if (folder / name).is_file()), None)


def read_cutouts(source: Path, catalogue: Path | None, request: Request) -> Source:
    """Cutouts of a folder, or of one file. Raises at the first bad object, unless request.skip_bad.

    catalogue : object_id and whatever else; ra, dec; file_loc relative to the folder, `name.fits[2]` for one HDU
    """
    folder = source if source.is_dir() else source.parent
    files = fits_files(source) if source.is_dir() else [source]
    catalogue = catalogue or (own_catalogue(source) if source.is_dir() else None)
    if not files:
        raise SourceError(source, "no FITS file in this folder", f"give a folder with {', '.join(FITS_SUFFIXES)} files")
    if catalogue is None:
        objects, left = group(files)
        entries, rows, notes = [Entry(found) for found in objects], None, ["No catalogue: the file names are the ids."]
        aside: list[Quarantine] = []
    else:
        rows = read_catalogue(catalogue)
        good, aside = sound_rows(rows, skip_bad=request.skip_bad)
        entries, missing, left = _entries(rows, good, folder, files, request.skip_bad)
        aside, notes = [*aside, *missing], [f"Catalogue: {catalogue.name}.", *rows.notes]
    if left:
        notes.append(f"{len(left)} files of the folder belong to no object and were not read, such as {left[0].name}.")
    if request.size is None:
        _require_one_size(entries, source)
    attempts = _attempts(entries, rows)
    total = len(entries) + len(aside)
    opened = admit(attempts, request, str(source), quarantine=aside, total=total, notes=notes)
    return opened if catalogue is None else opened._replace(info=_with_story(opened.info, catalogue))


def _with_story(info: SurveyInfo, catalogue: Path) -> SurveyInfo:
    """Source, citation, licence and notes as they were before an export, if the catalogue came from one."""
    told = parquet.read_schema(catalogue).metadata if catalogue.suffix == ".parquet" else None
    if not told or KEY not in told:
        return info
    before = SurveyInfo.from_json(told[KEY].decode())
    return replace(info, source=before.source, citation=before.citation, licence=before.licence, notes=before.notes)


def _attempts(entries: Sequence[Entry], rows: Catalogue | None) -> Iterator[Attempt]:
    used = [entry.row for entry in entries if entry.row is not None]
    columns = rows.columns_of(used) if rows is not None else ({} for _ in entries)
    for number, (entry, values) in enumerate(zip(entries, columns, strict=True), 1):
        file = next(file for roles in entry.found.files.values() for file in roles.values())
        row = number if entry.row is None else entry.row + 1
        travelling = {name: value for name, value in values.items() if name != "file_loc"}
        yield Attempt(entry.found.object_id, str(file), row, partial(_piece, entry, travelling))


def _piece(entry: Entry, columns: dict[str, Any]) -> Piece:
    stack = read_stack(entry.found.files, entry.hdu)
    ra, dec = entry.ra, entry.dec
    if ra is None and stack.wcs is not None:
        height, width = stack.flux.shape[1:]
        ra, dec = sky_position(stack.wcs, width // 2, height // 2)
    by_centre = entry.ra is None and ra is not None
    remarks = ((by_centre, BY_CENTRE), (not stack.named, FROM_PLACE), (stack.rounded, ROUNDED))
    notes = [remark for said, remark in remarks if said]
    return Piece(
        stack.bands,
        stack.flux,
        stack.ivar,
        stack.bad,
        pixel_scale=stack.pixel_scale,
        wcs=stack.wcs,
        ra=ra if ra is None or np.isfinite(ra) else None,
        dec=dec if dec is None or np.isfinite(dec) else None,
        tile=entry.tile if entry.tile is not None else str(stack.facts.get("TILE", stack.facts.get("BRICK", ""))),
        sky=stack.sky,
        sky_rms=stack.sky_rms,
        columns=columns,
        notes=tuple(notes),
    )


def _entries(
    rows: Catalogue, good: Sequence[int], folder: Path, files: Sequence[Path], skip_bad: bool
) -> tuple[list[Entry], list[Quarantine], list[Path]]:
    """An entry per sound row, rows whose files are missing, and files that no row names."""
    located = rows.table["file_loc"].to_pylist() if "file_loc" in rows.table.column_names else None
    by_name = {found.object_id: found for found in group(files)[0]} if located is None else {}
    maps = companions(files) if located is not None else {}
    entries, missing = [], []
    for row in good:
        object_id = rows.ids[row]
        found, hdu = by_name.get(object_id), None
        reason = f"no file of the folder is named after {object_id!r}"
        if located is not None:
            file, hdu, reason = _locate(located[row], folder, rows.path.parent)
            beside = {} if file is None else maps.get(file.with_name(stem_of(file)), {})
            found = None if file is None else ObjectFiles(object_id, {None: {"flux": file, **beside}})
        if found is None:
            if not skip_bad:
                raise CatalogueError(
                    f"{rows.path}, row {row + 1}: {reason}; add the file, or --skip-bad sets the row aside"
                )
            missing.append(Quarantine(object_id, str(rows.path), row + 1, reason))
            continue
        ra, dec = (None if values is None else float(values[row]) for values in (rows.ra, rows.dec))
        entries.append(Entry(found, hdu, ra, dec, None if rows.tiles is None else rows.tiles[row], row))
    named = {file for entry in entries for roles in entry.found.files.values() for file in roles.values()}
    return entries, missing, [file for file in files if file not in named]


def _locate(located: str | None, folder: Path, beside: Path) -> tuple[Path | None, int | None, str]:
    """The file and HDU that a row names, absolute or relative to the folder or the catalogue; or why there is none."""
    if not located:
        return None, None, "file_loc is blank"
    match = re.fullmatch(r"(.+?)(?:\[(\d+)\])?", located.strip())
    name, hdu = (match[1], match[2]) if match else (located, None)
    file = next((place / name for place in (folder, beside) if (place / name).is_file()), None)
    if file is None:
        return None, None, f"file_loc {located!r} is not in {folder}"
    return file, None if hdu is None else int(hdu), ""


def _require_one_size(entries: Sequence[Entry], source: Path) -> None:
    """CutoutError that lists the sizes, if the first LOOK_AHEAD images have more than one."""
    sizes: Counter[tuple[int, int]] = Counter()
    for entry in entries[:LOOK_AHEAD]:
        file = next(file for roles in entry.found.files.values() for role, file in roles.items() if role == "flux")
        size = _size_of(file, entry.hdu)
        if size is not None:
            sizes[size] += 1
    if len(sizes) > 1:
        listed = ", ".join(f"{w}×{h} ({n})" for (w, h), n in sorted(sizes.items())[:12])
        middle = sorted(min(size) for size in sizes.elements())[sum(sizes.values()) // 2]
        raise CutoutError(
            f"{source}: the images have {len(sizes)} sizes, width × height (how many): {listed}"
            f"{' …' if len(sizes) > 12 else ''}; give --size, such as {middle}: larger ones are cropped about their "
            "middle, smaller ones padded with pixels of ivar 0"
        )


def _size_of(file: Path, hdu: int | None) -> tuple[int, int] | None:
    """Width and height by the first image header; None where the file cannot be read, which reading it will tell."""
    try:
        with fits.open(file, lazy_load_hdus=True) as hdus:
            for index, one in enumerate(hdus):
                if one.is_image and len(one.shape) >= 2 and (hdu is None or hdu == index):
                    return one.shape[-1], one.shape[-2]
    except (OSError, SkyloomError, fits.VerifyError, TypeError, ValueError):
        return None
    return None
