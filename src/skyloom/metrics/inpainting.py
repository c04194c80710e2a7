"""How near filled pixels come to what was there, for any way of filling; and two ways that need no network.

Flux is sky-subtracted throughout, in any unit that is the same for truth and filling. The truth is an observation with
noise of its own, which no filling can foresee: `Recovery.floor` says how large an error that alone makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.ndimage import binary_dilation
from scipy.stats import t as student
from skimage.restoration import inpaint_biharmonic

from skyloom.metrics.score import Score, Spread, mean, spread

RIM = 3  # width of the rim of known pixels that a straight interpolation rests on [pixel]


class Case(NamedTuple):
    """One galaxy. truth, filled : flux; mask : what was filled and may be compared; rms : of each band's sky per pixel

    sigma : that the filling states of its pixels; samples : that this sigma is of
    """

    truth: Float[np.ndarray, "c h w"]
    filled: Float[np.ndarray, "c h w"]
    mask: Bool[np.ndarray, "c h w"]
    rms: Float[np.ndarray, "c"]
    sigma: Float[np.ndarray, "c h w"] | None = None
    samples: int | None = None


class Recovery(NamedTuple):
    """Of many galaxies. error : |filled − truth| / truth of the bright pixels; bias : its signed median

    within : share of the bright pixels whose error is below the tolerance; floor : median error that noise alone makes
    magnitude : filled less true aperture magnitude, of galaxies whose aperture the mask cuts [mag]
    held68, held90 : share of all filled pixels within the interval that is stated for them; None where none is
    """

    error: Spread
    bias: Score
    within: Score
    floor: float
    magnitude: Spread
    held68: Score | None
    held90: Score | None


def recovery(
    cases: Sequence[Case], radius: float, above: float = 3.0, below: float = np.inf, tolerance: float = 0.1
) -> Recovery:
    """How well masked pixels were recovered; errors are bootstrapped over galaxies.

    radius : of the aperture about the image's centre [pixel]; above, below : true flux of the bright pixels [rms]
    Source: Smith 2022 (thesis), Fig. 4.6: fractional error of the pixels above 3 rms, and the share within 10 %.
    We differ: the error that the truth's own noise makes is stated beside it, and apertures and intervals are compared.
    """
    errors, floors, galaxy = [], [], []
    rng = np.random.default_rng(0)
    for number, case in enumerate(cases):
        rms = np.broadcast_to(case.rms[:, None, None], case.truth.shape)
        bright = case.mask & (case.truth > above * rms) & (case.truth <= below * rms)
        errors.append((case.filled[bright] - case.truth[bright]) / case.truth[bright])
        floors.append(rng.normal(size=int(bright.sum())) * rms[bright] / case.truth[bright])
        galaxy.append(np.full(int(bright.sum()), number))
    error, floor, group = (np.concatenate([*parts, []]) for parts in (errors, floors, galaxy))
    offsets = np.concatenate([*(aperture_bias(case, radius) for case in cases), []])
    return Recovery(
        error=spread(np.abs(error), "", group),
        bias=spread(error, "", group).median,
        within=mean((np.abs(error) < tolerance).astype(float), "", group),
        floor=float(np.median(np.abs(floor))) if len(floor) else np.nan,
        magnitude=spread(offsets, "mag"),
        held68=_held(cases, 0.68),
        held90=_held(cases, 0.90),
    )


def aperture_bias(case: Case, radius: float) -> Float[np.ndarray, "c"]:
    """Magnitude of the filled less that of the true flux in a circle about the centre, per band [mag].

    NaN where the mask leaves the circle whole, or where either flux is not positive.
    """
    y, x = (np.arange(side) - (side - 1) / 2 for side in case.truth.shape[1:])
    inside = np.hypot(y[:, None], x) <= radius
    true, filled = (np.where(inside, np.nan_to_num(flux), 0).sum((1, 2)) for flux in (case.truth, case.filled))
    cut = (case.mask & inside).any((1, 2))
    with np.errstate(all="ignore"):
        return np.where(cut & (true > 0) & (filled > 0), -2.5 * np.log10(filled / true), np.nan)


def _held(cases: Sequence[Case], level: float) -> Score | None:
    """Share of the filled pixels whose truth lies within the interval of a level about their value."""
    held, galaxy = [], []
    for number, case in enumerate(cases):
        if case.sigma is None or case.samples is None:
            return None
        off = np.abs(case.truth - case.filled)[case.mask] / case.sigma[case.mask]
        held.append(off <= student.ppf(0.5 + level / 2, case.samples - 1))
        galaxy.append(np.full(off.size, number))
    if not held:
        return None
    return mean(np.concatenate(held).astype(float), "", np.concatenate(galaxy))


def linear(flux: Float[np.ndarray, "c h w"], mask: Bool[np.ndarray, "c h w"]) -> Float[np.ndarray, "c h w"]:
    """Masked pixels from the triangles between known ones about them; the nearest known one beyond their hull."""
    out = flux.copy()
    for band, hidden in zip(out, mask, strict=True):
        if not hidden.any():
            continue
        rim = np.argwhere(binary_dilation(hidden, iterations=RIM) & ~hidden)
        values, places = band[tuple(rim.T)], np.argwhere(hidden)
        found = np.full(len(places), np.nan)
        if np.ptp(rim, axis=0).min() > 0:
            found = LinearNDInterpolator(rim, values)(places)
        beyond = np.isnan(found)
        found[beyond] = NearestNDInterpolator(rim, values)(places[beyond]) if beyond.any() else []
        band[hidden] = found
    return out


def biharmonic(flux: Float[np.ndarray, "c h w"], mask: Bool[np.ndarray, "c h w"]) -> Float[np.ndarray, "c h w"]:
    """Masked pixels as the smoothest plate through the known ones.

    Source: Damelin & Hoang 2018, doi:10.1155/2018/3950312, by scikit-image.
    We differ: each band is first scaled to unit rms, since fluxes may be as small as 1e-12.
    """
    out = flux.copy()
    for band, hidden in zip(out, mask, strict=True):
        if hidden.any():
            scale = float(np.sqrt(np.mean(band[~hidden].astype(float) ** 2))) or 1.0
            band[hidden] = scale * inpaint_biharmonic(np.where(hidden, 0, band / scale), hidden)[hidden]
    return out
