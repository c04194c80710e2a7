"""What lies beside the flux: weight, noise and mask maps, told by their names and turned into inverse variance."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Bool, Float32

from skyloom.errors import CutoutError
from skyloom.sky.background import sky_level

ROLES = {
    **dict.fromkeys(("ivar", "invvar", "inversevariance", "wht", "weight", "weights", "wgt"), "ivar"),
    **dict.fromkeys(("var", "variance"), "variance"),
    **dict.fromkeys(("err", "error", "sigma", "rms", "std", "uncert", "noise"), "sigma"),
    **dict.fromkeys(("mask", "dq", "bpm", "flag", "flags", "mskim"), "mask"),
    **dict.fromkeys(("psf", "psfim", "seg", "segm", "segim", "segmap", "segmentation", "model", "residual"), "other"),
    **dict.fromkeys(("sci", "image", "img", "flux", "data", "fitim", "primary"), "flux"),
}  # "mask": non-zero is bad; "other": neither flux nor weight, left where it is

WEIGHTS_GIVEN = "Weight maps (IVAR, INVVAR, WHT, WEIGHT) are taken as inverse variance [1/flux²], noise maps as 1σ."
WEIGHTS_MEASURED = "No weight maps in the source: ivar is 1/sky_rms² of each cutout and band, without Poisson noise."


def role(name: str) -> str | None:
    """Role of a map by its HDU name, IMAGETYP or file suffix; None if the name says nothing."""
    return ROLES.get(re.sub(r"[^a-z]", "", name.lower()))


def inverse_variance(
    maps: dict[str, Float32[np.ndarray, "..."]], flux: Float32[np.ndarray, "..."], where: str
) -> Float32[np.ndarray, "..."] | None:
    """Inverse variance [1/flux²] from the maps beside the flux, 0 where bad; None if there is a mask at most.

    maps : by role; NaN in a map, a σ or variance of 0 or ∞, and a non-zero mask all mark a bad pixel
    Raises CutoutError if a value is negative, or its inverse square does not fit float32.
    """
    for kind in ("ivar", "sigma", "variance"):
        if kind in maps:
            values = maps[kind].astype(np.float64)
            break
    else:
        return None
    if (values < 0).any():
        raise CutoutError(
            f"{where}: {int((values < 0).sum())} pixels of its {kind} map are negative; mark bad pixels with 0"
        )
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        weight = {"ivar": values, "sigma": values**-2.0, "variance": 1.0 / values}[kind]
        weight = np.where(np.isfinite(values) & (values > 0), weight, 0.0).astype(np.float32)
    if np.isinf(weight).any():
        raise CutoutError(
            f"{where}: noise of {values[values > 0].min():.3g} is too small for float32; scale the image up"
        )
    return mark_bad(weight, flux, maps.get("mask"))


def mark_bad(
    weight: Float32[np.ndarray, "..."], flux: Float32[np.ndarray, "..."], mask: Float32[np.ndarray, "..."] | None = None
) -> Float32[np.ndarray, "..."]:
    """The weight with 0 where the flux is not finite or the mask is not 0."""
    bad = ~np.isfinite(flux) if mask is None else ~np.isfinite(flux) | (mask != 0)
    return np.where(bad, np.float32(0), weight).astype(np.float32)


def weights_from_noise(
    flux: Float32[np.ndarray, "c h w"], bad: Bool[np.ndarray, "c h w"] | None, where: str, least_noise: float = 0.0
) -> tuple[Float32[np.ndarray, "c h w"], Float32[np.ndarray, "c"], Float32[np.ndarray, "c"]]:
    """Inverse variance 1/rms² of the measured sky, one number per band, 0 where bad; with the sky level and rms.

    least_noise : [flux] floor of the rms, for pixels rounded to whole numbers
    Raises CutoutError if a band with good pixels has no noise to measure.
    """
    good = mark_bad(np.ones_like(flux), flux, None if bad is None else bad.astype(np.float32))
    level, rms = (np.asarray(values, np.float32) for values in sky_level(flux, good))
    noise = np.fmax(rms, np.float32(least_noise))
    for band, width in enumerate(noise):
        if good[band].any() and not width > 0:
            raise CutoutError(f"{where}: plane {band} has no noise (sky rms 0) and no weight map; add an IVAR map")
    with np.errstate(divide="ignore", over="ignore"):
        weight = np.where(noise > 0, np.float64(noise) ** -2.0, 0.0).astype(np.float32)
    if np.isinf(weight).any():
        raise CutoutError(f"{where}: noise of {noise.min():.3g} is too small for float32; scale the image up")
    return good * weight[:, None, None], level, rms
