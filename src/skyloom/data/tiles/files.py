"""A tile of a field as a FITS file: one compressed extension per band, in steps far below the noise, whole or not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyWarning
from jaxtyping import Float32

from skyloom import __version__
from skyloom.data.cutout import SurveyInfo
from skyloom.data.destination import drafted
from skyloom.data.tiles.plan import Plan, Tile
from skyloom.errors import SourceError

STEPS = 32  # in which flux is stored, to one rms of the survey's noise: 0.04 % more noise
PIECE = 256  # side of the pieces that a tile is compressed in [pixel]


def write_tile(
    path: Path, flux: Float32[np.ndarray, "c h w"], tile: Tile, plan: Plan, info: SurveyInfo, rms: Sequence[float]
) -> None:
    """Write a tile: all of it, or nothing.

    Flux is rounded to 1/STEPS of the survey's noise and kept as whole numbers (RICE_1), so that what is read back does
    not depend on how the field was divided into tiles.
    """
    primary = fits.PrimaryHDU()
    header = primary.header
    header["ORIGIN"] = (f"skyloom {__version__}", "written by")
    header["IMAGETYP"] = ("SIMULATED", "no pixel was observed; position made up")
    header["WEIGHTS"] = (plan.weights, "that made it")
    header["WHASH"] = (plan.hash, "SHA-256 of the weights, 16 digits")
    header["SEED"] = plan.seed
    header["SKYNOISE"] = (plan.noise, "of the sky, in units of the survey's")
    header["DEVICE"] = (plan.device, "that computed it")
    header["LTV1"], header["LTV2"] = -tile.columns.start, -tile.rows.start
    hdus: list = [primary]
    for band, image, noise in zip(info.bands, flux, rms, strict=True):
        sides = min(PIECE, image.shape[0]), min(PIECE, image.shape[1])
        hdu = fits.CompImageHDU(
            image.astype(np.float64), _header(tile, plan, info), name=band.name, compression_type="RICE_1",
            tile_shape=sides,
        )  # fmt: skip
        hdu.scale("int32", bscale=noise / STEPS, bzero=0)
        hdu.header["BAND"] = band.name
        hdu.header["SKYRMS"] = (noise * plan.noise, "of the noise that was added, per pixel")
        if band.unit:
            hdu.header["BUNIT"] = band.unit
        if band.zero_point is not None:
            hdu.header["MAGZERO"] = (band.zero_point, "[mag] AB magnitude of one unit of flux")
        if band.psf_fwhm is not None:
            hdu.header["PSF_FWHM"] = (band.psf_fwhm, "[arcsec] of the survey that was learnt from")
        hdus.append(hdu)
    try:
        with drafted(path) as draft:
            _sealed(fits.HDUList(hdus)).writeto(draft, overwrite=True)
    except OSError as fault:
        raise SourceError(
            path, f"it cannot be written: {fault}", "free some space and run the same command again"
        ) from fault


def _sealed(hdus: fits.HDUList) -> fits.HDUList:
    """The same in its compressed form and with checksums, whose comments, unlike astropy's own, name no time of day."""
    written = BytesIO()
    hdus.writeto(written)
    sealed = fits.open(BytesIO(written.getvalue()), disable_image_compression=True)
    for hdu in sealed:
        hdu.add_checksum(when="of this extension")
    return sealed


def _header(tile: Tile, plan: Plan, info: SurveyInfo) -> fits.Header:
    """The WCS of a tile."""
    wcs = plan.wcs(info)
    if wcs is None:
        return fits.Header()
    wcs.wcs.crpix -= [tile.columns.start, tile.rows.start]
    return wcs.to_header()


def is_whole(path: Path) -> bool:
    """Whether a tile is there and every extension has the bytes that its checksum was made of."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", (AstropyWarning, VerifyWarning))
            with fits.open(path, checksum=True, disable_image_compression=True, memmap=False) as hdus:
                return all("CHECKSUM" in hdu.header and hdu.data is not None for hdu in hdus[1:]) and len(hdus) > 1
    except (OSError, ValueError, AstropyWarning, TypeError):
        return False


def read_tile(
    path: Path, rows: slice, columns: slice, bands: Sequence[int] | None = None
) -> Float32[np.ndarray, "c h w"]:
    """Flux of a window of a tile [unit of the survey]. bands : which, all if not given"""
    try:
        with fits.open(path) as hdus:
            chosen = range(len(hdus) - 1) if bands is None else bands
            return np.array([hdus[band + 1].section[rows, columns] for band in chosen], np.float32)
    except (OSError, ValueError) as fault:
        raise SourceError(path, f"it cannot be read: {fault}", "run the same skyloom field again") from fault


def noise_of(path: Path) -> tuple[float, ...]:
    """The rms per pixel of the noise of the survey that was learnt from, by band: what its steps are a part of."""
    try:
        with fits.open(path) as hdus:
            return tuple(float(hdu.header["BSCALE"]) * STEPS for hdu in hdus[1:])
    except (OSError, ValueError, KeyError) as fault:
        raise SourceError(path, f"it cannot be read: {fault}", "run the same skyloom field again") from fault
