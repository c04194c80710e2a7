"""What a galaxy can be asked by: numbers, angles and vectors from a survey's columns, as a network is told them.

One condition is a line of text, a name and where it comes from:

    r_mag=true_mag_r            a column
    r_e=log(true_r_e)           its logarithm: for what spans decades
    g_r=true_mag_g-true_mag_r   the difference of two
    pa=angle(true_pa)           a position angle [deg], told as cos 2θ and sin 2θ, so that 0 and 180 are one
    like=embedding_simclr-kids  a column of lists, such as an embedding
    sb=profile(true.r)          surface brightness in a band, of profiles that a survey keeps: `true`, or their column
    votes=t01_*_fraction        all columns of a pattern, in the survey's order: vote fractions

A column alone is named after itself. What a galaxy lacks is NaN: nothing is said of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from skyloom.data.profiles import read_profiles
from skyloom.data.store import Survey
from skyloom.errors import RequestError

Kind = Literal["linear", "log", "angle", "vector", "profile"]
TEXT = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?:(?P<kind>log|angle|profile)\((?P<inner>[^()]+)\)|(?P<plain>[^()]+))")
UNITS = {"mag": "mag", "cog": "mag", "r_e": "arcsec", "fwhm": "arcsec", "pa": "deg", "sb": "mag/arcsec²"}
RADII = np.geomspace(0.2, 10.0, 12)  # at which a profile is told [arcsec], or pixels without a pixel scale
FLAT = 1e-9  # spread of a number, relative to its size, below which it does not vary


class Wish(NamedTuple):
    """A condition as it was written: columns may hold one pattern, or two columns whose difference is meant."""

    text: str
    name: str
    kind: Kind
    column: str


@dataclass(frozen=True)
class Condition:
    """One thing that may be said about a galaxy.

    kind : `angle` is told in two numbers, `vector` in as many as it has elements, `profile` at RADII, others in one
    mean, std : of each number as told (the logarithm of a `log`); 0 and √½ for angles, which so keep their meaning
        when the image is turned
    low, high : of each value over the galaxies learnt from, in its own unit
    """

    name: str
    text: str
    kind: Kind
    unit: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def width(self) -> int:
        return len(self.mean)

    @property
    def numbers(self) -> int:
        """How many a user gives."""
        return len(self.low)

    def told(self, values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n w"]:
        """Values in their own unit as the network hears them; NaN stays NaN."""
        return (encoded(self.kind, values) - np.array(self.mean)) / np.array(self.std)

    def outside(self, values: Float[np.ndarray, "n k"]) -> bool:
        """Whether a value lies outside the range learnt from; any angle is inside."""
        return self.kind != "angle" and bool(((values < self.low) | (values > self.high)).any())


def conditions_from(facts: Sequence[dict[str, Any]] | None) -> tuple[Condition, ...]:
    """As `facts_of` wrote them; none for weights that were told nothing."""
    return tuple(
        Condition(
            one["name"], one["text"], one["kind"], one["unit"],
            *(tuple(one[part]) for part in ("mean", "std", "low", "high")),
        )
        for one in facts or ()
    )  # fmt: skip


def facts_of(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    return [asdict(one) for one in conditions]


def wished(texts: Sequence[str]) -> list[Wish]:
    """Conditions from their texts; RequestError for what cannot be read, and for a name that comes twice."""
    found = []
    for text in texts:
        match = TEXT.fullmatch(text.strip())
        if match is None:
            raise RequestError(
                f"condition {text!r} is not name=column, name=log(column), name=angle(column), "
                "name=profile(column.band) or name=column-column"
            )
        column = (match["inner"] or match["plain"]).strip()
        name = match["name"] or re.sub(r"\W+", "_", column).strip("_")
        found.append(Wish(text.strip(), name, cast(Kind, match["kind"] or "linear"), column))
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RequestError(f"conditions named {', '.join(twice)} twice; give each a name of its own: name=column")
    return found


def values_of(survey: Survey, wish: Wish, rows: np.ndarray | None = None) -> Float[np.ndarray, "n k"]:
    """A condition's values in their own unit, NaN where a galaxy has none.

    RequestError for columns that are not there or hold no numbers.
    """
    if wish.kind == "profile":
        return _brightness(survey, wish, rows)
    return _from_table(survey, wish, survey.table(["object_id", *_columns(survey, wish)]), rows)


def require_conditions(survey: Survey, wishes: Sequence[Wish]) -> None:
    """RequestError, before any long work, if a survey lacks what is to be told."""
    for wish in wishes:
        if np.isnan(values_of(survey, wish)).all():
            raise RequestError(f"{survey.path.name}: no object has a value of {wish.text!r}; leave it out of labels")


def learnt_conditions(wishes: Sequence[Wish], values: Sequence[Float[np.ndarray, "n k"]]) -> tuple[Condition, ...]:
    """Conditions with the mean, spread and range of the galaxies learnt from.

    RequestError for one that is the same for all: nothing can be learnt from it.
    """
    return tuple(_learnt(wish, value) for wish, value in zip(wishes, values, strict=True))


def encoded(kind: Kind, values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n w"]:
    """Logarithms, or the two components of twice an angle [deg]; NaN where there is no logarithm."""
    if kind == "log":
        return np.log(np.where(values > 0, values, np.nan))
    if kind == "angle":
        twice = np.radians(2 * values[:, 0])
        return np.stack([np.cos(twice), np.sin(twice)], 1)
    return np.asarray(values, float)


def unit_of(column: str) -> str:
    """The unit of a column, by its name; empty for one without, or unknown."""
    parts = column.removeprefix("true_")
    return next((unit for key, unit in UNITS.items() if re.search(rf"(^|_){key}(_|$)", parts)), "")


def _learnt(wish: Wish, values: Float[np.ndarray, "n k"]) -> Condition:
    told = encoded(wish.kind, values)
    known = np.isfinite(told).any(0)
    kind: Kind = "vector" if values.shape[1] > 1 and wish.kind != "profile" else wish.kind
    mean, std, low, high = (np.full(part, fill) for part, fill in ((told.shape[1], 0.0), (told.shape[1], 1.0)) * 2)
    low, high = low[: values.shape[1]], high[: values.shape[1]]
    mean[known], spread = np.nanmean(told[:, known], 0), np.nanstd(told[:, known], 0)
    varies = np.zeros(len(std), bool)
    varies[known] = spread > FLAT * (1 + np.abs(mean[known]))
    if not varies.any():
        raise RequestError(
            f"condition {wish.text!r} is the same for every galaxy, so nothing can be learnt from it; leave it out"
        )
    std[varies] = spread[varies[known]]
    if wish.kind == "angle":
        mean, std = np.zeros(2), np.full(2, np.sqrt(0.5))
        low, high = np.array([0.0]), np.array([180.0])
    else:
        usable = np.where(np.isfinite(told), values, np.nan)
        low[known], high[known] = np.nanmin(usable[:, known], 0), np.nanmax(usable[:, known], 0)
    numbers = (tuple(map(float, part)) for part in (mean, std, low, high))
    unit = UNITS["sb"] if kind == "profile" else unit_of(wish.column)
    return Condition(wish.name, wish.text, kind, unit, *numbers)


def _brightness(survey: Survey, wish: Wish, rows: np.ndarray | None) -> Float[np.ndarray, "n k"]:
    """Surface brightness of every galaxy's profile at RADII, linear in ln radius; NaN beyond its ends."""
    column, _, band = wish.column.rpartition(".")
    place = survey.info.index(band)
    found = read_profiles(survey, column)
    values = np.full((len(found), len(RADII)), np.nan)
    for row, bands in enumerate(found):
        one = bands[place]
        if one is not None:
            values[row] = at_radii(one.sma, one.sb)
    return values if rows is None else values[rows]


def at_radii(sma: Float[np.ndarray, "t"], sb: Float[np.ndarray, "t"]) -> Float[np.ndarray, "k"]:
    """A profile as it is told: surface brightness at RADII, linear in ln radius; NaN beyond its ends."""
    known = np.isfinite(sb) & (sma > 0)
    if known.sum() < 2:
        return np.full(len(RADII), np.nan)
    return np.interp(np.log(RADII), np.log(sma[known]), sb[known], left=np.nan, right=np.nan)


def _columns(survey: Survey, wish: Wish) -> list[str]:
    """One column, several of a pattern, or two whose difference is meant."""
    names = survey.column_names
    if wish.column in names:
        return [wish.column]
    if "*" in wish.column:
        found = [name for name in names if fnmatchcase(name, wish.column)]
        if found:
            return found
    pair = [part.strip() for part in wish.column.split("-")]
    if len(pair) == 2 and all(part in names for part in pair):
        return pair
    raise RequestError(
        f"{survey.path.name} has no column {wish.column!r} for the condition {wish.text!r}; it has "
        f"{', '.join(name for name in names if name not in ('flux', 'ivar'))}"
    )


def _from_table(survey: Survey, wish: Wish, table: pa.Table, rows: np.ndarray | None) -> Float[np.ndarray, "n k"]:
    parts = []
    for name in table.column_names[1:]:
        column = table[name] if rows is None else table[name].take(pa.array(rows))
        parts.append(_numbers(column, f"{survey.path.name}: column {name}"))
    if len(parts) == 2 and "*" not in wish.column:
        parts = [parts[0] - parts[1]]
    values = np.concatenate(parts, 1)
    if wish.kind != "linear" and values.shape[1] > 1:
        raise RequestError(f"condition {wish.text!r}: {wish.kind} is of one number, and {wish.column} holds lists")
    return np.where(np.isfinite(values), values, np.nan)


def _numbers(column: pa.ChunkedArray, where: str) -> Float[np.ndarray, "n k"]:
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lists = [row or [] for row in column.to_pylist()]
        values = np.full((len(lists), max(map(len, lists), default=0)), np.nan)
        for row, numbers in enumerate(lists):
            values[row, : len(numbers)] = [np.nan if number is None else number for number in numbers]
        return values
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise RequestError(f"{where} holds {kind} and no numbers; a condition needs numbers")
    return column.cast(pa.float64()).to_numpy().astype(float)[:, None]
