"""Which device to compute on, and a network moved there once, whichever of several threads asks first."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def device_of(device: str | None) -> str:
    """The device asked for; None: the GPU where there is one."""
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def placed(net: Net) -> Callable[[str], Net]:
    """The function that gives the network on a device.

    Threads that share a recurrent network must not move it: moving rebuilds the list of its weights in place.
    """
    lock, there = Lock(), list[str]()

    def on(device: str) -> Net:
        with lock:
            if there[-1:] != [device]:
                net.to(device)
                there.append(device)
        return net

    return on
