"""A variational autoencoder of galaxies: a few numbers with their spread from an image, and an image from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from skyloom.nn.equivariant import ORIENTATIONS, EquivariantConfig, EquivariantEncoder

APART = 1.0  # spread of the centres of a mixture at the start, in units of the spread of each


@dataclass(frozen=True)
class VariationalConfig:
    """channels : bands; side : of the images [pixel]; widths, first : of the encoder (`nn.equivariant`)

    dimension : of the latent vector; components : of the prior, 1 for N(0, 1), more for a mixture of Gaussians that is
    learnt beside the networks; deep : channels of the decoder, coarsest first
    """

    channels: int = 9
    side: int = 32
    widths: tuple[int, ...] = (8, 8, 12, 32)
    first: int = 4
    dimension: int = 32
    components: int = 10
    deep: tuple[int, ...] = (64, 48, 32)

    @property
    def encoder(self) -> EquivariantConfig:
        return EquivariantConfig(self.channels, self.widths, self.first)

    @property
    def multiple(self) -> int:
        """Images must be a multiple of so many pixels along each axis."""
        return max(self.encoder.multiple, 2 ** len(self.deep))


class Posterior(NamedTuple):
    """q(z|x), a Gaussian without correlations."""

    mean: Float[Tensor, "b d"]
    log_variance: Float[Tensor, "b d"]


class Variational(nn.Module):
    """(images, seen) to the mean of the latent vector; `posterior`, `decode` and `prior` are what it is trained by.

    Unlike a contrastive encoder's, its vectors turn with the galaxy: it must draw it as it lies.
    Source: Kingma & Welling 2013, arXiv:1312.6114; the mixture Spindler, Geach & Smith 2020, MNRAS 502, 985
    (arXiv:2009.08470); Smith 2022 (thesis), §1.9.1.
    We differ: a mixture's centres are drawn at random at the start, and no autoencoder is trained before it.
    """

    def __init__(self, config: VariationalConfig):
        super().__init__()
        self.config = config
        self.encoder = EquivariantEncoder(config.encoder)
        coarsest = config.side // config.encoder.multiple
        places = config.widths[-1] * ORIENTATIONS * coarsest**2
        self.squeezed = nn.Linear(places + config.channels, 2 * config.dimension)
        coarse = config.side // 2 ** len(config.deep)
        self.opened = nn.Linear(config.dimension, config.deep[0] * coarse**2)
        steps: list[nn.Module] = []
        for into, out in zip(config.deep[:-1], config.deep[1:], strict=True):
            steps += [nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(into, out, 3, padding=1)]
        self.drawn = nn.Sequential(
            *steps, nn.SiLU(), nn.Conv2d(config.deep[-1], 4 * config.channels, 3, padding=1), nn.PixelShuffle(2)
        )
        if config.components > 1:
            self.shares = nn.Parameter(torch.zeros(config.components))
            self.centres = nn.Parameter(APART * torch.randn(config.components, config.dimension))
            self.log_widths = nn.Parameter(torch.zeros(config.components, config.dimension))

    def forward(self, images: Float[Tensor, "b c h w"], seen: Float[Tensor, "b c"]) -> Float[Tensor, "b d"]:
        """images : scaled, 0 where nothing was seen; seen : share of good pixels of each band"""
        return self.posterior(images, seen).mean

    def posterior(self, images: Float[Tensor, "b c h w"], seen: Float[Tensor, "b c"]) -> Posterior:
        images = images.contiguous(memory_format=torch.channels_last)
        found = self.squeezed(torch.cat([self.encoder.maps(images).flatten(1), seen], 1))
        mean, log_variance = found.chunk(2, 1)
        return Posterior(mean, log_variance.clamp(-10, 5))

    def decode(self, latent: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        """The mean of the images, scaled, that a latent vector may be of."""
        coarse = self.config.side // 2 ** len(self.config.deep)
        return self.drawn(self.opened(latent).unflatten(1, (-1, coarse, coarse)))

    def prior(self) -> Independent | MixtureSameFamily:
        """p(z)."""
        if self.config.components == 1:
            zero = self.opened.weight.new_zeros(self.config.dimension)
            return Independent(Normal(zero, zero + 1), 1)
        each = Independent(Normal(self.centres, self.log_widths.exp()), 1)
        return MixtureSameFamily(Categorical(logits=self.shares), each)

    def clusters(self, latent: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Probability that a latent vector belongs to each Gaussian of the prior."""
        prior = self.prior()
        if not isinstance(prior, MixtureSameFamily):
            return torch.ones_like(latent[:, :1])
        each = prior.component_distribution.log_prob(latent[:, None]) + prior.mixture_distribution.logits
        return F.softmax(each, 1)
