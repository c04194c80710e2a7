"""The sample survey: a real field in nine bands that comes with the package, its defects known and dealt with."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sep
from jaxtyping import Bool, Float32
from scipy.ndimage import maximum_filter

from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.data.detections import described, fluxes_in_bands, targets_of
from skyloom.data.headers import open_fits, read_pixels
from skyloom.data.mosaic import Target, Window, cut, grid_targets, sky_meshes
from skyloom.data.source import Source
from skyloom.errors import RequestError
from skyloom.sky.background import background_map, sky_level
from skyloom.sky.detection import Detections, detect

FOLDER = Path(__file__).parent / "sample"
SIDE = 2600  # of the field [pixel]
PIXEL_SCALE = 0.3  # [arcsec/pixel], inferred: docs/sample.md says how
# zero points of the ProFound vignette [AB mag]; PSF FWHM measured by `stellar_fwhm` on the field [arcsec]
BANDS = (
    Band("u", 0.0, 0.81),
    Band("g", 0.0, 0.94),
    Band("r", 0.0, 0.78),
    Band("i", 0.0, 0.84),
    Band("Z", 30.0, 1.07),
    Band("Y", 30.0, 1.07),
    Band("J", 30.0, 1.11),
    Band("H", 30.0, 1.07),
    Band("Ks", 30.0, 1.03),
)
DETECTION_BAND = 2  # r
OPTICAL = ("u", "g", "r", "i")
MESH, INFRARED_MESH = 256, 128  # cells of the background map [pixel]; the infrared sky is less even
SATURATION = 4.5e-8  # in r [flux]: the peaks of its dozen brightest stars pile up above
TOO_NEGATIVE = -8.0  # no sky is that far below itself [rms]: holes in stars, remains of bad columns
GROW = 4  # by which sources are widened before the sky is looked at [pixel]
BLOCK = 200  # height of the pieces in which the sky steps are measured [pixel]
HALO = 4.0  # reach of a saturated star's halo and spikes, in radii of its isophote

CITATION = (
    "Field packaged with ProFound (Robotham et al. 2018, MNRAS 476, 3137); KiDS (Kuijken et al. 2019, A&A 625, A2), "
    "VIKING (Edge et al. 2013, The Messenger 154, 32)"
)
LICENCE = "LGPL-3 (ProFound package data); survey data © ESO, see ATTRIBUTION.md beside the files"
NOTES = (
    "The sky was removed: a background map measured with sources masked, in cells of 256 pixels in u, g, r, i and of "
    "128 in Z, Y, J, H, Ks.",
    "Sky steps were subtracted from u, g, r, i in columns 380–904 and in the corner x < 110, y ≥ 2330, and from H in "
    "rows 1625–1744, as medians along the step in pieces of 200 pixels; objects there have in_bad_strip.",
    "Bad columns of u, g and r, and pixels more than 8 rms below the sky, have ivar 0.",
    "The pixel scale of 0.3 arcsec is inferred, as no file states it: bad columns repeat every 82 × 285 pixels, and "
    "the dithers of KiDS are 25 × 85 arcsec; the width of the stars agrees.",
    "The zero points, 0 for ugri and 30 for ZYJHKs, are those of ProFound's vignette; the files state none.",
    "The files have no WCS and the position of the field is not known: ra and dec are missing.",
    "The ivar is 1/rms² of the sky about each object, one number per cutout and band, without the sources' own noise.",
)


class Defect(NamedTuple):
    """A rectangle of some bands, as found by looking: a `step` of the sky, or a `gap` without data."""

    kind: str
    bands: str
    box: tuple[slice, slice]


@dataclass(frozen=True)
class Field:
    """A mosaic in memory."""

    file: str
    name: str
    bands: tuple[Band, ...]
    flux: Float32[np.ndarray, "c h w"]
    good: Bool[np.ndarray, "c h w"]
    wcs: str | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.flux.shape[1], self.flux.shape[2]

    @property
    def weighted(self) -> tuple[bool, ...]:
        return (False,) * len(self.bands)

    def window(self, rows: slice, columns: slice) -> Window:
        return Window(self.flux[:, rows, columns], self.good[:, rows, columns].astype(np.float32))


def read_sample(*, size: int = 64, pieces: bool = False) -> Source:
    """The sample survey as cutouts of `size` × `size` pixels about the sources that `sep` finds in r.

    pieces : pieces of the field side by side instead; `in_bad_strip` says that some of one lies in such a strip

    Nothing is dropped: artefacts and saturated stars are flagged. Raises RequestError if `size` exceeds the field.
    """
    if not 1 <= size <= SIDE:
        raise RequestError(
            f"size={size} does not fit the sample field of {SIDE} × {SIDE} pixels; ask for at most {SIDE}"
        )
    info = SurveyInfo(
        BANDS,
        (size, size),
        PIXEL_SCALE,
        "sample: KiDS and VIKING, a field of 13 × 13 arcmin",
        CITATION,
        LICENCE,
        NOTES,
    )
    return Source(info, _pieces(size) if pieces else _cutouts(size))


def _pieces(size: int) -> Iterator[Cutout]:
    field, _ = read_field()
    targets = [
        replace(one, columns={**one.columns, "in_bad_strip": _strip_within(one.x, one.y, size)})
        for one in grid_targets(field, size)
    ]
    yield from cut(field, targets, size, sky_meshes(field))


def _strip_within(x: float, y: float, size: int) -> bool:
    """Whether a piece has a pixel in a box whose sky steps were subtracted, in any band."""
    boxes = [defect.box for defect in read_defects() if defect.kind == "step"]
    return any(
        all(box[axis].start < at + size / 2 and box[axis].stop > at - size / 2 for axis, at in enumerate((y, x)))
        for box in boxes
    )


def _cutouts(size: int) -> Iterator[Cutout]:
    field, rms = read_field()
    targets, _ = find_sources(field, rms)
    del rms  # 0.25 GB
    yield from cut(field, targets, size, sky_meshes(field))


def read_field() -> tuple[Field, Float32[np.ndarray, "c h w"]]:
    """The whole field, sky removed and defects masked, and the rms map of each band [flux]."""
    flux = np.empty((len(BANDS), SIDE, SIDE), np.float32)
    for image, band in zip(flux, BANDS, strict=True):
        image[:] = _read_band(band.name)
    sources = mask_sources(flux)
    rms, good = np.empty_like(flux), np.empty(flux.shape, bool)
    for image, noise, sound, band in zip(flux, rms, good, BANDS, strict=True):
        level, noise[:] = background_map(image, ~sources, MESH if band.name in OPTICAL else INFRARED_MESH)
        image -= level
        sound[:] = image > TOO_NEGATIVE * noise
        _mend(image, sound, ~sources, [defect for defect in read_defects() if band.name in defect.bands.split()])
    return Field(str(FOLDER), "sample", BANDS, flux, good), rms


def _mend(image: np.ndarray, good: np.ndarray, sky: np.ndarray, defects: list[Defect]) -> None:
    """Mark the gaps of one band as bad, and take away the steps of its sky, in place."""
    for defect in defects:
        if defect.kind == "gap":
            good[defect.box] = False
    for defect in defects:
        if defect.kind == "step":
            image[defect.box] -= sky_step(image[defect.box], good[defect.box] & sky[defect.box])


def _read_band(name: str) -> Float32[np.ndarray, "h w"]:
    path = FOLDER / f"{name}.fits"
    with open_fits(path) as hdus:
        return read_pixels(hdus[1], path)


def read_defects() -> list[Defect]:
    """The known defects of the field; last rows and columns in the file are inclusive."""
    with (FOLDER / "defects.csv").open(newline="") as lines:
        return [
            Defect(
                row["kind"],
                row["bands"],
                (
                    slice(int(row["y_first"]), int(row["y_last"]) + 1),
                    slice(int(row["x_first"]), int(row["x_last"]) + 1),
                ),
            )
            for row in csv.DictReader(lines)
        ]


def mask_sources(flux: Float32[np.ndarray, "c h w"]) -> Bool[np.ndarray, "h w"]:
    """True on and about every source seen in the mean S/N of r, Z and J, and on the haloes of the bright ones."""
    signal = np.zeros(flux.shape[1:], np.float32)
    for image in flux[[2, 4, 6]]:
        everywhere = np.ones(image[::4, ::4].shape, np.float32)
        level, rms = sky_level(image[::4, ::4], everywhere)
        signal += ((image - level) / (rms * np.sqrt(3))).astype(np.float32)
    good = np.ones(signal.shape, bool)
    level, rms = background_map(signal, good, MESH)
    found = detect(signal - level, rms, good)
    mask = maximum_filter(found.segmap > 0, 2 * GROW + 1)
    large = found.table[(found.table["pixels"] > 300) & (found.table["b"] > 0.4 * found.table["a"])]
    angle = np.clip(np.radians(large["theta"]), -np.pi / 2, np.pi / 2)
    sep.mask_ellipse(mask, large["x"], large["y"], large["a"], large["b"], angle, r=8.0)
    return mask


def sky_step(image: Float32[np.ndarray, "h w"], sky: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """The pattern of lines along the longer side of a box: medians of sky pixels in pieces of BLOCK, interpolated.

    A line's neighbours steady it by a median of three. Where a piece has too little sky, the next ones count.
    """
    if image.shape[1] > image.shape[0]:
        return sky_step(image.T, sky.T).T
    edges = np.linspace(0, len(image), max(len(image) // BLOCK, 1) + 1).astype(int)
    values = np.where(sky, image, np.nan)
    enough = np.array([sky[top:end].mean(axis=0) > 0.2 for top, end in pairwise(edges)])
    medians = np.array(
        [_column_medians(values[top:end], known) for (top, end), known in zip(pairwise(edges), enough, strict=True)]
    )
    centres = (edges[:-1] + edges[1:]) / 2
    rows = np.arange(len(image))
    lines = [
        np.interp(rows, centres[known], column[known]) if known.any() else np.zeros(len(rows))
        for column, known in zip(medians.T, enough.T, strict=True)
    ]
    pattern = np.array(lines, np.float32).T
    padded = np.pad(pattern, ((0, 0), (1, 1)), mode="edge")
    return np.median([padded[:, :-2], pattern, padded[:, 2:]], axis=0)


def _column_medians(piece: Float32[np.ndarray, "h w"], known: Bool[np.ndarray, "w"]) -> Float32[np.ndarray, "w"]:
    out = np.zeros(piece.shape[1], np.float32)
    out[known] = np.nanmedian(piece[:, known], axis=0)
    return out


def find_sources(field: Field, rms: Float32[np.ndarray, "c h w"]) -> tuple[list[Target], Detections]:
    """Sources in r as targets with nine-band photometry and flags; and the detections they come from."""
    r = DETECTION_BAND
    found = detect(field.flux[r], rms[r], field.good[r], saturation=SATURATION)
    in_halo = _in_halo(found.table)
    found.table["is_extended"] &= ~in_halo  # real galaxies are among them, but none with a size to be trusted
    window = Window(field.flux, field.good)
    photometry = fluxes_in_bands(window, np.zeros(len(rms)), rms, found, field.bands)
    photometry["in_bad_strip"] = _in_bad_strip(found.table)
    photometry["in_halo"] = in_halo
    return targets_of(field, described(field, found.table, photometry)), found


def _in_bad_strip(table: np.ndarray) -> Bool[np.ndarray, "n"]:
    """Whether the centre lies in a box whose sky steps were subtracted, in any band."""
    inside = np.zeros(len(table), bool)
    for _, _, (rows, columns) in (defect for defect in read_defects() if defect.kind == "step"):
        across = (table["x"] >= columns.start) & (table["x"] < columns.stop)
        inside |= across & (table["y"] >= rows.start) & (table["y"] < rows.stop)
    return inside


def _in_halo(table: np.ndarray) -> Bool[np.ndarray, "n"]:
    """Whether a source lies in the halo of a saturated star, so that it may be a spike or a ghost of it."""
    inside = np.zeros(len(table), bool)
    for star in table[table["is_saturated"]]:
        reach = HALO * np.sqrt(star["pixels"] / np.pi)
        inside |= (np.hypot(table["x"] - star["x"], table["y"] - star["y"]) < reach) & ~table["is_saturated"]
    return inside
