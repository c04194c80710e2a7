"""The true profiles of a mock: its isophotes without noise, with and without the PSF, to 1e-3 mag/arcsec².

Definition. The isophote of semi-major axis a is the ellipse about the true centre along which the second harmonics of
the noise-free intensity vanish (Jedrzejewski 1987, MNRAS 226, 747, as photutils fits it: polar angle from the major
axis, samples equally spaced along the arc). Its surface brightness is the mean intensity along it.
With PSF: of the image convolved with the PSF and the pixel, which is what pixels contain. Without: of the light itself.
Spiral arms have no isophotes: the ellipses are those of the galaxy without its arms, and the mean is that of the whole.

The galaxy is sampled on a polar grid and convolved by Hankel transforms (`skyloom.sky.hankel`): no pixels are involved,
so the truth is independent of the drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex128, Float64

from skyloom.data.mocks.draw import Canvas, disc_plane, fluxes, pattern_of
from skyloom.data.mocks.population import Component, Galaxy, Pattern
from skyloom.sky.hankel import PolarGrid
from skyloom.sky.psf import moffat_transfer, pixel_transfer
from skyloom.sky.sersic import intensity, total_flux

GRID = PolarGrid()
FLOOR = 1e-30  # of the peak: intensities below are as good as none, and have a logarithm
COARSE_ITERATIONS, ITERATIONS = 12, 5  # of all bands' sum, then of each band
LARGEST, LARGEST_STEP = 0.95, 0.15  # ellipticity, and its change in one iteration


class Isophotes(NamedTuple):
    """Of several images at several semi-major axes: intensity [flux/pixel], ellipticity, PA [deg], flux inside."""

    intensity: Float64[np.ndarray, "n s"]
    ellipticity: Float64[np.ndarray, "n s"]
    pa: Float64[np.ndarray, "n s"]
    inside: Float64[np.ndarray, "n s"]


class Truth(NamedTuple):
    """Isophotes of every band at `sma` [arcsec], with PSF and pixel and without."""

    sma: Float64[np.ndarray, "s"]
    convolved: Isophotes
    intrinsic: Isophotes


@dataclass(frozen=True)
class Optics:
    """A canvas' bands seen from the polar grid: PSF and pixel as functions of wavenumber, and where to measure."""

    canvas: Canvas
    radii: int = 48

    @cached_property
    def transfer(self) -> Float64[np.ndarray, "c r"]:
        pixel = pixel_transfer(GRID.wavenumber, self.canvas.pixel_scale)
        return np.stack([pixel * moffat_transfer(GRID.wavenumber, *psf) for psf in self.canvas.psfs.values()])

    @cached_property
    def sma(self) -> Float64[np.ndarray, "s"]:
        """From half a pixel to the corner of the cutout, equally spaced in the logarithm [arcsec]."""
        scale = self.canvas.pixel_scale
        return scale * np.geomspace(0.5, self.canvas.size / np.sqrt(2), self.radii)


def truth(galaxy: Galaxy, optics: Optics) -> Truth:
    """True isophotes of a galaxy in every band."""
    weights = fluxes(galaxy, optics.canvas) * optics.canvas.pixel_scale**2
    smooth = sampled(galaxy, arms=False)
    whole = sampled(galaxy, arms=True) if galaxy.pattern and galaxy.pattern.contrast else smooth
    sharp = np.tensordot(weights, smooth, 1)
    sharp_whole = sharp if whole is smooth else np.tensordot(weights, whole, 1)
    blurred = convolved(weights, smooth, optics)
    blurred_whole = blurred if whole is smooth else convolved(weights, whole, optics)
    isophotes = trace(np.concatenate([blurred, sharp]), np.concatenate([blurred_whole, sharp_whole]), optics)
    bands = len(weights)
    return Truth(
        optics.sma, Isophotes(*(part[:bands] for part in isophotes)), Isophotes(*(part[bands:] for part in isophotes))
    )


def sampled(galaxy: Galaxy, arms: bool) -> Float64[np.ndarray, "parts r a"]:
    """Intensity of each component of unit flux on the polar grid [1/arcsec²]."""
    x, y = GRID.radius[:, None] * np.cos(GRID.angle), GRID.radius[:, None] * np.sin(GRID.angle)
    parts = galaxy.components.items()
    return np.stack([light(part, pattern_of(galaxy, name), arms, x, y) for name, part in parts])


def light(part: Component, pattern: Pattern | None, arms: bool, x, y):
    """Intensity [1/arcsec²] of a component of unit flux at offsets from its centre [arcsec]."""
    radius, angle = disc_plane(x, y, part)
    plain = intensity(radius, 1.0, part.n) / total_flux(1.0, part.r_e, part.n, part.q)
    if pattern is None:
        return plain
    shape = pattern.modulation(radius, angle) if arms else pattern.smooth(radius)
    return plain * shape / pattern.flux_factor(part.n)


def convolved(weights, parts, optics: Optics) -> Float64[np.ndarray, "c r a"]:
    """Each band's image on the polar grid, with its PSF and pixel."""
    spectra = np.tensordot(weights, GRID.transform(GRID.harmonics(parts)), 1)
    return GRID.image(GRID.transform(spectra * optics.transfer[:, None, :]))


def trace(smooth: Float64[np.ndarray, "n r a"], whole: Float64[np.ndarray, "n r a"], optics: Optics) -> Isophotes:
    """Fit the isophotes of `smooth` images, half of them with PSF and half without, and measure `whole` along them."""
    kinds = smooth.reshape(2, -1, *smooth.shape[1:]).sum(1)
    shape = fitted(np.zeros((2, len(optics.sma)), complex), logarithm(kinds), optics.sma, COARSE_ITERATIONS, every=2)
    shape = fitted(shape.repeat(len(smooth) // 2, axis=0), logarithm(smooth), optics.sma, ITERATIONS)
    boundary = ellipse(shape, optics.sma, GRID.angle)
    mean = (np.exp(interpolated(logarithm(whole), boundary)[0]) * boundary).sum(-1) / boundary.sum(-1)
    shells = whole * GRID.radius[:, None] ** 2
    growth = np.cumsum(shells, axis=1) - shells / 2
    area = GRID.step * 2 * np.pi / GRID.angles / optics.canvas.pixel_scale**2
    inside = interpolated(growth, boundary)[0].sum(-1) * area
    return Isophotes(mean, np.abs(shape), np.rad2deg(np.angle(shape) / 2) % 180, inside)


def logarithm(images: Float64[np.ndarray, "n r a"]) -> Float64[np.ndarray, "n r a"]:
    """ln of intensities, which are floored where there is as good as none."""
    return np.log(np.maximum(images, FLOOR * images.max(axis=(1, 2), keepdims=True)))


def ellipse(shape: Complex128[np.ndarray, "n s"], sma, angle) -> Float64[np.ndarray, "n s a"]:
    """Radius along every ray of ellipses of semi-major axis sma and shape ε exp(2i PA)."""
    q = 1 - np.abs(shape)[..., None]
    from_major = angle - np.angle(shape)[..., None] / 2
    return sma[:, None] * q / np.sqrt((q * np.cos(from_major)) ** 2 + np.sin(from_major) ** 2)


def interpolated(values: Float64[np.ndarray, "n r a"], radius: Float64[np.ndarray, "n s a"]):
    """Values at a radius on every ray, and their slopes in ln r: the cubic through four points."""
    rays = values.shape[-1]
    at = np.log(radius / GRID.radius[0]) / GRID.step
    left = at.astype(np.intp)
    t = at - left
    flat = values.ravel()
    index = (np.arange(len(values))[:, None, None] * GRID.radii + left) * rays + np.arange(rays)
    before, here, there, after = (flat[index + shift * rays] for shift in (-1, 0, 1, 2))
    linear = there - before / 3 - here / 2 - after / 6
    square = (before + there) / 2 - here
    cube = (after - before) / 6 + (here - there) / 2
    return ((cube * t + square) * t + linear) * t + here, ((3 * cube * t + 2 * square) * t + linear) / GRID.step


def fitted(
    shape: Complex128[np.ndarray, "n s"], logs: Float64[np.ndarray, "n r a"], sma, iterations: int, every: int = 1
):
    """Shapes of the isophotes, from first guesses; on every ray or on every second one."""
    logs, angle = np.ascontiguousarray(logs[..., ::every]), GRID.angle[::every]
    waves = np.stack(
        [wave(m * angle) for m, wave in ((0, np.cos), (2, np.cos), (2, np.sin), (4, np.cos), (4, np.sin))], -1
    )
    for _ in range(iterations):
        shape = improved(shape, logs, sma, angle, waves)
    return shape


def improved(shape, logs, sma, angle, waves):
    """One correction of every ellipse, proportional to its second harmonics over its gradient."""
    boundary = ellipse(shape, sma, angle)
    level, slope = interpolated(logs, boundary)
    level = level - level.max(-1, keepdims=True)
    values = np.exp(level)
    second = harmonics(values, boundary, waves)
    gradient = (boundary * values * slope).sum(-1) / boundary.sum(-1)
    q, turn = 1 - np.abs(shape), np.exp(1j * np.angle(shape))
    second = np.conj(second * turn)
    change = (-2 * q * second.real - 4j * q * second.imag / (1 + q)) * turn
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(gradient < 0, change / gradient, 0)
    shape = shape + change * np.minimum(1, LARGEST_STEP / np.maximum(np.abs(change), 1e-12))
    return shape * np.minimum(1, LARGEST / np.maximum(np.abs(shape), 1e-12))


def harmonics(values, weight, waves) -> Complex128[np.ndarray, "n s"]:
    """C of the weighted least-squares fit of mean + Re[C exp(2iθ)] to the values along each ellipse."""
    sums = weight @ waves
    normal = np.empty((*sums.shape[:-1], 3, 3))
    normal[..., 0, :] = normal[..., :, 0] = sums[..., :3]
    normal[..., 1, 1], normal[..., 2, 2] = (sums[..., 0] + sums[..., 3]) / 2, (sums[..., 0] - sums[..., 3]) / 2
    normal[..., 1, 2] = normal[..., 2, 1] = sums[..., 4] / 2
    _, cosine, sine = np.moveaxis(np.linalg.solve(normal, ((weight * values) @ waves[:, :3])[..., None])[..., 0], -1, 0)
    return cosine - 1j * sine
