"""What a network that answers questions is told: votes, fractions of votes, or a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skyloom.nn.morphology import Answers


def dirichlet_multinomial(counts: Float[Tensor, "*b a"], concentrations: Float[Tensor, "*b a"]) -> Float[Tensor, "*b"]:
    """Minus the logarithm of the probability of vote counts on one question, for a Dirichlet law of its fractions.

    0 for a question that nobody was asked.
    Source: Walmsley et al. 2022, MNRAS 509, 3966, arXiv:2102.08414, Eq. 3 (its use for votes); Minka 2000, Estimating a
    Dirichlet distribution, Eq. 53.
    """
    n, total = counts.sum(-1), concentrations.sum(-1)
    whole = torch.lgamma(total) - torch.lgamma(n + total) + torch.lgamma(n + 1)
    each = torch.lgamma(counts + concentrations) - torch.lgamma(concentrations) - torch.lgamma(counts + 1)
    return -(whole + each.sum(-1))


def votes_loss(said: Answers, counts: Float[Tensor, "b a"], sizes: Sequence[int]) -> Float[Tensor, ""]:
    """Mean over galaxies of the negative log likelihood of all their votes, question by question."""
    parts = zip(counts.split(list(sizes), 1), said.concentrations(sizes).split(list(sizes), 1), strict=True)
    return torch.stack([dirichlet_multinomial(*part) for part in parts]).sum(0).mean()


def rmse(predicted: Float[Tensor, "b a"], truth: Float[Tensor, "b a"]) -> Float[Tensor, ""]:
    """Root of the mean square of all differences; where the truth is NaN there is none."""
    known = torch.isfinite(truth)
    difference = torch.where(known, predicted - torch.where(known, truth, predicted), 0.0)
    return (difference.square().sum() / known.sum().clamp(min=1) + 1e-12).sqrt()


def class_loss(logits: Float[Tensor, "b a"], classes: Float[Tensor, "b 1"], smooth: float = 0.0) -> Float[Tensor, ""]:
    """Cross-entropy of a class. smooth : of the truth that is spread over all classes"""
    return F.cross_entropy(logits, classes[:, 0].long(), label_smoothing=smooth)


def answers_loss(
    said: Answers, truth: Tensor, kind: Literal["counts", "fractions", "classes"], sizes, parents, smooth: float = 0.0
) -> Float[Tensor, ""]:
    """The loss that suits what is known: votes, Kaggle's error of their fractions, or a class."""
    if kind == "counts":
        return votes_loss(said, truth, sizes)
    if kind == "fractions":
        return rmse(said.fractions(sizes, parents), truth)
    return class_loss(said.logits, truth, smooth)
