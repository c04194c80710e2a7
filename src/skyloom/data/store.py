"""The one store: a survey is a Lance table. Nobody else knows the format.

    survey = open("kids.lance")
    for cutout in survey.read("mag < 20"): ...

A row is a `Cutout`; `SurveyInfo` lies in the table's schema metadata. Pixels stay as they came, NaN included.
Writing is atomic: whatever happens in between, a path holds the old version or the new one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32
from lance.fragment import FragmentMetadata, write_fragments
from lance.schema import LanceSchema

from skyloom import __version__
from skyloom.data.cutout import RESERVED, Cutout, SurveyInfo
from skyloom.data.directory import PARTS, alone, brief, committed, require_free, require_survey, unwritable
from skyloom.data.rows import PIXELS, RowStream, arranged, cutouts_of, fill_pixels, link, require_storable
from skyloom.errors import CatalogueError, CutoutError, RequestError, StoreError

FORMAT = 1  # of the table; raised when an older skyloom could misread a newer one
LANCE_FORMAT = "2.1"  # of the data files; of 2.0, 2.1 and 2.2 the fastest at random access, 12 MB at a time
TAKE_BYTES = 12 << 20  # of flux in one random access: larger ones spend their time on fresh pages of memory
SCAN_BYTES = 32 << 20  # read ahead of a scan; Lance's own default is 2 GB
FILE_BYTES = 4 << 30
FOREVER = timedelta(days=365_000)
UNUSED = -2  # Lance's number for a column of a file that the table no longer has
MEASURED = ("sky", "sky_rms")  # columns of every survey that may be measured after it was written
_FAULTS = (OSError, ValueError, RuntimeError, pa.ArrowException)


def open(path: str | Path) -> Survey:
    """The survey at a path, at its newest version. Raises StoreError if it is missing, foreign, newer, or damaged."""
    path = Path(path).absolute()
    require_survey(path)
    dataset = _load(path)
    facts = _facts(path, dataset)
    return Survey(path, SurveyInfo.from_json(facts["info"]), dataset.version, facts["content_hash"])


def opened(survey: Survey | str | Path) -> Survey:
    """A survey that is open already, or the one at a path."""
    return survey if isinstance(survey, Survey) else open(survey)


def write(path: str | Path, info: SurveyInfo, cutouts: Iterable[Cutout], *, append: bool = False) -> Survey:
    """Stream cutouts into a new survey, or onto the end of one; all of them are there afterwards, or none.

    append : add rows to the survey at `path`, which must have equal bands, shape and pixel scale
    Raises CatalogueError if an object_id comes twice, CutoutError if a cutout does not fit `info`,
    StoreError if the path holds something already or cannot be written. An error raised by `cutouts` passes through.
    """
    path = Path(path).absolute()
    old = open(path) if append else None
    if old is None:
        require_free(path)
    else:
        info = _joined(old, info)
    with _writing(path):
        return _write_rows(path, info, cutouts, open(path) if append else None)


class Survey:
    """A table of cutouts, seen at one version: later writes do not change what this object reads.

    Opens its files when first asked, once per process, so it may be pickled. Start processes by spawn or forkserver:
    Lance's threads do not survive a fork for certain.
    """

    def __init__(self, path: Path, info: SurveyInfo, version: int, content_hash: str):
        self.path, self.info, self.version, self.content_hash = path, info, version, content_hash
        self._opened: tuple[int, lance.LanceDataset] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def __repr__(self) -> str:
        bands = (
            "".join(self.info.band_names) if max(map(len, self.info.band_names)) < 3 else ",".join(self.info.band_names)
        )
        return f"<Survey {self.path.name}: {len(self)} cutouts, {bands}, {self.info.shape}, version {self.version}>"

    def __len__(self) -> int:
        return self._dataset.count_rows()

    @property
    def _dataset(self) -> lance.LanceDataset:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), _load(self.path, self.version))
        return self._opened[1]

    @property
    def column_names(self) -> tuple[str, ...]:
        """Every column, flux and ivar included."""
        return tuple(self._dataset.schema.names)

    def read(self, where: str | None = None, ids: Sequence[str] | None = None) -> Iterator[Cutout]:
        """Cutouts one by one, a batch in memory: all, those that pass an SQL filter, or those of `ids`, in that order.

        Raises CatalogueError for ids that are not there (or that `where` leaves out), RequestError for a faulty filter.
        """
        everything = list(self.column_names)
        batches = self._scan(everything, where) if ids is None else self._taken(self.rows_of(ids, where), everything)
        for batch in batches:
            yield from cutouts_of(batch, self.info)

    def rows_of(self, ids: Sequence[str], where: str | None = None) -> np.ndarray:
        """Row numbers of objects, in the order asked for."""
        names = self.table(["object_id"])["object_id"]
        wanted = pa.array(list(ids), pa.string())
        rows = pc.index_in(wanted, value_set=names)
        if where is not None:
            passing = pc.is_in(wanted, value_set=self.table(["object_id"], where)["object_id"])
            rows = pc.if_else(passing, rows, None)
        if rows.null_count:
            lost = wanted.filter(pc.is_null(rows)).to_pylist()
            raise CatalogueError(
                f"{len(lost)} of {len(wanted)} ids are not in {self.path.name}"
                f"{f' where {where}' if where else ''}: {', '.join(map(repr, lost[:5]))}; check the names"
            )
        return rows.to_numpy(zero_copy_only=False).astype(np.int64)

    def cutouts_at(
        self,
        rows: Sequence[int] | np.ndarray,
        flux: Float32[np.ndarray, "b c h w"] | None = None,
        ivar: Float32[np.ndarray, "b c h w"] | None = None,
    ) -> tuple[Float32[np.ndarray, "b c h w"], Float32[np.ndarray, "b c h w"]]:
        """Flux and ivar of any rows, in the order asked for; given buffers of that shape are filled and returned."""
        rows = np.asarray(rows, np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise RequestError(
                f"rows {rows.min()} to {rows.max()} asked of {len(self)}; count from 0 to {len(self) - 1}"
            )
        shape = (len(rows), len(self.info.bands), *self.info.shape)
        flux = np.empty(shape, np.float32) if flux is None else flux
        ivar = np.empty(shape, np.float32) if ivar is None else ivar
        for buffer in (flux, ivar):
            if buffer.shape != shape or buffer.dtype != np.float32:
                raise RequestError(f"buffer is {buffer.dtype} {buffer.shape}; these rows need float32 {shape}")
        order = np.argsort(rows, kind="stable")
        done = 0
        for batch in self._taken(rows[order], list(PIXELS)):
            fill_pixels(batch, flux, ivar, order[done : done + batch.num_rows])
            done += batch.num_rows
        return flux, ivar

    def table(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.Table:
        """The catalogue: the columns named, or all but the pixels, of the rows that pass an SQL filter."""
        columns = [name for name in self.column_names if name not in PIXELS] if columns is None else list(columns)
        missing = [name for name in columns if name not in self.column_names]
        if missing:
            there = ", ".join(self.column_names)
            raise CatalogueError(f"{self.path.name} has no column {', '.join(missing)}; it has {there}")
        batches = list(self._scan(columns, where))
        schema = pa.schema([self._dataset.schema.field(name) for name in columns])
        return pa.Table.from_batches(batches, schema)

    def add_columns(self, products: pa.Table) -> Survey:
        """The same survey with more columns, joined on object_id, as one new version; same-named ones are replaced.

        products : object_id, each once and each in the survey, and any columns; objects left out get nulls
        """
        with _writing(self.path):
            survey = open(self.path)
            products = _checked_products(survey, products)
            fragments, schema = _merged(survey, products)
            return _commit(survey.path, survey.info, survey.content_hash, schema, fragments)

    def verify(self) -> None:
        """Read every pixel again; StoreError if they are not the ones that were written."""
        chain = b""
        with suppress(CutoutError):  # a changed bit may break the rules of a cutout, and then the chain ends early
            for cutout in self.read():
                chain = link(chain, cutout)
        if chain.hex() != self.content_hash:
            raise StoreError(
                f"{self.path}: ids and pixels hash to {chain.hex()[:16]}…, not the {self.content_hash[:16]}… "
                f"of the day they were written; restore the survey from a copy, or write it again"
            )

    def _scan(self, columns: list[str], where: str | None) -> Iterator[pa.RecordBatch]:
        rows = max(1, TAKE_BYTES // self._row_bytes) if set(PIXELS) & set(columns) else None
        try:
            scan = self._dataset.scanner(columns, where, batch_size=rows, batch_readahead=1, io_buffer_size=SCAN_BYTES)
            yield from scan.to_batches()
        except _FAULTS as fault:
            if where is not None and "Invalid user input" in str(fault):
                raise RequestError(f"where={where!r} cannot be used on {self.path.name}: {brief(fault)}") from fault
            raise self._damaged(fault) from fault

    def _taken(self, rows: np.ndarray, columns: list[str]) -> Iterator[pa.RecordBatch]:
        step = max(1, TAKE_BYTES // self._row_bytes)
        for start in range(0, len(rows), step):
            try:
                taken = self._dataset.take(rows[start : start + step].tolist(), columns=columns)
            except _FAULTS as fault:
                raise self._damaged(fault) from fault
            yield from taken.to_batches()

    @property
    def _row_bytes(self) -> int:
        return 4 * len(self.info.bands) * self.info.shape[0] * self.info.shape[1]

    def _damaged(self, fault: BaseException) -> StoreError:
        return StoreError(f"{self.path} cannot be read ({brief(fault)}); restore it from a copy, or write it again")


def _write_rows(path: Path, info: SurveyInfo, cutouts: Iterable[Cutout], old: Survey | None) -> Survey:
    rows, fragments = RowStream(info), []
    if old is not None:
        ids = old.table(["object_id"])["object_id"].to_pylist()
        rows = RowStream(info, list(old._dataset.schema), ids, bytes.fromhex(old.content_hash))
    try:
        for schema, batches in rows.runs(cutouts):
            stream = pa.RecordBatchReader.from_batches(schema, batches)
            fragments += write_fragments(
                stream,
                str(path),
                mode="create" if old is None else "overwrite",  # of field numbers; nothing is committed here
                max_bytes_per_file=FILE_BYTES,
                data_storage_version=LANCE_FORMAT,
            )
    except _FAULTS as fault:
        if rows.fault is not None:
            raise rows.fault from None
        raise unwritable(path, fault) from fault
    schema = rows.schema()
    before = [] if old is None else _renumbered(old._dataset.get_fragments(), old._dataset.lance_schema, schema)
    return _commit(path, info, rows.chain.hex(), schema, before + fragments)


def _commit(path: Path, info: SurveyInfo, content_hash: str, schema: pa.Schema, fragments: list) -> Survey:
    """The instant at which the new version replaces the old one."""
    facts = {"format": FORMAT, "skyloom": __version__, "info": info.to_json(), "content_hash": content_hash}
    try:
        lance.LanceDataset.commit(
            str(path),
            lance.LanceOperation.Overwrite(schema.with_metadata({"skyloom": json.dumps(facts)}), fragments),
            read_version=_load(path).version if committed(path) else None,
        )
    except _FAULTS as fault:
        raise unwritable(path, fault) from fault
    return open(path)


def _renumbered(fragments: list, old: LanceSchema, new: pa.Schema, names: dict[str, str] | None = None) -> list:
    """Fragments of an old schema as those of a new one: same files, with the numbers that the new one gives its fields.

    Lance finds a column in a file by its field's number, and numbers the fields of a new schema depth first.
    names : the new name of top-level columns that change theirs; a column that `new` lacks is marked as unused
    """
    places = _numbers(LanceSchema.from_pyarrow(new).fields())
    moves = {number: places.get(path, UNUSED) for path, number in _numbers(old.fields(), names or {}).items()}
    result = []
    for fragment in fragments:
        facts = fragment.to_json() if isinstance(fragment, FragmentMetadata) else fragment.metadata.to_json()
        for file in facts["files"]:
            file["fields"] = [moves.get(number, UNUSED) for number in file["fields"]]
        facts["files"] = [file for file in facts["files"] if set(file["fields"]) != {UNUSED}]
        result.append(FragmentMetadata.from_json(json.dumps(facts)))
    return result


def _numbers(fields: list, names: dict[str, str] | None = None, under: tuple[str, ...] = ()) -> dict[tuple, int]:
    found: dict[tuple, int] = {}
    for field in fields:
        path = (*under, (names or {}).get(field.name(), field.name()))
        found |= {path: field.id(), **_numbers(field.children(), None, path)}
    return found


def _checked_products(survey: Survey, products: pa.Table) -> pa.Table:
    """Products that can be joined; CatalogueError says what stands against it."""
    if "object_id" not in products.column_names:
        raise CatalogueError(f"products need a column object_id; they have {', '.join(products.column_names)}")
    fixed = [
        name for name in products.column_names if name in RESERVED and name not in MEASURED and name != "object_id"
    ]
    if fixed or len(set(products.column_names)) < len(products.column_names):
        raise CatalogueError(f"columns {fixed or products.column_names} cannot be replaced or repeat; rename them")
    require_storable(products.column_names)
    ids = products["object_id"].cast(pa.string())
    counts = pc.value_counts(ids)
    twice = [entry["values"].as_py() for entry in counts.filter(pc.greater(counts.field("counts"), 1))]
    if twice or ids.null_count:
        raise CatalogueError(
            f"{len(twice) or ids.null_count} ids come twice or are missing: {twice[:5]}; keep one row each"
        )
    survey.rows_of(ids.to_pylist())
    per_band = pa.list_(pa.float32(), len(survey.info.bands))
    kinds = {"object_id": pa.string(), **dict.fromkeys(MEASURED, per_band)}
    kinds |= {field.name: pa.float64() for field in products.schema if pa.types.is_null(field.type)}
    return arranged(products, kinds)


def _merged(survey: Survey, products: pa.Table) -> tuple[list, pa.Schema]:
    """Each fragment with one more file that holds its products, and the schema of the whole."""
    dataset, temporary = survey._dataset, {name: f"\2{name}" for name in products.column_names if name != "object_id"}
    new = [field for field in dataset.schema if field.name not in temporary]
    new += [field.with_nullable(True) for field in products.schema if field.name in temporary]
    products = products.select(["object_id", *temporary]).rename_columns(["object_id", *temporary.values()])
    try:
        merged = [fragment.merge(products, "object_id", "object_id") for fragment in dataset.get_fragments()]
    except _FAULTS as fault:
        raise unwritable(survey.path, fault) from fault
    schema = pa.schema([field.remove_metadata() for field in new])
    names = {hidden: name for name, hidden in temporary.items()} | {name: f"\1{name}" for name in temporary}
    if not merged:
        return [], schema
    return _renumbered([fragment for fragment, _ in merged], merged[0][1], schema, names), schema


def _joined(old: Survey, info: SurveyInfo) -> SurveyInfo:
    """The survey's own facts with the newcomers' notes; RequestError if their pixels cannot lie in one table."""
    for fact in ("bands", "shape", "pixel_scale"):
        here, there = getattr(old.info, fact), getattr(info, fact)
        if here != there:
            raise RequestError(
                f"{old.path.name} has {fact} {here} and the new cutouts {there}; ingest them into another survey"
            )
    return old.info.with_notes(*(note for note in info.notes if note not in old.info.notes))


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Have the survey's directory alone, free of what a killed write left; tidy up after a failure."""
    with alone(path):
        _sweep(path)
        try:
            yield
        except BaseException:
            _sweep(path)
            raise


def _sweep(path: Path) -> None:
    """Remove the files that no version needs. The caller holds the lock, so nobody is about to need them."""
    if not committed(path):
        for name in PARTS:
            shutil.rmtree(path / name, ignore_errors=True)
        return
    try:
        _load(path).cleanup_old_versions(older_than=FOREVER, delete_unverified=True)
    except _FAULTS as fault:
        raise unwritable(path, fault) from fault


def _load(path: Path, version: int | None = None) -> lance.LanceDataset:
    try:
        return lance.dataset(str(path), version=version)
    except _FAULTS as fault:
        raise StoreError(
            f"{path} is damaged or no survey ({brief(fault)}); restore it from a copy, or write it again"
        ) from fault


def _facts(path: Path, dataset: lance.LanceDataset) -> dict[str, Any]:
    """What skyloom wrote into the table's metadata; StoreError if it did not, or a newer one did."""
    try:
        facts = json.loads((dataset.schema.metadata or {})[b"skyloom"])
        version, writer = int(facts["format"]), facts["skyloom"]
    except (KeyError, ValueError, TypeError) as fault:
        raise StoreError(f"{path} is a Lance table but no survey; skyloom ingest makes one") from fault
    if version > FORMAT:
        raise StoreError(
            f"{path} has format {version}, written by skyloom {writer}; this is skyloom {__version__}, "
            f"which reads up to format {FORMAT}; upgrade: pip install -U skyloom"
        )
    return facts
