"""The engine `profile_decoder`: cutouts to rows of a profile table, by a network, with calibrated intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float

from skyloom.checkpoint import Run
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.data.profiles import Column
from skyloom.data.rings import unit_of_light
from skyloom.infer.calibrated import shown, widen
from skyloom.infer.placed import placed
from skyloom.infer.rows import angles_on_sky, facts_lacking, isophotal_radius, sky_of
from skyloom.nn.profile_decoder import LEVELS, ProfileDecoder, ProfileDecoderConfig
from skyloom.sky.isophotes import radii
from skyloom.sky.polar import unroll_galaxies
from skyloom.sky.profiles import Flag

_LIST = pa.list_(pa.float64())
COLUMNS = tuple(
    Column(f"sb_q{round(100 * level):02d}", _LIST, "mag / arcsec2", f"{level:.0%} quantile of the surface brightness")
    for level in LEVELS
)
NEAR_EDGE = 0.8  # of the way to the frame's edge: a galaxy that comes so near leaves no sky to tell its outskirts from
RESTLESS = 1.5  # ratio of the scatter of a frame's faintest pixels to their noise, beyond which none is blank
FEWEST = 4  # rings of a profile that says anything
PLANE_TO_LINE = 1.515  # radius that holds 68 % of a Gaussian in the plane, in units of the deviation along a line


def measurer(run: Run, info: SurveyInfo) -> Callable[..., list[dict]]:
    """The function that measures a few cutouts, with the run's weights and calibration loaded once."""
    settings = run.record["settings"]["net"]
    config = ProfileDecoderConfig(**{**settings, **{name: tuple(settings[name]) for name in ("widths", "depth")}})
    on = placed(run.load(ProfileDecoder(config)))
    calibration = run.facts("calibration")
    seen = run.facts("training") or {"sizes": [max(info.shape)], "pixel_scales": []}
    grid = _grid(info, seen["pixel_scales"], max(seen["sizes"]))

    def measure(cutouts: tuple[Cutout, ...], info: SurveyInfo, bands: list[int], device: str) -> list[dict]:
        skies = [sky_of(cutout) for cutout in cutouts]
        parts = [[cutout.flux[bands] for cutout in cutouts], [cutout.ivar[bands] for cutout in cutouts]]
        parts += [[sky[part][bands] for sky in skies] for part in (0, 1)]
        flux, ivar, level, rms = (torch.from_numpy(np.stack(part).astype(np.float32)).to(device) for part in parts)
        radius = grid.rings.to(device)
        with torch.inference_mode():
            maps, x, y = unroll_galaxies(flux, ivar, level, rms, radius * grid.step)
            maps[:, :, 0] *= grid.step
            said = widen(on(device)(maps, radius), calibration)
            said = said._replace(x=said.x * grid.step + x[:, None], y=said.y * grid.step + y[:, None])
            there = shown(said)
        said, counts = _moved(said, "cpu"), there.sum(-1).tolist()
        return [
            _row(cutout, info, band, _one(said, i, k), counts[i][k], skies[i], grid)
            for i, cutout in enumerate(cutouts)
            for k, band in enumerate(bands)
        ]

    return measure


class Grid(NamedTuple):
    """Where the network looks: rings in pixels of the size that it has seen, and that size in the survey's pixels.

    Light per pixel scales with the area of a pixel and its noise with the side, so light in units of the noise with the
    side too; that the noise of neighbouring pixels may be correlated is left out.
    """

    rings: Float[torch.Tensor, "r"]
    step: float


def _grid(info: SurveyInfo, scales: Sequence[float], largest: int) -> Grid:
    """Rings for the pixel scale nearest to the survey's that the weights have seen, as far as they have seen rings."""
    steps = [scale / info.pixel_scale for scale in scales] if info.pixel_scale is not None else []
    step = min(steps, key=lambda step: abs(np.log(step)), default=1.0)
    rings = radii((info.shape[0] / step, info.shape[1] / step))
    return Grid(rings[: len(radii((largest, largest)))], step)


def _moved(said: Any, device: str) -> Any:
    return type(said)(*(_moved(part, device) if isinstance(part, tuple) else part.to(device) for part in said))


def _one(said: Any, i: int, k: int) -> Any:
    """What was said of one object in one band, in NumPy."""
    return type(said)(*(_one(part, i, k) if isinstance(part, tuple) else part[i, k].double().numpy() for part in said))


def _row(cutout: Cutout, info: SurveyInfo, band: int, said: Any, n: int, sky, grid: Grid) -> dict:
    """One row of the table: arcsec, mag/arcsec² and degrees where the survey knows how.

    said : a Prediction of this object in this band, in NumPy
    """
    facts, level, rms = info.bands[band], float(sky[0][band]), float(sky[1][band])
    empty = not (np.isfinite(level) and rms > 0)
    n = 0 if empty else n
    scale = (info.pixel_scale or 1.0) * grid.step
    unit = unit_of_light(facts.zero_point, 1.0 if empty else rms * grid.step)
    density = unit + 5 * np.log10(scale)
    sma, ellipticity = grid.rings[:n].double().numpy() * scale, np.hypot(said.e1, said.e2)[:n]
    sb, quantiles = said.sb.median[:n] + density, said.sb.quantiles[:n] + density
    shape_error = said.shape_width[:n] / PLANE_TO_LINE
    angle = np.degrees(np.arctan2(said.e2, said.e1) / 2)[:n]
    sb_error = _half(said.sb.quantiles[:n])
    mag_error = float(_half(said.mag.quantiles))
    r_e, r_e_error = half_light(
        sma, said.cog.median[:n], _half(said.cog.quantiles[:n]), float(said.mag.median), mag_error
    )
    return {
        "object_id": cutout.object_id,
        "band": facts.name,
        "x": float(said.x) if n else np.nan,
        "y": float(said.y) if n else np.nan,
        "sma": sma,
        "sb": sb,
        "sb_error": sb_error,
        "ellipticity": ellipticity,
        "ellipticity_error": shape_error,
        "pa": angles_on_sky(cutout, float(said.x), float(said.y), angle),
        "pa_error": np.degrees(np.minimum(shape_error / (2 * np.maximum(ellipticity, 1e-6)), np.pi / 12**0.5)),
        "cog": said.cog.median[:n] + unit,
        "mag": float(said.mag.median) + unit if n else np.nan,
        "mag_error": mag_error if n else np.nan,
        "r_e": r_e,
        "r_e_error": r_e_error,
        "r_26": isophotal_radius(sma, sb, sb_error, info, facts),
        "sky": np.nan if empty else level + float(said.sky) / grid.step * rms,
        "sky_error": np.nan,
        "flag": facts_lacking(cutout, info, facts) | _flag(cutout, band, said, n, grid, rms),
        **{column.name: quantiles[:, place] for place, column in enumerate(COLUMNS)},
    }


def _half(quantiles: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n"]:
    """Half of the 68 % interval."""
    return (quantiles[..., LEVELS.index(0.84)] - quantiles[..., LEVELS.index(0.16)]) / 2


def half_light(sma, cog, cog_error, mag: float, mag_error: float) -> tuple[float, float]:
    """Semi-major axis of the isophote that holds half of the light, and its error; NaN where none shown does."""
    if len(sma) < FEWEST:
        return np.nan, np.nan
    falling, wanted = np.minimum.accumulate(cog), mag + 2.5 * np.log10(2)
    if not falling[-1] < wanted < falling[0]:
        return np.nan, np.nan
    steps = np.log(sma)
    at = float(np.interp(-wanted, -falling, steps))
    slope = np.interp(at, steps, np.abs(np.gradient(falling, steps)))
    error = np.hypot(mag_error, np.interp(at, steps, cog_error)) / max(slope, 1e-3)
    return float(np.exp(at)), float(np.exp(at) * error)


def no_blank_sky(ivar: Float[np.ndarray, "h w"], rms: float) -> bool:
    """Whether even the faintest pixels of a frame scatter more than their ivar says: its galaxy is all over it."""
    good = ivar[ivar > 0]
    return len(good) > 0 and rms > RESTLESS / np.sqrt(np.percentile(good, 75))


def _flag(cutout: Cutout, band: int, said: Any, n: int, grid: Grid, rms: float) -> int:
    """What a reader should know, as `sky.profiles.Flag`; crowding and unsettled fits are not judged."""
    height, width = cutout.flux.shape[-2:]
    if n == 0:
        return int(Flag.NOTHING)
    flag = Flag(0)
    rows, columns = np.indices((height, width), sparse=True)
    near = np.hypot(columns - said.x, rows - said.y) < 3
    if (near & (cutout.ivar[band] == 0)).any():
        flag |= Flag.BAD_CENTRE
    edge, rings = min(height, width) / 2, grid.rings.numpy() * grid.step
    if rings[n - 1] >= NEAR_EDGE * edge or no_blank_sky(cutout.ivar[band], rms):
        flag |= Flag.TRUNCATED
    if n < FEWEST:
        flag |= Flag.FAINT
    return int(flag)
