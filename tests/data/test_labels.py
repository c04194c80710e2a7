"""Labels from columns and files: votes, Kaggle's fractions, classes; and everything that is refused, in words."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from skyloom.data import store
from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.data.decision_tree import COLUMNS, KAGGLE, fractions_of, inconsistency
from skyloom.data.labels import read_labels
from skyloom.data.mocks.answers import MOCK_COLUMNS, VOTERS, mock_chances, mock_votes
from skyloom.errors import CatalogueError, RequestError

INFO = SurveyInfo((Band("r", None, None, None),), (4, 4), None, "test", "", "", ())


@pytest.fixture
def survey(tmp_path):
    """Ten galaxies of two kinds, with a column that says which and one that says nothing."""
    flux = np.ones((1, 4, 4), np.float32)
    cutouts = (
        Cutout(f"g{k}", flux, flux, tile=f"g{k}", columns={"spiral_label": k % 2, "same": 3, "mag": k / 7})
        for k in range(10)
    )
    return store.write(tmp_path / "few.lance", INFO, cutouts)


@pytest.fixture
def fractions():
    """Kaggle's table for ten galaxies."""
    chances = mock_chances(
        {"true_class": "disc", "true_components": '{"disc": {"q": 0.4}}', "true_ellipticity": 0.4, "true_companion": 0}
    )
    rng = np.random.default_rng(0)
    votes = np.stack([rng.multinomial(40, chances / chances.sum()) + 1.0 for _ in range(10)])
    return np.round(fractions_of(votes), 6)


def written(path, values, names=None, ids=None):
    ids = [f"g{k}" for k in range(len(values))] if ids is None else ids
    columns = {"GalaxyID": ids} | dict(zip(names or KAGGLE, values.T, strict=True))
    pyarrow.csv.write_csv(pa.table(columns), path)
    return path


def test_a_label_is_found_and_its_classes_are_counted(survey):
    labels = read_labels(survey)
    assert labels.kind == "classes" and labels.classes == ("0", "1") and labels.target == "spiral_label"
    np.testing.assert_array_equal(labels.of(["g3", "g4"]), [[1], [0]])


def test_kaggles_table_is_read_and_its_sums_are_made_exact(survey, fractions, tmp_path):
    labels = read_labels(survey, file=written(tmp_path / "training_solutions_rev1.csv", fractions))
    assert labels.kind == "fractions" and labels.values.shape == (10, 37) and not labels.notes
    np.testing.assert_allclose(labels.values, fractions, atol=1e-5)
    np.testing.assert_allclose(inconsistency(labels.values), 0, atol=1e-12)


def test_counts_are_read_by_the_names_of_the_published_tables(survey, tmp_path):
    names = [f"t{int(c[5:].split('_')[0]):02d}_question_a{k:02d}_answer_count" for k, c in enumerate(COLUMNS)]
    votes = np.arange(370.0).reshape(10, 37)
    labels = read_labels(survey, file=written(tmp_path / "votes.csv", votes, names))
    assert labels.kind == "counts"
    np.testing.assert_array_equal(labels.values, votes)


def test_rows_of_other_objects_and_objects_without_a_row_are_told(survey, fractions, tmp_path):
    file = written(tmp_path / "labels.csv", fractions[:5], ids=["g1", "g2", "stranger", "g4", "g5"])
    labels = read_labels(survey, "votes", file)
    assert labels.ids == ("g1", "g2", "g4", "g5")
    assert "1 rows" in labels.notes[0] and "stranger" in labels.notes[0] and "6 of 10 objects" in labels.notes[1]


def spoilt(fractions, column, value):
    fractions = fractions.copy()
    fractions[2, COLUMNS.index(column)] = value
    return fractions


@pytest.mark.parametrize("value", [1.2, -0.1, np.nan])
def test_fractions_outside_of_0_and_1_are_refused_by_name(survey, fractions, tmp_path, value):
    file = written(tmp_path / "labels.csv", spoilt(fractions, "Class7_2", value))
    with pytest.raises(CatalogueError, match=r"'g2' has .* in Class7_2; a fraction lies within 0 and 1"):
        read_labels(survey, file=file)


def test_fractions_that_do_not_add_up_are_refused_by_question(survey, fractions, tmp_path):
    file = written(tmp_path / "labels.csv", spoilt(fractions, "Class3_1", 0.9))
    with pytest.raises(CatalogueError, match=r"'g2' to question 3 \(bar\) sum to"):
        read_labels(survey, file=file)


def test_ids_that_nobody_knows_are_refused(survey, fractions, tmp_path):
    with pytest.raises(CatalogueError, match=r"none of its 10 ids, such as 'x0', is in few\.lance"):
        read_labels(survey, file=written(tmp_path / "labels.csv", fractions, ids=[f"x{k}" for k in range(10)]))


def test_an_id_twice_is_refused(survey, fractions, tmp_path):
    with pytest.raises(CatalogueError, match="'g1' is in 2 rows"):
        read_labels(survey, file=written(tmp_path / "labels.csv", fractions, ids=["g1", "g1", *"abcdefgh"]))


def test_a_table_that_lacks_answers_is_refused(survey, fractions, tmp_path):
    with pytest.raises(CatalogueError, match=r"there is no Class11.6"):
        read_labels(survey, "votes", written(tmp_path / "labels.csv", fractions[:, :36], KAGGLE[:36]))


def test_negative_votes_are_refused(survey, tmp_path):
    names = [f"t{int(c[5:].split('_')[0]):02d}_question_a{k:02d}_answer_count" for k, c in enumerate(COLUMNS)]
    with pytest.raises(CatalogueError, match="has -3 votes for Class7_2"):
        read_labels(survey, file=written(tmp_path / "votes.csv", spoilt(np.ones((10, 37)), "Class7_2", -3.0), names))


@pytest.mark.parametrize(
    ("target", "words"),
    [("same", "every object has same = 3"), ("nothing", "no column 'nothing'"), ("true", "is no mock")],
)
def test_what_is_no_label_is_refused(survey, target, words):
    with pytest.raises(RequestError, match=words):
        read_labels(survey, target)


def test_a_measurement_is_no_label(tmp_path):
    flux = np.ones((1, 4, 4), np.float32)
    many = store.write(
        tmp_path / "many.lance", INFO, (Cutout(f"{k}", flux, flux, columns={"mag": k / 7}) for k in range(60))
    )
    with pytest.raises(RequestError, match="60 values, too many"):
        read_labels(many, "mag")
    with pytest.raises(RequestError, match="name it: target=COLUMN"):
        read_labels(many)


def test_names_are_classes_and_what_is_missing_is_left_out(tmp_path):
    flux, kinds = np.ones((1, 4, 4), np.float32), ["FR2", "FR1", None, "FR2", "FR1"]
    survey = store.write(
        tmp_path / "radio.lance", INFO,
        (Cutout(f"{k}", flux, flux, columns={"class": kind}) for k, kind in enumerate(kinds)),
    )  # fmt: skip
    labels = read_labels(survey)
    assert labels.classes == ("FR1", "FR2") and labels.ids == ("0", "1", "3", "4") and "1 objects" in labels.notes[0]


SPIRAL = '{"disc": {"q": 0.8}, "pattern": {"contrast": 0.6, "arms": 2, "pitch": -28.0, "ring": 0.0}}'
EDGE_ON = '{"disc": {"q": 0.15}}'


def facts(kind, parts, ellipticity, name="a", companion=False):
    return dict(zip(("object_id", *MOCK_COLUMNS), (name, kind, parts, ellipticity, companion), strict=True))


def test_mock_votes_follow_the_truth_and_the_tree():
    rows = [facts("spiral", SPIRAL, 0.2, f"s{k}") for k in range(40)]
    rows += [facts("disc", EDGE_ON, 0.85, f"e{k}") for k in range(40)]
    votes = mock_votes(pa.Table.from_pylist(rows))
    assert (votes[:, :3].sum(1) == VOTERS).all() and (votes[:, 13:15].sum(1) == VOTERS).all()
    np.testing.assert_allclose(np.nan_to_num(inconsistency(fractions_of(votes))), 0, atol=1e-12)
    spiral, edge_on = votes[:40].sum(0), votes[40:].sum(0)
    of = COLUMNS.index
    assert spiral[of("Class4_1")] > 0.7 * spiral[of("Class4_1") : of("Class4_2") + 1].sum()  # arms
    assert spiral[of("Class11_2")] > 0.7 * spiral[of("Class11_1") :].sum()  # two of them
    assert spiral[of("Class10_3")] > spiral[of("Class10_1")]  # wound loosely
    assert edge_on[of("Class2_1")] > 0.9 * edge_on[of("Class2_1") : of("Class2_2") + 1].sum()
    assert edge_on[of("Class7_3")] > edge_on[of("Class7_1")]  # cigar-shaped for who called it smooth


def test_one_galaxy_has_one_set_of_votes_and_another_another():
    one, again, other = (mock_votes(pa.Table.from_pylist([facts("spiral", SPIRAL, 0.2, name)])) for name in "aab")
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.parametrize("kind", ["elliptical", "disc", "spiral"])
def test_chances_sum_to_one_for_every_question(kind):
    parts = '{"bulge": {"q": 0.7, "magnitudes": {"r": 18.0}}}' if kind == "elliptical" else SPIRAL
    chances = mock_chances(facts(kind, parts, 0.3))
    sizes = np.bincount([int(name[5:].split("_")[0]) - 1 for name in COLUMNS])
    for part in np.split(chances, np.cumsum(sizes)[:-1]):
        assert part.sum() == pytest.approx(1) and (part >= 0).all()
