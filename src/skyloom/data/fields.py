"""The names under which tables keep pixels: ours, the Multimodal Universe's, Galaxy10's; and a row of them as a piece.

MMU in Parquet   image.flux  image.band  image.ivar  image.mask  image.psf_fwhm  image.scale
MMU in HDF5      image_array image_band  image_ivar  image_mask  image_psf_fwhm  image_scale
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from skyloom.data.admission import FROM_PLACE, ROUNDED, Piece
from skyloom.data.catalogues import DEC_NAMES, ID_NAMES, RA_NAMES, storable
from skyloom.data.cutout import RESERVED, Band, SurveyInfo
from skyloom.data.weights import inverse_variance
from skyloom.errors import CatalogueError, CutoutError, UnitError

KEY = b"skyloom.info"  # of the Parquet metadata and, decoded, the HDF5 attribute that holds SurveyInfo as JSON
NAMES = {
    "flux": ("image.flux", "image_array", "image_flux", "flux", "images"),
    "ivar": ("image.ivar", "image_ivar", "ivar"),
    "good": ("image.mask", "image_mask"),  # the Multimodal Universe: True is good
    "mask": ("mask",),  # as in FITS: not 0 is bad
    "band": ("image.band", "image_band", "band", "bands"),
    "psf_fwhm": ("image.psf_fwhm", "image_psf_fwhm"),
    "scale": ("image.scale", "image_scale", "pxscale", "pixel_scale"),
    "object_id": ID_NAMES,
    "ra": RA_NAMES,
    "dec": DEC_NAMES,
    "tile": ("tile",),
    "wcs": ("wcs",),
    "sky": ("sky",),
    "sky_rms": ("sky_rms",),
}
DERIVED = ("_healpix_29",)  # columns that an export adds and a survey does not keep


def find_fields(columns: Iterable[str], where: str) -> dict[str, str]:
    """{meaning: column} for the names known; CatalogueError if there is no flux or no object_id."""
    lower = {column.lower(): column for column in columns}
    found = {meaning: lower[name] for meaning, names in NAMES.items() for name in reversed(names) if name in lower}
    for needed in ("flux", "object_id"):
        if needed not in found:
            raise CatalogueError(
                f"{where}: no {needed} column among {', '.join(list(lower)[:15])}; rename the one that has it"
            )
    return found


def piece_of(row: Mapping[str, Any], columns: Mapping[str, Any], known: SurveyInfo | None, where: str) -> Piece:
    """One row, its values by meaning (flux C × H × W or H × W), as a piece.

    columns : catalogue values that travel along
    known : the facts of the survey that the table was exported from, if it says so
    """
    given = np.asarray(row["flux"])
    flux = given[None] if given.ndim == 2 else given
    if flux.ndim != 3:
        raise CutoutError(f"{where}: flux has shape {given.shape}; it must be bands × rows × columns")
    maps = {kind: _like(row[kind], flux, kind, where) for kind in ("ivar", "mask") if row.get(kind) is not None}
    if row.get("good") is not None:
        maps["mask"] = (_like(row["good"], flux, "mask", where) == 0).astype(np.float32)
    with np.errstate(over="ignore"):
        pixels = np.ascontiguousarray(flux, np.float32)
    ivar = inverse_variance(maps, pixels, where)
    extra = dict(columns)
    if known is None and row.get("psf_fwhm") is not None:
        extra["psf_fwhm"] = [float(width) for width in np.atleast_1d(row["psf_fwhm"])]
    names = None if row.get("band") is None else [_text(name) for name in np.atleast_1d(row["band"])]
    notes = [ROUNDED] if given.dtype in (np.float64, np.int32, np.int64, np.uint32) else []
    return Piece(
        bands=_bands(names, known, len(flux), where),
        flux=pixels,
        ivar=ivar,
        bad=maps["mask"] != 0 if "mask" in maps else None,
        pixel_scale=_scale(row.get("scale"), where) if known is None else known.pixel_scale,
        wcs=row.get("wcs") or None,
        ra=_number(row.get("ra")),
        dec=_number(row.get("dec")),
        tile=_text(row.get("tile") or ""),
        sky=_vector(row.get("sky")),
        sky_rms=_vector(row.get("sky_rms")),
        columns=extra,
        notes=(*notes, *([FROM_PLACE] if names is None and known is None else [])),
    )


def travelling(columns: Iterable[str], found: Mapping[str, str], where: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Columns that are catalogue values, {name in the survey: name there}, and a note if the two differ.

    Raises CatalogueError if one has a name that the store keeps for itself.
    """
    rest = [name for name in columns if name not in set(found.values()) and name not in DERIVED]
    clash = [name for name in rest if name in RESERVED]
    if clash:
        raise CatalogueError(f"{where}: columns {clash} have names that the store keeps for itself; rename them")
    names, notes = storable(rest, where)
    return dict(zip(names, rest, strict=True)), notes


def _bands(names: list[str] | None, known: SurveyInfo | None, count: int, where: str) -> tuple[Band, ...]:
    if known is not None:
        by_name = {band.name: band for band in known.bands}
        names = names or list(known.band_names)
        if sorted(names) != sorted(by_name):
            raise CutoutError(f"{where}: bands {names}, and the file's own facts say {list(by_name)}")
        return tuple(by_name[name] for name in names)
    names = names or [f"band{number}" for number in range(count)]
    if len(names) != count or len(set(names)) != count:
        raise CutoutError(f"{where}: {count} planes of flux and bands {names}; each plane needs a name of its own")
    return tuple(Band(name) for name in names)


def _like(values: Any, flux: np.ndarray, kind: str, where: str) -> np.ndarray:
    array = np.asarray(values)
    array = array[None] if array.ndim == 2 else array
    if array.shape != flux.shape:
        raise CutoutError(f"{where}: {kind} has shape {array.shape} and flux {flux.shape}; they must be alike")
    return array.astype(np.float32)


def _scale(values: Any, where: str) -> float | None:
    """[arcsec/pixel]; 0 and NaN mean unknown. UnitError if bands differ by more than 1 %."""
    if values is None:
        return None
    stated = np.atleast_1d(np.asarray(values, float))
    stated = stated[np.isfinite(stated) & (stated > 0)]
    if not stated.size:
        return None
    if stated.max() / stated.min() > 1.01:
        raise UnitError(f"{where}: bands have pixel scales {sorted(set(stated.tolist()))} arcsec; resample to one grid")
    return float(str(np.float32(stated[0])))  # 0.168 stored as float32 is 0.168, not 0.16799999773502350


def _vector(values: Any) -> np.ndarray | None:
    return None if values is None else np.asarray(values, np.float32)


def _number(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
