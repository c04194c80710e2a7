"""Profile tables that a user brings: skyloom's own, AutoProf's, photutils' and IRAF's, and one row per isophote.

What a file holds is told by its columns, not by its name; docs/ingest.md lists what is understood.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64

from skyloom.data.catalogues import table_from
from skyloom.data.cutout import SurveyInfo
from skyloom.data.filenames import stem_of
from skyloom.data.headers import FITS_SUFFIXES
from skyloom.data.isophotes import Isophotes, require_sound, table_of, unit_factor
from skyloom.data.profiles import COLUMNS, LISTS, NO_WCS, list_arrays
from skyloom.data.tables import unit_of
from skyloom.errors import CatalogueError, SourceError, UnitError
from skyloom.sky.photometry import magnitude_error, surface_brightness

AUTOPROF = {
    "R": "sma", "SB": "sb", "SB_e": "sb_error", "ellip": "ellipticity", "ellip_e": "ellipticity_error",
    "pa": "pa", "pa_e": "pa_error", "totmag": "cog",
}  # fmt: skip
MISSING = 99.999  # what AutoProf writes for a magnitude that it could not measure
PHOTUTILS = {
    "sma": "sma", "intens": "sb", "intens_err": "sb_error", "ellipticity": "ellipticity",
    "ellipticity_err": "ellipticity_error", "pa": "pa", "pa_err": "pa_error", "x0": "x", "y0": "y",
}  # fmt: skip
IRAF = {
    "sma": "sma", "intens": "sb", "int_err": "sb_error", "ellip": "ellipticity", "ellip_err": "ellipticity_error",
    "pa": "pa", "pa_err": "pa_error", "x0": "x", "y0": "y",
}  # fmt: skip
SUFFIXES = (".parquet", ".parq", ".ecsv", ".csv", ".csv.gz", ".txt", *FITS_SUFFIXES)
POINTS = ("object_id", "band", "sma", "sb")  # what a table of one row per isophote must have


def read_profile_table(path: Path, info: SurveyInfo, ids: Sequence[str]) -> pa.Table:
    """Profiles of objects that a survey has, from a file or a folder, as a table of `skyloom.data.profiles.COLUMNS`.

    info, ids : of the survey; radii and magnitudes come out in its units, position angles north through east, or from
    +x towards +y where the file has them so: then the flag has the bit NO_WCS
    Raises SourceError if a file cannot be read; CatalogueError, naming file and row, for columns that are not
    understood, objects or bands that the survey does not have, and isophotes that are no profile; UnitError for a unit
    that cannot be converted, or where a pixel scale or zero point is needed and unknown.
    """
    known, found = set(ids), []
    places: dict[tuple[str, str], str] = {}
    for file in _files(Path(path)):
        for one in _isophotes_in(file, info, known):
            require_sound(one, info, known)
            key = (one.object_id, one.band)
            if key in places:
                raise CatalogueError(f"{one.where()}: there is a profile of it already, in {places[key]}; keep one")
            places[key] = f"{file}, row {one.rows[0]}" if len(one.rows) else str(file)
            found.append(one)
    return table_of(found, info)


def _files(path: Path) -> list[Path]:
    """The profile tables of a folder: its .prof files if it has any, else every table; or the one file given."""
    if not path.exists():
        raise SourceError(path, "there is no such file or folder", "check the path")
    if path.is_file():
        return [path]
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    found = [file for file in files if file.suffix == ".prof"]
    found = found or [file for file in files if file.name.lower().endswith(SUFFIXES)]
    if not found:
        raise SourceError(path, "holds no profile table", "give .prof, .parquet, .ecsv, .fits or .csv files")
    return found


def _isophotes_in(file: Path, info: SurveyInfo, known: set[str]) -> Iterator[Isophotes]:
    """What one file holds, by its columns."""
    if file.suffix == ".prof":
        yield _autoprof(file, info, known)
        return
    table = table_from(file)
    table = table.rename_columns([name.lower() for name in table.column_names])
    if "sma" in table.column_names and "intens" in table.column_names:
        yield _intensities(file, table, info, known)
    elif not set(POINTS) <= set(table.column_names):
        raise CatalogueError(
            f"{file}: a profile table has {', '.join(POINTS)}, or is one that photutils or IRAF made (sma, intens, …); "
            f"its columns are {', '.join(table.column_names[:12])}"
        )
    elif pa.types.is_list(table.schema.field("sma").type):
        yield from _whole_profiles(file, table, info)
    else:
        yield from _points(file, table, info)


def _whole_profiles(file: Path, table: pa.Table, info: SurveyInfo) -> Iterator[Isophotes]:
    """One row per object and band, rings in lists: what skyloom writes. Unlike others', such rows may be empty."""
    lists = {name: list_arrays(table[name]) for name in LISTS if name in table.column_names}
    scalars = [c.name for c in COLUMNS[2:] if c.name not in LISTS and c.name in table.column_names]
    numbers = {name: _column(file, table, name, info) for name in scalars}
    factors = {name: unit_factor(name, unit_of(table.schema.field(name)), info, str(file)) for name in lists}
    for row, (object_id, band) in enumerate(_names(table)):
        mine = {name: values[row] for name, values in lists.items()}
        mine |= {name: np.empty(0) for name in ("sma", "sb") if mine[name] is None}
        facts: dict[str, float] = {name: float(values[row]) for name, values in numbers.items()}
        if "flag" in facts:
            facts["flag"] = 0 if np.isnan(facts["flag"]) else int(facts["flag"])
        converted = {n: v * factors[n] for n, v in mine.items() if v is not None}
        yield Isophotes(file, object_id, band, np.array([row + 1]), converted, facts, as_measured="flag" in facts)


def _points(file: Path, table: pa.Table, info: SurveyInfo) -> Iterator[Isophotes]:
    """One row per isophote. `angle` [deg, from +x towards +y] may stand for `pa` [deg, north through east]."""
    turned = "angle" in table.column_names
    if turned and "pa" in table.column_names:
        raise CatalogueError(f"{file}: columns pa and angle are two answers to one question; drop one")
    table = table.rename_columns(["pa" if name == "angle" else name for name in table.column_names])
    names = [name for name in (*LISTS, "x", "y") if name in table.column_names]
    values = {name: _column(file, table, name, info) for name in names}
    places: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(_names(table)):
        places.setdefault(key, []).append(row)
    for (object_id, band), rows in places.items():
        lists = {name: values[name][rows] for name in names}
        yield _named(file, object_id, band, np.array(rows) + 1, lists, in_pixels=turned)


def _intensities(file: Path, table: pa.Table, info: SurveyInfo, known: set[str]) -> Isophotes:
    """The isophotes of one image, as photutils' `IsophoteList.to_table` or IRAF's `ellipse` list them.

    Lengths are in pixels and intensities in flux per pixel; the first row, of radius 0, is the central pixel and no
    isophote. photutils counts pixels from 0 and angles from +x towards +y; IRAF from 1, and from +y towards −x.
    Isophotes at the end without light above zero are cut off.
    """
    iraf = bool({"ellip", "int_err"} & set(table.column_names))
    meanings = {name: ours for name, ours in (IRAF if iraf else PHOTUTILS).items() if name in table.column_names}
    object_id, band = _named_after(file, info, known)
    zero_point = info.bands[info.index(band)].zero_point
    if info.pixel_scale is None or zero_point is None:
        lacking = f"zero point of band {band}" if info.pixel_scale else "pixel scale"
        raise UnitError(
            f"{file}: radii are in pixels and light is in flux; the survey states no {lacking} to convert by"
        )
    values = {ours: _column(file, table, name, info, ours) for name, ours in meanings.items()}
    light, kept = values["sb"], np.flatnonzero(values["sma"] != 0)
    values["sb"] = surface_brightness(light, info.pixel_scale, zero_point)
    if "sb_error" in values:
        values["sb_error"] = magnitude_error(light, values["sb_error"])
    if iraf:
        shift = {"x": -1.0, "y": -1.0, "pa": 90.0}
        values |= {name: values[name] + by for name, by in shift.items() if name in values}
    kept = kept[: _last_known(values["sb"][kept])]
    lists = {name: column[kept] for name, column in values.items()}
    return _named(file, object_id, band, kept + 1, lists, in_pixels=True)


def _autoprof(file: Path, info: SurveyInfo, known: set[str]) -> Isophotes:
    """An AutoProf .prof file: R [arcsec], SB [mag/arcsec²], pa [deg, counter-clockwise from +y], 99.999 for missing.

    AutoProf takes +y for north: its pa is turned by 90° to run from +x, whatever the WCS says. Isophotes at the end
    without SB are cut off.
    Source: Stone et al. 2021, MNRAS 508, 1870.
    """
    object_id, band = _named_after(file, info, known)
    names, units, rows = _prof_rows(file)
    try:
        numbers = np.array(rows, float).reshape(len(rows), len(names))
    except ValueError as fault:
        raise SourceError(file, f"rows of unequal length, or not of numbers ({fault})", "give a .prof file") from fault
    values = {}
    for name, ours in AUTOPROF.items():
        if name in names:
            column = numbers[:, names.index(name)]
            if ours in ("sb", "sb_error", "cog"):
                column = np.where(np.isclose(column, MISSING, atol=1e-3), np.nan, column)
            stated = units.get(name, "").replace("unitless", "")
            values[ours] = column * unit_factor(ours, stated, info, str(file))
    if not {"sma", "sb"} <= values.keys():
        raise CatalogueError(f"{file}: an AutoProf profile has R and SB; the columns here are {', '.join(names)}")
    if "pa" in values:
        values["pa"] = values["pa"] + 90
    kept = slice(0, _last_known(values["sb"]))
    lists = {name: column[kept] for name, column in values.items()}
    return _named(file, object_id, band, np.arange(len(numbers))[kept] + 1, lists, in_pixels=True)


def _prof_rows(file: Path) -> tuple[list[str], dict[str, str], list[list[str]]]:
    """Column names, units and rows of numbers; units are in a comment above the names, or the row below them."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as fault:
        raise SourceError(file, f"cannot be read as text ({fault})", "give a .prof file") from fault
    comments = [line.lstrip("# ").split(",") for line in lines if line.startswith("#")]
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    if not rows:
        raise SourceError(file, "has no line of column names", "give a .prof file that AutoProf wrote")
    names, rows = [name.strip() for name in rows[0]], rows[1:]
    units = rows.pop(0)[-len(names) :] if rows and not _is_number(rows[0][-1]) else None
    units = units or next((fields for fields in comments if len(fields) == len(names)), [])
    return names, {name: unit.strip() for name, unit in zip(names, units, strict=False)}, rows


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _named(
    file: Path,
    object_id: str,
    band: str,
    rows: np.ndarray,
    values: Mapping[str, Float64[np.ndarray, "r"]],
    in_pixels: bool,
) -> Isophotes:
    """Isophotes of an object: its centre is the median of theirs; in_pixels : its angles run from +x towards +y."""
    lists = {name: column for name, column in values.items() if name in LISTS}
    if "pa" in lists:
        lists["pa"] = lists["pa"] % 180
    centres = {name: values[name][np.isfinite(values[name])] for name in ("x", "y") if name in values}
    numbers = {name: float(np.median(column)) for name, column in centres.items() if len(column)}
    return Isophotes(file, object_id, band, rows, lists, numbers | {"flag": NO_WCS if in_pixels else 0})


def _column(
    file: Path, table: pa.Table, name: str, info: SurveyInfo, meaning: str | None = None
) -> Float64[np.ndarray, "r"]:
    """Numbers of a column in our unit, NaN for none.

    meaning : the column of the profile table that a photutils or IRAF column becomes: lengths stay in pixels
    """
    try:
        values = pc.fill_null(pc.cast(table[name], pa.float64()), np.nan).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        raise CatalogueError(f"{file}: column {name!r} is {table[name].type}; give numbers ({fault})") from fault
    stated = unit_of(table.schema.field(name))
    if meaning in ("sb", "sb_error"):
        return values  # intensities: the zero point speaks of their unit
    if meaning == "sma":
        stated = stated or "pix"
    return values * unit_factor(meaning or name, stated, info, str(file))


def _last_known(sb: Float64[np.ndarray, "r"]) -> int:
    """How many isophotes are left when those at the end that were not measured are cut off."""
    return int(np.flatnonzero(np.isfinite(sb))[-1]) + 1 if np.isfinite(sb).any() else 0


def _names(table: pa.Table) -> Iterator[tuple[str, str]]:
    """The object and band of each row, as text."""
    columns = ([str(value).strip() for value in table[name].to_pylist()] for name in ("object_id", "band"))
    return zip(*columns, strict=True)


def _named_after(file: Path, info: SurveyInfo, known: set[str]) -> tuple[str, str]:
    """The object and band that a file is named after: OBJECT_BAND, or OBJECT in a survey of one band."""
    stem = stem_of(file)
    stem = stem.removesuffix(file.suffix) if stem == file.name else stem
    stem = stem.removesuffix(".csv")
    found = [(stem.removesuffix(f"_{band}"), band) for band in info.band_names if stem.endswith(f"_{band}")]
    found = [(object_id, band) for object_id, band in found if object_id in known]
    if stem in known and len(info.bands) == 1:
        found.append((stem, info.band_names[0]))
    elif stem in known and not found:
        raise CatalogueError(f"{file}: of which band? Call it {stem}_{info.band_names[0]}{file.suffix} or the like")
    if len(found) != 1:
        what = "which object and band may be read in two ways" if found else "the survey has no object of this name"
        raise CatalogueError(
            f"{file}: {what}; call it OBJECT_BAND{file.suffix}, as object_id and band are in the survey"
        )
    return found[0]
