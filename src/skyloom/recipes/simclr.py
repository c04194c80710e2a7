"""simclr: an encoder of galaxies that knows two views of one galaxy from all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from skyloom.checkpoint import Run
from skyloom.nn.embedder import Embedder, EmbedderConfig
from skyloom.objectives.contrastive import Contrast, Kind
from skyloom.recipes.encoders import Pupil, encoder_facts, read_for_views, scaling_for, seeded, views_of
from skyloom.recipes.lesson import Lesson, School, Size, seen
from skyloom.train import descend, warm_then_cosine


@dataclass(frozen=True)
class SimCLRRecipe(Pupil):
    """Everything that decides the result, beside images and views (`recipes.encoders.Pupil`).

    loss : "nt_xent", "margin" or "triplet"; scale : its temperature, or its least distance (1 − cosine)
    """

    net: EmbedderConfig = field(default_factory=EmbedderConfig)
    loss: Kind = "nt_xent"
    scale: float = 0.1
    steps: int = 20_000
    batch: int = 256
    learning_rate: float = 2e-3
    decay: float = 1e-4
    warm: int = 100
    seed: int = 0


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
    scaling = scaling_for(recipe, sets)
    net = seeded(lambda: Embedder(config), recipe.seed).to(school.device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.decay)
    update = descend(
        net, Contrast(recipe.loss, recipe.scale), optimiser, seed=recipe.seed, clip=1.0,
        rate=warm_then_cosine(recipe.learning_rate, recipe.warm, recipe.steps),
    )  # fmt: skip

    def batches(start: int):
        stream = views_of(recipe, sets, scaling.scaled, recipe.batch, 2, start, recipe.seed)
        return (batch.to(school.device) for batch in stream)

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        facts = encoder_facts(recipe, sets, scaling, config.dimension)
        run.write_facts("encoder", facts)
        return {"encoder": facts}

    return Lesson(
        {"net": net, "optimiser": optimiser}, update, batches, recipe.steps, recipe.batch, seen(school), finish
    )
