"""What is to be learnt of a galaxy's looks: votes, fractions of votes, or one label; from a survey's columns or a file.

Nothing is guessed: what cannot be right is refused, and what was left out is said in words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from skyloom.data.catalogues import read_catalogue
from skyloom.data.decision_tree import COLUMNS, QUESTIONS, SIZES, TOLERANCE, conditional, cumulative, inconsistency
from skyloom.data.mocks.answers import MOCK_COLUMNS, mock_votes
from skyloom.data.store import Survey
from skyloom.errors import CatalogueError, RequestError

Kind = Literal["counts", "fractions", "classes"]
COUNT = re.compile(r"t(\d\d)_.+_a(\d\d)_.+_count$")  # as in the tables of Willett et al. 2013
MOST_CLASSES = 50  # values of a column that is a label and not a measurement
FEWEST = 2  # objects of a class


class Labels(NamedTuple):
    """Of some objects of a survey, what is known.

    values : 37 vote counts or cumulative fractions (NaN where unknown), or one column, the number of the class
    classes : what the numbers of classes mean; empty for votes
    target : "votes", "true", or the column
    notes : what was left out, in sentences
    """

    kind: Kind
    ids: tuple[str, ...]
    values: Float[np.ndarray, "n k"]
    classes: tuple[str, ...] = ()
    target: str = "votes"
    notes: tuple[str, ...] = ()

    def of(self, ids: Sequence[str]) -> Float[np.ndarray, "m k"]:
        """The values of these objects, in this order."""
        place = {name: row for row, name in enumerate(self.ids)}
        return self.values[[place[name] for name in ids]]


def read_labels(survey: Survey, target: str = "", file: str | Path = "") -> Labels:
    """The labels of a survey.

    target : "votes" for the 37 answers of Galaxy Zoo 2, counts (`t01_…_a01_…_count`) or Kaggle's cumulative fractions
        (`Class1.1`); "true" for votes that follow from a mock's truth; or a column with a label. Empty: votes where
        there are some, else the only column that can be a label
    file : a table with an object_id or GalaxyID and these columns; empty: the columns are the survey's own
    Objects without a label are left out, and rows of objects that the survey does not have, and it is said.
    Raises CatalogueError for ids that are repeated or none of which is the survey's, fractions outside of [0, 1] or
    that do not add up, negative counts; RequestError for a label with a single class, or nothing that is a label.
    """
    table, ids, notes, where = _rows(survey, file, target)
    target = target or _only_target(table, where)
    if target == "true":
        return _of_mocks(survey)
    found = _votes(table, ids, where) if target == "votes" else _classes(table, ids, target, where)
    return found._replace(notes=(*notes, *found.notes))


def _rows(survey: Survey, file: str | Path, target: str) -> tuple[pa.Table, list[str], list[str], str]:
    """The table with the labels, the ids of its rows, what was left out, and its name."""
    if not file:
        wanted = {target.replace(".", "_"), *COLUMNS}
        found = [name for name in survey.column_names if name in wanted or COUNT.match(name) or _likely(name)]
        table = survey.table(list(dict.fromkeys(["object_id", *found])))
        return table, table["object_id"].to_pylist(), [], survey.path.name
    rows = read_catalogue(Path(file))
    name, times = Counter(rows.ids).most_common(1)[0]
    if times > 1:
        raise CatalogueError(f"{file}: object {name!r} is in {times} rows; keep one row for each")
    there = set(survey.table(["object_id"])["object_id"].to_pylist())
    known = [row for row, name in enumerate(rows.ids) if name in there]
    if not known:
        raise CatalogueError(
            f"{file}: none of its {len(rows.ids)} ids, such as {rows.ids[0]!r}, is in {survey.path.name}; give the "
            "labels of these objects"
        )
    notes = []
    if len(known) < len(rows.ids):
        strange = next(name for name in rows.ids if name not in there)
        notes.append(
            f"{len(rows.ids) - len(known)} rows of {file} are of objects that are not in the survey: {strange}…"
        )
    if len(known) < len(there):
        notes.append(f"{len(there) - len(known)} of {len(there)} objects have no row in {file} and teach nothing.")
    return rows.table.take(known), [rows.ids[row] for row in known], notes, str(file)


def _only_target(table: pa.Table, where: str) -> str:
    if set(COLUMNS) <= set(table.column_names) or _count_columns(table):
        return "votes"
    likely = [name for name in table.column_names if _likely(name)]
    if len(likely) == 1:
        return likely[0]
    raise RequestError(f"{where} has no votes, and no one column that must be a label; name it: target=COLUMN")


def _likely(name: str) -> bool:
    return "label" in name.lower() or name.lower() == "class"


def _votes(table: pa.Table, ids: Sequence[str], where: str) -> Labels:
    counts = _count_columns(table)
    if counts:
        return _counts(_numbers(table, counts), ids, where)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise CatalogueError(
            f"{where}: of the 37 columns Class1.1 … Class11.6 there is no {missing[0].replace('_', '.')}, and no vote "
            "counts either; give a table with all of one kind"
        )
    return _fractions(_numbers(table, COLUMNS), ids, where)


def _counts(values: Float[np.ndarray, "n 37"], ids: Sequence[str], where: str) -> Labels:
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise CatalogueError(f"{where}: {ids[row]!r} has {values[row, column]:g} votes for {COLUMNS[column]}; mend it")
    known = values[:, : SIZES[0]].sum(1) > 0
    notes = [] if known.all() else [f"{int((~known).sum())} objects of {where} have no votes and teach nothing."]
    kept = tuple(name for name, there in zip(ids, known, strict=True) if there)
    if not kept:
        raise CatalogueError(f"{where}: nobody voted on any object; give a table with votes")
    return Labels("counts", kept, values[known], notes=tuple(notes))


def _fractions(values: Float[np.ndarray, "n 37"], ids: Sequence[str], where: str) -> Labels:
    """Fractions of everybody, brought to sums that are exact; questions that nobody was asked become NaN."""
    wrong = ~((values >= 0) & (values <= 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise CatalogueError(
            f"{where}: {ids[row]!r} has {values[row, column]:g} in {COLUMNS[column]}; a fraction lies within 0 and 1"
        )
    excess = inconsistency(values)
    asked = np.stack([part.sum(1) > 0 for part in np.split(values, np.cumsum(SIZES)[:-1], 1)], 1)
    wrong = (np.abs(excess) > TOLERANCE) & asked
    if wrong.any():
        row, question = np.argwhere(wrong)[0]
        raise CatalogueError(
            f"{where}: the answers of {ids[row]!r} to question {question + 1} ({QUESTIONS[question].text}) sum to "
            f"{excess[row, question]:+.3f} more than the answer that leads to it; give fractions of all who voted, as "
            "Kaggle's table does"
        )
    return Labels("fractions", tuple(ids), cumulative(conditional(values)))


def _classes(table: pa.Table, ids: Sequence[str], target: str, where: str) -> Labels:
    name = target.replace(".", "_")
    if name not in table.column_names:
        raise RequestError(f"{where} has no column {target!r} to learn; it has {', '.join(table.column_names[:12])}")
    values = [None if value is None or value != value else _spelled(value) for value in table[name].to_pylist()]
    known = [row for row, value in enumerate(values) if value is not None]
    counts = Counter(value for value in values if value is not None)
    if len(counts) > MOST_CLASSES:
        raise RequestError(f"{where}: column {target!r} has {len(counts)} values, too many for classes; name a label")
    if len(counts) < 2:
        one = next(iter(counts), "nothing")
        raise RequestError(f"{where}: every object has {target} = {one}; give labels of two classes or more")
    rare = [value for value, times in counts.items() if times < FEWEST]
    if rare:
        raise RequestError(f"{where}: a single object has {target} = {rare[0]}; give more, or leave the class out")
    classes = tuple(sorted(counts, key=_by_number))
    number = {value: k for k, value in enumerate(classes)}
    notes = [] if len(known) == len(ids) else [f"{len(ids) - len(known)} objects of {where} have no {target}."]
    found = np.array([[number[value]] for value in values if value is not None], float)
    return Labels("classes", tuple(ids[row] for row in known), found, classes, name, tuple(notes))


def _of_mocks(survey: Survey) -> Labels:
    lacking = [name for name in MOCK_COLUMNS if name not in survey.column_names]
    if lacking:
        raise RequestError(f"{survey.path.name} is no mock: it has no column {lacking[0]}; target=true needs one")
    table = survey.table(["object_id", *MOCK_COLUMNS])
    return Labels("counts", tuple(table["object_id"].to_pylist()), mock_votes(table), target="true")


def _count_columns(table: pa.Table) -> list[str]:
    """Columns of vote counts in the order of the answers, none unless all are there."""
    found = sorted((match.groups(), name) for name in table.column_names if (match := COUNT.match(name)))
    sizes = Counter(int(question) for (question, _), _ in found)
    return [name for _, name in found] if [sizes[q] for q in range(1, len(SIZES) + 1)] == list(SIZES) else []


def _numbers(table: pa.Table, names: Sequence[str]) -> Float[np.ndarray, "n k"]:
    return np.stack(
        [np.array([np.nan if v is None else v for v in table[name].to_pylist()], float) for name in names], 1
    )


def _spelled(value: object) -> str:
    """A value as text: 1, 1.0 and True are one."""
    if isinstance(value, bool | int | float) and float(value) == int(value):
        return str(int(value))
    return str(value)


def _by_number(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text
