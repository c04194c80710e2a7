"""Trails of satellites and aeroplanes: straight strips of light, drawn for tests and found in images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import sep
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array
from skimage.measure import block_reduce
from skimage.transform import hough_line_peaks

FWHM = 2.3548  # of a Gaussian, in its σ
WING = 0.005  # share of the ridge's light down to which a trail is masked

LARGEST = 128  # side of the image that is searched; larger ones are binned [pixel]
CLIPPED = (-2.0, 3.0)  # between which a pixel counts: a star is no trail [rms]
SHORTEST = 0.6  # chord of a line that is looked at, in terms of the image's shorter side
STRIPS = (1, 3, 7)  # widths that are tried [pixel of the searched image]
CUTS = 8  # parts of the image's diagonal, and so of every line in it, in the search
FULL = 3.0  # S/N that one of these parts adds at most: a galaxy is no trail
LIKELY = 4.0  # S/N of a line from which it is looked at
TRIED, MOST = 8, 6  # lines looked at in one go, and trails found, at most in one image
PARTS = 10  # that a line is then cut into
FEWEST = 5  # parts that must have dark flanks: the rest lie on galaxies
FLANK = 2.0  # a flank is dark below this [rms], or below the trail's own light
SURE, FAINT = 5.5, 3.5  # S/N of the other parts that makes a trail, and the same trail in another band
EVEN = 0.3  # least light of either end of a trail, and of its dull parts, in terms of the middle's
LONG = 100  # a trail that ends inside the image is no shorter than this [pixel], nor than 25 of its half-widths
REACH = (12, 64)  # least and most distance from a line to which its flanks are looked at [pixel]
WIDEST = 0.6  # half-width of a trail, in terms of that
STEP = 2.0  # by which a line is moved at once, at most [pixel]
MARGIN = 1.5  # by which a mask is grown on every side [pixel]


@dataclass(frozen=True)
class Trail:
    """A straight strip with a Gaussian cross-section.

    angle : of its direction, from +x towards +y [rad]; offset : distance from the image's centre, to the left of that
        direction [pixel]
    width : full width at half maximum [pixel]; brightness : of the ridge [flux/pixel]
    period : along the strip, of its brightness [pixel]; depth : 0 steady, 1 dark once a period; phase [rad]
    """

    angle: float
    offset: float
    width: float
    brightness: float
    period: float = np.inf
    depth: float = 0.0
    phase: float = 0.0


def random_trail(
    rng: np.random.Generator,
    shape: tuple[int, int],
    width: tuple[float, float] = (1.5, 6.0),
    brightness: tuple[float, float] = (3.0, 100.0),
) -> Trail:
    """A trail of any direction that passes the centre within a third of the image's shorter side.

    width, brightness : between which each is drawn, log-uniformly; half of all trails are periodic
    Source: Smith 2022 (thesis), §4.4.2: random direction, brightness, width and periodicity.
    We differ: the thesis gives no ranges; these are ours.
    """
    periodic = rng.random() < 0.5
    return Trail(
        angle=rng.uniform(0, np.pi),
        offset=min(shape) / 3 * rng.uniform(-1, 1),
        width=float(np.exp(rng.uniform(*np.log(width)))),
        brightness=float(np.exp(rng.uniform(*np.log(brightness)))),
        period=rng.uniform(4, 32) if periodic else np.inf,
        depth=rng.uniform(0.2, 1) if periodic else 0.0,
        phase=rng.uniform(0, 2 * np.pi),
    )


def draw_trail(shape: tuple[int, int], trail: Trail) -> tuple[Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The trail's light, in the unit of its brightness, and the pixels that it spoils: dark parts of a period too."""
    along, across = _along_and_across(shape, trail.angle, trail.offset)
    strip = np.exp(-0.5 * (across * FWHM / trail.width) ** 2)
    beat = 1 - trail.depth * (0.5 + 0.5 * np.cos(2 * np.pi * along / trail.period + trail.phase))
    return trail.brightness * strip * beat, strip > WING


class Line(NamedTuple):
    """A trail as it was found. angle, offset : see `Trail`; half_width : of its mask; start, end : along it [pixel]

    snr : of its light above its flanks, the extreme parts left out
    """

    angle: float
    offset: float
    half_width: float
    start: float
    end: float
    snr: float


def find_trails(
    flux: Float[np.ndarray, "c h w"],
    ivar: Float[np.ndarray, "c h w"],
    sky: Float[np.ndarray, "c"],
    sky_rms: Float[np.ndarray, "c"],
) -> Bool[np.ndarray, "c h w"]:
    """True where a trail lies on the image, wings and a margin included; a line found in one band is looked for in all.

    flux : linear; ivar : pixels with 0 are not read; sky, sky_rms : level and rms per pixel [flux]
    docs/inpaint.md says how faint a trail is found, and how often one is found where there is none.
    """
    level, rms = (np.asarray(values, float)[:, None, None] for values in (sky, sky_rms))
    with np.errstate(all="ignore"):
        signal = (flux - level) / rms
    good = (ivar > 0) & np.isfinite(signal) & (rms > 0)
    signal = np.where(good, signal, 0).astype(np.float32)
    mask = np.zeros(flux.shape, bool)
    for band in range(len(flux)):
        for line in lines(signal[band], good[band]):
            mask[band] |= covered(line, flux.shape[1:])
            for other in set(range(len(flux))) - {band}:
                same = followed(signal[other], good[other], line.angle, line.offset, FAINT)
                if same is not None:
                    wider = same._replace(half_width=max(same.half_width, line.half_width))
                    mask[other] |= covered(wider, flux.shape[1:])
    return mask


def covered(line: Line, shape: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a line, up to its half-width from it and between its ends."""
    along, across = _along_and_across(shape, line.angle, line.offset)
    return (np.abs(across) <= line.half_width) & (along >= line.start) & (along <= line.end)


def lines(signal: Float[np.ndarray, "h w"], good: Bool[np.ndarray, "h w"]) -> list[Line]:
    """The trails of one band, one after another, each without the pixels of those before it.

    signal : sky-subtracted, in units of the noise
    """
    found: list[Line] = []
    good = good.copy()
    while len(found) < MOST:
        tried = (followed(signal, good, *place) for place in likely(signal, good))
        line = next((one for one in tried if one is not None), None)
        if line is None:
            break
        found.append(line)
        good &= ~covered(line, signal.shape)
    return found


def likely(signal: Float[np.ndarray, "h w"], good: Bool[np.ndarray, "h w"]) -> list[tuple[float, float]]:
    """Angle and offset of the lines that stand out from their flanks along much of their length, the best first.

    The Hough transform of clipped, background-subtracted pixels, part by part along each line. No part adds more than
    FULL to a line's S/N, so that a galaxy, bright in one or two of them, is no line; a trail is bright in all.
    """
    size = -(-max(signal.shape) // LARGEST)
    signal, good = _binned(signal, good, size)
    smooth = sep.Background(np.ascontiguousarray(signal, np.float32), mask=~good, bw=8, bh=8, fw=3, fh=3).back()
    pixels = np.where(good, np.clip(signal - smooth, *CLIPPED), 0)
    table, angles, distances = _hough_table(signal.shape)
    sums = table @ np.stack([pixels.ravel(), good.ravel()], 1).astype(np.float32)
    light, count = sums.reshape(len(angles), CUTS, len(distances), 2).transpose(3, 0, 1, 2)
    best = np.max([_standing_out(light, count, width, min(signal.shape)) for width in STRIPS], axis=0)
    _, normals, offsets = hough_line_peaks(
        np.maximum(best, 0).T, angles, distances, min_distance=3, min_angle=3, threshold=LIKELY, num_peaks=TRIED
    )
    return [(normal - np.pi / 2, offset * size) for normal, offset in zip(normals, offsets, strict=True)]


def _binned(signal, good, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of size × size pixels, in units of their noise; the image is first made symmetric about its centre."""
    if size == 1:
        return signal, good
    short = [(-side % size) for side in signal.shape]
    pad = [(lack // 2, lack - lack // 2) for lack in short]
    total = block_reduce(np.pad(np.where(good, signal, 0), pad), size, np.sum)
    count = block_reduce(np.pad(good, pad), size, np.sum)
    return total / np.sqrt(np.maximum(count, 1)), count > size**2 / 2


@lru_cache(maxsize=4)
def _hough_table(shape: tuple[int, int]) -> tuple[csr_array, Float[np.ndarray, "a"], Int[np.ndarray, "d"]]:
    """Which line each pixel lies on, for every angle of the normal: a matrix (angle × part × distance, pixel).

    Our own table, for one product with it transforms all planes at once, in parts: skimage's `radon` needs 100 times
    as long and its `hough_line` 10 times.
    """
    y, x = (axis.ravel() - (side - 1) / 2 for axis, side in zip(np.indices(shape), shape, strict=True))
    diagonal = np.hypot(*shape)
    angles = np.linspace(-np.pi / 2, np.pi / 2, int(1.7 * max(shape)), endpoint=False)
    reach = int(np.ceil(diagonal / 2))
    distances = np.arange(-reach, reach + 1)
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    column = np.rint(x * cosine + y * sine).astype(np.int64) + reach
    part = np.clip((((y * cosine - x * sine) / diagonal + 0.5) * CUTS).astype(np.int64), 0, CUTS - 1)
    row = (np.arange(len(angles))[:, None] * CUTS + part) * len(distances) + column
    pixel = np.broadcast_to(np.arange(x.size), row.shape)
    ones = np.ones(row.size, np.float32)
    size = (len(angles) * CUTS * len(distances), x.size)
    return csr_array((ones, (row.ravel(), pixel.ravel())), shape=size), angles, distances


def _standing_out(light, count, width: int, side: int) -> Float[np.ndarray, "a d"]:
    """S/N of strips of a width above the flanks on both sides, each part counted up to FULL; 0 for short lines."""
    flank, gap = max(4, width), max(1, width // 2)
    (core, flanks), (n, m) = (_strips(values, width, flank, gap) for values in (light, count))
    with np.errstate(all="ignore"):
        snr = (core - n * flanks / m) / np.sqrt(n * (1 + n / m))
    weight = np.where((m > n / 2) & (n > 0), n, 0)
    snr = np.where(weight > 0, snr, 0)
    total = weight.sum(1)
    one = (np.minimum(snr, FULL) + 0.01 * snr) * np.sqrt(weight)  # the little that is left over ranks bright trails
    return np.where(total > SHORTEST * side * width, one.sum(1) / np.sqrt(np.maximum(total, 1)), 0)


def _strips(values: Float[np.ndarray, "a p d"], width: int, flank: int, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums over `width` distances about each, and over `flank` distances on either side beyond a gap."""
    pad = width + gap + flank + 1
    sums = np.cumsum(np.pad(values, ((0, 0), (0, 0), (pad + 1, pad))), axis=-1, dtype=np.float64)
    first = np.arange(values.shape[-1]) + pad - (width - 1) // 2

    def between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return sums[..., high] - sums[..., low]

    last = first + width
    return between(first, last), between(first - gap - flank, first - gap) + between(last + gap, last + gap + flank)


def followed(
    signal: Float[np.ndarray, "h w"], good: Bool[np.ndarray, "h w"], angle: float, offset: float, sure: float = SURE
) -> Line | None:
    """The trail near a line, its place, width and ends measured; None if there is none that is sure, even and long."""
    reach = int(np.clip(min(signal.shape) / 4, *REACH))
    for _ in range(3):
        strip, start = _straightened(signal, good, angle, offset, reach)
        if len(strip) < SHORTEST * min(signal.shape):
            return None
        half_width = _half_width(strip)
        slope, shift = _bend(strip, start, half_width)
        angle, offset = angle + np.arctan(slope), offset + shift
    strip, start = _straightened(signal, good, angle, offset, reach)
    return _judged(strip, Line(angle, offset, half_width + MARGIN, start, start + len(strip), 0.0), half_width, sure)


def _straightened(signal, good, angle: float, offset: float, reach: int) -> tuple[Float[np.ndarray, "t d"], float]:
    """Pixels nearest to a grid along the line and up to `reach` on either side, NaN where bad; and where it begins.

    Rows in which the line itself lies beside the image are left out.
    """
    h, w = signal.shape
    half = int(np.hypot(h, w) / 2) + 1
    along, across = np.arange(-half, half + 1)[:, None], offset + np.arange(-reach, reach + 1)
    x = np.rint((w - 1) / 2 + along * np.cos(angle) - across * np.sin(angle)).astype(int)
    y = np.rint((h - 1) / 2 + along * np.sin(angle) + across * np.cos(angle)).astype(int)
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    x, y = np.where(inside, x, 0), np.where(inside, y, 0)
    strip = np.where(inside & good[y, x], signal[y, x], np.nan)
    rows = np.flatnonzero(inside[:, reach])
    if rows.size == 0:
        return strip[:0], 0.0
    return strip[rows[0] : rows[-1] + 1], float(along[rows[0], 0])


def _median(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Along the first axis, of the values that are numbers, and its error where each has an error of 1."""
    ordered, count = np.sort(values, axis=0), np.isfinite(values).sum(0)
    pick = [np.maximum(count - 1 + extra, 0)[None] // 2 for extra in (0, 1)]
    middle = sum(np.take_along_axis(ordered, place, 0)[0] for place in pick) / 2
    return middle, np.where(count > 0, 1.25 / np.sqrt(np.maximum(count, 1)), np.nan)


def _half_width(strip: Float[np.ndarray, "t d"]) -> float:
    """Distance from the ridge at which the median light falls into the noise [pixel]."""
    reach = strip.shape[1] // 2
    profile, error = _median(strip)
    place = np.abs(np.arange(-reach, reach + 1))
    outer = profile[(place > WIDEST * reach) & np.isfinite(profile)]
    excess = np.nan_to_num(profile - (np.median(outer) if outer.size else 0.0))
    middle = int(np.argmax(np.where(place <= 2, excess, -np.inf)))
    above = excess > np.maximum(2 * np.nan_to_num(error, nan=1.0), WING * excess[middle])
    sides = [np.flatnonzero(~side) for side in (above[middle::-1], above[middle:])]
    return float(np.clip(max(side[0] if side.size else reach for side in sides), 1, WIDEST * reach))


def _bend(strip: Float[np.ndarray, "t d"], start: float, half_width: float) -> tuple[float, float]:
    """Slope and shift of the ridge against the line, from the middle of its light in each part; robust to galaxies.

    The medians of Theil and Sen; no end is moved by more than STEP.
    """
    reach = strip.shape[1] // 2
    place = np.arange(-reach, reach + 1)
    near = np.abs(place) <= half_width + 1
    times, places = [], []
    for rows in np.array_split(np.arange(len(strip)), PARTS):
        profile, error = _median(strip[rows])
        profile = profile - np.nanmedian(profile[~near])
        light = np.maximum(np.nan_to_num(profile[near]), 0)
        if light.sum() > 2 * np.sqrt(np.nansum(error[near] ** 2)):
            times.append(start + rows.mean())
            places.append(float((light * place[near]).sum() / light.sum()))
    if len(times) < 3:
        return 0.0, 0.0
    t, d, most = np.array(times), np.array(places), 2 * STEP / len(strip)
    first, second = np.triu_indices(len(t), 1)
    slope = float(np.clip(np.median((d[second] - d[first]) / (t[second] - t[first])), -most, most))
    return slope, float(np.clip(np.median(d - slope * t), -STEP, STEP))


def _judged(strip: Float[np.ndarray, "t d"], line: Line, half_width: float, sure: float) -> Line | None:
    """The line, from border to border or else between its own ends, with its S/N; None if it is no trail."""
    snr = _snr_if_even(*_above_flanks(strip, half_width, PARTS))
    if snr > sure:
        return line._replace(start=-np.inf, end=np.inf, snr=snr)
    if len(strip) < LONG:
        return None
    parts = int(len(strip) / max(8, half_width))
    first, last = (int(place * len(strip) / parts) for place in _ends(*_above_flanks(strip, half_width, parts)))
    if last - first < max(LONG, 25 * half_width):
        return None
    snr = _snr_if_even(*_above_flanks(strip[first:last], half_width, PARTS))
    grown = len(strip) / parts + MARGIN
    start, end = line.start + first - grown, line.start + last + grown
    return line._replace(start=start, end=end, snr=snr) if snr > sure else None


def _above_flanks(strip, half_width: float, parts: int) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "p"]]:
    """Mean light of each part above its brighter flank, and its error.

    NaN where a flank has no pixels, or is itself so bright that a galaxy lies there.
    """
    place = np.arange(strip.shape[1]) - strip.shape[1] // 2
    core = np.abs(place) <= max(0.6 * half_width, 1.0)
    sides = [(side * place > half_width + 1) & (side * place <= 2 * half_width + 6) for side in (-1, 1)]
    rows = -(-len(strip) // parts)
    padded = np.full((rows * parts, strip.shape[1]), np.nan)
    padded[np.linspace(0, rows * parts - 1, len(strip)).astype(int)] = strip
    blocks = padded.reshape(parts, rows, -1).transpose(1, 2, 0)
    (left, left_error), (right, right_error) = (_median(blocks[:, side].reshape(-1, parts)) for side in sides)
    light = blocks[:, core].reshape(-1, parts)
    count = np.isfinite(light).sum(0)
    with np.errstate(all="ignore"):
        middle, error = np.nansum(light, 0) / count, 1 / np.sqrt(count)
    flank = np.maximum(left, right)
    excess = middle - flank
    dark = flank < np.maximum(FLANK, excess)
    return np.where(dark, excess, np.nan), np.where(dark, np.hypot(error, np.minimum(left_error, right_error)), np.nan)


def _snr_if_even(excess: Float[np.ndarray, "p"], error: Float[np.ndarray, "p"]) -> float:
    """S/N of the parts between the extremes, by their median; 0 for light that is not spread along the whole line.

    So for a galaxy, an edge-on one too, which is faint at either end, and for sources that stand in a row.
    """
    known = np.isfinite(excess)
    if known.sum() < FEWEST:
        return 0.0
    first, inner, last = (float(np.median(part)) for part in np.array_split(excess[known], 3))
    order = np.argsort(excess[known])
    usual = np.flatnonzero(known)[order][len(order) // 4 : len(order) - len(order) // 4]
    middle, noise = float(np.median(excess[usual])), float(error[usual].mean())
    even = min(first, last) > EVEN * inner and excess[usual[0]] + noise > EVEN * middle
    return middle * np.sqrt(len(usual)) / (1.25 * noise) if even else 0.0


def _ends(excess, error) -> tuple[int, int]:
    """First and last part (excluded) of the run that holds most light above four tenths of a typical part's."""
    seen = excess[np.nan_to_num(excess / error, nan=0) > 2]
    level = np.median(seen) if seen.size else 1.0
    score = np.nan_to_num(np.minimum(excess / level, 1.0) - 0.4, nan=0.0)
    best, start, run, place = -np.inf, 0, 0.0, (0, len(score))
    for number, value in enumerate(score):
        if run <= 0:
            run, start = 0.0, number
        run += value
        if run > best:
            best, place = run, (start, number + 1)
    return place


def _along_and_across(shape, angle: float, offset: float) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Coordinates of every pixel along a line and to the left of it [pixel], from the point nearest to the centre."""
    y, x = np.indices(shape, dtype=float)
    x, y = x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle) - offset
