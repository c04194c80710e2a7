"""spatial_gan: the published deep fields, light and noise together, from noise alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.checkpoint import Run
from skyloom.data.images import ImageSet
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.nn.spatial_gan import PackedDiscriminator, SelfEnsemble, SpatialGAN, SpatialGANConfig
from skyloom.objectives.fields import ImitatedField
from skyloom.recipes.deep_field import field_facts, require_pieces
from skyloom.recipes.generators import Sample, read_side
from skyloom.recipes.lesson import Lesson, School, Size, seen
from skyloom.sky.scaling import UnitRange
from skyloom.train import contend, follow

HIGHEST, LOWEST = 99.99, 0.01  # percentiles of the pixels of each band, beyond which they are clipped


@dataclass(frozen=True)
class SpatialGANRecipe(Sample):
    """Everything that decides the result, beside which images (`recipes.generators.Sample`): pieces of a field.

    crops : sides of the crops, of which each batch has one [pixel]
    apart : steps between two members of the self-ensemble, which are of the end of the training
    """

    net: SpatialGANConfig = field(default_factory=SpatialGANConfig)
    crops: tuple[int, ...] = (64, 128, 256)
    apart: int = 300
    steps: int = 1_080_000
    batch: int = 128
    learning_rate: float = 2e-4
    seed: int = 0


def spatial_gan(size: Size) -> SpatialGANRecipe:
    """The one dial; `paper` is what was published: 36,000 epochs of 30 batches of 128, 21 members 10 epochs apart."""
    small = SpatialGANConfig(widths=(4, 4), depth=3, critic=(4, 8))
    return {
        "smoke": SpatialGANRecipe(replace(small, members=2), crops=(16, 32), apart=2, steps=4, batch=4),
        "laptop": SpatialGANRecipe(SpatialGANConfig(members=5), crops=(64,), apart=20, steps=1_000, batch=16),
        "gpu": SpatialGANRecipe(SpatialGANConfig(members=21), steps=30_000),
        "paper": SpatialGANRecipe(SpatialGANConfig(members=21)),
    }[size]


def require(recipe: SpatialGANRecipe, survey: Survey) -> None:
    """RequestError, before any long work, for images smaller than the crops, or crops that are no whole cells."""
    require_pieces(recipe, survey, max(recipe.crops))
    odd = [side for side in recipe.crops if side % recipe.net.cell]
    if odd or recipe.batch % recipe.net.packed:
        raise RequestError(
            f"crops must be multiples of {recipe.net.cell} and batch one of {recipe.net.packed}; got {recipe.crops} "
            f"and {recipe.batch}"
        )


def lesson(recipe: SpatialGANRecipe, school: School) -> Lesson:
    """The generator, its discriminator, and the members of the ensemble."""
    images = read_side(recipe, school, ("train",))[0].images
    config = replace(recipe.net, bands=images.flux.shape[1])
    scaling = range_of(images)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net, critic, ensemble = SpatialGAN(config), PackedDiscriminator(config), SelfEnsemble(config)
    for one in (net, critic, ensemble):
        one.to(school.device)
    optimisers = (
        torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, betas=(0.5, 0.999)),
        torch.optim.Adam(critic.parameters(), lr=recipe.learning_rate, betas=(0.5, 0.999)),
    )
    update = contend(ImitatedField(net, critic), optimisers, seed=recipe.seed, rates=lambda number: (1.0, 1.0))

    def keep(run: Run, step: int) -> None:
        place, rest = divmod(recipe.steps - step, recipe.apart)
        if rest == 0 and place < config.members:
            follow(ensemble.members[config.members - 1 - place], net, 0.0)

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        run.write_facts("field", field_facts(recipe, images, scaling, None))
        return {"field": True}

    return Lesson(
        {"net": net, "critic": critic, "average": ensemble, "optimiser": optimisers[0], "rival": optimisers[1]},
        update, lambda start: (one.to(school.device) for one in crops_of(recipe, images, scaling, start)),
        recipe.steps, recipe.batch, seen(school), finish, after=keep,
    )  # fmt: skip


def range_of(images: ImageSet) -> UnitRange:
    """The percentiles that the pixels of each band are clipped at."""
    flux = images.flux.numpy().transpose(1, 0, 2, 3).reshape(images.flux.shape[1], -1)
    low, high = np.percentile(flux, [LOWEST, HIGHEST], axis=1)
    return UnitRange(tuple(low.tolist()), tuple(high.tolist()))


def crops_of(
    recipe: SpatialGANRecipe, images: ImageSet, scaling: UnitRange, start: int
) -> Iterator[Float[Tensor, "b c h w"]]:
    """For ever: crops at random places, flipped or not along each axis. Batch k follows from its arguments alone."""
    scaled = scaling.scaled(images.flux)
    for step in count(start):
        rng = np.random.default_rng([recipe.seed, 7, step])
        side = int(rng.choice(recipe.crops))
        drawn = []
        for _ in range(recipe.batch):
            number = int(rng.integers(len(scaled)))
            top, left = (int(rng.integers(whole - side + 1)) for whole in scaled.shape[2:])
            crop = scaled[number, :, top : top + side, left : left + side]
            drawn.append(crop.flip([axis for axis in (1, 2) if rng.random() < 0.5]))
        yield torch.stack(drawn)
