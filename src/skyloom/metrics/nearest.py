"""The galaxies of one survey that look most like those of another: searching by picture, or by sketch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Shaped

from skyloom.data import store
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.metrics.measured import lens, measured
from skyloom.metrics.memorisation import neighbours
from skyloom.metrics.samples import Sample, matched

SEARCHED = 20_000  # galaxies that are looked through, unless more are asked for
USUAL = 200  # galaxies whose own nearest neighbours say what distance is usual


class Near(NamedTuple):
    """The galaxies nearest to one, nearest first, and how far they are: see `Search`."""

    ids: tuple[str, ...]
    distances: tuple[float, ...]


class Search(NamedTuple):
    """For each of `ids` the nearest galaxies of the other survey, nearest first.

    distance : rms difference of light in 16 × 16 cells, in units of a cell's noise (`memorisation.neighbours`)
    searched : how many galaxies were looked through; usual : median distance of some of those to the nearest other one
    """

    ids: tuple[str, ...]
    neighbours: Shaped[np.ndarray, "n k"]
    distance: Float[np.ndarray, "n k"]
    searched: int
    usual: float

    def columns(self) -> pa.Table:
        """As columns to keep in the survey (`Survey.add_columns`)."""
        names = pa.array(self.neighbours.tolist(), pa.list_(pa.string()))
        return pa.table({"object_id": self.ids, "neighbours": names, "neighbour_distances": self.distance.tolist()})


def nearest(survey: Survey | str | Path, among: Survey | str | Path, k: int = 3) -> dict[str, Near]:
    """For each galaxy of a survey, by its id, the k galaxies of another that look most like it. See `search`."""
    found = search(survey, among, k)
    rows = zip(found.ids, found.neighbours.tolist(), found.distance.tolist(), strict=True)
    return {name: Near(tuple(ids), tuple(distances)) for name, ids, distances in rows}


def search(
    survey: Survey | str | Path,
    among: Survey | str | Path,
    k: int = 1,
    *,
    ids: Sequence[str] | None = None,
    where: str | None = None,
    most: int = SEARCHED,
    seed: int = 0,
) -> Search:
    """The k galaxies of `among` nearest to each of a survey's, by their light in all bands, over the 8 symmetries.

    ids : of the survey, None for all; where : an SQL filter for those of `among`
    most : of `among` to look through, drawn by the seed if there are more
    Raises RequestError if none passes, for other bands or pixels, UnitError for fluxes that cannot be put on one scale.
    """
    survey, among = (store.opened(one) for one in (survey, among))
    frame, planes, gain = matched(among, survey)
    rows = np.arange(len(among))
    if where is not None:
        rows = among.rows_of(among.table(["object_id"], where)["object_id"].to_pylist())
    if len(rows) > most:
        rows = np.sort(np.random.default_rng([seed, 7]).choice(rows, most, replace=False))
    if not len(rows):
        raise RequestError(f"no galaxy of {among.path.name} passes {where}; ask for less")
    own = tuple(range(len(frame.bands)))
    real = Sample(among, rows, frame, own, np.ones(len(own)))
    places = np.arange(len(survey)) if ids is None else survey.rows_of(ids)
    asked = Sample(survey, places, frame, planes, gain)
    through = lens(real, seed)
    theirs, ours = (measured(sample, ["coarse"], through)["coarse"] for sample in (real, asked))
    index, distance = neighbours(ours, theirs, min(k, len(real)))
    return Search(asked.ids, np.array(real.ids, object)[index], distance, len(real), _usual(theirs))


def _usual(images: Float[np.ndarray, "n c g f"]) -> float:
    """Median distance of some images from the nearest other one; NaN for a single one."""
    if len(images) < 2:
        return np.nan
    _, distance = neighbours(images[:: max(1, len(images) // USUAL)], images, 2)
    return float(np.median(distance[:, 1]))
