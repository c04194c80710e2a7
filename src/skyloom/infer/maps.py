"""A survey on one sheet: objects that look alike lie side by side, and crowds of them have a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from sklearn.cluster import HDBSCAN
from sklearn.decomposition import PCA

from skyloom.data import store
from skyloom.data.embeddings import PREFIX, column_of, read_embeddings
from skyloom.data.index import unit
from skyloom.errors import MissingExtraError, RequestError
from skyloom.infer.embed import Encoder
from skyloom.infer.query import weights_of

By = Literal["umap", "directions"]
NEIGHBOURS = 15  # whose distances the map keeps
FEWEST, SHARE = 10, 0.01  # objects in a crowd, and share of all objects


def survey_map(
    survey: store.Survey | str | Path,
    with_: str | Path | Encoder | None = None,
    *,
    where: str | None = None,
    by: By = "umap",
    seed: int = 0,
    keep: bool = False,
) -> pa.Table:
    """Where each object lies on a map of embeddings: columns object_id, x, y, and cluster, −1 for none.

    with_ : the embedding, by the name of its weights or their run directory; None for the survey's only one
    by : "umap", which keeps neighbours together; or "directions", the two principal ones of the vectors at length 1,
        which needs no extra library, takes no time, and keeps long distances. What share of the vectors' variance it
        shows is in the schema's metadata
    keep : also keep them in the survey, as map_<name>_x, _y and _cluster
    Near neighbours on a map by UMAP look alike; long distances, areas and densities mean nothing, and clusters are
    crowds on the map, not classes of galaxies. Same seed, same map, on one machine.
    Raises RequestError for fewer objects than a map has neighbours, or another way to make one; MissingExtraError for
    UMAP without umap-learn.
    Source: McInnes, Healy & Melville 2018, arXiv:1802.03426 (UMAP); Campello, Moulavi & Sander 2013, PAKDD, 160
    (HDBSCAN).
    """
    if by not in get_args(By):
        raise RequestError(f"by={by!r}: a map is made by {' or '.join(get_args(By))}")
    survey = store.opened(survey)
    name, hash = weights_of(with_)
    kept = read_embeddings(survey, name, where, hash=hash)
    if len(kept.ids) <= NEIGHBOURS:
        raise RequestError(f"{len(kept.ids)} objects with embeddings; a map needs more than {NEIGHBOURS}")
    story = {"searched": kept.name, "weights": kept.hash, "by": by}
    if by == "umap":
        reducer = _umap()(n_neighbors=NEIGHBOURS, metric="cosine", random_state=seed, n_jobs=1)
        places = np.asarray(reducer.fit_transform(unit(kept.vectors)), np.float32)
    else:
        directions = PCA(2, svd_solver="full").fit(unit(kept.vectors).astype(float))
        places = directions.transform(unit(kept.vectors).astype(float)).astype(np.float32)
        story["share"] = f"{directions.explained_variance_ratio_.sum():.3f}"
    crowd = max(FEWEST, round(SHARE * len(places)))
    cluster = HDBSCAN(min_cluster_size=crowd, copy=True).fit_predict(places.astype(float)).astype(np.int32)
    found = pa.table({"object_id": list(kept.ids), "x": places[:, 0], "y": places[:, 1], "cluster": cluster})
    found = found.replace_schema_metadata(story)
    if keep:
        plain = column_of(kept.name).removeprefix(PREFIX)
        survey.add_columns(
            found.rename_columns(["object_id", *(f"map_{plain}_{part}" for part in ("x", "y", "cluster"))])
        )
    return found


def _umap() -> Any:
    """The class of the library that makes maps, an optional extra."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise MissingExtraError("umap-learn", "search") from error
    return UMAP
