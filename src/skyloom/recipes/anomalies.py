"""`anomalies`: the oddest objects of a survey by their embeddings, and those like the ones that somebody wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from skyloom import __version__
from skyloom.data import store
from skyloom.data.embeddings import read_embeddings
from skyloom.data.opinions import COLUMN, read_opinions
from skyloom.errors import RequestError
from skyloom.infer.embed import Encoder
from skyloom.infer.oddity import main_directions, oddity, relabelled
from skyloom.infer.query import weights_of
from skyloom.report.contact import Panel, Sheet
from skyloom.report.results import check_results, require_positions, write_results

DEGREES = {"unit": "deg"}
FIELDS = pa.schema(
    [
        pa.field("rank", pa.int32()),
        pa.field("object_id", pa.string()),
        pa.field("ra", pa.float64(), metadata=DEGREES),
        pa.field("dec", pa.float64(), metadata=DEGREES),
        *(pa.field(name, pa.float64()) for name in ("score", "oddity", "isolation", "sparsity")),
        pa.field(COLUMN, pa.string()),
    ]
)


def anomalies(
    survey: store.Survey | str | Path,
    k: int = 100,
    *,
    with_: str | Path | Encoder | None = None,
    where: str | None = None,
    labels: str | Path | Sequence[str | Path] = (),
    out: str | Path | Sequence[str | Path] = (),
    seed: int = 0,
) -> pa.Table:
    """The k oddest objects of a survey that nobody has labelled yet, the oddest first.

    with_ : the embedding, by the name of its weights or their run directory; None for the survey's only one
    where : an SQL filter: only objects that pass are looked at, and compared with each other
    labels : files with the columns object_id and label, yes for what is wanted, no for what is not: what comes next is
        like the wanted, and odd. The tables written here have a column to fill in, and may be given back. While all
        labels say the same, the order by oddity stays, and the notes say so.
    out : files to write: a table (.parquet, .ecsv, .fits), a contact sheet (.png, .pdf, .html), a map of
        where they lie (.moc.fits)
    Columns: rank from 1, object_id, ra and dec [deg]; score, by which they are ordered; oddity, isolation, sparsity:
    see `infer.oddity`; label, blank. The schema's metadata holds what was done, and notes.
    Odd is not interesting: bad pixels and blends are odd too.
    Raises RequestError for embeddings that are not there, k < 1 or fewer than 3 objects; CatalogueError for labels that
    cannot be used.
    """
    survey, paths = store.opened(survey), check_results(out)
    if k < 1:
        raise RequestError(f"k={k}: ask for at least one object")
    positions = survey.table(["object_id", "ra", "dec"])
    require_positions(paths, positions)
    every = positions["object_id"].to_pylist()
    files = [labels] if isinstance(labels, str | Path) else labels
    given = read_opinions(files, every, survey.path.name)
    name, hash = weights_of(with_)
    kept = read_embeddings(survey, name, where, hash=hash)
    places = main_directions(kept.vectors)
    found = oddity(places, seed)
    labelled = np.array([one in given for one in kept.ids])
    score = relabelled(places, found.score, labelled, np.array([given.get(one, False) for one in kept.ids]), seed)
    order = np.lexsort((np.arange(len(score)), -score))[: min(k, int((~labelled).sum()))]
    place = {one: row for row, one in enumerate(every)}
    at = [place[kept.ids[row]] for row in order]
    ra, dec = (positions[name].to_numpy(zero_copy_only=False).astype(float)[at] for name in ("ra", "dec"))
    columns = {"score": score, "oddity": found.score, "isolation": found.isolation, "sparsity": found.sparsity}
    story = {
        "survey": survey.path.name, "survey_hash": survey.content_hash, "skyloom": __version__, "searched": kept.name,
        "weights": kept.hash, "where": where or "", "notes": "\n".join(_notes(given, kept.ids)),
    }  # fmt: skip
    rows = pa.table(
        {
            "rank": np.arange(1, len(order) + 1), "object_id": [kept.ids[row] for row in order], "ra": ra, "dec": dec,
            **{name: values[order] for name, values in columns.items()}, COLUMN: [""] * len(order),
        }
    ).cast(FIELDS).replace_schema_metadata(story)  # fmt: skip
    write_results(paths, rows, lambda: _sheet(survey, rows, kept.name))
    return rows


def _notes(given: dict[str, bool], ids: Sequence[str]) -> list[str]:
    """What is to be said of the labels."""
    there = set(ids)
    used = [label for one, label in given.items() if one in there]
    notes = []
    if len(used) < len(given):
        notes.append(f"{len(given) - len(used)} of {len(given)} labelled objects have no embedding or do not pass.")
    if used and len(set(used)) == 1:
        word = "yes" if used[0] else "no"
        notes.append(
            f"All {len(used)} labels say {word}, which tells nothing apart: the order is that of oddity alone."
        )
    elif used:
        notes.append(f"Ordered by {len(used)} labels, {sum(used)} of them yes, and by oddity.")
    return notes


def _sheet(survey: store.Survey, rows: pa.Table, name: str) -> Sheet:
    cutouts = survey.read(ids=rows["object_id"].to_pylist())
    panels = [
        Panel(cutout, str(row["rank"]), f"{row['score']:.3g}")
        for cutout, row in zip(cutouts, rows.to_pylist(), strict=True)
    ]
    notes = [line for line in (rows.schema.metadata or {}).get(b"notes", b"").decode().split("\n") if line]
    lead = (f"The oddest objects of {survey.path.name} by the embeddings of {name}, with their scores.", *notes)
    return Sheet(f"Oddest of {survey.path.name}", lead, [panels], survey.info)
