"""What the recipes that make galaxies have in common: which images they learn from, and what is told of them later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from skyloom.data.conditions import Condition, Wish, learnt_conditions, values_of
from skyloom.data.cutout import SurveyInfo
from skyloom.data.images import ImageBatch, ImageSet, image_batches, read_images
from skyloom.data.store import Survey
from skyloom.errors import RecipeError, RequestError
from skyloom.recipes.lesson import School, passing
from skyloom.sky.scaling import Asinh, MinMax, facts_of

JUDGED = 512  # images, at most, that a network is compared on


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The settings of a recipe that say which images it learns from.

    bands : names, none for all; where : an SQL filter of the survey; bin : pixels averaged to one along each axis
    crop : side of an image after that [pixel], 0 for the whole cutout
    shift : largest shift of an image along each axis [pixel]; 0 where there are images enough
    split : seed of the split; the same for runs that are compared, averaged or begun from one another
    """

    bands: tuple[str, ...] = ()
    where: str = ""
    bin: int = 1
    crop: int = 0
    shift: float = 0.0
    split: int = 0


def require_images(recipe: Sample, survey: Survey) -> None:
    """RequestError, before any long work, if a survey lacks the bands, or any image that is asked for."""
    for band in recipe.bands:
        survey.info.index(band)
    if not len(survey.table(["object_id"], recipe.where or None)):
        raise RequestError(f"{survey.path.name} has no object where {recipe.where!r}; ask for others")


class Images(NamedTuple):
    """One set of a survey's images, and the values of every condition in its own unit, NaN where there are none."""

    images: ImageSet
    values: list[Float[np.ndarray, "n k"]]


def read_side(recipe: Sample, school: School, sides: Sequence[str], wishes: Sequence[Wish] = ()) -> list[Images]:
    """The images of every survey on these sides of its split that pass the filter, and what is wished of them."""
    found = []
    for survey, split in zip(school.surveys, school.splits, strict=True):
        ids = passing(survey, split, sides, recipe.where)
        if not ids:
            raise RequestError(f"{survey.path.name} has no object where {recipe.where!r} to learn from; ask for others")
        images = read_images(
            survey, ids, bands=recipe.bands, bin=recipe.bin, size=recipe.crop, progress=school.progress
        )
        rows = survey.rows_of(images.ids)
        found.append(Images(images, [values_of(survey, wish, rows) for wish in wishes]))
    return found


def require_alike(sets: Sequence[Images], bands: int, multiple: int) -> None:
    """RecipeError unless all images have the bands, pixels and zero points of the first and suit the network."""
    first = sets[0].images
    shape = tuple(first.flux.shape[1:])
    for one in sets:
        if tuple(one.images.flux.shape[1:]) != shape:
            raise RecipeError(
                f"images of {shape} and {tuple(one.images.flux.shape[1:])} (bands, rows, columns) at once"
            )
        ours, theirs = ([(b.name, b.zero_point) for b in part.info.bands] for part in (first, one.images))
        if ours != theirs or first.info.pixel_scale != one.images.info.pixel_scale:
            raise RecipeError("surveys with other bands, zero points or pixels at once; train on one of them")
    if shape[0] != bands:
        raise RecipeError(f"the network has {bands} bands and the images {shape[0]}; leave bands out of --set")
    if shape[1] % multiple or shape[2] % multiple:
        raise RecipeError(f"images of {shape[1:]} pixels, and the network needs a multiple of {multiple}; set crop")


def batches_of(
    sets: Sequence[Images], scaling: Asinh | MinMax, batch: int, *, shift: float, seed: int, start: int,
    conditions: Sequence[Condition] = (),
) -> Iterator[ImageBatch]:  # fmt: skip
    """Batches of each survey in turn, with their conditions as labels"""
    streams = []
    for number, one in enumerate(sets):
        labels = told_of(one, conditions) if conditions else None
        first = (start - number + len(sets) - 1) // len(sets)
        streams.append(
            image_batches(
                one.images,
                scaling.scaled,
                batch,
                shift=shift,
                seed=seed + number,
                labels=labels,
                angles=angles_of(conditions),
                start=first,
            )
        )
    return (next(streams[step % len(sets)]) for step in count(start))


def conditions_of(wishes: Sequence[Wish], sets: Sequence[Images]) -> tuple[Condition, ...]:
    """What is to be told, with its mean, spread and range over the training set; none without wishes."""
    widest = [max(one.values[k].shape[1] for one in sets) for k in range(len(wishes))]
    if any(one.values[k].shape[1] != widest[k] for one in sets for k in range(len(wishes))):
        raise RecipeError("surveys whose lists have other lengths at once; train on one of them, or leave lists out")
    return learnt_conditions(wishes, [np.concatenate([one.values[k] for one in sets]) for k in range(len(wishes))])


def told_of(images: Images, conditions: Sequence[Condition]) -> Float[Tensor, "n l"]:
    """What the network is told of every image."""
    told = [condition.told(values) for condition, values in zip(conditions, images.values, strict=True)]
    return torch.from_numpy(np.concatenate(told, 1)).float()


def angles_of(conditions: Sequence[Condition]) -> list[int]:
    """Places of the first of an angle's two numbers."""
    starts = np.cumsum([0, *(one.width for one in conditions)])
    return [int(start) for start, one in zip(starts, conditions, strict=False) if one.kind == "angle"]


def noise_of(sets: Sequence[Images]) -> tuple[float, ...]:
    """Median rms of the sky in one pixel, per band."""
    return tuple(float(value) for value in np.median([one.images.noise for one in sets], 0))


def info_learnt(recipe: Sample, images: ImageSet) -> SurveyInfo:
    """What the images that were learnt from are: their bands, their pixels after binning."""
    return images.info.binned(recipe.bands, recipe.bin)


def generator_facts(
    recipe: Sample, sets: Sequence[Images], scaling: Asinh | MinMax, sigmas: tuple[float, float]
) -> dict[str, Any]:
    """What whoever loads the weights must know: written as generator.json."""
    height, width = sets[0].images.flux.shape[-2:]
    light = torch.cat([one.images.flux[:JUDGED].sum((2, 3)) for one in sets])
    return {
        "info": replace(info_learnt(recipe, sets[0].images), shape=(height, width)).to_json(),
        "noise": noise_of(sets),
        "scaling": facts_of(scaling),
        "sigmas": sigmas,
        "light": light.median(0).values.tolist(),
        "images": sum(len(one.images) for one in sets),
    }  # fmt: skip


@torch.no_grad()
def some(sets: Sequence[Images], scaling: Asinh | MinMax) -> Float[Tensor, "n c h w"]:
    """A few scaled images of each survey, the same each time."""
    return torch.cat([scaling.scaled(one.images.flux[_few(one)]) for one in sets])


def some_told(sets: Sequence[Images], conditions: Sequence[Condition]) -> Float[Tensor, "n l"] | None:
    """What is told of the images of `some`; None without conditions."""
    return torch.cat([told_of(one, conditions)[_few(one)] for one in sets]) if conditions else None


def _few(one: Images) -> list[int]:
    return list(range(0, len(one.images), max(1, len(one.images) // JUDGED)))[:JUDGED]
