"""What a handful of galaxies have in common, as a vector that a generator hears; its weights stay as they are."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.data import store
from skyloom.data.destination import write_whole
from skyloom.data.images import ImageSet, image_batches, read_images
from skyloom.errors import RequestError
from skyloom.infer.generator import Generator, generator_of, matched
from skyloom.nn.denoiser import Denoiser
from skyloom.objectives.denoising import Denoising
from skyloom.train import descend, train, warm_then_cosine

LOG_SIGMA = (
    2.0,
    1.8,
)  # mean and spread of ln σ, in units of the images' spread: what makes a galaxy is settled high up
LEVELS = (0.5, 2.0, 8.0, 30.0)  # noise levels, in the same units, at which a concept is judged
BATCH, WARM = 8, 10
Progress = Callable[[int, int | None, str], None]


@dataclass(frozen=True)
class Concept:
    """A learnt vector.

    name : of its file; weights : hash of those that hear it; examples : how many galaxies it was learnt from
    vector : added to what the network hears of a galaxy
    error : of the examples' denoising with the concept, and plain : with nothing said, at fixed noise (LEVELS)
    """

    name: str
    weights: str
    examples: int
    vector: tuple[float, ...]
    error: float
    plain: float

    @property
    def heard(self) -> Float[Tensor, "e"]:
        return torch.tensor(self.vector)


def concept(
    survey: str | Path | store.Survey,
    ids: Sequence[str],
    with_: str | Path | Generator,
    out: str | Path,
    *,
    steps: int = 300,
    learning_rate: float = 0.03,
    seed: int = 0,
    progress: Progress | None = None,
) -> Concept:
    """Learn a vector for a few galaxies of a survey, and write it to the file `out` (.json) for `simulate(concept=…)`.

    ids : the examples, three to thirty that share what is meant; those with more than a fiftieth of bad pixels are left
        out
    with_ : weights of galaxy_edm, which stay as they are; their bands and pixels must be the survey's
    Same arguments, same file. It says nothing but what these weights can draw: a vector turns what they know, and adds
    no new shapes.
    Source: textual inversion, Gal et al. 2022, arXiv:2208.01618, Eq. 2. We differ: no language model; the vector joins
    what the network hears of noise and conditions, so weights that were told nothing can learn concepts too, and a
    concept can be said together with conditions.
    Raises RequestError for weights that are no denoiser of galaxies, bands or pixels that they do not know, no id, or
    steps below 1; CatalogueError for ids that are not there.
    """
    generator = generator_of(with_)
    if generator.recipe != "galaxy_edm":
        raise RequestError(f"{generator.name} was trained by {generator.recipe}; concepts need galaxy_edm")
    if not ids or steps < 1:
        raise RequestError(f"{len(ids)} examples and steps={steps}; give at least one of each")
    net = cast(Denoiser, generator.on("cpu"))
    images = _images(store.opened(survey), ids, generator)
    listener = _Listener(net)
    update = descend(
        listener, _objective(net), torch.optim.Adam([listener.heard]), seed=seed,
        rate=warm_then_cosine(learning_rate, min(WARM, steps - 1), steps),
    )  # fmt: skip
    stream = image_batches(images, generator.scaling.scaled, BATCH, shift=0.0, seed=seed)
    plain = _error(listener, images, generator, seed)
    for step in train(update, (next(stream) for _ in range(steps))):
        if progress:
            progress(step.number, steps, "steps")
    error = _error(listener, images, generator, seed)
    vector = tuple(listener.heard.detach().tolist())
    found = Concept(Path(out).stem, generator.hash, len(images), vector, error, plain)
    write_whole(Path(out), json.dumps(asdict(found), indent=1) + "\n")
    return found


def read_concept(file: str | Path | Concept, generator: Generator) -> Concept:
    """A concept from its file; RequestError if it is none, or was learnt with other weights."""
    if isinstance(file, Concept):
        found = file
    else:
        try:
            facts = json.loads(Path(file).read_text(encoding="utf-8"))
            found = Concept(**{**facts, "vector": tuple(map(float, facts["vector"]))})
        except (OSError, ValueError, TypeError, KeyError) as fault:
            raise RequestError(f"{file} is no concept ({fault}); make one: skyloom concept") from fault
    if found.weights != generator.hash:
        raise RequestError(
            f"the concept {found.name} was learnt with the weights {found.weights}, and {generator.name} has "
            f"{generator.hash}; learn it again with these"
        )
    return found


def concept_error(
    survey: str | Path | store.Survey, ids: Sequence[str], with_: str | Path | Generator, found: Concept, seed: int = 0
) -> tuple[float, float]:
    """Error of other galaxies' denoising with a concept, and with nothing said: whether it is theirs as well.

    Raises RequestError as `concept` does.
    """
    generator = generator_of(with_)
    images = _images(store.opened(survey), ids, generator)
    listener = _Listener(cast(Denoiser, generator.on("cpu")))
    plain = _error(listener, images, generator, seed)
    listener.heard.data.copy_(read_concept(found, generator).heard)
    return _error(listener, images, generator, seed), plain


class _Listener(nn.Module):
    """A frozen denoiser that hears one vector; the vector is all that can be learnt."""

    def __init__(self, net: Denoiser):
        super().__init__()
        self._net = [net.eval().requires_grad_(False)]  # in a list: no part of this module, so that train() passes by
        self.heard = nn.Parameter(torch.zeros(net.config.embedding))

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return self._net[0](x, sigma, labels, self.heard.expand(len(x), -1))

    def log_variance(self, sigma: Tensor) -> Tensor:
        return self._net[0].log_variance(sigma)


def _images(survey: store.Survey, ids: Sequence[str], generator: Generator) -> ImageSet:
    """The examples in the generator's bands, unit and shape."""
    match = matched(generator, survey.info)
    lost = [name for name, there in zip(generator.info.band_names, match.bands, strict=True) if there is None]
    if lost:
        raise RequestError(
            f"{survey.path.name} lacks {', '.join(lost)}, which {generator.name} needs to learn a concept"
        )
    height, width = generator.info.shape
    images = read_images(survey, ids, size=min(height, width))
    images.flux = torch.from_numpy(match.enter(images.flux.numpy()))
    places = [there for there in match.bands if there is not None]
    images.bad = {row: bad[places] for row, bad in images.bad.items()}
    return images


def _objective(net: Denoiser) -> Denoising:
    spread = net.config.spread
    return Denoising(LOG_SIGMA[0] + math.log(spread), LOG_SIGMA[1], spread, emphasis=4.0)


@torch.no_grad()
def _error(listener: _Listener, images: ImageSet, generator: Generator, seed: int) -> float:
    """Mean weighted error at fixed noise levels and noise."""
    objective, scaled = _objective(cast(Denoiser, generator.on("cpu"))), generator.scaling.scaled(images.flux)
    found = []
    for number, level in enumerate(LEVELS):
        rng = torch.Generator().manual_seed(1000 * seed + number)
        found += [objective.error_at(listener, piece, level * objective.spread, rng) for piece in scaled.split(32)]
    return float(torch.cat(found).mean())
