"""Neighbours are the true ones; the index in the survey's folder is used while it is of these vectors, no longer."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import skyloom as sl
from skyloom.data import index as indices
from skyloom.data import store
from skyloom.data.coverage import write_moc
from skyloom.data.embeddings import keep_embeddings
from skyloom.data.index import exact, open_index, unit
from skyloom.errors import CatalogueError, MissingExtraError, RequestError, StoreError

INFO = sl.SurveyInfo((sl.Band("r"),), (2, 2), 0.2)


def crowded(n, d=24, seed=0):
    """Vectors in crowds, as embeddings are."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(max(1, n // 30), d))
    return (middles[rng.integers(0, len(middles), n)] + 0.3 * rng.normal(size=(n, d))).astype(np.float32)


def survey_of(path, vectors):
    pixels = np.ones((1, 2, 2), np.float32)
    names = [f"g{number}" for number in range(len(vectors))]
    cutouts = (sl.Cutout(name, pixels, pixels, columns={"mag": float(n % 10)}) for n, name in enumerate(names))
    return keep_embeddings(store.write(path, INFO, cutouts), "one", "abc", names, vectors)


def brute(vectors, query, k):
    """1 − cos in double precision, all of them; the first of equals first."""
    a, b = (one / np.linalg.norm(one, axis=-1, keepdims=True) for one in (vectors.astype(float), query.astype(float)))
    apart = np.round(1 - a @ b, 9)
    order = np.lexsort((np.arange(len(apart)), apart))[:k]
    return order, apart[order]


@given(n=st.integers(1, 60), d=st.integers(1, 9), k=st.integers(1, 70), seed=st.integers(0, 99))
def test_exact_search_is_brute_force(n, d, k, seed):
    vectors, queries = crowded(n, d, seed), crowded(3, d, seed + 1)
    places, distance = exact(unit(vectors), unit(queries), k)
    for row, query in enumerate(queries):
        _, apart = brute(vectors, query, k)
        np.testing.assert_allclose(distance[row, : len(apart)], apart, atol=1e-6)
        assert (places[row, len(apart) :] == -1).all() and np.isnan(distance[row, len(apart) :]).all()
        assert len(set(places[row, : len(apart)])) == len(apart)


def test_length_does_not_count_and_equals_come_in_the_order_of_the_survey(tmp_path):
    vectors = np.array([[0, 1], [2, 0], [1, 1], [1, 0], [0.5, 0], [-1, 0]], np.float32)
    index = open_index(survey_of(tmp_path / "six.lance", vectors))
    found = index.search(vectors[3:4], 6)
    assert found.ids[0].tolist() == ["g1", "g3", "g4", "g2", "g0", "g5"]
    np.testing.assert_allclose(found.distance[0], [0, 0, 0, 1 - np.sqrt(0.5), 1, 2], atol=1e-7)
    assert (found.distance[0, :3] == 0).all()
    assert index.search(vectors[3:4], 2, without=["g3"]).ids[0].tolist() == ["g1", "g4"]
    assert index.search(vectors[:1], 9, "mag >= 4").ids[0].tolist() == ["g4", "g5", *[None] * 7]
    assert index.search(vectors[:1], 2, "mag > 50").ids[0].tolist() == [None, None]


def test_vectors_of_another_length_and_other_weights_are_refused(tmp_path):
    survey = survey_of(tmp_path / "few.lance", crowded(5, 4))
    with pytest.raises(RequestError, match="embeddings of one have 4 numbers"):
        open_index(survey).search(np.ones((1, 3)), 2)
    with pytest.raises(RequestError, match="comes from other weights"):
        open_index(survey, "one", hash="def")
    with pytest.raises(RequestError, match="holds no embedding two, but one"):
        open_index(survey, "two")


@pytest.fixture
def many(tmp_path, monkeypatch):
    """A survey that has more vectors than are searched one by one."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(indices, "EXACT", 300)
    return survey_of(tmp_path / "many.lance", crowded(2000))


def made(monkeypatch):
    """How often an index is made from now on."""
    calls, real = [], indices._made
    monkeypatch.setattr(indices, "_made", lambda *given: calls.append(1) or real(*given))
    return calls


def test_cells_find_nearly_all_true_neighbours_with_and_without_a_filter(many):
    vectors = crowded(2000)
    index = open_index(many)
    found = index.search(vectors[::20], 10)
    true = [[f"g{one}" for one in brute(vectors, query, 10)[0]] for query in vectors[::20]]
    recall = np.mean([len({*row} & {*best}) / 10 for row, best in zip(found.ids, true, strict=True)])
    assert recall >= 0.99
    assert (found.ids[:, 0] == [f"g{one}" for one in range(0, 2000, 20)]).all() and (found.distance[:, 0] == 0).all()
    assert (np.diff(found.distance, axis=1) >= 0).all()
    for where, least in (("mag < 1", 1.0), ("mag < 8", 0.98)):  # few that pass: all are compared; many: cells
        passing = np.flatnonzero(np.arange(2000) % 10 < int(where[-1]))
        true = [[f"g{passing[one]}" for one in brute(vectors[passing], query, 10)[0]] for query in vectors[::20]]
        found = index.search(vectors[::20], 10, where)
        assert np.mean([len({*row} & {*best}) / 10 for row, best in zip(found.ids, true, strict=True)]) >= least
    assert index.search(vectors[:1], 500).ids[0].tolist() == [f"g{one}" for one in brute(vectors, vectors[0], 500)[0]]


def test_an_index_is_made_once_and_again_only_when_the_vectors_change(many, monkeypatch):
    calls, vectors = made(monkeypatch), crowded(2000)
    first = open_index(many).search(vectors[:5], 10)
    again = open_index(sl.open(many.path)).search(vectors[:5], 10)
    assert len(calls) == 1 and (first.ids == again.ids).all() and (first.distance == again.distance).all()
    names = [f"g{one}" for one in range(2000)]
    changed = keep_embeddings(many, "other", "xyz", names[:3], vectors[:3])  # another version, the same vectors
    open_index(changed, "one")
    assert len(calls) == 1
    turned = keep_embeddings(changed, "one", "abc", names, vectors[::-1])
    found = open_index(turned, "one").search(vectors[:1], 1)
    assert len(calls) == 2 and found.ids[0, 0] == "g1999"
    assert len(list((many.path / indices.FOLDER).glob("embedding_one-*.faiss"))) == 1


def test_an_index_that_is_cut_short_or_gone_is_made_again(many, monkeypatch):
    calls = made(monkeypatch)
    open_index(many)
    record = many.path / indices.FOLDER / "embedding_one.json"
    facts = json.loads(record.read_text())
    assert facts["vectors"] == 2000 and facts["recall"]["10"] >= 0.99
    for spoil in (lambda: record.write_text("{"), lambda: (record.parent / facts["file"]).unlink()):
        spoil()
        open_index(many)
    assert len(calls) == 3


def test_the_survey_stays_whole_and_can_grow_beside_its_index(many, tmp_path):
    open_index(many)
    many.verify()
    assert len(sl.open(many.path)) == 2000
    pixels = np.ones((1, 2, 2), np.float32)
    store.write(many.path, INFO, [sl.Cutout("new", pixels, pixels)], append=True).verify()
    assert (many.path / indices.FOLDER / "embedding_one.json").exists()
    sl.export(sl.open(many.path), tmp_path / "out", "parquet")


def test_a_folder_that_cannot_be_written_costs_a_warning(many, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(indices, "write_whole", full)
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert open_index(many).search(crowded(2000)[:1], 1).ids[0, 0] == "g0"


def test_only_many_vectors_need_faiss(many, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"skyloom\[search\]"):
        open_index(many)
    monkeypatch.setattr(indices, "EXACT", 5000)
    open_index(many)


@pytest.mark.slow
def test_sixty_thousand_vectors_are_found_again(tmp_path):
    pytest.importorskip("faiss")
    vectors = crowded(60_000, 64)
    index = open_index(survey_of(tmp_path / "large.lance", vectors))
    found = index.search(vectors[:500], 10)
    places, _ = exact(unit(vectors), unit(vectors[:500]), 10)
    true = [{f"g{one}" for one in row} for row in places]
    assert np.mean([len({*row} & best) / 10 for row, best in zip(found.ids, true, strict=True)]) >= 0.99


def test_a_map_of_cells_holds_every_position_and_no_other(tmp_path):
    mocpy, units = pytest.importorskip("mocpy"), pytest.importorskip("astropy.units")
    rng = np.random.default_rng(1)
    ra, dec = np.append(rng.uniform(0, 360, 40), np.nan), np.append(rng.uniform(-90, 90, 40), np.nan)
    assert write_moc(ra, dec, tmp_path / "found.moc.fits", order=10) == 1
    moc = mocpy.MOC.from_fits(str(tmp_path / "found.moc.fits"))
    assert moc.contains_lonlat(ra[:40] * units.deg, dec[:40] * units.deg).all()
    assert moc.max_order == 10 and np.isclose(moc.sky_fraction * 12 * 4**10, 40)
    with pytest.raises(CatalogueError, match="none of the 1 objects has a position"):
        write_moc(ra[40:], dec[40:], tmp_path / "none.moc.fits")
    with pytest.raises(StoreError):
        write_moc(ra, dec, tmp_path / "nowhere" / "x.moc.fits")
