"""The engine `pix2prof`: rows of a profile table written step by step by a network, without geometry or errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skyloom.checkpoint import Run
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.data.profiles import COLUMNS, LISTS
from skyloom.data.sequences import prepared, require_units
from skyloom.infer.placed import placed
from skyloom.infer.rows import facts_lacking, sky_of
from skyloom.nn.pix2prof import Pix2Prof, Pix2ProfConfig
from skyloom.nn.resnet import fast
from skyloom.sky.normalise import min_max
from skyloom.sky.profiles import Flag
from skyloom.sky.steps import STEP

WINDOW = 100  # steps of a standard deviation that is no larger than the recipe's `flat` end a profile


def measurer(run: Run, info: SurveyInfo) -> Callable[..., list[dict]]:
    """The function that measures a few cutouts, with the run's weights loaded once."""
    require_units(info)
    settings, ranges = run.record["settings"], run.facts("ranges") or {}
    net = Pix2Prof(Pix2ProfConfig(**settings["net"]))
    run.load(net)
    on = placed(fast(net))

    def measure(cutouts: tuple[Cutout, ...], info: SurveyInfo, bands: list[int], device: str) -> list[dict]:
        skies = [sky_of(cutout) for cutout in cutouts]
        flux, ivar = (np.stack([getattr(cutout, part) for cutout in cutouts]) for part in ("flux", "ivar"))
        level, rms = (np.stack([sky[part] for sky in skies]) for part in (0, 1))
        images = prepared(flux, ivar, level, rms, info, settings["bin"], settings["percent"]).images[:, bands]
        images = min_max(images.flatten(0, 1), ranges["low"], ranges["high"])[:, None].to(device)
        found = on(device).predict(images, window=WINDOW, tolerance=settings["flat"] / ranges["scale"])
        values, lengths = found.values.double().cpu().numpy(), found.length.cpu().numpy()
        sb = values * ranges["scale"] + ranges["mean"]
        pairs = [(i, k) for i in range(len(cutouts)) for k in range(len(bands))]
        return [
            _row(cutouts[i], info, bands[k], sb[place, : lengths[place]], bool(ivar[i, bands[k]].any()))
            for place, (i, k) in enumerate(pairs)
        ]

    return measure


def _row(cutout: Cutout, info: SurveyInfo, band: int, sb: np.ndarray, seen: bool) -> dict:
    """One row of the table, as far as the corner of the frame; what Pix2Prof does not say is NaN."""
    assert info.pixel_scale is not None
    edge, corner = (info.pixel_scale / 2 * of(cutout.flux.shape[-2:]) for of in (min, lambda sides: np.hypot(*sides)))
    sb = sb[: int(corner / STEP) if seen else 0]
    flag = facts_lacking(cutout, info, info.bands[band])
    flag |= int(Flag.NOTHING) if not len(sb) else int(Flag.TRUNCATED) * (len(sb) * STEP > edge)
    unknown = {column.name: np.full(len(sb), np.nan) if column.name in LISTS else np.nan for column in COLUMNS}
    return {
        **unknown,
        "object_id": cutout.object_id,
        "band": info.bands[band].name,
        "sma": STEP * np.maximum(np.arange(len(sb)), 0.25),
        "sb": sb,
        "flag": flag,
    }
