"""Embeddings that a survey holds as columns: a vector per object, and which weights it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32

from skyloom.data.store import Survey
from skyloom.errors import CatalogueError, RequestError

PREFIX = "embedding_"  # of the columns that hold vectors
HASHES = "_hash"  # at the end of the column that says which weights each vector came from


@dataclass(frozen=True)
class Embeddings:
    """The vectors of those objects that have one, in the survey's order.

    name : of the weights; hash : of the weights
    """

    name: str
    hash: str
    ids: tuple[str, ...]
    vectors: Float32[np.ndarray, "n d"]


def column_of(name: str) -> str:
    """The column that holds the vectors of weights of this name; RequestError if it makes no plain identifier."""
    plain = name.replace("-", "_")
    if not (plain.isascii() and plain.isidentifier()) or plain.endswith(HASHES):
        raise RequestError(
            f"embeddings cannot be called {name!r}; name the run with letters, digits, hyphens and underscores"
        )
    return PREFIX + plain


def embedding_names(survey: Survey) -> list[str]:
    """Names of the embeddings that a survey holds, as its columns spell them."""
    columns = set(survey.column_names)
    return sorted(name.removeprefix(PREFIX) for name in columns if name.startswith(PREFIX) and name + HASHES in columns)


def keep_embeddings(
    survey: Survey, name: str, hash: str, ids: Sequence[str], vectors: Float32[np.ndarray, "n d"]
) -> Survey:
    """The same survey with these vectors in its column `embedding_<name>`.

    Vectors of the same weights that other objects have already stay; those of other weights are dropped.
    Raises CatalogueError for ids that are not in the survey, come twice, or are not as many as the vectors;
    RequestError for a name that is no plain identifier.
    """
    column, vectors = column_of(name), np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(ids) or not np.isfinite(vectors).all():
        raise CatalogueError(f"vectors of shape {vectors.shape} for {len(ids)} ids; give one finite vector for each")
    if not vectors.shape[1]:
        raise CatalogueError("vectors without a number in them; give at least one")
    if column in survey.column_names:
        old, new = _read(survey, column, None), set(ids)
        stay = np.array([old.hash == hash and one not in new for one in old.ids], bool)
        if stay.any() and old.vectors.shape[1] == vectors.shape[1]:
            ids = [*ids, *(one for one, kept in zip(old.ids, stay, strict=True) if kept)]
            vectors = np.concatenate([vectors, old.vectors[stay]])
    lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    made = {"object_id": pa.array(list(ids), pa.string()), column: lists, column + HASHES: pa.array([hash] * len(ids))}
    return survey.add_columns(pa.table(made))


def read_embeddings(
    survey: Survey, name: str | None = None, where: str | None = None, *, hash: str | None = None
) -> Embeddings:
    """Vectors of one name, or of the only one that the survey holds; those that pass an SQL filter.

    hash : of the weights that they must come from
    Raises RequestError if there are none of that name, several and no name is given, or they are of other weights.
    """
    name, column = held(survey, name)
    found = _read(survey, column, where)
    if len(found.ids):
        require_weights(survey, name, found.hash, hash)
    return Embeddings(name, found.hash, found.ids, found.vectors)


def held(survey: Survey, name: str | None) -> tuple[str, str]:
    """The name of embeddings that a survey holds, or of the only ones, and their column; RequestError as above."""
    names = embedding_names(survey)
    if name is None:
        if len(names) != 1:
            told = f"holds {len(names)} embeddings ({', '.join(names)})" if names else "holds no embeddings"
            raise RequestError(
                f"{survey.path.name} {told}; " + ("name one with --with" if names else "make some with skyloom embed")
            )
        name = names[0]
    column = column_of(name)
    if column.removeprefix(PREFIX) not in names:
        raise RequestError(
            f"{survey.path.name} holds no embedding {name}, but {', '.join(names) or 'none at all'}; "
            f"run skyloom embed {survey.path.name} --with {name}"
        )
    return name, column


def require_weights(survey: Survey, name: str, found: str, wanted: str | None) -> None:
    """RequestError if vectors come from other weights than wanted; None wants any."""
    if wanted is not None and found != wanted:
        raise RequestError(
            f"the column {column_of(name)} of {survey.path.name} comes from other weights ({found[:12]}) than {name} "
            f"is now ({wanted[:12]}); run skyloom embed {survey.path.name} --with {name} again"
        )


def embedded(survey: Survey, name: str, where: str | None = None) -> tuple[tuple[str, ...], str]:
    """Ids of the objects that have a vector and pass an SQL filter, in the survey's order, and the weights' hash."""
    column = column_of(name)
    table = survey.table(["object_id", column + HASHES], where)
    table = table.filter(pc.is_valid(table[column + HASHES]))
    return tuple(table["object_id"].to_pylist()), _only_hash(survey, column, table)


def without_embedding(survey: Survey, name: str, hash: str) -> list[str]:
    """Ids of the objects that have no vector of these weights yet, in the survey's order."""
    column = column_of(name)
    if column not in survey.column_names:
        return survey.table(["object_id"])["object_id"].to_pylist()
    table = survey.table(["object_id", column + HASHES])
    same = pc.fill_null(pc.equal(table[column + HASHES], hash), False)
    return table["object_id"].filter(pc.invert(same)).to_pylist()


def _read(survey: Survey, column: str, where: str | None) -> Embeddings:
    table = survey.table(["object_id", column, column + HASHES], where)
    table = table.filter(pc.is_valid(table[column + HASHES])).combine_chunks()
    hash = _only_hash(survey, column, table)
    width = _length(survey, column, table)
    lists = table[column].combine_chunks() if len(table) else None
    flat = np.empty((0, width), np.float32) if lists is None else lists.flatten().to_numpy(zero_copy_only=False)
    vectors = np.ascontiguousarray(flat.reshape(-1, width), np.float32)
    return Embeddings(column, hash, tuple(table["object_id"].to_pylist()), vectors)


def _length(survey: Survey, column: str, table: pa.Table) -> int:
    """How many numbers each vector has; a survey written from another's cutouts holds them as lists of any length."""
    kind = table.schema.field(column).type
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size
    lengths = pc.unique(pc.list_value_length(table[column])).to_pylist()
    if len(lengths) > 1:
        raise CatalogueError(f"{column} of {survey.path.name} holds vectors of {len(lengths)} lengths; embed it again")
    return lengths[0] if lengths else 0


def _only_hash(survey: Survey, column: str, table: pa.Table) -> str:
    hashes = pc.unique(table[column + HASHES]).to_pylist()
    if len(hashes) > 1:
        raise CatalogueError(f"{column} of {survey.path.name} mixes vectors of {len(hashes)} weights; embed it again")
    return hashes[0] if hashes else ""
