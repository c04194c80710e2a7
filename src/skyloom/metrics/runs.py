"""Finished runs of several sizes, as a law of scaling is fitted to them: from run directories, or from a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from skyloom.checkpoint import RECIPE, Run
from skyloom.data.catalogues import table_from
from skyloom.errors import CatalogueError, RunError, SourceError

FACTS = "scaling"  # what a recipe writes of each run
NEEDED = ("n_parameters", "n_tokens", "loss")
KNOWN = ("flops", "seconds")  # may be there


@dataclass(frozen=True)
class Trials:
    """One value per run; flops and seconds are NaN where nobody says.

    n_tokens : seen in training, repeats counted; loss : on what was held out; samples : seen in training, 0 if unknown
    machine : what they ran on, "" if unknown; unfinished : names of those that are there and not done
    """

    names: tuple[str, ...]
    n_parameters: Float[np.ndarray, "n"]
    n_tokens: Float[np.ndarray, "n"]
    loss: Float[np.ndarray, "n"]
    flops: Float[np.ndarray, "n"]
    seconds: Float[np.ndarray, "n"]
    samples: Float[np.ndarray, "n"]
    machine: str = ""
    unfinished: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def largest(self) -> int:
        """The row of the one that took most."""
        return int(np.argmax(self.n_parameters * self.n_tokens))

    @property
    def speed(self) -> float:
        """FLOP a second of the run that took most; NaN if nobody says."""
        seconds = self.seconds[self.largest]
        return float(self.flops[self.largest] / seconds) if seconds > 0 else float("nan")

    @property
    def flop_per(self) -> float:
        """FLOP for each parameter and token, of the run that took most; NaN if nobody says."""
        row = self.largest
        return float(self.flops[row] / (self.n_parameters[row] * self.n_tokens[row]))


def read_trials(path: str | Path) -> Trials:
    """Runs from a folder of run directories whose recipe writes scaling.json, or from a table of anybody's runs.

    A table (.csv, .ecsv, .fits, .parquet) has the columns n_parameters, n_tokens and loss, and may have flops, seconds
    and name. Runs that are not finished are left out, and named.
    Raises SourceError for neither, CatalogueError for a table without these columns or with gaps, RunError for runs
    of different recipes or surveys, whose losses cannot be compared, and for finished runs without scaling.json.
    """
    path = Path(path)
    if path.is_dir():
        return _from_directories(path)
    if not path.is_file():
        raise SourceError(path, "there are no runs", "give a folder of run directories or a table")
    return _from_table(path)


def _from_table(path: Path) -> Trials:
    table = table_from(path)
    lacking = [name for name in NEEDED if name not in table.column_names]
    if lacking:
        raise CatalogueError(
            f"{path}: no column {', '.join(lacking)} among {', '.join(table.column_names) or 'none'}; runs need "
            f"{', '.join(NEEDED)}"
        )
    columns = {}
    for name in (*NEEDED, *KNOWN):
        values = table[name].to_pylist() if name in table.column_names else [np.nan] * len(table)
        try:
            columns[name] = np.array([np.nan if value is None else value for value in values], float)
        except ValueError as fault:
            raise CatalogueError(f"{path}: column {name} holds what is no number ({fault}); clean it") from fault
    gaps = [row + 1 for row in range(len(table)) if not all(np.isfinite(columns[name][row]) for name in NEEDED)]
    if gaps:
        raise CatalogueError(f"{path}: rows {', '.join(map(str, gaps[:5]))} lack a number; fill or remove them")
    numbers = (str(row + 1) for row in range(len(table)))
    names = tuple(map(str, table["name"].to_pylist())) if "name" in table.column_names else tuple(numbers)
    n, d, loss, flops, seconds = (columns[name] for name in (*NEEDED, *KNOWN))
    return Trials(names, n, d, loss, flops, seconds, np.zeros(len(table)))


def _from_directories(folder: Path) -> Trials:
    runs = [Run(path.parent) for path in sorted(folder.glob(f"*/{RECIPE}"))]
    done = [run for run in runs if run.finished and run.facts(FACTS)]
    mute = [run for run in runs if run.finished and not run.facts(FACTS)]
    if mute:
        raise RunError(
            f"{mute[0].path}: the recipe {mute[0].record['recipe']} writes no {FACTS}.json; use one that does "
            "(sky_gpt), or a table of runs"
        )
    for part in ("recipe", "surveys"):
        kinds = {json.dumps(run.record[part], sort_keys=True) for run in done}
        if len(kinds) > 1:
            raise RunError(f"{folder} holds runs of different {part}, whose losses cannot be compared; part them")
    n, d, loss, flops, seconds = (np.array([_number(run, name) for run in done]) for name in (*NEEDED, *KNOWN))
    settings = [run.record["settings"] for run in done]
    samples = np.array([float(one.get("steps", 0) * one.get("batch", 0)) for one in settings])
    machines = {str((run.facts("training") or {}).get("machine", "")) for run in done}
    machine = machines.pop() if len(machines) == 1 else ""
    unfinished = tuple(run.name for run in runs if run not in done)
    return Trials(tuple(run.name for run in done), n, d, loss, flops, seconds, samples, machine, unfinished)


def _number(run: Run, name: str) -> float:
    """A fact of a run; RunError if a needed one is missing."""
    facts: dict[str, Any] = run.facts(FACTS) or {}
    value = facts.get(name)
    if value is None and name == "seconds":
        value = (run.facts("training") or {}).get(name)
    if value is None and name in NEEDED:
        raise RunError(f"{run.path}: {FACTS}.json has no {name}; train the run again")
    return float("nan") if value is None else float(value)
