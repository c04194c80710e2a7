"""galaxy_edm: galaxies from noise in any bands, in twenty steps, with nothing clipped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from skyloom.checkpoint import Run, open_run
from skyloom.data.conditions import Condition, conditions_from, facts_of, require_conditions, wished
from skyloom.data.store import Survey
from skyloom.errors import RecipeError
from skyloom.nn.denoiser import Denoiser, DenoiserConfig
from skyloom.objectives.denoising import Denoising
from skyloom.objectives.noise import Loss
from skyloom.recipes.averages import FOLLOWED, best_average, exponent_of, keep_snapshot
from skyloom.recipes.generators import (
    Sample,
    batches_of,
    conditions_of,
    generator_facts,
    noise_of,
    read_side,
    require_alike,
    require_images,
    some,
    some_told,
)
from skyloom.recipes.lesson import Lesson, School, Size, seen
from skyloom.sky.scaling import Asinh
from skyloom.train import Average, averaged, descend, power, warm_then_cosine

LEVELS = (0.1, 0.5, 2.0, 8.0, 30.0)  # noise levels, in units of the images' spread, at which averages are judged


@dataclass(frozen=True)
class GalaxyEDMRecipe(Sample):
    """Everything that decides the result, beside which images (`recipes.generators.Sample`).

    labels : what a galaxy can be asked by, each a line as in `data.conditions`: r_mag=true_mag_r, r_e=log(true_r_e)
    silent, hushed : shares of galaxies of which nothing, and of which only part, is said in training
    soften : of the asinh, in units of the sky's rms in one pixel. Photon noise then is about as large, scaled, as the
        sky's, so that one `spread` of 1 / soften preconditions empty sky and bright cores alike (docs/LOG.md)
    log_sigma_mean, log_sigma_std : of the noise levels in training; lowest, highest : of those in sampling; all four
        in units of the images' spread
    loss : "l2"; "l1" shows what the published choice does to fluxes (docs/flux-puzzle.md)
    emphasis : how much more pixels with light count than empty ones (`objectives.denoising`)
    start : weights to start from, a run or a name; empty for none. If they were told nothing, the conditions begin as
        words that nobody listens to: the network starts as what it was, and learns them
    """

    net: DenoiserConfig = field(default_factory=DenoiserConfig)
    labels: tuple[str, ...] = ()
    silent: float = 0.1
    hushed: float = 0.5
    soften: float = 4.0
    start: str = ""
    log_sigma_mean: float = 2.0
    log_sigma_std: float = 1.8
    loss: Loss = "l2"
    emphasis: float = 4.0
    lowest: float = 0.04
    highest: float = 300.0
    steps: int = 100_000
    batch: int = 256
    learning_rate: float = 1e-2
    warm: int = 1000
    seed: int = 0


def galaxy_edm(size: Size) -> GalaxyEDMRecipe:
    """The one dial: `laptop` is 0.4 GFLOP a call at 64 × 64 pixels and three bands, `gpu` 1.2."""
    small = DenoiserConfig(widths=(32, 64, 128), spread=0.25)
    return {
        "smoke": GalaxyEDMRecipe(DenoiserConfig(widths=(8, 16), heads=2, spread=0.25), steps=8, batch=4, warm=2),
        "laptop": GalaxyEDMRecipe(small, steps=5_200, batch=16, learning_rate=5e-3, warm=200),
        "gpu": GalaxyEDMRecipe(DenoiserConfig(spread=0.25)),
        "paper": GalaxyEDMRecipe(DenoiserConfig(widths=(128, 256, 384), blocks=2, spread=0.25), steps=400_000),
    }[size]


def require(recipe: GalaxyEDMRecipe, survey: Survey) -> None:
    """RequestError, before any long work, if a survey lacks what the recipe learns from."""
    require_images(recipe, survey)
    require_conditions(survey, wished(recipe.labels))


def lesson(recipe: GalaxyEDMRecipe, school: School) -> Lesson:
    """The network, its two averages, and its images in memory."""
    wishes = wished(recipe.labels)
    sets = read_side(recipe, school, ("train",), wishes)
    conditions = conditions_of(wishes, sets)
    widths = tuple(one.width for one in conditions)
    config = replace(recipe.net, channels=sets[0].images.flux.shape[1], conditions=sum(widths))
    require_alike(sets, config.channels, config.multiple)
    scaling = Asinh(tuple(recipe.soften * noise for noise in noise_of(sets)))
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = Denoiser(config)
    if recipe.start:
        start_from(net, open_run(recipe.start), conditions)
    net.to(school.device)
    short, long = averaged(net), averaged(net)
    exponents = [exponent_of(width) for width in FOLLOWED]
    optimiser = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
    spread = config.spread
    objective = Denoising(
        recipe.log_sigma_mean + math.log(spread), recipe.log_sigma_std, spread, recipe.emphasis, recipe.silent,
        recipe.hushed, widths, recipe.loss,
    )  # fmt: skip
    update = descend(
        net, objective, optimiser, seed=recipe.seed, clip=10.0,
        rate=warm_then_cosine(recipe.learning_rate, recipe.warm, recipe.steps),
        averages=[Average(one, power(k)) for one, k in zip((short, long), exponents, strict=True)],
    )  # fmt: skip

    def batches(start: int):
        stream = batches_of(
            sets, scaling, recipe.batch, shift=recipe.shift, seed=recipe.seed, start=start, conditions=conditions
        )
        return (batch.to(school.device) for batch in stream)

    def settle(run: Run) -> None:
        kept = read_side(recipe, school, ("calibration",), wishes)
        unseen, told = some(kept, scaling).to(school.device), some_told(kept, conditions)
        run.write_facts(
            "average", best_average(run.path, long, lambda one: judged(one, objective, unseen, recipe.seed, told))
        )

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        facts = generator_facts(recipe, sets, scaling, (recipe.lowest * spread, recipe.highest * spread))
        run.write_facts("generator", facts | {"labels": facts_of(conditions)})
        return {"generator": facts}

    return Lesson(
        {"net": net, "short": short, "average": long, "optimiser": optimiser}, update, batches, recipe.steps,
        recipe.batch, seen(school), finish,
        after=lambda run, step: keep_snapshot(run.path, step, recipe.steps, (short, long)), settle=settle,
    )  # fmt: skip


def start_from(net: Denoiser, run: Run, conditions: Sequence[Condition]) -> None:
    """Fill a network with a run's weights; RecipeError if the run was told of other things than this one is.

    A run that was told nothing leaves what hears the conditions as it was made, its gains at nought.
    """
    known = conditions_from((run.facts("generator") or {}).get("labels"))
    if known and [one.text for one in known] != [one.text for one in conditions]:
        raise RecipeError(
            f"{run.name} was told {', '.join(one.text for one in known)}, which is not what labels says; "
            "start from weights that were told the same, or nothing"
        )
    old = net if known else Denoiser(replace(net.config, conditions=0))
    run.load(old)
    net.load_state_dict({**net.state_dict(), **old.state_dict()})
    net.train()


@torch.no_grad()
def judged(
    net: nn.Module, objective: Denoising, images: torch.Tensor, seed: int, labels: torch.Tensor | None = None
) -> float:
    """Mean weighted error of a denoiser at fixed noise levels and noise; where it can be told something, told all."""
    net.eval()
    errors = []
    for number, level in enumerate(LEVELS):
        rng = torch.Generator().manual_seed(1000 * seed + number)
        for rows in torch.arange(len(images)).split(64):
            told = None if labels is None else labels[rows]
            errors.append(objective.error_at(net, images[rows], level * objective.spread, rng, told))
    return float(torch.cat(errors).mean())
