"""Galaxies drawn from two surveys for comparison: the same bands in one order, one unit of flux, one frame, no sky."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, Int64

from skyloom.data.cutout import Band
from skyloom.data.rings import SKIES, known_sky
from skyloom.data.store import Survey
from skyloom.errors import RequestError, UnitError
from skyloom.infer.suited import ALIASES

SAME_SCALE = 1.01  # largest ratio of pixel scales of which images are still compared pixel by pixel
TOGETHER = 16 << 20  # bytes of flux read at once


@dataclass(frozen=True)
class Frame:
    """What two surveys have in common once `matched`, in the terms of the real one.

    bands : their names and zero points; shape : (H, W) to which the centres of both are cut; notes : in words
    """

    bands: tuple[Band, ...]
    pixel_scale: float | None
    shape: tuple[int, int]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(band.name for band in self.bands)

    @property
    def reference(self) -> int:
        """The band in which shapes are measured: r where there is one, else the middle one."""
        return self.names.index("r") if "r" in self.names else len(self.bands) // 2


class Chunk(NamedTuple):
    """Some galaxies: flux without the sky, 0 at bad pixels; which pixels are good; rms of the sky, NaN if unknown."""

    flux: Float32[np.ndarray, "b c h w"]
    good: Bool[np.ndarray, "b c h w"]
    rms: Float[np.ndarray, "b c"]


@dataclass(frozen=True)
class Sample:
    """Some rows of a survey. planes : its bands in the frame's order; gain : its flux to the frame's unit, per band"""

    survey: Survey
    rows: Int64[np.ndarray, "n"]
    frame: Frame
    planes: tuple[int, ...]
    gain: Float[np.ndarray, "c"]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _skies(self) -> pa.Table:
        return self.survey.table(SKIES)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.survey.table(["object_id"])["object_id"].take(self.rows).to_pylist())

    def take(self, places: np.ndarray) -> Sample:
        return Sample(self.survey, self.rows[places], self.frame, self.planes, self.gain)

    def read(self) -> Iterator[Chunk]:
        """The galaxies in their order, in the frame's bands, unit of flux and shape.

        The sky is the stored one, or measured where the survey does not know it.
        """
        info = self.survey.info
        step = max(1, TOGETHER // (4 * len(info.bands) * info.shape[0] * info.shape[1]))
        corner = [(have - want) // 2 for have, want in zip(info.shape, self.frame.shape, strict=True)]
        rows, columns = (slice(low, low + side) for low, side in zip(corner, self.frame.shape, strict=True))
        planes, gain = list(self.planes), self.gain.astype(np.float32)
        for start in range(0, len(self), step):
            some = self.rows[start : start + step]
            flux, ivar = self.survey.cutouts_at(some)
            level, rms = (part[:, planes].astype(np.float32) for part in known_sky(self._skies, some, flux, ivar))
            flux, good = (part[..., rows, columns][:, planes] for part in (flux, ivar > 0))
            good &= np.isfinite(level)[..., None, None]
            flux = np.where(good, (flux - level[..., None, None]) * gain[:, None, None], np.float32(0))
            yield Chunk(flux, good, (rms * gain).astype(float))


def are_pieces(survey: Survey) -> bool:
    """Whether the cutouts are pieces of a field side by side (`ingest --catalogue grid`), and about no object."""
    if not {"x", "y"} <= set(survey.column_names) or not len(survey):
        return False
    table, (height, width) = survey.table(["x", "y"]), survey.info.shape
    if not all(pa.types.is_floating(kind) for kind in table.schema.types):
        return False
    x, y = (table[name].to_numpy() for name in ("x", "y"))
    whole = np.isfinite(x + y).all() and (x % 1 == 0).all() and (y % 1 == 0).all()
    return bool(whole and ((x - x[0]) % width == 0).all() and ((y - y[0]) % height == 0).all())


def matched(real: Survey, fake: Survey) -> tuple[Frame, tuple[int, ...], Float[np.ndarray, "c"]]:
    """The frame of two surveys, and the second one's planes and gain in it.

    Raises RequestError for different bands or pixel scales, UnitError for fluxes that cannot be put on one scale.
    """
    planes = _planes(real, fake)
    bands = tuple(fake.info.bands[plane] for plane in planes)
    notes = _same_pixels(real, fake)
    gain = np.array([_gain(one, other, real, fake) for one, other in zip(real.info.bands, bands, strict=True)])
    bare = [band.name for band in real.info.bands if band.zero_point is None]
    if bare:
        notes.append(f"No zero point for {', '.join(bare)}: magnitudes are instrumental, fluxes taken as of one unit.")
    height, width = (min(sides) for sides in zip(real.info.shape, fake.info.shape, strict=True))
    if real.info.shape != fake.info.shape:
        frames = " and ".join(f"{one.info.shape[0]}×{one.info.shape[1]}" for one in (real, fake))
        notes.append(f"Cutouts have {frames} pixels: compared on the central {height}×{width}.")
    if real.content_hash == fake.content_hash:
        notes.append("REAL and FAKE hold the same pixels: galaxies may be compared with themselves.")
    return Frame(real.info.bands, real.info.pixel_scale, (height, width), tuple(notes)), planes, gain


def drawn(real: Survey, fake: Survey, n: int | None = None, seed: int = 0) -> tuple[Sample, Sample, int]:
    """A pool of real galaxies, as many fake ones as are compared, and their number n; both in the same frame.

    n : None: as many as leave a second, disjoint set of n real galaxies, for the null. The pool holds up to 2n; the
        first n are those to compare.
    """
    frame, planes, gain = matched(real, fake)
    have = len(real), len(fake)
    count = min(have[1], max(1, have[0] // 2)) if n is None else n
    if not 0 < count <= min(have):
        raise RequestError(
            f"n={count} of {have[0]} galaxies in {real.path.name} and {have[1]} in {fake.path.name}; "
            + (f"ask for 1 to {min(have)}" if min(have) else "there is nothing to compare")
        )
    orders = [np.random.default_rng([seed, side]).permutation(size) for side, size in enumerate(have)]
    own = tuple(range(len(frame.bands)))
    pool = Sample(real, orders[0][: 2 * count], frame, own, np.ones(len(own)))
    return pool, Sample(fake, orders[1][:count], frame, planes, gain), count


def like(sample: Sample, survey: Survey, rows: np.ndarray | None = None) -> Sample:
    """All rows, or some, of another survey in the frame of a sample; errors as in `matched`."""
    _, planes, gain = matched(sample.survey, survey)
    if any(have < want for have, want in zip(survey.info.shape, sample.frame.shape, strict=True)):
        raise RequestError(
            f"cutouts of {survey.path.name} have {survey.info.shape} pixels, fewer than the {sample.frame.shape} "
            "compared; give a survey of cutouts at least as large"
        )
    return Sample(survey, np.arange(len(survey)) if rows is None else rows, sample.frame, planes, gain)


def _planes(real: Survey, fake: Survey) -> tuple[int, ...]:
    ours, theirs = (list(one.info.band_names) for one in (real, fake))
    if sorted(ours) != sorted(theirs):
        ours, theirs = ([ALIASES.get(name, name) for name in names] for names in (ours, theirs))
    if sorted(ours) != sorted(theirs):
        raise RequestError(
            f"{real.path.name} has bands {', '.join(real.info.band_names)} and {fake.path.name} "
            f"{', '.join(fake.info.band_names)}; a distance between different bands means nothing: compare surveys "
            "of the same ones"
        )
    return tuple(theirs.index(name) for name in ours)


def _same_pixels(real: Survey, fake: Survey) -> list[str]:
    """What there is to say on the pixel scales; RequestError where they differ."""
    ours, theirs = real.info.pixel_scale, fake.info.pixel_scale
    if ours is None and theirs is None:
        return ["No pixel scale: sizes and the aperture are in pixels, taken as equally large."]
    if ours is None or theirs is None or not 1 / SAME_SCALE <= ours / theirs <= SAME_SCALE:
        said = ["unknown size" if scale is None else f"{scale:g} arcsec" for scale in (ours, theirs)]
        raise RequestError(
            f"pixels of {real.path.name} have {said[0]} and those of {fake.path.name} {said[1]}; a galaxy would look "
            "of different size in them: resample one, or ingest it with --pixel-scale"
        )
    return []


def _gain(real: Band, fake: Band, survey: Survey, other: Survey) -> float:
    """Factor from the fake band's unit of flux to the real one's."""
    points = real.zero_point, fake.zero_point
    if points == (None, None) and (not real.unit or not fake.unit or real.unit == fake.unit):
        return 1.0
    if points[0] is None or points[1] is None:
        said = [f"zero point {band.zero_point}, unit {band.unit}" for band in (real, fake)]
        raise UnitError(
            f"band {real.name} has {said[0]} in {survey.path.name} and {said[1]} in {other.path.name}, so their fluxes "
            f"cannot be compared; ingest again with --zero-point {real.name}=MAG"
        )
    return float(10 ** (0.4 * (points[0] - points[1])))
