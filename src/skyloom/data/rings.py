"""Galaxies on rings, in memory, with the profiles to learn from them: what a network of polar maps is trained on.

Batch k depends on the sets, the arguments and k alone, as in `data.batches`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from skyloom.data.cutout import SurveyInfo
from skyloom.data.profiles import Profile, read_profiles
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.sky.background import sky_level
from skyloom.sky.isophotes import radii
from skyloom.sky.polar import ANGLES, unroll_galaxies

CHUNK = 16  # cutouts unrolled together
JITTER = 0.4  # rms by which the centre of a map is put off [pixel]: no finder is perfect
ROUNDING = 1e-4  # of ln radius
SKIES = ["sky", "sky_rms"]  # columns of every survey
FIELDS = ("sb", "cog", "e1", "e2")

Progress = Callable[[int, int | None, str], None]


class ProfileBatch(NamedTuple):
    """Polar maps and the profiles to learn from them, in the network's units; NaN where nothing is known.

    maps : light, good, weight (see sky.polar.PolarMap); radius : of the rings [pixel]
    sb, cog, mag : −2.5 log10 of light per pixel, inside the isophote, in all, in units of the sky's rms
    e1, e2 : shape; x, y : centre relative to the map's [pixel]
    """

    maps: Float[Tensor, "b c 3 r a"]
    radius: Float[Tensor, "r"]
    sb: Float[Tensor, "b c r"]
    cog: Float[Tensor, "b c r"]
    e1: Float[Tensor, "b c r"]
    e2: Float[Tensor, "b c r"]
    mag: Float[Tensor, "b c"]
    x: Float[Tensor, "b c"]
    y: Float[Tensor, "b c"]

    def to(self, device: torch.device | str) -> ProfileBatch:
        return ProfileBatch(*(part.to(device) for part in self))


@dataclass
class RingSet:
    """Objects of one survey, unrolled, beside their profiles. Maps: light in float32, good and weight in float16."""

    light: Float[Tensor, "n c r a"]
    seen: Float[Tensor, "n c 2 r a"]
    radius: Float[Tensor, "r"]
    profiles: dict[str, Float32[np.ndarray, "n c ..."]]

    def __len__(self) -> int:
        return len(self.light)

    def batch(self, rows: np.ndarray, bands: Sequence[int], turns: np.ndarray, mirrored: np.ndarray) -> ProfileBatch:
        """Some rows in some bands, each turned by so many ANGLES, after mirroring at the x axis where asked."""
        which, some = torch.from_numpy(np.asarray(rows)), torch.as_tensor(list(bands))
        maps = torch.cat([self.light[which][:, some, None], self.seen[which][:, some].float()], 2)
        angle = np.arange(ANGLES) - turns[:, None]
        angle = torch.from_numpy(np.where(mirrored[:, None], -angle, angle) % ANGLES)
        maps = maps.gather(-1, angle[:, None, None, None, :].expand(*maps.shape))
        parts = {name: values[rows][:, list(bands)] for name, values in self.profiles.items()}
        for real, imaginary, times in (("e1", "e2", 2), ("x", "y", 1)):
            parts[real], parts[imaginary] = _turned(parts[real], parts[imaginary], times, turns, mirrored)
        return ProfileBatch(maps, self.radius, **{name: torch.from_numpy(part) for name, part in parts.items()})


def _turned(real, imaginary, times: int, turns, mirrored) -> tuple[np.ndarray, np.ndarray]:
    """A quantity that turns `times` as fast as the image, after the image was mirrored and turned."""
    value = real + 1j * np.where(mirrored.reshape(-1, *[1] * (real.ndim - 1)), -imaginary, imaginary)
    value = value * np.exp(2j * np.pi * times * turns / ANGLES).reshape(-1, *[1] * (real.ndim - 1))
    return value.real.astype(np.float32), value.imag.astype(np.float32)


def read_rings(
    survey: Survey,
    target: str,
    ids: Sequence[str],
    *,
    seed: int,
    jitter: float = JITTER,
    progress: Progress | None = None,
) -> RingSet:
    """Unroll objects of a survey, and put the profiles called `target` (see `read_profiles`) on their rings.

    Raises RequestError if the survey has no such profiles, or none of the objects has one.
    """
    rows = survey.rows_of(ids)
    profiles = read_profiles(survey, target)
    rows = np.array([row for row in rows if any(profiles[row])], np.int64)
    if not len(rows):
        raise RequestError(f"no object asked for in {survey.path.name} has a profile {target!r}; choose another target")
    radius = radii(survey.info.shape)
    shape = (len(rows), len(survey.info.bands), len(radius), ANGLES)
    found = RingSet(torch.empty(shape), torch.empty(*shape[:2], 2, *shape[2:], dtype=torch.float16), radius, {})
    facts = {name: np.full(shape[:2], np.nan, np.float32) for name in ("x", "y", "rms")}

    stored = survey.table(SKIES)

    def fill(places: np.ndarray) -> int:
        _unroll_into(found, facts, survey, stored, rows, places, seed, jitter)
        return len(places)

    pieces = np.array_split(np.arange(len(rows)), max(1, len(rows) // CHUNK))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        done = 0
        for number in pool.map(fill, pieces):
            done += number
            if progress:
                progress(done, len(rows), f"unroll {survey.path.name}")
    found.profiles.update(_on_rings([profiles[row] for row in rows], facts, survey.info, radius.numpy()))
    return found


def _unroll_into(
    found: RingSet, facts, survey: Survey, stored: pa.Table, rows, places, seed: int, jitter: float
) -> None:
    flux, ivar = survey.cutouts_at(rows[places])
    level, rms = known_sky(stored, rows[places], flux, ivar)
    off = np.stack([np.random.default_rng([seed, 7, int(rows[k])]).normal(0, jitter, 2) for k in places])
    flux_, ivar_, level_, rms_, off_ = (
        torch.from_numpy(np.asarray(part, np.float32)) for part in (flux, ivar, level, rms, off)
    )
    with torch.inference_mode():
        maps, x, y = unroll_galaxies(flux_, ivar_, level_, rms_, found.radius, off_)
    found.light[places], found.seen[places] = maps[:, :, 0], maps[:, :, 1:].half()
    facts["x"][places], facts["y"][places] = x[:, None], y[:, None]
    facts["rms"][places] = rms


def known_sky(stored: pa.Table, rows, flux, ivar) -> tuple[np.ndarray, np.ndarray]:
    """Sky level and rms (b, c) of some rows: as stored, or measured on the cutouts where the survey does not know.

    stored : the columns SKIES of the whole survey
    """
    here = stored.take(rows).to_pylist()
    unknown = [np.nan] * flux.shape[1]
    level, rms = (np.array([row[name] or unknown for row in here], np.float64) for name in SKIES)
    missing = ~np.isfinite(rms).all(1)
    if missing.any():
        level[missing], rms[missing] = sky_level(flux[missing], ivar[missing])
    return level, rms


def _on_rings(profiles, facts, info: SurveyInfo, radius) -> dict[str, Float32[np.ndarray, "n c ..."]]:
    """Profiles on the rings' radii, in the network's units; NaN outside what a profile spans."""
    n, bands = len(profiles), len(info.bands)
    out = {name: np.full((n, bands, len(radius)), np.nan, np.float32) for name in FIELDS}
    out |= {name: np.full((n, bands), np.nan, np.float32) for name in ("mag", "x", "y")}
    scale = info.pixel_scale or 1.0
    for i, row in enumerate(profiles):
        for k, profile in enumerate(row):
            if profile is None:
                continue
            unit = unit_of_light(info.bands[k].zero_point, facts["rms"][i, k])
            values = _one(profile, radius * scale, unit, scale)
            for name in FIELDS:
                out[name][i, k] = values[name]
            out["mag"][i, k] = profile.mag - unit
            out["x"][i, k], out["y"][i, k] = profile.x - facts["x"][i, k], profile.y - facts["y"][i, k]
    return out


def unit_of_light(zero_point: float | None, rms):
    """Magnitude of one rms of the sky; instrumental without a zero point."""
    return (zero_point or 0.0) - 2.5 * np.log10(rms)


def _one(profile: Profile, sma, unit: float, scale: float) -> dict[str, np.ndarray]:
    at, knots = np.log(sma), np.log(profile.sma)
    at = np.where(np.abs(at - knots[0]) < ROUNDING, knots[0], at)
    doubled = 2 * np.radians(profile.angle)
    e1, e2 = profile.ellipticity * np.cos(doubled), profile.ellipticity * np.sin(doubled)
    values = {"sb": profile.sb - unit - 5 * np.log10(scale), "cog": profile.cog - unit, "e1": e1, "e2": e2}
    return {name: np.interp(at, knots, value, left=np.nan, right=np.nan) for name, value in values.items()}


def ring_batches(sets: Sequence[RingSet], batch: int, *, seed: int, start: int = 0) -> Iterator[ProfileBatch]:
    """For ever: `batch` band-images of one set, chosen by its number of objects; turns, mirrors and bands at random."""
    sizes = np.array([len(one) for one in sets], float)
    for step in count(start):
        draw = np.random.default_rng([seed, 2, step])
        one = sets[int(draw.choice(len(sets), p=sizes / sizes.sum()))]
        total = one.light.shape[1]
        bands = sorted(draw.choice(total, int(draw.integers(1, min(total, 4) + 1)), replace=False).tolist())
        number = max(1, batch // len(bands))
        rows = draw.integers(0, len(one), number)
        yield one.batch(rows, bands, draw.integers(0, ANGLES, number), draw.random(number) < 0.5)
