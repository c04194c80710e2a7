"""The denoiser of `galaxy_edm`: a noisy galaxy and its noise level in, the mean of the galaxies it may be out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.nn.preserving import Conv, Waves, blend, side_by_side, silu, unit_vectors
from skyloom.nn.sketch import SHAPES, sketch
from skyloom.nn.starlets import noise_in, starlets

RESIDUAL = 0.3  # share of a block's new light in the sum
ATTENDED = 0.3  # and of its attention's
LARGEST = 256.0  # of any activation
SCALES = 3  # of the starlets that are weighed: details of 1, 2 and 4 pixels
NOISY = 3.0  # rms of a detail's noise, beyond which it is no noise


@dataclass(frozen=True)
class DenoiserConfig:
    """channels : bands of the images; patch : pixels along each axis that are seen as one, their values as channels

    widths : channels of each scale, each half as fine as the one before; attention at the coarsest
    conditions : numbers that may be said about a galaxy; 0 for none
    spread : rms of the scaled images
    reach : pixels to which a filter of each band reaches beside the network; 0 for none
    """

    channels: int = 3
    patch: int = 2
    widths: tuple[int, ...] = (64, 128, 160)
    blocks: int = 1
    heads: int = 4
    conditions: int = 0
    spread: float = 1.0
    reach: int = 3

    @property
    def embedding(self) -> int:
        """Numbers in which the network hears of the noise, and of the galaxy."""
        return 4 * self.widths[0]

    @property
    def multiple(self) -> int:
        """Images must be a multiple of so many pixels along each axis."""
        return self.patch * 2 ** (len(self.widths) - 1)


class Denoiser(nn.Module):
    """(x, sigma) to the clean image, fully convolutional but for the attention at its coarsest scale.

    Source: preconditioning Karras et al. 2022, arXiv:2206.00364, Table 1; layers Karras et al. 2024, arXiv:2312.02696.
    We differ: patches of pixels come in as channels, so that a CPU can train it; attention only at the coarsest scale;
    beside the network each band passes through a linear filter, made for the noise level, which is what the ideal
    denoiser of a sky is whose pixels are correlated (Wiener 1949); and the network says, pixel by pixel, how much of
    each band's details of 1, 2 and 4 pixels is noise (wavelet shrinkage, as astronomers do it: Starck & Murtagh 1994).
    By convolutions alone it learns late that the light of a galaxy is smoother than the sky (docs/LOG.md).
    What is said about a galaxy passes through a small network and is added to what is said about the noise. The same
    words draw a sketch of the galaxy in the middle (`nn.sketch`), which the network is shown and which is added to its
    answer: in noise in which nothing can be seen, that is the whole answer, and scales of channels alone learn it too
    slowly (docs/LOG.md). All of this begins with gains of nought: before training, and where weights that knew of no
    conditions are loaded, nothing is heard.
    """

    detail: Tensor

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        widths, depth = config.widths, config.channels * config.patch**2
        embedding = config.embedding
        self.noise = nn.Sequential(Waves(widths[0]), Conv(widths[0], embedding))
        self.label = Told(config.conditions, embedding) if config.conditions else None
        if config.conditions:
            self.drawing = nn.Parameter(torch.zeros(embedding, config.channels * SHAPES))
            self.shown, self.showing = Conv(depth, widths[0], 3), nn.Parameter(torch.zeros(()))
        self.enter = Conv(depth + 1, widths[0], 3)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept, width = [], widths[0]
        for scale, out in enumerate(widths):
            for k in range(config.blocks):
                move = "down" if scale and not k else ""
                self.down.append(Block(width, out, embedding, move=move, heads=self._heads(scale)))
                width = out
                kept.append(out)
        self.middle = Block(width, width, embedding, heads=config.heads)
        for scale, out in reversed([*enumerate(widths)]):
            for k in range(config.blocks):
                move = "up" if scale < len(widths) - 1 and not k else ""
                heads = self._heads(scale)
                self.up.append(Block(width, out, embedding, move=move, heads=heads, joined=kept.pop()))
                width = out
        self.leave = Conv(width, depth, 3)
        self.gain = nn.Parameter(torch.zeros(()))
        weights = config.channels * (2 * config.reach + 1) ** 2
        self.filters = nn.Parameter(torch.zeros(embedding, weights)) if config.reach else None
        self.shares = Conv(width, 2 * SCALES * config.channels, 1)
        self.weighed = nn.Parameter(torch.zeros(2 * SCALES * config.channels))
        self.register_buffer("detail", torch.tensor(noise_in(SCALES)), persistent=False)
        self.doubt = nn.Sequential(Waves(32), Conv(32, 1))

    def _heads(self, scale: int) -> int:
        return self.config.heads if scale == len(self.config.widths) - 1 else 0

    def forward(
        self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, "*b"], labels: Float[Tensor, "b l"] | None = None,
        heard: Float[Tensor, "b e"] | None = None,
    ) -> Float[Tensor, "b c h w"]:  # fmt: skip
        """sigma : one for all, or one each; labels : standardised, NaN where nothing is said

        heard : added to what the network hears, as conditions are (`infer.concept`)
        """
        spread = self.config.spread
        level = sigma.to(x.dtype).expand(len(x)).view(-1, 1, 1, 1)
        total = (level**2 + spread**2).sqrt()
        inner = self._inner(x / total, level / total, (level.flatten() / spread).log() / 4, labels, heard)
        return x * (spread / total) ** 2 + inner * (level * spread / total)

    def log_variance(self, sigma: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
        """ln of the expected loss at a noise level. Karras et al. 2024, Eq. 21"""
        return self.doubt((sigma / self.config.spread).log() / 4)[:, 0]

    def _inner(self, x: Tensor, level: Tensor, noise: Tensor, labels: Tensor | None, heard: Tensor | None) -> Tensor:
        """level : of the noise in x"""
        about, drawn = self._heard(x, self.noise(noise), labels, heard)
        filtered, details = self._filtered(x, about), self._details(x, level)
        x = F.pixel_unshuffle(x, self.config.patch)
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1).contiguous(memory_format=torch.channels_last)
        x = self.enter(x)
        if drawn is not None:
            x = x + self.shown(F.pixel_unshuffle(torch.asinh(drawn), self.config.patch), self.showing)
        kept = []
        for block in self.down:
            x = block(x, about)
            kept.append(x)
        x = self.middle(x, about)
        for block in self.up:
            x = block(x, about, kept.pop())
        shares = F.interpolate(self.shares(x), scale_factor=self.config.patch, mode="bilinear")
        shares = (shares * self.weighed[:, None, None]).unflatten(1, (2, SCALES, -1))
        noise = (shares * details).sum((1, 2))
        seen = F.pixel_shuffle(self.leave(x, self.gain), self.config.patch) + filtered + noise
        return seen if drawn is None else seen + drawn

    def _heard(
        self, x: Tensor, noise: Float[Tensor, "b e"], labels: Tensor | None, heard: Tensor | None
    ) -> tuple[Float[Tensor, "b e"], Tensor | None]:
        """What every block is told, and the sketch; None where the network knows no conditions."""
        if self.label is None:
            return silu(noise if heard is None else noise + heard), None
        said = self.label(x.new_full((len(x), self.config.conditions), torch.nan) if labels is None else labels.to(x))
        spoken = blend(noise, said, 0.5)
        about = noise + self.label.heard * said
        if heard is not None:
            spoken, about = spoken + heard, about + heard
        weights = silu(spoken) @ self.drawing / self.config.embedding**0.5
        return silu(about), sketch(weights, self.config.channels, *x.shape[-2:])

    def _details(self, x: Float[Tensor, "b c h w"], level: Float[Tensor, "b 1 1 1"]) -> Float[Tensor, "b 2 s c h w"]:
        """Starlets of each band, and of the mean of all, in units of their noise, and cut where they cannot be that."""
        bands = x.shape[1]
        mean = x.mean(1, keepdim=True) * bands**0.5
        found = starlets(torch.cat([x, mean], 1) / level, SCALES) / self.detail.view(-1, 1, 1, 1, 1)
        found = (found * torch.rsqrt(1 + (found / NOISY).square())).transpose(0, 1)
        return torch.stack([found[:, :, :bands], found[:, :, bands:].expand(-1, -1, bands, -1, -1)], 1)

    def _filtered(self, x: Float[Tensor, "b c h w"], about: Float[Tensor, "b e"]) -> Tensor | float:
        """Each band through a linear filter of its own."""
        if self.filters is None:
            return 0.0
        side = 2 * self.config.reach + 1
        kernels = (about @ self.filters / about.shape[1]).view(-1, 1, side, side)
        planes = x.reshape(1, -1, *x.shape[-2:])
        return F.conv2d(planes, kernels, padding=self.config.reach, groups=len(kernels)).view(x.shape)


class Told(nn.Module):
    """What is said about a galaxy, in the numbers in which its noise is spoken of; nothing said is not the mean said.

    labels : standardised, NaN where nothing is said; `heard` : how much of it the blocks listen to
    """

    def __init__(self, conditions: int, embedding: int):
        super().__init__()
        self.hear, self.think = Conv(2 * conditions + 1, embedding), Conv(embedding, embedding)
        self.heard = nn.Parameter(torch.zeros(embedding))

    def forward(self, labels: Float[Tensor, "b l"]) -> Float[Tensor, "b e"]:
        known = labels.isfinite()
        numbers = torch.where(known, labels, 0.0)
        said = torch.cat([numbers, known.to(labels), torch.ones_like(labels[:, :1])], 1)
        return self.think(silu(self.hear(said)))


class Block(nn.Module):
    """Two convolutions beside a short cut, the noise level between them; then, where it has heads, attention.

    move : "down" or "up" by a factor of two first; joined : channels of what the way down kept, on the way up
    """

    def __init__(self, into: int, out: int, embedding: int, *, move: str = "", heads: int = 0, joined: int = 0):
        super().__init__()
        self.move, self.heads, self.joined = move, heads, joined
        into = into + joined
        self.skip = Conv(into, out, 1) if into != out else None
        self.first, self.second = Conv(into if joined else out, out, 3), Conv(out, out, 3)
        self.about, self.say = Conv(embedding, out), nn.Parameter(torch.zeros(()))
        self.query = Conv(out, 3 * out, 1) if heads else None
        self.mixed = Conv(out, out, 1) if heads else None

    def forward(
        self, x: Float[Tensor, "b c h w"], about: Float[Tensor, "b e"], kept: Float[Tensor, "b k hh ww"] | None = None
    ) -> Float[Tensor, "b d hh ww"]:
        x = _moved(x, self.move)
        if kept is not None:
            x = side_by_side(x, kept)
        elif self.skip is not None:
            x = unit_vectors(self.skip(x), (1,))
        else:
            x = unit_vectors(x, (1,))
        said = 1 + self.about(about, self.say)[:, :, None, None]
        new = self.second(silu(self.first(silu(x)) * said))
        if kept is not None and self.skip is not None:
            x = self.skip(x)
        x = blend(x, new, RESIDUAL)
        if self.query is not None:
            x = blend(x, self._attended(x), ATTENDED)
        return x.clamp(-LARGEST, LARGEST)

    def _attended(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """Every pixel told of every other: cosine attention."""
        assert self.query is not None and self.mixed is not None
        parts = self.query(x).unflatten(1, (3, self.heads, -1)).flatten(-2)
        query, key, value = unit_vectors(parts, (3,)).transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.mixed(mixed.transpose(-1, -2).reshape(x.shape))


def _moved(x: Float[Tensor, "b c h w"], move: str) -> Float[Tensor, "b c hh ww"]:
    if move == "down":
        return F.avg_pool2d(x, 2)
    return F.interpolate(x, scale_factor=2, mode="nearest") if move == "up" else x
