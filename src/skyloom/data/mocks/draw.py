"""Galaxies to noise-free pixels: GalSim's Fourier transforms of the components, drawn once and combined in every band.

A component's transform is drawn once; each band is a sum of them, weighted by flux, times the transform of the band's
PSF and pixel, and one inverse fast Fourier transform over twice the cutout's width. The light that this folds into the
cutout from its periodic images is so smooth there that it is subtracted exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Complex128, Float64
from scipy import fft

from skyloom.data.mocks.population import Component, Galaxy, Pattern
from skyloom.errors import MissingExtraError
from skyloom.sky.sersic import flux_fraction, intensity, total_flux

NODES = 8  # per side, of the polynomial through the folded light
SHELLS = 3  # of periodic images that are subtracted one by one


def galsim():
    """The GalSim library, an optional extra, imported when something is first drawn."""
    try:
        import galsim
    except ImportError as error:
        raise MissingExtraError("GalSim", "sim") from error
    return galsim


@dataclass(frozen=True)
class Placed:
    """A galaxy and its centre [pixel], 0-based."""

    galaxy: Galaxy
    x: float
    y: float


@dataclass(frozen=True)
class Canvas:
    """The pixel grid and the PSF of a drawing.

    size : side of the cutout [pixel]
    pixel_scale : [arcsec/pixel]
    psfs : by band, (FWHM [arcsec], β) of a Moffat
    zero_points : by band, AB [mag]
    """

    size: int
    pixel_scale: float
    psfs: Mapping[str, tuple[float, float]]
    zero_points: Mapping[str, float]

    @property
    def padded(self) -> int:
        return 2 * self.size

    @cached_property
    def kx(self) -> Float64[np.ndarray, "k"]:
        """Wavenumbers along x [rad/pixel], from 0."""
        return 2 * np.pi * fft.rfftfreq(self.padded)

    @cached_property
    def ky(self) -> Float64[np.ndarray, "p"]:
        """Wavenumbers along y [rad/pixel]."""
        return 2 * np.pi * fft.fftfreq(self.padded)

    @cached_property
    def transfer(self) -> dict[str, Float64[np.ndarray, "p k"]]:
        """Fourier transform of each band's PSF and pixel, of unit flux."""
        pixel = np.sinc(self.ky / (2 * np.pi))[:, None] * np.sinc(self.kx / (2 * np.pi))
        moffat = galsim().Moffat
        return {band: self.transform(moffat(beta=beta, fwhm=fwhm)) * pixel for band, (fwhm, beta) in self.psfs.items()}

    def transform(self, profile) -> Float64[np.ndarray, "p k"]:
        """Fourier transform of a centred GalSim profile of point symmetry, on the half plane of `kx` and `ky`."""
        half, gs = self.padded // 2, galsim()
        image = gs.ImageCD(
            gs.BoundsI(0, half, -half, half - 1), scale=2 * np.pi / (self.padded * self.pixel_scale), dtype=complex
        )
        profile.drawKImage(image=image, recenter=False)
        return np.roll(image.array.real, half, axis=0)

    def phase(self, x: float, y: float) -> Complex128[np.ndarray, "p k"]:
        """Factor that moves a centred image to (x, y) [pixel]."""
        return np.exp(-1j * self.ky * y)[:, None] * np.exp(-1j * self.kx * x)

    def pixels(self, spectra: Complex128[np.ndarray, "c p k"]) -> Float64[np.ndarray, "c h w"]:
        """Flux per pixel of each band, convolved with its PSF and the pixel; overwrites the spectra."""
        for spectrum, transfer in zip(spectra, self.transfer.values(), strict=True):
            spectrum *= transfer
        rows = fft.ifft(spectra, axis=1, overwrite_x=True)[:, : self.size]
        return fft.irfft(rows, axis=2)[..., : self.size]


def draw(canvas: Canvas, galaxies: Sequence[Placed]) -> Float64[np.ndarray, "c h w"]:
    """Noise-free flux per pixel of some galaxies, convolved with the PSF and the pixel, without sky."""
    bands, size = len(canvas.psfs), canvas.size
    spectra = np.zeros((bands, canvas.padded, canvas.padded // 2 + 1), complex)
    folded = np.zeros((bands, size, size))
    for placed in galaxies:
        parts = placed.galaxy.components
        weights, phase = fluxes(placed.galaxy, canvas), canvas.phase(placed.x, placed.y)
        transforms = [component(canvas, part, pattern_of(placed.galaxy, name)) for name, part in parts.items()]
        for spectrum, shares in zip(spectra, weights, strict=True):
            spectrum += sum(share * transform for share, transform in zip(shares, transforms, strict=True)) * phase
        folded += np.tensordot(weights, [wrapped(canvas, part, placed.x, placed.y) for part in parts.values()], 1)
    return canvas.pixels(spectra) - folded


def draw_point(canvas: Canvas, x: float, y: float) -> Float64[np.ndarray, "c h w"]:
    """A star of unit flux in every band."""
    return canvas.pixels(np.tile(canvas.phase(x, y), (len(canvas.psfs), 1, 1)))


def fluxes(galaxy: Galaxy, canvas: Canvas) -> Float64[np.ndarray, "c parts"]:
    """Total flux of each component in each band."""
    magnitudes = np.array([[part.magnitudes[band] for part in galaxy.components.values()] for band in canvas.psfs])
    zero_points = np.array([canvas.zero_points[band] for band in canvas.psfs])
    return 10 ** (0.4 * (zero_points[:, None] - magnitudes))


def pattern_of(galaxy: Galaxy, name: str) -> Pattern | None:
    return galaxy.pattern if name == "disc" else None


def component(canvas: Canvas, part: Component, pattern: Pattern | None) -> Float64[np.ndarray, "p k"]:
    """Fourier transform of one component of unit flux, before PSF and pixel."""
    gs = galsim()
    ellipse = gs.Sersic(part.n, half_light_radius=part.r_e * np.sqrt(part.q))
    transform = canvas.transform(ellipse.shear(q=part.q, beta=part.pa * gs.degrees))
    if pattern is None:
        return transform
    return (transform + fft.rfft2(perturbation(canvas, part, pattern)).real) / pattern.flux_factor(part.n)


def perturbation(canvas: Canvas, part: Component, pattern: Pattern) -> Float64[np.ndarray, "p p"]:
    """What a pattern adds to a disc of unit flux, per pixel, centred on pixel (0, 0) of a periodic grid."""
    along = canvas.pixel_scale * canvas.padded * fft.fftfreq(canvas.padded)
    radius, angle = disc_plane(along, along[:, None], part)
    scale = canvas.pixel_scale**2 / total_flux(1.0, part.r_e, part.n, part.q)
    return scale * intensity(radius, 1.0, part.n) * (pattern.modulation(radius, angle) - 1)


def disc_plane(x, y, part: Component):
    """Semi-major axis [r_e] and azimuth from the major axis [rad] in a disc's own plane, of offsets [arcsec]."""
    pa = np.deg2rad(part.pa)
    u, v = x * np.cos(pa) + y * np.sin(pa), (y * np.cos(pa) - x * np.sin(pa)) / part.q
    return np.hypot(u, v) / part.r_e, np.arctan2(v, u)


def wrapped(canvas: Canvas, part: Component, x: float, y: float) -> Float64[np.ndarray, "h w"]:
    """Flux per pixel that the periodic images of a component of unit flux put on the cutout.

    The images lie at least 1.5 cutouts away from every pixel, where the PSF leaves no mark: the Sérsic law itself,
    through NODES × NODES Chebyshev points. Images beyond SHELLS are spread evenly.
    """
    size, period = canvas.size, canvas.padded
    nodes = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    at = (nodes + 1) * (size - 1) / 2
    copies = period * np.arange(-SHELLS, SHELLS + 1)
    dx, dy = at - x, at - y
    offsets = np.array([(i, j) for i in copies for j in copies if i or j], float)[:, :, None, None]
    radius, _ = disc_plane(
        (dx + offsets[:, 0]) * canvas.pixel_scale, (dy[:, None] + offsets[:, 1]) * canvas.pixel_scale, part
    )
    scale = canvas.pixel_scale**2 / total_flux(1.0, part.r_e, part.n, part.q)
    far = (2 * SHELLS + 1) * period * canvas.pixel_scale / np.sqrt(np.pi * part.q)
    values = scale * intensity(radius, 1.0, part.n).sum(0) + (1 - flux_fraction(far, part.r_e, part.n)) / period**2
    basis = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, size), NODES - 1)
    fit = basis @ np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, NODES - 1))
    return fit @ values @ fit.T
