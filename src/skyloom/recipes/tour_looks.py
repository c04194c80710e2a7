"""The part of the tour about looks: the survey on one sheet, galaxies and those most like them, the oddest objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from scipy.stats import spearmanr

from skyloom.data.store import Survey
from skyloom.infer.embed import embed
from skyloom.infer.maps import survey_map
from skyloom.recipes.anomalies import anomalies, odd_sheet
from skyloom.recipes.search import Asked, found_sheet, search
from skyloom.report.contact import sheet_chapter
from skyloom.report.maps import map_chapter
from skyloom.report.markup import Chapter, number, table

WEIGHTS = "simclr-kids"
FAIR = "is_extended AND NOT is_star AND NOT in_bad_strip AND NOT in_halo AND NOT is_saturated AND NOT is_cut"
CELLS = 12  # galaxies along the map's longer side
QUERIES = ("sample-00047", "sample-00306", "sample-01991")  # a blue disc, one seen from its edge, a red elliptical
NEAREST, ODDEST = 8, 10
SEEN = 5.0  # light of an aperture over its error, from which a band counts as seen
BESIDE = 16.0  # as far as the encoder looks from the middle of a cutout, along each axis [pixel]
FLAGS = {
    "is_cut": "cut off by an edge or a defect",
    "is_saturated": "saturated",
    "is_fragment": "a fragment of something larger",
    "in_bad_strip": "in a strip of defects",
    "in_halo": "in the halo of a saturated star",
}
MARKS: Mapping[str, Callable[[dict], float]] = {
    "the magnitude in r": lambda row: row["mag_r"],
    "the colour g − r": lambda row: row["mag_g"] - row["mag_r"],
    "the half-light radius": lambda row: row["half_light_radius"],
    "the ellipticity": lambda row: row["ellipticity"],
    "the light of a neighbour": lambda row: row["beside"],
}
Progress = Callable[[int, int | None, str], None]


def embedded(kids: Survey, progress: Progress | None) -> tuple[Survey, str]:
    """The survey with a vector of every object, and how many of them are new, in words."""
    made = embed(kids, WEIGHTS, progress=progress)
    return made.survey, f"{made.made:,} vectors" if made.made else f"{made.kept:,} vectors, from an earlier tour"


def looks_chapters(kids: Survey) -> list[Chapter]:
    """The map, the neighbours, and the oddest of a survey that has vectors."""
    facts = with_neighbours(kids.table(columns_read(kids)))
    return [_map(kids, facts), _neighbours(kids, facts), _oddest(kids, facts)]


def columns_read(kids: Survey) -> list[str]:
    """The columns that say what an object is."""
    fluxes = [f"{what}_{band}" for band in kids.info.band_names for what in ("flux", "flux_error")]
    named = ["object_id", "x", "y", "mag_g", "mag_r", "half_light_radius", "ellipticity", "is_star", "is_extended"]
    return [*named, *FLAGS, *fluxes]


def with_neighbours(rows: pa.Table) -> dict[str, dict]:
    """What columns say of each object; `beside` : light in r of the brightest other within BESIDE, over its own."""
    facts = rows.to_pylist()
    place = np.array([(row["x"], row["y"]) for row in facts])
    light = np.array([row["flux_r"] for row in facts], float)
    for here, row in enumerate(facts):
        near = (np.abs(place - place[here]) <= BESIDE).all(1)
        near[here] = False
        own = max(light[here], row["flux_error_r"])
        row["beside"] = float(light[near].max(initial=0.0) / own)
    return {row["object_id"]: row for row in facts}


def _map(kids: Survey, facts: Mapping[str, dict]) -> Chapter:
    places = survey_map(kids, WEIGHTS, where=FAIR, by="directions")
    share = float((places.schema.metadata or {})[b"share"])
    rows = [facts[one] for one in places["object_id"].to_pylist()]
    across, up = (strongest(places[name].to_numpy(), rows) for name in ("x", "y"))
    said = (
        f"{len(rows)} galaxies, laid out by the vectors that {escape(WEIGHTS)} gives them, along the two principal "
        f"directions of these, which hold {100 * share:.0f} % of their variance.",
        f"From left to right what changes most is {across[0]} (rank correlation {number(across[1])}), from bottom to "
        f"top {up[0]} ({number(up[1])}).",
        "Nobody told the network what to look for: it learnt to know a galaxy again after turning, blurring and noise.",
    )
    return map_chapter(kids, places, said, "The survey on one sheet", "map", CELLS)


def strongest(values: Float[np.ndarray, "n"], rows: Sequence[dict]) -> tuple[str, float]:
    """The mark that goes along with some values best, and its rank correlation with them."""
    found = {}
    for name, mark in MARKS.items():
        marks = np.array([mark(row) for row in rows], float)
        known = np.isfinite(marks)
        found[name] = float(spearmanr(values[known], marks[known]).statistic)
    best = max(found, key=lambda name: abs(found[name]))
    return best, found[best]


def _neighbours(kids: Survey, facts: Mapping[str, dict]) -> Chapter:
    rows = search(kids, QUERIES, NEAREST, with_=WEIGHTS, where=FAIR)
    apart = [abs(facts[row["query"]]["mag_r"] - facts[row["object_id"]]["mag_r"]) for row in rows.to_pylist()]
    fair = kids.table(["mag_r"], FAIR)["mag_r"].to_numpy()
    random = np.concatenate([np.abs(fair - facts[one]["mag_r"]) for one in QUERIES])
    lead = (
        "Three galaxies, each in front of the eight whose vectors are nearest to its own; below them their distances "
        "(1 − cosine).",
        f"Their magnitudes in r differ from the first one's by {number(float(np.median(apart)))} in the median, those "
        f"of galaxies drawn at random by {number(float(np.nanmedian(random)))}.",
    )
    sheet = found_sheet(kids, Asked(QUERIES, (), ()), rows, WEIGHTS)._replace(lead=lead)
    return sheet_chapter(sheet, "Galaxies that look alike", "neighbours")


def _oddest(kids: Survey, facts: Mapping[str, dict]) -> Chapter:
    rows = anomalies(kids, ODDEST, with_=WEIGHTS)
    names = rows["object_id"].to_pylist()
    notes = [line for line in (rows.schema.metadata or {})[b"notes"].decode().split("\n") if line]
    said = {one: said_of(facts[one], kids.info.band_names) for one in names}
    alone = sum("alone" in words for words in said.values())
    lead = (
        f"The ten of {len(kids):,} objects whose vectors are farthest from all others. Odd is not interesting: "
        f"{alone} of them have light in one band alone, as hot pixels, cosmic rays and reflections have, and the "
        "columns of the survey say of the others what the table below says.",
        "With labels of a few, skyloom anomalies brings more of those that are wanted.",
        *notes,
    )
    chapter = sheet_chapter(odd_sheet(kids, rows)._replace(lead=lead), "The oddest objects", "oddest", ODDEST)
    cells = (
        [str(rank), escape(one), escape(said[one]), number(facts[one]["mag_r"]),
         number(facts[one]["half_light_radius"])]
        for rank, one in enumerate(names, 1)
    )  # fmt: skip
    head = ("rank", "object", "what its columns say", "r [mag]", "half-light radius [pixel]")
    return Chapter(chapter.title, chapter.body + table(head, cells, words=3))


def said_of(row: Mapping, bands: Sequence[str]) -> str:
    """What the columns of an object say that might make it odd, in words."""
    seen = [band for band in bands if row[f"flux_{band}"] > SEEN * row[f"flux_error_{band}"]]
    words = [f"light in {seen[0]} alone"] if len(seen) == 1 else []
    words += [] if seen else ["no light above the noise in any band"]
    words += [text for name, text in FLAGS.items() if row[name]]
    if row["beside"] > 1:
        words.append(f"beside a source {2.5 * np.log10(row['beside']):.1f} mag brighter")
    return ", ".join(words) or "nothing out of the ordinary"
