"""The run directory: what was trained, on what, how far it got, and the weights. No pickle.

    recipe.json          the recipe, its settings, the surveys with their hashes, the versions: a record
    losses.jsonl         a line per report: step, samples, seconds, losses
    weights.safetensors  the network to use; written at the end and at every report
    state.safetensors    network, average, optimiser and step, to go on from; gone when the run is finished
    calibration.json     what turns predicted intervals into honest ones, if the recipe makes any
    scores.json          how well, with n and error
    card.md              all of it in words

Weights that ship with skyloom are such directories too, without losses and state.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from skyloom.data.destination import drafted, write_whole
from skyloom.errors import RequestError, RunError

SHIPPED = Path(__file__).parent / "weights"
RECIPE, LOSSES, WEIGHTS, STATE = "recipe.json", "losses.jsonl", "weights.safetensors", "state.safetensors"
DECIDES = ("recipe", "settings", "surveys")  # parts of the record that a resumed run must share


@dataclass(frozen=True)
class Run:
    """A run directory, which may still be empty."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def record(self) -> dict[str, Any]:
        """recipe.json; RunError if it is missing or damaged."""
        return self._json(RECIPE)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the weights, 16 digits: what a product remembers them by."""
        return hashlib.sha256((self.path / WEIGHTS).read_bytes()).hexdigest()[:16]

    def facts(self, name: str) -> dict[str, Any] | None:
        """The contents of `<name>.json`, None if there is none."""
        return self._json(f"{name}.json") if (self.path / f"{name}.json").exists() else None

    def write_facts(self, name: str, facts: Mapping[str, Any]) -> None:
        write_whole(self.path / f"{name}.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")

    def log(self, line: Mapping[str, Any]) -> None:
        """Append a line to losses.jsonl."""
        with (self.path / LOSSES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def load(self, net: nn.Module) -> nn.Module:
        """The network with the run's weights, in single precision, ready for inference."""
        tensors = _read(self.path / WEIGHTS)
        try:
            net.load_state_dict({name: _single(tensor) for name, tensor in tensors.items()})
        except RuntimeError as fault:
            raise RunError(
                f"{self.path}: the weights do not fit the recipe beside them; train the run again"
            ) from fault
        return net.eval()

    def save(self, net: nn.Module, half: bool = False, write: bool = True) -> None:
        """Write the network to use; half : in half precision, where nothing overflows in it.

        write : False in all processes but the first of those that share a network, and each must call it
        """
        tensors = _whole(net.state_dict())
        if write:
            halved = {name: one.half() if half and _fits_half(one) else one for name, one in tensors.items()}
            _write(halved, self.path / WEIGHTS)

    def save_state(self, step: int, parts: Mapping[str, nn.Module | torch.optim.Optimizer], write: bool = True) -> None:
        """Write all that is needed to go on after `step`; write : as of `save`."""
        tensors = {"step": torch.tensor(step)}
        for part, thing in parts.items():
            state = _flat_optimiser(thing) if isinstance(thing, torch.optim.Optimizer) else thing.state_dict()
            tensors |= {f"{part}/{name}": tensor for name, tensor in _whole(state).items()}
        if write:
            _write(tensors, self.path / STATE)

    def resume(self, parts: Mapping[str, nn.Module | torch.optim.Optimizer]) -> int:
        """Put the parts back as they were saved; the step to go on after, 0 for a new run."""
        if not (self.path / STATE).exists():
            return 0
        tensors = _read(self.path / STATE)
        for part, thing in parts.items():
            mark = f"{part}/"
            state = {name.removeprefix(mark): tensor for name, tensor in tensors.items() if name.startswith(mark)}
            if isinstance(thing, torch.optim.Optimizer):
                _fill_optimiser(thing, state)
            else:
                there = thing.state_dict()
                thing.load_state_dict({name: _like(there.get(name), tensor) for name, tensor in state.items()})
        return int(tensors["step"])

    def finish(self) -> None:
        """Remove what only a resumed run needs."""
        (self.path / STATE).unlink(missing_ok=True)

    @property
    def finished(self) -> bool:
        return (self.path / WEIGHTS).exists() and not (self.path / STATE).exists()

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as fault:
            raise RunError(f"{self.path}: {name} cannot be read ({fault}); train the run again") from fault


def open_run(name: str | Path) -> Run:
    """A run directory, or the weights of that name that ship with skyloom; RunError lists them if it is neither."""
    path = Path(name)
    if (path / RECIPE).exists():
        run = Run(path)
    elif (SHIPPED / str(name) / RECIPE).exists():
        run = Run(SHIPPED / str(name))
    else:
        raise RunError(f"{name} is neither a run directory nor weights that ship with skyloom ({', '.join(shipped())})")
    if not (run.path / WEIGHTS).exists():
        raise RunError(f"{run.path} has no {WEIGHTS}: its training has not got that far; let it run on")
    return run


def shipped(facts: str | None = None) -> list[str]:
    """Names of the weights that come with skyloom. facts : only of those with `<facts>.json`, which says what for"""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{RECIPE if facts is None else f'{facts}.json'}"))


def open_for(name: str | Path, facts: str, kind: str, makes: str) -> tuple[Run, dict[str, Any]]:
    """Weights by name, or a run directory, with what they say in `<facts>.json`, which only runs of some kind have.

    kind : what is asked for; makes : what such runs make. RequestError, with the names that there are, for others.
    """
    there = ", ".join(shipped(facts)) or "none"
    try:
        run = open_run(name)
    except RunError as fault:
        raise RequestError(f"no {kind} {str(name)!r}; there is {there} ({fault})") from fault
    found = run.facts(facts)
    if found is None:
        raise RequestError(
            f"{name} was trained by the recipe {run.record['recipe']}, which makes no {makes}; there is {there}"
        )
    return run, found


def begin(path: Path, record: Mapping[str, Any]) -> Run:
    """A new run directory, or an old one of the same recipe, settings and surveys to go on with.

    Raises RunError if the directory holds another run, or anything else.
    """
    run = Run(path)
    if (path / RECIPE).exists():
        for part in DECIDES:
            if run.record.get(part) != json.loads(json.dumps(record[part])):
                raise RunError(
                    f"{path} holds a run with other {part}: {_briefly(run.record.get(part))} there, "
                    f"{_briefly(record[part])} asked for; choose another --out"
                )
        return run
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} exists and is no run; choose another --out")
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_whole(path / RECIPE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    except OSError as fault:
        raise RunError(f"{path} cannot be written: {fault}; choose another --out") from fault
    return Run(path)


def _briefly(part: Any) -> str:
    text = json.dumps(part)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as fault:
        raise RunError(f"{path} cannot be read ({fault}); train the run again") from fault


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        with drafted(path) as draft:
            save_file(tensors, draft)
    except OSError as fault:
        raise RunError(f"{path} cannot be written: {fault}; free some space and run the same command again") from fault


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor


def _fits_half(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and bool(tensor.abs().max() < 6e4) if tensor.numel() else False


def _whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in this process's memory, put together where several processes hold their shares of them."""
    there = {name: one.full_tensor() if isinstance(one, DTensor) else one for name, one in state.items()}
    return {name: one.detach().cpu().contiguous() for name, one in there.items()}


def _like(there: Tensor | None, tensor: Tensor) -> Tensor:
    """A tensor shared out between processes as another one of its shape is, if that is."""
    if not isinstance(there, DTensor):
        return tensor
    return distribute_tensor(tensor.to(there.device), there.device_mesh, there.placements)


def _flat_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Tensors of an optimiser's state by `number of the parameter/name`."""
    state = optimiser.state_dict()["state"]
    return {f"{k}/{name}": torch.as_tensor(value) for k, part in state.items() for name, value in part.items()}


def _fill_optimiser(optimiser: torch.optim.Optimizer, flat: dict[str, Tensor]) -> None:
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        number, _, name = key.partition("/")
        weight = weights[int(number)]
        state.setdefault(int(number), {})[name] = _like(weight, tensor) if tensor.shape == weight.shape else tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
