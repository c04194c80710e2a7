"""FITS mosaics: one file per band, or one file with several; objects from a catalogue, or detected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.coordinates import SkyCoord

from skyloom.data.catalogues import Catalogue, read_catalogue, sound_rows
from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.data.detections import find_targets
from skyloom.data.filenames import BAND, parse, stem_of
from skyloom.data.headers import (
    FITS_SUFFIXES,
    SCALE_TOLERANCE,
    Facts,
    agree_on_pixel_scale,
    agree_on_zero_points,
    band_name,
    facts_of,
    image_hdus,
    open_fits,
    read_pixels,
    sky_offset,
    unknowns,
    wcs_of,
)
from skyloom.data.mosaic import GRID, Target, Window, cut, grid_targets, sky_meshes
from skyloom.data.source import Quarantine, Source
from skyloom.data.weights import WEIGHTS_GIVEN, inverse_variance, mark_bad, role
from skyloom.errors import CatalogueError, CutoutError, RequestError, SourceError, UnitError

DEFAULT_SIZE = 64  # [pixel]
ALIGNED = 0.1  # the most that the WCS of two bands may disagree at a corner [pixel]
BLUE_TO_RED = ("FUV", "NUV", *"uUBgVrRiIzZyYJHK", "Ks", "W1", "W2", "W3", "W4")

SKY_NOTE = (
    "Sky level and rms were measured in a mesh of 256 pixels and stored as sky and sky_rms; no pixel was changed."
)
FLAT_NOTE = "No weight map for {}: their ivar is 1/rms² of the sky about each object, without the sources' own noise."
DETECTED_NOTE = "No catalogue: the objects were detected at 1.5σ in 8 pixels of the mean S/N of all bands."
GRID_NOTE = "No catalogue: pieces side by side, as a grid lies over the mosaic; they are about no object."
PADDED_NOTE = "Cutouts that reach over the edge of the mosaic are padded with NaN and ivar 0."


class Plane(NamedTuple):
    """One 2-D image in a FITS file: where it is, what it is, and what its header says. plane : of a cube, or None."""

    path: Path
    hdu: int
    plane: int | None
    band: str
    role: str
    facts: Facts
    shape: tuple[int, int]


@dataclass(frozen=True)
class Files:
    """A mosaic in FITS files, read window by window; use as a context, within which the files stay open.

    maps : per band, {role: plane}, "flux" among the roles
    """

    file: str
    name: str
    bands: tuple[Band, ...]
    shape: tuple[int, int]
    maps: tuple[Mapping[str, Plane], ...]
    wcs: str | None
    _open: dict = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def weighted(self) -> tuple[bool, ...]:
        return tuple(bool(planes.keys() & {"ivar", "sigma", "variance"}) for planes in self.maps)

    def __enter__(self) -> Files:
        for plane in (plane for planes in self.maps for plane in planes.values()):
            if plane.path not in self._open:
                self._open[plane.path] = self._stack.enter_context(open_fits(plane.path))
        return self

    def __exit__(self, *error) -> None:
        self._open.clear()
        self._stack.close()

    def window(self, rows: slice, columns: slice) -> Window:
        fluxes, weights = [], []
        for planes in self.maps:
            pixels = {role: self._pixels(plane, rows, columns) for role, plane in planes.items()}
            flux = pixels.pop("flux")
            weight = inverse_variance(pixels, flux, str(planes["flux"].path))
            fluxes.append(flux)
            weights.append(mark_bad(np.ones_like(flux), flux, pixels.get("mask")) if weight is None else weight)
        return Window(np.array(fluxes), np.array(weights))

    def _pixels(self, plane: Plane, rows: slice, columns: slice) -> np.ndarray:
        pixels = read_pixels(self._open[plane.path][plane.hdu], plane.path, rows, columns)
        return pixels if plane.plane is None else pixels[plane.plane]


def read_mosaic(
    source: str | Path,
    *,
    catalogue: str | Path | None = None,
    size: int | None = None,
    pixel_scale: float | None = None,
    zero_point: Mapping[str, float] | None = None,
    skip_bad: bool = False,
) -> Source:
    """Cut a mosaic about the objects of a catalogue, or about its sources if there is none.

    source : a FITS file, or a folder of them, one per band; maps of weight, noise or bad pixels beside them are told
        by their names (r.weight.fits, r_rms.fits, r_ivar.fits, r_mask.fits, or the names of HDUs)
    catalogue : object_id with ra and dec [deg], or with x and y [pixel, 0 is the centre of the first]; or "grid", for
        pieces side by side that cover the mosaic
    size : side of a cutout [pixel], 64 if not given
    Cutouts come in the order of their rows in the mosaic, which is read twice, window by window, in ≤ 1 GB.
    Raises RequestError for a size beyond the mosaic, SourceError, CutoutError or UnitError for files that are damaged
    or not on one grid, CatalogueError for a position off the mosaic unless skip_bad sets it aside.
    """
    path = Path(source)
    mosaic = _assemble(path)
    size = DEFAULT_SIZE if size is None else size
    if not 1 <= size <= min(mosaic.shape):
        raise RequestError(
            f"--size {size} does not fit {path}, which has {mosaic.shape[1]} × {mosaic.shape[0]} pixels; "
            f"ask for at most {min(mosaic.shape)}"
        )
    bands = agree_on_zero_points(mosaic.bands, zero_point, str(path))
    stated = next((p["flux"].facts.pixel_scale for p in mosaic.maps if p["flux"].facts.pixel_scale), None)
    scale = agree_on_pixel_scale(stated, pixel_scale, str(path))
    mosaic = replace(mosaic, bands=bands)
    quarantine: list[Quarantine] = []
    targets = None if catalogue is None else _wanted(mosaic, catalogue, size, quarantine, skip_bad)
    notes = _notes(mosaic, scale, targets is None)
    notes = (*notes, GRID_NOTE) if str(catalogue) == GRID else notes
    info = SurveyInfo(bands, (size, size), scale, source=str(path), notes=notes)
    total = None if targets is None else len(targets) + len(quarantine)
    return Source(info, _cutouts(mosaic, targets, size, quarantine if skip_bad else None), quarantine, total)


def _wanted(mosaic: Files, catalogue: str | Path, size: int, quarantine, skip_bad: bool) -> list[Target]:
    if str(catalogue) == GRID:
        return grid_targets(mosaic, size)
    return _targets(mosaic, Path(catalogue), quarantine, skip_bad)


def _cutouts(
    mosaic: Files, targets: Sequence[Target] | None, size: int, quarantine: list[Quarantine] | None
) -> Iterator[Cutout]:
    with mosaic:
        meshes = sky_meshes(mosaic)
        found = find_targets(mosaic, meshes) if targets is None else targets
        if not found:
            raise SourceError(
                mosaic.file, "no source in it is brighter than the noise", "give a catalogue of positions"
            )
        yield from cut(mosaic, found, size, meshes, quarantine)


def _notes(mosaic: Files, scale: float | None, detected: bool) -> tuple[str, ...]:
    flat = [band.name for band, weighted in zip(mosaic.bands, mosaic.weighted, strict=True) if not weighted]
    notes = [SKY_NOTE, PADDED_NOTE, *unknowns(mosaic.bands, scale, mosaic.wcs is not None)]
    if flat:
        notes.append(FLAT_NOTE.format(", ".join(flat)))
    if any(mosaic.weighted):
        notes.append(WEIGHTS_GIVEN)
    return (*notes, DETECTED_NOTE) if detected else tuple(notes)


def _assemble(source: Path) -> Files:
    """The bands of a mosaic and the maps beside them, from headers alone; they must be on one grid."""
    planes = [plane for path in _files(source) for plane in _planes_of(path)]
    flux = _by_wavelength([plane for plane in planes if plane.role == "flux"])
    if not flux:
        raise SourceError(
            source, f"only maps by their names ({', '.join(p.path.name for p in planes)})", "add the image"
        )
    names = [plane.band for plane in flux]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        files = ", ".join(f"{plane.path.name}[{plane.hdu}]" for plane in flux if plane.band in twice)
        raise SourceError(source, f"several images of band {', '.join(twice)}: {files}", "name the files by band")
    maps = [{"flux": plane} for plane in flux]
    for plane in planes:
        _attach(plane, maps, source)
    _check_grid([plane for roles in maps for plane in roles.values()])
    wcs = next((plane.facts.wcs for plane in flux if plane.facts.wcs), None)
    bands = tuple(replace(plane.facts.band, name=plane.band) for plane in flux)
    name = stem_of(source) if source.is_file() else source.resolve().name
    return Files(str(source), name, bands, flux[0].shape, tuple(maps), wcs)


def _by_wavelength(flux: list[Plane]) -> list[Plane]:
    """From the ultraviolet to the infrared if every band's name is a usual one, else in the order of the files."""
    if not all(plane.band in BLUE_TO_RED for plane in flux):
        return flux
    return sorted(flux, key=lambda plane: BLUE_TO_RED.index(plane.band))


def _attach(plane: Plane, maps: list[dict[str, Plane]], source: Path) -> None:
    """Put a map beside the flux of its band, or beside every band if it names none of them."""
    if plane.role == "flux":
        return
    own = (
        [roles for roles in maps if roles["flux"].band == plane.band]
        or [roles for roles in maps if roles["flux"].band.lower() == plane.band.lower()]  # HDU names are upper case
        or [roles for roles in maps if plane.path == roles["flux"].path or plane.band in ("", stem_of(source))]
    )
    if not own:
        raise SourceError(plane.path, f"a {plane.role} map of {plane.band!r}, of which there is no image", "add it")
    for roles in own:
        if plane.role in roles:
            raise SourceError(plane.path, f"a second {plane.role} map of band {roles['flux'].band!r}", "remove one")
        roles[plane.role] = plane


def _files(source: Path) -> list[Path]:
    """The FITS files of a folder; or one file, and the maps beside it that bear its name."""
    if not source.exists():
        raise SourceError(source, "there is no such file or folder", "check the path")
    folder = source if source.is_dir() else source.parent
    files = [f for f in sorted(folder.iterdir()) if f.name.lower().endswith(FITS_SUFFIXES) and f.name[0] != "."]
    if source.is_dir():
        if not files:
            raise SourceError(source, "no FITS file in this folder", f"give a folder with {FITS_SUFFIXES[0]} files")
        return files
    stem = stem_of(source)
    beside = [f for f in files if (name := stem_of(f)).startswith(stem) and role(name[len(stem) :])]
    return [source, *(f for f in beside if f != source)]


def _planes_of(path: Path) -> Iterator[Plane]:
    """The image planes of one file that are flux or a map of it."""
    name = parse(stem_of(path))
    by_name = name.band or (name.object_id if BAND.fullmatch(name.object_id) else None)
    with open_fits(path) as hdus:
        images = image_hdus(hdus, path)
        for index in images:
            hdu = hdus[index]
            kind = name.role if name.role != "flux" else _role_of(hdu.name)
            if kind == "other":
                continue
            facts, shape = facts_of(hdu.header, path), (hdu.shape[-2], hdu.shape[-1])
            depth = hdu.shape[0] if len(hdu.shape) == 3 else None
            for plane in range(depth or 1):
                band = _band_of(hdu, plane if depth else None) if len(images) > 1 or (depth or 1) > 1 else None
                band = band or by_name or (band_name(hdu.header) if depth is None else None) or name.object_id
                label = f"{band}{plane}" if (depth or 1) > 1 and band == (by_name or name.object_id) else band
                yield Plane(path, index, plane if depth else None, label, kind, facts, shape)


def _role_of(hdu_name: str) -> str:
    words = (hdu_name, *re.split(r"[_\-\s]", hdu_name))
    return next((found for word in words if (found := role(word))), "flux")


def _band_of(hdu, plane: int | None) -> str | None:
    if plane is not None:
        return band_name(hdu.header, plane)
    words = (word for word in re.split(r"[_\-\s]", hdu.name) if BAND.fullmatch(word) or BAND.fullmatch(word.lower()))
    return band_name(hdu.header) or next(words, None)


def _check_grid(planes: Sequence[Plane]) -> None:
    """One shape, one pixel scale, and one place on the sky to ALIGNED, for every band and map."""
    first = planes[0]
    for plane in planes[1:]:
        if plane.shape != first.shape:
            raise CutoutError(
                f"{plane.path} has {plane.shape[1]} × {plane.shape[0]} pixels and {first.path} {first.shape[1]} × "
                f"{first.shape[0]}; resample them onto one grid"
            )
        ours, theirs = plane.facts, first.facts
        if ours.pixel_scale and theirs.pixel_scale and abs(ours.pixel_scale / theirs.pixel_scale - 1) > SCALE_TOLERANCE:
            raise UnitError(
                f"{plane.path} has {ours.pixel_scale:.5g} arcsec/pixel and {first.path} {theirs.pixel_scale:.5g}; "
                "resample them onto one grid"
            )
        if ours.wcs and theirs.wcs and ours.wcs != theirs.wcs:
            offset = sky_offset(ours.wcs, theirs.wcs, plane.shape)
            if not offset < ALIGNED:
                raise CutoutError(
                    f"{plane.path} lies {offset:.2f} pixels away from {first.path} on the sky; "
                    "resample them onto one grid"
                )


def _targets(mosaic: Files, path: Path, quarantine: list[Quarantine], skip_bad: bool) -> list[Target]:
    """The objects of a catalogue on the pixels of the mosaic; those off it are an error or set aside."""
    rows = read_catalogue(path)
    by_sky = mosaic.wcs is not None and rows.ra is not None
    if not by_sky and not {"x", "y"} <= set(rows.table.column_names):
        lacking = "has no WCS" if mosaic.wcs is None else "has one, and the catalogue no ra and dec"
        raise CatalogueError(f"{path}: needs columns x and y [pixel], as {mosaic.file} {lacking}")
    good, aside = sound_rows(rows, positions=by_sky, skip_bad=skip_bad)
    quarantine += aside
    x, y, ra, dec = _places(mosaic, rows, np.array(good, int), by_sky)
    targets: list[Target] = []
    seen: dict[tuple[float, float], int] = {}
    for n, (row, columns) in enumerate(zip(good, rows.columns_of(good), strict=True)):
        reason = _misplaced(x[n], y[n], mosaic.shape, seen)
        if reason is None:
            seen[x[n], y[n]] = row + 1
            where = (float(ra[n]), float(dec[n])) if np.isfinite(ra[n] + dec[n]) else (None, None)
            targets.append(Target(rows.ids[row], float(x[n]), float(y[n]), where[0], where[1], row + 1, columns))
        elif skip_bad:
            quarantine.append(Quarantine(rows.ids[row], str(path), row + 1, reason))
        else:
            raise CatalogueError(
                f"{path}, row {row + 1}: {rows.ids[row]!r} {reason}; correct it, or --skip-bad sets it aside"
            )
    return targets


def _places(mosaic: Files, rows: Catalogue, good: np.ndarray, by_sky: bool) -> tuple[np.ndarray, ...]:
    """x, y [pixel] and ra, dec [deg, NaN if unknown] of the good rows."""
    stated = [np.full(len(good), np.nan) if column is None else column[good] for column in (rows.ra, rows.dec)]
    if not by_sky:
        texts = ([np.nan if v is None else v for v in rows.table[name].to_pylist()] for name in "xy")
        x, y = (np.array(values, float)[good] for values in texts)
        if mosaic.wcs is None or len(good) == 0:
            return x, y, *stated
        sky = wcs_of(mosaic.wcs).pixel_to_world(x, y).icrs
        return x, y, sky.ra.deg, sky.dec.deg
    if mosaic.wcs is None or len(good) == 0:
        return *stated, *stated
    x, y = wcs_of(mosaic.wcs).world_to_pixel(SkyCoord(*stated, unit="deg"))
    return np.atleast_1d(x), np.atleast_1d(y), *stated


def _misplaced(x: float, y: float, shape: tuple[int, int], seen: Mapping[tuple[float, float], int]) -> str | None:
    """Why nothing can be cut there; None if it can."""
    if not (np.isfinite(x) and np.isfinite(y)):
        return f"has no position on the image (x={x}, y={y})"
    if not (-0.5 <= x < shape[1] - 0.5 and -0.5 <= y < shape[0] - 0.5):
        return f"is off the image: x={x:.1f}, y={y:.1f} on {shape[1]} × {shape[0]} pixels"
    if (x, y) in seen:
        return f"is at the very position of row {seen[x, y]}"
    return None
