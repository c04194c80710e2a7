"""`train`: a recipe and surveys in, a run directory out; killed and started again, it goes on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch

from skyloom import __version__
from skyloom.checkpoint import Run, begin
from skyloom.data import store
from skyloom.data.profiles import read_profiles
from skyloom.data.workers import ALONE, Share
from skyloom.errors import RecipeError, RequestError
from skyloom.infer.placed import device_of
from skyloom.recipes import (
    astroddpm,
    deep_field,
    galaxy_edm,
    galaxy_zoo,
    looking,
    masked_autoencoder,
    morphology,
    pix2prof,
    profile_decoder,
    simclr,
    sky_gpt,
    spatial_gan,
    vae,
)
from skyloom.recipes.encoders import require_views
from skyloom.recipes.generators import require_images
from skyloom.recipes.lesson import SIDES, Lesson, Progress, School, Size, splits_of
from skyloom.recipes.processes import agreed, on_devices, require_devices
from skyloom.recipes.settings import with_settings
from skyloom.train import train as steps_of

REPORT = 50  # steps between two lines of losses.jsonl
SAVE = 300.0  # seconds between two states to go on from


class Entry(NamedTuple):
    """A recipe: its function of one dial, what makes a lesson of it, what a survey must have for it, the sides of
    its split, and whether several processes can share its batches."""

    sizes: Callable[[Size], Any]
    lesson: Callable[[Any, School], Lesson]
    require: Callable[[Any, store.Survey], None]
    sides: Mapping[str, float] = SIDES
    shares: bool = False

    def school(
        self, chosen: Any, surveys: Sequence[store.Survey], device: torch.device, progress: Progress | None,
        share: Share = ALONE, sharded: bool = False,
    ) -> School:  # fmt: skip
        """The surveys, split as the recipe wants them."""
        return School(surveys, splits_of(surveys, chosen.split, self.sides), device, progress, share, sharded)


def require_target(recipe: Any, survey: store.Survey) -> None:
    """RequestError, before any long work, if a survey does not hold the profiles to learn."""
    if not any(any(row) for row in read_profiles(survey, recipe.target)):
        raise RequestError(f"{survey.path.name}: column {recipe.target} holds no profile; measure or ingest some first")


RECIPES = {
    "pix2prof": Entry(pix2prof.pix2prof, pix2prof.lesson, require_target),
    "profile_decoder": Entry(profile_decoder.profile_decoder, profile_decoder.lesson, require_target),
    "astroddpm": Entry(astroddpm.astroddpm, astroddpm.lesson, require_images),
    "galaxy_edm": Entry(galaxy_edm.galaxy_edm, galaxy_edm.lesson, galaxy_edm.require),
    "spatial_gan": Entry(spatial_gan.spatial_gan, spatial_gan.lesson, spatial_gan.require),
    "morphology": Entry(morphology.morphology, morphology.lesson, morphology.require, looking.SIDES),
    "galaxy_zoo": Entry(galaxy_zoo.galaxy_zoo, galaxy_zoo.lesson, looking.require, looking.SIDES),
    "deep_field": Entry(deep_field.deep_field, deep_field.lesson, deep_field.require),
    "simclr": Entry(simclr.simclr, simclr.lesson, require_views),
    "vae": Entry(vae.vae, vae.lesson, require_views),
    "masked_autoencoder": Entry(masked_autoencoder.masked_autoencoder, masked_autoencoder.lesson, require_views),
    "sky_gpt": Entry(sky_gpt.sky_gpt, sky_gpt.lesson, sky_gpt.require, shares=True),
}


def train(
    recipe: str,
    surveys: str | Path | store.Survey | Sequence[str | Path | store.Survey],
    out: str | Path,
    *,
    size: Size = "laptop",
    settings: Mapping[str, str] | None = None,
    device: str | None = None,
    devices: int = 1,
    shard: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train a recipe on one survey or several, and write the run directory `out`; call it again to go on.

    size : smoke, laptop, gpu or paper; settings : names of the recipe's numbers to new values, as text
    device : "cpu" or "cuda", None for the GPU where there is one
    devices : so many GPUs, or processes on a CPU, that share each batch, with the same losses but for rounding; on many
        machines start the command by torchrun. For the recipe sky_gpt
    shard : whether they share the network and its optimiser too (FSDP), for networks too large to train on one of them
    Each survey is split by position: 80 % to learn from, 12 % to calibrate intervals on, 8 % that training never sees;
    63, 12 and 25 % for the recipes that learn how galaxies look.
    Same recipe, surveys and seed: the same weights on a CPU of the same kind, also if it was killed in between. The
    split has a seed of its own, the setting `split`: what one run holds back, another seed holds back too.
    Raises RecipeError for an unknown recipe, size or setting, RequestError for surveys without the target, RunError if
    `out` holds another run.
    """
    entry, chosen = entry_of(recipe, size, settings or {})
    opened = [store.opened(one) for one in _listed(surveys)]
    for survey in opened:
        entry.require(chosen, survey)
    if devices != 1 and not entry.shares:
        able = ", ".join(name for name, one in RECIPES.items() if one.shares)
        raise RecipeError(f"devices={devices}: {recipe} trains in one process; {able} can share its batches")
    require_devices(devices, device_of(device), shard)
    run = begin(Path(out), _record(recipe, size, chosen, opened))
    if run.finished:
        return run
    on_devices(devices, device_of(device), _trained, (recipe, chosen, run.path, opened, shard), progress)
    return Run(run.path)


def _trained(
    share: Share, where: torch.device, recipe: str, chosen: Any, path: Path, surveys: list[store.Survey],
    shard: bool, progress: Progress | None,
) -> None:  # fmt: skip
    """The share of one process; the first writes the run."""
    run, entry = Run(path), RECIPES[recipe]
    lesson = entry.lesson(chosen, entry.school(chosen, surveys, where, progress, share, shard))
    first = share.rank == 0
    seconds = _loop(run, lesson, progress, first)
    if lesson.settle and first:
        lesson.settle(run)
    if lesson.whole or first:
        run.save(lesson.product, half=True, write=first)
    if not first:
        return
    product = run.load(lesson.whole() if lesson.whole else lesson.product)
    found = lesson.finish(run, product)
    run.write_facts("training", {**lesson.facts, **seconds, "machine": machine(where), "found": sorted(found)})
    run.finish()


def _loop(run: Run, lesson: Lesson, progress: Progress | None, first: bool) -> dict[str, float]:
    """Take the steps that are left; the first process logs and saves, with the others where they share the network.

    Returns the seconds, earlier calls included.
    """
    start = run.resume(lesson.parts)
    before = run.facts("clock") or {"seconds": 0.0, "cpu_seconds": 0.0}
    wall, cpu = time.perf_counter(), time.process_time()
    saved, sums = wall, dict[str, float]()

    def clock() -> dict[str, float]:
        return {
            "seconds": round(before["seconds"] + time.perf_counter() - wall, 1),
            "cpu_seconds": round(before["cpu_seconds"] + time.process_time() - cpu, 1),
        }

    def save(number: int) -> None:
        run.save_state(number, lesson.parts, write=first)
        run.save(lesson.product, write=first)
        if first:
            run.write_facts("clock", clock())

    left = lesson.steps - start
    batches = islice(lesson.batches(start), left) if left > 0 else ()
    for step in steps_of(lesson.update, batches, start):
        for name, loss in step.losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss) / REPORT
        if first and step.number % REPORT == 0:
            run.log({"step": step.number, "samples": step.number * lesson.batch, **clock(), **_rounded(sums)})
            sums = {}
        if first and lesson.after:
            lesson.after(run, step.number)
        due = first and (time.perf_counter() - saved > SAVE or step.number == lesson.steps)
        if agreed(due) if lesson.whole else due:
            save(step.number)
            saved = time.perf_counter()
        if first and progress:
            progress(step.number, lesson.steps, "steps")
    return clock()


def _rounded(sums: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in sums.items()}


def entry_of(recipe: str, size: Size, settings: Mapping[str, str]) -> tuple[Entry, Any]:
    """A recipe by its name, and its numbers; RecipeError for an unknown recipe, size or setting."""
    if recipe not in RECIPES:
        raise RecipeError(f"no recipe {recipe!r}; there is {', '.join(RECIPES)}")
    if size not in get_args(Size):
        raise RecipeError(f"no size {size!r}; there is {', '.join(get_args(Size))}")
    return RECIPES[recipe], with_settings(RECIPES[recipe].sizes(size), settings)


def _listed(surveys) -> list:
    listed = [surveys] if isinstance(surveys, str | Path | store.Survey) else list(surveys)
    if not listed:
        raise RequestError("train needs at least one survey")
    return listed


def _record(recipe: str, size: str, chosen: Any, surveys: Sequence[store.Survey]) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "size": size,
        "settings": asdict(chosen),
        "surveys": [
            {"name": one.path.name, "hash": one.content_hash, "objects": len(one), "source": one.info.source}
            for one in surveys
        ],
        "skyloom": __version__,
        "torch": torch.__version__,
    }


def machine(device: torch.device) -> str:
    """What the training ran on: cores and kind, or the GPU; nothing that names a machine or its user."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} cores"
