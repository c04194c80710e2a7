"""Several processes that train one network: on the GPUs of a machine, on its cores, or on many machines by torchrun."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from skyloom.data.workers import ALONE, Share, start
from skyloom.errors import RequestError

LAUNCHED = "TORCHELASTIC_RUN_ID"  # set by torchrun
Work = Callable[..., Any]  # of a module; called with a Share, the device of its process, and the arguments


def require_devices(devices: int, device: str, shard: bool = False) -> None:
    """RequestError for more GPUs than there are, no process at all, or a single one that is to share a network."""
    if devices < 1:
        raise RequestError(f"devices={devices}: at least one is needed")
    if shard and devices == 1 and LAUNCHED not in os.environ:
        raise RequestError("shard, and one process that has nobody to share with; ask for devices=2 or more")
    if device == "cuda" and devices > torch.cuda.device_count():
        raise RequestError(f"devices={devices}, and there are {torch.cuda.device_count()} GPUs; ask for fewer")


def on_devices(devices: int, device: str, work: Work, arguments: Sequence[Any], shown: Any = None) -> Any:
    """What `work` returns in the first of so many processes, each of which does its share.

    shown : a last argument for the first process alone; the others get None. The arguments of the others are pickled
    Under torchrun the processes are there already, and `devices` counts for nothing.
    """
    if LAUNCHED in os.environ:
        rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        return _in_group("env://", rank, world, device, work, (*arguments, None if rank else shown))
    if devices == 1:
        return work(ALONE, torch.device(device), *arguments, shown)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        meeting = f"file://{Path(folder) / 'meeting'}"
        for rank in range(1, devices):
            start(stack, (_other, [rank], (meeting, devices, device, work, tuple(arguments))))
        return _in_group(meeting, 0, devices, device, work, (*arguments, shown))


def agreed(choice: bool) -> bool:
    """What the first of the processes chose; all must call it."""
    said = [choice]
    dist.broadcast_object_list(said, src=0)
    return said[0]


def _other(rank: int, told: tuple[str, int, str, Work, tuple]) -> None:
    """The share of a process that is not the first."""
    meeting, world, device, work, arguments = told
    _in_group(meeting, rank, world, device, work, (*arguments, None))


def _in_group(meeting: str, rank: int, world: int, device: str, work: Work, arguments: Sequence[Any]) -> Any:
    place = int(os.environ.get("LOCAL_RANK", rank))
    here = torch.device(device, place) if device == "cuda" else torch.device(device)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", init_method=meeting, rank=rank, world_size=world)
    try:
        with _fair_threads(world if device == "cpu" else 1):
            return work(Share(rank, world), here, *arguments)
    finally:
        dist.destroy_process_group()


@contextmanager
def _fair_threads(processes: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)
