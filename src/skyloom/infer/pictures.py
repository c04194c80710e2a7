"""A cartoon, a sketch or any other picture as the light of a galaxy, in the bands and pixels of a generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32

from skyloom.data.admission import Piece
from skyloom.data.cutout import SurveyInfo
from skyloom.sky.regrid import regrid
from skyloom.sky.wavelengths import by_wavelength, wavelength

DEEPEST = {"uint8": 255.0, "uint16": 65535.0}  # white, by the type of a picture's pixels
PAPER = 0.5  # a picture that is brighter than this on average is ink on paper
EDGE = 0.04  # of the side: the frame in which there is only sky
DISPLAY = "display stretch"  # in the unit of bands that hold a picture themselves
SEEN = 12.0  # how far the lit parts of a picture stand above the noise [rms], as the bodies of bright galaxies do
GREEN_AND_BESIDE = (475.0, 622.0, 763.0)  # [nm] of what is shown blue, green and red: g, r, i
LIT = 0.1  # of the brightest pixel: what is lit


def drawn_light(
    picture: Piece, info: SurveyInfo, light: Sequence[float], noise: Sequence[float]
) -> Float32[np.ndarray, "c h w"]:
    """The picture as sky-subtracted flux of a survey; its upper edge becomes the last row.

    The largest square about its middle is averaged over the survey's pixels; red goes to the bands from i on, green to
    r, blue to those up to g, grey to all. Ink on paper (a mean level above PAPER) is turned round, dark for bright, its
    hues kept; so is what is dark on a transparent ground. The median of the outermost pixels is sky.
    light : flux in each band of a galaxy typical of the survey: white becomes its colour
    noise : rms per pixel of each band; the middle one of the lit pixels stands SEEN times above that of all bands
    Where the survey holds pictures itself (Galaxy Zoo), levels are kept as they are instead.
    """
    levels, good = _levels(picture)
    bright = good.any() and levels.mean(0)[good].mean() > PAPER
    if bright == good.all():  # on a transparent ground it is dark things that are ink
        levels = levels + 1 - levels.max(0) - levels.min(0)
    levels = _square(np.where(good, levels, np.nan))[:, ::-1]
    levels = np.clip(np.nan_to_num(levels - _sky(levels)), 0, 1)
    ratio = levels.shape[-1] / min(info.shape)
    small, _ = regrid(levels, np.ones(levels.shape, bool), ratio, info.shape)
    planes = _in_bands(small / ratio**2, info)
    if all(band.unit and DISPLAY in band.unit for band in info.bands):
        return (DEEPEST["uint8"] * planes).astype(np.float32)
    flux = planes * np.maximum(light, noise)[:, None, None]
    above = (flux / np.asarray(noise)[:, None, None]).sum(0) / len(flux) ** 0.5
    lit = above[above > LIT * above.max()]
    return (flux * (SEEN / np.median(lit) if len(lit) else 0.0)).astype(np.float32)


def _levels(picture: Piece) -> tuple[Float[np.ndarray, "k h w"], Bool[np.ndarray, "h w"]]:
    """Red, green, blue or grey from 0, black, to 1, white; and which pixels are not transparent."""
    kind = (picture.bands[0].unit or "").split()[0]
    white = DEEPEST.get(kind, float(np.nanmax(picture.flux)) or 1.0)
    bad = np.zeros(picture.flux.shape, bool) if picture.bad is None else picture.bad
    return picture.flux.astype(np.float64) / white, ~np.any(bad, axis=0)


def _square(levels: Float[np.ndarray, "k h w"]) -> Float[np.ndarray, "k s s"]:
    height, width = levels.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return levels[:, top : top + side, left : left + side]


def _sky(levels: Float[np.ndarray, "k s s"]) -> Float[np.ndarray, "k 1 1"]:
    """The median level of the outermost pixels; 0 where all of them are transparent."""
    side = levels.shape[-1]
    width = max(1, round(EDGE * side))
    edge = np.ones((side, side), bool)
    edge[width : side - width, width : side - width] = False
    seen = levels[:, edge]
    known = np.isfinite(seen).any()
    return (np.nanmedian(seen, axis=1) if known else np.zeros(len(levels)))[:, None, None]


def _in_bands(levels: Float[np.ndarray, "k h w"], info: SurveyInfo) -> Float[np.ndarray, "c h w"]:
    """Levels in the survey's bands, each between the two colours that it lies between."""
    if len(levels) == 1 or len(info.bands) == 1:
        return np.repeat(levels.mean(0, keepdims=True), len(info.bands), 0)
    blue_to_red = levels[::-1]
    low = np.minimum(_places(info).astype(int), 1)
    part = (_places(info) - low)[:, None, None]
    return (1 - part) * blue_to_red[low] + part * blue_to_red[low + 1]


def _places(info: SurveyInfo) -> Float[np.ndarray, "c"]:
    """Where each band lies from 0, blue, over 1, green, to 2, red; by rank where wavelengths are not known or close."""
    known = [wavelength(name) for name in info.band_names]
    if None not in known:
        places = np.interp(np.log(np.array(known, float)), np.log(GREEN_AND_BESIDE), (0.0, 1.0, 2.0))
        if np.ptp(places) > 1:
            return places
    order = by_wavelength(info.band_names)
    return 2 * np.array([order.index(name) for name in info.band_names]) / (len(order) - 1)
