"""What all weights that ship have in common: the head of their card, and how they come into the package."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from skyloom.checkpoint import LOSSES, SHIPPED, STATE, Run
from skyloom.data.destination import write_whole

WATTS = 10.0  # of a busy core, assumed
LEFT = (LOSSES, STATE, "clock.json", "snapshots")  # what nobody needs who uses the weights


def head(run: Run, learnt: str) -> str:
    """Recipe, data, cost and settings. learnt : what the surveys are, and how much of them was learnt from"""
    record, training = run.record, run.facts("training") or {}
    surveys = "\n".join(
        f"- {one['objects']:,} objects of `{one['name']}` ({one['source'] or 'no source stated'})"
        for one in record["surveys"]
    )
    settings, net = dict(record["settings"]), record["settings"]["net"]
    settings.pop("net")
    said = [", ".join(f"{k} = {v}" for k, v in part.items() if v not in ("", [])) for part in (settings, net)]
    hours, cpu = training["seconds"] / 3600, training["cpu_seconds"] / 3600
    before = settings.get("start")
    before = f" It starts from the run `{before}`, whose hours come on top." if before else ""
    return (
        f"# {run.name}\n\nRecipe `{record['recipe']}`, size `{record['size']}`. Licence: BSD-3-Clause, as skyloom.\n"
        f"\n**Trained on** {learnt}:\n\n{surveys}\n\n"
        f"for {hours:.2f} h ({training['machine']}), {cpu:.2f} CPU hours, about {3.6 * cpu * WATTS:.0f} kJ at "
        f"{WATTS:.0f} W a busy core. Again: `scripts/train_weights FOLDER`. {said[0]}. Network: {said[1]}.{before}\n"
    )


def keep(run: Run, scores: Mapping[str, Any], card: str) -> None:
    """Write scores.json and card.md beside the weights."""
    run.write_facts("scores", scores)
    write_whole(run.path / "card.md", card)


def ship(run: Run) -> None:
    """Copy what users need into the package."""
    target = SHIPPED / run.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run.path, target, ignore=shutil.ignore_patterns(*LEFT))
