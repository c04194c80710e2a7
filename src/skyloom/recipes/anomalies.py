"""`anomalies`: the oddest objects of a survey by their embeddings, and those like the ones that somebody wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from skyloom import __version__
from skyloom.data import store
from skyloom.data.embeddings import read_embeddings
from skyloom.data.opinions import COLUMN, read_opinions
from skyloom.errors import RequestError
from skyloom.infer.embed import Encoder
from skyloom.infer.oddity import main_directions, oddity, relabelled
from skyloom.infer.query import weights_of
from skyloom.report.contact import Panel, Sheet
from skyloom.report.galaxies import look_of
from skyloom.report.results import check_results, require_positions, write_results

DEGREES = {"unit": "deg"}
GOOD = 0.9  # least share of good pixels in a cutout, unless another is asked for
TYPICAL = 200  # objects of the survey that say what is white on the sheet
TOGETHER = 32  # cutouts in memory at once
FIELDS = pa.schema(
    [
        pa.field("rank", pa.int32()),
        pa.field("object_id", pa.string()),
        pa.field("ra", pa.float64(), metadata=DEGREES),
        pa.field("dec", pa.float64(), metadata=DEGREES),
        *(pa.field(name, pa.float64()) for name in ("score", "oddity", "isolation", "sparsity", "good")),
        pa.field(COLUMN, pa.string()),
    ]
)


def anomalies(
    survey: store.Survey | str | Path,
    k: int = 100,
    *,
    with_: str | Path | Encoder | None = None,
    where: str | None = None,
    good: float = GOOD,
    labels: str | Path | Sequence[str | Path] = (),
    out: str | Path | Sequence[str | Path] = (),
    seed: int = 0,
) -> pa.Table:
    """The k oddest objects of a survey that nobody has labelled yet and that are seen whole, the oddest first.

    with_ : the embedding, by the name of its weights or their run directory; None for the survey's only one
    where : an SQL filter: only objects that pass are looked at, and compared with each other
    good : least share of good pixels (inverse variance above 0) in every band of a cutout that has any; objects at the
        edge of the field have less, and are left out. 0 leaves nothing out
    labels : files with the columns object_id and label, yes for what is wanted, no for what is not: what comes next is
        like the wanted, and odd. The tables written here have a column to fill in, and may be given back. While all
        labels say the same, the order by oddity stays, and the notes say so.
    out : files to write: a table (.parquet, .ecsv, .fits), a contact sheet (.png, .pdf, .html), a map of
        where they lie (.moc.fits)
    Columns: rank from 1, object_id, ra and dec [deg]; score, by which they are ordered; oddity, isolation, sparsity:
    see `infer.oddity`; good, the share of good pixels in the worst band; label,
    blank. The schema's metadata holds what was done, and notes.
    Odd is not interesting: defects and blends are odd too.
    Raises RequestError for embeddings that are not there, k < 1, a share outside of 0 to 1, fewer than 3 objects, or
    none that is seen whole; CatalogueError for labels that cannot be used.
    """
    survey, paths = store.opened(survey), check_results(out)
    _require(k, good)
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
    order = np.lexsort((np.arange(len(score)), -score))[: int((~labelled).sum())]
    order, shares, partly = _whole(survey, kept.ids, order, k, good)
    columns = {"score": score, "oddity": found.score, "isolation": found.isolation, "sparsity": found.sparsity}
    notes = [*_notes(given, kept.ids), *_left_out(partly, good)]
    story = {
        "survey": survey.path.name, "survey_hash": survey.content_hash, "skyloom": __version__, "searched": kept.name,
        "weights": kept.hash, "where": where or "", "notes": "\n".join(notes),
    }  # fmt: skip
    place = {one: row for row, one in enumerate(every)}
    rows = pa.table(
        {
            "rank": np.arange(1, len(order) + 1),
            **{name: positions[name].take([place[kept.ids[row]] for row in order]) for name in positions.column_names},
            **{name: values[order] for name, values in columns.items()}, "good": shares, COLUMN: [""] * len(order),
        }
    ).cast(FIELDS).replace_schema_metadata(story)  # fmt: skip
    write_results(paths, rows, lambda: odd_sheet(survey, rows))
    return rows


def _require(k: int, good: float) -> None:
    if k < 1:
        raise RequestError(f"k={k}: ask for at least one object")
    if not 0 <= good <= 1:
        raise RequestError(f"good={good}: a share of good pixels is between 0 and 1")


def _whole(
    survey: store.Survey, ids: Sequence[str], order: np.ndarray, k: int, good: float
) -> tuple[np.ndarray, list[float], int]:
    """The first k rows of an order whose cutouts have enough good pixels, their shares, and how many were passed by."""
    seen, shares, places = list[int](), list[float](), survey.rows_of(ids)
    while len(seen) < len(order) and sum(share >= good for share in shares) < k:
        some = order[len(seen) : len(seen) + TOGETHER].tolist()
        _, ivar = survey.cutouts_at(places[some])
        seen += some
        shares += good_share(ivar)
    whole = np.flatnonzero(np.array(shares) >= good)[:k]
    if len(order) and not len(whole):
        raise RequestError(
            f"none of {len(order)} objects of {survey.path.name} has {good:.0%} good pixels in every band; ask for less"
        )
    passed_by = int(whole[-1] + 1 - len(whole)) if len(whole) else 0
    return np.array(seen, int)[whole], [shares[place] for place in whole], passed_by


def good_share(ivar: Float32[np.ndarray, "n c h w"]) -> list[float]:
    """The share of good pixels in the worst band of each cutout; bands without any are missing, and do not count."""
    shares = (ivar > 0).mean((2, 3))
    return np.where(shares > 0, shares, 1.0).min(1).tolist()


def _left_out(partly: int, good: float) -> list[str]:
    """What is to be said of objects that are not seen whole."""
    if not partly:
        return []
    objects = "1 object that comes" if partly == 1 else f"{partly} objects that come"
    has = "has" if partly == 1 else "have"
    return [
        f"Left out: {objects} before the last of these and {has} less than {good:.0%} good pixels in some band, as at "
        "the edge of a field; good=0 (--good 0) shows them."
    ]


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


def odd_sheet(survey: store.Survey, rows: pa.Table) -> Sheet:
    """The oddest, in the order of the table that `anomalies` made; white is what is typical of the survey."""
    cutouts = survey.read(ids=rows["object_id"].to_pylist())
    panels = [
        Panel(cutout, str(row["rank"]), f"{row['score']:.3g}")
        for cutout, row in zip(cutouts, rows.to_pylist(), strict=True)
    ]
    story = {key.decode(): value.decode() for key, value in (rows.schema.metadata or {}).items()}
    by = f"by the embeddings of {story['searched']}"
    notes = [line for line in story["notes"].split("\n") if line]
    lead = (f"The oddest objects of {survey.path.name} {by}, with their scores.", *notes)
    every = survey.table(["object_id"])["object_id"].to_pylist()
    look = look_of(survey.read(ids=every[:: -(-len(every) // TYPICAL)]), survey.info)  # defects have no white
    return Sheet(f"Oddest of {survey.path.name}", lead, [panels], survey.info, look)
