"""`search`: the galaxies of a survey most like some of its own, an image from elsewhere, or a sketch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from skyloom import __version__
from skyloom.data import store
from skyloom.data.cutout import Cutout
from skyloom.data.embeddings import held, read_embeddings
from skyloom.data.index import Index, Nearest, open_index
from skyloom.errors import CatalogueError, RequestError
from skyloom.infer import transfer as transfers
from skyloom.infer.embed import Encoder, encoder_of
from skyloom.infer.generator import Generator
from skyloom.infer.query import as_seen, weights_of
from skyloom.metrics import nearest as by_pixels
from skyloom.report.contact import Panel, Sheet
from skyloom.report.results import check_results, require_positions, write_results

PIXELS = "pixels"  # in place of an embedding: light compared pixel by pixel
STRENGTH = 0.6  # of the transfer that a query goes through
FIELDS = pa.schema(
    [
        pa.field("query", pa.string()),
        pa.field("rank", pa.int32()),
        pa.field("object_id", pa.string()),
        pa.field("ra", pa.float64(), metadata={"unit": "deg"}),
        pa.field("dec", pa.float64(), metadata={"unit": "deg"}),
        pa.field("distance", pa.float64()),
    ]
)

Progress = Callable[[int, int | None, str], None]


class Asked(NamedTuple):
    """What is searched for.

    own : objects of the survey; images : others, each as one cutout of it or several of which any may be found; notes :
    on what was done to those
    """

    own: tuple[str, ...]
    images: tuple[tuple[Cutout, ...], ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.own, *(one[0].object_id for one in self.images))

    @property
    def cutouts(self) -> list[Cutout]:
        return [cutout for image in self.images for cutout in image]

    @property
    def parts(self) -> list[int]:
        """How many rows each query has of those that are searched for."""
        return [*[1] * len(self.own), *map(len, self.images)]


def search(
    survey: store.Survey | str | Path,
    query: str | Path | Sequence[str | Path],
    k: int = 10,
    *,
    with_: str | Path | Encoder | None = None,
    where: str | None = None,
    transfer: str | Path | Generator | None = None,
    out: str | Path | Sequence[str | Path] = (),
    device: str | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """The k galaxies of a survey most like each query, nearest first: a row for each query and galaxy.

    query : ids of the survey's objects; a FITS cutout, a picture (a sketch, a cartoon), or a folder of either: see
        `infer.query.as_seen`
    with_ : the embedding to search in, by the name of its weights or their run directory; None for the survey's only
        one; `pixels` to compare light instead, over the 8 symmetries (`metrics.nearest`)
    where : an SQL filter that galaxies must pass; transfer : a generator that first gives images the survey's look
    out : files to write: a table (.parquet, .ecsv, .fits), a contact sheet (.png, .pdf, .html), a map of
        where they lie (.moc.fits)
    Columns: query, rank from 1, object_id, ra and dec [deg], distance: 1 − cos of two embeddings, or of light in units
    of the noise. An object is not found as its own neighbour. The schema's metadata says what was searched and how.
    Raises RequestError for embeddings that are not there or come from other weights, images that do not suit, or k < 1;
    CatalogueError for a query that is neither an object nor a file.
    Source: Stein et al. 2021, arXiv:2110.13151 (search by cosine in embeddings); Smith et al. 2022, arXiv:2111.01713,
    §4.3 (by light).
    """
    survey, paths = store.opened(survey), check_results(out)
    if k < 1:
        raise RequestError(f"k={k}: ask for at least one neighbour")
    pixels = with_ == PIXELS
    name, hash = (None, None) if pixels else weights_of(with_)
    index = None if pixels else open_index(survey, name, hash=hash, progress=progress)
    positions = survey.table(["object_id", "ra", "dec"])
    require_positions(paths, positions)
    asked = _asked(survey, query, positions, transfer, device, progress)
    if index is None:
        found = _by_pixels(survey, asked, k, where)
    else:
        vectors = _vectors(survey, asked, with_, index, device)
        found = index.search(vectors, k, where, [*asked.own, *[None] * len(asked.cutouts)])
    if not len(found.ids) or found.ids[:, 0].tolist() == [None] * len(found.ids):
        raise RequestError(f"no other galaxy of {survey.path.name} passes {where or 'and is embedded'}; ask for less")
    weights = PIXELS if index is None else index.name
    story = {
        "survey": survey.path.name, "survey_hash": survey.content_hash, "skyloom": __version__, "searched": weights,
        "weights": "" if index is None else index.hash, "where": where or "", "notes": "\n".join(asked.notes),
    }  # fmt: skip
    rows = _rows(asked.names, _joined(found, asked.parts, k), positions).replace_schema_metadata(story)
    write_results(paths, rows, lambda: found_sheet(survey, asked, rows, weights))
    return rows


def _asked(survey: store.Survey, query, positions: pa.Table, transfer, device: str | None, progress) -> Asked:
    """Queries that are ids of the survey; the others are files, and made like the survey's images."""
    given = [query] if isinstance(query, str | Path) else list(query)
    known = set(positions["object_id"].to_pylist())
    own = tuple(dict.fromkeys(str(one) for one in given if str(one) in known))
    files = [Path(one) for one in given if str(one) not in known]
    lost = [str(file) for file in files if not file.exists()]
    if lost or not given:
        raise CatalogueError(
            f"{', '.join(map(repr, lost[:5])) or 'nothing'}: neither an object of {survey.path.name} nor a file; "
            "give an object_id, a FITS cutout, a picture, or a folder of them"
        )
    if own and transfer is not None and not files:
        raise RequestError("transfer is for images from elsewhere, and only objects of the survey are asked for")
    images, notes = list[tuple[Cutout, ...]](), list[str]()
    for file in files:
        some, said = _restyled(file, survey, transfer, device, progress) if transfer else as_seen(file, survey)
        images += some
        notes += [line for line in said if line not in notes]
    return Asked(own, tuple(images), tuple(notes))


def _restyled(file: Path, survey: store.Survey, generator, device, progress) -> tuple[list, tuple[str, ...]]:
    """Images after a generator has given them the look of the survey that it learnt from."""
    with tempfile.TemporaryDirectory() as folder:
        made = transfers.transfer(
            file, Path(folder) / "made.lance", generator, strength=STRENGTH, device=device, progress=progress
        ).survey
        images, notes = as_seen(made, survey)
        return images, (*made.info.notes, *notes)


def _vectors(
    survey: store.Survey, asked: Asked, with_: str | Path | Encoder | None, index: Index, device: str | None
) -> Float32[np.ndarray, "q d"]:
    """Of the survey's own objects as they are kept, of images by the weights that made those."""
    parts = []
    if asked.own:
        quoted = ", ".join("'" + one.replace("'", "''") + "'" for one in asked.own)
        kept = read_embeddings(survey, index.name, f"object_id IN ({quoted})")
        lost = sorted(set(asked.own) - set(kept.ids))
        if lost:
            raise RequestError(
                f"{', '.join(lost[:5])} of {survey.path.name} have no vector in {held(survey, index.name)[1]}; "
                "run skyloom embed again"
            )
        place = {one: row for row, one in enumerate(kept.ids)}
        parts.append(kept.vectors[[place[one] for one in asked.own]])
    if asked.images:
        encoder = encoder_of(index.name.replace("_", "-") if with_ is None else with_, survey.info)
        index.require(encoder.hash)
        flux, ivar, sky = (np.stack([getattr(one, part) for one in asked.cutouts]) for part in ("flux", "ivar", "sky"))
        parts.append(encoder.vectors(flux, ivar, info=survey.info, sky=sky, device=device))
    return np.concatenate(parts)


def _by_pixels(survey: store.Survey, asked: Asked, k: int, where: str | None) -> Nearest:
    """The nearest by light; of the survey's own objects one more, of which the object itself is left out."""
    ids, distance = [], []
    if asked.own:
        found = by_pixels.search(survey, survey, k + 1, ids=asked.own, where=where)
        for own, names, apart in zip(asked.own, found.neighbours, found.distance, strict=True):
            others = np.flatnonzero(names != own)[:k]
            ids.append(names[others])
            distance.append(apart[others])
    if asked.images:
        with tempfile.TemporaryDirectory() as folder:
            info = replace(survey.info, source="queries", notes=())
            images = (replace(one, object_id=str(number)) for number, one in enumerate(asked.cutouts))
            found = by_pixels.search(store.write(Path(folder) / "asked.lance", info, images), survey, k, where=where)
        ids += list(found.neighbours)
        distance += list(found.distance)
    most = max(map(len, ids))
    padded = [np.concatenate([one, np.full(most - len(one), None)]) for one in ids]
    return Nearest(np.array(padded, object), np.array([[*one, *[np.nan] * (most - len(one))] for one in distance]))


def _joined(found: Nearest, parts: Sequence[int], k: int) -> Nearest:
    """The k nearest to each query, of those nearest to any of its parts."""
    ids, distance = np.full((len(parts), k), None, object), np.full((len(parts), k), np.nan)
    for query, start in enumerate(np.cumsum([0, *parts[:-1]])):
        rows = slice(start, start + parts[query])
        apart = found.distance[rows].ravel()
        best: dict[str, float] = {}
        for place in np.argsort(apart, kind="stable"):
            name = found.ids[rows].ravel()[place]
            if name is not None and len(best) < k:
                best.setdefault(name, float(apart[place]))
        ids[query, : len(best)], distance[query, : len(best)] = list(best), list(best.values())
    return Nearest(ids, distance)


def _rows(names: Sequence[str], found: Nearest, positions: pa.Table) -> pa.Table:
    place = {one: row for row, one in enumerate(positions["object_id"].to_pylist())}
    ra, dec = (positions[name].to_numpy(zero_copy_only=False).astype(float) for name in ("ra", "dec"))
    rows = []
    for query, ids, distance in zip(names, found.ids, found.distance, strict=True):
        there = [(one, float(apart)) for one, apart in zip(ids, distance, strict=True) if one is not None]
        for rank, (one, apart) in enumerate(there, 1):
            at = place[one]
            rows.append(
                {"query": query, "rank": rank, "object_id": one, "ra": ra[at], "dec": dec[at], "distance": apart}
            )
    return pa.Table.from_pylist(rows, FIELDS)


def found_sheet(survey: store.Survey, asked: Asked, rows: pa.Table, weights: str) -> Sheet:
    """Each query in front of what was found for it."""
    own = {one.object_id: one for one in survey.read(ids=list({*asked.own, *rows["object_id"].to_pylist()}))}
    groups = []
    for query, image in zip(
        asked.names, (*(own[one] for one in asked.own), *(one[0] for one in asked.images)), strict=True
    ):
        near = [row for row in rows.to_pylist() if row["query"] == query]
        panels = [Panel(own[row["object_id"]], str(row["rank"]), f"{row['distance']:.3g}") for row in near]
        groups.append([Panel(image, "query", ""), *panels])
    by = "light, pixel by pixel" if weights == PIXELS else f"the embeddings of {weights}"
    lead = (f"The nearest galaxies of {survey.path.name} by {by}, with their distances.", *asked.notes)
    return Sheet(f"Search in {survey.path.name}", lead, groups, survey.info)
