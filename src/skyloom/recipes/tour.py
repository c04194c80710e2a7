"""The tour: the whole story on the real field that comes with skyloom: ingest, measure, search, simulate, report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from skyloom import __version__
from skyloom.data import store
from skyloom.data.destination import write_whole
from skyloom.data.mosaic import Target, cut, sky_meshes
from skyloom.data.sample import find_sources, read_field, read_sample
from skyloom.data.store import Survey
from skyloom.data.tables import write_table
from skyloom.errors import StoreError
from skyloom.infer.profiles import profile
from skyloom.recipes.tour_fields import SIDE as SKY
from skyloom.recipes.tour_fields import made_field_chapter
from skyloom.recipes.tour_galaxies import SHOWN, WEIGHTS, mended_chapter, simulated_chapter
from skyloom.recipes.tour_looks import WEIGHTS as LOOKS
from skyloom.recipes.tour_looks import embedded, looks_chapters
from skyloom.report.page import Step, concatenated, report

LARGEST = 200  # galaxies that are measured
SIDE = 64  # of the cutouts of the whole survey [pixel]
SIDES = (128, 512)  # of the cutouts that are measured [pixel]
LEARNED, LEARNED_BAND = "profile-decoder", "r"  # the weights that measure the same galaxies once more, and where
FRAME = 10  # half-light radii that a cutout must be wide for the sky to be seen around its galaxy

Progress = Callable[[int, int | None, str], None]


@dataclass
class Diary:
    """The steps of a tour as they are taken, and how long each took."""

    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Time a step; the list takes what came out of it."""
        started, remarks = time.perf_counter(), list[str]()
        yield remarks
        self.steps.append(Step(name, time.perf_counter() - started, ", ".join(remarks)))


def tour(out: str | Path = "tour", progress: Progress | None = None) -> dict[str, Any]:
    """Ingest the sample survey, measure its LARGEST galaxies in every band, and write a report; all of it under `out`.

    Surveys of an earlier tour are used again; profiles and report are made anew. Every file is the old one or the new
    one, never half of either.
    Returns a summary: the files, the counts, the seconds of each step.
    Raises StoreError if `out` cannot be written, or holds surveys that a tour of this version would not make.
    """
    out, diary = _folder(Path(out)), Diary()
    surveys = _surveys(out, diary, progress)
    table, learned, page = out / "profiles.parquet", out / "profiles_learned.parquet", out / "report.html"
    rows = _profiles(surveys[1:], "isophotes", None, table, diary, progress)
    _profiles(surveys[1:], LEARNED, LEARNED_BAND, learned, diary, progress)
    with diary.step(f"embed {surveys[0].path.name} with {LOOKS}") as remarks:
        surveys[0], words = embedded(surveys[0], progress)
        remarks.append(words)
    with diary.step("map, neighbours, oddest"):
        more = looks_chapters(surveys[0])
    with diary.step(f"draw galaxies with {WEIGHTS}") as remarks:
        more.append(simulated_chapter(surveys[0], out, progress))
        remarks.append(f"{SHOWN} galaxies")
    with diary.step("take a trail away"):
        more.append(mended_chapter(surveys[0], out, progress))
    with diary.step("make a sky") as remarks:
        more.append(made_field_chapter(out, progress))
        remarks.append(f"{SKY} × {SKY} pixels")
    paths = [*(survey.path for survey in surveys), table, learned]
    title = f"{LARGEST} galaxies in nine bands, measured by skyloom"
    with diary.step("report"):
        report(paths, page, title=title, steps=diary.steps, more=more, progress=progress)
    summary = {
        "report": str(page),
        "table": str(table),
        "learned": str(learned),
        "surveys": {str(survey.path): len(survey) for survey in surveys},
        "galaxies": len(set(rows["object_id"].to_pylist())),
        "profiles": len(rows),
        "seconds": {step.name: round(step.seconds, 2) for step in diary.steps},
        "elapsed": round(sum(step.seconds for step in diary.steps), 2),
    }
    write_whole(out / "tour.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def _profiles(
    surveys: Sequence[Survey], engine: str, band: str | None, out: Path, diary: Diary, progress: Progress | None
) -> pa.Table:
    """One table of all galaxies by one engine, in one band or in all, also written to `out`."""
    tables = []
    for survey in surveys:
        with diary.step(f"profile {survey.path.name} with {engine}") as remarks:
            tables.append(profile(survey, with_=engine, band=band, progress=progress))
            remarks.append(f"{len(tables[-1]):,} profiles of {len(survey)} galaxies")
    rows = concatenated(tables)
    write_table(rows, out)
    return rows


def largest_galaxies(targets: Sequence[Target], count: int = LARGEST) -> list[Target]:
    """The extended sources of the largest half-light radius: no stars, nothing saturated, no spikes of bright stars."""
    galaxies = [
        target
        for target in targets
        if target.columns["is_extended"]
        and not any(target.columns[no] for no in ("is_star", "is_saturated", "in_halo"))
    ]
    return sorted(galaxies, key=lambda target: -target.columns["half_light_radius"])[:count]


def frame_side(half_light_radius: float) -> int:
    """The smallest of SIDES that is FRAME half-light radii wide, or the largest there is [pixel]."""
    return next((side for side in SIDES if FRAME * half_light_radius <= side), SIDES[-1])


def _surveys(out: Path, diary: Diary, progress: Progress | None) -> list[Survey]:
    """The whole field in small cutouts, and its largest galaxies in cutouts that hold them, by size."""
    paths = {SIDE: out / "kids.lance", **{side: out / f"kids_{side}.lance" for side in SIDES}}
    there = {side: _earlier(path, side) for side, path in paths.items() if path.exists() and any(path.iterdir())}
    if len(there) == len(paths):
        with diary.step("ingest") as remarks:
            remarks.append(f"{len(there[SIDE]):,} objects, from an earlier tour")
        return list(there.values())
    with diary.step("read and clean the field") as remarks:
        mosaic, rms = read_field()
        remarks.append(f"{len(mosaic.bands)} bands of {mosaic.shape[1]} × {mosaic.shape[0]} pixels")
    with diary.step("detect") as remarks:
        targets, _ = find_sources(mosaic, rms)
        meshes = sky_meshes(mosaic)
        chosen = {SIDE: targets} | {side: [] for side in SIDES}
        for target in largest_galaxies(targets):
            chosen[frame_side(target.columns["half_light_radius"])].append(target)
        remarks.append(f"{len(targets):,} objects")
    for side, path in paths.items():
        if side not in there:
            with diary.step(f"ingest {path.name}") as remarks:
                cutouts = _watched(cut(mosaic, chosen[side], side, meshes), len(chosen[side]), path.name, progress)
                there[side] = store.write(path, read_sample(size=side).info, cutouts)
                remarks.append(f"{len(chosen[side]):,} cutouts of {side} × {side} pixels")
    return [there[side] for side in paths]


def _earlier(path: Path, side: int) -> Survey:
    """The survey that an earlier tour left; StoreError if this one would make another."""
    survey = store.open(path)
    if survey.info != read_sample(size=side).info:
        raise StoreError(
            f"{path} is not the survey that skyloom {__version__} makes here; remove it, or choose another folder"
        )
    return survey


def _watched(cutouts, total: int, what: str, progress: Progress | None) -> Iterator:
    for done, cutout in enumerate(cutouts, 1):
        yield cutout
        if progress:
            progress(done, total, what)


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise StoreError(f"{out} cannot be made a folder: {fault}; choose another") from fault
    return out
