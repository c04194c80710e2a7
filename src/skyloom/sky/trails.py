"""Trails of satellites and aeroplanes, drawn: straight strips of light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

FWHM = 2.3548  # of a Gaussian, in its σ
WING = 0.005  # share of the ridge's light down to which a trail is masked


@dataclass(frozen=True)
class Trail:
    """A straight strip with a Gaussian cross-section.

    angle : of its direction, from +x towards +y [rad]; offset : distance from the image's centre, to the left of that
        direction [pixel]
    width : full width at half maximum [pixel]; brightness : of the ridge [flux/pixel]
    period : along the strip, of its brightness [pixel]; depth : 0 steady, 1 dark once a period; phase [rad]
    """

    angle: float
    offset: float
    width: float
    brightness: float
    period: float = np.inf
    depth: float = 0.0
    phase: float = 0.0


def random_trail(
    rng: np.random.Generator,
    shape: tuple[int, int],
    width: tuple[float, float] = (1.5, 6.0),
    brightness: tuple[float, float] = (3.0, 100.0),
) -> Trail:
    """A trail of any direction that passes the centre within a third of the image's shorter side.

    width, brightness : between which each is drawn, log-uniformly; half of all trails are periodic
    Source: Smith 2022 (thesis), §4.4.2: random direction, brightness, width and periodicity.
    We differ: the thesis gives no ranges; these are ours.
    """
    periodic = rng.random() < 0.5
    return Trail(
        angle=rng.uniform(0, np.pi),
        offset=min(shape) / 3 * rng.uniform(-1, 1),
        width=float(np.exp(rng.uniform(*np.log(width)))),
        brightness=float(np.exp(rng.uniform(*np.log(brightness)))),
        period=rng.uniform(4, 32) if periodic else np.inf,
        depth=rng.uniform(0.2, 1) if periodic else 0.0,
        phase=rng.uniform(0, 2 * np.pi),
    )


def draw_trail(shape: tuple[int, int], trail: Trail) -> tuple[Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The trail's light, in the unit of its brightness, and the pixels that it spoils: dark parts of a period too."""
    along, across = along_and_across(shape, trail.angle, trail.offset)
    strip = np.exp(-0.5 * (across * FWHM / trail.width) ** 2)
    beat = 1 - trail.depth * (0.5 + 0.5 * np.cos(2 * np.pi * along / trail.period + trail.phase))
    return trail.brightness * strip * beat, strip > WING


def along_and_across(shape, angle: float, offset: float) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Coordinates of every pixel along a line and to the left of it [pixel], from the point nearest to the centre."""
    y, x = np.indices(shape, dtype=float)
    x, y = x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle) - offset
