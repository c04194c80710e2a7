"""galaxy_zoo: the network of the lecture, which learns the fractions of Galaxy Zoo's votes, and more on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.checkpoint import Run
from skyloom.data.decision_tree import fractions_of
from skyloom.data.labels import Labels
from skyloom.data.poses import ViewBatch
from skyloom.errors import RecipeError
from skyloom.infer.looks import FACTS, Eye
from skyloom.infer.placed import placed
from skyloom.nn.galaxy_zoo import GalaxyZooConfig, GalaxyZooNet
from skyloom.objectives.votes import rmse
from skyloom.recipes.lesson import Lesson, School, Size
from skyloom.recipes.looking import Looking, batches, calibrate, facts_for, pupils, scaling_of_images, told
from skyloom.train import descend, warm_then_cosine

ANGLES = (0.0, 90.0, 180.0, 270.0)  # [deg] of test-time views, each also mirrored


@dataclass(frozen=True)
class GalaxyZooRecipe(Looking):
    """Everything that decides the result, beside images and labels (`recipes.looking.Looking`).

    steps : of the network; then `top` steps, in which it rests and the perceptrons learn on its features
    Classes are learnt as fractions: 1 for the one that it is
    """

    net: GalaxyZooConfig = field(default_factory=GalaxyZooConfig)
    side: int = 120
    reach: float = 0.0
    dim: float = 0.0
    steps: int = 60_000
    top: int = 6_000
    batch: int = 64
    learning_rate: float = 3e-4
    warm: int = 500
    decay: float = 1e-3
    seed: int = 0


def galaxy_zoo(size: Size) -> GalaxyZooRecipe:
    """The one dial: `gpu` and `paper` are the lecture's, 1.1 GFLOP a view; `laptop` has a sixth of its channels."""
    return {
        "smoke": GalaxyZooRecipe(
            net=GalaxyZooConfig(width=2, dense=16, hidden=8), side=84, steps=6, top=4, batch=4, warm=2
        ),
        "laptop": GalaxyZooRecipe(
            net=GalaxyZooConfig(width=8, dense=256, hidden=128), steps=1_500, top=150, batch=32, warm=100,
            learning_rate=1e-3,
        ),
        "gpu": GalaxyZooRecipe(),
        "paper": GalaxyZooRecipe(steps=600_000, top=60_000),
    }[size]  # fmt: skip


def lesson(recipe: GalaxyZooRecipe, school: School) -> Lesson:
    """The network, then the perceptrons on top; images in memory."""
    found = pupils(recipe, school, "train")
    outputs = len(found.labels.classes) or found.values[0].shape[1]
    config = replace(recipe.net, bands=found.images[0].flux.shape[1], side=recipe.side, outputs=outputs)
    if min(config.maps[:-1]) < 3:
        raise RecipeError(f"side={recipe.side}: the convolutions leave nothing of it; give 72 or more")
    scaling = scaling_of_images(recipe, found.images)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = GalaxyZooNet(config)
    net.to(school.device)
    below = [p for name, p in net.named_parameters() if not name.startswith("perceptrons")]
    optimisers = [
        torch.optim.AdamW(parts, lr=recipe.learning_rate, weight_decay=recipe.decay)
        for parts in (below, [*net.perceptrons.parameters()])
        if parts
    ]

    def whole(net: Any, batch: ViewBatch, rng: torch.Generator) -> dict[str, Tensor]:
        return {"rmse": rmse(net(batch.images), batch.labels)}

    def on_top(perceptrons: Any, batch: ViewBatch, rng: torch.Generator) -> dict[str, Tensor]:
        net.dense.eval()
        with torch.no_grad():
            features = net.features(batch.images)
        return {"rmse": torch.stack([rmse(one(features), batch.labels) for one in perceptrons]).mean()}

    first = descend(
        net, whole, optimisers[0], seed=recipe.seed, clip=5.0,
        rate=warm_then_cosine(recipe.learning_rate, recipe.warm, recipe.steps),
    )  # fmt: skip
    second = descend(
        net.perceptrons, on_top, optimisers[-1], seed=recipe.seed, clip=5.0,
        rate=lambda number: warm_then_cosine(recipe.learning_rate, recipe.warm, recipe.top)(number - recipe.steps),
    )  # fmt: skip

    def stream(start: int):
        for batch in batches(recipe, found, scaling, recipe.batch, recipe.seed, start):
            yield batch._replace(labels=fractions(batch.labels, found.labels)).to(school.device)

    facts = facts_for("galaxy_zoo", recipe, found, scaling, asdict(config), ANGLES, True)

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        calibration = calibrate(Eye(facts, placed(product)), pupils(recipe, school, "calibration"), str(school.device))
        run.write_facts(FACTS, facts | {"calibration": calibration})
        return {"calibration": calibration}

    return Lesson(
        {"net": net} | {f"optimiser{k}": one for k, one in enumerate(optimisers)},
        lambda number, batch: (first if number <= recipe.steps else second)(number, batch),
        stream, recipe.steps + (recipe.top if config.perceptrons else 0), recipe.batch, told(school, found), finish,
    )  # fmt: skip


def fractions(values: Float[Tensor, "b k"], labels: Labels) -> Float[Tensor, "b a"]:
    """What is learnt, as fractions: of votes; of classes, 1 for the one that it is."""
    if labels.kind == "classes":
        return F.one_hot(values[:, 0].long(), len(labels.classes)).to(values.dtype)
    return torch.from_numpy(fractions_of(values.numpy())).float() if labels.kind == "counts" else values
