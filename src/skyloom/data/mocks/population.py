"""What galaxies there are: light profiles, and the distributions that they are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from skyloom.sky.sersic import intensity

CLASSES = ("elliptical", "disc", "bulge+disc", "barred", "spiral", "ringed")


@dataclass(frozen=True)
class Component:
    """One Sérsic ellipse.

    n : Sérsic index, on the grid of `SERSIC_INDICES`
    r_e : semi-major axis of the ellipse with half of the light [arcsec]
    q : axis ratio b/a
    pa : of the major axis, from +x towards +y [deg]
    magnitudes : total AB magnitude by band
    """

    n: float
    r_e: float
    q: float
    pa: float
    magnitudes: Mapping[str, float]


@dataclass(frozen=True)
class Pattern:
    """Spiral arms and a ring, drawn on a disc: its intensity is multiplied by `modulation`.

    contrast : of the arms, 0 for none; intensity runs from 1 - contrast to 1 + contrast
    arms : how many; even, so that the galaxy keeps its point symmetry
    pitch : angle of the arms [deg]; the sign is the sense of winding
    phase : of the arms at the disc's R_e [rad]
    ring : height of the ring over the disc, 0 for none
    ring_radius, ring_width : of the ring, centre and Gaussian σ, in units of the disc's R_e
    """

    contrast: float = 0.0
    arms: int = 2
    pitch: float = 15.0
    phase: float = 0.0
    ring: float = 0.0
    ring_radius: float = 1.0
    ring_width: float = 0.2

    def modulation(self, radius, angle):
        """Factor on the disc's intensity at a semi-major axis [R_e] and an azimuth in the disc's plane [rad]."""
        return self.smooth(radius) * (1 + self.wave(radius, angle))

    def smooth(self, radius):
        """The part of `modulation` that does not depend on azimuth: the ring."""
        return 1 + self.ring * np.exp(-0.5 * ((radius - self.ring_radius) / self.ring_width) ** 2)

    def flux_factor(self, n: float) -> float:
        """Flux of a patterned disc of Sérsic index n over that of the plain one: what the ring adds."""
        log_radius = np.linspace(-10, 4, 400)
        radius = np.exp(log_radius)
        light = intensity(radius, 1.0, n) * radius**2
        return float((light * self.smooth(radius)).sum() / light.sum())

    def wave(self, radius, angle):
        """The arms: zero mean on every ellipse of the disc, fading inside 0.4 R_e and outside 3 R_e."""
        fade = radius**2 / (radius**2 + 0.4**2) * np.exp(-((radius / 3) ** 4))
        winding = np.log(np.maximum(radius, 1e-3)) / np.tan(np.deg2rad(self.pitch))
        return self.contrast * fade * np.cos(self.arms * (angle - winding) + self.phase)


@dataclass(frozen=True)
class Galaxy:
    """Components with one centre; a pattern belongs to the component called `disc`.

    kind : one of CLASSES
    components : by name: `disc`, `bulge`, `bar`
    """

    kind: str
    components: Mapping[str, Component]
    pattern: Pattern | None = None

    def magnitude(self, band: str) -> float:
        """Total AB magnitude of all components."""
        fluxes = [10 ** (-0.4 * part.magnitudes[band]) for part in self.components.values()]
        return -2.5 * float(np.log10(sum(fluxes)))

    def share(self, name: str, band: str) -> float:
        """Share of the total flux in one component, e.g. B/T; 0 if there is none."""
        if name not in self.components:
            return 0.0
        return 10 ** (-0.4 * (self.components[name].magnitudes[band] - self.magnitude(band)))


# The numbers below were printed by scripts/fit_population.py from the COSMOS table named there; F814W is taken for i.
COLOURS = {
    "resolved": {  # Coleman, Wu & Weedman 1980 templates at redshift 0.05, magnitudes minus that in i
        "old": (3.15, 1.32, 0.42, 0.0, -0.23, -0.50, -0.68, -0.88, -0.76),
        "young": (2.23, 0.90, 0.36, 0.0, -0.26, -0.54, -0.67, -0.84, -0.70),
        "irregular": (1.21, 0.42, 0.23, 0.0, -0.18, -0.37, -0.39, -0.44, -0.24),
    },
    "field": {  # at redshift 0.5
        "old": (5.38, 2.73, 1.01, 0.0, -0.39, -0.69, -1.02, -1.44, -1.58),
        "young": (2.77, 1.88, 0.55, 0.0, -0.24, -0.49, -0.86, -1.25, -1.36),
        "irregular": (1.23, 1.03, 0.30, 0.0, -0.03, -0.19, -0.44, -0.67, -0.68),
    },
}
BANDS = "ugriZYJHK"
SERSIC_INDICES = np.round(np.geomspace(0.5, 6.0, 25), 3)  # GalSim draws a known index in 2 ms and a new one in 17 ms


@dataclass(frozen=True)
class Population:
    """Distributions of galaxies, fitted to COSMOS (see `scripts/fit_population.py`), and how near they are seen.

    name : `field` as fitted; `resolved` the same galaxies seen nearer, each enlarged to an r_e drawn from `nearby_r_e`
    magnitudes : i-band range [mag]; the counts rise as 10^(count_slope · mag)
    early_fraction : of the galaxies with one component
    late_*, early_* : one Sérsic ellipse of n < 2.5 and n ≥ 2.5: mean and scatter of log10 n; the size relation,
        (log10 r_e [arcsec] at i = 22, slope per mag, scatter); the beta law of (q - 0.2) / 0.8
    two_components : share of galaxies that are bulge + disc; then B/T's beta law, the disc's size relation and q,
        the mean and scatter of log10 of bulge r_e over disc r_e, and q of the bulge
    bars, spirals, rings : shares of discs that carry one; not from the table: bars as in Masters et al. 2011,
        arXiv:1003.0449, the others a choice; only where the disc is large enough to show it
    nearby_r_e : range of semi-major half-light radii [arcsec], uniform in the logarithm; None: as fitted
    brightening : [mag] of a galaxy at redshift 0.5 brought near, 2.5 log10 (1 + z)³ (surface brightness per unit
        frequency); no evolution and no K correction
    colour_scatter : Gaussian σ of a galaxy's colours about its template's [mag per unit of ln wavelength]
    """

    name: str = "field"
    magnitudes: tuple[float, float] = (17.0, 22.0)
    count_slope: float = 0.38
    early_fraction: float = 0.29
    late_log_n: tuple[float, float] = (0.035, 0.207)
    late_size: tuple[float, float, float] = (-0.259, -0.126, 0.145)
    late_q: tuple[float, float] = (1.07, 1.39)
    early_log_n: tuple[float, float] = (0.661, 0.106)
    early_size: tuple[float, float, float] = (-0.396, -0.155, 0.278)
    early_q: tuple[float, float] = (2.96, 1.97)
    two_components: float = 0.36
    bulge_to_total: tuple[float, float] = (1.94, 1.91)
    disc_size: tuple[float, float, float] = (-0.218, -0.156, 0.211)
    disc_q: tuple[float, float] = (1.39, 1.88)
    bulge_log_ratio: tuple[float, float] = (-0.417, 0.346)
    bulge_q: tuple[float, float] = (1.16, 1.41)
    bars: float = 0.0
    spirals: float = 0.0
    rings: float = 0.0
    nearby_r_e: tuple[float, float] | None = None
    brightening: float = 0.0
    colour_scatter: float = 0.05


FIELD = Population()
FAINT = Population(magnitudes=(19.0, 25.0))
RESOLVED = Population(
    "resolved", bars=0.25, spirals=0.3, rings=0.1, nearby_r_e=(2.0, 8.0), brightening=7.5 * float(np.log10(1.51))
)


def population_for(size: int) -> Population:
    """The population that fills cutouts of `size` pixels of 0.2 arcsec: `resolved` from 128 pixels, else `field`."""
    return RESOLVED if size >= 128 else FIELD
