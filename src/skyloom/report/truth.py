"""The chapter on a table of mocks beside their truth: errors, and whether the stated intervals hold."""

from __future__ import annotations

from html import escape

from skyloom.metrics.calibration import LEVELS, TOLERANCE, Coverage, coverage, verdict
from skyloom.metrics.profiles import BINS, Points, deviations
from skyloom.metrics.references import truth_table
from skyloom.metrics.score import median
from skyloom.report.markup import Chapter, count, number, paragraph, table, with_error
from skyloom.report.measurements import Measured


def truth_chapter(measured: Measured, title: str) -> Chapter | None:
    """How far a table is from the truth of the mocks that it was measured on; None if they are none."""
    known = [survey for survey in measured.surveys if "true_sma" in survey.column_names]
    if not known:
        return None
    there = set(known[0].table(["object_id"])["object_id"].to_pylist())
    ids = [name for name in dict.fromkeys(measured.table["object_id"].to_pylist()) if name in there]
    bands = [band for band in dict.fromkeys(measured.table["band"].to_pylist()) if band in known[0].info.band_names]
    points = deviations(measured.table, truth_table(known[0], bands, ids))
    if not len(points.sb):
        return None
    said = (
        f"The profiles of {count(len(ids), 'mock')} in {escape(', '.join(bands))} beside the truth: all points of all "
        "galaxies, bright companions included. Differences are measured − true. Errors are from a bootstrap over "
        "galaxies."
    )
    found = {level: coverage(points, level) for level in LEVELS}
    head = ("true μ [mag arcsec<sup>−2</sup>]", "points", "median |Δμ|", "median Δμ", *map(_stated, LEVELS))
    rows = [_row(points, place, found) for place in range(len(BINS))]
    return Chapter(title, paragraph(said) + table(head, rows) + _verdict(found))


def _stated(level: float) -> str:
    return f"within the {level:.0%} interval [%]".replace("%", " %", 1)


def _row(points: Points, place: int, found: dict[float, list[Coverage]]) -> tuple[str, ...]:
    low, high = BINS[place]
    here = points.between(low, high)
    size, shift = median(abs(here.deviation), group=here.galaxy), median(here.deviation, group=here.galaxy)
    shares = [found[level][place].share for level in LEVELS]
    return (
        f"{low:g}–{high:g}" if low else f"below {high:g}",
        f"{size.n:,}",
        with_error(size.value, size.error, 4),
        number(shift.value, 4),
        *(with_error(100 * share.value, 100 * share.error, 1) for share in shares),
    )


def _verdict(found: dict[float, list[Coverage]]) -> str:
    """Whether the intervals hold, in a sentence; where they do not, which and how."""
    judged = [one for level in LEVELS for one in found[level] if one.share.n]
    if not judged:
        return paragraph("The engine states no errors, so there are no intervals to judge.")
    said = verdict(judged)
    points = f"{100 * TOLERANCE:.0f} points"
    if said.holds:
        return paragraph(f"<b>The stated intervals hold</b> within {points} in every bin.")
    bad = "; ".join(escape(line) for line in said.lines if not line.endswith(": holds"))
    return paragraph(
        f"<b>The stated intervals do not hold</b> within {points} in every bin. Where they were calibrated on data "
        f"unlike these, such as other seeing or depth, that is why. {bad}."
    )
