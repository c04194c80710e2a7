"""A map of features to a sequence of numbers, one by one: a GRU and a Transformer with the same three verbs.

`begin` reads the map into a memory; `step` takes the last number and the memory to the next; `forced` does a whole
sequence whose numbers are known. Memories hold one galaxy per row, so that `keep` can drop the finished ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


@runtime_checkable
class Decoder(Protocol):
    """What Pix2Prof asks of its decoder."""

    def begin(self, features: Float[Tensor, "b d h w"]) -> Any: ...

    def step(self, last: Float[Tensor, "b"], memory: Any) -> tuple[Float[Tensor, "b"], Any]: ...

    def forced(self, inputs: Float[Tensor, "b t"], memory: Any) -> Float[Tensor, "b t"]: ...

    def keep(self, memory: Any, rows: Int[Tensor, "k"]) -> Any: ...


class Recollection(NamedTuple):
    """Hidden state of every layer; the encoding; how many steps were taken."""

    hidden: Float[Tensor, "l b d"]
    encoding: Float[Tensor, "b d"]
    steps: int


@dataclass(frozen=True)
class RecurrentConfig:
    size: int  # of the encoding and of every hidden state
    layers: int = 3
    dropout: float = 0.2
    reinject_every: int = 0  # steps; 0 never


class Recurrent(nn.Module):
    """A stacked GRU whose layers all start from the encoding (the map's mean); a ReLU and a dense layer read it out.

    `reinject_every` > 0: every so many steps a linear image of the encoding is added to the hidden state of all layers.
    Source: Cho et al. 2014, arXiv:1406.1078 (the GRU); Smith et al. 2021, arXiv:2010.00622 (this use of it);
    Jia et al. 2015, arXiv:1509.04942 (guidance by the encoding at every step).
    We differ: the paper does not say where its dropout acts; here it is between the GRU's layers, where most put it.
    Reinjection is the thesis' proposal after Jia et al. (periodic, into the state), not their gates.
    """

    def __init__(self, config: RecurrentConfig):
        super().__init__()
        self.every = config.reinject_every
        self.layers = config.layers
        between = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(1, config.size, config.layers, batch_first=True, dropout=between)
        self.read_out = nn.Linear(config.size, 1)
        self.reinject = nn.Linear(config.size, config.size) if self.every else None

    def begin(self, features: Float[Tensor, "b d h w"]) -> Recollection:
        encoding = features.mean((2, 3))
        return Recollection(encoding.expand(self.layers, -1, -1).contiguous(), encoding, 0)

    def step(self, last: Float[Tensor, "b"], memory: Recollection) -> tuple[Float[Tensor, "b"], Recollection]:
        output, hidden = self.gru(last[:, None, None], self._reminded(memory))
        return self._read(output)[:, 0], memory._replace(hidden=hidden, steps=memory.steps + 1)

    def forced(self, inputs: Float[Tensor, "b t"], memory: Recollection) -> Float[Tensor, "b t"]:
        pieces = []
        for piece in inputs.split(self.every or inputs.shape[1], 1):
            output, hidden = self.gru(piece[:, :, None], self._reminded(memory))
            memory = memory._replace(hidden=hidden, steps=memory.steps + piece.shape[1])
            pieces.append(output)
        return self._read(torch.cat(pieces, 1))

    def keep(self, memory: Recollection, rows: Int[Tensor, "k"]) -> Recollection:
        return Recollection(memory.hidden[:, rows], memory.encoding[rows], memory.steps)

    def _reminded(self, memory: Recollection) -> Float[Tensor, "l b d"]:
        if self.reinject is None or memory.steps == 0 or memory.steps % self.every:
            return memory.hidden
        return memory.hidden + self.reinject(memory.encoding)

    def _read(self, output: Float[Tensor, "b t d"]) -> Float[Tensor, "b t"]:
        return self.read_out(output.relu())[..., 0]


class KeysValues(NamedTuple):
    """What attention looks up; one galaxy per row."""

    keys: Float[Tensor, "b heads t e"]
    values: Float[Tensor, "b heads t e"]


class Cache(NamedTuple):
    """Keys and values of every layer: of the map's tokens, and of the numbers so far."""

    seen: tuple[KeysValues, ...]
    written: tuple[KeysValues, ...]
    steps: int


@dataclass(frozen=True)
class TransformerConfig:
    features: int  # channels of the map
    size: int = 256
    layers: int = 3
    heads: int = 4
    dropout: float = 0.2


class Transformer(nn.Module):
    """Numbers attend to the numbers before them and to the map's tokens; positions are sinusoids, so both may be long.

    Source: Vaswani et al. 2017, arXiv:1706.03762, §3 (the decoder) and §3.5 (positions).
    We differ: normalised before each part rather than after, so that it trains without a warm-up; tokens of the map
    carry the sinusoids of their row and of their column, half of the channels each.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.size = config.size
        self.see = nn.Linear(config.features, config.size)
        self.write = nn.Linear(1, config.size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.read_out = nn.Sequential(nn.LayerNorm(config.size), nn.Linear(config.size, 1))

    def begin(self, features: Float[Tensor, "b d h w"]) -> Cache:
        rows, columns = (sinusoids(torch.arange(n, device=features.device), self.size // 2) for n in features.shape[2:])
        places = torch.cat(torch.broadcast_tensors(rows[:, None], columns[None]), -1).flatten(0, 1)
        tokens = self.see(features.flatten(2).mT) + places
        nothing = tokens[:, :0]
        layers = cast(list[Layer], self.layers)
        seen = tuple(layer.across.keys_and_values(tokens) for layer in layers)
        return Cache(seen, tuple(layer.back.keys_and_values(nothing) for layer in layers), 0)

    def step(self, last: Float[Tensor, "b"], memory: Cache) -> tuple[Float[Tensor, "b"], Cache]:
        values, memory = self._onward(last[:, None], memory)
        return values[:, 0], memory

    def forced(self, inputs: Float[Tensor, "b t"], memory: Cache) -> Float[Tensor, "b t"]:
        return self._onward(inputs, memory)[0]

    def keep(self, memory: Cache, rows: Int[Tensor, "k"]) -> Cache:
        seen, written = (tuple(KeysValues(k[rows], v[rows]) for k, v in pairs) for pairs in memory[:2])
        return Cache(seen, written, memory.steps)

    def _onward(self, inputs: Float[Tensor, "b t"], memory: Cache) -> tuple[Float[Tensor, "b t"], Cache]:
        """The next t values; the inputs are read all at once, which is right at the start and for one at a time."""
        places = torch.arange(memory.steps, memory.steps + inputs.shape[1], device=inputs.device)
        x = self.write(inputs[..., None]) + sinusoids(places, self.size)
        written = []
        for layer, seen, before in zip(self.layers, memory.seen, memory.written, strict=True):
            x, after = layer(x, seen, before)
            written.append(after)
        return self.read_out(x)[..., 0], Cache(memory.seen, tuple(written), memory.steps + inputs.shape[1])


class Layer(nn.Module):
    """Attention to what was written, attention to what is seen, and two dense layers, each added to its input."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.back, self.across = Attention(config), Attention(config)
        self.norms = nn.ModuleList(nn.LayerNorm(config.size) for _ in range(3))
        self.dense = nn.Sequential(
            nn.Linear(config.size, 4 * config.size), nn.GELU(), nn.Linear(4 * config.size, config.size)
        )
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "b t d"], seen: KeysValues, before: KeysValues
    ) -> tuple[Float[Tensor, "b t d"], KeysValues]:
        normal = self.norms[0](x)
        new = self.back.keys_and_values(normal)
        after = KeysValues(torch.cat([before.keys, new.keys], 2), torch.cat([before.values, new.values], 2))
        x = x + self.drop(self.back(normal, *after, causal=x.shape[1] > 1))
        x = x + self.drop(self.across(self.norms[1](x), *seen))
        return x + self.drop(self.dense(self.norms[2](x))), after


class Attention(nn.Module):
    """Scaled dot-product attention of several heads, to keys and values that are kept by the caller."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.heads = config.heads
        self.ask = nn.Linear(config.size, config.size)
        self.answer = nn.Linear(config.size, 2 * config.size)
        self.out = nn.Linear(config.size, config.size)

    def keys_and_values(self, x: Float[Tensor, "b t d"]) -> KeysValues:
        keys, values = self.answer(x).chunk(2, -1)
        return KeysValues(self._split(keys), self._split(values))

    def forward(self, x: Float[Tensor, "b t d"], keys, values, causal: bool = False) -> Float[Tensor, "b t d"]:
        found = F.scaled_dot_product_attention(self._split(self.ask(x)), keys, values, is_causal=causal)
        return self.out(found.transpose(1, 2).flatten(2))

    def _split(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b heads t e"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def sinusoids(places: Int[Tensor, "t"], size: int) -> Float[Tensor, "t d"]:
    """Sines and cosines of a place, of wavelengths from 2π to 20,000π: Vaswani et al. 2017, §3.5."""
    rates = 10_000 ** (-torch.arange(0, size, 2, device=places.device) / size)
    angle = places[:, None] * rates
    return torch.cat([angle.sin(), angle.cos()], -1)
