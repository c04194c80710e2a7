"""Embeddings in the store: what goes in comes out, per object and per weights."""

from __future__ import annotations

import numpy as np
import pytest

import skyloom as sl
from skyloom.data import store
from skyloom.data.embeddings import embedding_names, keep_embeddings, read_embeddings, without_embedding
from skyloom.errors import CatalogueError, RequestError

INFO = sl.SurveyInfo((sl.Band("r"),), (4, 4), 0.2)
NAMES = [f"g{number}" for number in range(6)]


@pytest.fixture
def survey(tmp_path):
    pixels = np.ones((1, 4, 4), np.float32)
    cutouts = [sl.Cutout(name, pixels, pixels, columns={"mag": float(n)}) for n, name in enumerate(NAMES)]
    return store.write(tmp_path / "six.lance", INFO, cutouts)


def vectors(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_vectors_come_back_in_the_order_of_the_survey(survey):
    given = vectors(6)
    survey = keep_embeddings(survey, "simclr-kids", "abc", NAMES[::-1], given)
    found = read_embeddings(survey)
    assert found.ids == tuple(NAMES) and found.hash == "abc" and embedding_names(survey) == ["simclr_kids"]
    np.testing.assert_array_equal(found.vectors, given[::-1])
    assert read_embeddings(survey, "simclr-kids", "mag < 2").ids == ("g0", "g1")
    assert read_embeddings(survey, where="mag > 99").vectors.shape == (0, 3)


def test_new_rows_join_those_of_the_same_weights(survey):
    first = vectors(2)
    survey = keep_embeddings(survey, "one", "abc", NAMES[:2], first)
    assert without_embedding(survey, "one", "abc") == NAMES[2:]
    survey = keep_embeddings(survey, "one", "abc", NAMES[2:], vectors(4, seed=1))
    assert without_embedding(survey, "one", "abc") == []
    np.testing.assert_array_equal(read_embeddings(survey).vectors[:2], first)


def test_vectors_of_other_weights_are_dropped(survey):
    survey = keep_embeddings(survey, "one", "abc", NAMES, vectors(6))
    assert without_embedding(survey, "one", "xyz") == NAMES
    with pytest.raises(RequestError, match="other weights"):
        read_embeddings(survey, "one", hash="xyz")
    survey = keep_embeddings(survey, "one", "xyz", NAMES[:1], vectors(1, d=5))
    assert read_embeddings(survey, hash="xyz").ids == ("g0",)


def test_what_cannot_be_kept_or_read_is_refused(survey):
    with pytest.raises(RequestError, match="holds no embeddings"):
        read_embeddings(survey)
    for name in ("a b", "é", "4x", "a_hash"):
        with pytest.raises(RequestError, match="cannot be called"):
            keep_embeddings(survey, name, "abc", NAMES, vectors(6))
    with pytest.raises(CatalogueError, match="one finite vector for each"):
        keep_embeddings(survey, "one", "abc", NAMES, vectors(5))
    with pytest.raises(CatalogueError, match="not in six"):
        keep_embeddings(survey, "one", "abc", ["nobody"], vectors(1))
    survey = keep_embeddings(survey, "one", "abc", NAMES, vectors(6))
    with pytest.raises(RequestError, match="holds no embedding two, but one"):
        read_embeddings(survey, "two")
    survey = keep_embeddings(survey, "two", "abc", NAMES, vectors(6))
    with pytest.raises(RequestError, match="holds 2 embeddings"):
        read_embeddings(survey)


def test_vectors_travel_with_the_cutouts_into_another_survey(survey, tmp_path):
    survey = keep_embeddings(survey, "one", "abc", NAMES[:4], vectors(4))
    copy = store.write(tmp_path / "copy.lance", survey.info, survey.read(ids=NAMES[2:]))
    found = read_embeddings(copy)
    assert found.ids == tuple(NAMES[2:4]) and found.hash == "abc"
    np.testing.assert_array_equal(found.vectors, vectors(4)[2:])
    assert without_embedding(copy, "one", "abc") == NAMES[4:]
