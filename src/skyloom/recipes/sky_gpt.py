"""sky_gpt: one network for all that is known of an object, which learns by saying what it has not seen yet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skyloom.checkpoint import Run, open_run
from skyloom.data.splits import Split
from skyloom.data.store import Survey
from skyloom.data.tokens import TokenSource, token_batches
from skyloom.data.vocabulary import Looks, Read, Vocabulary, has_images, listed, read_objects, source_of, vocabulary_of
from skyloom.errors import RecipeError, RequestError
from skyloom.nn.low_rank import LowRankLinear
from skyloom.nn.sky_gpt import SkyGPT, SkyGPTConfig
from skyloom.objectives.tokens import TokenLikelihood, surprises
from skyloom.recipes.encoders import seeded
from skyloom.recipes.generators import Sample
from skyloom.recipes.lesson import Lesson, School, Size, passing, seen
from skyloom.sky.patches import Order
from skyloom.sky.scaling import facts_of
from skyloom.sky.tokens import IMAGE, TokenBatch
from skyloom.train import shard, together, warm_then_cosine

FACTS = "tokens"
JUDGED = 1_024  # held-out objects of each survey on which the loss is taken
TOGETHER = 64  # of them at once


@dataclass(frozen=True)
class SkyGPTRecipe(Sample):
    """Everything that decides the result, beside which images (`recipes.generators.Sample`).

    crop : side of what is looked at [pixel], after binning; a survey whose cutouts are smaller has no images
    patch : side of a patch [pixel]; order : "spiral" or "raster"
    radii : of the circles whose light is told [pixel]; soften : of the asinh, in units of the sky's rms in one pixel
    numbers : columns, each one token; series : lists, as `values@places`, `values@places/channel`, with `-first` after
        places that are counted from the first, and with a range that values must lie in: `true_sb_r@true_sma[:28]`
    points : of a list that are shown at once; others : weight of what is no patch
    masked, mixed, robust : of the objective (`objectives.tokens.TokenLikelihood`)
    start : a run to start from, or a name: its kinds keep their scales, what it lacks is new. With `low_rank` only the
        change to its matrices is learnt, and what is new
    """

    net: SkyGPTConfig = field(default_factory=SkyGPTConfig)
    crop: int = 32
    patch: int = 4
    order: Order = "spiral"
    radii: tuple[float, ...] = (2.0, 4.0, 8.0)
    soften: float = 1.0
    numbers: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    points: int = 24
    others: float = 0.3
    masked: float = 0.5
    mixed: float = 0.5
    robust: float = 0.0
    start: str = ""
    steps: int = 20_000
    batch: int = 256
    learning_rate: float = 2e-3
    decay: float = 0.05
    warm: int = 100
    seed: int = 0


def sky_gpt(size: Size) -> SkyGPTRecipe:
    """The one dial: `laptop` is 0.8 M parameters in 4 layers, `gpu` 21 M in 12, `paper` 90 M in 12 wider ones."""
    return {
        "smoke": SkyGPTRecipe(net=SkyGPTConfig(depth=2, head=8), crop=16, points=6, steps=8, batch=4, warm=2),
        "laptop": SkyGPTRecipe(steps=3_000, batch=48),
        "gpu": SkyGPTRecipe(net=SkyGPTConfig(depth=12), steps=20_000, learning_rate=1e-3),
        "paper": SkyGPTRecipe(net=SkyGPTConfig(depth=12, head=64), steps=200_000, batch=1024, learning_rate=6e-4),
    }[size]


def require(recipe: SkyGPTRecipe, survey: Survey) -> None:
    """RecipeError or RequestError, before any long work, for a survey that has nothing to be read."""
    if recipe.patch < 1 or recipe.crop % recipe.patch:
        raise RecipeError(f"crop={recipe.crop} and patch={recipe.patch}: a crop is a multiple of its patches' side")
    if recipe.soften <= 0 or recipe.points < 2 or not recipe.radii or min(recipe.radii) <= 0:
        raise RecipeError(
            f"soften={recipe.soften}, points={recipe.points}, radii={recipe.radii}: a softening and radii are "
            "positive, and a series has 2 points or more"
        )
    if recipe.net.low_rank and not recipe.start:
        raise RecipeError(
            f"low_rank={recipe.net.low_rank} learns a change to weights that stay, and there is no start: set "
            "start=RUN, or low_rank=0"
        )
    there = [name for name in recipe.numbers if name in survey.column_names]
    series = {text: listed(text).columns for text in recipe.series}
    there += [text for text, columns in series.items() if set(columns) <= set(survey.column_names)]
    if not (has_images(survey, recipe.bin, recipe.crop) or there):
        wanted = ", ".join((*recipe.numbers, *recipe.series)) or "columns named in numbers or series"
        raise RequestError(
            f"{survey.path.name} has cutouts of {survey.info.shape} pixels, too small for crop={recipe.crop}, and no "
            f"{wanted}; ask for what it has"
        )


def read_sides(recipe: SkyGPTRecipe, school: School, sides: Sequence[str]) -> list[Read]:
    """The objects of every survey that lie on these sides of its split and pass the filter."""
    return [_read(recipe, school, *one, sides) for one in zip(school.surveys, school.splits, strict=True)]


def _read(recipe: SkyGPTRecipe, school: School, survey: Survey, split: Split, sides: Sequence[str]) -> Read:
    ids = passing(survey, split, sides, recipe.where)
    if not ids:
        raise RequestError(f"{survey.path.name} has no object where {recipe.where!r} to learn from; ask for others")
    return read_objects(
        survey, ids, numbers=recipe.numbers, series=recipe.series, bands=recipe.bands, bin=recipe.bin,
        crop=recipe.crop, progress=school.progress,
    )  # fmt: skip


def lesson(recipe: SkyGPTRecipe, school: School) -> Lesson:
    """The network and its objects in memory."""
    reads = read_sides(recipe, school, ("train",))
    begun = open_run(recipe.start) if recipe.start else None
    known = vocabulary_from(begun) if begun else None
    looks = Looks(recipe.radii, recipe.patch, recipe.order, recipe.soften, recipe.bin)
    vocabulary = vocabulary_of(reads, looks, recipe.numbers, recipe.series, known)
    config = replace(recipe.net, kinds=vocabulary.kinds(recipe.others))
    sources = [source_of(one, vocabulary, recipe.points) for one in reads]
    lengths = [lengths_of(source) for source in sources]
    require_context(config, lengths)
    net = seeded(lambda: SkyGPT(config), recipe.seed)
    assert isinstance(net, SkyGPT)
    if begun:
        take_over(net, begun)
    net.to(school.device)
    objective = TokenLikelihood(recipe.masked, recipe.mixed, recipe.robust, school.share)
    losses = Losses(net, objective)
    if school.sharded:
        shard(losses, net.layers, school.share, school.device.type)
    optimiser = torch.optim.AdamW(
        groups_of(net, recipe.decay), lr=recipe.learning_rate, betas=(0.9, 0.95),
        fused=school.device.type == "cuda",
    )  # fmt: skip
    if school.device.type == "cuda":
        net.compile(dynamic=True)
    update = together(
        losses, optimiser, school.share, seed=recipe.seed, clip=1.0, sharded=school.sharded,
        rate=warm_then_cosine(recipe.learning_rate, recipe.warm, recipe.steps),
    )  # fmt: skip

    def batches(start: int) -> Iterator[TokenBatch]:
        stream = token_batches(sources, recipe.batch, seed=recipe.seed, start=start)
        return ({name: tokens.to(school.device) for name, tokens in batch.items()} for batch in stream)

    def finish(run: Run, product: nn.Module) -> Mapping[str, Any]:
        run.write_facts(FACTS, vocabulary.to_facts() | {"net": asdict(config)})
        found: dict[str, Any] = {"scaling": measured(recipe, school, run, product, vocabulary, lengths, objective)}
        run.write_facts("scaling", found["scaling"])
        if vocabulary.images:
            found["encoder"] = encoder_facts(vocabulary, config, sources)
            run.write_facts("encoder", found["encoder"])
        return found

    return Lesson(
        {"net": net, "optimiser": optimiser}, update, batches, recipe.steps, recipe.batch, seen(school), finish,
        whole=(lambda: SkyGPT(config).to(school.device)) if school.sharded else None,
    )  # fmt: skip


class Losses(nn.Module):
    """A network and what it is held to, as one module; on a GPU in half precision (bfloat16) where that is safe."""

    def __init__(self, net: SkyGPT, objective: TokenLikelihood):
        super().__init__()
        self.net, self.objective = net, objective

    def forward(self, batch: TokenBatch, rng: torch.Generator) -> dict[str, Tensor]:
        device = self.net.begin.device.type
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            return self.objective(self.net, batch, rng)


def vocabulary_from(run: Run) -> Vocabulary:
    """What a run of this recipe reads; RecipeError if it is none."""
    facts = run.facts(FACTS)
    if facts is None:
        raise RecipeError(f"start={run.name} was trained by the recipe {run.record['recipe']}; start from a sky_gpt")
    return Vocabulary.from_facts(facts)


def take_over(net: SkyGPT, run: Run) -> None:
    """Begin with the layers of a run, and with the ends of the kinds that it knows; all else is new.

    With low ranks, what was taken over stays as it is.
    """
    old = SkyGPTConfig.from_facts((run.facts(FACTS) or {})["net"])
    config = net.config
    if (old.depth, old.head, old.waves) != (config.depth, config.head, config.waves):
        raise RecipeError(
            f"start={run.name} has depth={old.depth}, head={old.head}, waves={old.waves}, and this network "
            f"{config.depth}, {config.head}, {config.waves}; set them alike"
        )
    teacher = run.load(SkyGPT(old))
    assert isinstance(teacher, SkyGPT)
    for layer, taught in zip(net.layers, teacher.layers, strict=True):
        layer.load_state_dict(merged(taught), strict=False)
    net.norm.load_state_dict(teacher.norm.state_dict())
    net.begin.data.copy_(teacher.begin.data)
    there = {kind.name for kind in old.kinds}
    for kind in config.kinds:
        if kind.name in there:
            net.ends_of(kind.name).load_state_dict(teacher.ends_of(kind.name).state_dict())
    if config.low_rank:
        new = {
            id(weight)
            for kind in config.kinds
            if kind.name not in there
            for weight in net.ends_of(kind.name).parameters()
        }
        thin = {
            id(weight) for part in net.modules() if isinstance(part, LowRankLinear) for weight in (part.down, part.up)
        }
        for weight in net.parameters():
            weight.requires_grad_(id(weight) in new | thin)


def merged(layer: nn.Module) -> dict[str, Tensor]:
    """A layer's weights, with changes of low rank added to their matrices."""
    state = dict(layer.state_dict())
    for name, part in layer.named_modules():
        if isinstance(part, LowRankLinear):
            state[f"{name}.weight"] = part.weight + part.scale * part.up @ part.down
            for thin in ("up", "down"):
                del state[f"{name}.{thin}"]
    return state


def groups_of(net: SkyGPT, decay: float) -> list[dict[str, Any]]:
    """Matrices decay, vectors do not."""
    learnt = [weight for weight in net.parameters() if weight.requires_grad]
    return [
        {"params": [weight for weight in learnt if weight.ndim > 1], "weight_decay": decay},
        {"params": [weight for weight in learnt if weight.ndim < 2], "weight_decay": 0.0},
    ]


def lengths_of(source: TokenSource) -> dict[str, float]:
    """Mean tokens of each kind that an object of a source has."""
    found: dict[str, float] = {}
    some = np.arange(len(source))[:: max(1, len(source) // TOGETHER)][:TOGETHER]
    for name, tokens in source.batch(some).items():
        found[name] = float(tokens.present.sum()) / len(some)
    return found


def require_context(config: SkyGPTConfig, lengths: Sequence[Mapping[str, float]]) -> None:
    longest = max(sum(one.values()) for one in lengths)
    if longest > config.context:
        raise RecipeError(
            f"an object has {longest:.0f} tokens, and context={config.context}; set a smaller crop, larger patches, "
            "fewer points, or a longer context"
        )


def measured(
    recipe: SkyGPTRecipe, school: School, run: Run, net: nn.Module, vocabulary: Vocabulary,
    lengths: Sequence[Mapping[str, float]], objective: TokenLikelihood,
) -> dict[str, Any]:  # fmt: skip
    """What a law of scaling is fitted to: size, tokens seen, FLOP, and the loss on objects that are new to it."""
    assert isinstance(net, SkyGPT)
    reads = read_sides(recipe, school, ("calibration",))
    sources = [source_of(one, vocabulary, recipe.points) for one in reads]
    kinds: dict[str, list[Tensor]] = {}
    for source in sources:
        rows = np.arange(len(source))[:: max(1, len(source) // JUDGED)][:JUDGED]
        batches = [
            {name: tokens.to(school.device) for name, tokens in source.batch(some).items()}
            for some in np.array_split(rows, max(1, len(rows) // TOGETHER))
        ]
        for name, each in surprises(net, batches, objective).items():
            kinds.setdefault(name, []).append(each)
    losses = {name: _mean_and_error(torch.cat(parts).double().numpy()) for name, parts in kinds.items()}
    ours = next((name for name in losses if name.startswith(IMAGE)), next(iter(losses)))
    samples = recipe.steps * recipe.batch
    tokens = float(np.mean([sum(one.values()) for one in lengths]))
    forward = [net.config.flop({name: round(n) for name, n in one.items()}) for one in lengths]
    flops = 3.0 * samples * float(np.mean(forward))
    seconds = (run.facts("clock") or {"seconds": float("nan")})["seconds"]
    return {
        "n_parameters": sum(weight.numel() for weight in net.parameters()),
        "n_tokens": round(samples * tokens),
        "loss": losses[ours][0], "loss_error": losses[ours][1], "loss_of": ours,
        "flops": flops, "seconds": seconds, "peak": peak(school.device),
        "losses": losses,
        "objects": sum(len(source) for source in sources),
    }  # fmt: skip


def _mean_and_error(values: np.ndarray) -> tuple[float, float, int]:
    """Mean, its standard error, and how many."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan"), 0
    return float(values.mean()), float(values.std() / max(1, len(values)) ** 0.5), len(values)


def peak(device: torch.device, side: int = 1024, times: int = 5) -> float:
    """FLOP a second of a large product of matrices, the best of a few: what a share of the peak is counted by."""
    one = torch.randn(side, side, device=device)
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        (one @ one).sum().item()
        best = min(best, time.perf_counter() - started)
    return 2.0 * side**3 / best


def encoder_facts(vocabulary: Vocabulary, config: SkyGPTConfig, sources: Sequence[TokenSource]) -> dict[str, Any]:
    """What `embed` must know: the images of the first survey that has any."""
    first = vocabulary.images[0]
    return {
        "info": first.info.to_json(),
        "noise": first.noise,
        "scaling": facts_of(first.scaling),
        "bin": first.bin,
        "dimension": 2 * config.width,  # of light and of patches
        "some_bands": False,
        "images": sum(len(source) for source in sources if source.images is not None),
    }
