"""Sources in one band of an image, and which pixels belong to which; a thin door to `sep`.

Every image is divided by its rms before it is looked at, so the answer does not depend on the unit of the flux,
and bad pixels are set to zero and masked, so it does not depend on what they held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import NamedTuple

import numpy as np
import sep
from jaxtyping import Bool, Float, Float32, Float64, Int, Int32
from scipy.ndimage import map_coordinates

THRESHOLD = 1.5  # of the smoothed image, per pixel [rms]
MIN_AREA = 8  # connected pixels above it
KRON = 2.5  # aperture of the total flux, in Kron radii
APERTURE = (3.5, 8.0)  # and the bounds of its semi-axes, in units of a and b: haloes of neighbours swell Kron radii
DEBLEND = 0.005  # share of the light that makes a peak a source of its own, in a field
DEBLEND_CENTRAL = 0.02  # and in a cutout about one object: a knot in a spiral's arm is not a neighbour
LOCUS = (0.85, 1.15)  # half-light radii of stars, in units of the mode of the bright and round ones
EXTENDED = 1.3  # half-light radius, in the same unit, beyond which a source is no star
EXTENDED_SNR = 20.0  # the least S/N at which that is said
OUTSHONE = 10.0  # flux, over a source's own, of a neighbour whose light it may be a piece of

USUAL_ROOM = sep.get_extract_pixstack()  # detected pixels that sep holds unless told otherwise
MORE_ROOM = 8  # times as many, if those of an image do not fit
_ROOM = Lock()

COLUMNS = np.dtype(
    [
        ("id", "i4"),  # its number in the segmentation map, from 1
        ("x", "f8"),  # flux-weighted centre [pixel]
        ("y", "f8"),
        ("flux", "f8"),  # in an ellipse of 2.5 Kron radii, neighbours left out [flux]
        ("flux_error", "f8"),  # of the sky noise alone, uncorrelated [flux]
        ("snr", "f8"),  # flux within the isophote over its error
        ("peak", "f8"),  # brightest pixel [flux]
        ("pixels", "i4"),  # within the isophote
        ("half_light_radius", "f8"),  # circular, of `flux` [pixel]
        ("a", "f8"),  # rms along the major axis [pixel]
        ("b", "f8"),  # and the minor
        ("theta", "f8"),  # of the major axis, from +x towards +y [deg]
        ("reach", "f8"),  # semi-axes of the aperture of `flux`, in units of a and b
        ("is_star", "?"),
        ("is_extended", "?"),
        ("is_saturated", "?"),
        ("is_blended", "?"),  # it shares a connected region with another
        ("is_fragment", "?"),  # blended, broad, and within the isophote of a source ten times brighter: a piece of it
        ("is_cut", "?"),  # its isophote touches the edge of the image or a bad pixel
    ]
)


class Detections(NamedTuple):
    """Sources in the order in which `sep` finds them (COLUMNS), and the map of their pixels (0 is sky)."""

    table: np.ndarray
    segmap: Int32[np.ndarray, "h w"]


def detect(
    image: Float[np.ndarray, "h w"],
    rms: float | Float[np.ndarray, "h w"],
    good: Bool[np.ndarray, "h w"],
    *,
    threshold: float = THRESHOLD,
    min_area: int = MIN_AREA,
    psf_fwhm: float | None = None,
    saturation: float = np.inf,
) -> Detections:
    """All sources above the sky noise; an image without a good pixel has none.

    image : sky-subtracted [flux]
    rms : of the sky per pixel [flux], one number or a map
    threshold, min_area : [rms] and [pixel]; `min_area` connected pixels above `threshold` make a source
    psf_fwhm : [pixel]; None: the half-light radius of stars is taken from the image, and nothing is called a star
        or extended if it shows fewer than ten
    saturation : flux of a pixel [flux] above which its source is flagged

    Source: sep (Barbary 2016), the algorithms of SExtractor (Bertin & Arnouts 1996); Kron 1980 for the flux.
    """
    signal, unit = _in_units_of_noise(image, rms, good)
    found, segmap = _extract(signal, good, threshold, min_area, DEBLEND)
    table = np.zeros(len(found), COLUMNS)
    if len(found) == 0:
        return Detections(table, segmap)
    for name in ("x", "y", "a", "b"):
        table[name] = found[name]
    table["id"] = np.arange(1, len(found) + 1)
    table["theta"] = np.degrees(found["theta"])
    table["pixels"] = found["npix"]
    table["snr"] = found["flux"] / np.sqrt(found["npix"])
    table["peak"] = found["peak"] * unit[found["ypeak"], found["xpeak"]]
    table["is_blended"] = found["flag"] & sep.OBJ_MERGED > 0
    _photometry(table, signal, good, segmap, unit)
    table["is_saturated"] = table["peak"] >= saturation
    table["is_cut"] = np.isin(table["id"], _touching(segmap, good))
    _classify(table, psf_fwhm)
    return Detections(table, segmap)


def segment(
    image: Float[np.ndarray, "h w"],
    rms: float | Float[np.ndarray, "h w"],
    good: Bool[np.ndarray, "h w"],
    *,
    threshold: float = THRESHOLD,
    min_area: int = MIN_AREA,
    deblend: float = DEBLEND_CENTRAL,
) -> Int32[np.ndarray, "h w"]:
    """The source that each pixel of a sky-subtracted image belongs to; 0 is sky and bad pixels."""
    signal, _ = _in_units_of_noise(image, rms, good)
    return _extract(signal, good, threshold, min_area, deblend)[1]


def central_and_neighbours(
    flux: Float[np.ndarray, "h w"], good: Bool[np.ndarray, "h w"], rms: float
) -> tuple[int, Int32[np.ndarray, "h w"]]:
    """Number of the source that the cutout is about, and the segmentation map; 0 if there is none at its centre.

    flux : sky-subtracted [flux]; rms : of the sky per pixel [flux]
    The central source is the one under the centre, or else the nearest within an eighth of the cutout's side.
    Equal bytes for equal input, whatever the unit of the flux and whatever lies under bad pixels.
    """
    segmap = segment(flux, rms, good)
    return central(segmap), segmap


def central(segmap: Int[np.ndarray, "h w"]) -> int:
    """Number of the source under the centre of a cutout, or nearest to it within an eighth of its side; else 0."""
    h, w = segmap.shape
    y, x = (h - 1) / 2, (w - 1) / 2
    reach = max(2, min(h, w) // 8)
    top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
    rows, columns = np.nonzero(segmap[top : int(y) + reach + 2, left : int(x) + reach + 2])
    if rows.size == 0:
        return 0
    nearest = np.argmin((rows + top - y) ** 2 + (columns + left - x) ** 2)
    return int(segmap[rows[nearest] + top, columns[nearest] + left])


def neighbours(segmap: Int[np.ndarray, "h w"], central_id: int) -> Bool[np.ndarray, "h w"]:
    """True where another source than the central one lies; everything detected if `central_id` is 0."""
    return (segmap > 0) & (segmap != central_id)


def _in_units_of_noise(image, rms, good) -> tuple[Float32[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """The image over its rms, 0 where it is bad or has no noise, and the rms as a map."""
    unit = np.broadcast_to(np.asarray(rms, dtype=np.float64), image.shape)
    known = good & np.isfinite(unit) & (unit > 0)
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(np.where(known, image / unit, 0), dtype=np.float32), unit


@contextmanager
def _room_for(pixels: int) -> Iterator[None]:
    """Let sep hold so many detected pixels, and then its usual number again: it fills all that room at every call.

    The number is one for the whole process, so images that need more than the usual wait for each other.
    """
    if pixels <= USUAL_ROOM:
        yield
        return
    with _ROOM:
        sep.set_extract_pixstack(pixels)
        try:
            yield
        finally:
            sep.set_extract_pixstack(USUAL_ROOM)


def _extract(signal, good, threshold: float, min_area: int, deblend: float) -> tuple[np.ndarray, np.ndarray]:
    """sep's table and map; where it runs out of room to deblend, connected regions are left whole.

    Room is given for more detected pixels only when those of this image do not fit.
    """
    options = {"mask": ~good, "minarea": min_area, "segmentation_map": True}
    how = {"deblend_cont": deblend}
    room, most = USUAL_ROOM, 2 * signal.size + 10_000
    while True:
        try:
            with _room_for(room):
                found, segmap = sep.extract(signal, threshold, **how, **options)
            break
        except Exception as error:  # sep raises nothing narrower
            if "pixel buffer full" in str(error) and room < most:
                room = min(MORE_ROOM * room, most)
            elif "deblending overflow" in str(error) and how["deblend_cont"] < 1:
                how = {"deblend_nthresh": 1, "deblend_cont": 1.0}
            else:
                raise
    segmap[~good] = 0  # sep smooths the image first, and so lets sources spread over bad pixels
    return found, segmap


def elliptical_flux(
    image: Float[np.ndarray, "h w"],
    rms: float | Float[np.ndarray, "h w"],
    good: Bool[np.ndarray, "h w"],
    found: Detections,
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """Flux of each source, and its sky-noise error, in its own ellipse on another band of the same grid [flux].

    Bad pixels and neighbours are left out, and their share made up for by the mean of the rest; NaN if none is left.
    """
    signal, unit = _in_units_of_noise(image, rms, good)
    if len(found.table) == 0:
        return np.empty(0), np.empty(0)
    x, y, a, b, theta = _ellipses(found.table)
    others = {"mask": ~good, "segmap": found.segmap, "seg_id": found.table["id"]}
    with np.errstate(invalid="ignore"):
        flux, error, _ = sep.sum_ellipse(signal, x, y, a, b, theta, found.table["reach"], subpix=5, err=1.0, **others)
    at = unit[pixels_of(found.table["x"], found.table["y"], image.shape)]
    return flux * at, error * at


def away_from(table: np.ndarray, shape: tuple[int, ...], reach: tuple[float, float]) -> Bool[np.ndarray, "h w"]:
    """True farther from each source than `reach`: so many times the radius of its isophote's area, and pixels more."""
    away = np.ones(shape, bool)
    y, x = np.ogrid[: shape[0], : shape[1]]
    for source in table:
        radius = reach[0] * np.sqrt(source["pixels"] / np.pi) + reach[1]
        away &= np.hypot(x - source["x"], y - source["y"]) > radius
    return away


def _ellipses(table: np.ndarray) -> tuple[np.ndarray, ...]:
    """Centre, semi-axes (no thinner than a pixel's own rms) and angle [rad], as sep wants them."""
    a, b = np.maximum(table["a"], 0.3), np.maximum(table["b"], 0.3)
    return table["x"], table["y"], a, b, np.clip(np.radians(table["theta"]), -np.pi / 2, np.pi / 2)


def pixels_of(
    x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], shape: tuple[int, ...]
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Row and column of the pixel that each centre falls on."""
    rows, columns = (np.clip(np.rint(at).astype(int), 0, side - 1) for at, side in zip((y, x), shape, strict=True))
    return rows, columns


def _photometry(table: np.ndarray, signal, good, segmap, unit) -> None:
    """Fill in the Kron flux, its error, and the half-light radius of each source; neighbours are left out."""
    x, y, a, b, theta = _ellipses(table)
    others = {"mask": ~good, "segmap": segmap, "seg_id": table["id"]}
    kron, _ = sep.kron_radius(signal, x, y, a, b, theta, 6.0, **others)
    reach = table["reach"] = np.clip(np.nan_to_num(KRON * kron), *APERTURE)
    flux, error, _ = sep.sum_ellipse(signal, x, y, a, b, theta, reach, subpix=5, err=1.0, **others)
    table["half_light_radius"] = sep.flux_radius(signal, x, y, reach * a, 0.5, normflux=flux, subpix=5, **others)[0]
    at = unit[pixels_of(x, y, signal.shape)]
    table["flux"], table["flux_error"] = flux * at, error * at


def _touching(segmap: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Numbers of the sources that touch the edge of the image or a bad pixel."""
    ends = [segmap[0], segmap[-1], segmap[:, 0], segmap[:, -1]]
    for bad, beside in ((~good[1:], segmap[:-1]), (~good[:-1], segmap[1:])):
        ends.append(beside[bad])
    for bad, beside in ((~good[:, 1:], segmap[:, :-1]), (~good[:, :-1], segmap[:, 1:])):
        ends.append(beside[bad])
    return np.unique(np.concatenate(ends))


def _classify(table: np.ndarray, psf_fwhm: float | None) -> None:
    """Mark stars, by their half-light radius, and the sources that are surely larger; the rest is neither."""
    star = stellar_radius(table) if psf_fwhm is None else psf_fwhm / 2
    size = table["half_light_radius"] / star
    sharp = (size > LOCUS[0]) & (size < LOCUS[1]) & (table["snr"] > EXTENDED_SNR)
    table["is_star"] = sharp | (table["is_saturated"] & np.isfinite(star))
    broad = (size > EXTENDED) & ~table["is_saturated"]
    table["is_fragment"] = broad & table["is_blended"] & _outshone(table)
    table["is_extended"] = broad & (table["snr"] > EXTENDED_SNR) & ~table["is_fragment"]


def _outshone(table: np.ndarray) -> Bool[np.ndarray, "n"]:
    """Whether the centre lies within four rms of the light of a source that is OUTSHONE times brighter."""
    out = np.zeros(len(table), bool)
    for large in table[table["is_blended"]]:
        dx, dy, angle = table["x"] - large["x"], table["y"] - large["y"], np.radians(large["theta"])
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        near = np.hypot(along / max(large["a"], 0.3), across / max(large["b"], 0.3)) < 4
        out |= near & (large["flux"] > OUTSHONE * table["flux"])
    return out


def stellar_radius(table: np.ndarray) -> float:
    """Half-light radius of the stars among the sources [pixel]: the narrowest pile of bright, round ones.

    NaN if fewer than ten sources are bright and round, or if they do not pile up (then all may be galaxies).
    We differ: no magnitude enters, so a field without a zero point is classified too.
    """
    clean = (table["snr"] > 50) & (table["b"] > 0.8 * table["a"]) & ~table["is_saturated"] & ~table["is_cut"]
    radii = np.sort(table["half_light_radius"][clean & (table["half_light_radius"] > 0)])
    if len(radii) < 10:
        return np.nan
    inside = np.searchsorted(radii, radii * 1.15) - np.arange(len(radii))
    first = int(np.argmax(inside))
    if inside[first] < max(5, len(radii) // 10):
        return np.nan
    return float(np.median(radii[first : first + inside[first]]))


def stellar_fwhm(image: Float[np.ndarray, "h w"], table: np.ndarray) -> float:
    """Full width at half maximum of the stars of a sky-subtracted band [pixel], their median; NaN without any.

    table : of `detect`, on any band of the same grid; stars that are blended, cut or below S/N 100 are not used

    The width of one star is twice the radius at which its azimuthal mean, on cubic splines, falls to half its centre.
    """
    clean = table["is_star"] & (table["snr"] > 100) & ~(table["is_saturated"] | table["is_blended"] | table["is_cut"])
    widths = [_fwhm(image, star["x"], star["y"], star["half_light_radius"]) for star in table[clean]]
    known = [width for width in widths if np.isfinite(width)]
    return float(np.median(known)) if known else np.nan


def _fwhm(image: Float[np.ndarray, "h w"], x: float, y: float, half_light_radius: float) -> float:
    """Full width at half maximum of the source at (x, y) [pixel]; NaN if its light does not fall to half."""
    left, top = (max(int(centre) - 14, 0) for centre in (x, y))
    piece = np.ascontiguousarray(image[top : top + 30, left : left + 30], dtype=np.float64)
    x, y, _ = (float(found) for found in sep.winpos(piece, x - left, y - top, half_light_radius / 1.18))
    radius, angle = np.arange(0, 10, 0.05)[:, None], np.arange(0, 2 * np.pi, np.pi / 12)
    where = [y + radius * np.sin(angle), x + radius * np.cos(angle)]
    profile = map_coordinates(piece, where, order=3, mode="nearest").mean(axis=1)
    below = np.flatnonzero(profile < profile[0] / 2)
    if below.size == 0 or not profile[0] > 0:
        return np.nan
    inner, outer = profile[below[0] - 1], profile[below[0]]
    return 2 * (radius[below[0] - 1, 0] + 0.05 * (inner - profile[0] / 2) / (inner - outer))
