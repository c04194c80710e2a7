"""What is asked of a generator: values of its conditions, a galaxy to resemble, a learnt concept; read and checked."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from skyloom.data import store
from skyloom.data.conditions import Condition, values_of, wished
from skyloom.errors import RequestError
from skyloom.infer.concept import Concept, read_concept
from skyloom.infer.generator import Call, Generator
from skyloom.samplers.guidance import guided

Value = float | str | Sequence[float] | np.ndarray
COLUMN = "asked_"  # of the columns that hold what was asked for


@dataclass(frozen=True)
class Asked:
    """What is asked of every galaxy, or of each: nothing, as it stands.

    values : by name, in the conditions' own units, one row for all galaxies or one for each
    told : the same as the network hears it, NaN where nothing is said; heard : of a learnt concept
    notes : in words, for the survey
    """

    values: Mapping[str, Float[np.ndarray, "m k"]] = field(default_factory=dict)
    told: Float[Tensor, "m l"] | None = None
    heard: Float[Tensor, "1 e"] | None = None
    guidance: float = 1.0
    notes: tuple[str, ...] = ()

    def denoiser(self, generator: Generator, device: str, numbers: Sequence[int]) -> Call:
        """The generator's denoiser for galaxies by their numbers, told what is asked of each."""
        if self.told is None and self.heard is None:
            return generator.denoiser(device)
        net = generator.on(device)
        told, heard = self._of(self.told, numbers, device), self._of(self.heard, numbers, device)
        return guided(partial(net, labels=told, heard=heard), net, self.guidance)

    def columns(self, number: int) -> dict[str, Any]:
        """What was asked of one galaxy, as a survey holds it: a number, or a list."""
        rows = {name: value[min(number, len(value) - 1)] for name, value in self.values.items()}
        return {COLUMN + name: float(row[0]) if len(row) == 1 else row.tolist() for name, row in rows.items()}

    @staticmethod
    def _of(rows: Tensor | None, numbers: Sequence[int], device: str) -> Tensor | None:
        """A chunk is drawn whole, so numbers may lie beyond what was asked for: those are the last."""
        return None if rows is None else rows[[min(number, len(rows) - 1) for number in numbers]].to(device)


def asked_of(
    generator: Generator,
    n: int,
    labels: Mapping[str, Value] | None = None,
    like: str | tuple[store.Survey, str] | None = None,
    concept: str | Path | Concept | None = None,
    guidance: float = 1.0,
) -> Asked:
    """What is asked of n galaxies; `infer.simulate.simulate` says what each argument means.

    Warns of values outside the range that the generator learnt from, with the range. RequestError for names that it was
    not told of, what is no number, a galaxy or concept that it cannot hear, and guidance below 0 or of nothing.
    """
    if not (math.isfinite(guidance) and guidance >= 0):
        raise RequestError(f"guidance={guidance}; ask for 0 or more: 1 is none")
    if not (labels or like or concept):
        if guidance != 1:
            raise RequestError(f"guidance={guidance} and nothing asked for; give a label, a galaxy or a concept")
        return Asked()
    values, notes = dict[str, np.ndarray](), list[str]()
    if like is not None:
        values, said = _resembling(generator, like)
        notes.append(said)
    values |= {name: _read(_known(generator, name), value, n) for name, value in (labels or {}).items()}
    found = read_concept(concept, generator) if concept is not None else None
    given = [f"{name} = {_worded(_known(generator, name), values[name])}" for name in labels or ()]
    if given:
        notes.append(f"Asked for {', '.join(given)}.")
    if found is not None:
        notes.append(f"Asked for the concept {found.name}, learnt from {found.examples} galaxies.")
    if guidance != 1:
        notes.append(f"Guidance {guidance:g}.")
    warned = [_warning(_known(generator, name), value) for name, value in values.items()]
    for line in filter(None, warned):
        warnings.warn(line, stacklevel=3)
        notes.append(line)
    told = _told(generator.conditions, values) if values else None
    return Asked(values, told, None if found is None else found.heard[None], float(guidance), tuple(notes))


def _known(generator: Generator, name: str) -> Condition:
    for condition in generator.conditions:
        if condition.name == name:
            return condition
    if not generator.conditions:
        raise RequestError(
            f"{generator.name} was told nothing of its galaxies, so {name} cannot be asked for; use "
            "galaxy-mock-conditional, or train galaxy_edm with labels"
        )
    raise RequestError(f"{generator.name} knows no {name!r}; it can be asked for {listed(generator.conditions)}")


def listed(conditions: Sequence[Condition]) -> str:
    """Names, ranges and units of what can be asked for, in words."""
    return ", ".join(f"{one.name} ({ranged(one)})" for one in conditions)


def ranged(condition: Condition) -> str:
    """The range learnt from, with its unit."""
    if condition.numbers > 1:
        return f"{condition.numbers} numbers"
    unit = f" {condition.unit}" if condition.unit else ""
    return f"{condition.low[0]:.4g} to {condition.high[0]:.4g}{unit}"


def _read(condition: Condition, value: Value, n: int) -> Float[np.ndarray, "m k"]:
    """One row for all galaxies, or one for each; NaN where nothing is said of one."""
    numbers = condition.numbers
    wanted = f"{numbers} numbers" if numbers > 1 else "a number"
    try:
        parts = value.split(",") if isinstance(value, str) else value
        found = np.atleast_1d(np.asarray(parts, float))
    except (ValueError, TypeError):
        raise RequestError(f"{condition.name}={value!r}; give {wanted} ({ranged(condition)})") from None
    if numbers == 1 and found.ndim == 1:
        found = found[:, None]
    found = np.atleast_2d(found)
    if found.ndim != 2 or found.shape[1] != numbers or len(found) not in (1, n):
        raise RequestError(f"{condition.name} of shape {np.shape(value)}; give {wanted}, for all or for each of {n}")
    heard, silent = condition.told(found), np.isnan(found).all(1)
    if silent.all() or np.isinf(found).any() or not (np.isfinite(heard).any(1) | silent).all():
        raise RequestError(f"{condition.name}={value!r} is not {wanted} that can be ({ranged(condition)})")
    return found


def _resembling(generator: Generator, like: str | tuple[store.Survey, str]) -> tuple[dict[str, np.ndarray], str]:
    """Every condition of the generator that a galaxy of a survey has."""
    if isinstance(like, str):
        path, colon, object_id = like.rpartition(":")
        if not (path and colon and object_id):
            raise RequestError(f"like={like!r}; give SURVEY:OBJECT_ID")
        survey = store.open(path)
    else:
        survey, object_id = like
    row = survey.rows_of([object_id])
    found = {}
    for condition in generator.conditions:
        wish = wished([condition.text])[0]
        try:
            value = values_of(survey, wish, row)
        except RequestError:
            continue  # a survey need not have all of it
        if value.shape[1] == condition.numbers and np.isfinite(condition.told(value)).any():
            found[condition.name] = value
    if not found:
        texts = ", ".join(one.text for one in generator.conditions) or "nothing"
        raise RequestError(
            f"{object_id} of {survey.path.name} has nothing that {generator.name} was told of ({texts}); "
            "embed or measure it in the same way first"
        )
    return found, f"Asked to be like {object_id} of {survey.path.name} in {', '.join(found)}."


def _told(conditions: Sequence[Condition], values: Mapping[str, np.ndarray]) -> Float[Tensor, "m l"]:
    rows = max(map(len, values.values()))
    parts = []
    for one in conditions:
        said = one.told(values[one.name]) if one.name in values else np.full((1, one.width), np.nan)
        parts.append(np.broadcast_to(said, (rows, one.width)))
    return torch.from_numpy(np.concatenate(parts, 1)).float()


def _worded(condition: Condition, value: Float[np.ndarray, "m k"]) -> str:
    if condition.numbers > 1:
        return f"{condition.numbers} numbers"
    unit = f" {condition.unit}" if condition.unit else ""
    low, high = float(np.nanmin(value)), float(np.nanmax(value))
    return f"{low:.4g}{unit}" if low == high else f"{low:.4g} to {high:.4g}{unit}"


def _warning(condition: Condition, value: Float[np.ndarray, "m k"]) -> str:
    if not condition.outside(value):
        return ""
    if condition.numbers > 1:
        return f"Some of the numbers of {condition.name} lie outside what was learnt from: what comes is a guess."
    said = f"{condition.name} = {_worded(condition, value)}"
    return f"{said} lies outside the {ranged(condition)} learnt from: what comes is a guess."
