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
from skyloom.data.detections import FLAGS, cores, found_in
from skyloom.data.fields import KEY
from skyloom.data.tiles.mosaic import TiledField, open_field
from skyloom.data.workers import shared_out

CATALOGUE = "catalogue.parquet"
WORTH = 2  # windows that make it worth starting a process
MEMORY = 250_000_000  # of a window in each process [byte]
OVERLAP = 128  # of windows; no source that was learnt is as large [pixel]


@dataclass(frozen=True)
class Even:
    """A sky of one level, 0, and one noise, as a mesh is asked for it."""

    rms: float

    def over(self, rows: slice, columns: slice) -> tuple[Float64[np.ndarray, "h w"], Float64[np.ndarray, "h w"]]:
        shape = rows.stop - rows.start, columns.stop - columns.start
        return np.broadcast_to(0.0, shape), np.broadcast_to(self.rms, shape)


def catalogue(
    made: TiledField, rms: Sequence[float], progress: Callable[[int, int | None, str], None] | None = None
) -> Path:
    """Write CATALOGUE: what is detected in the mean S/N of all bands, with its flux in each, as `ingest` does it.

    rms : of the survey that was learnt from, which the threshold is in units of, however strong the field's own noise
    One window after another, on all cores; no more than a few of them are held.
    """
    path = made.folder / CATALOGUE
    windows = list(cores(made, MEMORY, OVERLAP))
    schema = pa.schema([*_columns(made)]).with_metadata({KEY: made.info.to_json().encode()})
    before = 0
    with drafted(path) as draft, pq.ParquetWriter(draft, schema) as writer:
        found = shared_out(_found, len(windows), (str(made.folder), tuple(rms), windows), WORTH)
        for done, columns in enumerate(found, 1):
            count = len(columns["x"])
            ids = [f"{made.name}-{before + n:07d}" for n in range(1, count + 1)]
            unknown = dict.fromkeys(("ra", "dec"), np.full(count, np.nan)) if made.wcs is None else {}
            writer.write_table(pa.table({"object_id": ids, **unknown, **columns}).select(schema.names).cast(schema))
            before += count
            if progress:
                progress(done, len(windows), "catalogue")
    return path


def _found(place: int, shared: tuple[str, tuple[float, ...], list[tuple[slice, slice]]]) -> dict[str, np.ndarray]:
    folder, rms, windows = shared
    return found_in(open_field(folder), [Even(one) for one in rms], *windows[place], OVERLAP)


def _columns(made: TiledField) -> list[pa.Field]:
    numbers = ["ra", "dec", "x", "y", "snr", "half_light_radius", "ellipticity", "theta"]
    for band in made.bands:
        numbers += [f"flux_{band.name}", f"flux_error_{band.name}"]
        numbers += [f"mag_{band.name}"] if band.zero_point is not None else []
    return [
        pa.field("object_id", pa.string()),
        *(pa.field(one, pa.float64()) for one in numbers),
        *(pa.field(one, pa.bool_()) for one in FLAGS),
    ]
