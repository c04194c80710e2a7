"""Mock surveys: galaxies whose every property is known, in cutouts like those of a real survey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from skyloom.data import store
from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.data.mocks.observation import Observation
from skyloom.data.mocks.population import Population
from skyloom.data.mocks.studio import Studio, cutout, studio
from skyloom.data.workers import shared_out
from skyloom.errors import RequestError

SHARE = 100  # objects that make it worth starting a worker


def mock(
    survey: str | Path,
    n: int,
    *,
    size: int = 256,
    bands: str = "gri",
    seed: int = 0,
    progress: Callable[[int, int | None, str], None] | None = None,
) -> store.Survey:
    """Draw n galaxies whose truth is known into a new survey at a path; same arguments, same bytes.

    size : side of a cutout [pixel of 0.2 arcsec]; from 128 it holds large nearby galaxies, below typical field ones
    bands : letters of ugrizYJHK, in the order wanted
    progress : called as progress(done, total, what)
    Raises RequestError for arguments that make no survey, MissingExtraError without GalSim (`skyloom[sim]`).
    """
    if n < 1:
        raise RequestError(f"n={n}: ask for at least one galaxy")
    shared = studio(size, bands, seed)
    return store.write(survey, info(shared), counted(drawn(n, shared), n, progress))


def mock_cutouts(
    n: int,
    size: int = 256,
    bands: str = "gri",
    seed: int = 0,
    population: Population | None = None,
    observation: Observation | None = None,
) -> Iterator[Cutout]:
    """Cutouts of mock galaxies with their truth columns; object k is the same whatever n is.

    population, observation : instead of those that belong to the size and to KiDS and VIKING; the observation has the
        bands to draw
    """
    return drawn(n, studio(size, bands, seed, population, observation))


def drawn(n: int, shared: Studio) -> Iterator[Cutout]:
    """Objects 0 to n - 1 in order, drawn on all cores if there are many."""
    return shared_out(cutout, n, shared, SHARE)


def counted(cutouts: Iterator[Cutout], n: int, progress: Callable[[int, int | None, str], None] | None):
    """The same cutouts, with a report after each."""
    for done, one in enumerate(cutouts, 1):
        yield one
        if progress:
            progress(done, n, "galaxies")


def info(shared: Studio) -> SurveyInfo:
    """The facts of a mock survey, and that it is one."""
    canvas = shared.optics.canvas
    exposures = shared.observation.exposures.items()
    return SurveyInfo(
        bands=tuple(Band(name, exposure.zero_point, exposure.psf_fwhm, "flux") for name, exposure in exposures),
        shape=(canvas.size, canvas.size),
        pixel_scale=canvas.pixel_scale,
        source=f"skyloom mock, seed {shared.seed}, population {shared.population.name}",
        citation="Rowe et al. 2015, arXiv:1407.7676 (GalSim)",
        licence="BSD-3-Clause",
        notes=(
            "Simulated: no pixel is real.",
            "Position angles run from +x towards +y; there is no WCS.",
            "ivar is the expected inverse variance, photon noise of all sources included.",
        ),
    )
