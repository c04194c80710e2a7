"""Any images, as sky-subtracted flux in the bands, pixels and unit that a generator knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32

from skyloom.data import store
from skyloom.data.admission import Request
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.data.kinds import kind_of
from skyloom.data.pictures import picture_files, read_picture
from skyloom.data.readers.cutouts import read_cutouts
from skyloom.errors import CatalogueError, RequestError
from skyloom.infer.generator import Generator, Match, matched
from skyloom.infer.pictures import drawn_light
from skyloom.infer.rows import sky_of
from skyloom.sky.regrid import regrid
from skyloom.sky.resample import filled
from skyloom.sky.wavelengths import by_wavelength

SAME_PIXELS = 1e-3  # relative difference of pixel scales that is none


class Subject(NamedTuple):
    """One image. flux : sky-subtracted, in the generator's bands, pixels and unit"""

    object_id: str
    flux: Float32[np.ndarray, "c h w"]
    ra: float | None = None
    dec: float | None = None
    tile: str = ""


class Gallery(NamedTuple):
    """Images, read one by one as they are asked for; how many; what was done to all of them, one sentence each."""

    subjects: Iterator[Subject]
    total: int | None
    notes: tuple[str, ...]


def gallery(source: str | Path | store.Survey, generator: Generator, *, anyway: bool = False) -> Gallery:
    """A survey, FITS cutouts, a picture, or a folder of either, for a generator.

    Raises RequestError if they do not suit and it was not asked for `anyway`, or if they are of another kind.
    """
    if isinstance(source, store.Survey):
        return _observed(source.read(), source.info, len(source), generator, anyway)
    path = Path(source)
    if path.suffix == ".lance":
        return gallery(store.open(path), generator, anyway=anyway)
    kind = kind_of(path, None, None)
    if kind == "jpeg":
        return _pictured(path, generator)
    if kind != "cutouts":
        raise RequestError(f"{path} holds images as {kind}; make it a survey with skyloom ingest, and give that")
    opened = read_cutouts(path, None, Request())
    return _observed(opened.cutouts, opened.info, opened.total, generator, anyway)


def _pictured(path: Path, generator: Generator) -> Gallery:
    files = picture_files(path)
    stems = [file.stem for file in files]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise CatalogueError(f"{path} holds several pictures named {', '.join(twice[:5])}; rename all but one of each")
    lights = (
        drawn_light(read_picture(file, str(file)), generator.info, generator.light, generator.noise) for file in files
    )
    subjects = (Subject(stem, light) for stem, light in zip(stems, lights, strict=True))
    note = (
        "Made from pictures: the largest square about the middle of each, its upper edge the last row; ink on paper "
        "turned round, dark for bright; white is the colour of a typical galaxy, brightness that of a well seen one."
    )
    return Gallery(subjects, len(files), (note,))


def _observed(
    cutouts: Iterator[Cutout], info: SurveyInfo, total: int | None, generator: Generator, anyway: bool
) -> Gallery:
    ratio, notes = _ratio(info, generator)
    resampled = replace(info, pixel_scale=info.pixel_scale if ratio == 1 else generator.info.pixel_scale)
    match = matched(generator, resampled, anyway=anyway)
    borrowed = _borrowed(match, generator)
    if borrowed:
        names = generator.info.band_names
        pairs = ", ".join(f"{names[band]} from {names[other]}" for band, other in borrowed.items())
        notes.append(
            f"Bands that the source lacks took their light from others, in a typical galaxy's colours: {pairs}."
        )
    subjects = (_subject(cutout, generator, match, ratio, borrowed) for cutout in cutouts)
    return Gallery(subjects, total, tuple(notes))


def _ratio(info: SurveyInfo, generator: Generator) -> tuple[float, list[str]]:
    """Side of the generator's pixels in the source's, and what is to be said of it; 1 where either is not known."""
    ours, theirs = generator.info.pixel_scale, info.pixel_scale
    notes = []
    if ours is None or theirs is None or abs(ours / theirs - 1) < SAME_PIXELS:
        ratio = 1.0
    else:
        ratio = ours / theirs
        notes.append(f"Resampled from pixels of {theirs:g} arcsec to {ours:g}; light was neither lost nor made.")
    if (ratio, info.shape) != (1.0, generator.info.shape):
        height, width = generator.info.shape
        notes.append(f"The middle {width} × {height} pixels; what lies outside the source is empty sky.")
    return ratio, notes


def _borrowed(match: Match, generator: Generator) -> dict[int, int]:
    """For each of the generator's bands that the source lacks, the nearest in wavelength that it has."""
    order = by_wavelength(generator.info.band_names)
    rank = [order.index(name) for name in generator.info.band_names]
    known = [band for band, place in enumerate(match.bands) if place is not None]
    if not known:
        raise RequestError(
            f"the source has none of the bands of {generator.name}, {', '.join(order)}; give one that has"
        )
    return {
        band: min(known, key=lambda other: abs(rank[other] - rank[band]))
        for band, place in enumerate(match.bands)
        if place is None
    }


def _subject(cutout: Cutout, generator: Generator, match: Match, ratio: float, borrowed: dict[int, int]) -> Subject:
    level, _ = sky_of(cutout)
    good = (cutout.ivar > 0) & np.isfinite(level)[:, None, None]
    light = np.where(good, cutout.flux - np.nan_to_num(level)[:, None, None], 0)
    light = match.enter(_without_holes(*regrid(light, good, ratio, generator.info.shape)))
    for band, other in borrowed.items():
        light[band] = light[other] * (generator.light[band] / generator.light[other])
    return Subject(cutout.object_id, light.astype(np.float32), cutout.ra, cutout.dec, cutout.tile)


def _without_holes(light: Float[np.ndarray, "c h w"], share: Float[np.ndarray, "c h w"]) -> Float[np.ndarray, "c h w"]:
    """Bad pixels take the mean of the good ones near them; 0, the sky, where there is none."""
    flux, good = (torch.from_numpy(np.asarray(planes, np.float64)) for planes in (light, share > 0))
    return filled(flux, good).numpy()
