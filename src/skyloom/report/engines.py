"""The chapter on two engines that measured the same galaxies: profiles side by side, and how far they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skyloom.metrics.calibration import interval
from skyloom.metrics.matching import pairs
from skyloom.metrics.profiles import BINS, Points, agreement, deviations
from skyloom.metrics.score import median
from skyloom.report.drawing import SCREEN, Palette, inline_svg, margins
from skyloom.report.markup import Chapter, count, figure, number, paragraph, table, with_error
from skyloom.report.measurements import Measured
from skyloom.report.profiles import ROOT

SHOWN = 8  # galaxies whose profiles are drawn
CLASSICAL = "isophotes"  # the engine that others are compared with, where it is there
STEP = 0.5  # width of the bins of the summary [mag/arcsec²]
FEWEST = 20  # points of a bin that is drawn
SHADES = ((0.90, 0.16), (0.68, 0.28))  # levels of the intervals that are shaded, and how densely


class Duel:
    """One survey measured by two engines. first : isophotes, if it is one of the two; second : the other"""

    def __init__(self, first: Measured, second: Measured):
        self.first, self.second = first, second

    @cached_property
    def points(self) -> Points:
        """The second engine's points in all bands that both measured, beside the first's profiles."""
        return deviations(self.second.table, self.first.table)

    @property
    def names(self) -> tuple[str, str]:
        return self.first.engine, self.second.engine

    def rows(self, count: int) -> list[tuple[pa.Table, pa.Table]]:
        """The first's largest galaxies in its reference band that both engines have a profile of: one row each."""
        ours, theirs = pairs(self.second.rows, self.first.rows)
        known = self.first.rows.take(theirs)["object_id"].to_pylist()
        places = dict(zip(known, zip(theirs.tolist(), ours.tolist(), strict=True), strict=True))
        found = []
        for row in self.first.largest(len(self.first.rows)):
            if row["object_id"] in places:
                one, other = places[row["object_id"]]
                found.append((self.first.rows.slice(one, 1), self.second.rows.slice(other, 1)))
        return [pair for pair in found if pair[1]["sma"][0].as_py()][:count]


def duels(tables: Sequence[Measured]) -> list[Duel]:
    """Every engine's table with that of isophotes, or of the first engine given, on the same survey and objects."""
    found = []
    for k, one in enumerate(tables):
        for other in tables[k + 1 :]:
            if one.engine == other.engine or not set(one.hashes) & set(other.hashes) or not _overlap(one, other):
                continue
            first, second = (other, one) if other.engine == CLASSICAL else (one, other)
            if first.engine == CLASSICAL or not any(three.engine == CLASSICAL for three in tables):
                found.append(Duel(first, second))
    return found


def _overlap(one: Measured, other: Measured) -> bool:
    objects, bands = ([set(m.table[name].to_pylist()) for m in (one, other)] for name in ("object_id", "band"))
    return bool(objects[0] & objects[1]) and one.reference == other.reference and bool(bands[0] & bands[1])


def duel_chapter(duel: Duel, title: str, name: str) -> Chapter:
    """How far two engines differ on all galaxies, and their profiles of the largest. name : unique on the page"""
    first, second = (escape(engine) for engine in duel.names)
    shared = len(np.unique(duel.points.galaxy))
    said = paragraph(
        f"{first} and {second} measured the same pixels. {count(shared, 'galaxy')} have a profile by both; every point "
        f"of {second} is set beside {first} at the same radius, in all bands that both measured. Differences are "
        f"{second} − {first}: positive where {second} is fainter."
    )
    if not shared:
        return Chapter(title, said)
    return Chapter(title, said + _numbers(duel) + _summary(duel, name) + _galaxies(duel, name))


def _numbers(duel: Duel) -> str:
    """The table of differences by surface brightness."""
    lines = []
    for low, high in BINS:
        here = duel.points.between(low, high)
        size, shift, within = (
            median(np.abs(here.deviation), "", here.galaxy),
            median(here.deviation, "", here.galaxy),
            agreement(here),
        )
        share = with_error(100 * within.value, 100 * within.error, 1)
        where = f"below {high:g}" if low == 0 else f"{low:g}–{high:g}"
        galaxies = len(np.unique(here.galaxy))
        lines.append(
            (where, f"{size.n:,}", f"{galaxies:,}", *(with_error(s.value, s.error, 3) for s in (size, shift)), share)
        )
    head = (
        f"μ of {escape(duel.first.engine)} [mag arcsec<sup>−2</sup>]",
        "points",
        "galaxies",
        "median |Δμ|",
        "median Δμ",
        "within 2σ of both [%]",
    )
    return table(head, lines)


def _summary(duel: Duel, name: str) -> str:
    svg = inline_svg(
        lambda f: draw_difference(f, duel.points, duel.names, SCREEN), 10.4, 3.3, f"{name}-all", "Differences"
    )
    stated = [one.engine for one in (duel.first, duel.second) if _states_errors(one)]
    errors = " and ".join(escape(engine) for engine in stated) or "neither engine"
    caption = (
        f"Left: difference against surface brightness; each point one ring, <span class='accent'>orange</span> the "
        f"median and the middle 68 %. Right: difference in units of the combined 1σ error, as stated by {errors}, and "
        "a normal law; the outermost bars hold what lies beyond. Errors of the numbers above are from a bootstrap over "
        "galaxies."
    )
    return figure(svg, caption, "drawn")


def _states_errors(measured: Measured) -> bool:
    errors = pc.list_flatten(measured.table["sb_error"]).to_numpy(zero_copy_only=False)
    return bool(np.isfinite(errors.astype(float)).any())


def draw_difference(drawing: Figure, points: Points, names: tuple[str, str], palette: Palette) -> None:
    """Second engine less first, against surface brightness, and as a histogram in units of the combined errors."""
    against, pulls = drawing.subplots(1, 2, width_ratios=(1.7, 1))
    margins(drawing, 0.6, 0.45, wspace=0.2)
    shown = np.random.default_rng(0).permutation(len(points.radius))[:4000]
    against.plot(
        points.reference[shown], points.deviation[shown], ".", color=palette.ink, ms=1.6, mew=0, alpha=0.3, zorder=1
    )
    middle, low, centre, high = running(points.reference, points.deviation)
    against.fill_between(middle, low, high, color=palette.accent, alpha=0.28, lw=0)
    against.plot(middle, centre, color=palette.accent, lw=1.6)
    against.axhline(0, color=palette.ink, lw=0.7)
    size = 1.6 * max(0.02, *np.abs(np.concatenate([low, high]))) if len(middle) else 1.0
    against.set_ylim(-size, size)
    if len(middle):
        against.set_xlim(middle[0] - STEP, middle[-1] + STEP)
    against.set_xlabel(rf"$\mu$ ({names[0]}) [mag arcsec$^{{-2}}$]")
    against.set_ylabel(r"$\Delta\mu$ [mag arcsec$^{-2}$]")
    _pulls(pulls, points, palette)


def _pulls(axes: Axes, points: Points, palette: Palette) -> None:
    combined = np.hypot(np.nan_to_num(points.error), np.nan_to_num(points.reference_error))
    known = combined > 0
    edges = np.linspace(-5, 5, 41)
    pull = np.clip(points.deviation[known] / combined[known], edges[0], edges[-1])
    if len(pull):
        axes.hist(
            pull,
            edges.tolist(),
            density=True,
            histtype="stepfilled",
            fc=palette.faint,
            ec=palette.ink,
            lw=0.8,
            alpha=0.6,
        )
    axes.plot(edges, np.exp(-(edges**2) / 2) / np.sqrt(2 * np.pi), color=palette.accent, lw=1.4)
    axes.set_xlim(-5, 5)
    axes.set_xlabel(r"$\Delta\mu$ / $\sigma$")
    axes.set_ylabel("density of points")


def running(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Centres of bins of width STEP that hold FEWEST points, and the 16th, 50th and 84th percentile of y in them."""
    bins = np.floor(x / STEP).astype(int)
    found = [
        ((k + 0.5) * STEP, *np.percentile(y[bins == k], [16, 50, 84]))
        for k in np.unique(bins)
        if (bins == k).sum() >= FEWEST
    ]
    middle, low, centre, high = np.array(found).reshape(-1, 4).T
    return middle, low, centre, high


def _galaxies(duel: Duel, name: str) -> str:
    """The largest galaxies: picture, both profiles, and their difference."""
    rows = duel.rows(SHOWN)
    pictures = duel.first.portraits([one.to_pylist()[0] for one, _ in rows], side=208, drawn=True)
    objects = "".join(_object(duel, one, other, pictures, f"{name}-g{k}") for k, (one, other) in enumerate(rows))
    first, second = (escape(engine) for engine in duel.names)
    caption = (
        f"The {count(len(rows), 'galaxy')} that are largest by {first}, in {escape(duel.first.reference)}. Points with "
        f"error bars: {first}; <span class='accent'>orange</span>: {second}, its 68 % and 90 % intervals shaded as far "
        f"as it states any. Below: their difference, with the same intervals; grey: the errors of {first}. "
        "Radii are drawn on a scale of their square root."
    )
    return figure(f'<div class="objects">{objects}</div>', caption, "profiles") if objects else ""


def _object(duel: Duel, one: pa.Table, other: pa.Table, pictures: Mapping[str, str], name: str) -> str:
    row, rival = one.to_pylist()[0], other.to_pylist()[0]
    points, unit = deviations(other, one), duel.first.people.radius_unit
    within = agreement(points)
    lines = [
        f"{escape(engine)}: {row_['band']} = {with_error(row_['mag'], row_['mag_error'])} mag, <i>R</i><sub>e</sub> = "
        f"{with_error(row_['r_e'], row_['r_e_error'])} {unit}"
        for engine, row_ in zip(duel.names, (row, rival), strict=True)
        if np.isfinite([row_["mag"] or np.nan, row_["r_e"] or np.nan]).any()
    ]
    if len(points.radius):
        lines.append(f"median |Δμ| = {number(float(np.median(np.abs(points.deviation))), 3)} mag arcsec<sup>−2</sup>")
    if within.n:
        lines.append(f"{100 * within.value:.0f} % of {within.n} points within 2σ of both")
    label = f"Profiles of {escape(row['object_id'])} by two engines"
    svg = inline_svg(lambda f: draw_duel(f, one, other, unit, SCREEN, duel.names), 3.1, 3.2, name, label)
    side = f'<div class="portrait">{pictures.get(row["object_id"], "")}<p>{"<br>".join(lines)}</p></div>'
    return f'<div class="object"><h3>{escape(row["object_id"])}</h3>{side}<div>{svg}</div></div>'


def draw_duel(
    drawing: Figure, one: pa.Table, other: pa.Table, unit: str, palette: Palette, names: tuple[str, str]
) -> None:
    """Two engines' profiles of a galaxy in one band, each a table of one row, and the second less the first below."""
    light, residual = drawing.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    margins(drawing, 0.6, 0.42, top=0.26, hspace=0.06)
    row, line, beside = one.to_pylist()[0], deviations(other, other), deviations(other, one)
    shade(light, line, line.sb * 0, palette)
    handles = [
        light.errorbar(row["sma"], row["sb"], _bars(row), fmt="o", ms=2.2, mew=0, lw=0.7, color=palette.ink, zorder=3),
        *light.plot(line.radius, line.sb, color=palette.accent, lw=1.4, zorder=4),
    ]
    known = np.isfinite(beside.reference_error)
    doubt = beside.reference_error[known]
    residual.fill_between(beside.radius[known], -doubt, doubt, color=palette.faint, alpha=0.6, lw=0)
    residual.axhline(0, color=palette.ink, lw=0.7)
    shade(residual, beside, beside.reference, palette)
    residual.plot(beside.radius, beside.deviation, color=palette.accent, lw=1.3)
    _label_duel(light, residual, np.array(row["sb"], float), line, beside, unit)
    close: dict[str, Any] = {"handlelength": 1.0, "handletextpad": 0.4, "columnspacing": 1.0, "borderaxespad": 0.1}
    light.legend(handles, names, ncols=2, loc="lower center", bbox_to_anchor=(0.46, 1.0), **close)


def _bars(row: Mapping[str, Any]) -> np.ndarray:
    return np.nan_to_num(np.array(row["sb_error"], float))


def shade(axes: Axes, points: Points, less: np.ndarray, palette: Palette) -> None:
    """The intervals that a table states for its points, after something is taken off; nothing where it states none."""
    for level, alpha in SHADES:
        lower, upper = interval(points, level)
        known = np.isfinite(lower + upper)
        axes.fill_between(
            points.radius[known], (lower - less)[known], (upper - less)[known], color=palette.accent, alpha=alpha, lw=0
        )


def _label_duel(light: Axes, residual: Axes, sb: np.ndarray, line: Points, beside: Points, unit: str) -> None:
    area = "mag arcsec$^{-2}$" if unit == "arcsec" else "mag pixel$^{-2}$"
    values = np.concatenate([sb[np.isfinite(sb)], line.sb])
    light.set_ylim(np.max(values) + 0.5, np.min(values) - 0.5)
    light.set_ylabel(f"$\\mu$ [{area}]")
    size = 1.3 * float(np.percentile(np.abs(beside.deviation), 97)) if len(beside.radius) else 0.0
    residual.set_ylim(-max(size, 0.05), max(size, 0.05))
    residual.set_ylabel(r"$\Delta\mu$")
    residual.set_xlabel(f"semi-major axis [{unit}]")
    residual.set_xscale("function", functions=(lambda r: np.maximum(r, 0) ** ROOT, lambda s: s ** (1 / ROOT)))
    residual.set_xlim(0, 1.02 * max(np.max(line.radius, initial=0.0), np.max(beside.radius, initial=0.0)))
    residual.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    for axes, places in ((light, 6), (residual, 4)):
        axes.yaxis.set_major_locator(MaxNLocator(places, steps=[1, 2, 5, 10], prune=None if axes is light else "both"))
        axes.minorticks_off()
    light.figure.align_ylabels([light, residual])
