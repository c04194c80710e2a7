"""The true profiles of a mock: its isophotes without noise, with and without the PSF, to 1e-3 mag/arcsec².

Definition. The isophote of semi-major axis a is the ellipse about the true centre along which the second harmonics of
the noise-free intensity vanish (Jedrzejewski 1987, MNRAS 226, 747, as photutils fits it: polar angle from the major
axis, samples equally spaced along the arc). Its surface brightness is the mean intensity along it.
With PSF: of the image convolved with the PSF and the pixel, which is what pixels contain. Without: of the light itself.
Arms and rings have no isophotes: the ellipses are those of the galaxy without its pattern, the mean is of the whole.

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
RAYS = GRID.angle[::2]  # isophotes are fitted on every second direction of the grid
SPACING = 0.125  # of the semi-major axes, in the logarithm
FLOOR = 1e-30  # of the peak: intensities below are as good as none, and have a logarithm
COARSE_ITERATIONS, ITERATIONS = 4, 3  # of all bands' sum, then of each band
LARGEST, LARGEST_STEP = 0.95, 0.15  # ellipticity, and its change in one iteration
TURNS = np.exp(2j * RAYS)
WAVES = np.stack([np.ones_like(RAYS), TURNS.real, TURNS.imag, (TURNS**2).real, (TURNS**2).imag], -1)


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

    @cached_property
    def transfer(self) -> Float64[np.ndarray, "c r"]:
        pixel = pixel_transfer(GRID.wavenumber, self.canvas.pixel_scale)
        return np.stack([pixel * moffat_transfer(GRID.wavenumber, *psf) for psf in self.canvas.psfs.values()])

    @cached_property
    def sma(self) -> Float64[np.ndarray, "s"]:
        """From half a pixel to the corner of the cutout, equally spaced in the logarithm [arcsec]."""
        first, last = 0.5, self.canvas.size / np.sqrt(2)
        return self.canvas.pixel_scale * np.geomspace(first, last, int(np.log(last / first) / SPACING) + 2)

    @cached_property
    def window(self) -> slice:
        """The grid's radii that an isophote can pass."""
        reach = np.searchsorted(GRID.radius, [self.sma[0] * (1 - LARGEST), self.sma[-1]])
        return slice(int(reach[0]) - 2, int(reach[1]) + 3)


class Polar(NamedTuple):
    """Images on the rays of the polar grid, within a window of its radii.

    logs : ln of the intensity
    growth : along each ray, ∫ I r dr from the centre
    start : ln of the first radius
    """

    logs: Float64[np.ndarray, "n r a"]
    growth: Float64[np.ndarray, "n r a"]
    start: float


def truth(galaxy: Galaxy, optics: Optics) -> Truth:
    """True isophotes of a galaxy in every band."""
    weights = fluxes(galaxy, optics.canvas) * optics.canvas.pixel_scale**2
    smooth = whole = images(weights, sampled(galaxy, patterned=False), optics)
    if galaxy.pattern:
        whole = images(weights, sampled(galaxy, patterned=True), optics)
    shape = fit(guess(galaxy, optics), smooth, optics)
    isophotes, bands = measured(shape, polar(whole, optics), optics), len(weights)
    return Truth(
        optics.sma, Isophotes(*(part[:bands] for part in isophotes)), Isophotes(*(part[bands:] for part in isophotes))
    )


def sampled(galaxy: Galaxy, patterned: bool) -> Float64[np.ndarray, "parts r a"]:
    """Intensity of each component of unit flux on the polar grid [1/arcsec²]."""
    return np.stack(
        [light(part, pattern_of(galaxy, name) if patterned else None) for name, part in galaxy.components.items()]
    )


def light(part: Component, pattern: Pattern | None) -> Float64[np.ndarray, "r a"]:
    """Intensity [1/arcsec²] of a component of unit flux on the polar grid."""
    stretch, azimuth = disc_plane(np.cos(GRID.angle), np.sin(GRID.angle), part)
    radius = GRID.radius[:, None] * stretch
    plain = intensity(radius, 1.0, part.n, 1 / total_flux(1.0, part.r_e, part.n, part.q))
    if pattern is None:
        return plain
    return plain * pattern.modulation(radius, azimuth) / pattern.flux_factor(part.n)


def images(weights, parts, optics: Optics) -> Float64[np.ndarray, "n r a"]:
    """Each band's image on the polar grid [flux/pixel], first with its PSF and pixel, then without."""
    spectra = np.tensordot(weights, GRID.transform(GRID.harmonics(parts)), 1)
    blurred = GRID.image(GRID.transform(spectra * optics.transfer[:, None, :]))
    return np.concatenate([blurred, np.tensordot(weights, parts, 1)])[..., ::2]


def polar(image: Float64[np.ndarray, "n r a"], optics: Optics) -> Polar:
    """The logarithm and the growth of images, in the window where isophotes pass."""
    window = optics.window
    lit = np.maximum(image[:, window], FLOOR * image.max(axis=(1, 2), keepdims=True))
    square = GRID.radius[:, None] ** 2
    shells = lit * square[window]
    core = (image[:, : window.start] * square[: window.start]).sum(1, keepdims=True)
    growth = (np.cumsum(shells, axis=1) - shells / 2 + core) * GRID.step
    return Polar(np.log(lit), growth, float(np.log(GRID.radius[window.start])))


def guess(galaxy: Galaxy, optics: Optics) -> Complex128[np.ndarray, "2 s"]:
    """About the shapes ε exp(2i PA) with and without PSF: the components', weighted by their light at each sma."""
    bands, parts = list(optics.canvas.psfs), galaxy.components
    blur = 0.4 * np.mean([fwhm for fwhm, _ in optics.canvas.psfs.values()])
    shapes, weights = [], []
    for name, part in parts.items():
        flux = np.mean([galaxy.share(name, band) for band in bands])
        weights.append(flux * intensity(optics.sma, part.r_e, part.n, 1 / total_flux(1.0, part.r_e, part.n, part.q)))
        q = [np.sqrt((part.q**2 * optics.sma**2 + s**2) / (optics.sma**2 + s**2)) for s in (blur, 0)]
        shapes.append((1 - np.stack(q)) * np.exp(2j * np.deg2rad(part.pa)))
    return (np.stack(shapes, 1) * weights).sum(1) / np.sum(weights, 0)


def fit(
    shape: Complex128[np.ndarray, "2 s"], smooth: Float64[np.ndarray, "n r a"], optics: Optics
) -> Complex128[np.ndarray, "n s"]:
    """Shapes ε exp(2i PA) of the isophotes of images, half of them with PSF and half without, from a guess of each."""
    both = polar(smooth.reshape(2, -1, *smooth.shape[1:]).sum(1), optics)
    for _ in range(COARSE_ITERATIONS):
        shape = improved(shape, both, optics.sma)
    each, shape = polar(smooth, optics), shape.repeat(len(smooth) // 2, axis=0)
    for _ in range(ITERATIONS):
        shape = improved(shape, each, optics.sma)
    return shape


def measured(shape: Complex128[np.ndarray, "n s"], whole: Polar, optics: Optics) -> Isophotes:
    """The mean intensity along ellipses and the flux inside them."""
    log_radius, radius, _ = ellipse(shape, optics.sma)
    level, _ = interpolated(whole.logs, log_radius - whole.start)
    mean = (np.exp(level) * radius).sum(-1) / radius.sum(-1)
    growth, _ = interpolated(whole.growth, log_radius - whole.start)
    inside = growth.sum(-1) * 2 * np.pi / len(RAYS) / optics.canvas.pixel_scale**2
    return Isophotes(mean, np.abs(shape), np.rad2deg(np.angle(shape) / 2) % 180, inside)


def half_light(inside: Float64[np.ndarray, "n s"], total: Float64[np.ndarray, "n"], sma) -> Float64[np.ndarray, "n"]:
    """Semi-major axis [arcsec] of the isophote with half of the total flux inside; NaN where none of `sma` reaches it.

    Cubic interpolation of ln sma in the share of the flux.
    """
    share = inside / total[:, None]
    above = np.clip((share < 0.5).sum(1), 2, len(sma) - 2)
    near = above[:, None] + np.arange(-2, 2)
    x, y = np.take_along_axis(share, near, 1), np.log(sma)[near]
    others = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    weights = ((0.5 - x[:, others]) / (x[:, :, None] - x[:, others])).prod(-1)
    return np.where(share[:, -1] > 0.5, np.exp((weights * y).sum(1)), np.nan)


def ellipse(shape: Complex128[np.ndarray, "n s"], sma) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along every ray of ellipses of semi-major axis sma and shape ε exp(2i PA): ln r, r, and exp(2iφ).

    φ is the ray's angle from the major axis.
    """
    size = np.abs(shape)
    q2 = ((1 - size) ** 2)[..., None]
    double = np.where(size > 0, shape.conj() / np.maximum(size, 1e-12), 1)[..., None] * TURNS
    square = q2 / (0.5 + 0.5 * q2 - (0.5 - 0.5 * q2) * double.real)
    return 0.5 * np.log(square) + np.log(sma)[:, None], np.sqrt(square) * sma[:, None], double


def interpolated(values: Float64[np.ndarray, "n r a"], log_radius: Float64[np.ndarray, "n s a"]):
    """Values at a ln radius (0 at the first) on every ray, and their slopes in it: the cubic through four points."""
    images, radii, rays = values.shape
    at = log_radius / GRID.step
    left = at.astype(np.intp)
    t = at - left
    flat = values.ravel()
    index = (np.arange(images)[:, None, None] * radii + left) * rays + np.arange(rays)
    before, here, there, after = (flat.take(index + shift * rays) for shift in (-1, 0, 1, 2))
    linear = there - before / 3 - here / 2 - after / 6
    square = (before + there) / 2 - here
    cube = (after - before) / 6 + (here - there) / 2
    return ((cube * t + square) * t + linear) * t + here, ((3 * cube * t + 2 * square) * t + linear) / GRID.step


def improved(shape: Complex128[np.ndarray, "n s"], image: Polar, sma) -> Complex128[np.ndarray, "n s"]:
    """One Newton step of every ellipse towards vanishing second harmonics; none where the light does not fall outward.

    The harmonics change with the shape because the boundary moves along the rays, through intensities of known slope.
    """
    log_radius, radius, double = ellipse(shape, sma)
    level, slope = interpolated(image.logs, log_radius - image.start)
    values = np.exp(level - level.max(-1, keepdims=True))
    steps = values * slope * moved(shape, radius / sma[:, None], double)
    back = np.where(shape == 0, 1, shape / np.maximum(np.abs(shape), 1e-12))
    second, along, across = (harmonic * back for harmonic in harmonics(np.concatenate([values[None], steps]), radius))
    determinant = (along.conj() * across).imag
    safe = np.where(((radius * values * slope).sum(-1) < 0) & (determinant < 0), determinant, -np.inf)
    change = ((across.conj() * second).imag - 1j * (along.conj() * second).imag) / safe * back
    return limited(shape + change * np.minimum(1, LARGEST_STEP / np.maximum(np.abs(change), 1e-12)))


def moved(shape: Complex128[np.ndarray, "n s"], radius, double) -> Float64[np.ndarray, "2 n s a"]:
    """Changes of ln r on every ray with the ellipticity, and with 2ε times the PA; radius in units of the sma."""
    q = 1 - np.abs(shape[..., None])
    over = (radius / q) ** 2 / 2
    return np.stack([(double.real - 1) / q * over, (1 + q) / 2 * double.imag * over])


def limited(shape: Complex128[np.ndarray, "n s"]) -> Complex128[np.ndarray, "n s"]:
    """Ellipticities of at most LARGEST."""
    return shape * np.minimum(1, LARGEST / np.maximum(np.abs(shape), 1e-12))


def harmonics(values: Float64[np.ndarray, "k n s a"], weight) -> Complex128[np.ndarray, "k n s"]:
    """C of the weighted least-squares fit of mean + Re[C exp(2iθ)] to values along each ellipse."""
    sums = weight @ WAVES
    normal = np.empty((*sums.shape[:-1], 3, 3))
    normal[..., 0, :] = normal[..., :, 0] = sums[..., :3]
    normal[..., 1, 1], normal[..., 2, 2] = (sums[..., 0] + sums[..., 3]) / 2, (sums[..., 0] - sums[..., 3]) / 2
    normal[..., 1, 2] = normal[..., 2, 1] = sums[..., 4] / 2
    right = np.moveaxis((weight * values) @ WAVES[:, :3], 0, -1)
    fitted = np.linalg.solve(normal, right)
    return np.moveaxis(fitted[..., 1, :] - 1j * fitted[..., 2, :], -1, 0)
