"""Two views of a galaxy near each other, and far from all others: NT-Xent, margin and triplet losses.

All act on unit vectors: views i and i + n of 2n vectors are of one galaxy, all others are of others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skyloom.data.views import ViewBatch

Kind = Literal["nt_xent", "margin", "triplet"]


def likeness(shown: Float[Tensor, "m d"]) -> Float[Tensor, "m m"]:
    """Cosines of the angles between all pairs."""
    unit = F.normalize(shown, dim=1)
    return unit @ unit.T


def nt_xent(shown: Float[Tensor, "m d"], temperature: float = 0.2) -> Tensor:
    """Cross entropy of finding a view's partner among all 2n − 1 others, mean over all views.

    Source: Chen et al. 2020, arXiv:2002.05709, Eq. 1; Smith 2022 (thesis), Eq. 1.31.
    """
    alike = likeness(shown) / temperature
    alike = alike.masked_fill(torch.eye(len(shown), dtype=torch.bool, device=shown.device), -math.inf)
    return F.cross_entropy(alike, _partners(shown))


def nt_xent_floor(galaxies: int, temperature: float = 0.2) -> float:
    """The least that `nt_xent` can be: both views at one corner of a simplex with as many corners as galaxies.

    Source: Graf et al. 2021, arXiv:2102.08817, Theorem 2 (the simplex), worked out for two views of each.
    """
    apart = -1 / (galaxies - 1)
    return math.log1p(2 * (galaxies - 1) * math.exp((apart - 1) / temperature))


def margin(shown: Float[Tensor, "m d"], least: float = 1.0) -> Tensor:
    """Distance of partners, plus by how much all others are nearer than `least`; mean over pairs of each kind.

    Distance is 1 − cosine.
    Source: Hadsell, Chopra & LeCun 2006, CVPR 2, 1735, Eq. 4; Smith 2022 (thesis), §1.10.1.
    We differ: the thesis writes the cosine where a distance belongs, which would drive partners apart; not squared.
    """
    distance, other = 1 - likeness(shown), _others(shown)
    return _of_partners(distance).mean() + (least - distance[other]).clamp_min(0).mean()


def triplet(shown: Float[Tensor, "m d"], least: float = 0.5) -> Tensor:
    """By how much a partner is not nearer than another by `least`, mean over all triplets.

    Source: Chechik et al. 2010, JMLR 11, 1109, Eq. 3; Smith 2022 (thesis), Eq. 1.30.
    We differ: the thesis' cosines have the signs of distances, which would drive partners apart; all triplets
    of a batch.
    """
    distance, other = 1 - likeness(shown), _others(shown)
    miss = (_of_partners(distance)[:, None] - distance + least).clamp_min(0)
    return miss[other].mean()


def _partners(shown: Float[Tensor, "m d"]) -> Tensor:
    return torch.arange(len(shown), device=shown.device).roll(len(shown) // 2)


def _of_partners(pairs: Float[Tensor, "m m"]) -> Float[Tensor, "m"]:
    return pairs.gather(1, _partners(pairs)[:, None])[:, 0]


def _others(shown: Float[Tensor, "m d"]) -> Tensor:
    """True for pairs of views of two galaxies."""
    galaxy = torch.arange(len(shown), device=shown.device) % (len(shown) // 2)
    return galaxy[:, None] != galaxy


LOSSES: dict[Kind, Callable[[Tensor, float], Tensor]] = {"nt_xent": nt_xent, "margin": margin, "triplet": triplet}


@dataclass(frozen=True)
class Contrast:
    """The loss of an `nn.embedder.Embedder` on two views of each galaxy. scale : temperature, or least distance"""

    loss: Kind
    scale: float

    def __call__(self, net: Any, batch: ViewBatch, rng: torch.Generator) -> dict[str, Tensor]:
        vectors = net(batch.images.flatten(0, 1), batch.seen.flatten(0, 1))
        return {self.loss: LOSSES[self.loss](net.shown(vectors), self.scale)}
