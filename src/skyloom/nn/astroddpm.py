"""The network of AstroDDPM: a U-Net that is shown a noisy galaxy and the step, and says which noise was added."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class AstroDDPMConfig:
    """channels : bands of the images; widths : channels of the three levels, each half as fine as the one before

    blocks : residual blocks of a level, before its attention; the published network has two
    """

    channels: int = 3
    widths: tuple[int, ...] = (64, 128, 256)
    blocks: int = 2
    heads: int = 4

    @property
    def multiple(self) -> int:
        """Images must be a multiple of so many pixels along each axis."""
        return 2 ** len(self.widths)


class AstroDDPM(nn.Module):
    """(x, step) to the noise in x.

    Source: Smith et al. 2022, arXiv:2111.01713, §2.3: three levels down and up, each of two residual blocks,
    self-attention and a strided (transposed) convolution; attention between two residual blocks at the bottom; the
    step's embedding is added in every block; Mish throughout.
    We differ: widths, which the paper does not state; attention is the linear one of Shen et al. 2018,
    arXiv:1812.01243, as full attention over 256 × 256 pixels does not fit into any memory; group norms.
    """

    def __init__(self, config: AstroDDPMConfig):
        super().__init__()
        self.config = config
        first, embedding = config.widths[0], 4 * config.widths[0]
        self.step = nn.Sequential(nn.Linear(first, embedding), nn.Mish(), nn.Linear(embedding, embedding))
        self.enter = nn.Conv2d(config.channels, first, 3, padding=1)
        self.down, self.up, width = nn.ModuleList(), nn.ModuleList(), first
        self.leaves, self.enters = nn.ModuleList(), nn.ModuleList()
        for out in config.widths:
            self.down.append(Level(width, out, embedding, config))
            self.leaves.append(nn.Conv2d(out, out, 4, 2, 1))
            width = out
        width *= 2
        self.before, self.after = Residual(width // 2, width, embedding), Residual(width, width, embedding)
        self.middle = LinearAttention(width, config.heads)
        for out in reversed(config.widths):
            self.enters.append(nn.ConvTranspose2d(width, width, 4, 2, 1))
            self.up.append(Level(width + out, out, embedding, config))
            width = out
        self.last, self.leave = Residual(width, width, embedding), nn.Conv2d(width, config.channels, 1)
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)  # twice as fast on a CPU

    def forward(self, x: Float[Tensor, "b c h w"], step: Int[Tensor, "b"]) -> Float[Tensor, "b c h w"]:
        """step : 0 for the least noise, T − 1 for the most"""
        about = self.step(place(step, self.config.widths[0]))
        x = self.enter(x.contiguous(memory_format=torch.channels_last))
        kept = []
        for level, leave in zip(self.down, self.leaves, strict=True):
            kept.append(level(x, about))
            x = leave(kept[-1])
        x = self.after(self.middle(self.before(x, about)), about)
        for enter, level in zip(self.enters, self.up, strict=True):
            x = level(torch.cat([enter(x), kept.pop()], 1), about)
        return self.leave(self.last(x, about))


class Level(nn.Module):
    """Residual blocks and attention at one scale."""

    def __init__(self, into: int, out: int, embedding: int, config: AstroDDPMConfig):
        super().__init__()
        self.blocks = nn.ModuleList(Residual(out if k else into, out, embedding) for k in range(config.blocks))
        self.attention = LinearAttention(out, config.heads)

    def forward(self, x: Float[Tensor, "b c h w"], about: Float[Tensor, "b e"]) -> Float[Tensor, "b d h w"]:
        for block in self.blocks:
            x = block(x, about)
        return self.attention(x)


class Residual(nn.Module):
    """Two convolutions beside a short cut, the step added between them."""

    def __init__(self, into: int, out: int, embedding: int):
        super().__init__()
        self.about = nn.Sequential(nn.Mish(), nn.Linear(embedding, out))
        self.first, self.second = _convolution(into, out), _convolution(out, out)
        self.skip = nn.Conv2d(into, out, 1) if into != out else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"], about: Float[Tensor, "b e"]) -> Float[Tensor, "b d h w"]:
        return self.second(self.first(x) + self.about(about)[:, :, None, None]) + self.skip(x)


def _convolution(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(into, out, 3, padding=1), nn.GroupNorm(min(8, out), out), nn.Mish())


class LinearAttention(nn.Module):
    """Attention whose cost grows with the pixels and not with their square, beside a short cut.

    Source: Shen et al. 2018, arXiv:1812.01243, §3.2. We differ: several heads; a norm of one group first.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads, inner = heads, heads * 32 if dim >= 64 else dim
        self.norm = nn.GroupNorm(1, dim)
        self.parts, self.out = nn.Conv2d(dim, 3 * inner, 1, bias=False), nn.Conv2d(inner, dim, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        query, key, value = self.parts(self.norm(x)).unflatten(1, (3, self.heads, -1)).flatten(-2).unbind(1)
        context = F.softmax(key, -1) @ value.transpose(-1, -2)
        mixed = context.transpose(-1, -2) @ F.softmax(query, -2)
        return x + self.out(mixed.flatten(1, 2).unflatten(-1, x.shape[-2:]))


def place(step: Int[Tensor, "b"], count: int) -> Float[Tensor, "b d"]:
    """Sines and cosines of a step. Source: Vaswani et al. 2017, arXiv:1706.03762, §3.5"""
    half = count // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=step.device) / (half - 1))
    phase = step[:, None] * rates
    return torch.cat([phase.sin(), phase.cos()], -1)
