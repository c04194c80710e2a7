"""A transformer that reads objects of the sky token by token, of whatever kinds there are, and says what comes next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from skyloom.nn.laws import Law
from skyloom.nn.low_rank import linear
from skyloom.sky.tokens import TokenBatch, TokenKind, Tokens

LONGEST = 4096.0  # steps in the longest wave by which places are told
VALUES = 8  # octaves of the waves by which single numbers are told, beside themselves
Cache = list[tuple[Tensor, Tensor]]  # keys and values of each layer so far
Waves = dict[str, Tensor]  # of the places of each kind's tokens


@dataclass(frozen=True)
class SkyGPTConfig:
    """depth : layers, the one dial of size; head : width of an attention head, of which there are as many as layers

    kinds : of tokens, which the surveys decide; waves : octaves by which a coordinate is told
    context : tokens of an object at most
    look : layers after which vectors are taken, 0 for two thirds of them
    low_rank : of the change to every matrix that fine-tuning learns (`nn.low_rank`); 0 to learn all of it
    recompute : activations instead of keeping them, for networks that do not fit
    """

    depth: int = 4
    head: int = 32
    kinds: tuple[TokenKind, ...] = ()
    waves: int = 12
    context: int = 1024
    look: int = 0
    low_rank: int = 0
    recompute: bool = False

    @property
    def width(self) -> int:
        return self.depth * self.head

    @property
    def looked_at(self) -> int:
        return self.look or math.ceil(2 * self.depth / 3)

    def flop(self, tokens: Mapping[str, int]) -> int:
        """Floating point operations of one object's forward pass, two for each product, by its tokens of each kind."""
        total, d = sum(tokens.values()), self.width
        layers = self.depth * total * (24 * d * d + 4 * total * d)
        ends = sum(
            2 * d * n * (_told(kind) + 2 * _placed(kind, self.waves) + Law.outputs(kind.width, kind.components))
            for kind in self.kinds
            if (n := tokens.get(kind.name, 0))
        )
        return layers + ends

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> SkyGPTConfig:
        """The config that `dataclasses.asdict` wrote down."""
        return cls(**{**facts, "kinds": tuple(TokenKind(**kind) for kind in facts["kinds"])})


def _placed(kind: TokenKind, waves: int) -> int:
    return 1 + 2 * waves * kind.axes + kind.channels


def _told(kind: TokenKind) -> int:
    return 2 * kind.width + (2 * VALUES if kind.width == 1 else 0)


class Ends(nn.Module):
    """How tokens of one kind enter the network, and what is said of them at its end."""

    def __init__(self, kind: TokenKind, config: SkyGPTConfig):
        super().__init__()
        self.kind, d = kind, config.width
        self.content = nn.Linear(_told(kind), d, bias=False)
        self.place = nn.Linear(_placed(kind, config.waves), d, bias=False)
        self.aim = nn.Linear(_placed(kind, config.waves), d, bias=False)
        self.hidden = nn.Parameter(torch.zeros(d))
        self.says = nn.Linear(d, Law.outputs(kind.width, kind.components))
        nn.init.zeros_(self.says.weight)
        nn.init.zeros_(self.says.bias)
        if kind.components:
            with torch.no_grad():
                self.says.bias.view(kind.width, 3, kind.components)[:, 1] = torch.linspace(-1.5, 1.5, kind.components)

    def told(self, tokens: Tokens) -> Float[Tensor, "b t d"]:
        known = tokens.known.to(tokens.values.dtype)
        parts = [tokens.values, known]
        if self.kind.width == 1:
            rates = math.pi / 4 * 2.0 ** torch.arange(VALUES, device=known.device, dtype=known.dtype)
            phase = tokens.values * rates
            parts += [phase.sin() * known, phase.cos() * known]
        return self.content(torch.cat(parts, -1))

    def waves(self, places: Float[Tensor, "b t a"], count: int) -> Float[Tensor, "b t f"]:
        rates = math.pi * torch.logspace(0, -math.log10(LONGEST / 2), count, device=places.device, dtype=places.dtype)
        phase = (places[..., : self.kind.axes, None] * rates).flatten(-2)
        return torch.cat(
            [torch.ones_like(places[..., :1]) if places.shape[-1] else places.new_ones(*places.shape[:2], 1),
             phase.sin(), phase.cos(), places[..., self.kind.axes :]], -1,
        )  # fmt: skip


class Block(nn.Module):
    """Attention and a gated layer, norms first and no biases; queries and keys are normed.

    Source: Vaswani et al. 2017, arXiv:1706.03762; Zhang & Sennrich 2019, arXiv:1910.07467 (RMSNorm); Shazeer 2020,
    arXiv:2002.05202 (gates); Henry et al. 2020, arXiv:2010.04245 (norms of queries and keys).
    """

    def __init__(self, config: SkyGPTConfig):
        super().__init__()
        d, rank = config.width, config.low_rank
        self.heads = config.depth
        self.before, self.between = nn.RMSNorm(d), nn.RMSNorm(d)
        self.query_norm, self.key_norm = nn.RMSNorm(config.head), nn.RMSNorm(config.head)
        self.mixed, self.out = linear(d, 3 * d, rank), linear(d, d, rank)
        wide = round(8 * d / 3)
        self.gate, self.back = linear(d, 2 * wide, rank), linear(wide, d, rank)
        for last in (self.out, self.back):
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * config.depth))

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        causal: bool,
        mask: Bool[Tensor, "b 1 t s"] | None = None,
        cache: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Float[Tensor, "b t d"], tuple[Tensor, Tensor]]:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.mixed(self.before(x)).chunk(3, -1)
        )
        query, key = self.query_norm(query), self.key_norm(key)
        if cache is not None:
            key, value = torch.cat([cache[0], key], 2), torch.cat([cache[1], value], 2)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal and mask is None)
        x = x + self.out(seen.transpose(1, 2).flatten(-2))
        gate, light = self.gate(self.between(x)).chunk(2, -1)
        return x + self.back(F.silu(gate) * light), (key, value)


class SkyGPT(nn.Module):
    """Tokens of any kinds to what is said of each, having read those before it, or all those that are not hidden.

    Every token is told what it holds, where it lies, and where the one lies that is to be said. So the kinds and the
    points of time may come in any order, and irregular ones are asked for at their own time.
    Source: Radford et al. 2019, Language models are unsupervised multitask learners (the decoder); Smith et al. 2024,
    arXiv:2405.14930 (AstroPT: patches of galaxies in a spiral); Pannatier et al. 2024, arXiv:2404.09562 (places of the
    next token, any order). We differ: light is told by its own tokens and patches keep the survey's scale, where
    AstroPT norms each patch and loses its flux; numbers, profiles and light curves beside images; the same network also
    learns to fill in what is hidden; places are told by waves, as times and radii are no grid, in place of RoPE.
    """

    def __init__(self, config: SkyGPTConfig):
        super().__init__()
        self.config = config
        self.begin = nn.Parameter(torch.zeros(config.width))
        self.ends = nn.ModuleList(Ends(kind, config) for kind in config.kinds)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.width)

    def ends_of(self, name: str) -> Ends:
        ends = self.ends[[kind.name for kind in self.config.kinds].index(name)]
        assert isinstance(ends, Ends)
        return ends

    def next(self, batch: TokenBatch) -> dict[str, Law]:
        """What is said of every token by those before it, in the order of the batch."""
        x, present = self._inputs(batch)
        mask = None
        if not bool(present.all()):
            length = x.shape[1]
            mask = present[:, None, None] & torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        return self._said(batch, self.norm(self._through(x, True, mask, self.config.depth)))

    def filled(self, batch: TokenBatch, hidden: Mapping[str, Bool[Tensor, "b t"]]) -> dict[str, Law]:
        """What is said of every token by all that are not hidden."""
        x, mask = self._around(batch, hidden)
        return self._said(batch, self.norm(self._through(x, False, mask, self.config.depth)))

    def vectors(self, batch: TokenBatch) -> Float[Tensor, "b kd"]:
        """The mean over an object's tokens of each kind, side by side, all of which see each other, after `looked_at`
        layers."""
        x, mask = self._around(batch, {})
        seen = self._through(x, False, mask, self.config.looked_at)
        means = []
        parts = seen.split([tokens.values.shape[1] for tokens in batch.values()], 1)
        for part, tokens in zip(parts, batch.values(), strict=True):
            present = tokens.present[..., None].to(part.dtype)
            means.append(self.norm((part * present).sum(1) / present.sum(1).clamp(min=1)))
        return torch.cat(means, 1)

    def _inputs(self, batch: TokenBatch) -> tuple[Float[Tensor, "b t d"], Bool[Tensor, "b t"]]:
        """Begin and all tokens but the last, each with the place of the one after it."""
        waves = self._waves(batch)
        contents, aims = self._contents(batch, {}, waves), self._aims(waves)
        first = self.begin.expand(len(aims), 1, -1)
        present = torch.cat([tokens.present for tokens in batch.values()], 1)
        there = torch.cat([torch.ones_like(present[:, :1]), present[:, :-1]], 1)
        return torch.cat([first, contents[:, :-1]], 1) + aims, there

    def _around(self, batch: TokenBatch, hidden: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """All tokens, each with its own place to be said, and which of them may be looked at: those there are."""
        waves = self._waves(batch)
        x = self._contents(batch, hidden, waves) + self._aims(waves)
        present = torch.cat([tokens.present for tokens in batch.values()], 1)
        return x, None if bool(present.all()) else present[:, None, None]

    def _waves(self, batch: TokenBatch) -> Waves:
        """Where the tokens of each kind lie, as waves."""
        count = self.config.waves
        return {name: self.ends_of(name).waves(tokens.places, count) for name, tokens in batch.items()}

    def _contents(self, batch: TokenBatch, hidden: Mapping[str, Tensor], waves: Waves) -> Float[Tensor, "b t d"]:
        parts = []
        for name, tokens in batch.items():
            ends = self.ends_of(name)
            told = ends.told(tokens)
            if name in hidden:
                told = torch.where(hidden[name][..., None], ends.hidden, told)
            parts.append(told + ends.place(waves[name]))
        return torch.cat(parts, 1)

    def _aims(self, waves: Waves) -> Float[Tensor, "b t d"]:
        return torch.cat([self.ends_of(name).aim(part) for name, part in waves.items()], 1)

    def _through(self, x: Tensor, causal: bool, mask: Tensor | None, layers: int) -> Float[Tensor, "b t d"]:
        for layer in self.layers[:layers]:
            if self.config.recompute and torch.is_grad_enabled():
                x = checkpoint(lambda y, layer=layer: layer(y, causal, mask)[0], x, use_reentrant=False)
            else:
                x = layer(x, causal, mask)[0]
        return x

    def _said(self, batch: TokenBatch, x: Float[Tensor, "b t d"]) -> dict[str, Law]:
        parts = x.split([tokens.values.shape[1] for tokens in batch.values()], 1)
        return {name: self._law(name, part) for name, part in zip(batch, parts, strict=True)}

    def _law(self, name: str, x: Tensor) -> Law:
        ends = self.ends_of(name)
        return Law.of(ends.says(x), ends.kind.width, ends.kind.components)

    @torch.no_grad()
    def continued(
        self, batch: TokenBatch, given: Mapping[str, int], rng: torch.Generator | None = None
    ) -> tuple[TokenBatch, dict[str, Law]]:
        """The batch with what is not given said token by token, each having read those that were said before it.

        given : of every kind, how many tokens at its beginning are as they are; of kinds that are not named, all.
            Kinds that are given whole must come first in the batch.
        rng : to draw each token from its law; None to take what is expected
        Returns the batch so filled, and the laws. Keys and values of what was read are kept, so that a token costs
        one pass of one token.
        """
        names = [name for name, tokens in batch.items() for _ in range(tokens.values.shape[1])]
        at = [k for tokens in batch.values() for k in range(tokens.values.shape[1])]
        filled = {
            name: Tokens(tokens.values.clone(), tokens.known.clone(), tokens.places) for name, tokens in batch.items()
        }
        laws: dict[str, list[Law]] = {name: [] for name in batch}
        waves, cache = self._waves(batch), Cache()
        aims = self._aims(waves)
        present = torch.cat([tokens.present for tokens in batch.values()], 1)
        there = torch.cat([torch.ones_like(present[:, :1]), present], 1)
        prefix = self._given(batch, given)
        x = torch.cat([self.begin.expand(len(aims), 1, -1), self._contents(batch, {}, waves)[:, :prefix]], 1)
        x = x[:, : prefix + 1] + aims[:, : prefix + 1] if prefix < len(names) else x[:, :-1] + aims
        x = self._read(x, cache, there)
        for k, name in enumerate(names[:prefix]):
            laws[name].append(self._law(name, x[:, k : k + 1]))
        for k in range(prefix, len(names)):
            name, place = names[k], at[k]
            law = self._law(name, x[:, -1:])
            laws[name].append(law)
            said = (law.expected if rng is None else law.drawn(rng))[:, 0]
            tokens = filled[name]
            asked = tokens.known[:, place].any(1, keepdim=True)
            tokens.values[:, place] = torch.where(tokens.known[:, place], said, 0.0) if asked.any() else 0.0
            if k + 1 < len(names):
                here = slice(place, place + 1)
                content = self._contents({name: tokens.at(here)}, {}, {name: waves[name][:, here]})
                x = self._read(content + aims[:, k + 1 : k + 2], cache, there)
        return filled, {name: _joined(parts) for name, parts in laws.items() if parts}

    def _given(self, batch: TokenBatch, given: Mapping[str, int]) -> int:
        """Tokens at the beginning of the sequence that are given."""
        prefix = 0
        for name, tokens in batch.items():
            length = tokens.values.shape[1]
            some = min(given.get(name, length), length)
            prefix += some
            if some < length:
                break
        return prefix

    def _read(self, x: Tensor, cache: Cache, there: Bool[Tensor, "b s"]) -> Float[Tensor, "b t d"]:
        """Some more tokens, after those in the cache, which takes them in."""
        past = cache[0][0].shape[2] if cache else 0
        total = past + x.shape[1]
        causal = torch.ones(x.shape[1], total, dtype=torch.bool, device=x.device).tril(past)
        mask = there[:, None, None, :total] & causal
        for number, layer in enumerate(self.layers):
            x, kept = layer(x, True, mask, cache[number] if len(cache) > number else None)
            cache[number : number + 1] = [kept]
        return self.norm(x)


def _joined(parts: Sequence[Law]) -> Law:
    return Law(*(torch.cat([getattr(part, name) for part in parts], 1) for name in ("log_share", "mean", "sigma")))
