"""Generated galaxies as GalSim profiles: to be sheared, convolved, scaled and drawn by whoever simulates a survey."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation

from skyloom.data.mocks.draw import galsim
from skyloom.errors import RequestError
from skyloom.infer.asked import Asked, Value, asked_of
from skyloom.infer.concept import Concept
from skyloom.infer.generator import Generator, generator_of
from skyloom.infer.noiseless import noiseless
from skyloom.infer.placed import device_of
from skyloom.infer.side_by_side import chunks_of
from skyloom.infer.simulate import USUAL, draw, require_sensible
from skyloom.sky.companions import windowed_centre
from skyloom.sky.detection import central, neighbours, segment

TOGETHER = 16  # galaxies whose noise is taken away at once
WINGS = 2  # pixels by which neighbours are grown
QUIET = 0.3  # rms at which light is looked for in a noiseless image, in units of the sky's: what is left of its noise
FULL = 0.8  # of half the cutout's side, up to which light is left as it is; it falls to nothing at the edge


def galsim_galaxies(
    with_: str | Path | Generator,
    n: int = 1,
    *,
    labels: Mapping[str, Value] | None = None,
    concept: str | Path | Concept | None = None,
    guidance: float = 1.0,
    seed: int = 0,
    steps: int | None = None,
    zero_point: float | None = None,
    psf: Any = None,
    deconvolved: bool = False,
    device: str | None = None,
) -> list[dict[str, Any]]:
    """Draw n galaxies as GalSim profiles, each a dict from band to `galsim.GSObject`, centred on (0, 0).

    with_, labels, concept, guidance, seed, steps, device : as in `simulate`; galaxy k is that of `simulate`
    zero_point : AB magnitude of flux 1 in the profiles; None: the survey's own
    deconvolved : take the PSF and the pixel of the survey learnt from out of the profile. Do so before you shear, and
        then convolve with a PSF at least as wide, or what is left of the noise comes back enlarged
    psf : a GSObject to take out; None: a Moffat of β = 3 with the FWHM of the band, as mocks have
    A profile is the galaxy alone. The sky's noise is taken away (`infer.noiseless`; about a fifteenth of it is left),
    neighbours are filled with the pixels half a turn around the centre, what level is left at the edge is subtracted,
    and the last fifth of the way to the edge is faded out. `flux` is the total: that of the magnitude, where one was
    asked for in that band or follows from colours, else of the light in the cutout. A galaxy that reaches beyond the
    cutout loses its wings, not its flux.
    Without `deconvolved` the profile holds PSF and pixel: draw it with method="no_pixel". Between
    pixels GalSim's Lanczos interpolant of order 15: its shapes answer shear to 0.1 %, those of the quintic to 0.4 %.
    Source: Rowe et al. 2015, arXiv:1407.7676 (GalSim; galaxies as interpolated images). We differ: nothing.
    Raises MissingExtraError without GalSim, RequestError as `simulate`, and for generators without pixel scale, without
    zero point where `zero_point` or a magnitude is asked for, or without the width of the PSF that is to be taken out.
    """
    gs, generator = galsim(), generator_of(with_)
    sampler, usual = USUAL[generator.recipe]
    steps = usual if steps is None else steps
    require_sensible(n, steps, sampler, generator)
    asked = asked_of(generator, n, labels, None, concept, guidance)
    _require_facts(generator, zero_point, psf, deconvolved)
    device = device_of(device)
    fluxes = _asked_fluxes(generator, asked, n)
    drawn = islice(draw(generator, n, steps, seed, sampler, device, asked), n)
    made = []
    for number, light in enumerate(_alone(generator, drawn, seed, device)):
        bands = {}
        for k, band in enumerate(generator.info.bands):
            flux = float(light[k].sum()) if np.isnan(fluxes[number, k]) else float(fluxes[number, k])
            if zero_point is not None:
                flux *= 10 ** (0.4 * (zero_point - (band.zero_point or 0.0)))
            image = gs.Image(np.ascontiguousarray(light[k], np.float32), scale=generator.info.pixel_scale)
            profile = gs.InterpolatedImage(image, x_interpolant="lanczos15", flux=flux)
            bands[band.name] = _without(gs, profile, band, generator, psf) if deconvolved else profile
        made.append(bands)
    return made


def _require_facts(generator: Generator, zero_point: float | None, psf: Any, deconvolved: bool) -> None:
    if generator.info.pixel_scale is None:
        raise RequestError(f"the pixels of {generator.name} have no size; GalSim needs one")
    if zero_point is not None and any(band.zero_point is None for band in generator.info.bands):
        raise RequestError(f"{generator.name} has no zero points, so zero_point={zero_point} cannot be; leave it out")
    if deconvolved and psf is None and any(band.psf_fwhm is None for band in generator.info.bands):
        raise RequestError(f"the PSF of {generator.name} is not known; give psf, a GalSim profile")


def _without(gs, profile, band, generator: Generator, psf):
    """The profile with the PSF and the pixel that are in it taken out."""
    psf = gs.Moffat(beta=3.0, fwhm=band.psf_fwhm) if psf is None else psf
    return gs.Convolve(profile, gs.Deconvolve(gs.Convolve(psf, gs.Pixel(generator.info.pixel_scale))))


def _asked_fluxes(generator: Generator, asked: Asked, n: int) -> Float[np.ndarray, "n c"]:
    """Total flux that follows from magnitudes and colours asked for (`r_mag`, `g_r`), per band; NaN where none does."""
    bands = generator.info.bands
    magnitudes = {band.name: asked.values.get(f"{band.name}_mag") for band in bands}
    for _ in bands:
        for one, other in pairwise(bands):
            left, right = magnitudes[one.name], magnitudes[other.name]
            colour = asked.values.get(f"{one.name}_{other.name}")
            if colour is not None and left is None and right is not None:
                magnitudes[one.name] = right + colour
            if colour is not None and right is None and left is not None:
                magnitudes[other.name] = left - colour
    fluxes = np.full((n, len(bands)), np.nan)
    for k, band in enumerate(bands):
        magnitude = magnitudes[band.name]
        if magnitude is not None and band.zero_point is not None:
            fluxes[:, k] = 10 ** (0.4 * (band.zero_point - magnitude[:, 0]))
    return fluxes


def _alone(
    generator: Generator, drawn: Iterator[Float[np.ndarray, "c h w"]], seed: int, device: str
) -> Iterator[Float[np.ndarray, "c h w"]]:
    """Galaxies without noise, neighbours and level, moved to the middle of their cutout and faded out at its edge."""
    noise = np.array(generator.noise)
    for place, chunk in enumerate(chunks_of(drawn, TOGETHER)):
        numbers = range(place * TOGETHER, place * TOGETHER + len(chunk))
        clean = noiseless(generator, torch.from_numpy(np.stack(chunk)), seed, numbers, device).numpy()
        yield from (isolated(light, noise) for light in clean)


def isolated(light: Float[np.ndarray, "c h w"], noise: Sequence[float] | np.ndarray) -> Float[np.ndarray, "c h w"]:
    """The galaxy in the middle of a noiseless image, alone, centred on the middle, and zero at the edge.

    noise : rms per pixel of the sky that was taken away, per band
    """
    height, width = light.shape[-2:]
    together = (light / np.asarray(noise)[:, None, None]).mean(0) * np.sqrt(len(light))
    good = np.ones(together.shape, bool)
    found = segment(together, QUIET, good)
    others = binary_dilation(neighbours(found, central(found)), iterations=WINGS)
    middle_x, middle_y = (torch.tensor([(side - 1) / 2], dtype=torch.float64) for side in (width, height))
    quiet = torch.from_numpy(np.where(others, 0.0, together).astype(np.float64))[None]
    x, y = (float(place) for place in windowed_centre(quiet, middle_x, middle_y))
    filled = _mended(light, others, x, y)
    across, down = np.arange(width) - x, np.arange(height)[:, None] - y
    distance = np.hypot(across, down) / (min(height, width) / 2)
    outside = (distance > FULL) & (found == 0) & ~others
    level = np.median(filled[:, outside], 1) if outside.any() else np.zeros(len(filled))
    fade = np.cos(np.pi / 2 * np.clip((distance - FULL) / (1 - FULL), 0, 1)) ** 2
    faded = (filled - level[:, None, None]) * fade
    return _shifted(faded, (width - 1) / 2 - x, (height - 1) / 2 - y)


def _mended(
    light: Float[np.ndarray, "c h w"], others: Bool[np.ndarray, "h w"], x: float, y: float
) -> Float[np.ndarray, "c h w"]:
    """Neighbours replaced by what lies half a turn around the centre, or by nothing where that is a neighbour too."""
    rows, columns = np.nonzero(others)
    there_y, there_x = np.rint(2 * y - rows).astype(int), np.rint(2 * x - columns).astype(int)
    inside = (there_y >= 0) & (there_y < light.shape[1]) & (there_x >= 0) & (there_x < light.shape[2])
    mended = np.where(others, 0.0, light)
    rows, columns, there_y, there_x = (part[inside] for part in (rows, columns, there_y, there_x))
    mended[:, rows, columns] = np.where(others[there_y, there_x], 0.0, light[:, there_y, there_x])
    return mended


def _shifted(light: Float[np.ndarray, "c h w"], dx: float, dy: float) -> Float[np.ndarray, "c h w"]:
    """Moved by a phase, which keeps flux and PSF; the image is zero at its edges."""
    down, across = np.fft.fftfreq(light.shape[1])[:, None], np.fft.rfftfreq(light.shape[2])
    phase = np.exp(-2j * np.pi * (dx * across + dy * down))
    return np.fft.irfft2(np.fft.rfft2(light) * phase, s=light.shape[1:])
