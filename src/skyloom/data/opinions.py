"""Labels that somebody gave to objects, yes or no, from files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from skyloom.data.catalogues import read_catalogue
from skyloom.errors import CatalogueError

COLUMN = "label"
YES, NO = ("1", "1.0", "yes", "true", "y"), ("0", "0.0", "no", "false", "n")


def read_opinions(files: Iterable[str | Path], known: Iterable[str], where: str) -> dict[str, bool]:
    """Label by object: of several files, the last word counts; objects whose label is blank have none.

    files : CSV, ECSV, FITS or Parquet with the columns object_id and label: yes or no, 1 or 0, true or false
    known : the ids that there are; where : in words
    Raises CatalogueError for a file without these columns, another word, an id that comes twice or is not known.
    """
    there, labels = set(known), dict[str, bool]()
    for file in map(Path, files):
        rows = read_catalogue(file)
        twice = [one for one, count in Counter(rows.ids).items() if count > 1]
        if twice:
            raise CatalogueError(f"{file}: {', '.join(map(repr, twice[:5]))} come twice; keep one row of each")
        if COLUMN not in rows.table.column_names:
            raise CatalogueError(
                f"{file}: no column {COLUMN} among {', '.join(rows.table.column_names) or 'none'}; add one"
            )
        words = [_word(value) for value in rows.table[COLUMN].to_pylist()]
        strange = sorted({word for word in words if word not in (*YES, *NO, "")})
        if strange:
            raise CatalogueError(f"{file}: labels {', '.join(map(repr, strange[:5]))}; write yes or no, or nothing")
        given = {one: word in YES for one, word in zip(rows.ids, words, strict=True) if word}
        lost = [one for one in given if one not in there]
        if lost:
            raise CatalogueError(
                f"{file}: {len(lost)} of {len(given)} labelled objects are not in {where}: "
                f"{', '.join(map(repr, lost[:5]))}; take labels of this survey"
            )
        labels |= given
    return labels


def _word(value: object) -> str:
    return "" if value is None else str(value).strip().lower()
