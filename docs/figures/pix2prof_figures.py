"""Figures 2.3 to 2.6 of the thesis on Pix2Prof (Smith 2022, ch. 2), for any profile tables against any reference.

    python docs/figures/pix2prof_figures.py TABLE [TABLE ...] --reference SURVEY_or_TABLE --out FILE.png

Writes FILE_profiles_ENGINE.png (2.3: random galaxies with their residuals), FILE_errors.png (2.4: violins of each
profile's median error, and the error against radius), FILE_bands.png (2.5) and FILE_trends.png (2.6: the error against
ellipticity and size). The reference is a mock survey, whose truth is taken, or a table, such as that of isophotes.

We differ from the thesis: radii are in arcsec, for mocks have no distance; errors are on a logarithmic scale, which
engines that are a hundred times apart need; the regressions of 2.6 are of logarithms, and of one band, so that n
counts galaxies.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from scipy.stats import gaussian_kde, linregress

from skyloom.data import store
from skyloom.data.tables import read_table
from skyloom.metrics.calibration import interval
from skyloom.metrics.matching import interpolated, pairs, ragged
from skyloom.metrics.profiles import Points, deviations, profile_medians
from skyloom.metrics.references import truth_table
from skyloom.metrics.score import spread
from skyloom.report.bands import reference_band
from skyloom.report.distributions import plain
from skyloom.report.drawing import PAPER, drawn
from skyloom.sky.wavelengths import by_wavelength

LIMIT = 26.5  # [mag/arcsec²], the limiting surface brightness of SDSS
ISOPHOTE = 23.5  # [mag/arcsec²] whose radius is the size in 2.6
FAINTEST = 28.5  # [mag/arcsec²] to which the reference is drawn
GRID = 5  # panels a side in 2.3
STEP = 0.2  # [arcsec] of the radii at which errors are taken
ENDED = 0.9  # share of the profiles after whose end the error is no longer drawn against radius
BLUE, COLOURS = "#0b6e99", ("#d9622b", "#2a9d5c", "#8c4a9e", "#b8860b", "#6b6b75")  # of the reference, of engines
WIDTH = 7.1  # [inch] of a page of two columns
DELTA = r"$\Delta\mu$ [mag arcsec$^{-2}$]"
SIZE = r"$|\Delta\mu|$ [mag arcsec$^{-2}$]"


class Engine(NamedTuple):
    """One table, its points beside the reference, and the colour that it has in every figure."""

    name: str
    table: pa.Table
    points: Points
    colour: str

    def errors(self, limit: float = np.inf) -> tuple[Float[np.ndarray, "r"], np.ndarray]:
        """The median |Δμ| of each profile where the reference is brighter than the limit, and the profiles' rows."""
        here = self.points.between(-np.inf, limit)
        return profile_medians(np.abs(here.deviation), here.row)

    def of_band(self, band: str) -> Points:
        """The points of one band."""
        rows = np.array([name == band for name in self.table["band"].to_pylist()])
        return self.points.where(rows[self.points.row])


def engines(tables: Sequence[Path], reference: pa.Table) -> list[Engine]:
    found = []
    for path, colour in zip(tables, COLOURS, strict=False):
        table = read_table(path)
        name = (table.schema.metadata or {}).get(b"engine", path.stem.encode()).decode()
        found.append(Engine(name, table, deviations(table, reference), colour))
    return found


def against_radius(points: Points) -> tuple[Float[np.ndarray, "s"], Float[np.ndarray, "3 s"]]:
    """Quartiles of |Δμ| over the profiles at each radius [arcsec], until ENDED of them have ended."""
    starts = np.unique(points.row, return_index=True)[1][1:]  # the points of a row come one after another
    profiles = list(zip(*(np.split(part, starts) for part in (points.radius, np.abs(points.deviation))), strict=True))
    ends = np.array([radius.max() for radius, _ in profiles])
    radii = np.arange(STEP, np.quantile(ends, ENDED), STEP)
    curves = [interpolated(radius, size, radii, linear=True) for radius, size in profiles]
    known = np.isfinite(curves).any(0)
    return radii[known], np.nanpercentile(np.array(curves)[:, known], [25, 50, 75], axis=0)


def draw_profiles(figure: Figure, engine: Engine, reference: pa.Table, seed: int) -> None:
    """2.3: random profiles over those of the reference, and the residuals below each."""
    rows, others = pairs(engine.table, reference)
    has_points = np.isin(rows, engine.points.row)
    drawn_ones = np.random.default_rng(seed).permutation(np.flatnonzero(has_points))[: GRID**2]
    panels = figure.subplots(
        2 * GRID + GRID - 1, GRID, height_ratios=([2.3, 1, 0.42] * GRID)[:-1], gridspec_kw={"hspace": 0, "wspace": 0.24}
    )
    figure.subplots_adjust(0.07, 0.045, 0.995, 0.975)
    for axes in panels[2::3].flat:
        axes.set_axis_off()
    for axes in panels.flat:
        axes.tick_params(labelsize=7)
    light, residual = panels[0::3].flatten(), panels[1::3].flatten()
    for place in range(GRID**2):
        if place >= len(drawn_ones):
            light[place].set_axis_off(), residual[place].set_axis_off()
            continue
        k = drawn_ones[place]
        draw_one(light[place], residual[place], engine, int(rows[k]), reference, int(others[k]))
    for axes in light[::GRID]:
        axes.set_ylabel(r"$\mu$")
    for axes in residual[::GRID]:
        axes.set_ylabel(r"$\Delta\mu$")
    for axes in residual[-GRID:]:
        axes.set_xlabel("semi-major axis [arcsec]", fontsize=8)
    handles = [light[0].plot([], [], color=colour, lw=2)[0] for colour in (BLUE, engine.colour)]
    names = ("reference", engine.name)
    figure.legend(handles, names, ncols=2, loc="upper center", borderaxespad=0.1, bbox_to_anchor=(0.53, 1.0))


def draw_one(light: Axes, residual: Axes, engine: Engine, row: int, reference: pa.Table, other: int) -> None:
    """One profile over its reference, with its 68 % interval where it states one, and what is left below."""
    here = engine.points.where(engine.points.row == row)
    sma, sb = ragged(reference.slice(other, 1), "sma")[0], ragged(reference.slice(other, 1), "sb")[0]
    seen = np.isfinite(sb) & (sb < FAINTEST) & (sma >= 0.15)
    light.plot(sma[seen], sb[seen], color=BLUE, lw=2.6, alpha=0.55)
    light.plot(here.radius, here.sb, color=engine.colour, lw=1.0)
    residual.axhline(0, color="0.35", lw=0.6)
    residual.plot(here.radius, here.deviation, color=engine.colour, lw=1.0)
    lower, upper = interval(here, 0.68)
    known = np.isfinite(lower + upper)
    for axes, less in ((light, 0 * here.sb), (residual, here.reference)):
        axes.fill_between(
            here.radius[known], (lower - less)[known], (upper - less)[known], color=engine.colour, alpha=0.25, lw=0
        )
    end = 1.2 * max(here.radius.max(), sma[seen].max(initial=0.2))
    values = np.concatenate([sb[seen], here.sb])
    size = max(0.1, 1.25 * float(np.percentile(np.abs(here.deviation), 97)))
    light.set(xscale="log", xlim=(0.15, end), ylim=(values.max() + 0.6, values.min() - 0.6))
    residual.set(xscale="log", xlim=(0.15, end), ylim=(-size, size))
    light.tick_params(labelbottom=False)
    for axes, places in ((light, 4), (residual, 3)):
        axes.yaxis.set_major_locator(MaxNLocator(places, prune="both"))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    label = f"{engine.table['object_id'][row].as_py()}  ${engine.table['band'][row].as_py()}$"
    light.text(0.05, 0.06, label, transform=light.transAxes, fontsize=7)


def draw_errors(figure: Figure, found: Sequence[Engine]) -> None:
    """2.4: for each engine, violins of the profiles' median errors and the error against radius; then all together."""
    together, tall = len(found) > 1, figure.get_figheight()
    grid = figure.add_gridspec(
        len(found) + together, 2, width_ratios=(1, 1.9), hspace=0.5, wspace=0.04, left=0.095, right=0.99,
        bottom=0.42 / tall if together else 0.8 / tall, top=1 - 0.08 / tall,
    )  # fmt: skip
    curves = [against_radius(engine.points) for engine in found]
    medians = np.concatenate([engine.errors()[0] for engine in found])
    look = {"yscale": "log", "ylim": (0.6 * np.percentile(medians, 0.3), 1.5 * np.percentile(medians, 99.8))}
    end = (0, 1.02 * max(radii[-1] for radii, _ in curves))
    for place, (engine, (radii, quartiles)) in enumerate(zip(found, curves, strict=True)):
        violins, line = (figure.add_subplot(grid[place, column], **look) for column in (0, 1))
        draw_violins(violins, engine)
        line.fill_between(radii, quartiles[0], quartiles[2], color=engine.colour, alpha=0.25, lw=0)
        line.plot(radii, quartiles[1], color=engine.colour)
        line.text(0.985, 0.05, engine.name, transform=line.transAxes, ha="right")
        line.set(xlim=end, xlabel="semi-major axis [arcsec]")
        logarithmic(violins)
        logarithmic(line)
        line.tick_params(labelleft=False)
    if together:
        both = figure.add_subplot(grid[-1, :], **look)
        for engine, (radii, quartiles) in zip(found, curves, strict=True):
            both.plot(radii, quartiles[1], color=engine.colour, label=engine.name)
        both.legend(loc="lower right", borderaxespad=0.3)
        both.set(xlim=end, xlabel="semi-major axis [arcsec]", ylabel=f"median {SIZE}")
        logarithmic(both)


def draw_violins(axes: Axes, engine: Engine) -> None:
    """How the profiles' median errors are distributed, of all points and of those brighter than LIMIT; quartiles."""
    labels = []
    for place, (limit, name) in enumerate(((np.inf, "all points"), (LIMIT, rf"$\mu < {LIMIT}$"))):
        errors, rows = engine.errors(limit)
        galaxy = np.unique(engine.table["object_id"].to_pylist(), return_inverse=True)[1][rows]
        middle = spread(errors, "", galaxy)
        logs = np.log10(np.maximum(errors, 1e-4))
        levels = np.linspace(logs.min(), logs.max(), 200)
        width = gaussian_kde(logs)(levels)
        width *= 0.36 / width.max()
        axes.fill_betweenx(10**levels, place - width, place + width, color=engine.colour, alpha=0.35, lw=0)
        axes.plot([place, place], [middle.low, middle.high], color="0.15", lw=3.2, solid_capstyle="butt")
        axes.plot(place, middle.median.value, "o", ms=3.6, mfc="w", mec="0.15", mew=0.9)
        digits = max(3, -int(np.floor(np.log10(middle.median.error))))
        numbers = f"{middle.median.value:.{digits}f} ± {middle.median.error:.{digits}f}"
        numbers += f"\n{middle.low:.{digits}f} to {middle.high:.{digits}f}"
        labels.append(f"{name}\n{numbers}\nn = {middle.median.n:,}")
    axes.set_xlim(-0.55, 1.55)
    axes.set_ylabel(SIZE)
    axes.set_xticks([0, 1], labels, fontsize=8)
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)


def draw_bands(figure: Figure, found: Sequence[Engine]) -> None:
    """2.5: the error against radius, band by band."""
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.05})[0]
    figure.subplots_adjust(0.1 if len(found) > 1 else 0.15, 0.17, 0.99, 0.97)
    ends = []
    for axes, engine in zip(panels, found, strict=True):
        bands = by_wavelength(list(dict.fromkeys(engine.table["band"].to_pylist())))
        for band, colour in zip(bands, PAPER.for_bands(len(bands)), strict=True):
            radii, quartiles = against_radius(engine.of_band(band))
            axes.fill_between(radii, quartiles[0], quartiles[2], color=colour, alpha=0.15, lw=0)
            axes.plot(radii, quartiles[1], color=colour, label=f"${band}$")
            ends.append((radii[-1], quartiles[0, len(radii) // 20 :].min(), quartiles[2].max()))
        axes.set_xlabel("semi-major axis [arcsec]")
        axes.text(0.03, 0.96, engine.name, transform=axes.transAxes, va="top")
    panels[0].set_ylabel(SIZE)
    panels[-1].legend(loc="lower right", ncols=3, handlelength=1.2, columnspacing=1.0, borderaxespad=0.3)
    longest, low, high = (pick(part) for pick, part in zip((max, min, max), zip(*ends, strict=True), strict=True))
    for axes in panels:
        axes.set(yscale="log", xlim=(0, 1.02 * longest), ylim=(0.8 * low, 1.6 * high))
        logarithmic(axes)


def draw_trends(figure: Figure, found: Sequence[Engine], reference: pa.Table) -> None:
    """2.6: each galaxy's median error against its ellipticity and its size, with a linear regression."""
    panels = figure.subplots(
        len(found), 2, sharex="col", sharey="row", squeeze=False, gridspec_kw={"hspace": 0.06, "wspace": 0.04}
    )
    figure.subplots_adjust(0.1, 0.42 / figure.get_figheight(), 0.99, 1 - 0.06 / figure.get_figheight())
    band = reference_band(list(dict.fromkeys(reference["band"].to_pylist())))
    for line, engine in zip(panels, found, strict=True):
        errors, rows = engine.errors(LIMIT)
        others = dict(zip(*(part.tolist() for part in pairs(engine.table, reference)), strict=True))
        names = engine.table["band"].to_pylist()
        kept = [k for k, row in enumerate(rows) if names[row] == band]
        sizes = np.array([shape_and_size(reference, others[int(rows[k])]) for k in kept])
        for axes, values, log in zip(line, sizes.T, (False, True), strict=True):
            draw_trend(axes, values, errors[kept], engine, log)
        line[0].set_ylabel(f"median {SIZE}")
        line[0].text(0.03, 0.05, engine.name, transform=line[0].transAxes)
    panels[-1, 0].set_xlabel(f"ellipticity ({band})")
    panels[-1, 1].set_xlabel(rf"$R_{{{ISOPHOTE}}}$ ({band}) [arcsec]")
    for axes in panels[:, 1]:
        plain(axes.xaxis)


def shape_and_size(reference: pa.Table, row: int) -> tuple[float, float]:
    """Ellipticity of the reference's last isophote brighter than LIMIT, and the radius of its ISOPHOTE [arcsec]."""
    sma, sb, ellipticity = (ragged(reference.slice(row, 1), name)[0] for name in ("sma", "sb", "ellipticity"))
    seen, beyond = np.flatnonzero(sb < LIMIT), np.flatnonzero(sb >= ISOPHOTE)
    if not len(seen) or not len(beyond) or beyond[0] == 0:
        return np.nan, np.nan
    k = beyond[0]
    share = (ISOPHOTE - sb[k - 1]) / (sb[k] - sb[k - 1])
    return float(ellipticity[seen[-1]]), float(sma[k - 1] + share * (sma[k] - sma[k - 1]))


def draw_trend(axes: Axes, values: np.ndarray, errors: np.ndarray, engine: Engine, log: bool) -> None:
    """Errors against a property of the galaxies, and the line through their logarithms. log : of the property too"""
    known = np.isfinite(values) & (errors > 0)
    values, errors = values[known], errors[known]
    axes.plot(values, errors, "o", ms=2.6, mew=0, color=engine.colour, alpha=0.55)
    axes.set(yscale="log", xscale="log" if log else "linear")
    logarithmic(axes)
    if len(values) < 3:
        return
    x = np.log10(values) if log else values
    fit = linregress(x, np.log10(errors))
    ends = np.array([np.argmin(x), np.argmax(x)])
    axes.plot(values[ends], 10 ** (fit.intercept + fit.slope * x[ends]), color="0.15", lw=1.2)
    axes.set_ylim(errors.min() / 2, 3 * errors.max())
    chance = f"= {fit.pvalue:.2g}" if fit.pvalue >= 1e-4 else "< 10^{-4}"
    said = f"$p {chance}$, $n = {len(values)}$"
    axes.text(0.97, 0.95, said, transform=axes.transAxes, ha="right", va="top", fontsize=9)


def logarithmic(axes: Axes) -> None:
    """Ordinary numbers at the decades of the error's axis."""
    axes.yaxis.set_major_locator(LogLocator(10))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def save(draw: Callable[[Figure], None], width: float, height: float, out: Path) -> None:
    drawn(draw, width, height, PAPER).savefig(out, dpi=170, facecolor="white")


def main(given: argparse.Namespace) -> None:
    """Draw all figures of the tables named on the command line."""
    lance = given.reference.suffix == ".lance" or given.reference.is_dir()
    reference = truth_table(store.open(given.reference)) if lance else read_table(given.reference)
    found, out = engines(given.tables, reference), given.out

    def named(what: str) -> Path:
        return out.with_name(f"{out.stem}_{what}{out.suffix}")

    for engine in found:
        save(lambda f, e=engine: draw_profiles(f, e, reference, given.seed), 10, 12, named(f"profiles_{engine.name}"))
    rows = len(found) + (len(found) > 1)
    save(lambda f: draw_errors(f, found), WIDTH, 0.5 + 2.5 * rows, named("errors"))
    save(lambda f: draw_bands(f, found), WIDTH if len(found) > 1 else WIDTH * 0.6, 2.6, named("bands"))
    save(lambda f: draw_trends(f, found, reference), WIDTH, 0.5 + 2.0 * len(found), named("trends"))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tables", nargs="+", type=Path, metavar="TABLE", help="profile tables, one engine each")
    options.add_argument("--reference", required=True, type=Path, help="a mock survey, or a profile table")
    options.add_argument("--out", required=True, type=Path, help="FILE.png; each figure adds its name")
    options.add_argument("--seed", type=int, default=0, help="of the random profiles")
    main(options.parse_args())
