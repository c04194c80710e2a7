"""Flux to the numbers that a generator of galaxies works in, and back: one scale per band for a whole survey.

Unlike `sky.stretch`, which measures every image by its own noise, these keep how bright a galaxy is and how deep the
survey: one flux has one scaled value, whatever image it lies in.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor


class Scaling(Protocol):
    """`scaled`: sky-subtracted flux in the generator's unit to its numbers; `flux`: back."""

    def scaled(self, flux: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]: ...

    def flux(self, scaled: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]: ...


@dataclass(frozen=True)
class Asinh:
    """asinh of flux in units of a softening: invertible, and nothing is clipped.

    softening : (c,) [flux], below which it is linear and above which it is logarithmic
    Source: Lupton, Gunn & Szalay 1999, AJ 118, 1406 (arXiv:astro-ph/9903081), Eq. 3.
    """

    softening: tuple[float, ...]

    def scaled(self, flux: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        return torch.asinh(flux / self._per_plane(flux))

    def flux(self, scaled: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        return torch.sinh(scaled) * self._per_plane(scaled)

    def _per_plane(self, like: Tensor) -> Tensor:
        return torch.tensor(self.softening, dtype=like.dtype, device=like.device)[:, None, None]


@dataclass(frozen=True)
class MinMax:
    """[0, high] to [−1, 1]; with `clip`, what lies outside is brought to the ends and is lost.

    Source: Smith et al. 2022, MNRAS 511, 1808 (arXiv:2111.01713), Eq. 7 (4.7 of the author's thesis).
    We differ: one `high` per band where they differ; without `clip` nothing is lost.
    """

    high: tuple[float, ...]
    clip: bool = True

    def scaled(self, flux: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        part = flux / self._per_plane(flux)
        return 2 * (part.clamp(0, 1) if self.clip else part) - 1

    def flux(self, scaled: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        return (scaled + 1) / 2 * self._per_plane(scaled)

    def _per_plane(self, like: Tensor) -> Tensor:
        return torch.tensor(self.high, dtype=like.dtype, device=like.device)[:, None, None]


@dataclass(frozen=True)
class UnitRange:
    """[low, high] to [0, 1]; what lies outside is brought to the ends and is lost.

    Source: Smith & Geach 2019, MNRAS 490, 4985 (arXiv:1904.10286), §2.2, for the upper end; the paper has no lower one.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def scaled(self, flux: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        low, high = self._ends(flux)
        return ((flux - low) / (high - low)).clamp(0, 1)

    def flux(self, scaled: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b c h w"]:
        low, high = self._ends(scaled)
        return low + scaled * (high - low)

    def _ends(self, like: Tensor) -> tuple[Tensor, Tensor]:
        low, high = (
            torch.tensor(end, dtype=like.dtype, device=like.device)[:, None, None] for end in (self.low, self.high)
        )
        return low, high


KINDS: dict[str, type[Asinh] | type[MinMax] | type[UnitRange]] = {
    "asinh": Asinh, "min_max": MinMax, "unit_range": UnitRange,
}  # fmt: skip


def facts_of(scaling: Asinh | MinMax | UnitRange) -> dict[str, Any]:
    """A scaling as plain facts; `scaling_of` reads them."""
    name = next(name for name, kind in KINDS.items() if isinstance(scaling, kind))
    return {"kind": name, **asdict(scaling)}


def scaling_of(facts: dict[str, Any]) -> Any:
    """The scaling that `facts_of` wrote down."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
    return KINDS[values.pop("kind")](**values)
