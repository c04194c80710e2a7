"""Ellipses that change with radius: shapes, points on them, and the semi-major axis through every pixel.

A shape is the pair (e1, e2) = ε (cos 2φ, sin 2φ), with ε = 1 − b/a and φ the position angle of the major axis
from +x towards +y. The pair is smooth through ε = 0, where φ is not defined.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MOST_ELONGATED = 0.95  # ellipticity at which a fit is held: b/a = 0.05


def shape_of(ellipticity: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """(e1, e2) of an ellipticity and a position angle [rad, +x towards +y]."""
    return ellipticity * torch.cos(2 * angle), ellipticity * torch.sin(2 * angle)


def ellipticity_and_angle(e1: Tensor, e2: Tensor) -> tuple[Tensor, Tensor]:
    """Ellipticity and position angle [rad, in −π/2 … π/2] of a shape; the angle of a circle is 0."""
    return torch.hypot(e1, e2), torch.atan2(e2, e1) / 2


def bound(e1: Tensor, e2: Tensor, most: float = MOST_ELONGATED) -> tuple[Tensor, Tensor]:
    """The same shape, drawn back to ellipticity `most` where it is flatter than that."""
    ellipticity = torch.hypot(e1, e2)
    factor = (most / ellipticity.clamp_min(most)).clamp_max(1)
    return e1 * factor, e2 * factor


def ring_offsets(
    sma: Float[Tensor, "r"], e1: Float[Tensor, "b r"], e2: Float[Tensor, "b r"], anomaly: Float[Tensor, "t"]
) -> tuple[Float[Tensor, "b r t"], Float[Tensor, "b r t"]]:
    """(dx, dy) [pixel] from the centre to points at eccentric anomaly `anomaly` [rad] on each ellipse."""
    ellipticity, angle = ellipticity_and_angle(e1, e2)
    along = (sma * torch.ones_like(e1))[..., None] * torch.cos(anomaly)
    across = (sma * (1 - ellipticity))[..., None] * torch.sin(anomaly)
    cos, sin = torch.cos(angle)[..., None], torch.sin(angle)[..., None]
    return along * cos - across * sin, along * sin + across * cos


def quadratic_form(e1: Tensor, e2: Tensor) -> Float[Tensor, "3 b r"]:
    """(α, β₁, β₂) such that a² = α (x² + y²) + β₁ (x² − y²) + β₂ 2xy on the ellipse of semi-major axis a."""
    ellipticity = torch.hypot(e1, e2)
    inverse_square = (1 - ellipticity) ** -2
    # (1 − 1/q²) / 2ε, written so that it is finite for a circle
    slope = -(2 - ellipticity) * inverse_square / 2
    return torch.stack([(1 + inverse_square) / 2, slope * e1, slope * e2])


def stretch_table(
    log_radius: Float[Tensor, "n"],
    angle: Float[Tensor, "m"],
    log_sma: Float[Tensor, "r"],
    e1: Float[Tensor, "b r"],
    e2: Float[Tensor, "b r"],
    rounds: int = 6,
) -> Float[Tensor, "b n m"]:
    """ln(a/ρ): the semi-major axis a of the isophote through a point over the point's distance ρ to the centre.

    log_radius, angle : polar coordinates of the points, ln ρ [ρ in pixels] and the angle from +x towards +y [rad]
    log_sma : equally spaced natural logarithms of the radii at which the shapes are given; constant beyond its ends
    Solved by fixed-point iteration from the outermost shape: each round reads the shape at the last radius.
    """
    b, r = e1.shape
    forms = quadratic_form(e1, e2)
    turn = torch.stack([torch.ones_like(angle), torch.cos(2 * angle), torch.sin(2 * angle)])
    step = log_sma[1] - log_sma[0]
    which = torch.arange(b, device=e1.device)[:, None, None] * r
    squares = torch.einsum("kbr,km->brm", forms, turn).clamp_min(1e-6).log().div(2)  # ln(a/ρ) were the shape constant
    flat = squares.reshape(b * r, -1)
    column = torch.arange(len(angle), device=e1.device)
    stretch = squares[:, -1:, :].expand(b, len(log_radius), len(angle))
    for _ in range(rounds):
        place = ((log_radius[:, None] + stretch - log_sma[0]) / step).clamp(0, r - 1)
        cell = place.floor().clamp(max=r - 2)
        low, high = (flat[which + cell.long() + k, column] for k in (0, 1))
        stretch = torch.lerp(low, high, place - cell)
    return stretch
