"""Whether galaxies are as they were asked to be: what is measured beside what was asked for, and what else moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from skyloom.data.images import read_images
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.infer.profiles import profile
from skyloom.metrics.photometry import photometry
from skyloom.metrics.score import RESAMPLES, Score

APERTURE = 3.0  # diameter of the circle in which colours are measured [arcsec]
SHARES = (0.2, 0.8)  # of the light, whose radii make a concentration
FEWEST = 10  # galaxies that a line is drawn through
Values = Mapping[str, Float[np.ndarray, "n"]]
Progress = Callable[[int, int | None, str], None]


class Response(NamedTuple):
    """How a measured property follows the one that was asked for.

    slope : of the measured on the asked, least squares; scatter : of what is left about that line, 1.4826 × its median
    absolute deviation, in the measured unit; r2 : share of the measured variance that the line explains
    """

    slope: Score
    scatter: Score
    r2: Score


class Leakage(NamedTuple):
    """How many standard deviations each measured property (columns) moves when one asked for (rows) moves by one.

    move, error : (a, m); n : pairs of galaxies behind each
    """

    asked: tuple[str, ...]
    measured: tuple[str, ...]
    move: Float[np.ndarray, "a m"]
    error: Float[np.ndarray, "a m"]
    n: int


def measured_properties(
    survey: Survey, band: str, ids: Sequence[str] | None = None, progress: Progress | None = None
) -> dict[str, Float[np.ndarray, "n"]]:
    """What `skyloom profile` and circular apertures say of every galaxy, under the names that it can be asked by.

    `r_mag` (for a band r) : total magnitude of the isophotes; `r_e` : ln of the radius of half of it [arcsec]; `g_r`
    and so on : colours in 3 arcsec; `ellipticity` : of the isophotes near r_e; `e1`, `e2` : ellipticity times the
    cosine and sine of twice the position angle; `n` : concentration, 5 lg of r80/r20 of the isophotal growth, for want
    of a Sérsic index that noise and PSF leave alone. NaN where there is none. All are of the galaxy as seen: a PSF
    makes them rounder, larger and less concentrated than what was asked for.
    """
    ids = survey.table(["object_id"])["object_id"].to_pylist() if ids is None else list(ids)
    table = profile(survey, band=band, ids=ids, progress=progress)
    found: dict[str, np.ndarray] = {f"{band}_mag": _column(table, "mag"), "r_e": np.log(_column(table, "r_e"))}
    shape = np.array(
        [_shape(row) for row in table.select(["sma", "ellipticity", "pa", "cog", "r_e", "mag"]).to_pylist()]
    )
    found |= {"ellipticity": np.hypot(*shape[:, :2].T), "e1": shape[:, 0], "e2": shape[:, 1], "n": shape[:, 2]}
    images = read_images(survey, ids, most_bad=1.0)
    if len(images) != len(ids):
        raise RequestError(f"{len(ids) - len(images)} galaxies of {survey.path.name} have no sky; leave them out")
    names, points = survey.info.band_names, [one.zero_point for one in survey.info.bands]
    light = photometry(images.flux.numpy(), survey.info.pixel_scale, points, bands=names, aperture=APERTURE)
    for one, other, colour in zip(names[:-1], names[1:], light.colours.T, strict=True):
        found[f"{one}_{other}"] = colour
    return found


def asked_properties(values: Mapping[str, Float[np.ndarray, "n k"]]) -> dict[str, Float[np.ndarray, "n"]]:
    """What was asked for, in the variables of `measured_properties`: logarithms of r_e and n, and e1, e2."""
    found = {name: value[:, 0] for name, value in values.items() if value.shape[1] == 1 and name != "pa"}
    found |= {name: np.log(found[name]) for name in ("r_e", "n") if name in found}
    if "pa" in values and "ellipticity" in found:
        twice = np.radians(2 * values["pa"][:, 0])
        found |= {"e1": found["ellipticity"] * np.cos(twice), "e2": found["ellipticity"] * np.sin(twice)}
    return found


def responses(asked: Values, measured: Values, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Response]:
    """`response` of every property that was asked for and measured."""
    return {name: response(asked[name], measured[name], resamples, seed) for name in asked if name in measured}


def response(
    asked: Float[np.ndarray, "n"], measured: Float[np.ndarray, "n"], resamples: int = RESAMPLES, seed: int = 0
) -> Response:
    """Slope, scatter and R² of one property, with errors from a bootstrap over galaxies; those without it drop out.

    RequestError if fewer than ten have both, or all were asked for the same.
    """
    both = np.isfinite(asked) & np.isfinite(measured)
    x, y, n = asked[both], measured[both], int(both.sum())
    if n < FEWEST or not np.ptp(x) > 0:
        raise RequestError(f"{n} galaxies with both numbers, over a range of {np.ptp(x) if n else 0:g}; ask for more")
    rng = np.random.default_rng([seed, n])
    drawn = np.array([_line(x[rows], y[rows]) for rows in rng.integers(0, n, (resamples, n))])
    scores = (Score(float(v), float(e), "", n) for v, e in zip(_line(x, y), np.nanstd(drawn, 0), strict=True))
    return Response(*scores)


def leakage(
    low: Mapping[str, Values], high: Mapping[str, Values], apart: Mapping[str, Float[np.ndarray, "n"]], unit: Values
) -> Leakage:
    """From the same galaxies drawn twice, one property asked for lower and higher, all others and the noise the same.

    low, high : by the property that was moved, what was measured; apart : by how many standard deviations it was moved,
        for each galaxy; unit : measured on real galaxies, whose spread is the unit of what is measured
    """
    names = tuple(unit)
    spreads = {name: float(np.nanstd(unit[name])) for name in names}
    move, error = np.empty((2, len(low), len(names)))
    for row, moved in enumerate(low):
        for column, name in enumerate(names):
            change = (high[moved][name] - low[moved][name]) / spreads[name] / apart[moved]
            change = change[np.isfinite(change)]
            move[row, column] = change.mean() if len(change) else np.nan
            error[row, column] = change.std() / np.sqrt(len(change)) if len(change) else np.nan
    return Leakage(tuple(low), names, move, error, max(len(one) for one in apart.values()))


def _line(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> tuple[float, float, float]:
    dx, dy = x - x.mean(), y - y.mean()
    slope = (dx @ dy) / max(dx @ dx, 1e-300)
    left = dy - slope * dx
    scatter = 1.4826 * np.median(np.abs(left - np.median(left)))
    return float(slope), float(scatter), float(1 - (left @ left) / max(dy @ dy, 1e-300))


def _column(table, name: str) -> Float[np.ndarray, "n"]:
    return np.array([np.nan if value is None else value for value in table[name].to_pylist()], float)


def _shape(row: dict) -> tuple[float, float, float]:
    """e1, e2 near the half-light radius, and concentration; NaN of a profile without a total."""
    sma, radius, total = np.array(row["sma"] or [], float), row["r_e"], row["mag"]
    if radius is None or total is None or not len(sma) or not np.isfinite(radius):
        return np.nan, np.nan, np.nan
    twice = np.radians(2 * np.array(row["pa"], float))
    ellipticity = np.array(row["ellipticity"], float)
    known = np.isfinite(ellipticity + twice)
    if not known.any():
        return np.nan, np.nan, np.nan
    parts = (ellipticity * np.cos(twice), ellipticity * np.sin(twice))
    at = np.log(radius)
    e1, e2 = (float(np.interp(at, np.log(sma[known]), part[known])) for part in parts)
    share = 10 ** (-0.4 * (np.array(row["cog"], float) - total))
    share, seen = np.maximum.accumulate(np.nan_to_num(share)), np.isfinite(row["cog"])
    if seen.sum() < 3 or share.max() < SHARES[1]:
        return e1, e2, np.nan
    r20, r80 = np.interp(SHARES, share[seen], np.log10(sma[seen]))
    return e1, e2, float(5 * (r80 - r20))
