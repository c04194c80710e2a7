"""The kinds of tokens that surveys can be read as, how their numbers are scaled, and objects read so."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from skyloom.data.cutout import SurveyInfo
from skyloom.data.images import ImageSet, read_images
from skyloom.data.profiles import list_arrays
from skyloom.data.store import Survey
from skyloom.data.tokens import Numbers, Series, Tokeniser, TokenSource
from skyloom.errors import RecipeError, RequestError
from skyloom.sky.patches import Order
from skyloom.sky.scaling import Asinh, facts_of, scaling_of
from skyloom.sky.tokens import IMAGE, LIGHT, TokenKind

SAME_SCALE = 0.02  # difference of two pixel scales that count as one, as a share
PARTS = 6  # of the mixtures by which single numbers are predicted
FIRST = "-first"  # after the name of places that are counted from the first of each object
SERIES = re.compile(
    r"(?P<value>[^@\[\]]+)@(?P<place>[^@/\[\]]+)(/(?P<channel>[^@/\[\]]+))?(\[(?P<low>[^:]*):(?P<high>[^\]]*)\])?$"
)
Progress = Callable[[int, int | None, str], None]


class Listed(NamedTuple):
    """What a series is read from: columns of lists, and the range of values that count.

    since_first : places are counted from the first of each object, as dates are
    """

    value: str
    place: str
    channel: str | None
    low: float
    high: float
    since_first: bool

    @property
    def columns(self) -> list[str]:
        return [name for name in (self.value, self.place, self.channel) if name]


def listed(text: str) -> Listed:
    """A series as it is asked for: `values@places`, with `/channel` and `[low:high]` where wanted; RecipeError if it
    cannot be read."""
    found = SERIES.match(text)
    try:
        if found is None:
            raise ValueError
        low, high = (float(found[side] or end) for side, end in (("low", "-inf"), ("high", "inf")))
    except ValueError as fault:
        raise RecipeError(
            f"series={text!r} is no values@places, values@places/channel or values@places[low:high]; name columns so"
        ) from fault
    place = found["place"]
    return Listed(found["value"], place.removesuffix(FIRST), found["channel"], low, high, place.endswith(FIRST))


@dataclass(frozen=True)
class ImageFacts:
    """How images of some bands become tokens: what whoever loads the weights must know.

    mark : what the names of its kinds end in; info : bands, pixels and shape as they are looked at
    noise : rms of the sky in one pixel, per band; scaling : from sky-subtracted flux to numbers
    bin : pixels of a survey averaged to one along each axis; the others as in `data.tokens.Tokeniser`
    """

    mark: str
    info: SurveyInfo
    noise: tuple[float, ...]
    scaling: Asinh
    radii: tuple[float, ...]
    patch: int
    order: Order
    bin: int

    @property
    def tokeniser(self) -> Tokeniser:
        return Tokeniser(self.scaling.scaled, self.noise, self.radii, self.patch, self.info.shape[0], self.order)

    def suits(self, info: SurveyInfo) -> bool:
        """Whether images of these bands and pixels, binned as it bins, are read by it."""
        if self.info.band_names != info.band_names:
            return False
        known = [(a.zero_point is None) == (b.zero_point is None) for a, b in self._pairs(info)]
        ours, theirs = self.info.pixel_scale, info.pixel_scale
        if ours is None or theirs is None:
            return all(known) and ours is theirs
        return all(known) and abs(np.log(ours / theirs)) < SAME_SCALE

    def factors(self, info: SurveyInfo) -> tuple[float, ...]:
        """From the flux of images that it suits to that of those which were learnt from."""
        return tuple(
            1.0 if ours.zero_point is None or theirs.zero_point is None
            else 10 ** (0.4 * (ours.zero_point - theirs.zero_point))
            for ours, theirs in self._pairs(info)
        )  # fmt: skip

    def _pairs(self, info: SurveyInfo):
        return zip(self.info.bands, info.bands, strict=True)

    def to_facts(self) -> dict[str, Any]:
        """Plain facts; `from_facts` reads them."""
        return {
            "mark": self.mark, "info": self.info.to_json(), "noise": self.noise, "scaling": facts_of(self.scaling),
            "radii": self.radii, "patch": self.patch, "order": self.order, "bin": self.bin,
        }  # fmt: skip

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> ImageFacts:
        return cls(
            facts["mark"], SurveyInfo.from_json(facts["info"]), tuple(facts["noise"]), scaling_of(facts["scaling"]),
            tuple(facts["radii"]), facts["patch"], cast(Order, facts["order"]), facts["bin"],
        )  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """All kinds of tokens that a network reads, and how their numbers are scaled.

    numbers : of each column mean, std, low and high
    series : of each the same, the step of its places, its channels, and its `usual` places: those of an object which
        has as many as half of them have
    """

    images: tuple[ImageFacts, ...] = ()
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    series: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def kinds(self, others: float = 1.0) -> tuple[TokenKind, ...]:
        """others : weight of what is no patch of an image"""
        images = [
            replace(kind, weight=others if kind.name.startswith(LIGHT) else 1.0)
            for one in self.images for kind in one.tokeniser.kinds(one.mark)
        ]  # fmt: skip
        return (
            *images,
            *(TokenKind(name, 1, components=PARTS, weight=others) for name in self.numbers),
            *(TokenKind(name, 1, 1, len(one["channels"]), PARTS, others) for name, one in self.series.items()),
        )

    def to_facts(self) -> dict[str, Any]:
        """Plain facts; `from_facts` reads them."""
        images = [one.to_facts() for one in self.images]
        return {"images": images, "numbers": dict(self.numbers), "series": dict(self.series)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Vocabulary:
        images = tuple(ImageFacts.from_facts(one) for one in facts["images"])
        return cls(images, facts["numbers"], facts["series"])


@dataclass(frozen=True)
class Read:
    """One survey's objects as they were read, before their numbers are scaled.

    info : of the images: bands, pixels after binning, shape; series : values, places and channels of each object
    """

    ids: tuple[str, ...]
    images: ImageSet | None
    info: SurveyInfo
    numbers: Mapping[str, np.ndarray]
    series: Mapping[str, tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray | None]]]


def read_objects(
    survey: Survey, ids: Sequence[str], *, numbers: Sequence[str] = (), series: Sequence[str] = (),
    bands: Sequence[str] = (), bin: int, crop: int, progress: Progress | None = None,
) -> Read:  # fmt: skip
    """Images and columns of some objects, as far as the survey has them.

    numbers : columns; one that holds no numbers in this survey is passed over
    bands : in the order wanted; those that the survey lacks are passed over; none for all
    crop : side of the images after `bin` × `bin` pixels were averaged; a survey with smaller cutouts has no images
    Objects without sound images are left out, where the survey has images.
    """
    bands = [name for name in bands if name in survey.info.band_names]
    images, kept = None, tuple(ids)
    if has_images(survey, bin, crop):
        images = read_images(survey, ids, bands=bands, bin=bin, size=crop, progress=progress)
        kept = images.ids
    rows = survey.rows_of(kept)
    table = survey.table(["object_id", *(name for name in numbers if name in survey.column_names)]).take(rows)
    names = [one.name for one in table.schema if one.name != "object_id" and _is_number(one.type)]
    lists = {text: listed(text) for text in series}
    found = {
        text: _lists(survey.table(one.columns).take(rows), one)
        for text, one in lists.items() if set(one.columns) <= set(survey.column_names)
    }  # fmt: skip
    info = replace(survey.info.binned(bands, bin), shape=(crop, crop))
    return Read(kept, images, info, {name: _floats(table[name]) for name in names}, found)


def has_images(survey: Survey, bin: int, crop: int) -> bool:
    return min(survey.info.shape) // bin >= crop


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal)
    return any(test(kind) for test in tests)


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    values = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def _lists(table: pa.Table, wanted: Listed):
    """Values, places and channels of each object, in the order of their places; what is not finite is left out."""
    values, places = list_arrays(table[wanted.value]), list_arrays(table[wanted.place])
    marks = table[wanted.channel].to_pylist() if wanted.channel else [None] * len(values)
    found: tuple[list, list, list] = ([], [], [])
    for a, b, mark in zip(values, places, marks, strict=True):
        value, place = (np.empty(0) if part is None else part for part in (a, b))
        if len(value) != len(place) or (mark is not None and len(mark) != len(value)):
            raise RequestError(
                f"{wanted.value} and {wanted.place} have lists of {len(value)} and {len(place)} for one object; they "
                "must have the same length"
            )
        good = np.flatnonzero(np.isfinite(value + place) & (value >= wanted.low) & (value <= wanted.high))
        good = good[np.argsort(place[good], kind="stable")]
        found[0].append(value[good])
        found[1].append(place[good] - (place[good][:1] if wanted.since_first else 0.0))
        found[2].append(None if mark is None else np.array(mark, object)[good])
    return found


@dataclass(frozen=True)
class Looks:
    """How images are looked at, as in `Tokeniser` and `Asinh`."""

    radii: tuple[float, ...]
    patch: int
    order: Order
    soften: float
    bin: int


def vocabulary_of(
    reads: Sequence[Read], looks: Looks, numbers: Sequence[str], series: Sequence[str], known: Vocabulary | None = None
) -> Vocabulary:
    """The kinds of tokens in some surveys. known : of weights to start from, whose scales stay as they are"""
    known, images = known or Vocabulary(), list[ImageFacts]()
    for one in reads:
        if one.images is not None and not any(facts.suits(one.info) for facts in images):
            images.append(_image_facts(one.info, reads, images, looks, known))
    scales = {}
    for name in numbers:
        values = np.concatenate([one.numbers[name] for one in reads if name in one.numbers] or [np.empty(0)])
        scales[name] = known.numbers.get(name) or _spread(name, values)
    lists = {}
    for text in series:
        parts = [one.series[text] for one in reads if text in one.series]
        lists[text] = known.series.get(text) or _series_facts(text, parts)
    return Vocabulary(tuple(images), scales, lists)


def _image_facts(info: SurveyInfo, reads, images: Sequence[ImageFacts], looks: Looks, known: Vocabulary) -> ImageFacts:
    for facts in known.images:
        if facts.suits(info):
            return facts
    alike = [one.images.noise for one in reads if one.images is not None and one.info.bands == info.bands]
    noise = tuple(float(value) for value in np.median(alike, 0))
    used = {facts.mark for facts in (*known.images, *images)}
    mark = next(text for text in ("", *map(str, range(2, 99))) if text not in used)
    scaling = Asinh(tuple(looks.soften * value for value in noise))
    return ImageFacts(mark, info, noise, scaling, looks.radii, looks.patch, looks.order, looks.bin)


def _spread(name: str, values: np.ndarray) -> dict[str, float]:
    values = values[np.isfinite(values)]
    if len(values) < 2 or np.ptp(values) == 0:
        raise RequestError(
            f"{name} has {len(values)} finite values that differ in nothing; leave it out of numbers and series"
        )
    found = {"mean": values.mean(), "std": values.std(), "low": values.min(), "high": values.max()}
    return {key: float(value) for key, value in found.items()}


def _series_facts(text: str, parts) -> dict[str, Any]:
    values = np.concatenate([value for part in parts for value in part[0]] or [np.empty(0)])
    steps = np.concatenate([np.diff(place) for part in parts for place in part[1]] or [np.empty(0)])
    steps = steps[steps > 0]
    channels = sorted({str(mark) for part in parts for one in part[2] if one is not None for mark in one})
    step = float(np.median(steps)) if len(steps) else 1.0
    each = sorted((place for part in parts for place in part[1] if len(place)), key=len)
    usual = each[len(each) // 2].tolist() if each else []
    return _spread(text, values) | {"step": step, "channels": channels, "usual": usual}


def source_of(read: Read, vocabulary: Vocabulary, points: int) -> TokenSource:
    """Objects as tokens, scaled as the vocabulary has it; what it does not know is left out.

    points : of a list that are shown at once
    """
    names, tokeniser = (LIGHT, IMAGE), None
    facts = next((one for one in vocabulary.images if one.suits(read.info)), None)
    images = None
    if read.images is not None and facts is not None:
        names, tokeniser = (LIGHT + facts.mark, IMAGE + facts.mark), facts.tokeniser
        factors = torch.tensor(facts.factors(read.info))[:, None, None]
        images = replace(read.images, flux=read.images.flux * factors)
    columns: dict[str, Numbers | Series] = {}
    for name, values in read.numbers.items():
        if name in vocabulary.numbers:
            scale = vocabulary.numbers[name]
            columns[name] = Numbers((values - scale["mean"]) / scale["std"])
    for text, (lists, places, marks) in read.series.items():
        if text in vocabulary.series:
            said = vocabulary.series[text]
            columns[text] = Series(
                [(value - said["mean"]) / said["std"] for value in lists],
                [place / said["step"] for place in places],
                [_numbers_of(mark, said["channels"], text) for mark in marks],
                len(said["channels"]), points,
            )  # fmt: skip
    return TokenSource(read.ids, images, tokeniser, names, columns)


def _numbers_of(mark: np.ndarray | None, channels: Sequence[str], text: str) -> np.ndarray:
    if mark is None:
        return np.empty(0, int)
    try:
        return np.array([channels.index(str(one)) for one in mark], int)
    except ValueError as fault:
        raise RequestError(
            f"{text}: a channel among {sorted(set(map(str, mark)))} is none of {list(channels)}"
        ) from fault
