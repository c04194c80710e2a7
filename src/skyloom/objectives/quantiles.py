"""What a predicted profile is held to: its light, geometry and growth, and how far each is believed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skyloom.data.rings import ProfileBatch
from skyloom.nn.profile_decoder import LEVELS, Prediction, Quantity

FAINTEST = 3.5  # [mag] below one rms of a pixel: fainter light is not asked for


@dataclass(frozen=True)
class ProfileLikelihood:
    """Laplace likelihood of every median, and the pinball loss of every quantile in units of the width.

    Source: Koenker & Bassett 1978, Econometrica 46, 33 (quantiles).
    We differ: the pinball loss is divided by the predicted width, so that bright isophotes, known to a hundredth of a
    magnitude, and faint ones count alike; the quantiles do not move the median.
    """

    def __call__(self, net: nn.Module, batch: ProfileBatch, rng: torch.Generator) -> dict[str, Tensor]:
        said: Prediction = net(batch.maps, batch.radius)
        known = torch.isfinite(batch.sb)
        bright = torch.where(batch.sb < FAINTEST, batch.sb, torch.nan)
        cog = torch.where(torch.isfinite(bright), batch.cog, torch.nan)
        e1 = torch.where(torch.isfinite(bright), batch.e1, torch.nan)
        return {
            "sb": likelihood(said.sb, bright) + pinball(said.sb, bright),
            "cog": 0.5 * (likelihood(said.cog, cog) + pinball(said.cog, cog)),
            "mag": 0.2 * (likelihood(said.mag, batch.mag) + pinball(said.mag, batch.mag)),
            "shape": 0.5 * vector(e1 - said.e1, batch.e2 - said.e2, said.shape_width),
            "centre": 0.2 * vector(batch.x - said.x, batch.y - said.y, said.centre_width),
            "stands": 0.2 * F.binary_cross_entropy_with_logits(said.stands, known.to(said.stands.dtype)),
        }


def likelihood(said: Quantity, target: Tensor) -> Tensor:
    """Mean −ln of a Laplace law, over the targets that are known; 0 if none is."""
    there = torch.isfinite(target)
    miss = torch.where(there, target, 0.0) - torch.where(there, said.median, 0.0)
    return _mean(miss.abs() / said.width + said.width.log(), there)


def pinball(said: Quantity, target: Tensor) -> Tensor:
    """Mean pinball loss of the quantiles at LEVELS, in units of the width."""
    level = torch.tensor(LEVELS, device=target.device)
    there = torch.isfinite(target)
    miss = (torch.where(there, target, 0.0)[..., None] - said.quantiles) / said.width.detach()[..., None]
    return _mean(torch.maximum(level * miss, (level - 1) * miss).sum(-1), there)


def vector(dx: Tensor, dy: Tensor, width: Tensor) -> Tensor:
    """Mean −ln of a two-dimensional Laplace law of one width, where the differences are known."""
    there = torch.isfinite(dx) & torch.isfinite(dy)
    length = (torch.where(there, dx, 1.0) ** 2 + torch.where(there, dy, 1.0) ** 2 + 1e-10).sqrt()
    return _mean(length / width + 2 * width.log(), there)


def _mean(loss: Tensor, there: Tensor) -> Tensor:
    return torch.where(there, loss, 0.0).sum() / there.sum().clamp_min(1)
