"""A network on a device, moved there once, whichever of several threads asks first."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from torch import nn

Net = TypeVar("Net", bound=nn.Module)


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
