"""A random encoder: images to feature vectors by filters whose weights were drawn once and never trained.

It stands where no trained encoder is at hand. It knows nothing of galaxies; it tells two populations apart by light,
colour and texture at several scales, and the same seed draws the same weights on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SIDE = 4  # of a filter [pixel], in steps of 2
LEVELS = 1.0  # spread of the levels at which responses start to count, in units of their rms on blank sky
FLOOR = 0.1  # added to pooled responses before their logarithm, in the same units


@dataclass(frozen=True)
class RandomEncoderConfig:
    """bands : channels of the images; seed : of the weights

    filters : at each scale, the first that of the pixels, each other half as fine as the one before
    """

    bands: int = 3
    seed: int = 0
    filters: tuple[int, ...] = (16, 24, 28, 28)

    @property
    def dimension(self) -> int:
        """Length of a feature vector: a mean and a spread of every filter's responses."""
        return 2 * sum(self.filters)

    @property
    def multiple(self) -> int:
        """Smallest side of an image [pixel]; images whose sides are multiples of it lose nothing at their edges."""
        return 2 ** len(self.filters)


class RandomEncoder(nn.Module):
    """Stretched images to (b, dimension) RANDOM features: nothing in it is learned, and no number from it is a FID.

    At each of several scales random filters see the image, each in its 8 orientations; responses below a random level
    count as 0. Their mean and standard deviation over image and orientations, as logarithms, are the features: all 8
    symmetries of a square image give the same ones, but for rounding. Without the logarithm a few bright galaxies make
    up all of the variance.
    Images are N(0, 1) on blank sky, as `sky.stretch` makes them; at coarser scales the rms of white noise remains 1
    Source: Saxe et al. 2011, On random weights and unsupervised feature learning, ICML 28 (random filters, rectified
    and pooled); Cohen & Welling 2016, arXiv:1602.07576 (filters in all orientations).
    We differ: one layer at several scales; spreads are pooled beside means, and logarithms are taken.
    """

    def __init__(self, config: RandomEncoderConfig):
        super().__init__()
        self.config = config
        rng = np.random.default_rng(config.seed)  # its stream depends neither on the machine nor on torch
        for scale, count in enumerate(config.filters):
            filters = rng.normal(size=(count, config.bands, SIDE, SIDE))
            filters /= np.sqrt(np.square(filters).sum((1, 2, 3), keepdims=True))
            levels = rng.normal(0, LEVELS, count)
            self.register_buffer(f"filters_{scale}", torch.from_numpy(_in_all_orientations(filters)).float())
            self.register_buffer(f"levels_{scale}", torch.from_numpy(np.repeat(levels, 8)).float())

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        pooled = []
        for scale in range(len(self.config.filters)):
            filters, levels = self.get_buffer(f"filters_{scale}"), self.get_buffer(f"levels_{scale}")
            padded = F.pad(images, [1] * 4, mode="replicate")
            responses = F.conv2d(padded, filters, -levels, stride=2).relu_().unflatten(1, (-1, 8)).flatten(2)
            mean = responses.mean(2)
            square = torch.linalg.vector_norm(responses, dim=2).square() / responses.shape[2]
            pooled += [mean, (square - mean.square()).clamp(min=0).sqrt()]  # ten times as fast as torch.std_mean
            images = 2 * F.avg_pool2d(images, 2)
        return (torch.cat(pooled, 1) + FLOOR).log()


def _in_all_orientations(filters: Float[np.ndarray, "k c s s"]) -> Float[np.ndarray, "k8 c s s"]:
    """Each filter followed by its quarter turns and their mirror images."""
    turned = [np.rot90(one, turns, (2, 3)) for one in (filters, filters[..., ::-1]) for turns in range(4)]
    return np.stack(turned, 1).reshape(-1, *filters.shape[1:])
