"""How the sky was observed: a camera's bands, and what else than the galaxy gets into a cutout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from skyloom.data.mocks.population import BANDS
from skyloom.errors import RequestError

PIXEL_SCALE = 0.2  # [arcsec/pixel], OmegaCAM's
APERTURE = np.pi  # [arcsec²], the circle of 2 arcsec across in which depths are stated


@dataclass(frozen=True)
class Exposure:
    """One band of a stacked, sky-subtracted image.

    zero_point : AB magnitude of one unit of flux [mag]
    psf_fwhm, psf_beta : of a Moffat [arcsec]
    depth : 5σ point-source depth in a circle of 2 arcsec across, without aperture correction [mag]
    sky_brightness : of the sky before it was subtracted [mag/arcsec²]; only its photon noise is left
    read_noise : of the whole stack [electrons/pixel]
    """

    zero_point: float
    psf_fwhm: float
    psf_beta: float
    depth: float
    sky_brightness: float
    read_noise: float

    @property
    def sky_flux(self) -> float:
        """Flux per pixel of the sky that was subtracted."""
        return PIXEL_SCALE**2 * 10 ** (0.4 * (self.zero_point - self.sky_brightness))

    @property
    def sky_rms(self) -> float:
        """Noise per pixel on empty sky [flux], from the depth."""
        return 10 ** (0.4 * (self.zero_point - self.depth)) / 5 / np.sqrt(APERTURE / PIXEL_SCALE**2)

    @property
    def gain(self) -> float:
        """Electrons per unit of flux that make `sky_rms` out of the sky's photons and the read noise."""
        root = np.sqrt(self.sky_flux**2 + (2 * self.read_noise * self.sky_rms) ** 2)
        return float((self.sky_flux + root) / (2 * self.sky_rms**2))


# Depths and seeing: about those of KiDS and VIKING, Kuijken et al. 2019, arXiv:1902.11265. Sky brightnesses and read
# noise: typical of Paranal and of stacks of five exposures; a choice, as are the zero points and the Moffat's β.
KIDS_VIKING: Mapping[str, Exposure] = {
    "u": Exposure(30.0, 1.00, 3.0, 24.2, 22.4, 12.0),
    "g": Exposure(30.0, 0.85, 3.0, 25.1, 22.0, 12.0),
    "r": Exposure(30.0, 0.68, 3.0, 25.0, 21.2, 12.0),
    "i": Exposure(30.0, 0.80, 3.0, 23.6, 20.2, 12.0),
    "Z": Exposure(30.0, 1.00, 3.0, 23.1, 19.2, 30.0),
    "Y": Exposure(30.0, 0.95, 3.0, 22.3, 18.2, 30.0),
    "J": Exposure(30.0, 0.90, 3.0, 22.1, 17.0, 30.0),
    "H": Exposure(30.0, 0.95, 3.0, 21.5, 15.2, 30.0),
    "K": Exposure(30.0, 0.85, 3.0, 21.2, 15.0, 30.0),
}


@dataclass(frozen=True)
class Observation:
    """What a cutout holds besides its galaxy; every part can be turned off. Densities are per arcmin².

    exposures : by band
    noise : photon and read noise; without it ivar is still that of the noise left out
    neighbours : galaxies with 19 < i < 25; stars : with 16 < r < 24; companions : share of objects with a bright
        galaxy, 0.5 to 3 mag fainter, within three half-light radii
    sky : range of the level left by the sky subtraction, uniform, in units of the sky's rms
    sky_gradient : largest change of that level from the centre to an edge, in units of the sky's rms
    bad_pixels : share of single bad pixels; bad_columns : mean number per band and 256 columns;
        cosmic_rays : mean number per band and 256² pixels
    """

    exposures: Mapping[str, Exposure]
    noise: bool = True
    neighbours: float = 22.0
    stars: float = 2.5
    companions: float = 0.1
    sky: tuple[float, float] = (-1.0, 3.0)
    sky_gradient: float = 0.0
    bad_pixels: float = 5e-4
    bad_columns: float = 0.2
    cosmic_rays: float = 2.0


def survey_like_kids(bands: str) -> Observation:
    """KiDS and VIKING, in some of the bands ugrizYJHK in any order; `z` is VIKING's Z."""
    names = bands.replace("z", "Z")
    if not names or len(set(names)) != len(names) or not set(names) <= set(BANDS):
        raise RequestError(f"bands={bands!r} must be distinct letters of ugrizYJHK; z is VIKING's Z")
    return Observation({band: KIDS_VIKING[band] for band in names})


def alone(observation: Observation) -> Observation:
    """The same observation of the galaxy alone: no neighbours, stars, companions, or bad pixels; sky and noise stay."""
    uncrowded = replace(observation, neighbours=0.0, stars=0.0, companions=0.0)
    return replace(uncrowded, bad_pixels=0.0, bad_columns=0.0, cosmic_rays=0.0)
