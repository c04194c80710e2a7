"""Magnitudes, colours and half-light radii of many galaxies at once, straight from their pixels.

Two matrix products of pixels and aperture weights: nothing is fitted and nothing is looked at one galaxy at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32

from skyloom.errors import RequestError
from skyloom.sky.growth import radius_where
from skyloom.sky.photometry import magnitude

FIRST, RATIO = 0.25, 1.15  # smallest aperture of the curve of growth [pixel], and ratio of neighbouring ones
CHUNK = 256  # galaxies in one matrix product


class Property(NamedTuple):
    """One number of every galaxy of a sample; NaN where it could not be measured."""

    name: str
    unit: str
    values: Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Photometry:
    """What `photometry` measured.

    magnitudes : within the aperture, NaN where the flux is not positive; r_e : of band `reference`
    units : of the magnitudes, and of r_e
    """

    bands: tuple[str, ...]
    magnitudes: Float[np.ndarray, "n c"]
    r_e: Float[np.ndarray, "n"]
    reference: str
    units: tuple[str, str] = ("mag", "arcsec")

    def __len__(self) -> int:
        return len(self.r_e)

    @property
    def colours(self) -> Float[np.ndarray, "n k"]:
        """Each band less the next [mag]."""
        return self.magnitudes[:, :-1] - self.magnitudes[:, 1:]

    @property
    def properties(self) -> tuple[Property, ...]:
        """Magnitudes, colours and r_e, each under its name."""
        light = [Property(band, self.units[0], self.magnitudes[:, k]) for k, band in enumerate(self.bands)]
        names = [f"{one} − {other}" for one, other in zip(self.bands[:-1], self.bands[1:], strict=True)]
        colours = [Property(name, self.units[0], self.colours[:, k]) for k, name in enumerate(names)]
        return (*light, *colours, Property("R_e", self.units[1], self.r_e))

    @property
    def unmeasured(self) -> dict[str, int]:
        """How many galaxies have no such number."""
        return {one.name: int((~np.isfinite(one.values)).sum()) for one in self.properties}

    def take(self, rows: np.ndarray) -> Photometry:
        """Some of the galaxies."""
        return Photometry(self.bands, self.magnitudes[rows], self.r_e[rows], self.reference, self.units)


def photometry(
    flux: Float[np.ndarray, "n c h w"],
    pixel_scale: float | None,
    zero_points: Sequence[float | None],
    *,
    bands: Sequence[str] | None = None,
    aperture: float = 3.0,
    reference: int = 0,
    largest: float | None = None,
    centre: tuple[float, float] | None = None,
) -> Photometry:
    """Aperture magnitudes of every band and the half-light radius of one, about one centre for all images.

    flux : linear, sky-subtracted, bad pixels set to the sky; neighbours are not masked
    pixel_scale : [arcsec/pixel]; None: aperture, largest and r_e are in pixels
    zero_points : AB [mag]; None: that band is instrumental, as if it were 0
    aperture : diameter of the circle in which magnitudes are taken
    reference : number of the band in which r_e is measured
    largest : radius within which all light is taken to lie; None: half the shorter side. Light further out does not
        count: a Sérsic law of n = 4 has 4 % of it beyond 10 R_e, which makes its R_e 6 % too small
    centre : (x, y) [pixel] of every galaxy; None: the middle of the image
    r_e is the radius of the circle that holds half of the light within the largest; of what the pixels hold, PSF and
    all. NaN where that light is not positive. Raises RequestError for circles that do not fit into the image.
    Source: Smith et al. 2022, MNRAS 511, 1808, arXiv:2111.01713 (magnitudes within 3 arcsec, half-light radii).
    We differ: r_e is a half-light radius (see `metrics.legacy` for theirs), and pixels are cut by the circles.
    """
    unit = 1.0 if pixel_scale is None else pixel_scale
    height, width = flux.shape[-2:]
    middle = ((width - 1) / 2, (height - 1) / 2) if centre is None else centre
    edge = min(middle[0], middle[1], width - 1 - middle[0], height - 1 - middle[1]) + 0.5
    radius, reach = aperture / 2 / unit, edge if largest is None else largest / unit
    if not (0 < radius <= edge and FIRST < reach <= edge):
        raise RequestError(
            f"circles of radius {radius:g} (aperture) and {reach:g} pixels (largest) about {middle} in images of "
            f"{height}×{width}: both must be positive and at most {edge:g}; ask for smaller ones, or larger cutouts"
        )
    light, r_e = _within(flux, middle, radius), unit * _half_light(flux[:, reference], middle, reach)
    names = tuple(str(k) for k in range(flux.shape[1])) if bands is None else tuple(bands)
    units = ("mag" if None not in zero_points else "mag (instrumental)", "pix" if pixel_scale is None else "arcsec")
    points = np.array([0.0 if point is None else point for point in zero_points])
    return Photometry(names, magnitude(light, points), r_e, names[reference], units)


def joined(parts: Sequence[Photometry]) -> Photometry:
    """The galaxies of several samples as one; all of them measured alike."""
    magnitudes, r_e = (np.concatenate([getattr(part, name) for part in parts]) for name in ("magnitudes", "r_e"))
    return Photometry(parts[0].bands, magnitudes, r_e, parts[0].reference, parts[0].units)


def _within(flux, centre: tuple[float, float], radius: float) -> Float[np.ndarray, "n c"]:
    """Flux within a circle, from a window that just holds it."""
    (x0, y0), side = (max(0, int(place - radius)) for place in centre), int(2 * radius) + 3
    window = flux[..., y0 : y0 + side, x0 : x0 + side].astype(np.float64)
    weights = circles(window.shape[-2:], (centre[0] - x0, centre[1] - y0), (radius,))
    return window.reshape(*window.shape[:2], -1) @ weights[:, 0].astype(np.float64)


def _half_light(flux: Float[np.ndarray, "n h w"], centre, reach: float) -> Float[np.ndarray, "n"]:
    """Radius [pixel] of the circle that holds half of the flux within `reach`, by the curve of growth."""
    radii = tuple(np.geomspace(FIRST, reach, int(np.log(reach / FIRST) / np.log(RATIO)) + 2))
    weights = torch.from_numpy(circles(flux.shape[-2:], centre, radii))
    half = np.empty(len(flux))
    for start in range(0, len(flux), CHUNK):
        part = flux[start : start + CHUNK]
        pixels = torch.from_numpy(part.reshape(len(part), -1).astype(np.float32, copy=False))
        growth = (pixels @ weights).double()
        found = radius_where(growth, growth[:, -1] / 2, torch.tensor(radii, dtype=torch.float64), rising=True)
        half[start : start + CHUNK] = torch.where(growth[:, -1] > 0, found, torch.nan).numpy()
    return half


@lru_cache(maxsize=8)
def circles(
    shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, ...]
) -> Float32[np.ndarray, "pixels k"]:
    """The area of each pixel of an image that lies within each circle; a product with them sums the light inside.

    centre : (x, y); radii : [pixel]
    """
    y, x = (np.arange(side + 1) - 0.5 - middle for side, middle in zip(shape, centre[::-1], strict=True))
    weights = np.empty((shape[0] * shape[1], len(radii)), np.float32)
    for k, radius in enumerate(radii):
        corners = _quadrant(x[None, :], y[:, None], radius)
        weights[:, k] = np.diff(np.diff(corners, axis=0), axis=1).ravel()
    return weights


def _quadrant(x: np.ndarray, y: np.ndarray, radius: float) -> Float[np.ndarray, "h w"]:
    """Area of a circle about (0, 0) to the left of x and below y; differences of it are areas within pixels."""

    def below(x):
        """Half of the area to the left of x."""
        return (x * np.sqrt(radius**2 - x**2) + radius**2 * (np.arcsin(x / radius) + np.pi / 2)) / 2

    x, y = np.clip(x, -radius, radius), np.clip(y, -radius, radius)
    reach = np.sqrt(radius**2 - y**2)  # within ± reach the line at y cuts the circle
    outside = below(np.minimum(x, -reach)) + below(np.maximum(x, reach)) - below(reach)
    return below(x) + y * np.clip(x + reach, 0, 2 * reach) + np.sign(y) * outside
