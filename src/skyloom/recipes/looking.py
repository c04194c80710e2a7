"""What the recipes that learn how galaxies look have in common: labels, images in memory, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from skyloom.data.decision_tree import fractions_of
from skyloom.data.images import ImageSet, read_images
from skyloom.data.labels import Labels, read_labels
from skyloom.data.poses import ViewBatch, Wobble, view_batches
from skyloom.data.store import Survey
from skyloom.errors import RecipeError, RequestError
from skyloom.infer.looks import LEVELS, UNCERTAIN, Eye, Look, calibrated
from skyloom.metrics.calibration import conformal_factor
from skyloom.recipes.generators import Sample, info_learnt
from skyloom.recipes.lesson import School, passing, seen
from skyloom.sky.scaling import Asinh, facts_of

SIDES: Mapping[str, float] = {"train": 0.63, "calibration": 0.12, "test": 0.25}
RANGES = {"uint8": 255.0, "uint16": 65535.0}  # of pictures
PICTURE = 4.0  # softenings in the range of a picture, whose maker has stretched it already
TEMPERATURES = (0.2, 10.0)
FEWEST = 10  # objects to calibrate on


@dataclass(frozen=True, kw_only=True)
class Looking(Sample):
    """The settings that these recipes share, beside which images (`recipes.generators.Sample`).

    target : what to learn, as `data.labels.read_labels` has it: "", "votes", "true", or a column
    labels : a file with it; empty for the survey's own columns
    side : of the image that the network sees [pixel]; reach : pixels (after `bin`) to one of these, 0 for as many as
        show it the whole of `crop`
    soften : of the asinh, in units of the sky's rms in one pixel; pictures are in a stretch already
    zoom, dim : how far views lie apart, with `shift` (`data.poses.Wobble`)
    """

    target: str = ""
    labels: str = ""
    side: int = 64
    reach: float = 1.0
    soften: float = 3.0
    zoom: float = 1.2
    dim: float = 0.1
    shift: float = 3.0


class Pupils(NamedTuple):
    """Images of one side of every survey, with what is to be learnt of each."""

    images: list[ImageSet]
    values: list[Float[np.ndarray, "n k"]]
    labels: Labels


def require(recipe: Looking, survey: Survey) -> None:
    """RequestError or CatalogueError, before any long work, if a survey lacks bands, or labels that can be learnt."""
    for band in recipe.bands:
        survey.info.index(band)
    if recipe.soften <= 0 or recipe.zoom < 1 or recipe.shift < 0 or recipe.side < 1:
        raise RecipeError(
            f"soften={recipe.soften}, zoom={recipe.zoom}, shift={recipe.shift}, side={recipe.side}: a softening and a "
            "side are positive, a zoom is 1 or more, and a shift not negative"
        )
    read_labels(survey, recipe.target, recipe.labels)


def pupils(recipe: Looking, school: School, side: str) -> Pupils:
    """The labelled images on a side of every survey's split; RecipeError if surveys have labels of different kinds."""
    images, values, first = [], [], None
    for survey, parts in zip(school.surveys, school.splits, strict=True):
        labels = read_labels(survey, recipe.target, recipe.labels)
        first = first or labels
        if (labels.kind, labels.classes) != (first.kind, first.classes):
            raise RecipeError("surveys with different kinds of labels, or other classes, at once; train on one of them")
        labelled = set(labels.ids)
        ids = [name for name in passing(survey, parts, [side], recipe.where) if name in labelled]
        if not ids:
            raise RequestError(f"{survey.path.name} has no labelled object on the side {side!r}; give more, or others")
        images.append(
            read_images(survey, ids, bands=recipe.bands, bin=recipe.bin, size=recipe.crop, progress=school.progress)
        )
        values.append(labels.of(images[-1].ids))
    assert first is not None
    _require_alike(images)
    there = set(np.concatenate(values)[:, 0]) if side == "train" else set(range(len(first.classes)))
    absent = [name for number, name in enumerate(first.classes) if number not in there]
    if absent:
        raise RequestError(f"no object with {first.target} = {absent[0]} is left to learn from; give more of them")
    return Pupils(images, values, first)


def told(school: School, found: Pupils) -> dict[str, Any]:
    """Facts of the training: what was seen, and in words which objects and rows were left out."""
    return seen(school) | {"left_out": list(found.labels.notes)}


def _require_alike(sets: Sequence[ImageSet]) -> None:
    facts = {(tuple(one.flux.shape[1:]), one.info.band_names, one.info.pixel_scale) for one in sets}
    if len(facts) > 1:
        raise RecipeError("surveys with other bands, sizes or pixels at once; train on one of them")


def scaling_of_images(recipe: Looking, sets: Sequence[ImageSet]) -> Asinh:
    """Softened by the noise, or for pictures by their range; bands of nothing but zeros by 1."""
    info = info_learnt(recipe, sets[0])
    noise = np.median([one.noise for one in sets], 0)
    found = []
    for band, rms in zip(info.bands, noise, strict=True):
        unit = band.unit or ""
        most = RANGES.get(unit.split(" ")[0]) if "display" in unit else None
        found.append(most / PICTURE if most else recipe.soften * float(rms) if rms > 0 else 1.0)
    return Asinh(tuple(found))


def reach_of(recipe: Looking, found: Pupils) -> float:
    """Pixels of the images to one that the network sees."""
    return recipe.reach or found.images[0].flux.shape[-1] / recipe.side


def batches(recipe: Looking, found: Pupils, scaling: Asinh, batch: int, seed: int, start: int) -> Iterator[ViewBatch]:
    """Views of the images, for ever."""
    return view_batches(
        found.images, found.values, scaling.scaled, batch, side=recipe.side,
        reach=reach_of(recipe, found), wobble=Wobble(recipe.zoom, recipe.shift, recipe.dim), seed=seed, start=start,
    )  # fmt: skip


def facts_for(
    name: str,
    recipe: Looking,
    found: Pupils,
    scaling: Asinh,
    net: Mapping[str, Any],
    angles: Sequence[float],
    mirrors: bool,
) -> dict[str, Any]:
    """What whoever loads the weights must know: written as looks.json."""
    images = found.images[0]
    return {
        "recipe": name,
        "kind": found.labels.kind,
        "classes": list(found.labels.classes),
        "target": found.labels.target,
        "info": info_learnt(recipe, images).to_json(),
        "bin": recipe.bin,
        "crop": int(images.flux.shape[-1]),
        "side": recipe.side,
        "reach": reach_of(recipe, found),
        "angles": list(angles),
        "mirrors": mirrors,
        "scaling": facts_of(scaling),
        "net": dict(net),
        "images": sum(len(one) for one in found.images),
    }


def calibrate(eye: Eye, found: Pupils, device: str) -> dict[str, Any]:
    """How the chances or intervals must be changed so that they hold, from objects that nothing was learnt from."""
    looks = [eye.look(one.flux, device) for one in found.images]
    look = Look(*(np.concatenate(part) for part in zip(*looks, strict=True)))
    values = np.concatenate(found.values)
    if eye.kind == "classes":
        return {"temperature": temperature_of(look.mean, values[:, 0].astype(int)), "objects": len(values)}
    target = fractions_of(values) if eye.kind == "counts" else values
    return {"factors": {f"{level:.2f}": factors_of(look, target, level) for level in LEVELS}, "objects": len(values)}


def temperature_of(mean: Float[np.ndarray, "n k"], classes: np.ndarray) -> float:
    """The temperature at which the classes that came are likeliest; 1 with too few objects to say."""
    if len(classes) < FEWEST:
        return 1.0

    def loss(log_temperature: float) -> float:
        chances = calibrated(mean, float(np.exp(log_temperature)))
        return -float(np.log(np.clip(chances[np.arange(len(classes)), classes], 1e-12, 1)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def factors_of(look: Look, target: Float[np.ndarray, "n a"], level: float) -> list[float]:
    """For every answer, by how much its spread is multiplied so that intervals hold; 50 with too few objects."""
    spread = np.maximum(look.spread, UNCERTAIN)
    n, answers = look.mean.shape
    bins, group = np.tile(np.arange(answers), n), np.repeat(np.arange(n), answers)
    mean, half, truth = look.mean.ravel(), spread.ravel(), target.ravel()
    factors = conformal_factor(mean, mean - half, mean + half, truth, bins, group, level)
    return [float(min(factor, 1 / UNCERTAIN)) for factor in factors]
