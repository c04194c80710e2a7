"""A survey and what was made of it in one sentence for people, and in facts for programs."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import skyloom as sl


def unknowns(survey: sl.Survey) -> list[str]:
    """What the source did not say, and what follows for every result."""
    bare = [band.name for band in survey.info.bands if band.zero_point is None]
    positions = survey.table(["ra"])["ra"]
    said = []
    if bare:
        said.append(f"no zero point for {', '.join(bare)}: results in instrumental units")
    if survey.info.pixel_scale is None:
        said.append("no pixel scale: sizes in pixels")
    if len(positions) and positions.null_count == len(positions):
        said.append("no WCS: positions in pixel coordinates")
    return said


def quarantine(survey: Path) -> Path:
    """The list of what was set aside, beside the survey."""
    return survey.with_name(f"{survey.name}.quarantine.csv")


def set_aside(survey: Path) -> Counter[str]:
    """How many objects are in the quarantine of a survey, by reason."""
    if not (survey.exists() and quarantine(survey).exists()):
        return Counter()
    with quarantine(survey).open(newline="", encoding="utf-8") as rows:
        return Counter(row["reason"] for row in csv.DictReader(rows))


def complaint(bad: Counter[str], survey: Path) -> list[str]:
    """`2 set aside in kids.lance.quarantine.csv (1 × the file is empty, …)`, or nothing."""
    reasons = [f"{count} × {reason}" for reason, count in bad.most_common(3)] + ["…"] * (len(bad) > 3)
    return [f"{bad.total()} set aside in {quarantine(survey)} ({', '.join(reasons)})"] if bad else []


def describe(survey: sl.Survey) -> dict[str, Any]:
    """The facts of a survey that every summary carries."""
    return {
        "survey": str(survey.path),
        "objects": len(survey),
        "bands": survey.info.band_names,
        "shape": survey.info.shape,
        "version": survey.version,
        "unknown": unknowns(survey),
    }


def sentence(survey: sl.Survey, *remarks: str) -> str:
    """`kids.lance: 2560 cutouts of 64×64 pixels in u, g, r; …`"""
    height, width = survey.info.shape
    what = f"{survey.path}: {len(survey)} cutouts of {height}×{width} pixels in {', '.join(survey.info.band_names)}"
    return "; ".join((what, *remarks))


def profile_column(engine: str) -> str:
    """The column in which `--keep` puts the profiles of an engine, or of a run."""
    return f"profile_{Path(engine).name.replace('-', '_')}"


def kept_profiles(survey: sl.Survey, column: str) -> tuple[str, dict[str, Any]]:
    """`kids.lance: 12 profiles of 4 objects in g, r, i, in the column profile_courteau`, and the same for programs."""
    profiles = survey.table([column])[column].combine_chunks()
    there = set(profiles.flatten().field("band").to_pylist())
    bands = [band for band in survey.info.band_names if band in there]
    objects, count = len(profiles) - profiles.null_count, len(profiles.flatten())
    said = f"{survey.path}: {count} profiles of {objects} objects in {', '.join(bands)}, in the column {column}"
    return said, {"survey": str(survey.path), "column": column, "profiles": count, "objects": objects, "bands": bands}
