"""Objects as a source gives them, made to agree with each other: one set of bands, one size, one unit; or set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.data.headers import (
    SCALE_TOLERANCE,
    ZERO_POINT_TOLERANCE,
    agree_on_pixel_scale,
    agree_on_zero_points,
    shift_cards,
    unknowns,
)
from skyloom.data.source import Quarantine, Source
from skyloom.data.weights import WEIGHTS_GIVEN, WEIGHTS_MEASURED, weights_from_noise
from skyloom.errors import CatalogueError, CutoutError, RequestError, SkyloomError, SourceError, UnitError

FROM_PLACE = "Bands are not named in the source: they are called band0, band1, … by their place."
ROUNDED = "The source holds float64 or 32-bit integers; the store rounds them to float32."


@dataclass(frozen=True)
class Piece:
    """One object as its source gives it, of any size.

    ivar : None if the source has no weight map; `bad` then marks what its mask says
    least_noise : [flux] of pixels rounded to whole numbers; 0 otherwise
    notes : what is to be known of the pixels, one sentence each
    """

    bands: tuple[Band, ...]
    flux: Float32[np.ndarray, "c h w"]
    ivar: Float32[np.ndarray, "c h w"] | None = None
    bad: Bool[np.ndarray, "c h w"] | None = None
    pixel_scale: float | None = None
    wcs: str | None = None
    ra: float | None = None
    dec: float | None = None
    tile: str = ""
    sky: Float32[np.ndarray, "c"] | None = None
    sky_rms: Float32[np.ndarray, "c"] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    least_noise: float = 0.0
    notes: tuple[str, ...] = ()


class Attempt(NamedTuple):
    """An object still to be read. row : from 1, to name in errors; read : raises a SkyloomError if it cannot be."""

    object_id: str
    file: str
    row: int | None
    read: Callable[[], Piece]


@dataclass(frozen=True)
class Request:
    """What the user asked of one ingest; the facts fill what a source leaves out and may not contradict it."""

    size: int | None = None
    pixel_scale: float | None = None
    zero_point: Mapping[str, float] | None = None
    skip_bad: bool = False

    def __post_init__(self):
        if self.size is not None and self.size < 1:
            raise RequestError(f"--size {self.size} must be at least 1 pixel")
        if self.pixel_scale is not None and not self.pixel_scale > 0:
            raise UnitError(f"--pixel-scale {self.pixel_scale} arcsec/pixel must be positive")


def admit(
    attempts: Iterable[Attempt],
    request: Request,
    source: str,
    *,
    quarantine: Sequence[Quarantine] = (),
    total: int | None = None,
    known: SurveyInfo | None = None,
    notes: Sequence[str] = (),
) -> Source:
    """Read until the first good object tells what the survey is; the rest stays lazy and must agree with it.

    quarantine : what was set aside before any pixel was read
    known : the survey's facts, if the source states them (an export of skyloom); the first object must agree with them
    Raises what the first bad object raises, unless request.skip_bad; SourceError if no object at all is good.
    """
    aside = list(quarantine)
    told = _Teller(request, aside)
    stream = iter(attempts)
    for first, piece in told.pieces(stream):
        try:
            info = _info(piece, request, source, notes) if known is None else _stated(known, request, source)
            weighted = piece.ivar is not None
            cutout = _cutout(first, piece, info, request.size, weighted)
        except SkyloomError as error:
            told.refuse(first, error)
            continue
        break
    else:
        reason = f"; the first: {aside[0].reason}" if aside else ""
        raise SourceError(source, f"not one object could be read{reason}", "correct the source")
    told.seen.add(first.object_id)
    return Source(info, chain([cutout], _rest(told, stream, info, request.size, weighted)), aside, total)


@dataclass
class _Teller:
    """Reads attempts one by one; a bad one is raised with its file and row, or goes to the quarantine."""

    request: Request
    aside: list[Quarantine]
    seen: set[str] = field(default_factory=set)

    def pieces(self, attempts: Iterator[Attempt]) -> Iterator[tuple[Attempt, Piece]]:
        for attempt in attempts:
            if attempt.object_id in self.seen:
                self.refuse(attempt, CatalogueError(f"object_id {attempt.object_id!r} occurs twice; give each its own"))
                continue
            try:
                piece = attempt.read()
            except SkyloomError as error:
                self.refuse(attempt, error)
                continue
            yield attempt, piece

    def refuse(self, attempt: Attempt, error: SkyloomError) -> None:
        if not self.request.skip_bad:
            place = f"{attempt.file}" + (f", row {attempt.row}" if attempt.row is not None else "")
            if isinstance(error, SourceError) and attempt.file in str(error):
                raise error
            raise type(error)(place, str(error)) if isinstance(error, SourceError) else type(error)(f"{place}: {error}")
        self.aside.append(Quarantine(attempt.object_id, attempt.file, attempt.row, str(error)))


def _rest(
    told: _Teller, stream: Iterator[Attempt], info: SurveyInfo, size: int | None, weighted: bool
) -> Iterator[Cutout]:
    for attempt, piece in told.pieces(stream):
        try:
            cutout = _cutout(attempt, piece, info, size, weighted)
        except SkyloomError as error:
            told.refuse(attempt, error)
            continue
        told.seen.add(attempt.object_id)
        yield cutout


def _info(piece: Piece, request: Request, source: str, notes: Sequence[str]) -> SurveyInfo:
    scale = agree_on_pixel_scale(piece.pixel_scale, request.pixel_scale, source)
    bands = agree_on_zero_points(piece.bands, request.zero_point, source)
    height, width = piece.flux.shape[1:]
    weights = WEIGHTS_MEASURED if piece.ivar is None else WEIGHTS_GIVEN
    return SurveyInfo(
        bands=bands,
        shape=(request.size or height, request.size or width),
        pixel_scale=scale,
        source=source,
        notes=(*notes, *piece.notes, weights, *unknowns(bands, scale, piece.wcs is not None)),
    )


def _stated(known: SurveyInfo, request: Request, source: str) -> SurveyInfo:
    """The facts that an export carries, with what the user adds."""
    return replace(
        known,
        bands=agree_on_zero_points(known.bands, request.zero_point, source),
        pixel_scale=agree_on_pixel_scale(known.pixel_scale, request.pixel_scale, source),
        shape=known.shape if request.size is None else (request.size, request.size),
    )


def _cutout(attempt: Attempt, piece: Piece, info: SurveyInfo, size: int | None, weighted: bool) -> Cutout:
    """The piece in the survey's bands, order and size, with a weight for every pixel."""
    where = f"object {attempt.object_id!r}"
    order = _order(piece, info, where)
    if (piece.ivar is not None) != weighted:
        lacks, has = ("no weight map", "have one") if piece.ivar is None else ("a weight map", "have none")
        raise CutoutError(f"{where} has {lacks} and the objects before it {has}; ingest them into two surveys")
    if size is None and piece.flux.shape[1:] != info.shape:
        raise CutoutError(
            f"{where} has shape {piece.flux.shape[1:]} and the survey {info.shape}; --size cuts all alike"
        )
    flux, window = _centred(piece.flux[order], info.shape, np.float32(np.nan))
    sky, rms = piece.sky, piece.sky_rms
    if piece.ivar is None:
        bad = None if piece.bad is None else _centred(piece.bad[order], info.shape, np.True_)[0]
        ivar, *measured = weights_from_noise(flux, bad, where, piece.least_noise)
        sky, rms = measured if sky is None else (sky[order], rms[order] if rms is not None else None)
    else:
        ivar = _centred(piece.ivar[order], info.shape, np.float32(0))[0]
        sky, rms = (None if value is None else value[order] for value in (sky, rms))
    return Cutout(
        attempt.object_id,
        flux,
        ivar,
        ra=piece.ra,
        dec=piece.dec,
        tile=piece.tile,
        wcs=shift_cards(piece.wcs, *window),
        sky=sky,
        sky_rms=rms,
        columns=piece.columns,
    )


def _order(piece: Piece, info: SurveyInfo, where: str) -> list[int]:
    """Where each band of the survey lies in the piece; errors where the two do not mean the same."""
    names = [band.name for band in piece.bands]
    if sorted(names) != sorted(info.band_names):
        raise CutoutError(f"{where} has bands {', '.join(names)} and the survey {', '.join(info.band_names)}")
    order = [names.index(name) for name in info.band_names]
    for ours, theirs in zip((piece.bands[i] for i in order), info.bands, strict=True):
        a, b = ours.zero_point, theirs.zero_point
        if a is not None and (b is None or abs(a - b) > ZERO_POINT_TOLERANCE):
            raise UnitError(f"{where}, band {ours.name!r}: zero point {a:g} mag, the survey's {b}; rescale its flux")
        if ours.unit != theirs.unit:
            raise UnitError(
                f"{where}, band {ours.name!r}: unit {ours.unit!r}, the survey's {theirs.unit!r}; rescale it"
            )
    a, b = piece.pixel_scale, info.pixel_scale
    if a is not None and (b is None or abs(a / b - 1) > SCALE_TOLERANCE):
        raise UnitError(
            f"{where}: {a:.5g} arcsec/pixel, the survey's {b}; resample it, or ingest it into another survey"
        )
    return order


def _centred(cube: np.ndarray, shape: tuple[int, int], fill: Any) -> tuple[np.ndarray, tuple[int, int]]:
    """Crop or pad so that pixel (W // 2, H // 2) stays the middle; with the first pixel (x, y) of the window."""
    if cube.shape[1:] == shape:
        return cube, (0, 0)
    out = np.full((len(cube), *shape), fill, cube.dtype)
    first = [old // 2 - new // 2 for old, new in zip(cube.shape[1:], shape, strict=True)]
    inner = [slice(max(0, a), min(a + new, old)) for a, new, old in zip(first, shape, cube.shape[1:], strict=True)]
    there = [slice(s.start - a, s.stop - a) for s, a in zip(inner, first, strict=True)]
    out[:, there[0], there[1]] = cube[:, inner[0], inner[1]]
    return out, (first[1], first[0])
