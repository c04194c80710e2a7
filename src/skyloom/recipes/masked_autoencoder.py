"""masked_autoencoder: an encoder that can draw the hidden patches of a galaxy from the few that are seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from skyloom.checkpoint import Run
from skyloom.nn.masked import MaskedAutoencoder, MaskedConfig
from skyloom.objectives.masked import HiddenPatches
from skyloom.recipes.encoders import Pupil, encoder_facts, read_for_views, scaling_for, seeded, views_of
from skyloom.recipes.lesson import Lesson, School, Size, seen
from skyloom.train import descend, warm_then_cosine


@dataclass(frozen=True)
class MaskedRecipe(Pupil):
    """Everything that decides the result, beside images and views (`recipes.encoders.Pupil`).

    hidden : share of the patches that are hidden
    """

    net: MaskedConfig = field(default_factory=MaskedConfig)
    blur: float = 0.0
    noise: float = 1.0
    hidden: float = 0.75
    steps: int = 20_000
    batch: int = 256
    learning_rate: float = 1e-3
    decay: float = 0.01
    warm: int = 100
    seed: int = 0


def masked_autoencoder(size: Size) -> MaskedRecipe:
    """The one dial: `laptop` is 0.06 GFLOP an image at 32 × 32 pixels and nine bands."""
    small = MaskedConfig(patch=6, dimension=8, layers=1, heads=2, thin=8)
    large = MaskedConfig(dimension=256, layers=8, heads=8, thin=128, thin_layers=2)
    return {
        "smoke": MaskedRecipe(net=small, crop=24, steps=8, batch=4, warm=2),
        "laptop": MaskedRecipe(steps=1_500, batch=64),
        "gpu": MaskedRecipe(net=large),
        "paper": MaskedRecipe(net=large, steps=200_000, batch=512),
    }[size]


def lesson(recipe: MaskedRecipe, school: School) -> Lesson:
    """The network and their images in memory."""
    sets = read_for_views(recipe, school, ("train",), recipe.net.multiple)
    config = replace(recipe.net, channels=sets[0].images.flux.shape[1], side=recipe.crop)
    scaling = scaling_for(recipe, sets)
    net = seeded(lambda: MaskedAutoencoder(config), recipe.seed).to(school.device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.decay)
    update = descend(
        net, HiddenPatches(recipe.hidden, 1 / recipe.soften), optimiser, seed=recipe.seed, clip=1.0,
        rate=warm_then_cosine(recipe.learning_rate, recipe.warm, recipe.steps),
    )  # fmt: skip

    def batches(start: int):
        stream = views_of(recipe, sets, scaling.scaled, recipe.batch, 1, start, recipe.seed)
        return (batch.to(school.device) for batch in stream)

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        facts = encoder_facts(recipe, sets, scaling, config.dimension)
        run.write_facts("encoder", facts)
        return {"encoder": facts}

    return Lesson(
        {"net": net, "optimiser": optimiser}, update, batches, recipe.steps, recipe.batch, seen(school), finish
    )
