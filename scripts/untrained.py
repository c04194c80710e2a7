"""An encoder that nobody trained: what a search or a map owes to training shows beside it."""

from __future__ import annotations

import torch
from torch import nn

import skyloom as sl
from skyloom.infer.embed import Encoder
from skyloom.infer.query import likeness
from skyloom.nn.random_features import RandomEncoder, RandomEncoderConfig
from skyloom.sky.scaling import Asinh

NAME = "untrained"


class RandomFeatures(nn.Module):
    """Random features of all bands; bands that are missing count as empty."""

    def __init__(self, config: RandomEncoderConfig):
        super().__init__()
        self.net = RandomEncoder(config)

    def forward(self, images: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        return self.net(images)


def untrained(survey: sl.Survey) -> Encoder:
    """Random filters on the survey's bands, in units of its noise."""
    noise, config = likeness(survey).noise, RandomEncoderConfig(bands=len(survey.info.bands))
    net = RandomFeatures(config).eval()
    return Encoder(
        NAME, "0" * 64, "simclr", survey.info, noise, Asinh(noise), 1, config.dimension, False, lambda device: net
    )
