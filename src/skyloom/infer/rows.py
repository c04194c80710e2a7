"""What rows of a profile table have in common, whichever engine made them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.sky.background import sky_level
from skyloom.sky.orientation import position_angle
from skyloom.sky.profiles import Flag

R_LEVEL = 26.0  # [mag/arcsec²] of the isophote whose radius is r_26


def sky_of(cutout: Cutout) -> tuple[np.ndarray, np.ndarray]:
    """Level and rms in every band: as stored, or measured on the cutout."""
    if cutout.sky is not None and cutout.sky_rms is not None and np.isfinite(cutout.sky_rms).all():
        return cutout.sky, cutout.sky_rms
    return sky_level(cutout.flux, cutout.ivar)


def facts_lacking(cutout: Cutout, info: SurveyInfo, band: Band) -> int:
    """Flags for what the survey does not state."""
    lacking = (
        (cutout.wcs is None, Flag.NO_WCS),
        (band.zero_point is None, Flag.NO_ZERO_POINT),
        (info.pixel_scale is None, Flag.NO_PIXEL_SCALE),
    )
    return sum(int(flag) for missing, flag in lacking if missing)


def angles_on_sky(cutout: Cutout, x: float, y: float, angle: Float[np.ndarray, "r"]) -> Float[np.ndarray, "r"]:
    """Angles from +x towards +y [deg] as the table states them, 0 to 180: position angles where there is a WCS."""
    return (angle if cutout.wcs is None else position_angle(cutout.wcs, x, y, angle)) % 180


def isophotal_radius(
    sma: Float[np.ndarray, "r"], sb: Float[np.ndarray, "r"], error: Float[np.ndarray, "r"], info: SurveyInfo, band: Band
) -> float:
    """Radius at which a profile falls through R_LEVEL [mag/arcsec²]; NaN where it does not reach it.

    NaN too where the survey states no zero point or no pixel scale.

    A straight line through the rings within 1 mag of the level, each weighed by its error: one noisy ring that dips
    below the level does not decide.
    """
    if band.zero_point is None or info.pixel_scale is None or not len(sb):
        return np.nan
    near = np.abs(sb - R_LEVEL) < 1
    if near.sum() < 2 or not (np.nanmin(sb) < R_LEVEL < np.nanmax(sb)):
        return np.nan
    slope, level = np.polyfit(sma[near], sb[near] - R_LEVEL, 1, w=1 / error[near])
    radius = -level / slope if slope > 0 else np.nan
    return float(radius) if radius <= sma[-1] else np.nan
