"""Averages of a training run of any length, found after it: the length that denoises unseen galaxies best is kept.

Source: Karras et al. 2024, arXiv:2312.02696, §3 and Appendix C. Two averages of different length are followed and
stored now and then; any other is a combination of what was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FOLLOWED = (0.05, 0.10)  # relative widths of the two averages that are followed
WIDTHS = (0.015, 0.03, 0.05, 0.08, 0.12, 0.17, 0.25)  # that are tried at the end
SNAPSHOTS = 16  # over a run
FOLDER = "snapshots"


def exponent_of(width: float) -> float:
    """The power of t in an average whose standard deviation is `width` of the training's length. Eq. 123"""
    spread = width**-2
    roots = np.roots([1, 7, 16 - spread, 12 - spread])
    return float(roots.real.max())


def keep_snapshot(run: Path, step: int, steps: int, averages: Sequence[nn.Module]) -> None:
    """Store the averages if it is time to."""
    if step % max(1, steps // SNAPSHOTS) and step != steps:
        return
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    for number, average in enumerate(averages):
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in average.state_dict().items()}
        draft = folder / f".{step}-{number}"
        save_file(tensors, draft)
        draft.replace(folder / f"{step:08d}-{number}.safetensors")


def weights_of(steps: Sequence[int], exponents: Sequence[float], step: int, exponent: float) -> Float[np.ndarray, "n"]:
    """How much of every stored average makes that of another length: least squares over their profiles. Eq. 134"""
    t, power = np.array(steps, float), np.array(exponents)
    inner = _product(t[:, None], power[:, None], t[None], power[None])
    return np.linalg.lstsq(inner, _product(t, power, np.array(float(step)), np.array(exponent)), rcond=None)[0]


def _product(t, power, other_t, other_power) -> np.ndarray:
    """Inner product of two profiles t^power, each up to its own step and of unit sum. Eq. 138"""
    ratio = np.where(t < other_t, (t / other_t) ** other_power, (other_t / t) ** power)
    return (power + 1) * (other_power + 1) * ratio / ((power + other_power + 1) * np.maximum(t, other_t))


def best_average(run: Path, into: nn.Module, judge: Callable[[nn.Module], float]) -> dict[str, float]:
    """Fill a network with the average that is judged best (lowest), remove what was stored; the judgement by width."""
    files = sorted((run / FOLDER).glob("*.safetensors"))
    steps, numbers = zip(*(map(int, file.stem.split("-")) for file in files), strict=True)
    exponents = [exponent_of(FOLLOWED[number]) for number in numbers]
    stored = [load_file(file) for file in files]
    constants = [name for name, _ in into.named_buffers() if name in stored[-1]]
    found: dict[float, tuple[float, dict[str, Tensor]]] = {}
    for width in WIDTHS:
        share = weights_of(steps, exponents, max(steps), exponent_of(width))
        mixed = {name: _mixed([part[name] for part in stored], share) for name in stored[0]}
        mixed |= {name: stored[-1][name] for name in constants}  # shares need not sum to 1, and those are no weights
        into.load_state_dict(mixed)
        found[width] = (judge(into), mixed)
    best = min(found, key=lambda width: found[width][0])
    into.load_state_dict(found[best][1])
    for file in files:
        file.unlink()
    (run / FOLDER).rmdir()
    return {"width": best} | {f"{width:g}": round(error, 5) for width, (error, _) in found.items()}


def _mixed(parts: list[Tensor], share: Float[np.ndarray, "n"]) -> Tensor:
    if not parts[0].is_floating_point():
        return parts[-1]
    return sum((part.double() * float(s) for part, s in zip(parts, share, strict=True)), torch.zeros(())).to(parts[0])
