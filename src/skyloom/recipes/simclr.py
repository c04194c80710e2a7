"""simclr: an encoder of galaxies that knows two views of one galaxy from all others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from skyloom.nn.embedder import Embedder, EmbedderConfig
from skyloom.objectives.contrastive import Contrast, Kind
from skyloom.recipes.encoders import Pupil, lesson_of, read_for_views, seeded
from skyloom.recipes.lesson import Lesson, School, Size


@dataclass(frozen=True)
class SimCLRRecipe(Pupil):
    """Everything that decides the result, beside images and views (`recipes.encoders.Pupil`).

    loss : "nt_xent", "margin" or "triplet"; scale : its temperature, or its least distance (1 − cosine)
    """

    net: EmbedderConfig = field(default_factory=EmbedderConfig)
    loss: Kind = "nt_xent"
    scale: float = 0.1
    learning_rate: float = 2e-3
    decay: float = 1e-4


def simclr(size: Size) -> SimCLRRecipe:
    """The one dial: `laptop` is 0.04 GFLOP a view at 32 × 32 pixels and nine bands, `gpu` 0.14."""
    return {
        "smoke": SimCLRRecipe(
            net=EmbedderConfig(widths=(2, 3, 4), dimension=8, shown=8), crop=24, steps=8, batch=4, warm=2
        ),
        "laptop": SimCLRRecipe(steps=1_000, batch=64),
        "gpu": SimCLRRecipe(net=EmbedderConfig(widths=(12, 16, 32, 64), dimension=128)),
        "paper": SimCLRRecipe(
            net=EmbedderConfig(widths=(16, 32, 64, 128), dimension=512, shown=128), steps=100_000, batch=512
        ),
    }[size]  # fmt: skip


def lesson(recipe: SimCLRRecipe, school: School) -> Lesson:
    """The network and its images in memory."""
    sets = read_for_views(recipe, school, ("train",), recipe.net.multiple)
    config = replace(recipe.net, channels=sets[0].images.flux.shape[1])
    net = seeded(lambda: Embedder(config), recipe.seed).to(school.device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.decay)
    return lesson_of(
        recipe, school, sets, net, optimiser, Contrast(recipe.loss, recipe.scale), each=2,
        dimension=config.dimension,
    )  # fmt: skip
