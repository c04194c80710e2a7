"""`transfer`: any image, given the look of the galaxies that a generator knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float
from torch import Tensor

from skyloom.data import store
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.errors import RequestError
from skyloom.infer.generator import Generator, generator_of, unit_noise
from skyloom.infer.placed import device_of
from skyloom.infer.side_by_side import chunks_of
from skyloom.infer.subjects import Subject, gallery
from skyloom.samplers.schedules import karras_sigmas
from skyloom.samplers.solvers import Denoiser, begun, dpm_solver
from skyloom.sky.moments import enclosed, light

STEPS = 30  # of a fresh draw; in proportion fewer from less noise
FEWEST = 6
CHUNK = {"cpu": 16, "cuda": 128}

Progress = Callable[[int, int | None, str], None]


class Transferred(NamedTuple):
    """survey : the results; sigma : the noise level

    conserved : a row per object and band: object_id, band; flux_before, flux_after, within two
        half-light radii of the centre as it was, and flux_error, of the noise there; shift, how far the centre moved;
        half_light_before, half_light_after [arcsec, or pixel without a pixel scale]: see `sky.moments.light`
    """

    survey: store.Survey
    conserved: pa.Table
    sigma: float

    @property
    def told(self) -> tuple[str, ...]:
        """What was conserved, in words: medians over all images."""
        table, lines = self.conserved, []
        for band in dict.fromkeys(table["band"].to_pylist()):
            rows = table.filter(pc.equal(table["band"], band))
            before, after, error = (_median(rows[name]) for name in ("flux_before", "flux_after", "flux_error"))
            lines.append(f"flux in {band}: {before:.4g} → {after:.4g} ± {error:.2g}")
        unit = (table.schema.field("shift").metadata or {}).get(b"unit", b"pix").decode()
        before, after = (_median(table[f"half_light_{when}"]) for when in ("before", "after"))
        lines.append(f"centre: moved by {_median(table['shift']):.2g} {unit}")
        lines.append(f"half-light radius: {before:.3g} → {after:.3g} {unit}")
        return tuple(lines)


def transfer(
    source: str | Path | store.Survey,
    out: str | Path,
    with_: str | Path | Generator,
    *,
    strength: float = 0.6,
    seed: int = 0,
    steps: int | None = None,
    device: str | None = None,
    anyway: bool = False,
    progress: Progress | None = None,
) -> Transferred:
    """Add noise to images, and let a generator take it away again: a new survey of what they become.

    source : a survey; a PNG or JPEG picture, or a folder of them (cartoons, sketches); FITS cutouts, a file or a folder
    with_ : weights that ship with skyloom, a run directory, or a generator that is open already
    strength : 0 leaves an image as it is, 1 leaves nothing of it; see `noise_level`
    steps : of a fresh draw (strength 1); less strength takes fewer in proportion
    anyway : take images whose bands, pixels or zero points are not known to suit
    Image k depends on it, on the arguments and on k, not on the others. The survey has the generator's bands, pixels
    and unit, sky 0, and the source's object ids; images in other pixels are resampled, and its notes say so.
    Raises RequestError for a strength outside 0 to 1 or a source that does not suit, StoreError if `out` is taken.
    Source: Smith et al. 2022, MNRAS 511, 1808, arXiv:2111.01713, §4.3.
    We differ: the way back is deterministic (DPM-Solver++, Lu et al. 2022, arXiv:2211.01095) and takes few steps;
    pictures are brought to the brightness of a galaxy first.
    """
    if not 0 <= strength <= 1:
        raise RequestError(f"strength={strength}: 0 leaves an image as it is, 1 leaves nothing of it; give one between")
    generator = generator_of(with_)
    device = device_of(device)
    denoiser = generator.denoiser(device)
    given = gallery(source, generator, anyway=anyway)
    sigma = noise_level(*generator.sigmas, strength)
    steps = max(FEWEST, round((steps or STEPS) * strength))
    sigmas = karras_sigmas(steps, generator.sigmas[0], sigma) if sigma else None
    rows: list[dict] = []

    def results() -> Iterator[Cutout]:
        done = 0
        for chunk in chunks_of(given.subjects, CHUNK[device]):
            clean = generator.scaling.scaled(_stacked(chunk, device))
            numbers = range(done, done + len(chunk))
            new = clean if sigmas is None else _renewed(generator, denoiser, clean, sigmas, seed, numbers, strength < 1)
            for subject, flux in zip(chunk, generator.scaling.flux(new).cpu().numpy(), strict=True):
                rows.extend(_compared(subject, flux, generator))
                yield generator.cutout(subject.object_id, flux, tile=subject.tile, ra=subject.ra, dec=subject.dec)
            done += len(chunk)
            if progress:
                progress(done, given.total, "transfer")

    story = f"strength {strength:g} (noise level {sigma:.3g}), seed {seed}, weights {generator.hash}"
    survey = store.write(out, _info(source, generator, story, given.notes), results())
    return Transferred(survey, pa.Table.from_pylist(rows, _schema(generator.info)), sigma)


def noise_level(lowest: float, highest: float, strength: float) -> float:
    """The noise level of a strength: even in its logarithm from the lowest to the highest, and none at all for 0.

    A generator learns structure of each size at the noise that just hides it, a decade of noise for a decade of
    contrast, so that equal steps of strength take away about equally much.
    """
    return lowest * (highest / lowest) ** strength if strength else 0.0


def _renewed(
    generator: Generator, denoiser: Denoiser, clean: Float[Tensor, "b c h w"], sigmas: Tensor, seed: int,
    numbers: range, kept: bool,
) -> Float[Tensor, "b c h w"]:  # fmt: skip
    """Up to the first noise level, and down again. kept : start from the images, not from noise alone"""
    noise = (float(sigmas[0]) * unit_noise(seed, numbers, clean.shape[1:])).to(clean)
    noisy = clean + noise if kept else begun(denoiser, noise, float(sigmas[0]))
    *_, new = dpm_solver(denoiser, noisy.contiguous(memory_format=torch.channels_last), sigmas, generator.spread)
    return new


def _stacked(subjects: Sequence[Subject], device: str) -> Float[Tensor, "b c h w"]:
    return torch.from_numpy(np.stack([subject.flux for subject in subjects]).astype(np.float32)).to(device)


def _info(source, generator: Generator, story: str, notes: Sequence[str]) -> SurveyInfo:
    name = (source.path if isinstance(source, store.Survey) else Path(source)).name
    return replace(
        generator.info,
        source=f"skyloom transfer of {name} with {generator.name}",
        notes=(f"Not observed: made from {name} by {generator.name}, {story}.", *notes),
    )


def _compared(subject: Subject, flux: Float[np.ndarray, "c h w"], generator: Generator) -> list[dict]:
    """Rows of the table of what was conserved."""
    noise, scale = np.array(generator.noise), generator.info.pixel_scale or 1.0
    before, after = light(subject.flux, noise), light(flux, noise)
    (old, pixels), (new, _) = (enclosed(one, before) for one in (subject.flux, flux))
    shared = {
        "object_id": subject.object_id,
        "shift": scale * np.hypot(after.x - before.x, after.y - before.y),
        "half_light_before": scale * before.half,
        "half_light_after": scale * after.half,
    }
    columns = zip(generator.info.band_names, old, new, noise * np.sqrt(pixels), strict=True)
    return [
        shared | {"band": band, "flux_before": one, "flux_after": other, "flux_error": error}
        for band, one, other, error in columns
    ]


def _schema(info: SurveyInfo) -> pa.Schema:
    length = "arcsec" if info.pixel_scale else "pix"
    units = dict.fromkeys(("flux_before", "flux_after", "flux_error"), info.bands[0].unit or "")
    units |= dict.fromkeys(("shift", "half_light_before", "half_light_after"), length)
    fields = [pa.field(name, pa.float64(), metadata={"unit": unit}) for name, unit in units.items()]
    return pa.schema([pa.field("object_id", pa.string()), pa.field("band", pa.string()), *fields])


def _median(column: pa.ChunkedArray) -> float:
    values = column.to_numpy(zero_copy_only=False)
    return float(np.nanmedian(values)) if np.isfinite(values).any() else np.nan
