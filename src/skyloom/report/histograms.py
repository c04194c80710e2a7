"""Figures of a comparison: every score beside its null, histograms of what was measured, power against frequency."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skyloom.metrics.photometry import Property
from skyloom.metrics.synthetic_galaxy import cohens_d
from skyloom.metrics.verdicts import Row
from skyloom.report.distributions import plain
from skyloom.report.drawing import Palette, margins

COLUMNS = 4  # histograms side by side
BEYOND = 0.4  # per cent of the galaxies at either end that may lie outside a histogram's frame
BINS = 32
LOGARITHMIC = ("R_e",)  # properties near to a log-normal law
LINEAR = 3.0  # standard deviations of the null up to which the scale of `draw_scores` is linear
TICKS = (-100, -30, -10, -3, 0, 3, 10, 30, 100, 300, 1000)
LINE = 0.165  # height of a score's line [inch]
NEAR = 2.0  # and within which a score is shaded as no different from its null
SMALL = 0.2  # |d| that is by custom called small


def histogram_size(count: int) -> tuple[float, float]:
    """Width and height of `draw_histograms` [inch]."""
    return 10.4, 1.95 * -(-count // COLUMNS) + 0.3


def draw_histograms(figure: Figure, pairs: Sequence[tuple[Property, Property]], palette: Palette) -> None:
    """Each property of real galaxies, filled, and of generated ones, a line; Cohen's d in the corner."""
    rows = -(-len(pairs) // COLUMNS)
    panels = figure.subplots(rows, COLUMNS, squeeze=False)
    margins(figure, 0.12, 0.45, right=0.12, top=0.3, wspace=0.1, hspace=0.42)
    for axes in panels.flat[len(pairs) :]:
        axes.set_axis_off()
    for axes, (real, fake) in zip(panels.flat, pairs, strict=False):
        _histogram(axes, real, fake, palette)
    handles = [panels[0, 0].patches[0], panels[0, 0].lines[0]] if len(pairs) else []
    figure.legend(handles, ("real", "generated"), ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.01))


def _histogram(axes: Axes, real: Property, fake: Property, palette: Palette) -> None:
    logarithmic = real.name in LOGARITHMIC
    ours, theirs = (
        one.values[np.isfinite(one.values) & ((one.values > 0) | (not logarithmic))] for one in (real, fake)
    )
    edges = _edges(np.concatenate([ours, theirs]), logarithmic)
    shares = [_density(values, edges, logarithmic) for values in (ours, theirs)]
    axes.stairs(shares[0], edges, fill=True, fc=palette.faint, ec=palette.ink, lw=0.8, alpha=0.6)
    axes.plot(np.repeat(edges, 2), np.pad(np.repeat(shares[1], 2), 1), color=palette.accent, lw=1.4)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.28 * max(1e-9, *shares[0], *shares[1]))
    axes.set_yticks([])
    if logarithmic:
        axes.set_xscale("log")
        plain(axes.xaxis)
    unit = f" [{real.unit}]" if real.unit else ""
    axes.set_xlabel(f"{in_type(real.name)}{unit}", labelpad=1)
    d = cohens_d(np.log(ours), np.log(theirs)) if logarithmic else cohens_d(ours, theirs)
    said = f"$d = {d.value:+.2f} \\pm {d.error:.2f}$" if np.isfinite(d.value) else ""
    colour = palette.accent if abs(d.value) > max(SMALL, 2 * d.error) else palette.ink
    axes.text(0.97, 0.94, said, transform=axes.transAxes, ha="right", va="top", fontsize=9, color=colour)


def _edges(values: Float[np.ndarray, "n"], logarithmic: bool) -> Float[np.ndarray, "b"]:
    """Edges of the bins, which leave the ends of the distribution out."""
    low, high = np.percentile(values, [BEYOND, 100 - BEYOND]) if len(values) else (0.0, 1.0)
    if logarithmic and len(values):
        return np.geomspace(low, high * (1 + 1e-9) + (high == low), BINS + 1)
    pad = 0.03 * (high - low) or 0.5
    return np.linspace(low - pad, high + pad, BINS + 1)


def _density(values: Float[np.ndarray, "n"], edges: Float[np.ndarray, "b"], logarithmic: bool) -> np.ndarray:
    """Share of the values per width of a bin."""
    widths = np.diff(np.log(edges) if logarithmic else edges)
    return np.histogram(values, edges)[0] / (max(len(values), 1) * widths)


def scores_size(rows: Sequence[Row]) -> tuple[float, float]:
    """Width and height of `draw_scores` [inch]."""
    return 7.6, LINE * (len(rows) + 0.5 * len({row.metric for row in rows})) + 0.5


def draw_scores(figure: Figure, rows: Sequence[Row], palette: Palette) -> None:
    """How far each score lies from its null, in standard deviations of the null; the nulls themselves are shaded."""
    axes = figure.subplots()
    margins(figure, 2.35, 0.42, top=0.05, right=0.1)
    axes.axvspan(-NEAR, NEAR, color=palette.faint, alpha=0.35, lw=0)
    axes.axvline(0, color=palette.ink, lw=0.7)
    first = np.array([k == 0 or rows[k - 1].metric != row.metric for k, row in enumerate(rows)])
    heights = -(np.arange(len(rows)) + 0.5 * np.cumsum(first))
    sigmas = np.array([row.found.sigmas for row in rows], float)
    errors = np.array([_relative(row) for row in rows])
    far = np.array([row.found.p < 0.01 for row in rows])
    for some, colour in ((~far, palette.ink), (far, palette.accent)):
        if some.any():
            axes.errorbar(sigmas[some], heights[some], xerr=errors[some], fmt="o", ms=4, mew=0, lw=0.9, color=colour)
    axes.set_yticks(heights, [in_type(row.found.name) for row in rows], fontsize=8)
    for place in np.flatnonzero(first):
        axes.axhline(heights[place] + 0.75, color=palette.faint, lw=0.6)
        axes.annotate(rows[int(place)].metric, (0, heights[place]), (-2.3 * 72, 0), ("axes fraction", "data"),
                      "offset points", fontsize=9, va="center_baseline", weight="bold")  # fmt: skip
    axes.set_ylim(heights[-1] - 0.75, heights[0] + 0.75)
    axes.set_xscale("symlog", linthresh=LINEAR, linscale=1.2)
    lowest, highest = np.nanmin(sigmas, initial=0.0), np.nanmax(sigmas, initial=0.0)
    axes.set_xlim(min(-1.2 * LINEAR, 1.6 * lowest), max(2 * LINEAR, 1.6 * highest))
    ticks = [tick for tick in TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{tick}".replace("-", "−") for tick in ticks])
    axes.minorticks_off()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("(score − null) / scatter of the null")


def _relative(row: Row) -> float:
    error = row.found.score.error / row.found.null.error if row.found.null.error > 0 else np.nan
    return float(error) if np.isfinite(error) else 0.0


def in_type(name: str) -> str:
    """A property's name as it is printed."""
    return name.replace("R_e", "$R_e$")


def spectra_size(bands: int) -> tuple[float, float]:
    """Width and height of `draw_spectra` [inch]."""
    return 10.4, 3.0 * -(-bands // _across(bands)) + 0.35


def _across(bands: int) -> int:
    return bands if bands <= 5 else -(-bands // 2)


def draw_spectra(
    figure: Figure, k: Float[np.ndarray, "k"], real: Float[np.ndarray, "n c k"], fake: Float[np.ndarray, "m c k"],
    names: Sequence[str], palette: Palette,
) -> None:  # fmt: skip
    """Medians and middle 68 % of the power of real and generated images in each band; below, their ratio.

    real, fake : in units of the sky's variance per pixel; k : [cycles/pixel]
    """
    across = _across(len(names))
    groups = -(-len(names) // across)
    panels = figure.subplots(2 * groups, across, squeeze=False, sharex=True, sharey="row",
                             height_ratios=[2.2, 1] * groups)  # fmt: skip
    margins(figure, 0.6, 0.45, top=0.3, wspace=0.06, hspace=0.12)
    for axes in panels.flat:
        axes.set_axis_off()
    for band, name in enumerate(names):
        above, below = panels[2 * (band // across) : 2 * (band // across) + 2, band % across]
        _spectrum(above, below, k, real[:, band], fake[:, band], palette)
        above.text(0.95, 0.93, name, transform=above.transAxes, ha="right", va="top")
        if band % across == 0:
            above.set_ylabel("power / sky variance")
            below.set_ylabel("ratio")
        if band + across >= len(names):
            below.set_xlabel("frequency [cycles/pixel]")
            below.tick_params(labelbottom=True)
    figure.legend(
        panels[0, 0].lines[:2], ("real", "generated"), ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.01)
    )


def _spectrum(above: Axes, below: Axes, k, real, fake, palette: Palette) -> None:
    for axes in (above, below):
        axes.set_axis_on()
        axes.set_xlim(0, 0.5)
    low, middle, high = np.nanpercentile(real, [16, 50, 84], axis=0)
    floor, centre, ceiling = np.nanpercentile(fake, [16, 50, 84], axis=0)
    above.fill_between(k, low, high, color=palette.faint, alpha=0.6, lw=0)
    above.plot(k, middle, color=palette.ink)
    above.plot(k, centre, color=palette.accent, lw=1.4)
    above.plot(k, np.stack([floor, ceiling], 1), color=palette.accent, lw=0.7, ls=(0, (3, 2)))
    above.set_yscale("log")
    with np.errstate(divide="ignore", invalid="ignore"):
        below.plot(k, centre / middle, color=palette.accent, lw=1.4)
    below.axhline(1, color=palette.ink, lw=0.7)
    below.set_yscale("log")
    below.set_ylim(0.28, 3.6)
    below.set_yticks((0.5, 1, 2), ("0.5", "1", "2"))
    below.yaxis.set_minor_formatter("")
    below.set_xticks((0.1, 0.2, 0.3, 0.4))
