"""From one noise-free galaxy to the cutout that a survey would deliver: neighbours, sky, noise, bad pixels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64

from skyloom.data.mocks.draw import Canvas, Placed, draw, draw_point
from skyloom.data.mocks.observation import Observation
from skyloom.data.mocks.population import FAINT, Galaxy, Population
from skyloom.data.mocks.sample import galaxy as draw_galaxy

TEMPLATES = 256  # distinct faint neighbours; each appears in 8 orientations
# AB magnitudes of a star minus that in r: about those of a K0 dwarf, the same for every star
STAR = {"u": 2.0, "g": 0.6, "r": 0.0, "i": -0.25, "Z": -0.35, "Y": -0.35, "J": -0.4, "H": -0.3, "K": 0.1}
BRIGHT = 21.0  # i magnitude below which a neighbour is drawn on 128 rather than 64 pixels


class Sky(NamedTuple):
    """The sky left in a cutout: level [flux/pixel] at the centre and change per pixel along x and y, by band."""

    level: Float64[np.ndarray, "c"]
    slope: Float64[np.ndarray, "c 2"]


@dataclass(frozen=True)
class Neighbourhood:
    """Small images of faint galaxies and of a star, drawn when first needed and then used again.

    They depend on the seed and their own number only, never on the object that they lie beside.
    """

    canvas: Canvas
    bands: str
    seed: int
    drawn: dict = field(default_factory=dict)

    @cached_property
    def small(self) -> dict[int, Canvas]:
        """The canvases of the small images, by size."""
        return {size: replace(self.canvas, size=size) for size in (64, 128)}

    def galaxy(self, number: int) -> Float32[np.ndarray, "c s s"]:
        """Flux per pixel of faint galaxy `number`."""
        if number not in self.drawn:
            rng = np.random.default_rng([self.seed, 1, number])
            galaxy = draw_galaxy(FAINT, self.bands, rng)
            size = 128 if galaxy.magnitude("i" if "i" in self.bands else self.bands[0]) < BRIGHT else 64
            centre = (size - 1) / 2 + rng.uniform(-0.5, 0.5, 2)
            self.drawn[number] = draw(self.small[size], [Placed(galaxy, *centre)]).astype(np.float32)
        return self.drawn[number]

    def star(self, phase: tuple[int, int]) -> Float32[np.ndarray, "c s s"]:
        """A star of unit flux, centred phase/4 pixel off the middle of a 64-pixel image."""
        if phase not in self.drawn:
            self.drawn[phase] = draw_point(self.small[64], 31.5 + phase[0] / 4, 31.5 + phase[1] / 4).astype(np.float32)
        return self.drawn[phase]


def add(image: Float64[np.ndarray, "c h w"], stamp: Float32[np.ndarray, "c s s"], x: int, y: int) -> None:
    """Add a stamp whose first pixel lies at (x, y); what falls off the image is lost."""
    height, width = image.shape[-2:]
    size = stamp.shape[-1]
    rows, columns = slice(max(y, 0), min(y + size, height)), slice(max(x, 0), min(x + size, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        image[:, rows, columns] += stamp[:, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]


def add_neighbours(image, near: Neighbourhood, observation: Observation, rng: np.random.Generator) -> int:
    """Scatter faint galaxies over an image, also just outside it, and return how many."""
    margin = 32
    side = image.shape[-1] + 2 * margin
    arcmin2 = (side * near.canvas.pixel_scale / 60) ** 2
    count = rng.poisson(observation.neighbours * arcmin2)
    for _ in range(count):
        stamp = near.galaxy(int(rng.integers(TEMPLATES)))
        stamp = turned(stamp, int(rng.integers(8)))
        x, y = rng.integers(-margin, image.shape[-1] + margin, 2) - stamp.shape[-1] // 2
        add(image, stamp, int(x), int(y))
    return int(count)


def turned(stamp, symmetry: int):
    """One of the 8 symmetries of the square."""
    stamp = stamp[..., ::-1] if symmetry & 1 else stamp
    stamp = stamp[..., ::-1, :] if symmetry & 2 else stamp
    return stamp.swapaxes(-1, -2) if symmetry & 4 else stamp


def add_stars(image, near: Neighbourhood, observation: Observation, rng: np.random.Generator) -> int:
    """Scatter stars over an image and return how many; their counts rise as 10^(0.15 mag)."""
    side = image.shape[-1]
    count = rng.poisson(observation.stars * (side * near.canvas.pixel_scale / 60) ** 2)
    for _ in range(count):
        low = 10 ** (0.15 * (16 - 24))
        magnitude = 24 + np.log10(low + (1 - low) * rng.random()) / 0.15
        colours = np.array([STAR[band] - near.canvas.zero_points[band] for band in near.bands], np.float32)
        star = near.star((int(rng.integers(-2, 2)), int(rng.integers(-2, 2))))
        x, y = rng.integers(0, side, 2) - 32
        add(image, star * 10 ** (-0.4 * (colours[:, None, None] + np.float32(magnitude))), int(x), int(y))
    return int(count)


def companion(population: Population, main: Placed, bands: str, rng: np.random.Generator) -> Placed:
    """A galaxy of the same population, made 0.5 to 3 mag fainter than the main one at its own surface brightness."""
    other = draw_galaxy(population, bands, rng)
    band = bands[0]
    fainter = main.galaxy.magnitude(band) + rng.uniform(0.5, 3) - other.magnitude(band)
    shrink = 10 ** (-0.2 * fainter)
    parts = {
        name: replace(
            part,
            r_e=part.r_e * shrink,
            magnitudes={band: mag + fainter for band, mag in part.magnitudes.items()},
        )
        for name, part in other.components.items()
    }
    reach = max(part.r_e for part in main.galaxy.components.values()) * rng.uniform(1, 3)
    angle = rng.uniform(0, 2 * np.pi)
    return Placed(Galaxy(other.kind, parts), main.x + reach * np.cos(angle), main.y + reach * np.sin(angle))


def sky(observation: Observation, size: int, rng: np.random.Generator) -> Sky:
    """A level and a gradient left by sky subtraction, for each band on its own."""
    rms = np.array([exposure.sky_rms for exposure in observation.exposures.values()])
    level = rms * rng.uniform(*observation.sky, len(rms))
    slope = rms[:, None] * observation.sky_gradient * rng.uniform(-1, 1, (len(rms), 2)) / (size / 2)
    return Sky(level, slope)


def observe(
    light: Float64[np.ndarray, "c h w"], sky: Sky, observation: Observation, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "c h w"], Float32[np.ndarray, "c h w"]]:
    """Flux with sky and noise, and its inverse variance: the expected one of every pixel, source photons included.

    light : expected flux per pixel of all sources, without sky
    Photons are Poisson, read noise is Gaussian; the subtracted sky is assumed to be known exactly.
    """
    size, offset = light.shape[-1], np.arange(light.shape[-1]) - (light.shape[-1] - 1) / 2
    flux, ivar = np.empty(light.shape, np.float32), np.empty(light.shape, np.float32)
    for band, exposure in enumerate(observation.exposures.values()):
        expected = np.maximum(light[band] + exposure.sky_flux, 0) * exposure.gain
        ivar[band] = exposure.gain**2 / (expected + exposure.read_noise**2)
        electrons = expected
        if observation.noise:
            electrons = rng.poisson(expected) + exposure.read_noise * rng.standard_normal((size, size), np.float32)
        (along_x, along_y), level = sky.slope[band], sky.level[band] - exposure.sky_flux
        flux[band] = electrons / exposure.gain + (level + along_x * offset + along_y * offset[:, None])
    return flux, ivar


def bad(shape: tuple[int, int, int], observation: Observation, rng: np.random.Generator) -> Bool[np.ndarray, "c h w"]:
    """Bad pixels of each band: single ones, columns or parts of columns, and the tracks of cosmic rays."""
    bands, height, width = shape
    mask = np.zeros(shape, bool)
    mask.reshape(-1)[rng.integers(0, mask.size, rng.poisson(observation.bad_pixels * mask.size))] = True
    for band in range(bands):
        for _ in range(rng.poisson(observation.bad_columns * width / 256)):
            mask[band, int(rng.integers(height)) * int(rng.integers(2)) :, int(rng.integers(width))] = True
        for _ in range(rng.poisson(observation.cosmic_rays * height * width / 256**2)):
            rows, columns = track(height, width, rng)
            mask[band, rows, columns] = True
    return mask


def track(height: int, width: int, rng: np.random.Generator):
    """Pixels of a straight track, two wide, of 4 to 24 pixels, inside the image."""
    along = np.arange(0, rng.integers(4, 24), 0.5)
    angle = rng.uniform(0, np.pi)
    rows = np.round(rng.integers(height) + along * np.sin(angle)).astype(int)
    columns = np.round(rng.integers(width) + along * np.cos(angle)).astype(int)
    rows, columns = np.concatenate([rows, rows]), np.concatenate([columns, columns + 1])
    inside = (rows < height) & (columns >= 0) & (columns < width)
    return rows[inside], columns[inside]
