"""`report`: surveys and tables in, one page out that opens anywhere."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from skyloom import __version__
from skyloom.data import store
from skyloom.data.store import Survey
from skyloom.data.tables import read_table
from skyloom.errors import RequestError
from skyloom.report.destination import page_destination, write_page
from skyloom.report.engines import duel_chapter, duels
from skyloom.report.markup import Chapter, count, facts, frame, number, table
from skyloom.report.measurements import Measured, chapters, failures_chapter, population_chapter
from skyloom.report.profiles import troubled
from skyloom.report.surveys import galaxies_chapter, kindred, survey_chapter
from skyloom.report.truth import truth_chapter

LIBRARIES = ("torch", "numpy", "scipy", "astropy", "sep", "pylance", "pyarrow", "matplotlib")
NEEDED = ("object_id", "band", "x", "y", "sma", "sb", "sb_error", "ellipticity", "pa", "mag", "r_e", "flag")

Progress = Callable[[int, int | None, str], None]


class Step(NamedTuple):
    """A piece of work that led to this page. seconds : wall time; remark : what came out of it"""

    name: str
    seconds: float
    remark: str = ""


def report(
    paths: Iterable[str | Path] | str | Path,
    out: str | Path,
    *,
    title: str | None = None,
    steps: Sequence[Step] = (),
    more: Sequence[Chapter] = (),
    progress: Progress | None = None,
) -> Path:
    """Write one self-contained HTML page on surveys (.lance) and profile tables (.parquet), in any mix.

    A table is shown with pictures where the survey that it was measured on is given too (it knows its content hash).
    steps : what was done before, and how long it took; more : chapters that follow those on surveys and tables
    Raises RequestError for other kinds of file, StoreError if a survey or `out` cannot be used, SourceError for a
    damaged table.
    """
    started = time.perf_counter()
    given = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    out = page_destination(out)
    surveys, tables = _opened(given)
    parts: list[Chapter] = []
    for chapter in _chapters(surveys, tables):
        parts.append(chapter)
        if progress:
            progress(len(parts), None, "report")
    lead = _lead(surveys, tables)
    parts += more
    steps = (*steps, Step("report", time.perf_counter() - started, f"this page, {count(len(parts) + 2, 'chapter')}"))
    parts += [_made(steps), _citing(surveys)]
    title = title or "A report on " + ", ".join(path.name for path in given)
    write_page(out, frame(title, lead, parts, f"skyloom {__version__}"))
    return out


def _opened(paths: Sequence[Path]) -> tuple[list[Survey], list[Measured]]:
    """The surveys and the tables among the paths, each table with the surveys that it was measured on."""
    if not paths:
        raise RequestError("a report needs at least one survey (.lance) or profile table (.parquet)")
    for path in paths:
        if not path.is_dir() and path.suffix not in (".lance", ".parquet"):
            raise RequestError(
                f"{path}: a report shows surveys (.lance) and profile tables (.parquet), not {path.suffix or 'this'}"
            )
    surveys = [store.open(path) for path in paths if path.suffix == ".lance" or path.is_dir()]
    tables = [_measured(path, surveys) for path in paths if path.suffix == ".parquet" and not path.is_dir()]
    return surveys, tables


def _measured(path: Path, surveys: Sequence[Survey]) -> Measured:
    rows = read_table(path)
    missing = [name for name in NEEDED if name not in rows.column_names]
    if missing:
        raise RequestError(
            f"{path} is not a profile table: it has no column {', '.join(missing)}; skyloom profile makes one"
        )
    hashes = Measured(path.name, rows, ()).hashes
    return Measured(path.name, rows, tuple(survey for survey in surveys if survey.content_hash in hashes))


def _chapters(surveys: Sequence[Survey], tables: Sequence[Measured]) -> Iterable[Chapter]:
    """In the order of the page: surveys; tables, whose pictures stand in for their surveys' own; engines compared."""
    shown = {survey.path for measured in tables if measured.homes for survey in measured.surveys}
    groups = kindred(surveys)
    for k, group in enumerate(groups):
        suffix = f": {group[0].path.name}" if len(groups) > 1 else ""
        yield survey_chapter(group, f"The survey{suffix}", f"s{k}")
        if not shown & {survey.path for survey in group} and len(group[0]):
            yield galaxies_chapter(group[0], f"Galaxies{suffix}")
    rivals = duels(tables)
    seconds = [duel.second for duel in rivals]
    alone = len(tables) - len(seconds) == 1
    for k, measured in enumerate(tables):
        if not any(measured is second for second in seconds):
            yield from chapters(measured, f"t{k}", "" if alone else f": {measured.name}")
            yield from _beside_truth(measured, "" if alone and not rivals else f": {measured.name}")
    for k, duel in enumerate(rivals):
        suffix = f": {duel.first.name}, {duel.second.name}" if len(rivals) > 1 else ""
        yield duel_chapter(duel, f"Two engines on the same galaxies{suffix}", f"d{k}")
        yield population_chapter(duel.second, f"The population: {duel.second.name}", f"e{k}")
        yield failures_chapter(duel.second, f"What failed, and why: {duel.second.name}")
        yield from _beside_truth(duel.second, f": {duel.second.name}")


def _beside_truth(measured: Measured, suffix: str) -> Iterable[Chapter]:
    chapter = truth_chapter(measured, f"Beside the truth{suffix}")
    return () if chapter is None else (chapter,)


def _lead(surveys: Sequence[Survey], tables: Sequence[Measured]) -> str:
    """What the page is about, in two sentences with its numbers."""
    sentences = []
    for group in kindred(surveys):
        bands = ", ".join(group[0].info.band_names)
        sentences.append(
            f"{count(len(group[0]), 'object')} in {escape(bands)}, from {escape(group[0].info.source or 'a survey')}."
        )
    for measured in tables:
        flags = measured.table["flag"].to_numpy(zero_copy_only=False)
        objects = count(len(set(measured.table["object_id"].to_pylist())), "galaxy")
        good = f"{int((~troubled(flags)).sum()):,} of the {count(len(flags), 'profile')} are clean"
        sentences.append(
            f"{objects} measured in {count(len(measured.people.bands), 'band')}: {good}." if len(flags) else ""
        )
    return " ".join(sentence for sentence in sentences if sentence)


def _made(steps: Sequence[Step]) -> Chapter:
    """How long each step took, on what."""
    rows = [(escape(step.name), escape(step.remark), number(step.seconds, 1)) for step in steps]
    total = number(sum(step.seconds for step in steps), 1)
    body = table(("step", "what came out", "wall time [s]"), [*rows, ("<b>in all</b>", "", total)], words=2)
    return Chapter("How it was made", body + facts(machine()))


def machine() -> list[tuple[str, str]]:
    """What a timing depends on: processor, cores, versions; nothing that names the machine or its user."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} of unknown version")
    return [
        ("processor", escape(f"{_processor()}, {cores} cores")),
        ("system", escape(f"{platform.system()} {platform.machine()}, Python {platform.python_version()}")),
        ("versions", escape(f"skyloom {__version__}; {', '.join(versions)}")),
        ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]


def _processor() -> str:
    """The processor's name as its system gives it."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        names = (
            line.partition(":")[2].strip() for line in listing.read_text().splitlines() if line.startswith("model name")
        )
        return next(names, platform.machine())
    return platform.processor() or platform.machine()


def _citing(surveys: Sequence[Survey]) -> Chapter:
    """What to cite: the software, and the data of each survey."""
    said = dict.fromkeys((survey.info.citation, survey.info.licence) for survey in surveys)
    pairs = [("software", f"skyloom {__version__}, BSD-3-Clause; the file CITATION.cff of its source has the entry.")]
    for citation, licence in said:
        pairs += [
            ("data", escape(citation) or "the survey states no citation"),
            ("terms", escape(licence) or "none stated"),
        ]
    pairs.append(("methods", "Each method's paper is named in its documentation and listed in docs/papers.md."))
    return Chapter("How to cite", facts(pairs))


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Profile tables of one engine as one, which remembers the surveys of all; RequestError if their units differ."""
    units = {tuple(str(field.metadata) for field in rows.schema) for rows in tables}
    if len(units) != 1:
        raise RequestError("profile tables in different units cannot become one; report on them side by side")
    story = dict(tables[0].schema.metadata or {})
    for key in (b"survey", b"survey_hash"):
        story[key] = b" ".join((rows.schema.metadata or {}).get(key, b"") for rows in tables)
    return pa.concat_tables([rows.replace_schema_metadata(story) for rows in tables])
