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

from skyloom.data.cutout import SurveyInfo
from skyloom.data.images import ImageBatch, ImageSet, image_batches, read_images
from skyloom.data.store import Survey
from skyloom.errors import RecipeError, RequestError
from skyloom.recipes.lesson import School
from skyloom.sky.scaling import Asinh, MinMax, facts_of

JUDGED = 512  # images, at most, that a network is compared on


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The settings of a recipe that say which images it learns from.

    bands : names, none for all; where : an SQL filter of the survey; bin : pixels averaged to one along each axis
    crop : side of an image after that [pixel], 0 for the whole cutout
    shift : largest shift of an image along each axis [pixel]; 0 where there are images enough
    """

    bands: tuple[str, ...] = ()
    where: str = ""
    bin: int = 1
    crop: int = 0
    shift: float = 0.0


def require_images(recipe: Sample, survey: Survey, labels: Sequence[str] = ()) -> None:
    """RequestError, before any long work, if a survey lacks the bands, the labels, or any image that is asked for."""
    for band in recipe.bands:
        survey.info.index(band)
    numbers = survey.table(["object_id", *labels], recipe.where or None)
    if not len(numbers):
        raise RequestError(f"{survey.path.name} has no object where {recipe.where!r}; ask for others")


class Images(NamedTuple):
    """One set of a survey's images, and its labels as they are stored, NaN where there are none."""

    images: ImageSet
    labels: Float[np.ndarray, "n l"]


def read_side(recipe: Sample, school: School, sides: Sequence[str], labels: Sequence[str] = ()) -> list[Images]:
    """The images of every survey that lie on these sides of its split and pass the filter, with columns as labels."""
    found = []
    for survey, split in zip(school.surveys, school.splits, strict=True):
        passing = set(survey.table(["object_id"], recipe.where or None)["object_id"].to_pylist())
        ids = [name for side in sides for name in split.ids[side] if name in passing]
        if not ids:
            raise RequestError(f"{survey.path.name} has no object where {recipe.where!r} to learn from; ask for others")
        images = read_images(
            survey, ids, bands=recipe.bands, bin=recipe.bin, size=recipe.crop, progress=school.progress
        )
        table = survey.table(["object_id", *labels]).take(survey.rows_of(images.ids))
        columns = [table[name].to_numpy(zero_copy_only=False).astype(float) for name in labels]
        found.append(Images(images, np.stack(columns, 1) if columns else np.empty((len(images), 0))))
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
    standard: dict[str, Any] | None = None,
) -> Iterator[ImageBatch]:  # fmt: skip
    """Batches of each survey in turn. standard : mean and std of the labels"""
    streams = []
    for number, one in enumerate(sets):
        labels = None
        if standard is not None:
            labels = torch.from_numpy((one.labels - standard["mean"]) / standard["std"]).float()
        first = (start - number + len(sets) - 1) // len(sets)
        streams.append(
            image_batches(
                one.images, scaling.scaled, batch, shift=shift, seed=seed + number, labels=labels, start=first
            )
        )
    return (next(streams[step % len(sets)]) for step in count(start))


def standard_of(sets: Sequence[Images], names: Sequence[str]) -> dict[str, Any] | None:
    """Mean, standard deviation and range of every label over the training set; None without labels."""
    if not names:
        return None
    values = np.concatenate([one.labels for one in sets])
    return {
        "names": list(names),
        "mean": np.nanmean(values, 0).tolist(),
        "std": (np.nanstd(values, 0) + 1e-12).tolist(),
        "low": np.nanmin(values, 0).tolist(),
        "high": np.nanmax(values, 0).tolist(),
    }


def noise_of(sets: Sequence[Images]) -> tuple[float, ...]:
    """Median rms of the sky in one pixel, per band."""
    return tuple(float(value) for value in np.median([one.images.noise for one in sets], 0))


def info_learnt(recipe: Sample, images: ImageSet) -> SurveyInfo:
    """What the images that were learnt from are: their bands, their pixels after binning."""
    info = images.info
    bands = tuple(info.bands[info.index(name)] for name in (recipe.bands or info.band_names))
    scale = None if info.pixel_scale is None else info.pixel_scale * recipe.bin
    return replace(info, bands=bands, notes=(), pixel_scale=scale)


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
    return torch.cat([scaling.scaled(one.images.flux[:: max(1, len(one.images) // JUDGED)][:JUDGED]) for one in sets])
