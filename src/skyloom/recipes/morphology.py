"""morphology: what galaxies look like, by networks to which a turned galaxy is the same, with answers that add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from skyloom.checkpoint import Run
from skyloom.data.decision_tree import PARENTS, SIZES
from skyloom.data.poses import ViewBatch
from skyloom.data.store import Survey
from skyloom.errors import RecipeError
from skyloom.infer.looks import FACTS, Eye
from skyloom.infer.placed import placed
from skyloom.nn.equivariant import EquivariantConfig
from skyloom.nn.morphology import MorphologyConfig, members_of
from skyloom.objectives.votes import answers_loss
from skyloom.recipes import looking
from skyloom.recipes.lesson import Lesson, School, Size
from skyloom.recipes.looking import Looking, Pupils, batches, calibrate, facts_for, pupils, scaling_of_images, told
from skyloom.recipes.pretrained import pretrained
from skyloom.sky.scaling import Asinh
from skyloom.train import Average, Update, averaged, descend, exponential, warm_then_cosine

ANGLES = (0.0, 22.5, 45.0, 67.5)  # [deg] of test-time views: a quarter turn more would change nothing
QUARTERS = (0.0, 90.0, 180.0, 270.0)  # of an ordinary network's, each also mirrored


@dataclass(frozen=True)
class MorphologyRecipe(Looking):
    """Everything that decides the result, beside images and labels (`recipes.looking.Looking`).

    steps : of each member; they learn one after another
    smooth : of a class that is spread over all; decay : of weights; momentum : of the average that is used
    start : a run of `simclr` or `morphology`, or shipped weights, to begin from: its encoder in place of `net.encoder`,
        images scaled as they were there; heads are new, unless they answer the same
    views : test-time views, of turns between the symmetries that the network has by construction; an ordinary network
        is shown all 8 symmetries instead
    """

    net: MorphologyConfig = field(default_factory=MorphologyConfig)
    steps: int = 20_000
    batch: int = 64
    learning_rate: float = 3e-3
    warm: int = 200
    smooth: float = 0.0
    decay: float = 0.05
    momentum: float = 0.998
    views: int = 4
    start: str = ""
    seed: int = 0


def morphology(size: Size) -> MorphologyRecipe:
    """The one dial: `laptop` is 0.09 GFLOP a view at 64² pixels, three members; `gpu` four times that, five members."""
    tiny = MorphologyConfig(EquivariantConfig(widths=(1, 2, 3)), hidden=16)
    wide = MorphologyConfig(EquivariantConfig(widths=(8, 12, 24, 48, 64)), hidden=128, members=5)
    return {
        "smoke": MorphologyRecipe(net=tiny, side=32, steps=8, batch=4, warm=2, views=1),
        "laptop": MorphologyRecipe(net=MorphologyConfig(members=3), steps=1_500, batch=32, warm=100, momentum=0.99),
        "gpu": MorphologyRecipe(net=wide),
        "paper": MorphologyRecipe(net=wide, side=96, steps=100_000),
    }[size]


def require(recipe: MorphologyRecipe, survey: Survey) -> None:
    """RequestError, CatalogueError or RecipeError, before any long work, for what cannot be learnt or begun from."""
    looking.require(recipe, survey)
    if recipe.start:
        pretrained(recipe.start).require(survey.info, recipe.bands)


def networks(recipe: MorphologyRecipe, found: Pupils) -> tuple[nn.ModuleList, MorphologyConfig, Asinh]:
    """The members with their first weights, their shape, and how images are scaled for them."""
    votes = found.labels.kind != "classes"
    first = pretrained(recipe.start) if recipe.start else None
    config = first.config(recipe.net) if first else recipe.net
    config = replace(
        config,
        encoder=replace(config.encoder, bands=found.images[0].flux.shape[1]),
        sizes=SIZES if votes else (len(found.labels.classes),),
        parents=PARENTS if votes else (-1,),
    )
    if recipe.side % config.encoder.multiple or not 1 <= recipe.views <= len(ANGLES):
        raise RecipeError(
            f"side={recipe.side}, views={recipe.views}: the side must be a multiple of {config.encoder.multiple}, "
            f"and there are 1 to {len(ANGLES)} views"
        )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = members_of(config)
    if first:
        first.fill(net, config, found.labels.classes)
    return net, config, first.scaling if first else scaling_of_images(recipe, found.images)


def lesson(recipe: MorphologyRecipe, school: School) -> Lesson:
    """The members, their averages, and the images in memory."""
    found = pupils(recipe, school, "train")
    net, config, scaling = networks(recipe, found)
    net.to(school.device)
    average = averaged(net)
    optimisers = [
        torch.optim.AdamW(member.parameters(), lr=recipe.learning_rate, weight_decay=recipe.decay) for member in net
    ]

    def objective(net: nn.Module, batch: ViewBatch, rng: torch.Generator) -> dict[str, Tensor]:
        said = net(batch.images)
        return {
            "answers": answers_loss(said, batch.labels, found.labels.kind, config.sizes, config.parents, recipe.smooth)
        }

    def learner(k: int) -> Update:
        """The update of member k, which begins after those before it have ended."""
        rate, momentum = warm_then_cosine(recipe.learning_rate, recipe.warm, recipe.steps), exponential(recipe.momentum)
        before = k * recipe.steps
        follower = Average(average.get_submodule(str(k)), lambda number: momentum(number - before))
        return descend(
            net[k], objective, optimisers[k], seed=recipe.seed, clip=5.0,
            rate=lambda number: rate(number - before), averages=[follower],
        )  # fmt: skip

    updates = [learner(k) for k in range(config.members)]

    def update(number: int, batch: ViewBatch) -> dict[str, Tensor]:
        return updates[(number - 1) // recipe.steps](number, batch)

    angles = ANGLES[:: len(ANGLES) // recipe.views] if config.shared else QUARTERS
    facts = facts_for("morphology", recipe, found, scaling, asdict(config), angles, not config.shared)

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        found_out = calibrate(Eye(facts, placed(product)), pupils(recipe, school, "calibration"), str(school.device))
        run.write_facts(FACTS, facts | {"calibration": found_out})
        return {"calibration": found_out}

    return Lesson(
        {"net": net, "average": average} | {f"optimiser{k}": one for k, one in enumerate(optimisers)},
        update,
        lambda start: (b.to(school.device) for b in batches(recipe, found, scaling, recipe.batch, recipe.seed, start)),
        config.members * recipe.steps, recipe.batch, told(school, found), finish,
    )  # fmt: skip
