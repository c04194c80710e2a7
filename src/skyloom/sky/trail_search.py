"""Trails of satellites and aeroplanes, found: straight strips of light that cross an image and whatever lies in it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import median_filter
from scipy.sparse import csr_array
from skimage.measure import block_reduce
from skimage.transform import hough_line_peaks

from skyloom.sky.trails import WING, along_and_across

LARGEST = 128  # side of the image that is searched; larger ones are binned [pixel]
CLIPPED = (-2.0, 3.0)  # between which a pixel counts: a star is no trail [rms]
SHORTEST = 0.6  # chord of a line that is looked at, in terms of the image's shorter side
STRIPS = (1, 3, 7)  # widths that are tried [pixel of the searched image]
CUTS = 8  # parts of the image's diagonal, and so of every line in it, in the search
FULL = 3.0  # S/N that one of these parts adds at most: a galaxy is no trail
LIKELY = 4.0  # S/N of a line from which it is looked at
TRIED, MOST = 8, 6  # lines looked at in one go, and trails found, at most in one image
BENT, PARTS = 10, 30  # parts that a line is then cut into, to lay it right and to judge it
FEWEST = 3  # parts of either end third that must have dark flanks; where they have not there is a galaxy
FLANK, FAINTER = 2.0, 0.5  # a flank is dark below this [rms], or below so much of the trail's own light
SURE, FAINT = 5.5, 3.5  # S/N of these parts that makes a trail, and the same trail in another band
EVEN, FADING = 0.5, 0.5  # least light of the dull parts of either end third, and of its outer half
SPARED = 2.5  # errors by which the dullest part may be brighter than it looks
ROUNDS, NEARER = 4, 0.8  # places of a line that are judged; the last one wins, unless its S/N fell below so much
CLEAN = 0.3  # share of the rows along a line, those with the darkest flanks, on which its width is measured
BROAD = 13  # side of the window whose median is taken for the light of galaxies in the search [pixel]
LONG = 100  # a trail that ends inside the image is no shorter than this [pixel], nor than 25 of its half-widths
REACH = (12, 64)  # least and most distance from a line to which its flanks are looked at [pixel]
WIDEST = 0.6  # half-width of a trail, in terms of that
STEP = 2.0  # by which a line is moved at once, at most [pixel]
MARGIN = 1.5  # by which a mask is grown on every side [pixel]


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
    along, across = along_and_across(shape, line.angle, line.offset)
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
    smooth = median_filter(np.where(good, signal, 0), BROAD, mode="reflect")
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
    best: Line | None = None
    for _ in range(ROUNDS):
        strip, start = _straightened(signal, good, angle, offset, reach)
        if len(strip) < SHORTEST * min(signal.shape):
            break
        half_width = _half_width(strip)
        line = Line(angle, offset, half_width + MARGIN, start, start + len(strip), 0.0)
        found = _judged(strip, line, half_width, sure)
        if found is not None and (best is None or found.snr > NEARER * best.snr):
            best = found
        slope, shift = _bend(strip, start, half_width)
        angle, offset = angle + np.arctan(slope), offset + shift
    return best


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


def _baseline(profile: Float[np.ndarray, "d"], place: Int[np.ndarray, "d"], near: float) -> Float[np.ndarray, "d"]:
    """The straight line through the medians of the flanks beyond `near`; level where one of the two is not known."""
    sides = [(place < -near) & np.isfinite(profile), (place > near) & np.isfinite(profile)]
    points = [(float(place[side].mean()), float(np.median(profile[side]))) for side in sides if side.any()]
    if len(points) < 2:
        return np.full(len(place), points[0][1] if points else 0.0)
    (left, low), (right, high) = points
    return low + (high - low) * (place - left) / (right - left)


def _half_width(strip: Float[np.ndarray, "t d"]) -> float:
    """Distance from the ridge at which the median light falls into the noise [pixel], where no galaxy is near."""
    reach = strip.shape[1] // 2
    along = np.arange(-reach, reach + 1)
    place = np.abs(along)
    sides = [np.abs(_median(strip[:, side * along > WIDEST * reach].T)[0]) for side in (-1, 1)]
    flanks = np.nan_to_num(np.fmax(*sides), nan=np.inf)
    profile, error = _median(strip[np.argsort(flanks, kind="stable")[: max(1, int(CLEAN * len(strip)))]])
    excess = np.nan_to_num(profile - _baseline(profile, along, WIDEST * reach))
    middle = int(np.argmax(np.where(place <= 2, excess, -np.inf)))
    above = excess > np.maximum(2 * np.nan_to_num(error, nan=1.0), WING * excess[middle])
    sides = [np.flatnonzero(~side) for side in (above[middle::-1], above[middle:])]
    return float(np.clip(np.mean([side[0] if side.size else reach for side in sides]), 1, WIDEST * reach))


def _bend(strip: Float[np.ndarray, "t d"], start: float, half_width: float) -> tuple[float, float]:
    """Slope and shift of the ridge against the line, from the middle of its light in each part; robust to galaxies.

    The medians of Theil and Sen; no end is moved by more than STEP.
    """
    reach = strip.shape[1] // 2
    place = np.arange(-reach, reach + 1)
    near = np.abs(place) <= half_width + 1
    times, places = [], []
    for rows in np.array_split(np.arange(len(strip)), BENT):
        profile, error = _median(strip[rows])
        base = _baseline(profile, place, half_width + 1)
        profile = profile - base
        if np.max(base) > max(FLANK, FAINTER * float(np.nanmax(profile[near], initial=0))):
            continue  # a galaxy lies there, and its light would bend the line towards it
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
    step = len(strip) / parts  # of either end's own part only a piece may be lit
    snr = _snr_if_even(*_above_flanks(strip[first + int(step) : last - int(step)], half_width, PARTS))
    grown = step + MARGIN
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
    dark = flank < np.maximum(FLANK, FAINTER * excess)
    return np.where(dark, excess, np.nan), np.where(dark, np.hypot(error, np.minimum(left_error, right_error)), np.nan)


def _snr_if_even(excess: Float[np.ndarray, "p"], error: Float[np.ndarray, "p"]) -> float:
    """S/N of the end thirds of a line, by the median of their parts; 0 for light that is not the same all along either.

    A trail crosses a galaxy and goes on beyond it; a galaxy, an edge-on one too, fades outwards, and sources that stand
    in a row leave gaps. What lies in the middle third says nothing.
    """
    third, parts, errors = len(excess) // 3, [], []
    for inward in (slice(None, third), slice(None, -third - 1, -1)):
        known = np.isfinite(excess[inward])
        end, noise = excess[inward][known], error[inward][known]
        if len(end) < FEWEST:
            return 0.0
        outer, inner = (float(np.median(half)) for half in np.array_split(end, 2))
        if outer < FADING * inner or end.min() + SPARED * noise.mean() < EVEN * np.median(end):
            return 0.0
        parts.append(end)
        errors.append(noise)
    light, noise = np.concatenate(parts), float(np.concatenate(errors).mean())
    return float(np.median(light)) * np.sqrt(len(light)) / (1.25 * noise)


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
