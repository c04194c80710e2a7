"""A run that says what galaxies look like, opened: images in, fractions of answers or chances of classes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.checkpoint import Run
from skyloom.data.poses import fixed_views
from skyloom.errors import RequestError
from skyloom.infer.placed import placed
from skyloom.nn.equivariant import EquivariantConfig
from skyloom.nn.galaxy_zoo import GalaxyZooConfig, GalaxyZooNet
from skyloom.nn.morphology import MorphologyConfig, members_of
from skyloom.sky.scaling import scaling_of

FACTS = "looks"  # the file of a run that says what its network takes and means
LEVELS = (0.68, 0.90)
TOGETHER = 64  # images in one call of a network
UNCERTAIN = 0.02  # least spread of a fraction


class Look(NamedTuple):
    """What was seen. mean : fractions, consistent along the tree, or chances of classes; spread : their 1σ

    Of votes the spread is that of the Dirichlet law and of the views and members; of classes of the latter two only.
    """

    mean: Float[np.ndarray, "n a"]
    spread: Float[np.ndarray, "n a"]


@dataclass(frozen=True)
class Eye:
    """A network and how to show it images; `facts` are a run's."""

    facts: Mapping[str, Any]
    on: Callable[[str], nn.Module]

    @property
    def kind(self) -> Literal["counts", "fractions", "classes"]:
        return self.facts["kind"]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.facts["classes"])

    @torch.inference_mode()
    def look(self, flux: Float[Tensor, "n c h w"], device: str = "cpu") -> Look:
        """Averages over test-time views and members, as they are, before any calibration."""
        net, scaling = self.on(device), scaling_of(dict(self.facts["scaling"]))
        found = []
        for some in flux.split(TOGETHER):
            views = fixed_views(
                some.to(device), self.facts["side"], self.facts["angles"], self.facts["mirrors"], self.facts["reach"]
            )
            said = [self._said(net, scaling.scaled(view)) for view in views]
            means = torch.cat([mean for mean, _ in said])
            inner = torch.cat([variance for _, variance in said]).mean(0)
            spread = (inner + means.var(0, correction=0)).sqrt()
            found.append((means.mean(0).double().cpu().numpy(), spread.double().cpu().numpy()))
        return Look(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def _said(self, net: Any, view: Float[Tensor, "b c s s"]) -> tuple[Tensor, Tensor]:
        """Fractions and their variances of every member: (members, b, a)."""
        if self.facts["recipe"] == "galaxy_zoo":
            found = net.said(view)
            return found, torch.zeros_like(found)
        sizes, parents = self.facts["net"]["sizes"], self.facts["net"]["parents"]
        answers = [member(view) for member in net]
        means = torch.stack([one.fractions(sizes, parents) for one in answers])
        if self.kind == "classes":
            return means, torch.zeros_like(means)
        return means, torch.stack([one.variances(sizes, parents) for one in answers])


def eye_of(run: Run) -> Eye:
    """The weights of a run, ready to look; RequestError if it learnt something else."""
    facts = run.facts(FACTS)
    if facts is None:
        raise RequestError(f"{run.name} was trained by the recipe {run.record['recipe']}, which classifies nothing")
    return Eye(facts, placed(run.load(net_of(facts))))


def net_of(facts: Mapping[str, Any]) -> nn.Module:
    """The network that the facts describe, without its weights."""
    if facts["recipe"] == "galaxy_zoo":
        return GalaxyZooNet(GalaxyZooConfig(**_tuples(facts["net"])))
    return members_of(config_of(facts))


def config_of(facts: Mapping[str, Any]) -> MorphologyConfig:
    """The shape of the networks of a run of `morphology`."""
    settings = _tuples(facts["net"])
    return MorphologyConfig(encoder=EquivariantConfig(**_tuples(settings.pop("encoder"))), **settings)


def _tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they were before JSON made lists of their tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def calibrated(mean: Float[np.ndarray, "n k"], temperature: float) -> Float[np.ndarray, "n k"]:
    """Chances of classes made less sure (temperature > 1) or more, their order unchanged.

    Source: Guo et al. 2017, arXiv:1706.04599, Eq. 9. We differ: of the logarithm of averaged chances, not of logits.
    """
    logits = np.log(np.clip(mean, 1e-12, 1)) / temperature
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def half_widths(look: Look, factors: Sequence[float]) -> Float[np.ndarray, "n a"]:
    """Of the intervals of fractions. factors : one for every answer"""
    return np.maximum(look.spread, UNCERTAIN) * np.asarray(factors)
