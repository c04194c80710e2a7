"""What the recipes of encoders have in common: the images they learn from, and what is told of them later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from skyloom.checkpoint import Run
from skyloom.data.store import Survey
from skyloom.data.views import ViewBatch, Views, require_honest, view_batches
from skyloom.errors import RecipeError
from skyloom.recipes.generators import Images, Sample, info_learnt, noise_of, read_side, require_alike, require_images
from skyloom.recipes.lesson import Lesson, School, seen
from skyloom.sky.scaling import Asinh, facts_of
from skyloom.train import descend, warm_then_cosine


@dataclass(frozen=True, kw_only=True)
class Pupil(Views, Sample):
    """The settings of an encoder's recipe that say which images it learns from, and in which views.

    crop : side of what the network sees [pixel], after binning
    soften : of the asinh, in units of the sky's rms in one pixel
    steps, batch, learning_rate, warm, seed : how it learns
    """

    crop: int = 32
    soften: float = 1.0
    steps: int = 20_000
    batch: int = 256
    learning_rate: float = 1e-3
    warm: int = 100
    seed: int = 0


def require_views(recipe: Pupil, survey: Survey) -> None:
    """RequestError or RecipeError, before any long work, for a survey that cannot be learnt from as asked."""
    require_images(recipe, survey)
    bands = [survey.info.bands[survey.info.index(name)] for name in (recipe.bands or survey.info.band_names)]
    widths = [band.psf_fwhm for band in bands if band.psf_fwhm is not None]
    scale = survey.info.pixel_scale
    psf = min(widths) / scale / recipe.bin if widths and scale else None
    require_honest(recipe, [band.name for band in bands], psf)
    side = min(survey.info.shape) // recipe.bin
    if not 0 < recipe.crop <= side:
        raise RecipeError(
            f"crop={recipe.crop}, and {survey.path.name} has {side} pixels a side after bin={recipe.bin}; set crop"
        )


def read_for_views(recipe: Pupil, school: School, sides: Sequence[str], multiple: int) -> list[Images]:
    """Images with as much around the crop as turns and shifts need, or as there is."""
    side = min(min(survey.info.shape) // recipe.bin for survey in school.surveys)
    sets = read_side(replace(recipe, crop=min(recipe.margin(recipe.crop), side)), school, sides)
    require_alike(sets, sets[0].images.flux.shape[1], 1)
    if recipe.crop % multiple:
        raise RecipeError(f"crop={recipe.crop}, and the network needs a multiple of {multiple}; set crop")
    return sets


def scaling_for(recipe: Pupil, sets: Sequence[Images]) -> Asinh:
    return Asinh(tuple(recipe.soften * noise for noise in noise_of(sets)))


def views_of(
    recipe: Pupil, sets: Sequence[Images], scaled: Callable[[Tensor], Tensor], batch: int, each: int, start: int,
    seed: int,
) -> Iterator[ViewBatch]:  # fmt: skip
    """Batches of each survey in turn."""
    bands = info_learnt(recipe, sets[0].images).band_names
    streams = []
    for number, one in enumerate(sets):
        first = (start - number + len(sets) - 1) // len(sets)
        streams.append(
            view_batches(
                one.images, scaled, batch, views=recipe, bands=bands, crop=recipe.crop, each=each, seed=seed + number,
                start=first,
            )
        )  # fmt: skip
    return (next(streams[step % len(sets)]) for step in count(start))


def lesson_of(
    recipe: Pupil,
    school: School,
    sets: Sequence[Images],
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Callable[..., dict[str, Tensor]],
    *,
    each: int,
    dimension: int,
    more: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda encoder: {},
) -> Lesson:
    """A network, and how it learns from views of images in memory.

    each : views of a galaxy that are compared; dimension : of its vectors
    more : from the facts of the encoder to other facts that are to be written, by name
    """
    scaling = scaling_for(recipe, sets)
    update = descend(
        net, objective, optimiser, seed=recipe.seed, clip=1.0,
        rate=warm_then_cosine(recipe.learning_rate, recipe.warm, recipe.steps),
    )  # fmt: skip

    def batches(start: int) -> Iterator[ViewBatch]:
        stream = views_of(recipe, sets, scaling.scaled, recipe.batch, each, start, recipe.seed)
        return (batch.to(school.device) for batch in stream)

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        encoder = encoder_facts(recipe, sets, scaling, dimension)
        found = {"encoder": encoder, **more(encoder)}
        for name, facts in found.items():
            run.write_facts(name, facts)
        return found

    parts: dict[str, nn.Module | torch.optim.Optimizer] = {"net": net, "optimiser": optimiser}
    return Lesson(parts, update, batches, recipe.steps, recipe.batch, seen(school), finish)


def encoder_facts(recipe: Pupil, sets: Sequence[Images], scaling: Asinh, dimension: int) -> dict[str, Any]:
    """What whoever loads the weights must know: written as encoder.json."""
    info = replace(info_learnt(recipe, sets[0].images), shape=(recipe.crop, recipe.crop))
    return {
        "info": info.to_json(),
        "noise": noise_of(sets),
        "scaling": facts_of(scaling),
        "bin": recipe.bin,
        "dimension": dimension,
        "some_bands": recipe.dropout > 0,
        "images": sum(len(one.images) for one in sets),
    }


def seeded(make: Callable[[], torch.nn.Module], seed: int) -> torch.nn.Module:
    """A new network whose weights follow from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()
