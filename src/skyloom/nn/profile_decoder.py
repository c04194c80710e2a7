"""Galaxies on rings to profiles with errors, all radii, bands and galaxies in one pass.

The network reads a polar map (`sky.polar`): a convolutional encoder makes one token per ring; tokens of all rings and
bands exchange what they know; a first head says where the isophotes lie; the light is measured along them, with
weights that the encoder gives to each direction, above a sky that it states; radius queries then attend to the
tokens and correct what was measured, with quantiles. Lengths are in pixels, light in units of the sky's rms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.nn.blocks import AcrossBands, ChannelNorm, Layer, RingBlock, RingConv, waves
from skyloom.sky.ellipse import bound, ring_offsets

POGSON = 1.0857362  # 2.5 / ln 10
LEVELS = (0.05, 0.16, 0.84, 0.95)  # of the quantiles beside the median
SAMPLES = 64  # along an ellipse
SOFT = 0.05  # rms of a pixel: light below bends a magnitude into a line
SOFT_SUM = 2.0  # the same for the light of a whole ellipse
REACH = 4.0  # pixels by which a centre may be off the map's
BRIGHTEST = 14.0  # asinh of light, for sinh to stay a number
FREQUENCIES = 12


@dataclass(frozen=True)
class ProfileDecoderConfig:
    """Sizes, and where a profile's light comes from.

    widths : channels of the encoder, one halving of the angles each
    dim, heads : of the tokens; depth : layers of the encoder's and of the decoder's transformer
    light : measured along the predicted isophotes and corrected, or learned without a measurement
    """

    widths: tuple[int, ...] = (16, 32, 64)
    dim: int = 96
    heads: int = 4
    depth: tuple[int, int] = (3, 2)
    light: Literal["measured", "learned"] = "measured"


class Quantity(NamedTuple):
    """A predicted number: median, width (of a Laplace law), and quantiles at LEVELS."""

    median: Float[Tensor, "*n"]
    width: Float[Tensor, "*n"]
    quantiles: Float[Tensor, "*n 4"]


class Prediction(NamedTuple):
    """Profiles of b galaxies in c bands at q radii.

    sb : −2.5 log10 of the light per pixel; cog : of the light inside; mag : of all light
    e1, e2 : shape, and shape_width of each; x, y : offset of the centre from the map's, and centre_width [pixel]
    stands : logit that the procedure which is imitated gives a value here
    sky : level above the one that was subtracted
    """

    sb: Quantity
    cog: Quantity
    mag: Quantity
    e1: Float[Tensor, "b c q"]
    e2: Float[Tensor, "b c q"]
    shape_width: Float[Tensor, "b c q"]
    x: Float[Tensor, "b c"]
    y: Float[Tensor, "b c"]
    centre_width: Float[Tensor, "b c"]
    stands: Float[Tensor, "b c q"]
    sky: Float[Tensor, "b c"]


class Encoder(nn.Module):
    """A polar map to one token per ring, and to the weight of every direction."""

    def __init__(self, config: ProfileDecoderConfig):
        super().__init__()
        first, *_, last = widths = config.widths
        self.stem = RingConv(5, first, kernel=5, stride=2)
        self.fine = RingBlock(first)
        steps: list[nn.Module] = []
        for into, out in pairwise(widths):
            steps += [RingConv(into, out, stride=2), RingBlock(out)]
        self.coarse = nn.Sequential(*steps, ChannelNorm(last))
        self.back = nn.Conv2d(last, first, 1)
        self.trust = nn.Sequential(ChannelNorm(first), nn.SiLU(), RingConv(first, 1))
        self.token = nn.Linear(5 * last + 3, config.dim)

    def forward(self, maps: Float[Tensor, "n 3 r a"], log_radius: Float[Tensor, "r"]):
        """Tokens (n, r, dim) and logits of trust (n, r, a/2)."""
        light, good, weight = maps.unbind(1)
        mean = ((light * good).sum(-1) / good.sum(-1).clamp_min(1e-3))[..., None]
        contrast = ((light - mean) / (mean.abs() + 1)).clamp(-3, 3) * good
        where = ((log_radius - 2) / 2)[:, None].expand_as(light[0]).expand_as(light)
        planes = torch.stack([torch.asinh(light) / 4, contrast, good, (1 - weight) * good, where], 1)
        fine = self.fine(F.silu(self.stem(planes.contiguous(memory_format=torch.channels_last))))
        coarse = self.coarse(fine)
        spread = self.back(coarse).repeat_interleave(fine.shape[-1] // coarse.shape[-1], -1)
        trust = self.trust(fine + spread)[:, 0]
        ring = torch.cat(
            [torch.asinh(mean) / 4, good.mean(-1, keepdim=True), (weight * good).mean(-1, keepdim=True)], -1
        )
        return self.token(torch.cat([_harmonics(coarse).flatten(2), ring], -1)), trust


def _harmonics(x: Float[Tensor, "n k r a"]) -> Float[Tensor, "n r k 5"]:
    """Mean, and first and second harmonics around each ring."""
    angle = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype) * (2 * torch.pi / x.shape[-1])
    around = [torch.ones_like(angle), *(f(m * angle) for m in (1, 2) for f in (torch.cos, torch.sin))]
    return torch.einsum("nkra,ha->nrkh", x, torch.stack(around) / x.shape[-1])


class Measured(NamedTuple):
    """Along n × q ellipses: mean light, its features for the decoder."""

    light: Float[Tensor, "n q"]
    features: Float[Tensor, "n q 10"]


def measure_along(maps, trust, log_radius, e1, e2, x, y) -> Measured:
    """Light along ellipses drawn on polar maps, each sample weighed by its good share and the encoder's trust."""
    radius = log_radius.exp()
    anomaly = torch.arange(SAMPLES, device=maps.device, dtype=maps.dtype) * (2 * torch.pi / SAMPLES)
    dx, dy = ring_offsets(radius, e1, e2, anomaly)
    dx, dy = dx + x[:, None, None], dy + y[:, None, None]
    step, angles = log_radius[1] - log_radius[0], maps.shape[-1]
    ring = ((dx**2 + dy**2).clamp_min(1e-6).log() / 2 - log_radius[0]) / step
    turn = torch.atan2(dy, dx).remainder(2 * torch.pi) / (2 * torch.pi) * angles
    planes = torch.cat([torch.asinh(maps[:, :1]), maps[:, 1:], trust.repeat_interleave(2, -1)[:, None]], 1)
    planes = torch.cat([planes, planes[..., :1]], -1)
    grid = torch.stack([2 * turn / angles - 1, 2 * ring / (len(radius) - 1) - 1], -1)
    height, good, weight, logit = F.grid_sample(planes, grid, padding_mode="border", align_corners=True).unbind(1)
    good = torch.where(ring > len(radius) - 1, 0.0, good)
    trusted = good * torch.sigmoid(logit + 3)
    total = trusted.sum(-1).clamp_min(1e-3)

    def mean(values: Tensor) -> Tensor:
        return (trusted * values).sum(-1) / total

    light = mean(torch.sinh(height.clamp(-BRIGHTEST, BRIGHTEST)))
    level = mean(height)
    apart = height - level[..., None]
    sides = [mean(apart * f(m * anomaly)) for m in (1, 2) for f in (torch.cos, torch.sin)]
    scatter = mean(apart**2).clamp_min(1e-8).sqrt()
    parts = (level / 4, torch.log(scatter + 1e-2) / 3, *(side / (scatter + 0.05) for side in sides))
    shares = (good.mean(-1), total / SAMPLES, mean(weight), torch.asinh(10 * light) / 6)
    return Measured(light, torch.stack([*parts, *shares], -1))


def dimmed(light: Tensor, soft: float) -> Tensor:
    """−2.5 log10 of light, bent into a line below `soft`.

    Source: Lupton, Gunn & Szalay 1999, AJ 118, 1406, Eq. 3. We differ: nothing.
    """
    return -POGSON * (torch.asinh(light / (2 * soft)) + torch.tensor(soft).log())


class ProfileDecoder(nn.Module):
    """Polar maps of any number of bands and rings to `Prediction`.

    Source: the task, and the wish for no recurrence and for geometry and growth too, are those of Smith et al. 2021,
    arXiv:2010.00622, §4. We differ: in everything else.
    """

    def __init__(self, config: ProfileDecoderConfig):
        super().__init__()
        dim, heads = config.dim, config.heads
        self.config = config
        self.encoder = Encoder(config)
        self.place = nn.Linear(2 * FREQUENCIES, dim)
        self.layers = nn.ModuleList(Layer(dim, heads) for _ in range(config.depth[0]))
        self.mixes = nn.ModuleList(AcrossBands(dim) for _ in range(sum(config.depth)))
        self.shape, self.pool = nn.Linear(dim, 2), nn.Linear(dim, 1)
        self.whole = nn.Linear(dim, 3)  # sky, x, y
        self.enter = nn.Linear(12, dim)
        self.decoder = nn.ModuleList(Layer(dim, heads, cross=True) for _ in range(config.depth[1]))
        self.norm = nn.LayerNorm(dim)
        self.local = nn.Linear(dim, 6 + 6 + 3 + 1)  # sb, cog, shape, stands
        self.total = nn.Linear(dim, 6 + 3)  # mag, centre
        for head in (self.shape, self.whole, self.local, self.total):
            nn.init.zeros_(head.bias)
            nn.init.normal_(head.weight, std=1e-3)

    def forward(self, maps: Float[Tensor, "b c 3 r a"], radius: Float[Tensor, "r"]) -> Prediction:
        """radius : of the rings [pixel], equally spaced in the logarithm; the profile is given at the same radii."""
        bands, log_radius = maps.shape[1], radius.log()
        flat = maps.flatten(0, 1)
        tokens, trust = self.encoder(flat, log_radius)
        place = self.place(waves(log_radius, FREQUENCIES))
        tokens = tokens + place
        for layer, mix in zip(self.layers, self.mixes, strict=False):
            tokens = mix(layer(tokens), bands)
        first, second = (0.95 * torch.tanh(self.shape(tokens))).unbind(-1)
        e1, e2 = bound(first, second)
        sky, x, y = self.whole(self._pooled(tokens)).unbind(-1)
        x, y = REACH * torch.tanh(x), REACH * torch.tanh(y)
        fixed = (part.detach() for part in (e1, e2, x, y))
        light = measure_along(flat, trust, log_radius, *fixed)
        above = light.light - sky[:, None]
        inside = _inside(above, e1.detach(), e2.detach(), radius)
        base = torch.stack([dimmed(above, SOFT), dimmed(inside, SOFT_SUM)], -1)
        if self.config.light == "learned":
            base, light = torch.zeros_like(base), light._replace(features=torch.zeros_like(light.features))
        queries = self.enter(torch.cat([light.features, base / 4], -1)) + tokens + place
        for layer, mix in zip(self.decoder, self.mixes[len(self.layers) :], strict=True):
            queries = mix(layer(queries, tokens), bands)
        return self._said(self.norm(queries), base, (e1, e2, x, y, sky), bands)

    def _pooled(self, tokens: Float[Tensor, "n q d"]) -> Float[Tensor, "n d"]:
        return (torch.softmax(self.pool(tokens), 1) * tokens).sum(1)

    def _said(self, queries, base, first, bands: int) -> Prediction:
        e1, e2, x, y, sky = first
        local, total = self.local(queries), self.total(self._pooled(queries))
        e1, e2 = bound(e1 + 0.3 * local[..., 12], e2 + 0.3 * local[..., 13])
        parts = (
            _quantity(base[..., 0], local[..., :6]), _quantity(base[..., 1], local[..., 6:12]),
            _quantity(base[:, -1, 1], total[:, :6]), e1, e2, _width(local[..., 14], 0.05),
            x + total[:, 6], y + total[:, 7], _width(total[:, 8], 0.2), local[..., 15], sky,
        )  # fmt: skip
        return Prediction(*(_by_band(part, bands) for part in parts))


def _by_band(part, bands: int):
    if isinstance(part, Quantity):
        return Quantity(*(_by_band(tensor, bands) for tensor in part))
    return part.unflatten(0, (-1, bands))


def _inside(light, e1, e2, radius) -> Float[Tensor, "n q"]:
    """Light inside each ellipse: the profile integrated over the areas of its own isophotes."""
    area = torch.pi * (1 - torch.hypot(e1, e2)) * radius**2
    shells = (light[:, 1:] + light[:, :-1]) / 2 * area.diff(dim=1)
    return torch.cat([light[:, :1] * area[:, :1], shells], 1).cumsum(1)


def _width(raw: Tensor, typical: float) -> Tensor:
    return typical * torch.exp(raw.clamp(-5, 5))


def _quantity(base: Float[Tensor, "*n"], raw: Float[Tensor, "*n 6"]) -> Quantity:
    """A correction, a width, and quantiles in steps of positive multiples of the width from the median outwards."""
    median, width = base + raw[..., 0], _width(raw[..., 1], 0.1)
    steps = 2 * width.detach()[..., None] * F.softplus(raw[..., 2:])
    low, high = steps[..., 0], steps[..., 2]
    out = [-(low + steps[..., 1]), -low, high, high + steps[..., 3]]
    return Quantity(median, width, median.detach()[..., None] + torch.stack(out, -1))
