"""A network that says what a galaxy looks like: the same of a turned one, and in answers that add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.nn.equivariant import EquivariantConfig, EquivariantEncoder, PlainEncoder

LOG_VOTERS = 2.0  # logarithm of the sum of concentrations before anything was learnt


@dataclass(frozen=True)
class MorphologyConfig:
    """encoder : of images; shared : its filters are in all orientations; False for an ordinary network of equal cost

    hidden : features between the encoder and the answers; dropout : of them
    sizes : answers to each question; parents : for each question the place of the answer that leads to it among all
        answers, -1 for none. A plain label is one question without a parent
    members : networks that learn apart from each other, and whose answers are averaged
    """

    encoder: EquivariantConfig = field(default_factory=EquivariantConfig)
    shared: bool = True
    hidden: int = 64
    dropout: float = 0.3
    sizes: tuple[int, ...] = (2,)
    parents: tuple[int, ...] = (-1,)
    members: int = 1


class Answers(NamedTuple):
    """What a network says of an image.

    logits : of every answer, up to a constant of each question
    log_total : of each question the logarithm of the sum of its concentrations: how many votes it is worth
    """

    logits: Float[Tensor, "b a"]
    log_total: Float[Tensor, "b q"]

    def log_conditional(self, sizes: Sequence[int]) -> Float[Tensor, "b a"]:
        """Logarithms of the fractions among those who were asked: they sum to 1 over a question."""
        return torch.cat([part.log_softmax(1) for part in self.logits.split(list(sizes), 1)], 1)

    def fractions(self, sizes: Sequence[int], parents: Sequence[int]) -> Float[Tensor, "b a"]:
        """Fractions of everybody: the answers to a question sum to the answer that leads to it, by construction."""
        found: list[Tensor] = []
        for part, parent in zip(self.log_conditional(sizes).exp().split(list(sizes), 1), parents, strict=True):
            above = torch.cat(found, 1)[:, parent, None] if parent >= 0 else 1.0
            found.append(part * above)
        return torch.cat(found, 1)

    def variances(self, sizes: Sequence[int], parents: Sequence[int]) -> Float[Tensor, "b a"]:
        """Of `fractions`, if each question's fractions follow their own Dirichlet law."""
        mean, alpha = self.log_conditional(sizes).exp(), self.concentrations(sizes)
        found: list[Tensor] = []
        for m, a, parent in zip(mean.split(list(sizes), 1), alpha.split(list(sizes), 1), parents, strict=True):
            square = m * (a + 1) / (a.sum(1, keepdim=True) + 1)
            above = torch.cat(found, 1)[:, parent, None] if parent >= 0 else 1.0
            found.append(square * above)
        return (torch.cat(found, 1) - self.fractions(sizes, parents).square()).clamp(min=0)

    def concentrations(self, sizes: Sequence[int]) -> Float[Tensor, "b a"]:
        """Of the Dirichlet law of each question's fractions."""
        total = torch.cat(
            [part.expand(-1, size) for part, size in zip(self.log_total.split(1, 1), sizes, strict=True)], 1
        )
        return (self.log_conditional(sizes) + total).exp()


class TreeHead(nn.Module):
    """Features to Answers: a logit for every answer and a number of votes for every question."""

    def __init__(self, dimension: int, config: MorphologyConfig):
        super().__init__()
        self.sizes = config.sizes
        self.hidden = nn.Sequential(
            nn.Dropout(config.dropout), nn.Linear(dimension, config.hidden), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.answers = nn.Linear(config.hidden, sum(config.sizes))
        self.totals = nn.Linear(config.hidden, len(config.sizes))
        nn.init.zeros_(self.totals.weight)
        nn.init.constant_(self.totals.bias, LOG_VOTERS)

    def forward(self, features: Float[Tensor, "b d"]) -> Answers:
        hidden = self.hidden(features)
        return Answers(self.answers(hidden), self.totals(hidden))


class MorphologyNet(nn.Module):
    """An encoder and a head; `features` are the encoder's."""

    def __init__(self, config: MorphologyConfig):
        super().__init__()
        self.encoder = EquivariantEncoder(config.encoder) if config.shared else PlainEncoder(config.encoder)
        self.head = TreeHead(self.encoder.dimension, config)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Answers:
        return self.head(self.encoder(images))


def members_of(config: MorphologyConfig) -> nn.ModuleList:
    """As many networks as the config says, each with its own first weights."""
    return nn.ModuleList([MorphologyNet(config) for _ in range(config.members)])
