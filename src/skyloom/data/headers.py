"""FITS files opened with care, and what their headers say: band, unit, zero point, scale, WCS. Nothing is guessed."""

from __future__ import annotations

import gzip
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import proj_plane_pixel_scales
from jaxtyping import Float32

from skyloom.data.cutout import Band
from skyloom.errors import RequestError, SourceError, UnitError

FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz", ".fits.bz2")
ZERO_POINT_CARDS = ("MAGZERO", "MAGZP", "PHOTZP", "ZP", "MAGZPT")  # MAGZERO is the one that export writes
PIXEL_SCALE_CARDS = ("PIXSCALE", "SECPIX", "PIXSCAL1")  # [arcsec/pixel]; read only where there is no WCS
BAND_CARDS = ("BAND", "FILTER", "FILTNAM")
SCALE_TOLERANCE = 0.01  # relative; headers round
ZERO_POINT_TOLERANCE = 0.001  # [mag]

_JANSKY = 2.5 * np.log10(3631.0)  # AB zero point of one jansky (Oke & Gunn 1983)
UNIT_ZERO_POINTS = {
    **dict.fromkeys(("nanomaggy", "nanomaggies", "nmgy", "nanomaggys"), 22.5),
    **dict.fromkeys(("maggy", "maggies", "mgy"), 0.0),
    **dict.fromkeys(("Jy", "jansky"), _JANSKY),
    **dict.fromkeys(("mJy", "millijansky"), _JANSKY + 7.5),
    **dict.fromkeys(("uJy", "μJy", "µJy", "microjansky"), _JANSKY + 15.0),
    **dict.fromkeys(("nJy", "nanojansky"), _JANSKY + 22.5),
}  # units that are an AB flux by definition

_WCS_CARD = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA|CRDER|CSYER|CNAME)[12]|(CD|PC)[12]_[12]|PC00[12]00[12]|P[VS][12]_\d+"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|WCSNAME|MJDREF|MJD-OBS|DATE-OBS"
)


class Facts(NamedTuple):
    """What the header of one image says. None: it does not say.

    band : name, zero point, PSF FWHM and unit; the name may be ""
    pixel_scale : [arcsec/pixel]
    wcs : the 80-column cards of the celestial WCS, one after the other; `astropy.wcs.WCS` takes the string as it is
    """

    band: Band
    pixel_scale: float | None
    wcs: str | None


@contextmanager
def open_fits(path: Path) -> Iterator[fits.HDUList]:
    """Open a FITS file, plain or compressed, all HDUs checked to be there in full.

    Integers scaled by BZERO and BSCALE come out as floats with NaN for BLANK.
    Raises SourceError if the file is missing, empty, not FITS, or cut short.
    """
    path = Path(path)
    if not path.is_file():
        raise SourceError(path, "there is no such file", "check the path")
    if path.stat().st_size == 0:
        raise SourceError(path, "the file has zero bytes", "fetch it again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
        try:
            with fits.open(path, uint=False, memmap=False) as hdus:
                len(hdus)  # walks the whole file
                yield hdus
        except SourceError:
            raise
        except (OSError, AstropyUserWarning, fits.VerifyError, EOFError, zlib.error, TypeError, IndexError) as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> SourceError:
    text = str(error).split("\n")[0]
    cut_short = isinstance(error, EOFError | zlib.error | gzip.BadGzipFile) or re.search(
        "truncated|END card|too small|requested|buffer|corrupt", text
    )
    if cut_short:
        return SourceError(path, f"the file is cut short or damaged ({text})", "fetch it again")
    if "SIMPLE" in text:
        return SourceError(path, "not a FITS file", "give a FITS file, or remove this one from the folder")
    return SourceError(path, f"cannot be read as FITS ({text})")


def image_hdus(hdus: fits.HDUList, path: Path) -> list[int]:
    """Indices of the HDUs that hold an image of two or three axes; SourceError if there is none."""
    found = [i for i, hdu in enumerate(hdus) if hdu.is_image and hdu.header.get("NAXIS", 0) in (2, 3) and hdu.size]
    if not found:
        kinds = ", ".join(f"{i}: {type(hdu).__name__}" for i, hdu in enumerate(hdus))
        raise SourceError(path, f"no image in any HDU ({kinds})", "give the file that holds the pixels")
    return found


def read_pixels(
    hdu, path: Path, rows: slice | None = None, columns: slice | None = None
) -> Float32[np.ndarray, "*planes h w"]:
    """Pixels of an image HDU, or of a window of it, as native float32; BLANK is NaN.

    Only the window is read from the disk. float64 is rounded to float32; integers beyond 2²⁴ are too.
    Raises SourceError if the data are cut short or cannot be decompressed.
    """
    try:
        if rows is None and columns is None:
            values = hdu.data
        else:
            values = hdu.section[..., rows or slice(None), columns or slice(None)]
    except (OSError, AstropyUserWarning, ValueError, TypeError, EOFError, zlib.error) as error:
        raise SourceError(path, f"the pixels of HDU {hdu.name or 'image'!s} cannot be read ({error})") from error
    if values is None:
        raise SourceError(path, "an image HDU without pixels")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def facts_of(header: fits.Header, path: Path) -> Facts:
    """Everything that one header says of its image; UnitError where it contradicts itself."""
    wcs = celestial_cards(header)
    unit = _text(header, "BUNIT")
    band = Band(band_name(header) or "", stated_zero_point(header, path), _psf_fwhm(header), unit)
    return Facts(band, stated_pixel_scale(header, path), wcs)


def band_name(header: fits.Header, plane: int | None = None) -> str | None:
    """Name of the band that the header states, of plane `plane` of a cube: BANDn, BANDS, else BAND, FILTER, FILTNAM."""
    if plane is not None:
        named, listed = _text(header, f"BAND{plane}"), _text(header, "BANDS")
        if named:
            return named
        names = re.split(r"[,;\s]+", listed) if listed and re.search(r"[,;\s]", listed) else list(listed or "")
        return names[plane] if plane < len(names) else None
    return next((name for card in BAND_CARDS if (name := _text(header, card))), None)


def stated_zero_point(header: fits.Header, path: Path) -> float | None:
    """AB zero point [mag] from a zero-point card, or from a unit that is an AB flux by definition; None if unsaid.

    Raises UnitError if two cards, or a card and the unit, disagree, or MAGSYS says that the system is not AB.
    """
    stated = {card: value for card in ZERO_POINT_CARDS if (value := _number(header, card)) is not None}
    by_unit = UNIT_ZERO_POINTS.get((_text(header, "BUNIT") or "").strip())
    if by_unit is not None:
        stated["BUNIT"] = by_unit
    if not stated:
        return None
    if max(stated.values()) - min(stated.values()) > ZERO_POINT_TOLERANCE:
        told = ", ".join(f"{card}={value:g}" for card, value in stated.items())
        raise UnitError(f"{path}: the header's zero points disagree: {told}; remove the wrong one")
    system = _text(header, "MAGSYS")
    if system and system.upper() != "AB":
        raise UnitError(f"{path}: the zero point is in the {system} system; convert it to AB and drop MAGSYS")
    return next(iter(stated.values()))


def stated_pixel_scale(header: fits.Header, path: Path) -> float | None:
    """Pixel scale [arcsec/pixel] from the celestial WCS, else from PIXSCALE or SECPIX; None if unsaid.

    Raises UnitError if the two axes differ by more than 1 %: ellipses would be measured wrong.
    """
    cards = celestial_cards(header)
    if cards is None:
        return next((value for card in PIXEL_SCALE_CARDS if (value := _number(header, card)) and value > 0), None)
    across, down = proj_plane_pixel_scales(wcs_of(cards)) * 3600.0
    if abs(across / down - 1) > SCALE_TOLERANCE:
        raise UnitError(f"{path}: pixels are not square, {across:.5g} × {down:.5g} arcsec; resample the image first")
    return float(np.sqrt(across * down))


def celestial_cards(header: fits.Header) -> str | None:
    """The cards of the celestial WCS on the first two axes, as they stand; None if there is none.

    SIP and PV distortions come along; look-up tables in other HDUs (CPDIS, D2IMDIS) cannot.
    """
    cards = [c for c in header.cards if _WCS_CARD.fullmatch(c.keyword) and not isinstance(c.value, fits.card.Undefined)]
    text = "".join(fits.Card(c.keyword, c.value, c.comment).image[:80] for c in cards)
    return text if "CTYPE1" in header and wcs_of(text).has_celestial else None


def wcs_of(cards: str) -> WCS:
    """The astropy WCS of a cutout's cards, for pixel (0, 0) the centre of the first pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(fits.Header.fromstring(cards))


def shift_cards(cards: str | None, x: int, y: int) -> str | None:
    """The WCS of a window whose first pixel is pixel (x, y) of the image; negative if the window is padded."""
    if cards is None or (x == 0 and y == 0):
        return cards
    header = fits.Header.fromstring(cards)
    header["CRPIX1"] = header.get("CRPIX1", 0.0) - x
    header["CRPIX2"] = header.get("CRPIX2", 0.0) - y
    return "".join(card.image[:80] for card in header.cards)


def sky_position(cards: str, x: float, y: float) -> tuple[float, float]:
    """ICRS (ra, dec) [deg] of a pixel, whatever frame the WCS is in; NaN where the projection ends."""
    icrs = wcs_of(cards).pixel_to_world(x, y).icrs
    return float(icrs.ra.deg), float(icrs.dec.deg)


def sky_offset(cards: str, others: str, shape: tuple[int, int]) -> float:
    """How far apart two WCS put the same sky, at worst over the corners of an image [pixel]."""
    corners = np.array([(x, y) for x in (0.0, shape[1] - 1.0) for y in (0.0, shape[0] - 1.0)])
    there = wcs_of(others).world_to_pixel(wcs_of(cards).pixel_to_world(*corners.T))
    return float(np.hypot(*(np.array(there) - corners.T)).max())


def agree_on_pixel_scale(stated: float | None, given: float | None, where: str) -> float | None:
    """What the source states, else what the user gives; UnitError if they differ by more than 1 %."""
    if given is not None and not given > 0:
        raise UnitError(f"--pixel-scale {given} arcsec/pixel must be positive")
    if stated is None or given is None:
        return given if stated is None else stated
    if abs(given / stated - 1) > SCALE_TOLERANCE:
        raise UnitError(
            f"{where} says {stated:.6g} arcsec/pixel and --pixel-scale says {given:.6g}; "
            "leave the option out, or correct the header"
        )
    return stated


def agree_on_zero_points(bands: Sequence[Band], given: Mapping[str, float] | None, where: str) -> tuple[Band, ...]:
    """Bands with missing zero points filled in; UnitError if a given one contradicts the source by > 0.001 mag."""
    given = dict(given or {})
    strangers = sorted(set(given) - {band.name for band in bands})
    if strangers:
        there = ", ".join(band.name for band in bands)
        raise RequestError(f"--zero-point names bands {strangers} that {where} does not have; its bands are {there}")
    return tuple(_with_zero_point(band, given.get(band.name), where) for band in bands)


def _with_zero_point(band: Band, given: float | None, where: str) -> Band:
    if given is None:
        return band
    if not np.isfinite(given):
        raise UnitError(f"--zero-point {band.name}={given} is not a magnitude")
    if band.zero_point is None:
        return replace(band, zero_point=float(given))
    if abs(band.zero_point - given) > ZERO_POINT_TOLERANCE:
        raise UnitError(
            f"{where} says zero point {band.zero_point:g} mag for band {band.name!r} and --zero-point says {given:g}; "
            "leave the option out, or correct the header"
        )
    return band


def unknowns(bands: Sequence[Band], pixel_scale: float | None, wcs: bool) -> tuple[str, ...]:
    """One sentence for each physical fact that the source does not state, and what follows from it."""
    notes = []
    silent = [band.name for band in bands if band.zero_point is None]
    if silent:
        notes.append(
            f"No zero point in the source for {', '.join(silent)}: results in these bands are in instrumental units."
        )
    if pixel_scale is None:
        notes.append("No pixel scale in the source: lengths are in pixels.")
    if not wcs:
        notes.append("No WCS in the source: positions are pixel coordinates, and angles are from +x towards +y.")
    return tuple(notes)


def _psf_fwhm(header: fits.Header) -> float | None:
    """PSF_FWHM [arcsec], believed only where its comment states the unit: others write pixels under the same name."""
    stated = "PSF_FWHM" in header and "arcsec" in header.comments["PSF_FWHM"]
    return _number(header, "PSF_FWHM") if stated else None


def _text(header: fits.Header, card: str) -> str | None:
    value = header.get(card)
    return value.strip() or None if isinstance(value, str) else None


def _number(header: fits.Header, card: str) -> float | None:
    value = header.get(card)
    try:
        number = float(value) if not isinstance(value, bool) else np.nan
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
