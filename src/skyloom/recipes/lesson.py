"""What a recipe hands to the loop, and what it is handed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from skyloom.checkpoint import Run
from skyloom.data.splits import Split, split
from skyloom.data.store import Survey
from skyloom.data.workers import ALONE, Share
from skyloom.train import Update

Size = Literal["smoke", "laptop", "gpu", "paper"]
SIDES: Mapping[str, float] = {"train": 0.8, "calibration": 0.12, "test": 0.08}
Progress = Callable[[int, int | None, str], None]


class School(NamedTuple):
    """Where and on what to learn: surveys, each with its split by position; the device; who is told of progress; which
    of several processes this is; and whether they share the network too."""

    surveys: Sequence[Survey]
    splits: Sequence[Split]
    device: torch.device
    progress: Progress | None
    share: Share = ALONE
    sharded: bool = False


@dataclass(frozen=True)
class Lesson:
    """A network that can be trained, and how.

    parts : what must be saved to go on: networks and optimisers by name; `average` or else `net` is the one to use
    batches : from the number of steps taken so far
    finish : calibrate and score the network that was kept, and write what was found beside it
    after : called after every step, settle : once after the last, before the network is kept
    whole : makes the network to use where processes hold shares of it; None where each has all of it
    """

    parts: Mapping[str, nn.Module | torch.optim.Optimizer]
    update: Update
    batches: Callable[[int], Iterator[Any]]
    steps: int
    batch: int
    facts: Mapping[str, Any]
    finish: Callable[[Run, nn.Module], Mapping[str, Any]]
    after: Callable[[Run, int], None] | None = None
    settle: Callable[[Run], None] | None = None
    whole: Callable[[], nn.Module] | None = None

    @property
    def product(self) -> nn.Module:
        """The network to use."""
        part = self.parts.get("average", self.parts["net"])
        assert isinstance(part, nn.Module)
        return part


def splits_of(surveys: Sequence[Survey], seed: int, sides: Mapping[str, float] = SIDES) -> list[Split]:
    """How each survey is dealt to training, calibration and test; the same for the same seed, which is the `split` of a
    recipe: runs of other seeds hold back the same objects."""
    return [split(survey, sides, seed) for survey in surveys]


def learnt_and_held_out(survey: Survey, where: str, seed: int) -> tuple[list[str], list[str]]:
    """Objects that a recipe of this filter and split learns from, and those that it never sees, by position."""
    split, (first, *others) = splits_of([survey], seed)[0], SIDES
    return passing(survey, split, [first], where), passing(survey, split, others, where)


def passing(survey: Survey, split: Split, sides: Sequence[str], where: str) -> list[str]:
    """Objects on these sides of a split that pass an SQL filter, none for all, side after side."""
    there = set(survey.table(["object_id"], where or None)["object_id"].to_pylist())
    return [one for side in sides for one in split.ids[side] if one in there]


def seen(school: School) -> dict[str, Any]:
    """What the weights have been shown: the bands, pixel scales and cutout sizes of all surveys."""
    infos = [survey.info for survey in school.surveys]
    return {
        "bands": sorted({name for info in infos for name in info.band_names}),
        "pixel_scales": sorted({info.pixel_scale for info in infos if info.pixel_scale is not None}),
        "sizes": sorted({max(info.shape) for info in infos}),
    }
