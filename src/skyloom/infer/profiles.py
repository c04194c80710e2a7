"""A survey in, a table of surface brightness profiles out: one row per object and band."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from astropy.io import fits
from astropy.wcs import WCS
from jaxtyping import Float

from skyloom import __version__
from skyloom.data import store
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.data.tables import check_destination, write_table
from skyloom.errors import RequestError
from skyloom.sky.background import sky_level
from skyloom.sky.detection import central_and_neighbours
from skyloom.sky.photometry import magnitude, magnitude_error, surface_brightness
from skyloom.sky.profiles import Flag, Profiles, extract

ENGINES = ("isophotes",)
CHUNK = {"cpu": 16, "cuda": 256}  # cutouts measured together: enough to amortise a call; on a CPU, few for the cache
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
R_LEVEL = 26.0  # [mag/arcsec²] of the isophote whose radius is r_26

Progress = Callable[[int, int | None, str], None]


class Column(NamedTuple):
    """A column of the profile table; `unit` where zero points and a pixel scale are known."""

    name: str
    kind: pa.DataType
    unit: str
    meaning: str


_LIST, _NUMBER = pa.list_(pa.float64()), pa.float64()
COLUMNS = (
    Column("object_id", pa.string(), "", "as in the survey"),
    Column("band", pa.string(), "", "as in the survey"),
    Column("x", _NUMBER, "pix", "centre of the isophotes in the cutout, 0 at the centre of the first pixel"),
    Column("y", _NUMBER, "pix", ""),
    Column("sma", _LIST, "arcsec", "semi-major axis of each isophote"),
    Column("sb", _LIST, "mag / arcsec2", "surface brightness on it, sky-subtracted; NaN where the flux is negative"),
    Column("sb_error", _LIST, "mag / arcsec2", "1 sigma: noise, structure, geometry and sky"),
    Column("ellipticity", _LIST, "", "1 - b/a"),
    Column("ellipticity_error", _LIST, "", ""),
    Column("pa", _LIST, "deg", "of the major axis, 0 to 180, north through east; from +x towards +y if flag & 1"),
    Column("pa_error", _LIST, "deg", ""),
    Column("cog", _LIST, "mag", "magnitude within each isophote"),
    Column("mag", _NUMBER, "mag", "total, the tail beyond the last isophote extrapolated"),
    Column("mag_error", _NUMBER, "mag", ""),
    Column("r_e", _NUMBER, "arcsec", "semi-major axis of the isophote that holds half the total"),
    Column("r_e_error", _NUMBER, "arcsec", ""),
    Column("r_26", _NUMBER, "arcsec", "semi-major axis of the isophote of 26 mag/arcsec2"),
    Column("sky", _NUMBER, "", "level under the galaxy, flux per pixel in the survey's unit"),
    Column("sky_error", _NUMBER, "", ""),
    Column("flag", pa.int32(), "", "sum of the bits of skyloom.sky.profiles.Flag; 0 is clean"),
)


def profile(
    survey: store.Survey | str | Path,
    out: str | Path | None = None,
    with_: str = "isophotes",
    band: str | None = None,
    *,
    ids: Iterable[str] | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Measure every object of a survey in every band, or in one; write the table to `out` if it is given.

    out : .parquet, .ecsv or .fits; written whole or not at all
    with_ : the engine; ids : only these objects; device : "cpu" or "cuda", None for the GPU where there is one
    Returns the table described by `COLUMNS`. Without a zero point magnitudes are instrumental, without a pixel scale
    radii are in pixels; flags and the columns' units say so.
    Raises RequestError for an unknown engine, CutoutError for an unknown band, StoreError if `out` cannot be written.
    """
    if with_ not in ENGINES:
        raise RequestError(f"no engine {with_!r} to measure profiles with; there is {', '.join(ENGINES)}")
    survey = survey if isinstance(survey, store.Survey) else store.open(survey)
    bands = None if band is None else [survey.info.index(band)]
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    destination = None if out is None else check_destination(out)
    ids = None if ids is None else list(ids)
    total = len(survey) if ids is None else len(ids)
    rows = measure_survey(survey.read(ids=ids), survey.info, bands, device, total, progress)
    table = _table(rows, survey, with_)
    if destination is not None:
        write_table(table, destination)
    return table


def measure_survey(
    cutouts: Iterable[Cutout],
    info: SurveyInfo,
    bands: Sequence[int] | None = None,
    device: str = "cpu",
    total: int | None = None,
    progress: Progress | None = None,
) -> list[dict]:
    """Rows of the profile table for any cutouts of a survey, in their order; bands by position, None for all."""
    bands = list(range(len(info.bands)) if bands is None else bands)
    rows: list[dict] = []
    for chunk in _measured(cutouts, info, bands, device):
        rows += chunk
        if progress:
            progress(len(rows) // len(bands), total, "profiles")
    return rows


def _measured(cutouts: Iterable[Cutout], info: SurveyInfo, bands: list[int], device: str) -> Iterator[list[dict]]:
    """Rows of one chunk after another, in the survey's order, a few chunks in work at a time."""
    _keep_freed_memory()
    workers = os.cpu_count() or 1 if device == "cpu" else 2
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device == "cpu" else threads)  # one core a chunk beats all cores on one small chunk
    try:
        with ThreadPoolExecutor(workers) as pool:
            waiting = []
            cutouts = iter(cutouts)
            while chunk := tuple(islice(cutouts, CHUNK[device])):
                waiting.append(pool.submit(measure_chunk, chunk, info, bands, device))
                if len(waiting) > 2 * workers:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()
    finally:
        torch.set_num_threads(threads)


def _keep_freed_memory() -> None:
    """Let glibc hand large freed blocks out again, in this process from now on; other C libraries are left alone.

    It gives them back to the kernel by default, and then the threads spend their time on fresh pages:
    42 instead of 65 galaxies/s on two cores.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)


def measure_chunk(cutouts: tuple[Cutout, ...], info: SurveyInfo, bands: list[int], device: str = "cpu") -> list[dict]:
    """Rows of the profile table for a few cutouts in some bands of their survey."""
    skies = [_sky(cutout) for cutout in cutouts]
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


def _sky(cutout: Cutout) -> tuple[np.ndarray, np.ndarray]:
    """Level and rms in every band: as stored, or measured on the cutout."""
    if cutout.sky is not None and cutout.sky_rms is not None and np.isfinite(cutout.sky_rms).all():
        return cutout.sky, cutout.sky_rms
    return sky_level(cutout.flux, cutout.ivar)


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
    angle, on_sky = _sky_angle(cutout.wcs, p.x[k], p.y[k], np.degrees(p.angle[k, :n].double().numpy()))
    unknown = (not on_sky, Flag.NO_WCS), (facts.zero_point is None, Flag.NO_ZERO_POINT), (
        info.pixel_scale is None, Flag.NO_PIXEL_SCALE,
    )  # fmt: skip
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
        "pa": angle % 180,
        "pa_error": np.degrees(p.angle_error[k, :n].double().numpy()),
        "cog": magnitude(growth.enclosed[k, :n].double().numpy(), zero_point),
        "mag": float(magnitude(float(growth.total[k]), zero_point)),
        "mag_error": float(magnitude_error(float(growth.total[k]), float(growth.total_error[k]))),
        "r_e": float(growth.half_light[k]) * scale if n else np.nan,
        "r_e_error": float(growth.half_light_error[k]) * scale if n else np.nan,
        "r_26": _isophotal_radius(sma, sb, sb_error) if facts.zero_point is not None and info.pixel_scale else np.nan,
        "sky": float(p.sky[k]),
        "sky_error": float(p.sky_error[k]),
        "flag": int(p.flag[k]) | sum(int(flag) for missing, flag in unknown if missing),
    }


def _isophotal_radius(sma: Float[np.ndarray, "r"], sb: Float[np.ndarray, "r"], error: Float[np.ndarray, "r"]) -> float:
    """Radius at which a profile falls through R_LEVEL [mag/arcsec²]; NaN where it does not reach it.

    A straight line through the rings within 1 mag of the level, each weighed by its error: one noisy ring that dips
    below the level does not decide.
    """
    near = np.abs(sb - R_LEVEL) < 1
    if near.sum() < 2 or not (np.nanmin(sb) < R_LEVEL < np.nanmax(sb)):
        return np.nan
    slope, level = np.polyfit(sma[near], sb[near] - R_LEVEL, 1, w=1 / error[near])
    radius = -level / slope if slope > 0 else np.nan
    return float(radius) if radius <= sma[-1] else np.nan


def _sky_angle(header: str | None, x, y, angle: Float[np.ndarray, "r"]) -> tuple[Float[np.ndarray, "r"], bool]:
    """Angles from +x towards +y [deg] as position angles, north through east, at (x, y); and whether that could be."""
    if header is None:
        return angle, False
    wcs = WCS(fits.Header.fromstring(header))
    corner = np.array([[x, y], [x + 1, y], [x, y + 1]], dtype=float)
    ra, dec = wcs.wcs_pix2world(corner, 0).T
    east = ((ra[1:] - ra[0] + 180) % 360 - 180) * np.cos(np.radians(dec[0]))
    north = dec[1:] - dec[0]
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.degrees(np.arctan2(east[0] * cos + east[1] * sin, north[0] * cos + north[1] * sin)), True


def _table(rows: list[dict], survey: store.Survey, engine: str) -> pa.Table:
    """The rows under their schema; a unit that cannot be had is replaced by what is there instead."""
    swaps = {}
    if survey.info.pixel_scale is None:
        swaps = {"arcsec": "pix", "mag / arcsec2": "mag / pix2"}
    fields = [
        pa.field(c.name, c.kind, metadata={"unit": swaps.get(c.unit, c.unit), "meaning": c.meaning}) for c in COLUMNS
    ]
    story = {
        "engine": engine,
        "survey": survey.path.name,
        "survey_hash": survey.content_hash,
        "skyloom": __version__,
        "source": survey.info.source,
        "citation": survey.info.citation,
    }
    return pa.Table.from_pylist(rows, pa.schema(fields, metadata=story))
