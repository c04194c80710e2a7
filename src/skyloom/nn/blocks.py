"""Parts that networks share: norms, attention, layers of a transformer, convolutions on rings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each position, so that what lies elsewhere in the map changes nothing here.

    Source: Ba et al. 2016, arXiv:1607.06450. We differ: nothing; applied to maps.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Float[Tensor, "n k r a"]) -> Float[Tensor, "n k r a"]:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class RingConv(nn.Module):
    """A convolution over rings × angles: round in angle, with zeros beyond the first and the last ring."""

    def __init__(self, into: int, out: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.around = kernel // 2
        self.conv = nn.Conv2d(into, out, (3, kernel), (1, stride), padding=(1, 0))

    def forward(self, x: Float[Tensor, "n k r a"]) -> Float[Tensor, "n l r b"]:
        return self.conv(F.pad(x, (self.around, self.around, 0, 0), mode="circular"))


class RingBlock(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first, self.second = RingConv(channels, channels), RingConv(channels, channels)

    def forward(self, x: Float[Tensor, "n k r a"]) -> Float[Tensor, "n k r a"]:
        return x + self.second(F.silu(self.first(self.norm(x))))


class Attention(nn.Module):
    """Multi-head attention of queries to a context (or to themselves).

    Source: Vaswani et al. 2017, arXiv:1706.03762. We differ: nothing.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "n q d"], context: Float[Tensor, "n t d"]) -> Float[Tensor, "n q d"]:
        def split(y: Tensor) -> Tensor:
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        key, value = self.key_value(context).chunk(2, -1)
        mixed = F.scaled_dot_product_attention(split(self.query(x)), split(key), split(value))
        return self.out(mixed.transpose(1, 2).flatten(-2))


class Layer(nn.Module):
    """A transformer's layer, norms first; with a context it also attends to that.

    Source: Vaswani et al. 2017, arXiv:1706.03762. We differ: norms come first.
    """

    def __init__(self, dim: int, heads: int, cross: bool = False):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3 if cross else 2))
        self.self_attention = Attention(dim, heads)
        self.cross_attention = Attention(dim, heads) if cross else None
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(
        self, x: Float[Tensor, "n q d"], context: Float[Tensor, "n t d"] | None = None
    ) -> Float[Tensor, "n q d"]:
        first = self.norms[0](x)
        x = x + self.self_attention(first, first)
        if self.cross_attention is not None:
            x = x + self.cross_attention(self.norms[2](x), context)
        return x + self.mlp(self.norms[1](x))


class AcrossBands(nn.Module):
    """Tell every band's tokens what the bands have in common; works for any number of bands, in any order.

    Source: Zaheer et al. 2017, arXiv:1703.06114 (Deep Sets), Eq. 4. We differ: added to the tokens.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.mix = nn.Linear(dim, dim)
        nn.init.zeros_(self.mix.weight)

    def forward(self, x: Float[Tensor, "n t d"], bands: int) -> Float[Tensor, "n t d"]:
        apart = x.unflatten(0, (-1, bands))
        return (apart + self.mix(apart.mean(1, keepdim=True))).flatten(0, 1)


def waves(log_radius: Float[Tensor, "r"], count: int) -> Float[Tensor, "r d"]:
    """Sines and cosines of a logarithm of radius at `count` frequencies, as a position for attention."""
    rates = 0.5 * 1.6 ** torch.arange(count, device=log_radius.device, dtype=log_radius.dtype)
    phase = log_radius[:, None] * rates
    return torch.cat([torch.sin(phase), torch.cos(phase)], -1)
