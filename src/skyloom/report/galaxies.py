"""Cutouts as pictures: a colour composite of any survey's bands, cropped and binned, as PNG data."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.report.bands import colour_bands
from skyloom.sky.background import sky_level

BLACK = 2.5  # the picture's black lies this far below the sky [rms of the mean of its bands]
SOFTENING = 5.0  # below it the stretch is linear, above it logarithmic [rms]


@dataclass(frozen=True)
class Look:
    """How a survey's cutouts are coloured. bands : red, green, blue, as indices; white : flux of each shown as grey."""

    bands: tuple[int, int, int]
    white: tuple[float, float, float]

    def names(self, info: SurveyInfo) -> str:
        return ", ".join(info.band_names[band] for band in dict.fromkeys(self.bands))


def look_of(cutouts: Iterable[Cutout], info: SurveyInfo) -> Look:
    """A look whose white is the median colour of the objects at the centres of these cutouts.

    It depends neither on zero points nor on the unit of any band.
    """
    bands = colour_bands(info.band_names)
    height, width = info.shape
    y, x = np.indices(info.shape)
    centre = np.hypot(y - height // 2, x - width // 2) <= max(3, min(height, width) / 12)
    fluxes, noises = [], []
    for cutout in cutouts:
        flux, good, rms = _subtracted(cutout, bands)
        inside = good & centre
        fluxes.append(np.where(inside, flux, 0).sum((1, 2)) / np.maximum(inside.sum((1, 2)), 1))
        noises.append(rms)
    if not fluxes:
        return Look(bands, (1.0, 1.0, 1.0))
    noise = np.nan_to_num(np.nanmedian(noises, axis=0), nan=1.0)
    noise[noise == 0] = 1.0
    return Look(bands, white_of(np.array(fluxes), noise))


def white_of(fluxes: Float[np.ndarray, "n 3"], rms: Float[np.ndarray, "3"]) -> tuple[float, float, float]:
    """The median colour of objects; grey at equal S/N where there are none, or none above the noise."""
    white = np.nanmedian(fluxes / rms, axis=0) if len(fluxes) else np.ones(3)
    red, green, blue = (float(value) for value in np.where(np.isfinite(white) & (white > 0.1), white, 1.0) * rms)
    return red, green, blue


def picture(
    cutout: Cutout, look: Look, box: tuple[slice, slice] | None = None, side: int = 128
) -> UInt8[np.ndarray, "h w 4"]:
    """The colour composite of a cutout, first row at the bottom: (rows, columns, RGBA).

    box : rows and columns to show; side : pixels are binned in whole numbers until the picture is no larger [pixel]
    """
    rows, columns = box or (slice(0, cutout.flux.shape[1]), slice(0, cutout.flux.shape[2]))
    flux, good, rms = _subtracted(cutout, look.bands)
    flux, good = flux[:, rows, columns], good[:, rows, columns]
    bins = max(1, -(-max(flux.shape[1:]) // side))
    flux, good = _binned(flux, good, bins)
    return composite(flux, good, rms / bins, np.array(look.white))


def composite(
    flux: Float[np.ndarray, "3 h w"],
    good: Bool[np.ndarray, "3 h w"],
    rms: Float[np.ndarray, "3"],
    white: Float[np.ndarray, "3"],
    brightest: float | None = None,
) -> UInt8[np.ndarray, "h w 4"]:
    """Red, green, blue to an 8-bit picture that keeps colour in bright places and shows the sky dark grey.

    flux : sky-subtracted, linear; rms : of its sky; white : the flux of each band that makes grey
    brightest : where the stretch ends [rms of the mean of the bands], if several pictures share one
    The mean of the bands is stretched by asinh, from below the sky to the brightest of the picture's central half,
    and the colours follow; they fade to grey where there is only noise. A pixel bad in some band takes the mean of the
    others; one bad in all is transparent. Multiplying flux, rms and white by one number changes nothing.
    Source: Lupton et al. 2004, PASP 116, 133.
    We differ: the stretch is set by the noise and by the brightest pixels of each picture; colours fade into the noise.
    """
    scaled = np.where(good, flux / white[:, None, None], 0.0)
    count = good.sum(0)
    mean = scaled.sum(0) / np.maximum(count, 1)
    scaled = np.where(good, scaled, mean)
    noise = float(np.sqrt(np.sum((rms / white) ** 2))) / 3
    noise = noise if np.isfinite(noise) and noise > 0 else float(np.abs(mean).max() / 100 or 1.0)
    top = (_brightest(mean, noise) if brightest is None else brightest * noise) + BLACK * noise
    soft = SOFTENING * noise
    level = np.maximum(mean + BLACK * noise, 0)
    stretched = np.arcsinh(level / soft) / np.arcsinh(top / soft)
    certainty = np.clip(mean / (mean + 3 * noise), 0, 1) * (mean > 0)
    tint = 1 + certainty * (scaled - mean) / np.maximum(mean, 1e-3 * noise)
    colours = np.clip(tint, 0, 3) * stretched
    colours /= np.maximum(colours.max(0), 1)
    colours = np.concatenate([colours, (count > 0)[None]])
    return np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8).transpose(1, 2, 0)


def _brightest(mean: Float[np.ndarray, "h w"], noise: float) -> float:
    """What all but 0.3 % of the pixels of the central half are fainter than, or ten times the noise."""
    h, w = mean.shape
    return max(np.percentile(mean[h // 4 : h - h // 4, w // 4 : w - w // 4], 99.7), 10 * noise)


def png_uri(pixels: UInt8[np.ndarray, "h w 4"]) -> str:
    """A picture as a data URI, its first row at the bottom as astronomers draw it."""
    image = Image.fromarray(np.ascontiguousarray(pixels[::-1]))
    buffer = io.BytesIO()
    (image.convert("RGB") if (pixels[..., 3] == 255).all() else image).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _subtracted(cutout: Cutout, bands: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flux without the sky, good pixels and sky rms of some bands; 0 where bad."""
    flux, ivar = cutout.flux[list(bands)], cutout.ivar[list(bands)]
    if cutout.sky is not None and cutout.sky_rms is not None and np.isfinite(cutout.sky_rms[list(bands)]).all():
        level, rms = cutout.sky[list(bands)], cutout.sky_rms[list(bands)]
    else:
        level, rms = sky_level(flux, ivar)
    good = (ivar > 0) & np.isfinite(level)[:, None, None]
    light = np.where(good, flux - np.nan_to_num(level)[:, None, None], 0)
    return light.astype(np.float64), good, np.asarray(rms, np.float64)


def _binned(flux: np.ndarray, good: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of the good pixels of bins × bins blocks; a part block at the far edge is left out."""
    if bins == 1:
        return flux, good
    c, h, w = flux.shape
    blocks = (c, h // bins, bins, w // bins, bins)
    cut = np.s_[:, : h // bins * bins, : w // bins * bins]
    count = good[cut].reshape(blocks).sum((2, 4))
    total = np.where(good, flux, 0)[cut].reshape(blocks).sum((2, 4))
    return total / np.maximum(count, 1), count > 0
