"""Cutouts to rows of a table and back: the Arrow side of the store, which knows nothing of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32

from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.data.pixels import pack_ivar, unpack_ivar
from skyloom.errors import CatalogueError, CutoutError

BATCH_BYTES = 8 << 20  # of flux in one record batch: Lance holds about ten of them on their way to the disk
BATCH_ROWS = 4096
PIXELS = ("flux", "ivar")


def fixed_fields(info: SurveyInfo) -> list[pa.Field]:
    """The columns that every survey has, in the order of the table."""
    bands, (rows, columns) = len(info.bands), info.shape
    per_band = pa.list_(pa.float32(), bands)
    return [
        pa.field("object_id", pa.string(), nullable=False),
        pa.field("ra", pa.float64()),
        pa.field("dec", pa.float64()),
        pa.field("tile", pa.string()),
        pa.field("wcs", pa.string()),
        pa.field("flux", pa.list_(pa.float32(), bands * rows * columns), nullable=False),
        pa.field("ivar", pa.large_binary(), nullable=False),
        pa.field("sky", per_band),
        pa.field("sky_rms", per_band),
    ]


def link(chain: bytes, cutout: Cutout) -> bytes:
    """The next link of the content hash: SHA-256 of the link before, the id, and every bit of flux and ivar."""
    digest = hashlib.sha256(chain)
    digest.update(cutout.object_id.encode() + b"\0")
    digest.update(np.ascontiguousarray(cutout.flux).data)
    digest.update(np.ascontiguousarray(cutout.ivar).data)
    return digest.digest()


def require_storable(names: Iterable[str]) -> None:
    """CatalogueError for column names that the table keeps for itself or that a filter could not spell."""
    unfit = [name for name in names if not name or "." in name or name.startswith("_row")]
    if unfit:
        raise CatalogueError(f"columns {unfit} need other names: not empty, without a dot, not beginning with _row")


class RowStream:
    """Cutouts in, record batches out; holds one batch, the ids seen, and the chain of the content hash.

    Catalogue columns take their type from the first values seen. A column that has been empty so far is left out
    of the batches until a value gives it a type; `fields` grows at its end, so a run of batches has one schema.
    """

    def __init__(self, info: SurveyInfo, fields: Sequence[pa.Field] = (), ids: Iterable[str] = (), chain: bytes = b""):
        self.info, self.chain = info, chain
        self.fields = list(fields) or fixed_fields(info)
        self.ids = set(ids)
        self.fault: BaseException | None = None  # what the cutouts raised, if they did
        self._empty: dict[str, None] = {}
        self._waiting: pa.RecordBatch | None = None

    def runs(self, cutouts: Iterable[Cutout]) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        """Batches of equal schema, one run after another; each run must be used up before the next is asked for."""
        batches = self._batches(cutouts)
        self._waiting = next(batches, None)
        while self._waiting is not None:
            yield self._waiting.schema, self._run(self._waiting, batches)

    def schema(self) -> pa.Schema:
        """Every column met; one that never held a value is kept, as numbers that are all missing."""
        return pa.schema([*self.fields, *(pa.field(name, pa.float64()) for name in self._empty)])

    def _run(self, first: pa.RecordBatch, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self._waiting = None
        yield first
        for batch in batches:
            if batch.schema != first.schema:
                self._waiting = batch
                return
            yield batch

    def _batches(self, cutouts: Iterable[Cutout]) -> Iterator[pa.RecordBatch]:
        held: list[Cutout] = []
        try:
            for cutout in cutouts:
                self._check(cutout)
                held.append(cutout)
                if len(held) * cutout.flux.nbytes >= BATCH_BYTES or len(held) >= BATCH_ROWS:
                    yield self._batch(held)
                    held = []
            if held:
                yield self._batch(held)
        except GeneratorExit:
            raise
        except BaseException as fault:
            self.fault = fault
            raise

    def _check(self, cutout: Cutout) -> None:
        wanted = (len(self.info.bands), *self.info.shape)
        if cutout.flux.shape != wanted:
            raise CutoutError(
                f"cutout {cutout.object_id!r} has shape {cutout.flux.shape} and the survey {wanted} "
                f"(bands {', '.join(self.info.band_names)}); cut all objects alike, or ingest them into another survey"
            )
        for name in ("sky", "sky_rms"):
            measured = getattr(cutout, name)
            if measured is not None and np.shape(measured) != wanted[:1]:
                raise CutoutError(
                    f"cutout {cutout.object_id!r}: {name} has shape {np.shape(measured)}; it needs one number per band"
                )

    def _batch(self, cutouts: list[Cutout]) -> pa.RecordBatch:
        self._admit([cutout.object_id for cutout in cutouts])
        names = dict.fromkeys(name for cutout in cutouts for name in cutout.columns)
        for name in (*self._empty, *names):
            self._learn(name, cutouts)
        for cutout in cutouts:
            self.chain = link(self.chain, cutout)
        arrays = [_column(field, cutouts) for field in self.fields]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(self.fields))

    def _admit(self, ids: list[str]) -> None:
        """Remember the ids; CatalogueError names those that are empty or there already."""
        if not all(ids):
            raise CatalogueError(
                f"{ids.count('')} objects have an empty object_id; give every object a name of its own"
            )
        twice: list[str] = []
        for name in ids:
            (twice.append if name in self.ids else self.ids.add)(name)
        if twice:
            raise CatalogueError(
                f"object_id must be unique; {', '.join(map(repr, twice[:5]))} {'come' if len(twice) > 1 else 'comes'} "
                f"more than once ({len(twice)} so far); rename or remove them"
            )

    def _learn(self, name: str, cutouts: list[Cutout]) -> None:
        """Give a new catalogue column its type, once a value shows it."""
        if any(field.name == name for field in self.fields):
            return
        require_storable([name])
        values = [cutout.columns.get(name) for cutout in cutouts]
        try:
            found = pa.array(values).type
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as fault:
            raise CatalogueError(f"column {name!r} cannot be stored: {fault}; give it values of one kind") from fault
        if pa.types.is_null(found):
            self._empty[name] = None
            return
        self._empty.pop(name, None)
        self.fields.append(pa.field(name, found))


def _column(field: pa.Field, cutouts: list[Cutout]) -> pa.Array:
    if field.name == "flux":
        return pa.FixedSizeListArray.from_arrays(
            pa.array(np.concatenate([cutout.flux.ravel() for cutout in cutouts])), type=field.type
        )
    if field.name == "ivar":
        return pa.array([pack_ivar(cutout.ivar) for cutout in cutouts], field.type)
    fixed = field.name in Cutout.__dataclass_fields__
    values = [getattr(cutout, field.name) if fixed else cutout.columns.get(field.name) for cutout in cutouts]
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as fault:
        raise CatalogueError(_misfit(field, values, cutouts)) from fault


def _misfit(field: pa.Field, values: list[Any], cutouts: list[Cutout]) -> str:
    for value, cutout in zip(values, cutouts, strict=True):
        try:
            pa.array([value], field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            return (
                f"column {field.name!r} holds {field.type} and object {cutout.object_id!r} brings {value!r}; "
                f"give the column one type throughout"
            )
    return f"column {field.name!r} cannot be stored as {field.type}; give it values of one kind"


def fill_pixels(
    batch: pa.RecordBatch,
    flux: Float32[np.ndarray, "b c h w"],
    ivar: Float32[np.ndarray, "b c h w"],
    places: Sequence[int] | np.ndarray,
) -> None:
    """Copy the pixels of a batch into rows `places` of two arrays."""
    pixels = batch.column("flux").flatten().to_numpy(zero_copy_only=True).reshape(batch.num_rows, *flux.shape[1:])
    packed = batch.column("ivar")
    for row, place in enumerate(places):
        flux[place] = pixels[row]
        unpack_ivar(packed[row].as_buffer(), ivar[place])


def cutouts_of(batch: pa.RecordBatch, info: SurveyInfo) -> Iterator[Cutout]:
    """The cutouts of a batch that has every column; their pixels are their own."""
    shape = (batch.num_rows, len(info.bands), *info.shape)
    flux, ivar = np.empty(shape, np.float32), np.empty(shape, np.float32)
    fill_pixels(batch, flux, ivar, range(batch.num_rows))
    fixed = [name for name in Cutout.__dataclass_fields__ if name not in (*PIXELS, "columns")]
    others = [name for name in batch.schema.names if name not in (*fixed, *PIXELS)]
    for row in range(batch.num_rows):
        facts = {name: _value(batch.column(name)[row]) for name in fixed}
        columns = {name: _value(batch.column(name)[row]) for name in others}
        yield Cutout(flux=flux[row], ivar=ivar[row], columns=columns, **facts)


def _value(scalar: pa.Scalar) -> Any:
    """A Python value; a list of numbers becomes an array of its own type."""
    value = scalar.as_py()
    if value is None or not isinstance(scalar, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
        return value
    inner = scalar.type.value_type
    if not (pa.types.is_integer(inner) or pa.types.is_floating(inner)):
        return value
    return scalar.values.to_numpy(zero_copy_only=False)


def arranged(products: pa.Table, facts: Mapping[str, pa.DataType]) -> pa.Table:
    """Products with the columns in `facts` cast to the type that the store keeps them in."""
    for name, kind in facts.items():
        if name in products.column_names:
            at = products.column_names.index(name)
            try:
                products = products.set_column(at, name, products[name].cast(kind))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as fault:
                raise CatalogueError(f"column {name!r} must be {kind} and is {products[name].type}: {fault}") from fault
    return products
