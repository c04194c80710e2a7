"""The chapters on a survey: what it is, what is not known about it, where its objects lie, what they look like."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html import escape

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from skyloom.data.store import Survey
from skyloom.report.distributions import DRAWN
from skyloom.report.drawing import SCREEN, Palette, inline_svg, margins
from skyloom.report.galaxies import Look, look_of
from skyloom.report.markup import MISSING, Chapter, bullets, count, facts, figure, number, paragraph, short, table
from skyloom.report.portraits import portrait, tiles
from skyloom.sky.photometry import surface_brightness

TILES = 60  # pictures in a mosaic
PROBED = 200  # cutouts from which the sky and the white of the pictures are taken, evenly spread
CLASSES = {"is_saturated": "saturated", "is_star": "star", "is_extended": "extended"}  # the first that holds


def kindred(surveys: Sequence[Survey]) -> list[list[Survey]]:
    """Surveys that differ in nothing but the size and the choice of their cutouts, together; the fullest first."""
    groups: dict[str, list[Survey]] = {}
    for survey in surveys:
        groups.setdefault(replace(survey.info, shape=(1, 1)).to_json(), []).append(survey)
    return [sorted(group, key=len, reverse=True) for group in groups.values()]


def survey_chapter(group: Sequence[Survey], title: str, name: str) -> Chapter:
    """What the survey is: facts, bands, notes, and a map of the objects."""
    first, info = group[0], group[0].info
    cutouts = ", ".join(f"{one.path.name}: {count(len(one), 'cutout')}, {_size(one)}" for one in group)
    scale = MISSING if info.pixel_scale is None else f"{info.pixel_scale:g} arcsec per pixel"
    body = facts(
        (
            ("source", escape(info.source) or MISSING),
            ("cutouts", escape(cutouts)),
            ("pixel scale", scale),
            ("citation", escape(info.citation) or MISSING),
            ("licence", escape(info.licence) or MISSING),
            ("content", f"<code>{first.content_hash[:16]}</code>, version {first.version}"),
        )
    )
    body += band_table(first) + _unknown(first)
    if info.notes:
        body += "<h3>Known defects, and what was done to the pixels</h3>\n" + bullets(info.notes)
    return Chapter(title, body + _set_aside(group) + _map(first, name))


def _size(survey: Survey) -> str:
    height, width = survey.info.shape
    scale = survey.info.pixel_scale
    return f"{width} × {height} pixels" + (f" ({width * scale:.3g} arcsec)" if scale else "")


def band_table(survey: Survey) -> str:
    """Zero point, PSF, unit, and the median sky of every band."""
    level, rms = (_per_band(survey, name) for name in ("sky", "sky_rms"))
    scale, rows = survey.info.pixel_scale, []
    for band, sky, noise in zip(survey.info.bands, level, rms, strict=True):
        depth = np.nan
        if scale and band.zero_point is not None and np.isfinite(noise):
            depth = float(surface_brightness(noise, scale, band.zero_point))
        facts_ = (number(band.zero_point), number(band.psf_fwhm), escape(band.unit or "") or MISSING)
        rows.append((escape(band.name), *facts_, short(sky), short(noise), number(depth)))
    head = ("band", "zero point [AB mag]", "PSF FWHM [arcsec]", "unit", "sky [unit/pixel]", "sky rms [unit/pixel]")
    return table((*head, "sky rms, one pixel [mag arcsec<sup>−2</sup>]"), rows)


def _per_band(survey: Survey, name: str) -> np.ndarray:
    """The median over the survey of a column that holds one number per band; NaN where it was not measured."""
    values = [row for row in survey.table([name])[name].to_pylist() if row is not None]
    if not values:
        return np.full(len(survey.info.bands), np.nan)
    known = np.array(values, float)
    return np.array(
        [np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in known.T]
    )


def _unknown(survey: Survey) -> str:
    """What the source did not state, and what follows."""
    info = survey.info
    bare = [band.name for band in info.bands if band.zero_point is None]
    lines = []
    if bare:
        lines.append(
            f"No zero point is known for {', '.join(bare)}: its magnitudes are instrumental, −2.5 log₁₀(flux)."
        )
    if info.pixel_scale is None:
        lines.append("No pixel scale is known: sizes are in pixels.")
    if _column(survey, "ra") is None:
        lines.append("No positions on the sky are known: coordinates are in pixels.")
    return bullets(lines) if lines else ""


def _column(survey: Survey, name: str) -> np.ndarray | None:
    """A column of numbers; None if the survey has none, or nothing in it."""
    if name not in survey.column_names:
        return None
    column = survey.table([name])[name]
    if pa.types.is_null(column.type) or column.null_count == len(column):
        return None
    return np.asarray(column.to_numpy(zero_copy_only=False), float)


def _set_aside(group: Sequence[Survey]) -> str:
    """Objects that could not be read, by reason."""
    reasons: Counter[str] = Counter()
    for survey in group:
        listed = survey.path.with_name(f"{survey.path.name}.quarantine.csv")
        if listed.exists():
            with listed.open(newline="", encoding="utf-8") as lines:
                reasons.update(row["reason"] for row in csv.DictReader(lines))
    if not reasons:
        return ""
    rows = ((escape(reason), f"{n:,}") for reason, n in reasons.most_common(20))
    return f"<h3>Set aside</h3>\n{paragraph(count(reasons.total(), 'object') + ' could not be read.')}" + table(
        ("reason", "objects"), rows
    )


def _map(survey: Survey, name: str) -> str:
    places = [(axis, _column(survey, axis)) for axis in ("ra", "dec")]
    unit = "deg"
    if any(values is None for _, values in places):
        places, unit = [(axis, _column(survey, axis)) for axis in ("x", "y")], "pixel"
    if any(values is None for _, values in places):
        return ""
    kinds = _kinds(survey)
    chosen = np.arange(len(survey))
    if len(chosen) > DRAWN:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, DRAWN, replace=False))
    (xname, x), (yname, y) = ((axis, np.asarray(values)) for axis, values in places)
    labels = (f"{xname} [{unit}]", f"{yname} [{unit}]")
    tally = "; ".join(f"{kind}: {n:,}" for kind, n in Counter(kinds.tolist()).most_common())
    drawn = "" if len(chosen) == len(survey) else f" A random {len(chosen):,} are drawn."

    def draw(figure: Figure) -> None:
        draw_map(figure, x[chosen], y[chosen], kinds[chosen], labels, SCREEN, unit == "deg")

    svg = inline_svg(draw, 4.9, 5.0, f"{name}-map", "Map of the objects of the survey")
    return figure(svg, f"Where the {count(len(survey), 'object')} lie. {tally}.{drawn}", "drawn")


def _kinds(survey: Survey) -> np.ndarray:
    """A class for every object, by the flags of its detection."""
    kinds = np.full(len(survey), "unclassified" if "is_star" in survey.column_names else "object", dtype=object)
    for name, kind in reversed(CLASSES.items()):
        flags = _column(survey, name)
        if flags is not None:
            kinds[np.nan_to_num(flags) > 0] = kind
    return kinds


def draw_map(figure: Figure, x, y, kinds, labels: tuple[str, str], palette: Palette, on_sky: bool) -> None:
    """Positions, marked by class."""
    axes = figure.subplots()
    margins(figure, 0.6, 0.45, top=0.3)
    looks = {"extended": (palette.accent, "o", 3.2), "star": (palette.bands[1], "*", 4.0)}
    looks |= {"saturated": (palette.ink, "P", 5.0), "unclassified": (palette.faint, "o", 1.8)}
    for kind in ("object", "unclassified", "star", "extended", "saturated"):
        here = kinds == kind
        if here.any():
            colour, marker, size = looks.get(kind, (palette.ink, "o", 3))
            axes.plot(x[here], y[here], marker, color=colour, ms=size, mew=0, alpha=0.8, label=kind)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    if on_sky:
        axes.invert_xaxis()
        axes.set_aspect(1 / max(np.cos(np.radians(np.nanmedian(y))), 0.05), adjustable="datalim")
    else:
        axes.set_aspect("equal")
    if len(set(kinds.tolist())) > 1:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, handletextpad=0.2, borderaxespad=0.2)


def galaxies_chapter(survey: Survey, title: str) -> Chapter:
    """A mosaic of the survey's largest galaxies, or of its first objects if no sizes are known."""
    sizes = _column(survey, "half_light_radius")
    ids = np.array(survey.table(["object_id"])["object_id"].to_pylist(), dtype=object)
    kinds = _kinds(survey)
    if sizes is None:
        chosen, said = np.arange(min(len(ids), TILES)), f"The first {min(len(ids), TILES)} objects"
    else:
        known = np.flatnonzero((kinds == "extended") | (kinds == "object"))
        chosen = known[np.argsort(-np.nan_to_num(sizes[known]))][:TILES]
        said = f"The {len(chosen)} largest galaxies, by half-light radius"
    if len(chosen) == 0:
        return Chapter(title, paragraph("No object of this survey is surely extended: there is nothing to show."))
    look = survey_look(survey)
    halves = (
        dict.fromkeys(ids[chosen], None) if sizes is None else dict(zip(ids[chosen], 4 * sizes[chosen], strict=True))
    )
    pictures = [
        (portrait(cutout, look, survey.info, half=halves[cutout.object_id], side=96), cutout.object_id, "")
        for cutout in survey.read(ids=list(ids[chosen]))
    ]
    return Chapter(title, figure(tiles(pictures), f"{said}. {look_caption(survey, look)}", "mosaic"))


def survey_look(survey: Survey) -> Look:
    """The look of a survey's pictures, from cutouts spread evenly over its rows."""
    ids = survey.table(["object_id"])["object_id"].to_pylist()
    places = np.unique(np.linspace(0, max(len(ids) - 1, 0), min(len(ids), PROBED)).astype(int))
    return look_of(survey.read(ids=[ids[place] for place in places]), survey.info)


def look_caption(survey: Survey, look: Look) -> str:
    """How to read the pictures."""
    bands = escape(look.names(survey.info))
    if len(set(look.bands)) == 1:
        return f"Band {bands}, asinh stretch; each picture to its own brightest pixels. Bad pixels are left blank."
    return (
        f"Bands {bands} as red, green, blue; white is the survey's median colour; asinh stretch (Lupton et al. 2004), "
        f"each picture to its own brightest pixels. Each has its own scale bar. Bad pixels are left blank."
    )
