"""Weights that read tokens, opened: the network, what it reads, and the part of it that turns images into vectors."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from skyloom.checkpoint import Run, open_for
from skyloom.data.cutout import SurveyInfo
from skyloom.data.vocabulary import ImageFacts, Vocabulary
from skyloom.nn.sky_gpt import SkyGPT, SkyGPTConfig

FACTS = "tokens"


class Reader(NamedTuple):
    """A run of sky_gpt: its network and the kinds of tokens that it knows."""

    run: Run
    net: SkyGPT
    vocabulary: Vocabulary


def reader_of(name: str | Path) -> Reader:
    """Weights that ship with skyloom or a run directory; RequestError for what reads no tokens."""
    return read_run(open_for(name, FACTS, "weights that read tokens", "use of tokens")[0])


def read_run(run: Run) -> Reader:
    """The network of a run that has FACTS."""
    facts = run.facts(FACTS) or {}
    net = run.load(SkyGPT(SkyGPTConfig.from_facts(facts["net"])))
    assert isinstance(net, SkyGPT)
    return Reader(run, net, Vocabulary.from_facts(facts))


class ImagesToVectors(nn.Module):
    """(images, seen) to vectors, as `embed` calls encoders: images are scaled, and 0 where nothing is known."""

    def __init__(self, net: SkyGPT, facts: ImageFacts):
        super().__init__()
        self.net, self.facts, self.tokeniser = net, facts, facts.tokeniser

    def forward(self, images: Float[Tensor, "b c h w"], seen: Float[Tensor, "b c"]) -> Float[Tensor, "b d"]:
        """seen : share of good pixels of each band"""
        good = ((images != 0) | (seen >= 1)[..., None, None]).to(images)
        tokens = self.tokeniser.tokens(self.facts.scaling.flux(images), good)
        kinds = self.tokeniser.kinds(self.facts.mark)
        return self.net.vectors({kind.name: part for kind, part in zip(kinds, tokens, strict=True)})


def vectors_of(run: Run, info: SurveyInfo | None) -> ImagesToVectors:
    """What turns images of a survey into vectors; where none of the run's kinds suits them, or None is given, images of
    its first survey."""
    reader = read_run(run)
    kinds = reader.vocabulary.images
    return ImagesToVectors(reader.net, next((one for one in kinds if info and reads(one, info)), kinds[0]))


def reads(facts: ImageFacts, info: SurveyInfo) -> bool:
    """Whether images of a survey are of this kind, among other bands perhaps."""
    bands = facts.info.band_names
    return set(bands) <= set(info.band_names) and facts.suits(info.binned(bands, facts.bin))
