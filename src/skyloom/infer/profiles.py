"""A survey in, a table of surface brightness profiles out: one row per object and band, by any engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from skyloom import __version__
from skyloom.checkpoint import SHIPPED, Run, open_run, shipped
from skyloom.data import store
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.data.profiles import Column, column_of, fields_of, keep_profiles
from skyloom.data.tables import check_destination, write_table
from skyloom.errors import RequestError, RunError
from skyloom.infer import decoded, isophotes, written
from skyloom.infer.placed import device_of
from skyloom.infer.side_by_side import chunks_of, side_by_side
from skyloom.infer.suited import require_suited

CHUNK = {"cpu": 16, "cuda": 256}  # cutouts measured together: enough to amortise a call; on a CPU, few for the cache

Progress = Callable[[int, int | None, str], None]
Measure = Callable[[tuple[Cutout, ...], SurveyInfo, list[int], str], list[dict]]  # rows for a few cutouts


class Engine(NamedTuple):
    """What measures. columns : that its table has beside the usual ones; story : for the table's own metadata"""

    measure: Measure
    columns: tuple[Column, ...] = ()
    story: tuple[tuple[str, str], ...] = ()


ISOPHOTES = Engine(isophotes.measure_chunk)


def profile(
    survey: store.Survey | str | Path,
    out: str | Path | None = None,
    with_: str | Path = "isophotes",
    band: str | None = None,
    *,
    ids: Iterable[str] | None = None,
    device: str | None = None,
    keep: bool = False,
    anyway: bool = False,
    progress: Progress | None = None,
) -> pa.Table:
    """Measure every object of a survey in every band, or in one; write the table to `out` if it is given.

    out : .parquet, .ecsv or .fits; written whole or not at all
    with_ : "isophotes", weights that ship with skyloom ("profile-decoder", "pix2prof-mock"), or a run directory
    ids : only these objects; device : "cpu" or "cuda", None for the GPU where there is one
    keep : also keep the profiles in the survey, as its column profile_isophotes (after the engine)
    anyway : let weights measure bands and pixel scales that they were not trained on
    Returns the table described by `skyloom.data.profiles.COLUMNS`. Without a zero point magnitudes are instrumental,
    without a pixel scale radii are in pixels; flags and the columns' units say so.
    Raises RequestError for an unknown engine or one that does not suit the survey, CutoutError for an unknown band,
    UnitError for an engine that needs a zero point which is not there, StoreError if `out` cannot be written.
    """
    survey = store.opened(survey)
    bands = [*range(len(survey.info.bands))] if band is None else [survey.info.index(band)]
    engine = engine_of(with_, survey.info, bands, anyway=anyway)
    device = device_of(device)
    destination = None if out is None else check_destination(out)
    name = Path(with_).name
    if keep:
        column_of(name.replace("-", "_"))
    ids = None if ids is None else list(ids)
    total = len(survey) if ids is None else len(ids)
    rows = measure_survey(survey.read(ids=ids), survey.info, bands, device, total, progress, engine)
    table = _table(rows, survey, name, engine)
    if destination is not None:
        write_table(table, destination)
    if keep:
        keep_profiles(survey, table, name.replace("-", "_"))
    return table


def engine_of(name: str | Path, info: SurveyInfo, bands: Sequence[int], *, anyway: bool = False) -> Engine:
    """The engine of a name, ready to measure; RequestError lists what there is, or says why it does not suit."""
    if name == "isophotes":
        return ISOPHOTES
    makers = {"profile_decoder": decoded.measurer, "pix2prof": written.measurer}
    try:
        run = open_run(name)
    except RunError as fault:
        there = [one for one in shipped() if Run(SHIPPED / one).record["recipe"] in makers]
        raise RequestError(
            f"no engine {str(name)!r} to measure profiles with; there is {', '.join(('isophotes', *there))}, or a run "
            f"directory ({fault})"
        ) from fault
    recipe = run.record["recipe"]
    if recipe not in makers:
        raise RequestError(f"{name} was trained by the recipe {recipe}, which measures no profiles")
    require_suited(run, info, [info.bands[band].name for band in bands], anyway=anyway)
    columns = decoded.COLUMNS if recipe == "profile_decoder" else ()
    return Engine(makers[recipe](run, info), columns, (("weights", run.hash), ("recipe", recipe)))


def measure_survey(
    cutouts: Iterable[Cutout],
    info: SurveyInfo,
    bands: Sequence[int] | None = None,
    device: str = "cpu",
    total: int | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> list[dict]:
    """Rows of the profile table for any cutouts of a survey, in their order; bands by position, None for all.

    engine : None for `isophotes`
    """
    bands = list(range(len(info.bands)) if bands is None else bands)
    rows: list[dict] = []
    work = (engine or ISOPHOTES).measure
    chunks = chunks_of(cutouts, CHUNK[device])
    workers = os.cpu_count() or 1 if device == "cpu" else 2
    for chunk in side_by_side(lambda some: work(some, info, bands, device), chunks, device, workers):
        rows += chunk
        if progress:
            progress(len(rows) // len(bands), total, "profiles")
    return rows


def _table(rows: list[dict], survey: store.Survey, name: str, engine: Engine) -> pa.Table:
    """The rows under their schema; a unit that cannot be had is replaced by what is there instead."""
    story = {
        "engine": name,
        "survey": survey.path.name,
        "survey_hash": survey.content_hash,
        "skyloom": __version__,
        "source": survey.info.source,
        "citation": survey.info.citation,
        **dict(engine.story),
    }
    return pa.Table.from_pylist(rows, pa.schema(fields_of(survey.info, engine.columns), metadata=story))
