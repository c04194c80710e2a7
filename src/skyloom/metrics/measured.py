"""What scores need to know of a sample, measured in one pass over its pixels: numbers of each galaxy, no images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8

from skyloom.errors import RequestError
from skyloom.metrics.counts import FieldSources, joined_sources, sources_in
from skyloom.metrics.features import random_features
from skyloom.metrics.legacy import ZERO_POINT, legacy_photometry
from skyloom.metrics.memorisation import GRID
from skyloom.metrics.morphology import morphology
from skyloom.metrics.photometry import Photometry, Property, joined, photometry
from skyloom.metrics.samples import Chunk, Frame, Sample
from skyloom.metrics.spectra import SkyNoise, power_spectra, sky_noise

APERTURE, APERTURE_PIXELS = 3.0, 12.0  # diameter for magnitudes [arcsec], and without a pixel scale [pixel]
SHAPES = ("concentration", "asymmetry", "smoothness", "gini", "m20")
ENOUGH = 200  # galaxies that say what the noise of a survey is
WHITE = 1000.0  # rms of the sky that is white in an 8-bit picture; −1 rms is black

Progress = Callable[[int, int | None, str], None]
Encoder = Callable[[UInt8[torch.Tensor, "b 3 h w"]], torch.Tensor]


@dataclass(frozen=True)
class Lens:
    """How samples are looked at, all in the same way.

    unit : of a stretch, per band, in flux: the median rms of the real sky; encoder : of 8-bit pictures, the user's own
    """

    frame: Frame
    unit: Float[np.ndarray, "c"]
    seed: int = 0
    encoder: Encoder | None = None


def lens(sample: Sample, seed: int = 0, encoder: Encoder | None = None) -> Lens:
    """The lens for a real sample and all that is compared with it. Raises RequestError if its sky has no noise."""
    rms = np.concatenate([chunk.rms for chunk in sample.take(np.arange(min(ENOUGH, len(sample)))).read()])
    unit = np.array([np.median(one[one > 0]) if (one > 0).any() else 0.0 for one in rms.T])
    if not (unit > 0).all():
        silent = [name for name, one in zip(sample.frame.names, unit, strict=True) if not one > 0]
        raise RequestError(
            f"the sky of {sample.survey.path.name} has no noise in {', '.join(silent)}, which is what images are "
            "measured in; give a survey with real noise"
        )
    return Lens(sample.frame, unit, seed, encoder)


def measured(sample: Sample, kinds: Sequence[str], through: Lens, progress: Progress | None = None) -> dict[str, Any]:
    """Each kind of measurement (see `KINDS`) of every galaxy of a sample, in its order."""
    parts: dict[str, list] = {kind: [] for kind in kinds}
    done, what = 0, f"measure {sample.survey.path.name}"
    for chunk in sample.read():
        for kind in kinds:
            parts[kind].append(KINDS[kind](chunk, through))
        done += len(chunk.flux)
        if progress:
            progress(done, len(sample), what)
    return {kind: _joined(found) for kind, found in parts.items()}


def taken(found: Any, rows: np.ndarray) -> Any:
    """Some galaxies of one kind of measurement."""
    if isinstance(found, Photometry):
        return found.take(rows)
    if isinstance(found, SkyNoise):
        parts = {name: getattr(found, name)[rows] for name in ("level", "rms", "share", "products", "pairs")}
        return found._replace(**parts)
    if isinstance(found, FieldSources):
        return found.take(rows)
    return found[rows]


def shapes(found: Float[np.ndarray, "n 5"]) -> tuple[Property, ...]:
    """The measurement `morphology` as properties; all of them pure numbers."""
    return tuple(Property(name, "", found[:, k]) for k, name in enumerate(SHAPES))


def stretched(flux: Float32[np.ndarray, "b c h w"], through: Lens) -> Float32[np.ndarray, "b c h w"]:
    """asinh of the flux in units of the real sky's rms: about N(0, 1) on blank sky.

    One unit for all galaxies of all samples: in units of each cutout's own rms, a wrong gain would not show.
    """
    return np.arcsinh(flux / through.unit.astype(np.float32)[:, None, None])


def legacy_bands(frame: Frame) -> tuple[int, int, int] | None:
    """The bands that stand for g, r, z in the published distance: those, or else the first three; None of fewer."""
    if len(frame.names) < 3:
        return None
    places = {name.lower(): k for k, name in enumerate(frame.names)}
    if {"g", "r", "z"} <= set(places):
        return places["g"], places["r"], places["z"]
    return 0, 1, 2


def _photometry(chunk: Chunk, through: Lens) -> Photometry:
    frame = through.frame
    aperture = APERTURE if frame.pixel_scale else APERTURE_PIXELS
    points = [band.zero_point for band in frame.bands]
    return photometry(
        chunk.flux, frame.pixel_scale, points, bands=frame.names, aperture=aperture, reference=frame.reference
    )


def _legacy(chunk: Chunk, through: Lens) -> Float[np.ndarray, "b 4"]:
    """In nanomaggies where there is a zero point."""
    bands = list(legacy_bands(through.frame) or ())
    points = [through.frame.bands[band].zero_point for band in bands]
    gain = np.array([1.0 if point is None else 10 ** (0.4 * (ZERO_POINT - point)) for point in points], np.float32)
    return legacy_photometry(chunk.flux[:, bands] * gain[:, None, None], through.frame.pixel_scale or 1.0)


def _features(chunk: Chunk, through: Lens) -> Float32[np.ndarray, "b d"]:
    return random_features(stretched(chunk.flux, through), through.seed)


def _inception(chunk: Chunk, through: Lens) -> Float[np.ndarray, "b d"]:
    """Features that the user's encoder finds in 8-bit pictures, reddest of three bands in red."""
    if through.encoder is None:
        raise RequestError("no encoder was given; say where its weights are")
    with torch.inference_mode():
        found = through.encoder(torch.from_numpy(pictures(chunk.flux, through)))
    if found.ndim != 2 or len(found) != len(chunk.flux):
        raise RequestError(
            f"the encoder made {tuple(found.shape)} of {len(chunk.flux)} pictures; it must give each a row of features"
        )
    return found.double().cpu().numpy()


def pictures(flux: Float32[np.ndarray, "b c h w"], through: Lens) -> UInt8[np.ndarray, "b 3 h w"]:
    """8-bit pictures as networks for photographs want them: the last, middle and first band in red, green and blue.

    Black is 1 rms below the sky, white WHITE rms above, asinh between; the same for all samples.
    """
    bands = [flux.shape[1] - 1, flux.shape[1] // 2, 0]
    low, high = np.arcsinh(-1.0), np.arcsinh(WHITE)
    scaled = (stretched(flux, through)[:, bands] - low) / (high - low)
    return np.rint(255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def _power(chunk: Chunk, through: Lens) -> Float[np.ndarray, "b k"]:
    """log₁₀ of the power of all bands at 0 < k ≤ 0.5 cycles/pixel; NaN where there is none."""
    spectra = power_spectra(chunk.flux)
    seen = spectra.power[:, :, spectra.resolved].reshape(len(chunk.flux), -1)
    return np.log10(np.where(seen > 0, seen, np.nan))


def _noise(chunk: Chunk, through: Lens) -> SkyNoise:
    return sky_noise(np.where(chunk.good, chunk.flux, np.float32(np.nan)))


def _sources(chunk: Chunk, through: Lens) -> FieldSources:
    pairs = zip(chunk.flux, chunk.good, strict=True)
    return joined_sources([sources_in(*pair, through.unit.tolist(), through.frame.bands) for pair in pairs])


def _morphology(chunk: Chunk, through: Lens) -> Float[np.ndarray, "b 5"]:
    band = through.frame.reference
    flux = np.where(chunk.good[:, band], chunk.flux[:, band], np.float32(np.nan))
    rms = np.where(chunk.rms[:, band] > 0, chunk.rms[:, band], through.unit[band])
    found = morphology(flux, rms)
    return np.stack([getattr(found, name) for name in SHAPES], 1)


def _coarse(chunk: Chunk, through: Lens) -> Float32[np.ndarray, "b c g f"]:
    """Stretched images as averages on the cells in which `memorisation` compares them, N(0, 1) on blank sky again."""
    height, width = through.frame.shape
    grid = min(GRID, height), min(GRID, width)
    cells = F.adaptive_avg_pool2d(torch.from_numpy(stretched(chunk.flux, through)), grid).numpy()
    return cells * np.float32(np.sqrt(height * width / (grid[0] * grid[1])))


KINDS: dict[str, Callable[[Chunk, Lens], Any]] = {
    "photometry": _photometry,
    "legacy": _legacy,
    "features": _features,
    "inception": _inception,
    "power": _power,
    "noise": _noise,
    "sources": _sources,
    "morphology": _morphology,
    "coarse": _coarse,
}


def _joined(parts: list) -> Any:
    """The galaxies of several chunks as those of one."""
    if isinstance(parts[0], Photometry):
        return joined(parts)
    if isinstance(parts[0], SkyNoise):
        names = ("level", "rms", "share", "products", "pairs")
        return parts[0]._replace(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
    if isinstance(parts[0], FieldSources):
        return joined_sources(parts)
    return np.concatenate(parts)
