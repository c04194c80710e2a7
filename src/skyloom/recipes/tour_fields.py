"""The part of the tour about a sky that no telescope has seen, beside as much of the real one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from skyloom.data import store
from skyloom.data.ingest import ingest
from skyloom.data.mosaic import Target, cut, sky_meshes
from skyloom.data.sample import read_field, read_sample
from skyloom.data.store import Survey
from skyloom.infer.fields.field import field
from skyloom.report.generated import field_chapter
from skyloom.report.markup import Chapter
from skyloom.report.sheets import Album

WEIGHTS = "deep-field"
SIDE = 1024  # of both skies [pixel]
CORNER = 1300, 700  # first column and row of the real one: no saturated star, no step of the sky [pixel]
Progress = Callable[[int, int | None, str], None]


def made_field_chapter(out: Path, progress: Progress | None) -> Chapter:
    """A field of SIDE × SIDE pixels beside a part of the real one. out : a folder"""
    real = _real(out / "real_field.lance")
    for name in ("field", "made_field.lance"):
        shutil.rmtree(out / name, ignore_errors=True)
    made = field(out / "field", WEIGHTS, (SIDE, SIDE), tile=SIDE, seed=1, progress=progress)
    fake = ingest(out / "field", out / "made_field.lance", catalogue="grid", size=SIDE, progress=progress)
    ours, theirs = (Album([*survey.read()], survey.info) for survey in (real, fake))
    return field_chapter(ours, theirs, made.sources, "A sky without end", "made-field", by=WEIGHTS)


def _real(path: Path) -> Survey:
    """The part of the real field, of an earlier tour or new."""
    if path.exists():
        return store.open(path)
    mosaic, _ = read_field()
    x, y = (first + SIDE // 2 for first in CORNER)
    info = replace(read_sample(size=64).info, shape=(SIDE, SIDE))
    return store.write(path, info, cut(mosaic, [Target("real sky", x, y)], SIDE, sky_meshes(mosaic)))
