"""One multi-extension FITS file per object, and the catalogue beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from skyloom import __version__
from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.data.fields import KEY
from skyloom.data.store import Survey

PER_FOLDER = 5000  # files in one folder
IN_FILES = ("wcs", "sky", "sky_rms")  # columns whose values stand in the headers
FILLED = {"FILLED": ("filled", np.uint8), "FILLSIG": ("filled_sigma", np.float32)}  # planes of inpainted objects
_ASCII = str.maketrans(
    {"²": "^2", "σ": " sigma", "×": "x", "…": "...", "–": "-", "−": "-", "’": "'", "µ": "u", "μ": "u"}
)


def write_fits(survey: Survey, folder: Path, done: Callable[[int], Any]) -> dict[str, str]:
    """Write every object; returns the columns that catalogue.fits cannot hold, which catalogue.parquet does."""
    table = survey.table()
    files = [_place(object_id, row, len(survey)) for row, object_id in enumerate(table["object_id"].to_pylist())]
    for row, (cutout, file) in enumerate(zip(survey.read(), files, strict=True), 1):
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        fits.HDUList(_hdus(cutout, survey.info)).writeto(path, checksum=True)
        done(row)
    catalogue = table.drop_columns([name for name in IN_FILES if name in table.column_names])
    catalogue = catalogue.append_column("file_loc", pa.array(files, pa.string()))
    catalogue = catalogue.replace_schema_metadata({KEY: survey.info.to_json().encode()})
    pq.write_table(catalogue, folder / "catalogue.parquet")
    return _write_fits_table(catalogue, folder / "catalogue.fits")


def _place(object_id: str, row: int, count: int) -> str:
    """A file name from an id, whatever characters are in it; folders of PER_FOLDER files if there are many."""
    name = re.sub(r"^\.", "%2E", quote(object_id, safe=" +=@,()~").replace("~", "%7E")) + ".fits"
    return name if count <= PER_FOLDER else f"{row // PER_FOLDER:06d}/{name}"


def _hdus(cutout: Cutout, info: SurveyInfo) -> list:
    primary = fits.PrimaryHDU()
    _describe(primary.header, cutout, info)
    hdus: list = [primary]
    for number, band in enumerate(info.bands):
        header = _band_header(cutout, info, number)
        images = {"SCI": cutout.flux[number], "IVAR": cutout.ivar[number]}
        images["MASK"] = (cutout.ivar[number] == 0).astype(np.uint8)
        for name, pixels in images.items():
            hdu = fits.ImageHDU(pixels, header.copy(), name=name, ver=number + 1)
            _set_unit(hdu.header, name, band)
            hdus.append(hdu)
        hdus.extend(_filled(cutout, header, number))
    return hdus


def _filled(cutout: Cutout, header: fits.Header, number: int) -> list:
    """Which pixels of a band were filled by `inpaint`, and their errors; nothing for an object without any."""
    hdus = []
    for name, (column, kind) in FILLED.items():
        values = cutout.columns.get(column)
        if values is not None and np.size(values) == cutout.flux.size:
            pixels = np.asarray(values, kind).reshape(cutout.flux.shape)[number]
            hdu = fits.ImageHDU(pixels, header.copy(), name=name, ver=number + 1)
            hdu.header["IMAGETYP"] = ("MODEL", "drawn by a generator where 1, not observed")
            hdus.append(hdu)
    return hdus


def _describe(header: fits.Header, cutout: Cutout, info: SurveyInfo) -> None:
    """What the object is: its name and place, the bands, the catalogue's values where they fit a card, the story."""
    header["ORIGIN"] = (f"skyloom {__version__}", "written by")
    _set_text(header, "OBJECT", cutout.object_id, "object_id")
    for card, value in (("RA", cutout.ra), ("DEC", cutout.dec)):
        if value is not None:
            header[card] = (value, "[deg] ICRS, of the object")
    _set_text(header, "TILE", cutout.tile, "the image or cell it was cut from")
    header["NBANDS"] = (len(info.bands), "SCI, IVAR and MASK of each, EXTVER in order")
    for name, value in cutout.columns.items():
        if isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value)):
            _set_text(header, f"HIERARCH CAT {name}", value, "")
    for card, text in (("CITATION", info.citation), ("LICENCE", info.licence), ("SOURCE", info.source)):
        if text:
            header["HISTORY"] = _plain(f"{card}: {text}")
    for note in info.notes:
        header["HISTORY"] = _plain(note)


def _band_header(cutout: Cutout, info: SurveyInfo, number: int) -> fits.Header:
    """WCS, band, zero point, PSF and sky of one band."""
    band = info.bands[number]
    header = fits.Header.fromstring(cutout.wcs) if cutout.wcs else fits.Header()
    header["BAND"] = band.name
    if not cutout.wcs and info.pixel_scale is not None:
        header["PIXSCALE"] = (info.pixel_scale, "[arcsec/pixel]")
    if band.psf_fwhm is not None:
        header["PSF_FWHM"] = (band.psf_fwhm, "[arcsec] full width at half maximum of the PSF")
    for card, values, comment in (
        ("SKYLEVEL", cutout.sky, "measured sky, not subtracted"),
        ("SKYRMS", cutout.sky_rms, "measured rms of the sky per pixel"),
    ):
        if values is not None and np.isfinite(values[number]):
            header[card] = (float(values[number]), comment)
    return header


def _set_unit(header: fits.Header, name: str, band: Band) -> None:
    if name == "SCI" and band.zero_point is not None:
        header["MAGZERO"] = (band.zero_point, "[mag] AB magnitude of one unit of flux")
    if name == "SCI" and band.unit:
        header["BUNIT"] = _plain(band.unit)
    if name == "IVAR" and band.unit:
        header["BUNIT"] = _plain(f"({band.unit})^-2")
    if name == "MASK":
        header["COMMENT"] = "1 marks a bad pixel: IVAR is 0 there, and SCI is as it came"


def _set_text(header: fits.Header, card: str, value: Any, comment: str) -> None:
    """Set a card if it fits one: ASCII, one line, and short enough. The catalogue has all of them."""
    text = str(value)
    if text.isascii() and text.isprintable() and card.isascii() and len(card) + len(text) < 60 and text:
        header[card] = (value, comment)


def _plain(text: str) -> str:
    return "".join(c for c in text.translate(_ASCII).encode("ascii", "replace").decode() if c.isprintable())


def _write_fits_table(catalogue: pa.Table, path: Path) -> dict[str, str]:
    """The columns that hold one number or text per object, for TOPCAT and the like."""
    table, left_out = Table(), {}
    for field in catalogue.schema:
        kind = field.type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_temporal(kind):
            left_out[field.name] = f"{kind} does not fit catalogue.fits; catalogue.parquet has it"
            continue
        values = catalogue[field.name].to_pylist()
        missing = [value is None for value in values]
        blank: Any = "" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else 0
        filled = [blank if value is None else value for value in values]
        if blank == "":
            table[field.name] = [text.encode("ascii", "replace").decode() for text in filled]
        elif pa.types.is_floating(kind):
            table[field.name] = np.where(missing, np.nan, filled)
        else:
            table[field.name] = MaskedColumn(filled, mask=missing) if any(missing) else filled
    table.write(path, format="fits")
    return left_out
