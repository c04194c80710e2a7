"""astroddpm: the published diffusion model of galaxies, clipping and L1 included; each can be switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import nn

from skyloom.checkpoint import Run
from skyloom.nn.astroddpm import AstroDDPM, AstroDDPMConfig
from skyloom.objectives.noise import Loss, Noise
from skyloom.recipes.generators import Images, Sample, batches_of, generator_facts, read_side, require_alike
from skyloom.recipes.lesson import Lesson, School, Size, seen
from skyloom.samplers.schedules import cosine_kept, sigmas_of
from skyloom.sky.scaling import MinMax
from skyloom.train import Average, averaged, descend, exponential

PERCENT = 99.9  # of an image's pixels: what stands for its brightest light


@dataclass(frozen=True)
class AstroDDPMRecipe(Sample):
    """Everything that decides the result, beside which images (`recipes.generators.Sample`).

    loss : "l1" as in the published code, or "l2" as in the paper's Eq. 6
    clip : cut flux below 0 and above the truncation, as published; else the same scale, and nothing is lost
    times : steps of adding noise; momentum : of the average, which is the network that is used
    """

    net: AstroDDPMConfig = field(default_factory=AstroDDPMConfig)
    loss: Loss = "l1"
    clip: bool = True
    times: int = 1000
    steps: int = 750_000
    batch: int = 56
    learning_rate: float = 2e-5
    momentum: float = 0.995
    seed: int = 0


def astroddpm(size: Size) -> AstroDDPMRecipe:
    """The one dial: `paper` is the published configuration; `laptop` a quarter of its width on the inner 32 pixels."""
    return {
        "smoke": AstroDDPMRecipe(AstroDDPMConfig(widths=(8, 16, 16), blocks=1, heads=2), crop=16, steps=8, batch=4),
        "laptop": AstroDDPMRecipe(
            AstroDDPMConfig(widths=(16, 32, 64), blocks=1), crop=32, steps=4_000, batch=32, learning_rate=1e-3
        ),
        "gpu": AstroDDPMRecipe(steps=60_000, batch=128, learning_rate=2e-4, momentum=0.999),
        "paper": AstroDDPMRecipe(),
    }[size]


def lesson(recipe: AstroDDPMRecipe, school: School) -> Lesson:
    """The network, its average, and its images in memory."""
    sets = read_side(recipe, school, ("train",))
    config = replace(recipe.net, channels=sets[0].images.flux.shape[1])
    require_alike(sets, config.channels, config.multiple)
    scaling = MinMax((truncation_of(sets),) * config.channels, clip=recipe.clip)
    kept = cosine_kept(recipe.times)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = AstroDDPM(config)
    net.to(school.device)
    average = averaged(net)
    optimiser = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
    update = descend(
        net, Noise(recipe.loss, kept), optimiser, seed=recipe.seed, rate=lambda number: recipe.learning_rate,
        averages=(Average(average, exponential(recipe.momentum)),),
    )  # fmt: skip

    def batches(start: int):
        stream = batches_of(sets, scaling, recipe.batch, shift=recipe.shift, seed=recipe.seed, start=start)
        return (batch.to(school.device) for batch in stream)

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        sigmas = sigmas_of(kept)
        facts = generator_facts(recipe, sets, scaling, (float(sigmas[0]), float(sigmas[-1])))
        run.write_facts("generator", facts | {"labels": None, "times": recipe.times})
        return {"generator": facts}

    return Lesson(
        {"net": net, "average": average, "optimiser": optimiser}, update, batches, recipe.steps, recipe.batch,
        seen(school), finish,
    )  # fmt: skip


def truncation_of(sets: Sequence[Images]) -> float:
    """The flux above which the published recipe clips: where two clusters of the images' 99.9th percentiles meet.

    Source: Smith et al. 2022, arXiv:2111.01713, §3.1. We differ: nothing (one number for all bands, as there).
    """
    tops = np.concatenate([np.percentile(one.images.flux.flatten(1).numpy(), PERCENT, axis=1) for one in sets])
    found = KMeans(2, n_init=4, random_state=0).fit(tops[:, None]).cluster_centers_.ravel()
    return float(found.mean())
