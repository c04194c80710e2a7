"""Profiles that a survey holds as columns: the truth of mocks, and what was measured, here or elsewhere.

    survey = keep_profiles(survey, table, "isophotes")      # the column profile_isophotes
    profiles = read_profiles(survey, "profile_isophotes")   # profiles[row][band]

A profile table has one row per object and band, and the columns `COLUMNS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float64

from skyloom.data.cutout import SurveyInfo
from skyloom.data.store import Survey
from skyloom.errors import CatalogueError, RequestError
from skyloom.sky.orientation import compass, in_the_image

PREFIX = "profile_"  # of the columns that hold profiles
NO_WCS = 1  # the bit of skyloom.sky.profiles.Flag, which would bring PyTorch along
TRUTHS = {"true": "", "true_nopsf": "nopsf_"}  # with and without PSF: what stands before the band in the columns
_LIST, _NUMBER = pa.list_(pa.float64()), pa.float64()


class Column(NamedTuple):
    """A column of the profile table; `unit` where zero points and a pixel scale are known."""

    name: str
    kind: pa.DataType
    unit: str
    meaning: str


COLUMNS = (
    Column("object_id", pa.string(), "", "as in the survey"),
    Column("band", pa.string(), "", "as in the survey"),
    Column("x", _NUMBER, "pix", "centre of the isophotes in the cutout, 0 at the centre of the first pixel"),
    Column("y", _NUMBER, "pix", ""),
    Column("sma", _LIST, "arcsec", "semi-major axis of each isophote"),
    Column("sb", _LIST, "mag / arcsec2", "surface brightness on it, sky-subtracted; NaN where the flux is negative"),
    Column("sb_error", _LIST, "mag / arcsec2", "1 sigma: noise, structure, geometry and sky"),
    Column("ellipticity", _LIST, "", "1 - b/a"),
    Column("ellipticity_error", _LIST, "", ""),
    Column("pa", _LIST, "deg", "of the major axis, 0 to 180, north through east; from +x towards +y if flag & 1"),
    Column("pa_error", _LIST, "deg", ""),
    Column("cog", _LIST, "mag", "magnitude within each isophote"),
    Column("mag", _NUMBER, "mag", "total, the tail beyond the last isophote extrapolated"),
    Column("mag_error", _NUMBER, "mag", ""),
    Column("r_e", _NUMBER, "arcsec", "semi-major axis of the isophote that holds half the total"),
    Column("r_e_error", _NUMBER, "arcsec", ""),
    Column("r_26", _NUMBER, "arcsec", "semi-major axis of the isophote of 26 mag/arcsec2"),
    Column("sky", _NUMBER, "", "level under the galaxy, flux per pixel in the survey's unit"),
    Column("sky_error", _NUMBER, "", ""),
    Column("flag", pa.int32(), "", "sum of the bits of skyloom.sky.profiles.Flag; 0 is clean"),
)
LISTS = tuple(column.name for column in COLUMNS if column.kind == _LIST)
SCALELESS = {"arcsec": "pix", "mag / arcsec2": "mag / pix2"}  # units in a survey without a pixel scale


@dataclass(frozen=True)
class Profile:
    """One object's profile in one band: arrays of one length; NaN where a value is unknown.

    sma : [arcsec], increasing and > 0; [pixel] in a survey without a pixel scale
    sb, sb_error : [mag/arcsec²]; instrumental in a band without a zero point
    angle : of the major axis [deg], from +x towards +y
    cog : [mag] within each isophote; mag : total [mag]
    x, y : centre [pixel], 0 at the centre of the first pixel
    """

    sma: Float64[np.ndarray, "r"]
    sb: Float64[np.ndarray, "r"]
    sb_error: Float64[np.ndarray, "r"]
    ellipticity: Float64[np.ndarray, "r"]
    angle: Float64[np.ndarray, "r"]
    cog: Float64[np.ndarray, "r"]
    x: float
    y: float
    mag: float


def unit_in(info: SurveyInfo, name: str) -> str:
    """The unit of a column of the profile table in a survey; a unit that cannot be had is replaced by what there is."""
    return _had(info, next(column.unit for column in COLUMNS if column.name == name))


def _had(info: SurveyInfo, unit: str) -> str:
    return unit if info.pixel_scale else SCALELESS.get(unit, unit)


def fields_of(info: SurveyInfo, more: Sequence[Column] = ()) -> list[pa.Field]:
    """The columns of the profile table, and `more`, as Arrow fields with meanings, and units as in a survey."""
    return [
        pa.field(column.name, column.kind, metadata={"unit": _had(info, column.unit), "meaning": column.meaning})
        for column in (*COLUMNS, *more)
    ]


def target_names(survey: Survey) -> list[str]:
    """What `read_profiles` can read from this survey, e.g. ["true", "true_nopsf", "profile_isophotes"]."""
    there = set(survey.column_names)
    truths = [
        name
        for name, mark in TRUTHS.items()
        if "true_sma" in there and any(f"true_sb_{mark}{band}" in there for band in survey.info.band_names)
    ]
    kept = [name for name in survey.column_names if name.startswith(PREFIX)]
    schema = survey.table(kept, "false").schema
    return truths + [name for name in kept if _holds_profiles(schema.field(name).type)]


def read_profiles(survey: Survey, target: str) -> list[list[Profile | None]]:
    """Profiles of every object in every band, `[row of the survey][band]`; None where there is none.

    target : "true" or "true_nopsf", the columns of a mock; or a column that `keep_profiles` made
    Position angles are turned into the cutout's frame by its WCS, NaN where it has none.
    Raises RequestError for a target that the survey does not have.
    """
    names = target_names(survey)
    if target not in names:
        raise RequestError(
            f"{survey.path.name} has no profiles {target!r}; it has {', '.join(names) or 'none'}; measure them with "
            f"skyloom profile --keep, or bring a table with skyloom ingest --profiles NAME"
        )
    if target in TRUTHS:
        return _read_truth(survey, TRUTHS[target])
    return _read_kept(survey, target)


def keep_profiles(survey: Survey, table: pa.Table, name: str) -> Survey:
    """The same survey with a profile table as its column `profile_<name>`, replaced if it is there already.

    table : columns of `COLUMNS`, at least object_id, band, sma and sb; those it lacks become nulls
    Raises CatalogueError for objects or bands that the survey does not have, an object and band that come twice, or
    lists of unequal length; RequestError for a name that is no plain identifier.
    """
    column = column_of(name)
    table = _checked(survey.info, table)
    first = {object_id: k for k, object_id in enumerate(dict.fromkeys(table["object_id"].to_pylist()))}
    objects = np.array([first[object_id] for object_id in table["object_id"].to_pylist()], np.int64)
    bands = np.array([survey.info.index(band) for band in table["band"].to_pylist()], np.int64)
    rows = table.take(pa.array(np.lexsort((bands, objects)))).drop_columns(["object_id"]).combine_chunks()
    structs = pa.StructArray.from_arrays(
        [rows[field].combine_chunks() for field in rows.column_names], fields=list(rows.schema)
    )
    ends = np.concatenate([[0], np.cumsum(np.bincount(objects, minlength=len(first)))]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(ends), structs)
    return survey.add_columns(pa.table({"object_id": pa.array(list(first), pa.string()), column: lists}))


def column_of(name: str) -> str:
    """The column that holds the profiles called `name`; RequestError if it is no plain identifier."""
    if not (name.isascii() and name.isidentifier()):
        raise RequestError(f"profiles cannot be called {name!r}; give letters, digits and underscores, e.g. courteau")
    return PREFIX + name


def _checked(info: SurveyInfo, table: pa.Table) -> pa.Table:
    """A profile table with all of `COLUMNS`, in their types."""
    missing = [name for name in ("object_id", "band", "sma", "sb") if name not in table.column_names]
    if missing:
        raise CatalogueError(f"a profile table needs {', '.join(missing)}; it has {', '.join(table.column_names)}")
    unknown = sorted(set(map(str, table["band"].to_pylist())) - set(info.band_names))
    if unknown:
        raise CatalogueError(f"no band {', '.join(unknown)} in this survey; its bands are {', '.join(info.band_names)}")
    pairs = list(zip(table["object_id"].to_pylist(), table["band"].to_pylist(), strict=True))
    twice = [pair for pair, count in Counter(pairs).items() if count > 1]
    if twice:
        object_id, band = twice[0]
        raise CatalogueError(f"object {object_id!r} has more than one profile in {band}; keep one row each")
    made = pa.table({column.name: _cast(table, column) for column in COLUMNS})
    _require_even(made)
    return made


def _require_even(table: pa.Table) -> None:
    """CatalogueError if a list of a row is there and not as long as its radii."""
    wanted = pc.fill_null(pc.list_value_length(table["sma"]), 0).to_numpy()
    for name in LISTS:
        lengths = pc.fill_null(pc.list_value_length(table[name]), -1).to_numpy()
        uneven = np.flatnonzero((lengths != wanted) & (lengths >= 0))
        if len(uneven):
            row = int(uneven[0])
            raise CatalogueError(
                f"object {table['object_id'][row]}, band {table['band'][row]}: {wanted[row]} radii and {lengths[row]} "
                f"values of {name}; give as many of each"
            )


def _cast(table: pa.Table, column: Column) -> pa.ChunkedArray | pa.Array:
    if column.name not in table.column_names:
        return pa.nulls(len(table), column.kind)
    try:
        return table[column.name].cast(column.kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as fault:
        raise CatalogueError(
            f"column {column.name!r} of a profile table must be {column.kind} and is {table[column.name].type}"
        ) from fault


def _holds_profiles(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)):
        return False
    return {column.name for column in COLUMNS} - {"object_id"} <= {field.name for field in kind.value_type}


def _read_truth(survey: Survey, mark: str) -> list[list[Profile | None]]:
    there = set(survey.column_names)
    by_band: list[list[Profile | None]] = []
    for band in survey.info.band_names:
        names = ["true_sma", *(f"true_{part}_{mark}{band}" for part in ("sb", "ellipticity", "pa", "cog"))]
        if not set(names) <= there:
            by_band.append([None] * len(survey))
            continue
        table = survey.table([*names, "true_x", "true_y", f"true_mag_{band}"])
        sma, sb, ellipticity, angle, cog = (list_arrays(table[name]) for name in names)
        numbers = (_numbers(table[name]) for name in ("true_x", "true_y", f"true_mag_{band}"))
        nothing = [None] * len(survey)
        by_band.append(_profiles(sma, sb, nothing, ellipticity, angle, cog, *numbers))
    return [list(row) for row in zip(*by_band, strict=True)]


def _read_kept(survey: Survey, column: str) -> list[list[Profile | None]]:
    table = survey.table([column, "wcs"])
    lists = table[column].combine_chunks()
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    owners = np.repeat(np.arange(len(table)), counts)
    parts = {column.name: pc.struct_field(pc.list_flatten(lists), column.name) for column in COLUMNS[1:]}
    sma, sb, sb_error, ellipticity, cog = (
        list_arrays(parts[n]) for n in ("sma", "sb", "sb_error", "ellipticity", "cog")
    )
    x, y, mag = (_numbers(parts[name]) for name in ("x", "y", "mag"))
    steps = _steps(table["wcs"].to_pylist(), owners, _or_middle(x, y, survey.info))
    angle = _in_the_image(parts["pa"], parts["flag"], steps)
    profiles = _profiles(sma, sb, sb_error, ellipticity, angle, cog, x, y, mag)
    places = {band: k for k, band in enumerate(survey.info.band_names)}
    found: list[list[Profile | None]] = [[None] * len(places) for _ in range(len(table))]
    for row, band, profile in zip(owners, parts["band"].to_pylist(), profiles, strict=True):
        found[row][places[band]] = profile
    return found


def _profiles(sma, sb, sb_error, ellipticity, angle, cog, x, y, mag) -> list[Profile | None]:
    """One profile for each object, None where there are no radii; what is missing of one is NaN."""
    found: list[Profile | None] = []
    numbers = (x.tolist(), y.tolist(), mag.tolist())
    for radii, light, *lists, at_x, at_y, total in zip(
        sma, sb, sb_error, ellipticity, angle, cog, *numbers, strict=True
    ):
        if radii is None or light is None or not len(radii):
            found.append(None)
            continue
        error, shape, turn, inside = (np.full(len(radii), np.nan) if part is None else part for part in lists)
        found.append(Profile(radii, light, error, shape, turn, inside, at_x, at_y, total))
    return found


def _or_middle(x, y, info: SurveyInfo) -> Float64[np.ndarray, "n 2"]:
    """Centres [pixel]; the middle of the cutout where they are unknown."""
    height, width = info.shape
    return np.stack([np.where(np.isnan(x), (width - 1) / 2, x), np.where(np.isnan(y), (height - 1) / 2, y)], -1)


def _steps(cards: Sequence[str | None], owners: np.ndarray, centres: np.ndarray) -> Float64[np.ndarray, "n 2 2"]:
    """The `compass` at each centre, by the cards of the object that owns it; NaN where that has none."""
    steps = np.full((len(owners), 2, 2), np.nan)
    starts = np.searchsorted(owners, np.arange(len(cards) + 1))
    for wcs, start, end in zip(cards, starts, starts[1:], strict=False):
        if wcs is not None and end > start:
            steps[start:end] = compass(wcs, *centres[start:end].T)
    return steps


def _in_the_image(angle: pa.Array, flag: pa.Array, steps: Float64[np.ndarray, "n 2 2"]) -> list[np.ndarray | None]:
    """Stored angles from +x towards +y [deg], 0 to 180: those that the flag does not say are so already are turned."""
    values, lengths, known = _ragged(angle)
    on_sky = (pc.fill_null(flag.cast(pa.int32()), 0).to_numpy(zero_copy_only=False) & NO_WCS) == 0
    turned = in_the_image(np.repeat(steps, lengths, axis=0), values) % 180
    return _split(np.where(np.repeat(on_sky, lengths), turned, values), lengths, known)


def list_arrays(column: pa.ChunkedArray | pa.Array) -> list[np.ndarray | None]:
    """The lists of a column as float64 arrays, without a Python number in between; None where a row has none."""
    return _split(*_ragged(column))


def _ragged(column: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All values of a list column one after another, the length of each list, and whether the row has one."""
    column = (column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column).cast(_LIST)
    lengths = pc.list_value_length(column)
    values = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    counts = pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False)
    return values, counts, lengths.is_valid().to_numpy(zero_copy_only=False)


def _split(values: np.ndarray, lengths: np.ndarray, known: np.ndarray) -> list[np.ndarray | None]:
    ends = np.cumsum(lengths)
    bounds = zip((ends - lengths).tolist(), ends.tolist(), known.tolist(), strict=True)
    return [values[start:end] if there else None for start, end, there in bounds]


def _numbers(column: pa.ChunkedArray | pa.Array) -> Float64[np.ndarray, "n"]:
    """Numbers, NaN for null."""
    return pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
