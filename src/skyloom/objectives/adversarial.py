"""Losses of two networks that contend: one makes images, the other tells them from real ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Verdicts = Float[Tensor, "b"]  # the higher, the more real


def average_loss(ours: Verdicts, theirs: Verdicts) -> Tensor:
    """What the relativistic average discriminator loses; the generator loses the same with the two changed over.

    ours : verdicts on the images that should look the more real; theirs : on the others
    Source: Jolicoeur-Martineau 2018, arXiv:1807.00734, Eqs. 10, 11 (3.2 of the thesis of Smith 2022).
    """
    return F.softplus(theirs.mean() - ours).mean() + F.softplus(theirs - ours.mean()).mean()


def pair_loss(ours: Verdicts, theirs: Verdicts) -> Tensor:
    """As `average_loss`, but each image is compared with one other, so that every mode has its own contest.

    Source: Huang et al. 2024, arXiv:2501.05441, Eq. 2.
    """
    return F.softplus(theirs - ours).mean()


def steepness(critic: Callable[[Tensor], Verdicts], images: Float[Tensor, "b c h w"]) -> Tensor:
    """Mean squared length of the verdict's gradient in the pixels: of real images (R1) or of made ones (R2).

    Source: Mescheder, Geiger & Nowozin 2018, arXiv:1801.04406, Eq. 9.
    """
    images = images.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()
