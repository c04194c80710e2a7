"""vae: a few numbers of each galaxy, from which it can be drawn again; it also makes galaxies, and sorts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from skyloom.nn.variational import Variational, VariationalConfig
from skyloom.objectives.variational import Bound
from skyloom.recipes.encoders import Pupil, lesson_of, read_for_views, scaling_for, seeded
from skyloom.recipes.generators import generator_facts
from skyloom.recipes.lesson import Lesson, School, Size


@dataclass(frozen=True)
class VAERecipe(Pupil):
    """Everything that decides the result, beside images and views (`recipes.encoders.Pupil`).

    Images are turned, but not made worse: what is drawn again should be the survey's. weight : of the divergence
    """

    net: VariationalConfig = field(default_factory=VariationalConfig)
    blur: float = 0.0
    noise: float = 1.0
    dropout: float = 0.0
    weight: float = 1.0


def vae(size: Size) -> VAERecipe:
    """The one dial: `laptop` is 0.06 GFLOP an image at 32 × 32 pixels and nine bands, decoder included."""
    small = VariationalConfig(widths=(2, 3, 4), dimension=4, components=2, deep=(8, 8, 8))
    large = VariationalConfig(widths=(8, 16, 32, 64), dimension=64, deep=(128, 96, 64))
    return {
        "smoke": VAERecipe(net=small, crop=24, steps=8, batch=4, warm=2),
        "laptop": VAERecipe(steps=1_000, batch=64),
        "gpu": VAERecipe(net=large),
        "paper": VAERecipe(net=large, steps=100_000, batch=512),
    }[size]


def lesson(recipe: VAERecipe, school: School) -> Lesson:
    """The networks and their images in memory."""
    sets = read_for_views(recipe, school, ("train",), recipe.net.multiple)
    config = replace(recipe.net, channels=sets[0].images.flux.shape[1], side=recipe.crop)
    scaling = scaling_for(recipe, sets)
    net = seeded(lambda: Variational(config), recipe.seed).to(school.device)
    optimiser = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)

    def generator(encoder: dict[str, Any]) -> Mapping[str, Any]:
        facts = generator_facts(recipe, sets, scaling, (0.0, 0.0))
        return {"generator": facts | {"info": encoder["info"], "labels": None}}

    return lesson_of(
        recipe, school, sets, net, optimiser, Bound(1 / recipe.soften, recipe.weight), each=1,
        dimension=config.dimension, more=generator,
    )  # fmt: skip
