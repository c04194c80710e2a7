"""Objects as tokens of several kinds: light, patches of images, numbers of a catalogue, points of profiles and light
curves. What an object lacks is no token.

Batch k depends on the objects, the arguments and k alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from skyloom.data.images import ImageSet, shuffled
from skyloom.sky.grid import SYMMETRIES, turn
from skyloom.sky.patches import Order, patch_places, to_patches
from skyloom.sky.tokens import IMAGE, LIGHT, TokenBatch, TokenKind, Tokens

ROUND = 32  # batches, about, after which the sources have each had their share


@dataclass(frozen=True)
class Tokeniser:
    """How images become tokens: light in circles, then patches.

    scaled : from sky-subtracted flux to numbers; noise : rms of the sky in one pixel, per band [flux]
    radii : of the circles [pixel]; patch : side of a patch [pixel]; crop : side of what is looked at [pixel]
    """

    scaled: Callable[[Tensor], Tensor]
    noise: tuple[float, ...]
    radii: tuple[float, ...]
    patch: int
    crop: int
    order: Order = "spiral"

    @property
    def side(self) -> int:
        """Patches along each axis."""
        return self.crop // self.patch

    def kinds(self, mark: str = "", weight: float = 1.0) -> tuple[TokenKind, TokenKind]:
        bands = len(self.noise)
        return (
            TokenKind(LIGHT + mark, bands, axes=1, weight=weight),
            TokenKind(IMAGE + mark, bands * self.patch**2, axes=2, weight=weight),
        )

    def tokens(self, flux: Float[Tensor, "b c h w"], good: Float[Tensor, "b c h w"]) -> tuple[Tokens, Tokens]:
        """Light and patches of images of `crop` pixels a side, sky subtracted, 0 at bad pixels."""
        return self.light(flux, good), self.patches(flux, good)

    def light(self, flux: Float[Tensor, "b c h w"], good: Float[Tensor, "b c h w"]) -> Tokens:
        """asinh of the light in circles about the middle, in units of its noise, so that photometry is told as such.

        A circle counts as known in a band in which four fifths of it are good; what is missing is made up for by the
        mean of what is there.
        """
        inside = self._circles(flux)
        share = torch.einsum("bchw,rhw->brc", good, inside) / inside.sum((1, 2))[:, None]
        total = torch.einsum("bchw,rhw->brc", flux * good, inside) / share.clamp(min=1e-6)
        noise = torch.tensor(self.noise, device=flux.device) * inside.sum((1, 2)).sqrt()[:, None]
        known = share > 0.8
        values = torch.where(known, torch.asinh(total / noise), 0.0)
        places = torch.arange(len(self.radii), device=flux.device, dtype=flux.dtype)[None, :, None]
        return Tokens(values, known, places.expand(len(flux), -1, -1))

    def patches(self, flux: Float[Tensor, "b c h w"], good: Float[Tensor, "b c h w"]) -> Tokens:
        known = to_patches(good, self.patch, self.order) > 0
        values = torch.where(known, to_patches(self.scaled(flux), self.patch, self.order), 0.0)
        at = torch.as_tensor(patch_places(self.side, self.side, self.order) - (self.side - 1) / 2)
        return Tokens(values, known, at.to(flux)[None].expand(len(flux), -1, -1))

    def _circles(self, flux: Tensor) -> Float[Tensor, "r h w"]:
        middle = (self.crop - 1) / 2
        axis = torch.arange(self.crop, device=flux.device, dtype=flux.dtype) - middle
        distance = (axis[:, None].square() + axis.square()).sqrt()
        return torch.stack([(distance <= radius).to(flux) for radius in self.radii])


@dataclass(frozen=True)
class Numbers:
    """A column of a catalogue, standardised: NaN where it is not known."""

    values: Float[np.ndarray, "n"]

    def tokens(self, rows: np.ndarray, rng: np.random.Generator | None) -> Tokens:
        some = torch.from_numpy(self.values[rows].astype(np.float32))[:, None, None]
        known = torch.isfinite(some)
        return Tokens(torch.where(known, some, 0.0), known, some.new_zeros(len(rows), 1, 0))


@dataclass(frozen=True)
class Series:
    """Points of profiles or light curves: standardised values at places in typical steps, each list in order.

    channels : names of what a point may be in; in_channel : of each point
    most : points of an object that are shown at once: a random choice in training, evenly spaced ones otherwise
    """

    values: Sequence[Float[np.ndarray, "t"]]
    places: Sequence[Float[np.ndarray, "t"]]
    in_channel: Sequence[Int[np.ndarray, "t"]]
    channels: int
    most: int

    def tokens(self, rows: np.ndarray, rng: np.random.Generator | None) -> Tokens:
        chosen = [self._chosen(len(self.values[row]), rng) for row in rows]
        longest = max(1, max(map(len, chosen)))
        shape = (len(rows), longest)
        values, known = np.zeros(shape, np.float32), np.zeros(shape, bool)
        places = np.zeros((*shape, 1 + self.channels), np.float32)
        for k, (row, some) in enumerate(zip(rows, chosen, strict=True)):
            here = np.s_[k, : len(some)]
            values[here], known[here] = self.values[row][some], True
            places[k, : len(some), 0] = self.places[row][some]
            if self.channels:
                places[k, np.arange(len(some)), 1 + self.in_channel[row][some]] = 1
        return Tokens(torch.from_numpy(values)[..., None], torch.from_numpy(known)[..., None], torch.from_numpy(places))

    def _chosen(self, n: int, rng: np.random.Generator | None) -> np.ndarray:
        if n <= self.most:
            return np.arange(n)
        if rng is None:
            return np.linspace(0, n - 1, self.most).round().astype(int)
        return np.sort(rng.choice(n, self.most, replace=False))


@dataclass(frozen=True)
class TokenSource:
    """Objects of one survey: their images if they have any, and columns by the name of the kind.

    names : of the kinds of light and patches
    """

    ids: tuple[str, ...]
    images: ImageSet | None
    tokeniser: Tokeniser | None
    names: tuple[str, str]
    columns: Mapping[str, Numbers | Series]

    def __len__(self) -> int:
        return len(self.ids)

    def batch(
        self, rows: np.ndarray, turns: np.ndarray | None = None, rng: np.random.Generator | None = None
    ) -> TokenBatch:
        """The tokens of some objects. turns : a symmetry of each image; rng : chooses the points of series"""
        found: TokenBatch = {}
        if self.images is not None and self.tokeniser is not None:
            flux = self.images.flux[rows]
            good = torch.stack([self.images.good(int(row)) for row in rows])
            if turns is not None:
                flux, good = (_turned(part, turns) for part in (flux, good))
            found = dict(zip(self.names, self.tokeniser.tokens(flux, good), strict=True))
        return found | {name: column.tokens(rows, rng) for name, column in self.columns.items()}


def _turned(planes: Float[Tensor, "b c h w"], turns: np.ndarray) -> Float[Tensor, "b c h w"]:
    return torch.stack([
        torch.from_numpy(np.ascontiguousarray(turn(plane.numpy(), int(k))))
        for plane, k in zip(planes, turns, strict=True)
    ])  # fmt: skip


def token_batches(sources: Sequence[TokenSource], batch: int, *, seed: int, start: int = 0) -> Iterator[TokenBatch]:
    """For ever: `batch` objects of one source, each image under one of the 8 symmetries.

    Every object of a source comes once per epoch of that source. Sources come in turns, the larger the more often, by
    the square root of how many objects they have.
    """
    turns = _turns([len(source) for source in sources], seed)
    before = [np.cumsum(turns == number) for number in range(len(sources))]
    for step in count(start):
        rounds, at = divmod(step, len(turns))
        number = int(turns[at])
        source, rng = sources[number], np.random.default_rng([seed, 6, step])
        batches = rounds * int(before[number][-1]) + int(before[number][at]) - 1
        some = range(batches * batch, (batches + 1) * batch)
        rows = np.array([shuffled(seed + number, k // len(source), len(source))[k % len(source)] for k in some])
        yield source.batch(rows, rng.integers(0, len(SYMMETRIES), batch), rng)


def _turns(lengths: Sequence[int], seed: int) -> Int[np.ndarray, "t"]:
    """Which source comes when, over and over: each at least once, in a random order."""
    share = np.sqrt(lengths) / np.sqrt(lengths).sum()
    counts = np.maximum(1, np.round(share * ROUND)).astype(int) if len(lengths) > 1 else np.ones(1, int)
    return np.random.default_rng([seed, 7]).permutation(np.repeat(np.arange(len(lengths)), counts))
