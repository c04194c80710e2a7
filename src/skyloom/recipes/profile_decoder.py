"""profile_decoder: profiles with geometry, growth and honest errors in one pass. Ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from skyloom.checkpoint import Run, open_run
from skyloom.data.rings import RingSet, read_rings, ring_batches
from skyloom.infer.calibrated import FACTORS, SB_EDGES, bins_of, shown
from skyloom.metrics.calibration import conformal_factor
from skyloom.nn.profile_decoder import LEVELS, ProfileDecoder, ProfileDecoderConfig, Quantity
from skyloom.objectives.quantiles import ProfileLikelihood
from skyloom.recipes.lesson import Lesson, School, Size, seen
from skyloom.train import Average, averaged, descend, exponential, warm_then_cosine

CHUNK = 32  # galaxies at once when nothing is learnt


@dataclass(frozen=True)
class ProfileDecoderRecipe:
    """Everything that decides the result.

    target : the profiles to learn: "true" of mocks, or a column profile_<name>
    start : weights to start from, a run or a name; empty for none
    batch : band-images in a step; split : seed of the split
    """

    net: ProfileDecoderConfig = field(default_factory=ProfileDecoderConfig)
    target: str = "true"
    start: str = ""
    steps: int = 5_000
    batch: int = 32
    learning_rate: float = 1.5e-3
    warm: int = 300
    weight_decay: float = 0.02
    momentum: float = 0.998
    seed: int = 0
    split: int = 0


def profile_decoder(size: Size) -> ProfileDecoderRecipe:
    """The one dial: `smoke` takes a minute, `laptop` about two hours on two cores, `gpu` and `paper` are for a GPU."""
    large = ProfileDecoderConfig(widths=(32, 64, 128), dim=192, heads=6, depth=(4, 3))
    return {
        "smoke": ProfileDecoderRecipe(ProfileDecoderConfig((8, 8), 16, 2, (1, 1)), steps=20, batch=8, warm=5),
        "laptop": ProfileDecoderRecipe(),
        "gpu": ProfileDecoderRecipe(large, steps=60_000, batch=256, learning_rate=1e-3, warm=1000, momentum=0.999),
        "paper": ProfileDecoderRecipe(large, steps=200_000, batch=256, learning_rate=1e-3, warm=1000, momentum=0.9995),
    }[size]


def lesson(recipe: ProfileDecoderRecipe, school: School) -> Lesson:
    """The network, its data in memory, and its update."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = ProfileDecoder(recipe.net)
    if recipe.start:
        open_run(recipe.start).load(net)
    net.to(school.device)
    average = averaged(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    update = descend(
        net, ProfileLikelihood(), optimiser, seed=recipe.seed, clip=1.0,
        averages=(Average(average, exponential(recipe.momentum)),),
        rate=warm_then_cosine(recipe.learning_rate, recipe.warm, recipe.steps),
    )  # fmt: skip

    def batches(start: int):
        sets = [
            read_rings(survey, recipe.target, sides.ids["train"], seed=recipe.seed, progress=school.progress)
            for survey, sides in zip(school.surveys, school.splits, strict=True)
        ]
        return (batch.to(school.device) for batch in ring_batches(sets, recipe.batch, seed=recipe.seed, start=start))

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        return calibrate(run, product, recipe, school)

    return Lesson(
        {"net": net, "average": average, "optimiser": optimiser}, update, batches, recipe.steps, recipe.batch,
        seen(school), finish,
    )  # fmt: skip


def calibrate(run: Run, net: nn.Module, recipe: ProfileDecoderRecipe, school: School) -> dict[str, Any]:
    """Factors that make the intervals hold on galaxies that were not trained on; written as calibration.json."""
    parts = [
        judged(
            net,
            read_rings(survey, recipe.target, sides.ids["calibration"], seed=recipe.seed, jitter=0.0),
            school.device,
        )
        for survey, sides in zip(school.surveys, school.splits, strict=True)
    ]
    first = np.cumsum([0, *(int(part["galaxy"].max(initial=-1)) + 1 for part in parts)])
    points = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "galaxy"}
    galaxy = np.concatenate([part["galaxy"] + start for part, start in zip(parts, first, strict=False)])
    factors = {name: factors_of(points, name, galaxy) for name in FACTORS}
    facts = {"edges": list(SB_EDGES), "factors": factors, "galaxies": int(first[-1]), "points": len(galaxy)}
    run.write_facts("calibration", facts)
    return {"calibration": facts}


def factors_of(points: Mapping[str, np.ndarray], name: str, galaxy: np.ndarray) -> list[float]:
    """For each bin of predicted surface brightness, the factor of one kind of interval."""
    low, middle, high, target = (points[f"{name}_{part}"] for part in ("low", "middle", "high", "target"))
    level = 0.90 if name.endswith("90") else 0.68
    number = bins_of(points["sb68_middle"])
    found = conformal_factor(middle, low, high, target, number, galaxy, level)
    found = np.concatenate([found, np.full(len(SB_EDGES) + 1 - len(found), np.inf)])
    return [float(factor) if np.isfinite(factor) else 1.0 for factor in found]


@torch.no_grad()
def judged(net: nn.Module, rings: RingSet, device: torch.device) -> dict[str, np.ndarray]:
    """Of every point that a table would show: intervals and targets, in the network's units."""
    net.eval()
    found: list[dict[str, np.ndarray]] = []
    bands = range(rings.light.shape[1])
    for start in range(0, len(rings), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(rings)))
        batch = rings.batch(rows, bands, np.zeros(len(rows), int), np.zeros(len(rows), bool)).to(device)
        said = net(batch.maps, batch.radius)
        there = shown(said) & torch.isfinite(batch.sb)
        galaxy = torch.from_numpy(rows)[:, None, None].expand(there.shape)
        shape_miss = torch.hypot(said.e1 - batch.e1, said.e2 - batch.e2)
        zero = torch.zeros_like(shape_miss)
        values = {
            "galaxy": galaxy.to(device),
            **intervals("sb", said.sb, batch.sb),
            **intervals("cog", said.cog, batch.cog),
            "shape68_low": zero, "shape68_middle": zero, "shape68_high": said.shape_width, "shape68_target": shape_miss,
        }  # fmt: skip
        found.append({name: value[there].cpu().numpy().astype(float) for name, value in values.items()})
    joined = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    return {**joined, "galaxy": joined["galaxy"].astype(int)}


def intervals(name: str, said: Quantity, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """The 68 and the 90 % interval of a quantity by name, with its median and its target."""
    order: Sequence[tuple[str, float, float]] = (("68", 0.16, 0.84), ("90", 0.05, 0.95))
    out: dict[str, torch.Tensor] = {}
    for level, low, high in order:
        ends = (said.quantiles[..., LEVELS.index(end)] for end in (low, high))
        out |= dict(zip((f"{name}{level}_low", f"{name}{level}_high"), ends, strict=True))
        out |= {f"{name}{level}_middle": said.median, f"{name}{level}_target": target}
    return out
