"""What is known of objects as tokens of several kinds: the nouns that surveys are turned into and networks read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LIGHT, IMAGE = "light", "image"  # what names of kinds begin with that are made of images


@dataclass(frozen=True)
class TokenKind:
    """What the tokens of one kind hold, and where they lie.

    width : numbers in a token; axes : coordinates of its place: 2 for a patch, 1 for a radius or a time, 0 for a number
    channels : of which a token is in one: the filters of a light curve; 0 for none
    components : of the mixture that its numbers are predicted by; 0 for one Gaussian per number
    weight : of its likelihood among the others
    """

    name: str
    width: int
    axes: int = 0
    channels: int = 0
    components: int = 0
    weight: float = 1.0


class Tokens(NamedTuple):
    """The tokens of one kind of a batch of objects: `values` are 0 where they are not known.

    places : coordinates in steps that are typical of the kind, then 1 for the channel that the token is in
    """

    values: Float[Tensor, "b t w"]
    known: Bool[Tensor, "b t w"]
    places: Float[Tensor, "b t a"]

    @property
    def present(self) -> Bool[Tensor, "b t"]:
        return self.known.any(2)

    def to(self, device: torch.device | str) -> Tokens:
        return Tokens(*(part.to(device) for part in self))

    def of_objects(self, some: slice) -> Tokens:
        """Those of some objects."""
        return Tokens(*(part[some] for part in self))

    def at(self, some: slice | Tensor) -> Tokens:
        """Those at some places of the sequence."""
        return Tokens(*(part[:, some] for part in self))


TokenBatch = dict[str, Tokens]  # by the name of the kind; their order is that of the sequence
