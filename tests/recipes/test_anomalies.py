"""Oddities that were planted come first, labels from files lead on, and labels that cannot be used are refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table
from scipy.spatial.distance import pdist

import skyloom as sl
from skyloom.data import store
from skyloom.data.embeddings import keep_embeddings
from skyloom.data.mocks.planted import KINDS, planted
from skyloom.data.opinions import read_opinions
from skyloom.data.tables import read_table
from skyloom.errors import CatalogueError, RequestError
from skyloom.report.maps import map_chapter

FAR = ("g7", "g81", "g140")


@pytest.fixture
def crowd(tmp_path):
    """Vectors of 150 objects, three of them far from all others; pixels that nobody looks at."""
    rng = np.random.default_rng(4)
    vectors = (1 + 0.3 * rng.normal(size=(150, 20))).astype(np.float32)
    names = [f"g{number}" for number in range(150)]
    vectors[[names.index(one) for one in FAR]] = 3 * rng.normal(size=(3, 20))
    flux = rng.normal(size=(150, 1, 8, 8)).astype(np.float32)
    cutouts = (
        sl.Cutout(name, flux[n], np.ones_like(flux[n]), ra=float(n), dec=0.5, columns={"mag": float(n)})
        for n, name in enumerate(names)
    )
    survey = store.write(tmp_path / "crowd.lance", sl.SurveyInfo((sl.Band("r"),), (8, 8), 0.2), cutouts)
    return keep_embeddings(survey, "one", "abc", names, vectors)


def test_the_oddest_come_first_and_are_written(crowd, tmp_path):
    out = [tmp_path / name for name in ("odd.ecsv", "odd.parquet", "odd.html", "odd.png")]
    table = sl.anomalies(crowd, 12, out=out)
    assert set(table["object_id"].to_pylist()[:3]) == set(FAR) and table["rank"].to_pylist() == list(range(1, 13))
    score = table["score"].to_numpy()
    assert (np.diff(score) <= 0).all() and table["ra"][0].as_py() == int(table["object_id"][0].as_py()[1:])
    assert read_table(out[1]).equals(table, check_metadata=True)
    assert out[2].read_text().count("<image") == 12
    again = sl.anomalies(crowd.path, 12, with_="one")
    assert again.equals(table)


def test_a_filter_says_who_is_looked_at(crowd):
    table = sl.anomalies(crowd, 200, where="mag < 100")
    assert len(table) == 100 and set(FAR[:2]) <= set(table["object_id"].to_pylist()[:5])


def test_objects_at_the_edge_are_passed_by_counted_and_shown_when_asked_for(tmp_path):
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(90, 5)).astype(np.float32) * (1 + 5 * (np.arange(90) < 40))[:, None] + 1
    names = [f"g{number}" for number in range(90)]
    ivar = np.ones((90, 2, 8, 8), np.float32)
    ivar[:40:2, 0, :, :3] = 0  # every other odd one is cut by an edge
    ivar[1, 1] = 0  # a band that is not there at all is no edge
    cutouts = (sl.Cutout(name, np.ones_like(ivar[n]), ivar[n]) for n, name in enumerate(names))
    survey = store.write(tmp_path / "s.lance", sl.SurveyInfo((sl.Band("g"), sl.Band("r")), (8, 8), 0.2), cutouts)
    survey = keep_embeddings(survey, "one", "abc", names, vectors)
    every = sl.anomalies(survey, 90, good=0)
    assert len(every) == 90 and not every.schema.metadata[b"notes"]
    assert {row["object_id"]: row["good"] for row in every.to_pylist()} == {
        name: 0.625 if n < 40 and n % 2 == 0 else 1.0 for n, name in enumerate(names)
    }
    whole = [row["object_id"] for row in every.to_pylist() if row["good"] == 1]
    for k in (12, 90):
        some = sl.anomalies(survey, k)
        assert some["object_id"].to_pylist() == whole[:k] and some["rank"].to_pylist() == [*range(1, len(some) + 1)]
        partly = every["object_id"].to_pylist().index(some["object_id"][-1].as_py()) + 1 - len(some)
        notes = some.schema.metadata[b"notes"].decode()
        assert len(some) == min(k, 70) and (f"Left out: {partly} object" in notes) == (partly > 0)
    with pytest.raises(RequestError, match="between 0 and 1"):
        sl.anomalies(survey, good=90)
    with pytest.raises(RequestError, match="100% good pixels in every band"):
        sl.anomalies(survey, good=1, where="object_id IN ('g0', 'g2', 'g4')")


def test_a_table_that_was_written_can_be_labelled_and_given_back(crowd, tmp_path):
    sl.anomalies(crowd, 10, out=tmp_path / "odd.ecsv")
    table = Table.read(tmp_path / "odd.ecsv")
    table["label"] = ["yes"] * 2 + ["no"] * 7 + [""]
    table.write(tmp_path / "odd.ecsv", overwrite=True)
    seen, blank = list(table["object_id"][:9]), table["object_id"][9]
    found = sl.anomalies(crowd, 200, labels=tmp_path / "odd.ecsv")
    names = found["object_id"].to_pylist()
    assert len(names) == 141 and not set(seen) & set(names) and blank in names
    assert b"9 labels, 2 of them yes" in found.schema.metadata[b"notes"]
    assert found["score"].to_pylist() != found["oddity"].to_pylist()


def labels(path, lines):
    path.write_text("object_id,label\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(("answer", "word"), [("1", "yes"), ("0", "no")])
def test_labels_of_one_kind_keep_the_order_and_say_so(crowd, tmp_path, answer, word):
    plain = sl.anomalies(crowd, 150)["object_id"].to_pylist()
    found = sl.anomalies(crowd, 150, labels=labels(tmp_path / "l.csv", [f"{one},{answer}" for one in plain[:4]]))
    assert found["object_id"].to_pylist() == plain[4:]
    assert f"All 4 labels say {word}".encode() in found.schema.metadata[b"notes"]


def test_the_last_word_on_an_object_counts(tmp_path):
    first, second = labels(tmp_path / "a.csv", ["x,no", "y,TRUE", "z,"]), labels(tmp_path / "b.csv", ["x,Yes"])
    assert read_opinions([first, second], ["x", "y", "z"], "here") == {"x": True, "y": True}


def test_labels_that_cannot_be_used_are_refused(crowd, tmp_path):
    for lines, said in (
        (["g1,yes", "nobody,no"], "1 of 2 labelled objects are not in crowd.lance: 'nobody'"),
        (["g1,maybe"], "labels 'maybe'; write yes or no"),
        (["g1,yes", "g1,no"], "'g1' come twice"),
    ):
        with pytest.raises(CatalogueError, match=said):
            sl.anomalies(crowd, labels=labels(tmp_path / "l.csv", lines))
    (tmp_path / "bare.csv").write_text("object_id,verdict\ng1,yes\n")
    with pytest.raises(CatalogueError, match="no column label among verdict"):
        sl.anomalies(crowd, labels=tmp_path / "bare.csv")
    with pytest.raises(RequestError, match="at least one"):
        sl.anomalies(crowd, 0)
    with pytest.raises(RequestError, match="all alike"):
        sl.anomalies(crowd, where="mag < 1")
    pixels = np.ones((1, 8, 8), np.float32)
    mute = store.write(tmp_path / "mute.lance", crowd.info, [sl.Cutout("g1", pixels, pixels)])
    with pytest.raises(RequestError, match="holds no embeddings"):
        sl.anomalies(mute)


def test_no_map_is_drawn_of_objects_without_positions(crowd, tmp_path):
    nowhere = (sl.Cutout(one.object_id, one.flux, one.ivar) for one in crowd.read())
    lost = store.write(tmp_path / "lost.lance", crowd.info, nowhere)
    lost = keep_embeddings(lost, "one", "abc", ["g1", "g2", "g3"], np.eye(3, dtype=np.float32))
    with pytest.raises(CatalogueError, match="no object of the survey has a position"):
        sl.anomalies(lost, out=tmp_path / "odd.moc.fits")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_planted_adds_light_and_touches_no_bad_pixel(tiny_survey, kind):
    rng = np.random.default_rng(1)
    for cutout in tiny_survey.read():
        mock = sl.Cutout(
            cutout.object_id, cutout.flux, cutout.ivar, columns={"true_x": 31.5, "true_y": 31.5}, tile=cutout.tile
        )
        odd = planted(mock, kind, rng)
        changed = (odd.flux != mock.flux) & (mock.ivar > 0)
        assert odd.object_id == f"{kind}-{mock.object_id}" and odd.columns["planted"] == kind and changed.any()
        assert np.isnan(odd.flux[:, 0, 0]).all() and (odd.ivar == mock.ivar).all()
        if kind in ("ring", "merger"):
            assert np.nansum(odd.flux - mock.flux, (1, 2)).min() > 0


@pytest.mark.slow
def test_a_map_puts_what_is_alike_together(tmp_path):
    pytest.importorskip("umap")
    rng = np.random.default_rng(3)
    kind = np.arange(120) % 3
    vectors = (np.eye(3, 12)[kind] + 0.05 * rng.normal(size=(120, 12))).astype(np.float32)
    pixels = rng.normal(size=(120, 1, 8, 8)).astype(np.float32)
    cutouts = (sl.Cutout(f"g{n}", pixels[n], np.ones_like(pixels[n])) for n in range(120))
    survey = store.write(tmp_path / "three.lance", sl.SurveyInfo((sl.Band("r"),), (8, 8), 0.2), cutouts)
    survey = keep_embeddings(survey, "one", "abc", [f"g{n}" for n in range(120)], vectors)
    table = sl.survey_map(survey, keep=True)
    cluster = table["cluster"].to_numpy()
    assert {frozenset(kind[cluster == one]) for one in range(3)} == {frozenset({k}) for k in range(3)}
    kept = sl.open(survey.path).table(["object_id", "map_one_x", "map_one_y", "map_one_cluster"])
    assert kept.rename_columns(table.column_names).equals(table.cast(kept.rename_columns(table.column_names).schema))
    figure = sl.map_figure(survey, table)
    assert len(figure.axes[0].images) > 3 and len(figure.axes[1].collections[0].get_offsets()) == 120
    with pytest.raises(RequestError, match="a map needs more than 15"):
        sl.survey_map(survey, where="object_id = 'g1'")
    assert isinstance(table, pa.Table)


def test_a_map_of_two_directions_keeps_distances_and_shows_what_it_can(tmp_path):
    rng = np.random.default_rng(6)
    plane = rng.normal(size=(60, 2)) * (0.05, 0.02)
    vectors = np.concatenate([np.ones((60, 1)), plane, 1e-4 * rng.normal(size=(60, 5))], 1)
    vectors = np.linalg.qr(rng.normal(size=(8, 8)))[0] @ vectors.T  # turned in space: the map must not care
    pixels = rng.normal(size=(60, 1, 8, 8)).astype(np.float32)
    pixels[:30, :, :, :3], ivar = 0, np.ones_like(pixels)
    ivar[:30, :, :, :3] = 0
    cutouts = (sl.Cutout(f"g{n}", pixels[n], ivar[n]) for n in range(60))
    survey = store.write(tmp_path / "plane.lance", sl.SurveyInfo((sl.Band("r"),), (8, 8), 0.2), cutouts)
    survey = keep_embeddings(survey, "one", "abc", [f"g{n}" for n in range(60)], vectors.T.astype(np.float32))
    table = sl.survey_map(survey, by="directions")
    found = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], 1)
    np.testing.assert_allclose(pdist(found), pdist(plane), atol=0.01)
    assert float(table.schema.metadata[b"share"]) > 0.99 and sl.survey_map(survey, by="directions").equals(table)
    chapter = map_chapter(survey, table, ["Some words."], "A map", "map", cells=4)
    jpeg, png = (chapter.body.count(f"data:image/{kind}") for kind in ("jpeg", "png"))
    assert "<p>Some words.</p>" in chapter.body and png > 0 and 4 < jpeg + png <= 16  # transparent ones stay PNG
    with pytest.raises(RequestError, match="umap or directions"):
        sl.survey_map(survey, by="guess")
