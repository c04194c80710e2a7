"""Pix2Prof: an image of a galaxy to its surface brightness profile, outwards, step by step, until it goes flat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from skyloom.nn.decoders import Decoder, Recurrent, RecurrentConfig, Transformer, TransformerConfig
from skyloom.nn.resnet import ResNet, ResNetConfig, Stem

_PIECE = 2**16  # places of the encoder's first map that a CPU encodes at a time: more falls out of its caches


@dataclass(frozen=True)
class Pix2ProfConfig:
    channels: int = 1
    stem: Stem = "cifar"
    width: int = 64  # of the encoder; the encoding has 8 times as many numbers
    decoder: Literal["gru", "reinjected", "transformer"] = "gru"
    layers: int = 3
    dropout: float = 0.2
    reinject_every: int = 10  # steps; only for "reinjected"
    most: int = 1000  # steps after which a profile is cut in any case


class Sequences(NamedTuple):
    """Predicted values, NaN after a galaxy has stopped; and how many of them come before the flat run that stopped it.

    A length equals the whole of `values` for a galaxy that never went flat.
    """

    values: Float[Tensor, "b t"]
    length: Int[Tensor, "b"]


class Pix2Prof(nn.Module):
    """Image to profile: a ResNet-18 encodes, a decoder writes one value per 0.2 arcsec step, fed with the last one.

    Values are standardised surface brightnesses, (SB − mean) / scale with the training set's mean and scale; the first
    input is 0, the start token.
    Source: Smith et al. 2021, MNRAS 503, 96, arXiv:2010.00622, “Network architecture”.
    We differ: values are standardised, so that the start token is the mean and not 0 mag/arcsec²; predictions are made
    in evaluation mode; galaxies run in batches, each with its own stop. "reinjected" and "transformer" are the two
    remedies that the paper's discussion names for a forgetful GRU.
    """

    def __init__(self, config: Pix2ProfConfig):
        super().__init__()
        self.config = config
        self.encoder = ResNet(ResNetConfig(config.channels, config.stem, config.width))
        self.decoder: Decoder = _decoder(config, self.encoder.out_channels)

    def forward(
        self, images: Float[Tensor, "b c h w"], targets: Float[Tensor, "b t"], forced: bool
    ) -> Float[Tensor, "b t"]:
        """As many values as there are targets, fed with the targets themselves if `forced`, else with its own values.

        targets : finite everywhere, also where they do not count; only their number matters unless `forced`
        """
        memory = self.decoder.begin(self.encoder.features(images))
        start = images.new_zeros(len(images))
        if forced:
            return self.decoder.forced(torch.cat([start[:, None], targets[:, :-1]], 1), memory)
        values = [start]
        for _ in range(targets.shape[1]):
            value, memory = self.decoder.step(values[-1], memory)
            values.append(value)
        return torch.stack(values[1:], 1)

    @torch.no_grad()
    def predict(
        self, images: Float[Tensor, "b c h w"], *, most: int | None = None, window: int = 100, tolerance: float
    ) -> Sequences:
        """Profiles that stop by themselves: after `window` values in a row whose standard deviation is ≤ `tolerance`.

        most : steps after which a galaxy is cut in any case; the config's unless given
        tolerance : in the net's unit, so 0.01 mag / scale for the published rule; a negative one never stops
        The length leaves out the flat run: the profile up to where it went flat, 0 if it was flat from the start.
        A galaxy that has stopped leaves the batch, which changes no value of the others beyond rounding; nor does
        `resnet.fast(net)`, which predicts faster.
        Source: Smith et al. 2021, “Network architecture”. We differ: the standard deviation is the population's.
        """
        with _evaluating(self):
            memory = self.decoder.begin(self.encoder.features(images))
            return _unroll(
                self.decoder, memory, images.new_zeros(len(images)), most or self.config.most, window, tolerance
            )


def _unroll(decoder: Decoder, memory, start: Float[Tensor, "b"], most: int, window: int, tolerance: float) -> Sequences:
    values = start.new_full((len(start), most), torch.nan)
    length = torch.full((len(start),), most, device=start.device)
    running, last = torch.arange(len(start), device=start.device), start
    for step in range(most):
        last, memory = decoder.step(last, memory)
        values[running, step] = last
        taken = step + 1
        if taken < window:
            continue
        flat = values[running, taken - window : taken].std(1, correction=0) <= tolerance
        if flat.any():
            length[running[flat]] = taken - window
            (rows,) = torch.nonzero(~flat, as_tuple=True)
            running, last, memory = running[rows], last[rows], decoder.keep(memory, rows)
        if not len(running):
            return Sequences(values[:, :taken], length)
    return Sequences(values, length)


def _decoder(config: Pix2ProfConfig, features: int) -> Recurrent | Transformer:
    if config.decoder == "transformer":
        return Transformer(TransformerConfig(features, layers=config.layers, dropout=config.dropout))
    every = config.reinject_every if config.decoder == "reinjected" else 0
    return Recurrent(RecurrentConfig(features, config.layers, config.dropout, every))


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    """The net in evaluation mode, and back in the mode it was in."""
    was = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(was)
