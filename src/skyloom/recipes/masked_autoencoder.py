"""masked_autoencoder: an encoder that can draw the hidden patches of a galaxy from the few that are seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from skyloom.nn.masked import MaskedAutoencoder, MaskedConfig
from skyloom.objectives.masked import HiddenPatches
from skyloom.recipes.encoders import Pupil, lesson_of, read_for_views, seeded
from skyloom.recipes.lesson import Lesson, School, Size


@dataclass(frozen=True)
class MaskedRecipe(Pupil):
    """Everything that decides the result, beside images and views (`recipes.encoders.Pupil`).

    hidden : share of the patches that are hidden
    """

    net: MaskedConfig = field(default_factory=MaskedConfig)
    blur: float = 0.0
    noise: float = 1.0
    hidden: float = 0.75
    decay: float = 0.01


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
    net = seeded(lambda: MaskedAutoencoder(config), recipe.seed).to(school.device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.decay)
    return lesson_of(
        recipe, school, sets, net, optimiser, HiddenPatches(recipe.hidden, 1 / recipe.soften), each=1,
        dimension=config.dimension,
    )  # fmt: skip
