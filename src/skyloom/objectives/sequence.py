"""Learning to write a sequence: squared error, sometimes fed with the truth, sometimes with one's own values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class SequenceBatch(NamedTuple):
    """Images, the values to be written, finite everywhere, and the weight of each, 0 where it does not count."""

    images: Float[Tensor, "b c h w"]
    targets: Float[Tensor, "b t"]
    weight: Float[Tensor, "b t"]


@dataclass(frozen=True)
class Sequence:
    """Mean squared error over the values that count; a batch is fed with the truth with a probability.

    Source: Smith et al. 2021, MNRAS 503, 96, arXiv:2010.00622, the mean squared error (Eq. 2.2 of the author's
    thesis); the probability is that of its published script.
    We differ: the targets go on, flat, after a profile's end (`with_plateau`), so that the stop is learnt, and the loss
    covers all of their length, where the script compares the shorter of prediction and target, which hides wrong stops.
    """

    teacher_forcing: float = 0.4

    def __call__(self, net: nn.Module, batch: SequenceBatch, rng: torch.Generator) -> Float[Tensor, ""]:
        forced = bool(torch.rand((), generator=rng, device=rng.device) < self.teacher_forcing)
        values = net(batch.images, batch.targets, forced)
        return (batch.weight * (values - batch.targets) ** 2).sum() / batch.weight.sum()


def with_plateau(
    profiles: Float[Tensor, "b t"], length: Int[Tensor, "b"], steps: int
) -> tuple[Float[Tensor, "b t2"], Float[Tensor, "b t2"]]:
    """Targets and their weights: each profile, then its last value again and again; the first `steps` of these count.

    profiles : anything, NaN included, from `length` on; length : at least 1; t2 = t + steps
    """
    places = torch.arange(profiles.shape[1] + steps, device=profiles.device)
    targets = profiles.gather(1, torch.minimum(places, length[:, None] - 1))
    counts: Bool[Tensor, "b t2"] = places < length[:, None] + steps
    return targets, counts.to(profiles.dtype)
