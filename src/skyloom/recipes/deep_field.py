"""deep_field: sky of any size in any bands; sources where a survey's could be, painted as they look in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.checkpoint import Run, open_run
from skyloom.data.images import ImageSet
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.infer.fields.painter import painter_with
from skyloom.metrics.spectra import sky_pixels
from skyloom.nn.deep_field import DeepField, DeepFieldConfig, FieldCritic
from skyloom.objectives.fields import FieldBatch, PaintedField
from skyloom.recipes.generators import Sample, info_learnt, read_side, require_alike, require_images
from skyloom.recipes.known_sources import LEFT_OUT, Known, known_sources, population, turned
from skyloom.recipes.lesson import Lesson, School, Size, seen
from skyloom.recipes.recounted import recounted
from skyloom.sky.grid import SYMMETRIES, turn
from skyloom.sky.noise_model import NoiseModel, measure_noise
from skyloom.sky.scaling import Asinh, facts_of
from skyloom.sky.sources import Strewn, on_grid
from skyloom.train import Average, averaged, contend, exponential

LEAST_SOURCES = 50  # in the images to learn from


@dataclass(frozen=True)
class DeepFieldRecipe(Sample):
    """Everything that decides the result, beside which images (`recipes.generators.Sample`): pieces of a field.

    window : side of what is learnt from at once [pixel]
    soften : of the asinh, in units of the sky's rms in one pixel
    steps : in all; alone : of which so many are learnt without a critic
    weight, steep : `objectives.fields`
    learning_rate : of the network without a critic; with one it is a fifth of that; critic_rate : of the critic
    recount : pieces of sky made to count sources in, at the end, four times (`recipes.recounted`); 0 for none
    start : weights to start from, a run or a name; empty for none
    """

    net: DeepFieldConfig = field(default_factory=DeepFieldConfig)
    window: int = 64
    soften: float = 3.0
    steps: int = 20_000
    alone: int = 8_000
    weight: float = 3.0
    steep: float = 1.0
    batch: int = 16
    learning_rate: float = 3e-3
    critic_rate: float = 2e-3
    recount: int = 16
    start: str = ""
    seed: int = 0


def deep_field(size: Size) -> DeepFieldRecipe:
    """The one dial."""
    return {
        "smoke": DeepFieldRecipe(DeepFieldConfig(widths=(8, 8, 8), told=(0, 1), noisy=(1,), critic=(4, 8)), window=32,
                                 steps=6, alone=3, batch=4, recount=1),
        "laptop": DeepFieldRecipe(steps=3_000, alone=2_000),
        "gpu": DeepFieldRecipe(DeepFieldConfig(widths=(96, 128, 64, 32, 16)), batch=64, steps=60_000, alone=20_000),
        "paper": DeepFieldRecipe(DeepFieldConfig(widths=(96, 128, 64, 32, 16)), batch=128, steps=200_000, alone=50_000),
    }[size]  # fmt: skip


def require(recipe: DeepFieldRecipe, survey: Survey) -> None:
    """RequestError, before any long work, if a survey's images are smaller than what is learnt from at once."""
    require_pieces(recipe, survey, recipe.window)


def require_pieces(recipe: Sample, survey: Survey, window: int) -> None:
    """RequestError if the survey's images are smaller than a window, or not pieces at all."""
    require_images(recipe, survey)
    side = min(survey.info.shape) // recipe.bin
    if side < window:
        raise RequestError(
            f"{survey.path.name} has images of {side} pixels and the recipe learns windows of {window}; ingest pieces "
            "of the field (skyloom ingest FIELD OUT --catalogue grid --size 512), or set smaller windows"
        )


@dataclass(frozen=True)
class Pieces:
    """Pieces of a field with what is known of their sources."""

    images: ImageSet
    known: Sequence[Known]
    noise: NoiseModel

    @property
    def bands(self) -> int:
        return self.images.flux.shape[1]


def pieces_of(recipe: Sample, school: School, sides: Sequence[str]) -> Pieces:
    """The pieces on these sides of the split, of one survey; RequestError for more, or for too few sources."""
    sets = read_side(recipe, school, sides)
    if len(sets) != 1:
        raise RequestError(f"{len(sets)} surveys; a painter of fields learns from one")
    require_alike(sets, sets[0].images.flux.shape[1], 1)
    images = sets[0].images
    flux = images.flux.numpy()
    good = np.stack([images.good(row).numpy() > 0 for row in range(len(images))])
    sky = sky_pixels(np.where(good, flux, np.nan))
    noise = measure_noise(flux, sky)
    known = known_sources(images, noise)
    found = sum(len(one.sources.x) for one in known)
    if found < LEAST_SOURCES:
        raise RequestError(f"{found} sources in the pieces to learn from; give at least {LEAST_SOURCES}")
    return Pieces(images, known, noise)


def lesson(recipe: DeepFieldRecipe, school: School) -> Lesson:
    """The painter, its critic, and pieces of the field in memory."""
    pieces = pieces_of(recipe, school, ("train",))
    config = replace(recipe.net, bands=pieces.bands)
    scaling = Asinh(tuple(recipe.soften * rms for rms in pieces.noise.rms))
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net, critic = DeepField(config), FieldCritic(config)
    if recipe.start:
        open_run(recipe.start).load(net).train()
    net.to(school.device)
    critic.to(school.device)
    average = averaged(net)
    optimisers = (
        torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, betas=(0.5, 0.99)),
        torch.optim.Adam(critic.parameters(), lr=recipe.critic_rate, betas=(0.0, 0.99)),
    )
    contest = PaintedField(net, critic, scaling, pieces.noise, recipe.alone, recipe.weight, recipe.steep)
    update = contend(
        contest, optimisers, seed=recipe.seed, rates=rates_of(recipe), averages=[Average(average, exponential(0.998))]
    )

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        facts = field_facts(recipe, pieces.images, scaling, pieces.noise)
        sources = population(pieces.known, pieces.bands)
        painter = painter_with(run, facts | {"sources": sources.facts()}, product)
        if recipe.recount:
            sources = recounted(painter, pieces.known, recipe.recount)
        run.write_facts("field", facts | {"sources": sources.facts()})
        return {"field": True}

    return Lesson(
        {"net": net, "critic": critic, "average": average, "optimiser": optimisers[0], "rival": optimisers[1]},
        update, lambda start: (one.to(school.device) for one in windows_of(recipe, pieces, net, scaling, start)),
        recipe.steps, recipe.batch, seen(school), finish,
    )  # fmt: skip


def rates_of(recipe: DeepFieldRecipe):
    """Shares of the two learning rates: half a cosine each to the end of the lone part, and then a fifth, falling."""

    def rates(number: int) -> tuple[float, float]:
        if number <= recipe.alone:
            warm = min(1.0, number / 50)
            return warm * (0.1 + 0.9 * (1 + np.cos(np.pi * number / recipe.alone)) / 2), 1.0
        left = (recipe.steps - number + 1) / max(recipe.steps - recipe.alone, 1)
        return 0.2 * min(1.0, 4 * left), min(1.0, 4 * left)

    return rates


def field_facts(recipe: Sample, images: ImageSet, scaling: Any, noise: NoiseModel | None) -> dict[str, Any]:
    """What whoever loads the weights must know: written as field.json."""
    return {
        "info": info_learnt(recipe, images).to_json(),
        "scaling": facts_of(scaling),
        "rms": list(noise.rms) if noise else images.noise.tolist(),
        "noise": None if noise is None else noise.facts(),
        "pieces": len(images),
    }  # fmt: skip


def windows_of(
    recipe: DeepFieldRecipe, pieces: Pieces, net: DeepField, scaling: Asinh, start: int
) -> Iterator[FieldBatch]:
    """For ever: windows of the pieces, each under one of the 8 symmetries, and what is told of the sources about them.

    Batch k depends on the pieces, the recipe and k alone.
    """
    size = recipe.window
    rows = net.windows(range(size))
    scaled = scaling.scaled(pieces.images.flux)
    for step in count(start):
        rng = np.random.default_rng([recipe.seed, 6, step])
        drawn = [_window(scaled, pieces.known, size, rng) for _ in range(recipe.batch)]
        told = [
            torch.from_numpy(
                np.stack([on_grid(one[2], places, places, net.cell >> level) for one in drawn])
            ) if net.config.depths[level][0] else None
            for level, places in enumerate(rows)
        ]  # fmt: skip
        images, good = (torch.from_numpy(np.stack([one[part] for one in drawn])) for part in (0, 1))
        yield FieldBatch(images.contiguous(memory_format=torch.channels_last), good, told, rows, rows)


def _window(
    scaled: Float[Tensor, "n c h w"], known: Sequence[Known], size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, Strewn]:
    """One window of one piece, with the pixels to learn from and the sources of the piece, from the window's corner."""
    while True:
        number = int(rng.integers(len(scaled)))
        h, w = scaled.shape[2:]
        top, left = int(rng.integers(h - size + 1)), int(rng.integers(w - size + 1))
        k = int(rng.choice(list(SYMMETRIES)))
        here = np.s_[top : top + size, left : left + size]
        good = known[number].good[here]
        if good.mean() >= 1 - LEFT_OUT:
            break
    sources = known[number].sources
    moved = Strewn(sources.x - left, sources.y - top, sources.marks)
    image = np.ascontiguousarray(turn(scaled[(number, slice(None), *here)].numpy(), k))
    return image, np.ascontiguousarray(turn(good, k))[None].astype(np.float32), turned(moved, k, size)
