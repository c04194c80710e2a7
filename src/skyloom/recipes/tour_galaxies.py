"""The part of the tour about galaxies that no telescope has seen: some simulated, and one with a trail taken away."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from skyloom.data import store
from skyloom.data.store import Survey
from skyloom.infer.inpaint import inpaint
from skyloom.infer.rows import sky_of
from skyloom.infer.simulate import simulate
from skyloom.recipes.lesson import splits_of
from skyloom.report.generated import Trail, quiz_chapter, trail_chapter
from skyloom.report.markup import Chapter
from skyloom.report.sheets import Album, whole
from skyloom.sky import trails

WEIGHTS = "galaxy-kids"
SHOWN = 12  # galaxies of each kind
TRAIL = trails.Trail(angle=0.6, offset=1.5, width=2.5, brightness=25.0)
FAIR = "is_extended AND NOT in_bad_strip AND NOT in_halo AND NOT is_saturated"
Progress = Callable[[int, int | None, str], None]


def simulated_chapter(kids: Survey, out: Path, progress: Progress | None) -> Chapter:
    """As many simulated galaxies as real ones, shuffled. kids : the sample survey; out : a folder"""
    path = out / "simulated.lance"
    shutil.rmtree(path, ignore_errors=True)
    made = simulate(path, WEIGHTS, SHOWN, seed=1, progress=progress)
    ids = kids.table(["object_id"], FAIR)["object_id"].to_pylist()
    order = np.random.default_rng(5).permutation(len(ids))
    real = whole(Album([*kids.read(ids=[ids[place] for place in order[: 3 * SHOWN]])], kids.info))
    real = Album(real.cutouts[:SHOWN], kids.info)
    fake = Album([*made.read()], made.info)
    return quiz_chapter(real, fake, "Galaxies from noise", "quiz", by=WEIGHTS, seed=3)


def mended_chapter(kids: Survey, out: Path, progress: Progress | None) -> Chapter:
    """The brightest fair galaxy that the weights were not trained on, with a trail drawn over it and taken away."""
    held_out = set(splits_of([kids], 0)[0].ids["test"])
    facts = kids.table(["object_id", "flux_r"], FAIR).to_pylist()
    best = max((row for row in facts if row["object_id"] in held_out), key=lambda row: row["flux_r"])
    observed = next(kids.read(ids=[best["object_id"]]))
    light, mask = trails.draw_trail(kids.info.shape, TRAIL)
    _, rms = sky_of(observed)
    spoiled = observed.flux + (light * rms[:, None, None]).astype(np.float32)
    defaced = replace(observed, flux=np.where(observed.ivar > 0, spoiled, observed.flux))
    for name in ("trail.lance", "mended.lance"):
        shutil.rmtree(out / name, ignore_errors=True)
    survey = store.write(out / "trail.lance", kids.info, [defaced])
    mended = inpaint(survey, out / "mended.lance", mask[None], WEIGHTS, samples=8, seed=1, progress=progress)
    repaired = replace(next(mended.read()), columns={})
    return trail_chapter(
        Trail(observed, defaced, repaired, mask, kids.info), "A trail, taken away", "trail", by=WEIGHTS
    )
