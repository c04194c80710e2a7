"""Any images, as sky-subtracted flux in the bands, pixels and unit that a generator knows, or that a survey has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.ndimage import gaussian_filter

from skyloom.data import store
from skyloom.data.admission import Request
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.data.kinds import kind_of
from skyloom.data.pictures import picture_files, read_picture
from skyloom.data.readers.cutouts import read_cutouts
from skyloom.errors import CatalogueError, RequestError
from skyloom.infer.generator import Learnt, Match, matched
from skyloom.infer.pictures import drawn_light
from skyloom.infer.rows import sky_of
from skyloom.infer.suited import spelled
from skyloom.sky.psf import widening
from skyloom.sky.regrid import regrid
from skyloom.sky.resample import filled
from skyloom.sky.wavelengths import by_wavelength

SAME_PIXELS = 1e-3  # relative difference of pixel scales that is none
SAME_PSF = 0.05  # relative difference of the widths of PSFs that needs no word


class Known(Learnt, Protocol):
    """What images are brought to: a generator, or a survey.

    light : flux in each band of a typical galaxy; noise : rms of the sky in one pixel, per band
    """

    @property
    def light(self) -> Sequence[float]: ...

    @property
    def noise(self) -> Sequence[float]: ...


class Subject(NamedTuple):
    """One image. flux : sky-subtracted, in the bands, pixels and unit that are known"""

    object_id: str
    flux: Float32[np.ndarray, "c h w"]
    ra: float | None = None
    dec: float | None = None
    tile: str = ""


class Gallery(NamedTuple):
    """Images, read one by one as they are asked for; how many; what was done to all of them, one sentence each.

    pictured : they are pictures, and their brightness is a choice of ours
    """

    subjects: Iterator[Subject]
    total: int | None
    notes: tuple[str, ...]
    pictured: bool = False


def gallery(source: str | Path | store.Survey, known: Known, *, anyway: bool = False, alike: bool = False) -> Gallery:
    """A survey, FITS cutouts, a picture, or a folder of either, for a generator or beside the images of a survey.

    alike : to be compared: the PSF is widened to what is known, and bands that are not known are left out
    Raises RequestError if they do not suit and it was not asked for `anyway`, or if they are of another kind.
    """
    if isinstance(source, store.Survey):
        return _observed(source.read(), source.info, len(source), known, anyway, alike)
    path = Path(source)
    if path.suffix == ".lance":
        return gallery(store.open(path), known, anyway=anyway, alike=alike)
    kind = kind_of(path, None, None)
    if kind == "jpeg":
        return _pictured(path, known)
    if kind != "cutouts":
        raise RequestError(f"{path} holds images as {kind}; make it a survey with skyloom ingest, and give that")
    opened = read_cutouts(path, None, Request())
    return _observed(opened.cutouts, opened.info, opened.total, known, anyway, alike)


def _pictured(path: Path, known: Known) -> Gallery:
    files = picture_files(path)
    stems = [file.stem for file in files]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise CatalogueError(f"{path} holds several pictures named {', '.join(twice[:5])}; rename all but one of each")
    lights = (drawn_light(read_picture(file, str(file)), known.info, known.light, known.noise) for file in files)
    subjects = (Subject(stem, light) for stem, light in zip(stems, lights, strict=True))
    note = (
        "Made from pictures: the largest square about the middle of each, its upper edge the last row; ink on paper "
        "turned round, dark for bright; white is the colour of a typical galaxy, brightness that of a well seen one."
    )
    return Gallery(subjects, len(files), (note,), pictured=True)


def _observed(
    cutouts: Iterator[Cutout], info: SurveyInfo, total: int | None, known: Known, anyway: bool, alike: bool
) -> Gallery:
    left_out: list[str] = []
    if alike:
        cutouts, info, left_out = _common(cutouts, info, known)
    ratio, notes = _ratio(info, known)
    resampled = replace(info, pixel_scale=info.pixel_scale if ratio == 1 else known.info.pixel_scale)
    match = matched(known, resampled, anyway=anyway)
    borrowed = _borrowed(match, known)
    names = known.info.band_names
    if left_out:
        notes.append(f"Bands that {known.name} lacks were left out: {', '.join(left_out)}.")
    if borrowed:
        pairs = ", ".join(f"{names[band]} from {names[other]}" for band, other in borrowed.items())
        notes.append(
            f"Bands that the source lacks took their light from others, in a typical galaxy's colours: {pairs}."
        )
    blur, said = _blur(match, info, known) if alike else (np.zeros(len(names)), [])
    subjects = (_subject(cutout, known, match, ratio, borrowed, blur) for cutout in cutouts)
    return Gallery(subjects, total, (*notes, *said))


def _common(
    cutouts: Iterator[Cutout], info: SurveyInfo, known: Known
) -> tuple[Iterator[Cutout], SurveyInfo, list[str]]:
    """The images in those of their bands that are known, and the names of the others."""
    there = {spelled(name) for name in known.info.band_names}
    keep = [band for band, name in enumerate(info.band_names) if spelled(name) in there]
    left_out = [name for name in info.band_names if spelled(name) not in there]
    if not keep:
        raise RequestError(
            f"the query has bands {', '.join(info.band_names)} and {known.name} has "
            f"{', '.join(known.info.band_names)}; give an image in at least one of them"
        )
    if (info.pixel_scale is None) != (known.info.pixel_scale is None):
        raise RequestError(
            f"only one of the query and {known.name} says how large its pixels are, so they cannot be brought to one "
            "scale; give an image with a WCS, or ingest with --pixel-scale"
        )
    if not left_out:
        return cutouts, info, []
    return (
        (_in_bands(one, keep) for one in cutouts),
        replace(info, bands=tuple(info.bands[band] for band in keep)),
        left_out,
    )


def _in_bands(cutout: Cutout, bands: list[int]) -> Cutout:
    sky, rms = (None if values is None else values[bands] for values in (cutout.sky, cutout.sky_rms))
    flux, ivar = (np.ascontiguousarray(planes[bands]) for planes in (cutout.flux, cutout.ivar))
    return replace(cutout, flux=flux, ivar=ivar, sky=sky, sky_rms=rms)


def _blur(match: Match, info: SurveyInfo, known: Known) -> tuple[Float[np.ndarray, "c"], list[str]]:
    """σ of the Gaussian that brings the PSF of each band to the known one [pixel], and what is to be said of it."""
    sigmas, unknown, wider = np.zeros(len(match.bands)), [], []
    for band, place in enumerate(match.bands):
        name, target = known.info.band_names[band], known.info.bands[band].psf_fwhm
        own = None if place is None else info.bands[place].psf_fwhm
        if place is None:
            continue
        if own is None or target is None or known.info.pixel_scale is None:
            unknown.append(name)
        elif own > target * (1 + SAME_PSF):
            wider.append(f"{name} ({own:g} beside {target:g} arcsec)")
        else:
            sigmas[band] = widening(own, target) / known.info.pixel_scale
    notes = []
    if sigmas.any():
        widened = ", ".join(known.info.band_names[band] for band in np.flatnonzero(sigmas))
        notes.append(f"Blurred to the PSF of {known.name} in {widened}.")
    if unknown:
        notes.append(f"Taken as of one PSF, as its width is not known in {', '.join(unknown)}.")
    if wider:
        notes.append(f"The PSF is wider than that of {known.name}, which cannot be undone, in {', '.join(wider)}.")
    return sigmas, notes


def _ratio(info: SurveyInfo, known: Known) -> tuple[float, list[str]]:
    """Side of the known pixels in the source's, and what is to be said of it; 1 where either is not known."""
    ours, theirs = known.info.pixel_scale, info.pixel_scale
    notes = []
    if ours is None or theirs is None or abs(ours / theirs - 1) < SAME_PIXELS:
        ratio = 1.0
    else:
        ratio = ours / theirs
        notes.append(f"Resampled from pixels of {theirs:g} arcsec to {ours:g}; light was neither lost nor made.")
    if (ratio, info.shape) != (1.0, known.info.shape):
        height, width = known.info.shape
        notes.append(f"The middle {width} × {height} pixels; what lies outside the source is empty sky.")
    return ratio, notes


def _borrowed(match: Match, known: Known) -> dict[int, int]:
    """For each of the known bands that the source lacks, the nearest in wavelength that it has."""
    order = by_wavelength(known.info.band_names)
    rank = [order.index(name) for name in known.info.band_names]
    there = [band for band, place in enumerate(match.bands) if place is not None]
    if not there:
        raise RequestError(f"the source has none of the bands of {known.name}, {', '.join(order)}; give one that has")
    return {
        band: min(there, key=lambda other: abs(rank[other] - rank[band]))
        for band, place in enumerate(match.bands)
        if place is None
    }


def _subject(
    cutout: Cutout,
    known: Known,
    match: Match,
    ratio: float,
    borrowed: dict[int, int],
    blur: Float[np.ndarray, "c"],
) -> Subject:
    level, _ = sky_of(cutout)
    good = (cutout.ivar > 0) & np.isfinite(level)[:, None, None]
    light = np.where(good, cutout.flux - np.nan_to_num(level)[:, None, None], 0)
    light = match.enter(_without_holes(*regrid(light, good, ratio, known.info.shape)))
    for band, sigma in enumerate(blur):
        light[band] = gaussian_filter(light[band], sigma) if sigma else light[band]
    for band, other in borrowed.items():
        light[band] = light[other] * (known.light[band] / known.light[other])
    return Subject(cutout.object_id, light.astype(np.float32), cutout.ra, cutout.dec, cutout.tile)


def _without_holes(light: Float[np.ndarray, "c h w"], share: Float[np.ndarray, "c h w"]) -> Float[np.ndarray, "c h w"]:
    """Bad pixels take the mean of the good ones near them; 0, the sky, where there is none."""
    flux, good = (torch.from_numpy(np.asarray(planes, np.float64)) for planes in (light, share > 0))
    return filled(flux, good).numpy()
