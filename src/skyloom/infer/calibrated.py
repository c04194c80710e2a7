"""From what a network says to what may be stated: which radii are shown, and intervals widened until they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from skyloom.nn.profile_decoder import LEVELS, Prediction, Quantity

SB_EDGES = (-7.0, -5.0, -3.0, -1.0, 1.0)  # [mag] relative to one rms of a pixel: bins of predicted surface brightness
FACTORS = ("sb68", "sb90", "cog68", "cog90", "shape68")
FAINTEST = 2.5  # [mag] below one rms of a pixel: a tenth of it. Training goes a magnitude further
WORST = 1.0857  # half-width of the 68 % interval [mag] at which the light is its own error: a profile ends there


def shown(said: Prediction) -> Bool[Tensor, "b c q"]:
    """The radii up to where the light sinks below its error or below FAINTEST, or the procedure that was learnt gives
    no value.
    """
    low, high = (said.sb.quantiles[..., LEVELS.index(level)] for level in (0.16, 0.84))
    stands = ((high - low) / 2 < WORST) & (said.stands > 0) & (said.sb.median < FAINTEST)
    return stands.to(torch.int64).cumprod(-1).bool()


def bins_of(sb: np.ndarray) -> np.ndarray:
    """The bin of a predicted surface brightness, in the network's units."""
    return np.digitize(sb, SB_EDGES)


def widen(said: Prediction, calibration: Mapping[str, Any] | None) -> Prediction:
    """The prediction with every interval multiplied by the factor of its bin; as it is without a calibration."""
    if calibration is None:
        return said
    number = torch.bucketize(
        said.sb.median, torch.tensor(calibration["edges"], device=said.sb.median.device), right=True
    )
    factor = {
        name: torch.tensor(values, device=number.device)[number] for name, values in calibration["factors"].items()
    }
    return said._replace(
        sb=_widened(said.sb, factor["sb68"], factor["sb90"]),
        cog=_widened(said.cog, factor["cog68"], factor["cog90"]),
        shape_width=said.shape_width * factor["shape68"],
    )


def _widened(said: Quantity, inner: Tensor, outer: Tensor) -> Quantity:
    """Quantiles moved away from the median by their factors, and kept in order."""
    apart = said.quantiles - said.median[..., None]
    five, sixteen, eighty_four, ninety_five = (
        apart[..., LEVELS.index(level)] * (outer if level in (0.05, 0.95) else inner) for level in LEVELS
    )
    apart = torch.stack(
        [torch.minimum(five, sixteen), sixteen, eighty_four, torch.maximum(eighty_four, ninety_five)], -1
    )
    return said._replace(quantiles=said.median[..., None] + apart)
