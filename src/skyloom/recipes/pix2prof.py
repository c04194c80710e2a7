"""pix2prof: the published network that writes surface brightness profiles, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import torch
from torch import nn

from skyloom.checkpoint import Run, open_run
from skyloom.data.sequences import Pairs, SequenceSet, read_sequences, sequence_batches
from skyloom.nn.pix2prof import Pix2Prof, Pix2ProfConfig
from skyloom.objectives.sequence import Sequence, SequenceBatch, with_plateau
from skyloom.recipes.lesson import Lesson, School, Size, seen
from skyloom.sky.normalise import min_max
from skyloom.train import descend, level_then_linear

SETTLING = 60  # batches over which frozen norms are averaged
SAMPLED = 512  # band-images of each survey on which the fixed range and the scale are found


@dataclass(frozen=True)
class Pix2ProfRecipe:
    """Everything that decides the result.

    target : the profiles to learn: "true" of mocks, or a column profile_<name>
    start : weights to start from, a run or a name; empty for none. Their fixed range and scale are kept
    bin : pixels averaged to one along each axis before the network sees an image
    percent : of the clip; wobble : largest shift of an image [pixel of the survey]
    flat : standard deviation [mag/arcsec²] of 100 values in a row at which a profile ends; published 0.01, which those
        that were taught to be flat for a few dozen steps only do not reach
    norms : "learning", or "frozen": the batch norms' means and variances are those of the first SETTLING batches, and
        stand. In evaluation a batch norm does not see the batch it was trained in, and images of so large a range
        differ by much: a run needs a second one that starts from it with frozen norms (docs/LOG.md)
    fall : last steps, in which the learning rate goes down to nought
    plateau : steps for which the last value is repeated, so that the stop is learnt; split : seed of the split
    """

    net: Pix2ProfConfig = field(default_factory=Pix2ProfConfig)
    target: str = "true"
    start: str = ""
    bin: int = 1
    percent: float = 99.9
    wobble: int = 10
    plateau: int = 100
    flat: float = 0.01
    steps: int = 100_000
    norms: Literal["learning", "frozen"] = "learning"
    fall: int = 0
    batch: int = 1
    learning_rate: float = 2e-4
    teacher_forcing: float = 0.4
    seed: int = 0
    split: int = 0


def pix2prof(size: Size) -> Pix2ProfRecipe:
    """The one dial: `paper` is the published configuration, `gpu` the same in batches.

    `laptop` has a strided stem and half the width, and sees half the pixels along each axis.
    """
    small = Pix2ProfConfig(stem="strided", width=32, most=400)
    return {
        "smoke": Pix2ProfRecipe(
            Pix2ProfConfig(stem="strided", width=4, layers=1, most=120), bin=2, plateau=5, steps=8, batch=4
        ),
        "laptop": Pix2ProfRecipe(
            small, bin=2, plateau=40, flat=0.1, steps=2_000, fall=452, batch=32, learning_rate=5e-4
        ),
        "gpu": Pix2ProfRecipe(steps=20_000, batch=32),
        "paper": Pix2ProfRecipe(),
    }[size]


def lesson(recipe: Pix2ProfRecipe, school: School) -> Lesson:
    """The network, its data in memory, and its update."""
    sets = [
        read_sequences(
            survey, recipe.target, sides.ids["train"], bin=recipe.bin, percent=recipe.percent, progress=school.progress
        )
        for survey, sides in zip(school.surveys, school.splits, strict=True)
    ]
    ranges = (open_run(recipe.start).facts("ranges") if recipe.start else None) or ranges_of(sets)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = Pix2Prof(recipe.net)
    if recipe.start:
        open_run(recipe.start).load(net).train()
    net.to(school.device)
    optimiser = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
    objective = Sequence(recipe.teacher_forcing)

    def batches(start: int):
        stream = sequence_batches(
            sets, recipe.batch, wobble=round(recipe.wobble / recipe.bin), seed=recipe.seed, start=start
        )
        return (as_batch(pairs, ranges, recipe.plateau, school.device) for pairs in stream)

    if recipe.norms == "frozen":
        freeze(net, islice(batches(0), SETTLING))

    def loss(net: nn.Module, batch: SequenceBatch, rng: torch.Generator) -> dict[str, torch.Tensor]:
        return {"sequence": objective(net, batch, rng)}

    rate = level_then_linear(recipe.learning_rate, recipe.steps, recipe.fall)
    update = descend(net, loss, optimiser, seed=recipe.seed, clip=1.0, rate=rate)

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        run.write_facts("ranges", ranges)
        return {"ranges": ranges}

    return Lesson(
        {"net": net, "optimiser": optimiser}, update, batches, recipe.steps, recipe.batch, seen(school), finish
    )


@torch.no_grad()
def freeze(net: Pix2Prof, batches: Iterable[SequenceBatch]) -> None:
    """Give every batch norm of the encoder its average over some batches, for good; the rest goes on learning."""
    norms = [layer for layer in net.encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's word for a plain average
    for batch in batches:
        net.encoder(batch.images)
    for norm in norms:
        norm.eval()


def ranges_of(sets: list[SequenceSet]) -> dict[str, float]:
    """The fixed range of the images [nanomaggy], and mean and scale of the profiles [mag/arcsec²], of a training set.

    Source: Smith et al. 2021, MNRAS 503, 96, Eq. 1 (A and B). We differ: the smallest value and the 99.9th percentile
    themselves, not rounded to whole nanomaggies, which suit only the pixels that they were found on.
    """
    lows, highs = [], []
    for one in sets:
        some = one.images[:: max(1, len(one) // SAMPLED)].float().flatten() * one.unit
        lows.append(float(some.min()))
        highs.append(float(some.kthvalue(int(0.999 * some.numel())).values))
    values = torch.cat([one.sb[torch.isfinite(one.sb)] for one in sets])
    return {"low": min(lows), "high": max(highs), "mean": float(values.mean()), "scale": float(values.std())}


def as_batch(pairs: Pairs, ranges: Mapping[str, float], plateau: int, device: torch.device) -> SequenceBatch:
    """What the network takes: images in the fixed range, profiles standardised and continued beyond their end."""
    longest = int(pairs.length.max())
    standard = (pairs.sb[:, :longest] - ranges["mean"]) / ranges["scale"]
    targets, weight = with_plateau(standard, pairs.length, plateau)
    images = min_max(pairs.images, ranges["low"], ranges["high"])[:, None]
    return SequenceBatch(images.to(device), targets.to(device), weight.to(device))
