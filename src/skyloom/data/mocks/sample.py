"""Galaxies drawn from a population: one call, one galaxy, all of its randomness from one generator."""

from __future__ import annotations

import numpy as np

from skyloom.data.mocks.population import BANDS, COLOURS, SERSIC_INDICES, Component, Galaxy, Pattern, Population

Q_MIN, Q_MAX = 0.2, 0.98
WAVELENGTH = dict(zip(BANDS, (355, 476, 622, 767, 883, 1021, 1252, 1637, 2149), strict=True))  # [nm]


def galaxy(population: Population, bands: str, rng: np.random.Generator) -> Galaxy:
    """One galaxy of the population, with magnitudes in each of `bands`."""
    magnitude = magnitudes(population, rng)
    pa = rng.uniform(0, 180)
    if rng.random() < population.two_components:
        return two_components(population, magnitude, pa, bands, rng)
    return one_component(population, magnitude, pa, bands, rng)


def magnitudes(population: Population, rng: np.random.Generator) -> float:
    """One i magnitude from counts that rise as 10^(count_slope · mag) between the population's limits."""
    bright, faint = population.magnitudes
    slope = population.count_slope
    low = 10 ** (slope * (bright - faint))
    return faint + float(np.log10(low + (1 - low) * rng.random())) / slope


def one_component(population: Population, magnitude: float, pa: float, bands: str, rng: np.random.Generator) -> Galaxy:
    """A single Sérsic ellipse: an elliptical, or a disc that may carry a bar, arms, or a ring."""
    early = rng.random() < population.early_fraction
    log_n = population.early_log_n if early else population.late_log_n
    size = population.early_size if early else population.late_size
    n = quantised(10 ** rng.normal(*log_n))
    r_e = half_light(size, magnitude, rng)
    q = axis_ratio(population.early_q if early else population.late_q, rng)
    zoom, magnitude = approach(population, r_e, magnitude, rng)
    colours = spectrum(population, 0.0 if early else rng.uniform(0.5, 2.0), bands, rng)
    part = Component(n, zoom * r_e, q, pa, {band: magnitude + colours[band] for band in bands})
    if early:
        return Galaxy("elliptical", {"bulge": part})
    return decorate(Galaxy("disc", {"disc": part}), population, rng)


def two_components(population: Population, magnitude: float, pa: float, bands: str, rng: np.random.Generator) -> Galaxy:
    """A bulge of n = 4 and a disc of n = 1, aligned, each with its own ellipticity and colour.

    We differ from the fits: the bulge is rounder than the disc, its q spread over what is left above the disc's;
    flatter bulges of the table are bars or noise, and bars have a class of their own.
    """
    r_e = half_light(population.disc_size, magnitude, rng)
    ratio = min(10 ** rng.normal(*population.bulge_log_ratio), 1.0)
    share = float(np.clip(rng.beta(*population.bulge_to_total), 0.03, 0.97))
    disc_q = axis_ratio(population.disc_q, rng)
    bulge_q = disc_q + (Q_MAX - disc_q) * rng.beta(*population.bulge_q)
    zoom, magnitude = approach(population, r_e, magnitude, rng)
    old = spectrum(population, 0.0, bands, rng)
    young = spectrum(population, rng.uniform(0.5, 2.0), bands, rng)
    bulge = {band: magnitude - 2.5 * np.log10(share) + old[band] for band in bands}
    disc = {band: magnitude - 2.5 * np.log10(1 - share) + young[band] for band in bands}
    parts = {
        "disc": Component(quantised(1.0), zoom * r_e, disc_q, pa, disc),
        "bulge": Component(quantised(4.0), zoom * r_e * ratio, bulge_q, pa, bulge),
    }
    return decorate(Galaxy("bulge+disc", parts), population, rng)


def quantised(n: float) -> float:
    """The nearest Sérsic index that is drawn, in the logarithm; at most 5 % away within the grid."""
    return float(SERSIC_INDICES[np.abs(np.log(SERSIC_INDICES / n)).argmin()])


def half_light(relation: tuple[float, float, float], magnitude: float, rng: np.random.Generator) -> float:
    """r_e [arcsec] from a size relation, within 2σ of it: a table of 100 knows no wider tail."""
    level, slope, scatter = relation
    return float(10 ** (level + slope * (magnitude - 22) + scatter * np.clip(rng.standard_normal(), -2, 2)))


def axis_ratio(law: tuple[float, float], rng: np.random.Generator) -> float:
    return Q_MIN + (Q_MAX - Q_MIN) * rng.beta(*law)


def approach(population: Population, r_e: float, magnitude: float, rng: np.random.Generator) -> tuple[float, float]:
    """Enlargement, and the i magnitude after it: the surface brightness only changes by the brightening."""
    if population.nearby_r_e is None:
        return 1.0, magnitude
    near, far = np.log(population.nearby_r_e)
    zoom = float(np.exp(rng.uniform(near, far))) / r_e
    return zoom, magnitude - 5 * float(np.log10(zoom)) - population.brightening


def spectrum(population: Population, age: float, bands: str, rng: np.random.Generator) -> dict[str, float]:
    """Magnitudes minus that in i. age : 0 the old template, 1 the young, 2 the irregular, mixed between them."""
    table = COLOURS[population.name]
    colours = np.array([np.interp(age, (0, 1, 2), template) for template in zip(*table.values(), strict=True)])
    tilt = population.colour_scatter * rng.standard_normal()
    reddened = {
        band: float(colour) - tilt * float(np.log(WAVELENGTH[band] / WAVELENGTH["i"]))
        for band, colour in zip(BANDS, colours, strict=True)
    }
    return {band: reddened[band] for band in bands}


def decorate(galaxy: Galaxy, population: Population, rng: np.random.Generator) -> Galaxy:
    """Give a disc a bar, arms, or a ring, or leave it alone; arms need a disc that is not edge-on."""
    bar, spiral, ring = np.cumsum([population.bars, population.spirals, population.rings])
    choice, disc = rng.random(), galaxy.components["disc"]
    if choice < bar:
        return barred(galaxy, rng)
    if choice < spiral and disc.q > 0.4 and disc.r_e > 3:
        arms = Pattern(
            contrast=rng.uniform(0.3, 0.7),
            arms=2 if rng.random() < 0.75 else 4,
            pitch=rng.uniform(15, 30) * rng.choice([-1, 1]),
            phase=rng.uniform(0, 2 * np.pi),
        )
        return Galaxy("spiral", galaxy.components, arms)
    if spiral <= choice < ring:
        height, radius, width = rng.uniform(0.2, 0.8), rng.uniform(0.8, 1.5), rng.uniform(0.15, 0.3)
        return Galaxy("ringed", galaxy.components, Pattern(ring=height, ring_radius=radius, ring_width=width))
    return galaxy


def barred(galaxy: Galaxy, rng: np.random.Generator) -> Galaxy:
    """Move 10-25 % of the disc's light into a bar: a Sérsic ellipse of n = 0.5 at any angle."""
    disc, share = galaxy.components["disc"], rng.uniform(0.1, 0.25)
    fainter = {band: mag - 2.5 * np.log10(1 - share) for band, mag in disc.magnitudes.items()}
    light = {band: mag - 2.5 * np.log10(share) for band, mag in disc.magnitudes.items()}
    bar = Component(
        quantised(0.5), disc.r_e * rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.45), rng.uniform(0, 180), light
    )
    parts = {**galaxy.components, "disc": Component(disc.n, disc.r_e, disc.q, disc.pa, fainter), "bar": bar}
    return Galaxy("barred", parts)
