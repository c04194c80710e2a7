"""What every reader hands over: the facts of a survey, its cutouts one by one, and what had to be set aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from skyloom.data.cutout import Cutout, SurveyInfo


class Quarantine(NamedTuple):
    """An object set aside by --skip-bad, and why.

    row : of the catalogue or table, counted from 1 below its header; of a folder, the file's place in sorted order
    """

    object_id: str
    file: str
    row: int | None
    reason: str


class Source(NamedTuple):
    """One opened source: nothing but headers has been read until `cutouts` is iterated, once.

    cutouts : lazy; memory stays flat however many there are; raises on the first bad object unless told to skip
    quarantine : filled while `cutouts` is iterated, complete when it is exhausted
    total : how many objects to expect, bad ones included; None if only reading tells
    """

    info: SurveyInfo
    cutouts: Iterator[Cutout]
    quarantine: Sequence[Quarantine] = ()
    total: int | None = None
