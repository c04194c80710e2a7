"""The engine `isophotes`: cutouts to rows of a profile table, by fitting ellipses to the light."""

from __future__ import annotations

import numpy as np
import torch

from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.infer.rows import angles_on_sky, facts_lacking, isophotal_radius, sky_of
from skyloom.sky.detection import central_and_neighbours
from skyloom.sky.photometry import magnitude, magnitude_error, surface_brightness
from skyloom.sky.profiles import Profiles, extract


def measure_chunk(cutouts: tuple[Cutout, ...], info: SurveyInfo, bands: list[int], device: str = "cpu") -> list[dict]:
    """Rows of the profile table for a few cutouts in some bands of their survey."""
    skies = [sky_of(cutout) for cutout in cutouts]
    maps = [_sources(cutout, *sky) for cutout, sky in zip(cutouts, skies, strict=True)]

    def stacked(arrays) -> torch.Tensor:
        return torch.from_numpy(np.stack(list(arrays))).to(device)

    pairs = [(i, band) for i in range(len(cutouts)) for band in bands]
    with torch.inference_mode():
        profiles = extract(
            stacked(cutouts[i].flux[band] for i, band in pairs),
            stacked(cutouts[i].ivar[band] for i, band in pairs),
            stacked(maps[i][1] for i, _ in pairs),
            torch.tensor([maps[i][0] for i, _ in pairs], device=device),
            stacked(np.float32(skies[i][0][band]) for i, band in pairs),
            stacked(np.float32(skies[i][1][band]) for i, band in pairs),
        )
    profiles = _on_cpu(profiles)
    return [_row(cutouts[i], info, band, profiles, k) for k, (i, band) in enumerate(pairs)]


def _on_cpu(profiles: Profiles) -> Profiles:
    growth = profiles.growth._replace(**{name: part.cpu() for name, part in profiles.growth._asdict().items()})
    others = {name: part.cpu() for name, part in profiles._asdict().items() if name != "growth"}
    return profiles._replace(**others, growth=growth)


def _sources(cutout: Cutout, level: np.ndarray, rms: np.ndarray) -> tuple[int, np.ndarray]:
    """The central source and the segmentation map, found on all bands added up in units of their noise."""
    good = cutout.ivar > 0
    usable = np.isfinite(level) & (rms > 0)
    good &= usable[:, None, None]
    scale = np.where(usable, rms, 1)[:, None, None]
    signal = np.where(good, (cutout.flux - np.where(usable, level, 0)[:, None, None]) / scale, 0)
    count = good.sum(0)
    added = signal.sum(0) / np.sqrt(np.maximum(count, 1))
    return central_and_neighbours(added.astype(np.float32), count > 0, 1.0)


def _row(cutout: Cutout, info: SurveyInfo, band: int, p: Profiles, k: int) -> dict:
    """One row of the table: arcsec, mag/arcsec² and degrees where the survey knows how."""
    facts = info.bands[band]
    scale, zero_point = info.pixel_scale or 1.0, facts.zero_point or 0.0
    n = int(p.last[k]) + 1
    growth = p.growth
    angle = angles_on_sky(cutout, float(p.x[k]), float(p.y[k]), np.degrees(p.angle[k, :n].double().numpy()))
    light, light_error = p.light[k, :n].double().numpy(), p.light_error[k, :n].double().numpy()
    sma = p.sma[:n].double().numpy() * scale
    sb, sb_error = surface_brightness(light, scale, zero_point), magnitude_error(light, light_error)
    return {
        "object_id": cutout.object_id,
        "band": facts.name,
        "x": float(p.x[k]) if n else np.nan,
        "y": float(p.y[k]) if n else np.nan,
        "sma": sma,
        "sb": sb,
        "sb_error": sb_error,
        "ellipticity": p.ellipticity[k, :n].double().numpy(),
        "ellipticity_error": p.ellipticity_error[k, :n].double().numpy(),
        "pa": angle,
        "pa_error": np.degrees(p.angle_error[k, :n].double().numpy()),
        "cog": magnitude(growth.enclosed[k, :n].double().numpy(), zero_point),
        "mag": float(magnitude(float(growth.total[k]), zero_point)),
        "mag_error": float(magnitude_error(float(growth.total[k]), float(growth.total_error[k]))),
        "r_e": float(growth.half_light[k]) * scale if n else np.nan,
        "r_e_error": float(growth.half_light_error[k]) * scale if n else np.nan,
        "r_26": isophotal_radius(sma, sb, sb_error, info, facts),
        "sky": float(p.sky[k]),
        "sky_error": float(p.sky_error[k]),
        "flag": int(p.flag[k]) | facts_lacking(cutout, info, facts),
    }
