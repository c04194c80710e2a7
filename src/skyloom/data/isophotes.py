"""One object's isophotes as a file brings them: units made ours, every row checked, then rows of a profile table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from astropy import units
from jaxtyping import Bool, Float64, Int

from skyloom.data.cutout import SurveyInfo
from skyloom.data.profiles import fields_of, unit_in
from skyloom.errors import CatalogueError, UnitError

FEWEST = 3  # isophotes of a profile
PLAUSIBLE = (0.0, 40.0)  # surface brightness [mag/arcsec²]
UNITLESS = ("sky", "sky_error", "flag")  # columns whose unit is the survey's own, or none


class Isophotes(NamedTuple):
    """One object's profile in one band, in the units of the profile table.

    path : of the file
    rows : of each isophote in the file's data, counted from 1; a single number where one row holds them all
    lists, numbers : columns of the profile table, by name; at least sma and sb
    as_measured : skyloom wrote it, with a flag that warns: it may be empty or short, and sb may be NaN
    """

    path: Path
    object_id: str
    band: str
    rows: Int[np.ndarray, "r"]
    lists: Mapping[str, Float64[np.ndarray, "r"]]
    numbers: Mapping[str, float]
    as_measured: bool = False

    def where(self, isophote: int | None = None) -> str:
        """`courteau.csv, row 7 (object 'NGC 1300', band r)`"""
        together = len(self.rows) == 1
        which = f", isophote {isophote + 1}" if together and isophote is not None else ""
        row = self.rows[0 if together or isophote is None else isophote]
        return f"{self.path}, row {row} (object {self.object_id!r}, band {self.band}{which})"


def unit_factor(name: str, stated: str, info: SurveyInfo, where: str) -> float:
    """What a column is multiplied by to be in the unit of the profile table: arcsec, mag/arcsec², deg, mag, pixel.

    stated : the unit they are in, as the file spells it; "" is taken for ours
    Raises UnitError if it cannot be converted. Surface brightnesses are not: magnitudes do not scale with the area.
    """
    if not stated or name in UNITLESS or (name == "sb_error" and stated == "mag"):
        return 1.0
    wanted = unit_in(info, name)
    factor = _factor(stated, wanted, None if name in ("x", "y") else info.pixel_scale)
    if factor is None:
        known = "" if info.pixel_scale else ", as the survey has no pixel scale"
        raise UnitError(f"{where}: {name} is in {stated!r}; give it in {wanted or 'plain numbers'}{known}")
    return factor


def _factor(given: str, wanted: str, pixel_scale: float | None) -> float | None:
    """What a number in one unit is multiplied by to be in the other; None if nothing will do."""
    try:
        there, here = units.Unit(given), units.Unit(wanted)
    except (ValueError, TypeError):
        return None
    if units.mag in here.bases:
        return 1.0 if there == here else None
    by_pixels = units.pixel_scale(pixel_scale * units.arcsec / units.pix) if pixel_scale else []
    return float(there.to(here, 1.0, by_pixels)) if there.is_equivalent(here, by_pixels) else None


def require_sound(found: Isophotes, info: SurveyInfo, known: Collection[str]) -> None:
    """CatalogueError, with file and row, for isophotes that are no profile of an object of the survey."""
    if found.object_id not in known:
        raise CatalogueError(f"{found.where()}: the survey has no such object; correct the name, or leave it out")
    if found.band not in info.band_names:
        raise CatalogueError(f"{found.where()}: the survey's bands are {', '.join(info.band_names)}; correct the name")
    count = len(found.lists["sma"])
    if count < FEWEST and not found.as_measured:
        raise CatalogueError(f"{found.where()}: {count} isophotes; a profile needs {FEWEST}")
    for name, values in found.lists.items():
        if len(values) != count:
            raise CatalogueError(f"{found.where()}: {count} radii and {len(values)} values of {name}; give as many")
    for wrong, problem in _problems(found, info):
        if wrong.any():
            raise CatalogueError(f"{found.where(int(wrong.argmax()))}: {problem(int(wrong.argmax()))}")


def _problems(found: Isophotes, info: SurveyInfo) -> Iterator[tuple[Bool[np.ndarray, "r"], Callable[[int], str]]]:
    """Which isophotes are wrong, and what to say of one, for all that can be wrong with them."""
    sma, sb = found.lists["sma"], found.lists["sb"]
    inside = np.concatenate([[0.0], sma])[:-1]
    yield ~np.isfinite(sma), lambda k: f"sma is {sma[k]}; remove the row"
    yield sma <= 0, lambda k: f"sma is {sma[k]:g}; radii must be positive"
    yield sma <= inside, lambda k: f"sma is {sma[k]:g} after {inside[k]:g}; sort the rows by it, and keep one of each"
    if not found.as_measured:
        yield ~np.isfinite(sb), lambda k: f"sb is {sb[k]}; cut the profile before it, or remove the row"
    if info.pixel_scale and info.bands[info.index(found.band)].zero_point is not None:
        low, high = PLAUSIBLE
        yield (
            (sb < low) | (sb > high),
            lambda k: f"sb is {sb[k]:g}, not within {low:g} and {high:g} mag/arcsec²; is this in magnitudes?",
        )


def table_of(found: Sequence[Isophotes], info: SurveyInfo) -> pa.Table:
    """A profile table of isophotes, a row each; columns that a file does not have are null."""
    rows = [{"object_id": one.object_id, "band": one.band, **one.lists, **one.numbers} for one in found]
    return pa.Table.from_pylist(rows, pa.schema(fields_of(info)))
