"""Pieces of work in several threads at once, their results in order."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Piece], Result], pieces: Iterable[Piece], device: str, workers: int | None = None
) -> Iterator[Result]:
    """The result of each piece, in their order, a few in work at a time.

    workers : threads; None: as many as PyTorch would take on a CPU, one on a GPU
    While it runs, PyTorch takes one thread a piece on a CPU: one core a piece beats all cores on one small piece.
    """
    keep_freed_memory()
    threads = torch.get_num_threads()
    if workers is None:
        workers = threads if device == "cpu" else 1
    torch.set_num_threads(1 if device == "cpu" else threads)
    try:
        with ThreadPoolExecutor(workers) as pool:
            waiting = deque[Future[Result]]()
            for piece in pieces:
                waiting.append(pool.submit(work, piece))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(threads)


def chunks_of(things: Iterable[Piece], size: int) -> Iterator[tuple[Piece, ...]]:
    """So many of them at a time, fewer in the last."""
    left = iter(things)
    while chunk := tuple(islice(left, size)):
        yield chunk


def keep_freed_memory() -> None:
    """Let glibc hand large freed blocks out again, in this process from now on; other C libraries are left alone.

    It gives them back to the kernel by default, and then the threads spend their time on fresh pages:
    42 instead of 65 galaxies/s on two cores.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)
