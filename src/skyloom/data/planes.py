"""One object's FITS files as planes on one grid: flux by band, and the weight, noise and mask maps beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from skyloom.data.cutout import Band
from skyloom.data.filenames import BAND
from skyloom.data.headers import (
    SCALE_TOLERANCE,
    Facts,
    band_name,
    facts_of,
    image_hdus,
    open_fits,
    read_pixels,
    sky_offset,
)
from skyloom.data.weights import inverse_variance, role
from skyloom.errors import CutoutError, UnitError


@dataclass(frozen=True)
class Plane:
    """One 2-D image of one band, and what its header says.

    role : flux, ivar, variance, sigma or mask
    named : whether the source names its band; else the band is called by its position, band0, band1, …
    """

    pixels: Float32[np.ndarray, "h w"]
    facts: Facts
    role: str
    named: bool
    where: str
    rounded: bool
    measured: tuple[float, float] | None  # sky and sky rms that an earlier skyloom wrote beside the pixels


@dataclass(frozen=True)
class Stack:
    """The planes of one object, on one grid: what a cutout is made of before it has a size and a weight.

    ivar : None if the source has no weight map; the mask, if there is one, is then in `bad`
    rounded : whether the file holds numbers that float32 rounds
    """

    bands: tuple[Band, ...]
    flux: Float32[np.ndarray, "c h w"]
    ivar: Float32[np.ndarray, "c h w"] | None
    bad: np.ndarray | None
    pixel_scale: float | None
    wcs: str | None
    named: bool
    rounded: bool
    sky: Float32[np.ndarray, "c"] | None
    sky_rms: Float32[np.ndarray, "c"] | None
    facts: Mapping[str, object]


def read_stack(files: Mapping[str | None, Mapping[str, Path]], hdu: int | None = None) -> Stack:
    """Read the files of one object, {band or None: {role: file}}, and align them band by band.

    hdu : read this HDU only
    Raises SourceError for a damaged file, CutoutError for bands of different shape or place or for bad weights,
    UnitError for bands of different pixel scale.
    """
    planes: list[Plane] = []
    about: dict[str, object] = {}
    for band, by_role in files.items():
        for by_name, file in by_role.items():
            planes.extend(_planes_of(file, band, by_name, hdu, about))
    flux = [plane for plane in planes if plane.role == "flux"]
    if not flux:
        raise CutoutError(f"{planes[0].where}: only {planes[0].role} maps and no image; add the image")
    flux = _name_bands(flux)
    _check_grid(flux)
    cube = np.stack([plane.pixels for plane in flux])
    maps = {kind: _maps(kind, flux, planes) for kind in ("ivar", "sigma", "variance", "mask")}
    present = {kind: values for kind, values in maps.items() if values is not None}
    measured = [plane.measured for plane in flux if plane.measured]
    sky, rms = np.array(measured, np.float32).T if len(measured) == len(flux) else (None, None)
    return Stack(
        bands=tuple(plane.facts.band for plane in flux),
        flux=cube,
        ivar=inverse_variance(present, cube, flux[0].where),
        bad=present["mask"] != 0 if "mask" in present else None,
        pixel_scale=next((plane.facts.pixel_scale for plane in flux if plane.facts.pixel_scale), None),
        wcs=next((plane.facts.wcs for plane in flux if plane.facts.wcs), None),
        named=all(plane.named for plane in flux),
        rounded=any(plane.rounded for plane in flux),
        sky=sky,
        sky_rms=rms,
        facts=about,
    )


def _planes_of(file: Path, band: str | None, by_name: str, only: int | None, about: dict) -> Iterator[Plane]:
    with open_fits(file) as hdus:
        about.update({card: hdus[0].header[card] for card in ("OBJECT", "TILE", "BRICK") if card in hdus[0].header})
        images = image_hdus(hdus, file)
        if only is not None and only not in images:
            raise CutoutError(f"{file}: HDU {only} is no image; its images are HDUs {images}")
        for index in images if only is None else [only]:
            hdu = hdus[index]
            kind = by_name if by_name != "flux" else _role_of(hdu)
            if kind == "other":
                continue
            pixels = read_pixels(hdu, file)
            where = f"{file}[{index}]" if len(images) > 1 else str(file)
            rounded = hdu.header["BITPIX"] in (-64, 32, 64)
            facts = facts_of(hdu.header, file)
            sky = tuple(hdu.header.get(card, np.nan) for card in ("SKYLEVEL", "SKYRMS"))
            measured = sky if "SKYLEVEL" in hdu.header else None
            for number, plane in enumerate(pixels.reshape(-1, *pixels.shape[-2:])):
                name = band or _band_of(hdu, number if pixels.ndim == 3 else None)
                named = replace(facts.band, name=name or "")
                yield Plane(plane, facts._replace(band=named), kind, bool(name), where, rounded, measured)


def _role_of(hdu) -> str:
    """By the HDU's name, whole or in parts (IVAR_G), or IMAGETYP; flux if neither says anything."""
    words = (hdu.name, *re.split(r"[_\-\s]", hdu.name), str(hdu.header.get("IMAGETYP", "")))
    return next((found for word in words if (found := role(word))), "flux")


def _band_of(hdu, plane: int | None) -> str | None:
    """Plane `plane` of a cube by its header; an image of its own by its header, else by the HDU's name."""
    if plane is not None:
        alone = hdu.shape[0] == 1
        return band_name(hdu.header, plane) or (band_name(hdu.header) if alone else None)
    name = str(hdu.header.get("EXTNAME", ""))
    words = (word for word in re.split(r"[_\-\s]", name) if BAND.fullmatch(word))
    return band_name(hdu.header) or next(words, None)


def _name_bands(flux: list[Plane]) -> list[Plane]:
    """Planes without a name are called by position; CutoutError if two have the same name."""
    if not all(plane.named for plane in flux):
        flux = [_renamed(plane, f"band{number}") for number, plane in enumerate(flux)]
    names = [plane.facts.band.name for plane in flux]
    if len(set(names)) != len(names):
        raise CutoutError(f"{flux[0].where}: bands {', '.join(names)} are not distinct; name each in its BAND card")
    return flux


def _renamed(plane: Plane, name: str) -> Plane:
    return replace(plane, named=False, facts=plane.facts._replace(band=replace(plane.facts.band, name=name)))


def _check_grid(flux: list[Plane]) -> None:
    """One shape, one pixel scale, one place on the sky to half a pixel, for all bands."""
    first = flux[0]
    for plane in flux[1:]:
        ours, theirs = (f"band {p.facts.band.name!r} of {p.where}" for p in (plane, first))
        shapes = plane.pixels.shape, first.pixels.shape
        if shapes[0] != shapes[1]:
            raise CutoutError(f"{ours} has shape {shapes[0]} and {theirs} {shapes[1]}; bring them to one grid")
        a, b = plane.facts.pixel_scale, first.facts.pixel_scale
        if a and b and abs(a / b - 1) > SCALE_TOLERANCE:
            raise UnitError(f"{ours} has {a:.5g} arcsec/pixel and {theirs} {b:.5g}; reproject them to one grid")
        if plane.facts.wcs and first.facts.wcs and plane.facts.wcs != first.facts.wcs:
            offset = sky_offset(plane.facts.wcs, first.facts.wcs, first.pixels.shape)
            if offset > 0.5:
                raise CutoutError(f"{ours} lies {offset:.1f} pixels away from {theirs}; reproject them to one grid")


def _maps(kind: str, flux: list[Plane], planes: list[Plane]) -> Float32[np.ndarray, "c h w"] | None:
    """The maps of one role, one per flux plane: by band where named, else one each in order, else one for all."""
    found = [plane for plane in planes if plane.role == kind]
    if not found:
        return None
    by_band = {plane.facts.band.name: plane.pixels for plane in found if plane.named}
    names = [plane.facts.band.name for plane in flux]
    if set(names) <= set(by_band) and all(plane.named for plane in flux):
        chosen = [by_band[name] for name in names]
    elif len(found) == len(flux):
        chosen = [plane.pixels for plane in found]
    elif len(found) == 1:
        chosen = [found[0].pixels] * len(flux)
    else:
        raise CutoutError(
            f"{found[0].where}: {len(found)} {kind} maps for {len(flux)} bands; name the band of each in a BAND card"
        )
    shape = flux[0].pixels.shape
    for pixels in chosen:
        if pixels.shape != shape:
            raise CutoutError(
                f"{found[0].where}: the {kind} map has shape {pixels.shape}, the image {shape}; bring them to one grid"
            )
    return np.stack(chosen)
