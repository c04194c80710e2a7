"""One object of a mock survey from its number: the galaxy, its drawing, its surroundings, the columns of its truth.

Columns that begin with `true_`. Per band (here r): `true_mag_r`; `true_bulge_to_total_r`; `true_sky_r`, its slopes and
rms [flux/pixel]; and the profiles, lists on `true_sma` [arcsec]: `true_sb_r` [mag/arcsec²], `true_ellipticity_r`,
`true_pa_r` [deg, from +x towards +y], `true_cog_r` [mag], `true_r_e_r` [arcsec], each also as `…_nopsf_r`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from skyloom.data.cutout import Cutout
from skyloom.data.mocks import scene
from skyloom.data.mocks.draw import Canvas, Placed, draw, galsim
from skyloom.data.mocks.observation import PIXEL_SCALE, Observation, survey_like_kids
from skyloom.data.mocks.population import Galaxy, Population, population_for
from skyloom.data.mocks.sample import galaxy as draw_galaxy
from skyloom.data.mocks.truth import Optics, Truth, half_light, truth
from skyloom.errors import RequestError
from skyloom.sky.photometry import flux, magnitude, surface_brightness

SMALLEST = 16  # side of a cutout [pixel]


@dataclass(frozen=True)
class Studio:
    """All that the objects of one mock survey share."""

    population: Population
    observation: Observation
    optics: Optics
    neighbourhood: scene.Neighbourhood
    seed: int

    @property
    def bands(self) -> str:
        return "".join(self.observation.exposures)


def studio(
    size: int, bands: str, seed: int, population: Population | None = None, observation: Observation | None = None
) -> Studio:
    """Set up: the camera, the population for this size, and an empty neighbourhood; GalSim must be installed."""
    if size < SMALLEST or seed < 0:
        raise RequestError(f"size={size}, seed={seed}: a cutout has at least {SMALLEST} pixels, a seed is not negative")
    galsim()
    observation = observation or survey_like_kids(bands)
    exposures = observation.exposures
    canvas = Canvas(
        size,
        PIXEL_SCALE,
        {band: (exposure.psf_fwhm, exposure.psf_beta) for band, exposure in exposures.items()},
        {band: exposure.zero_point for band, exposure in exposures.items()},
    )
    near = scene.Neighbourhood(canvas, "".join(exposures), seed)
    return Studio(population or population_for(size), observation, Optics(canvas), near, seed)


def cutout(number: int, shared: Studio) -> Cutout:
    """Object `number` of a mock survey; all of its randomness comes from the seed and the number."""
    rng = generator(shared, number)
    canvas, observation = shared.optics.canvas, shared.observation
    galaxy = draw_galaxy(shared.population, shared.bands, rng)
    centre = (canvas.size - 1) / 2 + rng.uniform(-0.5, 0.5, 2)
    main = Placed(galaxy, *centre)
    crowd = [main]
    if rng.random() < observation.companions:
        crowd.append(scene.companion(shared.population, main, shared.bands, rng))
    light = draw(canvas, crowd)
    others = {
        "true_companion": len(crowd) > 1,
        "true_neighbours": scene.add_neighbours(light, shared.neighbourhood, observation, rng),
        "true_stars": scene.add_stars(light, shared.neighbourhood, observation, rng),
    }
    sky = scene.sky(observation, canvas.size, rng)
    pixels, ivar = scene.observe(light, sky, observation, rng)
    broken = scene.bad(pixels.shape, observation, rng)
    pixels[broken], ivar[broken] = np.nan, 0
    columns = {**galaxy_columns(main, shared), **others, **sky_columns(sky, shared)}
    columns |= profile_columns(galaxy, truth(galaxy, shared.optics), shared)
    name = f"mock-{shared.seed}-{number:07d}"
    return Cutout(name, pixels, ivar, tile=name, columns=columns)


def generator(shared: Studio, number: int) -> np.random.Generator:
    """The randomness of one object."""
    return np.random.default_rng([shared.seed, 0, number])


def galaxy_columns(placed: Placed, shared: Studio) -> dict[str, Any]:
    """What the galaxy is: class, centre [pixel], magnitudes, B/T, Sérsic index, and every component as JSON."""
    galaxy = placed.galaxy
    single = next(iter(galaxy.components.values())) if len(galaxy.components) == 1 else None
    columns: dict[str, Any] = {
        "true_class": galaxy.kind,
        "true_x": float(placed.x),
        "true_y": float(placed.y),
        "true_n": single.n if single else float("nan"),
        "true_components": described(galaxy),
    }
    for band in shared.bands:
        columns[f"true_mag_{band}"] = galaxy.magnitude(band)
        columns[f"true_bulge_to_total_{band}"] = galaxy.share("bulge", band)
    return columns


def described(galaxy: Galaxy) -> str:
    """The components and the pattern of a galaxy as JSON."""
    facts = {name: asdict(part) for name, part in galaxy.components.items()}
    if galaxy.pattern:
        facts["pattern"] = asdict(galaxy.pattern)
    return json.dumps(facts, sort_keys=True)


def sky_columns(sky: scene.Sky, shared: Studio) -> dict[str, float]:
    """Level [flux/pixel] at the middle, slope [flux/pixel/pixel], and rms of the sky in every band."""
    columns = {}
    for band, level, slope in zip(shared.bands, sky.level, sky.slope, strict=True):
        columns[f"true_sky_{band}"] = float(level)
        columns[f"true_sky_slope_x_{band}"], columns[f"true_sky_slope_y_{band}"] = float(slope[0]), float(slope[1])
        columns[f"true_sky_rms_{band}"] = float(shared.observation.exposures[band].sky_rms)
    return columns


def profile_columns(galaxy: Galaxy, true: Truth, shared: Studio) -> dict[str, Any]:
    """True profiles as lists on `true_sma` [arcsec], and the half-light radii that follow from them."""
    zero_points = np.array([exposure.zero_point for exposure in shared.observation.exposures.values()])
    total = flux(np.array([galaxy.magnitude(band) for band in shared.bands]), zero_points)
    columns: dict[str, Any] = {"true_sma": listed(true.sma)}
    for isophotes, mark in ((true.convolved, ""), (true.intrinsic, "nopsf_")):
        lists = {
            "sb": surface_brightness(isophotes.intensity, PIXEL_SCALE, zero_points[:, None]),
            "ellipticity": isophotes.ellipticity,
            "pa": isophotes.pa,
            "cog": magnitude(isophotes.inside, zero_points[:, None]),
        }
        radii = half_light(isophotes.inside, total, true.sma)
        for index, band in enumerate(shared.bands):
            columns |= {f"true_{name}_{mark}{band}": listed(values[index]) for name, values in lists.items()}
            columns[f"true_r_e_{mark}{band}"] = float(radii[index])
    return columns | shape_columns(columns, shared.bands)


def shape_columns(profiles: dict[str, Any], bands: str) -> dict[str, float]:
    """One number each for size and shape: those of the half-light isophote without PSF, in r or else the first band."""
    band = "r" if "r" in bands else bands[0]
    r_e = profiles[f"true_r_e_nopsf_{band}"]
    at, sma = np.log(r_e), np.log(profiles["true_sma"])
    ellipticity = float(np.interp(at, sma, profiles[f"true_ellipticity_nopsf_{band}"]))
    nearest = int(np.argmin(np.abs(sma - at)))
    return {
        "true_r_e": r_e,
        "true_r_e_circularised": r_e * float(np.sqrt(1 - ellipticity)),
        "true_ellipticity": ellipticity,
        "true_pa": float(profiles[f"true_pa_nopsf_{band}"][nearest]),
    }


def listed(values) -> np.ndarray:
    return np.asarray(values, np.float32)
