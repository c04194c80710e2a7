"""The chapters on a profile table: the largest galaxies, the population, what failed and why, every object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from skyloom.data.store import Survey
from skyloom.metrics.score import RESAMPLES
from skyloom.report.bands import reference_band
from skyloom.report.distributions import Population, at_half_light, draw_by_band, draw_population, grouped
from skyloom.report.drawing import SCREEN, inline_svg
from skyloom.report.galaxies import Look
from skyloom.report.markup import MISSING, Cell, Chapter, count, figure, number, paragraph, table, with_error
from skyloom.report.portraits import largest, portrait, tiles
from skyloom.report.profiles import (
    MEANINGS,
    REMARKS,
    draw_profiles,
    flag_counts,
    in_words,
    misshapen,
    names_of,
    troubled,
)
from skyloom.report.surveys import TILES, look_caption, survey_look
from skyloom.sky.profiles import Flag

SHOWN = 12  # galaxies whose profiles are drawn
TROUBLED = 18  # pictures of galaxies with flags
LISTED = 2000  # rows of the table of objects


@dataclass(frozen=True)
class Measured:
    """A profile table, and the surveys of its objects as far as they were given. name : of its file"""

    name: str
    table: pa.Table
    surveys: tuple[Survey, ...]

    @property
    def engine(self) -> str:
        """What measured it; "" if the table does not say."""
        return (self.table.schema.metadata or {}).get(b"engine", b"").decode()

    @property
    def hashes(self) -> tuple[str, ...]:
        """The content hashes of the surveys that it was measured on."""
        return tuple((self.table.schema.metadata or {}).get(b"survey_hash", b"").decode().split())

    @cached_property
    def shaped(self) -> bool:
        """Whether it gives the geometry of any isophote: an engine may state surface brightness alone."""
        values = pc.list_flatten(self.table["ellipticity"]).to_numpy(zero_copy_only=False)
        return bool(np.isfinite(values.astype(float)).any())

    @cached_property
    def reference(self) -> str:
        bands = list(dict.fromkeys(self.table["band"].to_pylist()))
        return reference_band(bands) if bands else ""

    @cached_property
    def people(self) -> Population:
        return Population(self.table, self.reference)

    @cached_property
    def rows(self) -> pa.Table:
        """The rows of the reference band."""
        return self.table.filter(pc.equal(self.table["band"], self.reference))

    @cached_property
    def homes(self) -> dict[str, Survey]:
        """The survey that each object is in."""
        ids = set(self.rows["object_id"].to_pylist())
        homes = {}
        for survey in self.surveys:
            there = ids & set(survey.table(["object_id"])["object_id"].to_pylist())
            homes.update(dict.fromkeys(there, survey))
        return homes

    @cached_property
    def looks(self) -> dict[str, Look]:
        """How each survey is coloured: surveys of the same bands alike, as the fullest of them."""
        looks: dict[tuple, Look] = {}
        for survey in sorted(self.surveys, key=len, reverse=True):
            looks.setdefault(survey.info.bands, survey_look(survey))
        return {str(survey.path): looks[survey.info.bands] for survey in self.surveys}

    def largest(self, count: int) -> list[Mapping[str, Any]]:
        """The largest galaxies of those whose isophotes are not in doubt, or of all if there are none."""
        rows = self.rows.to_pylist()
        return largest([row for row in rows if not misshapen(row["flag"])], count) or largest(rows, count)

    @property
    def caption(self) -> str:
        """How to read the pictures."""
        return look_caption(self.surveys[0], self.looks[str(self.surveys[0].path)])

    def portraits(self, rows: Sequence[Mapping[str, Any]], **options) -> dict[str, str]:
        """Pictures of the objects of some rows, by object; those whose survey was not given are left out."""
        by_id = {row["object_id"]: row for row in rows if row["object_id"] in self.homes}
        pictures = {}
        for survey in self.surveys:
            here = [name for name in by_id if self.homes[name] is survey]
            look = self.looks[str(survey.path)]
            for cutout in survey.read(ids=here) if here else ():
                pictures[cutout.object_id] = portrait(cutout, look, survey.info, by_id[cutout.object_id], **options)
        return pictures


def chapters(measured: Measured, name: str, suffix: str = "") -> list[Chapter]:
    """Everything on one table. name : unique on the page; suffix : of the titles, where there are several tables"""
    if len(measured.table) == 0:
        return [Chapter(f"Profiles{suffix}", paragraph("The table is empty: no object was measured."))]
    made = [mosaic_chapter(measured, f"Galaxies{suffix}")] if measured.homes else []
    made.append(profiles_chapter(measured, f"Profiles{suffix}", name))
    made.append(population_chapter(measured, f"The population{suffix}", name))
    made.append(failures_chapter(measured, f"What failed, and why{suffix}"))
    made.append(objects_chapter(measured, f"Every object{suffix}"))
    return made


def mosaic_chapter(measured: Measured, title: str) -> Chapter:
    """The galaxies that reach farthest, as pictures."""
    rows = measured.largest(TILES)
    pictures = measured.portraits(rows, side=96)
    known = [row for row in rows if row["object_id"] in pictures]
    shown = [(pictures[row["object_id"]], _hint(row, measured), "") for row in known]
    said = f"The {count(len(shown), 'largest galaxy')} of {measured.rows.num_rows:,} whose profiles are not in doubt."
    return Chapter(title, figure(tiles(shown), f"{said} {measured.caption}", "mosaic"))


def _hint(row: Mapping[str, Any], measured: Measured) -> str:
    size = with_error(row["r_e"], row["r_e_error"])
    return f"{row['object_id']}: {row['band']} = {number(row['mag'])} mag, R_e = {size} {measured.people.radius_unit}"


def profiles_chapter(measured: Measured, title: str, name: str) -> Chapter:
    """A dozen galaxies: picture, isophotes, and the profiles of all bands."""
    rows = measured.largest(SHOWN)
    every = grouped(measured.table, [row["object_id"] for row in rows])
    pictures = measured.portraits(rows, side=208, drawn=True)
    objects = "".join(
        _object(measured, row, every[row["object_id"]], pictures.get(row["object_id"], ""), f"{name}-p{k}")
        for k, row in enumerate(rows)
    )
    if not objects:
        return Chapter(
            title, paragraph("No profile has a point that stands above its error: there is nothing to draw.")
        )
    return Chapter(title, figure(f'<div class="objects">{objects}</div>', _how_to_read(measured, pictures), "profiles"))


def _how_to_read(measured: Measured, pictures: Mapping[str, str]) -> str:
    """The caption of the profiles: what is drawn, as far as the engine states it."""
    caption = f"The {count(min(SHOWN, len(measured.largest(SHOWN))), 'galaxy')} "
    if not measured.shaped:
        caption += (
            "whose profiles reach farthest. Surface brightness in every band, with its 1σ error as far as the engine "
            "states one; it states no shapes. Radii are drawn on a scale of their square root."
        )
        return f"{caption} {measured.caption}" if pictures else caption
    caption += (
        "with isophotes not in doubt that are largest at 26 mag "
        "arcsec<sup>−2</sup>. Surface brightness with its 1σ error in every band (the sky's error included); "
        f"ellipticity and position angle of band {measured.reference} in bold, with their errors, those of the other "
        "bands thin and cut off where they leave the frame. Radii are drawn on a scale of their square root."
    )
    if pictures:
        caption += (
            f" White: isophotes of band {measured.reference}; <span class='accent'>orange</span>: the one that holds "
            f"half of the light. {measured.caption}"
        )
    return caption


def _object(measured: Measured, row, every: Sequence[Mapping[str, Any]], picture: str, name: str) -> str:
    unit, band = measured.people.radius_unit, row["band"]

    def draw(drawing: Figure) -> None:
        draw_profiles(drawing, every, unit, SCREEN, measured.reference)

    here = pa.Table.from_pylist([row], measured.table.schema)
    shape, angle = (at_half_light(here, name)[0] for name in ("ellipticity", "pa"))
    lines = (
        f"{band} = {with_error(row['mag'], row['mag_error'])} mag",
        f"<i>R</i><sub>e</sub> = {with_error(row['r_e'], row['r_e_error'])} {unit}",
        f"<i>R</i><sub>26</sub> = {number(row['r_26'])} {unit}",
        f"ellipticity = {number(shape)}, PA = {number(angle, 0)}° at <i>R</i><sub>e</sub>",
        *(f"flag: {escape(name)}" for name in names_of(row["flag"])),
    )
    svg = inline_svg(draw, 3.1, 3.9, name, f"Profiles of {escape(row['object_id'])}")
    side = f'<div class="portrait">{picture}<p>{"<br>".join(lines)}</p></div>'
    return f'<div class="object"><h3>{escape(row["object_id"])}</h3>{side}<div>{svg}</div></div>'


def population_chapter(measured: Measured, title: str, name: str) -> Chapter:
    """Distributions of the clean galaxies, with numbers that say how many stand behind them."""
    people = measured.people
    if len(people.rows) and not people.numbers():
        engine = escape(measured.engine) or "The engine"
        return Chapter(title, paragraph(f"{engine} states no totals, sizes or shapes: there is nothing to distribute."))
    if len(people.rows) == 0:
        return Chapter(
            title, paragraph(f"No galaxy has a clean profile in {measured.reference}; see what failed, below.")
        )
    rows = [
        (
            escape(n.name).replace("R_e", "<i>R</i><sub>e</sub>"),
            f"{n.n:,}",
            with_error(n.median, n.error, 3),
            f"{number(n.low)} to {number(n.high)}",
            n.unit,
        )
        for n in people.numbers()
    ]
    head = ("quantity", "galaxies", "median ± its error", "16 % to 84 %", "unit")
    said = (
        f"{count(len(people.rows), 'galaxy')} of {measured.rows.num_rows:,} have a clean profile in "
        f"{people.reference}; only these enter this chapter, as far as the quantity could be measured. Errors of "
        f"medians are from {RESAMPLES} bootstrap resamples."
    )
    svg = inline_svg(lambda f: draw_population(f, people, SCREEN), 10.4, 6.0, f"{name}-people", "Distributions")
    colour = people.colour()
    caption = (
        "Magnitude, half-light radius (semi-major axis) and ellipticity there, medians in <span "
        "class='accent'>orange</span>; size and colour against magnitude; surface brightness relative to that at "
        "the half-light radius, each galaxy thin, the median and the middle 68 % <span "
        "class='accent'>orange</span>, as far out as half of the galaxies are measured."
    )
    if colour:
        caption += f" The colour {colour[0]} is the difference of total magnitudes, not corrected for dust or redshift."
    body = paragraph(said) + table(head, rows) + figure(svg, caption, "drawn")
    if len(people.bands) > 2:
        svg = inline_svg(
            lambda f: draw_by_band(f, people, SCREEN), 10.4, 3.0, f"{name}-bands", "Size and light by band"
        )
        body += figure(
            svg,
            "Half-light radius and light of the median galaxy in every band, relative to its own in "
            f"{people.reference}: median with its error, and the middle 68 % of the galaxies. Each band is measured "
            "with its own isophotes, at its own seeing.",
            "drawn",
        )
    return Chapter(title, body)


def failures_chapter(measured: Measured, title: str) -> Chapter:
    """How many rows carry which flag and what it means; every band's share; pictures of the troubled."""
    flags = measured.table["flag"].to_numpy(zero_copy_only=False)
    bands = np.array(measured.table["band"].to_pylist())
    counts, here = flag_counts(flags.tolist()), flag_counts(flags[bands == measured.reference].tolist())
    clean = int((~troubled(flags)).sum())
    said = (
        f"{clean:,} of {count(len(flags), 'profile')} ({100 * clean / len(flags):.0f} %) are clean. Nothing is left "
        "out of the table: a row that could not be measured, or only in part, carries a flag."
    )
    rows = [
        (escape(in_words(bit)), f"{counts[bit]:,}", f"{here[bit]:,}", escape(MEANINGS[bit]))
        for bit in Flag
        if counts[bit]
    ]
    rows = [(name, meaning, everywhere, in_reference) for name, everywhere, in_reference, meaning in rows]
    head = ("flag", "meaning", "profiles", f"in {escape(measured.reference)}")
    sizes = measured.rows["r_e"].to_numpy(zero_copy_only=False).astype(float)
    sizeless = int((~np.isfinite(sizes)).sum())
    if sizeless == len(sizes) and not measured.shaped:
        said += " The engine states no half-light radius."
    elif sizeless:
        said += (
            f" In {escape(measured.reference)}, {sizeless:,} of {count(len(sizes), 'galaxy')} have no half-light "
            "radius: less than half of their total lies within the last isophote, or nothing could be measured."
        )
    body = paragraph(said) + (table(head, rows, words=2) if rows else "") + _by_band(measured)
    troubles = [row for row in measured.rows.to_pylist() if row["flag"] & ~int(REMARKS)]
    pictures = measured.portraits(_spread(troubles), side=128, drawn=True)
    if pictures:
        words = {row["object_id"]: ", ".join(names_of(row["flag"])) for row in troubles}
        shown = [(svg, name, f"{name}: {words[name]}") for name, svg in pictures.items()]
        caption = (
            f"{len(shown)} of {count(len(troubles), 'galaxy')} with a flag in {measured.reference}, one of each first."
        )
        body += figure(tiles(shown), caption, "troubles")
    return Chapter(title, body)


def _spread(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """TROUBLED rows, those whose combination of flags was not seen before first."""
    seen: dict[int, int] = {}
    order = []
    for row in rows:
        seen[row["flag"]] = seen.get(row["flag"], 0) + 1
        order.append(seen[row["flag"]])
    return [rows[k] for k in np.argsort(order, kind="stable")[:TROUBLED]]


def _by_band(measured: Measured) -> str:
    """How many galaxies each band has measured, cleanly, and how well."""
    rows = []
    for band in measured.people.bands:
        here = measured.table.filter(pc.equal(measured.table["band"], band))
        flags = here["flag"].to_numpy(zero_copy_only=False)
        good = here.filter(pa.array(~troubled(flags)))
        errors = good["mag_error"].to_numpy(zero_copy_only=False)
        reach = [row[-1] for row in good["sb"].to_pylist() if row and np.isfinite(row[-1])]
        faintest = float(np.median(reach)) if reach else np.nan
        typical = float(np.nanmedian(errors)) if np.isfinite(errors).any() else np.nan
        empty = int(((flags & int(Flag.NOTHING)) != 0).sum())
        rows.append(
            (escape(band), f"{len(here):,}", f"{len(good):,}", f"{empty:,}", number(typical, 3), number(faintest))
        )
    head = (
        "band",
        "profiles",
        "clean",
        "empty",
        "median error of the magnitude",
        "median μ of the last point [mag arcsec<sup>−2</sup>]",
    )
    return table(head, rows)


def objects_chapter(measured: Measured, title: str) -> Chapter:
    """One line per object, sortable."""
    rows = measured.rows.to_pylist()
    order = sorted(range(len(rows)), key=lambda k: _last(rows[k]["mag"]))[:LISTED]
    ellipticity, pa_ = (at_half_light(measured.rows, name) for name in ("ellipticity", "pa"))
    others = [band for band in measured.people.bands if band != measured.reference]
    mags = {band: _by_object(measured.table, band) for band in others}
    unit, band = measured.people.radius_unit, escape(measured.reference)
    head: tuple[str, ...] = (
        "object",
        "flags",
        f"{band} [mag]",
        f"<i>R</i><sub>e</sub> [{unit}]",
        f"<i>R</i><sub>26</sub> [{unit}]",
        "ellipticity",
    )
    head += ("PA [deg]", *(f"{escape(other)} [mag]" for other in others))
    lines: list[list[str | Cell]] = []
    for k in order:
        row = rows[k]
        line: list[str | Cell] = [
            escape(row["object_id"]),
            Cell(escape(", ".join(names_of(row["flag"]))) or MISSING, row["flag"] & ~int(REMARKS)),
            Cell(with_error(row["mag"], row["mag_error"]), row["mag"]),
            Cell(with_error(row["r_e"], row["r_e_error"]), row["r_e"]),
            *(
                Cell(number(value, digits), float(value))
                for value, digits in ((row["r_26"], 2), (ellipticity[k], 2), (pa_[k], 0))
            ),
        ]
        for other in others:
            value = mags[other].get(row["object_id"], np.nan)
            line.append(Cell(number(value), value))
        lines.append(line)
    frame_ = "from north through east" if not rows or not rows[0]["flag"] & Flag.NO_WCS else "from +x towards +y"
    said = (
        f"{'All' if len(lines) == len(rows) else f'The brightest {len(lines):,} of'} {count(len(rows), 'object')}, "
        f"as measured in {band} (ellipticity and position angle at the half-light radius, PA {frame_}), and total "
        "magnitudes in the other bands. Click a title to sort. The whole table with all profiles is "
        f"{escape(measured.name)}."
    )
    return Chapter(title, paragraph(said) + f'<div class="scroll">{table(head, lines, "sortable", words=2)}</div>')


def _last(value: float | None) -> float:
    return value if value is not None and np.isfinite(value) else np.inf


def _by_object(table_: pa.Table, band: str) -> dict[str, float]:
    here = table_.filter(pc.equal(table_["band"], band))
    return dict(zip(here["object_id"].to_pylist(), here["mag"].to_pylist(), strict=True))
