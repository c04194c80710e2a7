"""What a variational autoencoder is held to: images drawn again, and latent vectors that keep to their prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Independent, MixtureSameFamily, Normal

from skyloom.data.views import ViewBatch
from skyloom.nn.variational import Posterior


def drawn_from(posterior: Posterior, rng: torch.Generator) -> Float[Tensor, "b d"]:
    """z = μ + σ ε. Source: Kingma & Welling 2013, arXiv:1312.6114, Eq. 10; Smith 2022 (thesis), Eq. 1.19."""
    noise = torch.randn(posterior.mean.shape, generator=rng).to(posterior.mean)
    return posterior.mean + (posterior.log_variance / 2).exp() * noise


def divergence(
    posterior: Posterior, prior: Independent | MixtureSameFamily, latent: Float[Tensor, "b d"]
) -> Float[Tensor, "b"]:
    """KL(q(z|x) | p) of each image [nat]: exact if the prior is N(0, 1), else ln q(z|x) − ln p(z) at the z drawn.

    That one draw is right on average, and may be negative.
    Source: Kingma & Welling 2013, arXiv:1312.6114, Eq. 7 and 10.
    We differ from Spindler et al. 2020, who hold a mixture to an upper bound of it.
    """
    mean, log_variance = posterior
    if isinstance(prior, Independent):
        return 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(1)
    own = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    return own.log_prob(latent) - prior.log_prob(latent)


@dataclass(frozen=True)
class Bound:
    """The negative evidence lower bound, per pixel: half the squared error in units of the noise, and the divergence.

    noise : of the sky in one pixel, scaled; bad pixels count for nothing
    weight : of the divergence; 1 is the bound
    Source: Kingma & Welling 2013, arXiv:1312.6114, Eq. 7; Smith 2022 (thesis), Eq. 1.20.
    """

    noise: float
    weight: float = 1.0

    def __call__(self, net: Any, batch: ViewBatch, rng: torch.Generator) -> dict[str, Tensor]:
        images, good, seen = (part.flatten(0, 1) for part in batch)
        posterior = net.posterior(images, seen)
        latent = drawn_from(posterior, rng)
        miss = (net.decode(latent) - images) * good / self.noise
        pixels = images[0].numel()
        return {
            "drawn again": 0.5 * miss.square().flatten(1).sum(1).mean() / pixels,
            "divergence": self.weight * divergence(posterior, net.prior(), latent).mean() / pixels,
        }
