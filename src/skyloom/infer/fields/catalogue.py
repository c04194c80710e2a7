"""The sources of a field that was made, found as those of a real one are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float64

from skyloom.data.destination import drafted
from skyloom.data.detections import cores, targets_in
from skyloom.data.fields import KEY
from skyloom.data.mosaic import Target
from skyloom.data.tiles.mosaic import TiledField, open_field
from skyloom.data.workers import shared_out

CATALOGUE = "catalogue.parquet"
WORTH = 2  # windows that make it worth starting a process


@dataclass(frozen=True)
class Even:
    """A sky of one level, 0, and one noise, as a mesh is asked for it."""

    rms: float

    def over(self, rows: slice, columns: slice) -> tuple[Float64[np.ndarray, "h w"], Float64[np.ndarray, "h w"]]:
        shape = rows.stop - rows.start, columns.stop - columns.start
        return np.zeros(shape), np.full(shape, self.rms)


def catalogue(
    made: TiledField, rms: Sequence[float], progress: Callable[[int, int | None, str], None] | None = None
) -> Path:
    """Write CATALOGUE: what is detected in the mean S/N of all bands, with its flux in each, as `ingest` does it.

    rms : of the survey that was learnt from, which the threshold is in units of, however strong the field's own noise
    One window after another, on all cores; no more than a few of them are held.
    """
    path = made.folder / CATALOGUE
    windows = list(cores(made))
    schema = pa.schema([*_columns(made)]).with_metadata({KEY: made.info.to_json().encode()})
    before = 0
    with drafted(path) as draft, pq.ParquetWriter(draft, schema) as writer:
        found = shared_out(_found, len(windows), (str(made.folder), tuple(rms), windows), WORTH)
        for done, targets in enumerate(found, 1):
            rows = [_row(made.name, before + n, one) for n, one in enumerate(targets, 1)]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            before += len(rows)
            if progress:
                progress(done, len(windows), "catalogue")
    return path


def _found(place: int, shared: tuple[str, tuple[float, ...], list[tuple[slice, slice]]]) -> list[Target]:
    folder, rms, windows = shared
    return targets_in(open_field(folder), [Even(one) for one in rms], *windows[place])


def _row(name: str, number: int, one: Target) -> dict:
    return {"object_id": f"{name}-{number:07d}", "ra": one.ra, "dec": one.dec, **one.columns}


def _columns(made: TiledField) -> list[pa.Field]:
    numbers = ["ra", "dec", "x", "y", "snr", "half_light_radius", "ellipticity", "theta"]
    for band in made.bands:
        numbers += [f"flux_{band.name}", f"flux_error_{band.name}"]
        numbers += [f"mag_{band.name}"] if band.zero_point is not None else []
    flags = ["is_star", "is_extended", "is_saturated", "is_blended", "is_fragment", "is_cut"]
    return [
        pa.field("object_id", pa.string()),
        *(pa.field(one, pa.float64()) for one in numbers),
        *(pa.field(one, pa.bool_()) for one in flags),
    ]
