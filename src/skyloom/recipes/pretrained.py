"""Networks that another run has trained, for `morphology` to begin from: their encoders, and heads that fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from skyloom.checkpoint import Run, open_run
from skyloom.data.cutout import SurveyInfo
from skyloom.errors import RecipeError
from skyloom.infer.embed import encoder_of
from skyloom.infer.looks import config_of, eye_of
from skyloom.nn.equivariant import EquivariantConfig
from skyloom.nn.morphology import MorphologyConfig
from skyloom.sky.scaling import Asinh, scaling_of


class Pretrained(NamedTuple):
    """What a run has learnt.

    encoder, shared : shape of its encoder; members : weights of each of its networks by name, heads included where it
        has any; info : of the images that it learnt from; scaling : from their flux to its numbers
    answers : what its heads answer; None without heads
    """

    name: str
    encoder: EquivariantConfig
    shared: bool
    members: list[dict[str, Tensor]]
    info: SurveyInfo
    scaling: Asinh
    answers: tuple[Any, ...] | None

    def require(self, info: SurveyInfo, bands: Sequence[str]) -> None:
        """RecipeError for images whose bands or zero points are not those that it learnt from, in this order."""
        ours = [(band.name, band.zero_point) for band in self.info.bands]
        theirs = [(name, info.bands[info.index(name)].zero_point) for name in bands or info.band_names]
        if ours != theirs:
            raise RecipeError(
                f"start={self.name} learnt from {_spelled(ours)}, and these images are {_spelled(theirs)} (bands, zero "
                "points); begin from a run on the same bands, or from none"
            )

    def config(self, config: MorphologyConfig) -> MorphologyConfig:
        """The same network with the encoder of this run."""
        return replace(config, encoder=self.encoder, shared=self.shared)

    def fill(self, members: nn.ModuleList, config: MorphologyConfig, classes: Sequence[str]) -> None:
        """Give networks its weights, to each the next of those there are; heads only if they answer the same."""
        heads = self.answers == _answers(config, classes)
        for number, member in enumerate(members):
            weights = self.members[number % len(self.members)]
            wanted = {name: weights[name] for name in weights if heads or name.startswith("encoder.")}
            member.load_state_dict({**member.state_dict(), **wanted})


def pretrained(name: str) -> Pretrained:
    """A run of `simclr` or `morphology`, opened; RecipeError for one of another recipe."""
    run = open_run(name)
    recipe = run.record["recipe"]
    if recipe not in ("simclr", "morphology"):
        raise RecipeError(
            f"start={name} was trained by the recipe {recipe}; morphology begins from runs of simclr or morphology"
        )
    return _of_vectors(run) if recipe == "simclr" else _of_looks(run)


def _of_vectors(run: Run) -> Pretrained:
    encoder = encoder_of(run.path)
    net: Any = encoder.on("cpu")
    weights = {f"encoder.{name}": tensor for name, tensor in net.encoder.state_dict().items()}
    return Pretrained(run.name, net.config.encoder, True, [weights], encoder.info, encoder.scaling, None)


def _of_looks(run: Run) -> Pretrained:
    eye = eye_of(run)
    net: Any = eye.on("cpu")
    config, info = config_of(eye.facts), SurveyInfo.from_json(eye.facts["info"])
    weights = [member.state_dict() for member in net]
    scaling = scaling_of(dict(eye.facts["scaling"]))
    answers = _answers(config, eye.classes)
    return Pretrained(run.name, config.encoder, config.shared, weights, info, scaling, answers)


def _answers(config: MorphologyConfig, classes: Sequence[str]) -> tuple[Any, ...]:
    """All that heads must have in common to mean the same."""
    return config.sizes, config.parents, config.hidden, tuple(classes)


def _spelled(bands: Sequence[tuple[str, float | None]]) -> str:
    return ", ".join(name if zero_point is None else f"{name} ({zero_point:g})" for name, zero_point in bands)
