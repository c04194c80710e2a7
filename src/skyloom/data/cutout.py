"""The nouns of the data rooms: `Band`, `Cutout`, and `SurveyInfo`, what is true of every cutout of a survey."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from skyloom.errors import CutoutError, UnitError

NO_IMAGES = (1, 1)  # shape of the cutouts of a survey that has no images: one bad pixel
RESERVED = ("object_id", "ra", "dec", "tile", "wcs", "flux", "ivar", "sky", "sky_rms")


@dataclass(frozen=True)
class Band:
    """A filter as observed. None means unknown, and stays unknown: nothing is guessed.

    zero_point : AB magnitude of one unit of flux [mag]
    psf_fwhm   : full width at half maximum of the point-spread function [arcsec]
    unit       : of the flux, as the source spelled it (FITS BUNIT)
    """

    name: str
    zero_point: float | None = None
    psf_fwhm: float | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Cutout:
    """One object in C bands on one pixel grid.

    flux : (C, H, W) float32, linear, in the unit of its band, exactly as the source had it (NaN included)
    ivar : (C, H, W) float32, inverse variance [1/flux²]; 0 marks a bad pixel, whatever its flux
    ra, dec : ICRS [deg] of the object, or None
    tile : the image or sky cell that it was cut from; objects of one tile never straddle a split
    wcs : the FITS header cards of its celestial WCS, for pixel (0, 0) the centre of the first pixel; or None
    sky, sky_rms : (C,) measured sky level and rms per pixel, in flux units; None until measured
    columns : catalogue values that travel along, by column name

    Raises CutoutError at birth if shapes or types disagree, a good pixel is not finite, or an ivar is negative.
    """

    object_id: str
    flux: Float32[np.ndarray, "c h w"]
    ivar: Float32[np.ndarray, "c h w"]
    ra: float | None = None
    dec: float | None = None
    tile: str = ""
    wcs: str | None = None
    sky: Float32[np.ndarray, "c"] | None = None
    sky_rms: Float32[np.ndarray, "c"] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        where = f"cutout {self.object_id!r}"
        if self.flux.ndim != 3 or self.flux.shape != self.ivar.shape:
            raise CutoutError(
                f"{where}: flux has shape {self.flux.shape} and ivar {self.ivar.shape}; "
                f"both must be (bands, rows, columns)"
            )
        if self.flux.dtype != np.float32 or self.ivar.dtype != np.float32:
            raise CutoutError(f"{where}: flux is {self.flux.dtype} and ivar {self.ivar.dtype}; both must be float32")
        if not (self.ivar >= 0).all() or np.isinf(self.ivar).any():
            bad = int((~(self.ivar >= 0) | np.isinf(self.ivar)).sum())
            raise CutoutError(
                f"{where}: {bad} pixels have an ivar that is negative or not finite; mark bad pixels with 0"
            )
        if not np.isfinite(self.flux[self.ivar > 0]).all():
            raise CutoutError(f"{where}: a pixel that is not finite has ivar > 0; mark bad pixels with ivar 0")
        clash = [name for name in self.columns if name in RESERVED]
        if clash:
            raise CutoutError(f"{where}: catalogue columns {clash} have reserved names; rename them")


@dataclass(frozen=True)
class SurveyInfo:
    """What is true of every cutout of a survey; kept in the table's own metadata.

    bands : in the order of the flux's first axis
    shape : (H, W) of every cutout [pixel]; NO_IMAGES if objects are rows of a table alone
    pixel_scale : [arcsec/pixel], or None if the source does not say
    notes : what a reader did to the pixels or could not know, one sentence each
    """

    bands: tuple[Band, ...]
    shape: tuple[int, int]
    pixel_scale: float | None = None
    source: str = ""
    citation: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        names = [band.name for band in self.bands]
        if not names or len(set(names)) != len(names):
            raise CutoutError(f"a survey needs at least one band and distinct band names; got {names}")
        if self.pixel_scale is not None and not self.pixel_scale > 0:
            raise UnitError(f"pixel_scale={self.pixel_scale} arcsec/pixel must be positive, or None if unknown")

    @property
    def band_names(self) -> tuple[str, ...]:
        return tuple(band.name for band in self.bands)

    @property
    def has_images(self) -> bool:
        return self.shape != NO_IMAGES

    def index(self, band: str) -> int:
        """Position of a band on the flux's first axis; CutoutError names the bands there are."""
        if band not in self.band_names:
            raise CutoutError(f"no band {band!r} in this survey; its bands are {', '.join(self.band_names)}")
        return self.band_names.index(band)

    def binned(self, bands: Sequence[str], bin: int) -> SurveyInfo:
        """What is true of images in these bands, all if none are named, after `bin` × `bin` pixels were averaged."""
        chosen = tuple(self.bands[self.index(name)] for name in (bands or self.band_names))
        scale = None if self.pixel_scale is None else self.pixel_scale * bin
        return replace(self, bands=chosen, notes=(), pixel_scale=scale)

    def with_notes(self, *notes: str) -> SurveyInfo:
        return replace(self, notes=(*self.notes, *notes))

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> SurveyInfo:
        facts = json.loads(text)
        facts["bands"] = tuple(Band(**band) for band in facts["bands"])
        facts["shape"] = tuple(facts["shape"])
        facts["notes"] = tuple(facts["notes"])
        return cls(**facts)
