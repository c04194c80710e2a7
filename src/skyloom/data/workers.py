"""Work shared out to all cores, to processes of their own: one Python process draws on one core.

Each worker is this module run as a program: it reads one job from its input, and writes results to its output. They are
not a `multiprocessing` pool, because that runs the caller's script once more in each of its processes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}  # glibc: 13 % faster


class Share(NamedTuple):
    """Which of how many processes this one is, of those that work on one thing together."""

    rank: int
    world: int


ALONE = Share(0, 1)


def shared_out(make: Callable[[int, Any], Any], n: int, shared: Any, share: int) -> Iterator[Any]:
    """make(0, shared) to make(n - 1, shared), in order; by workers where there are cores and work enough.

    make : a function of a module; share : how many results make it worth starting a worker
    """
    count = min(cores(), n // share)
    if count < 2:
        yield from (make(number, shared) for number in range(n))
        return
    with ExitStack() as stack:
        workers = [start(stack, (make, range(first, n, count), shared)) for first in range(count)]
        for number in range(n):
            yield received(workers[number % count])


def cores() -> int:
    """Cores that this process may use; one where a pipe is not a file (Windows)."""
    if os.name != "posix":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(stack: ExitStack, job: tuple) -> Connection:
    """Start a worker on a job and return its output; it is stopped when the stack closes."""
    environment = {**os.environ, **ONE_THREAD, **KEEP_MEMORY, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    results = stack.enter_context(Connection(ours_in, writable=False))
    worker = subprocess.Popen([sys.executable, "-m", __name__], env=environment, stdin=theirs_in, stdout=theirs_out)
    stack.enter_context(worker)
    stack.callback(worker.kill)
    os.close(theirs_in)
    os.close(theirs_out)
    with Connection(ours_out, readable=False) as jobs:
        jobs.send(job)
    return results


def received(results: Connection) -> Any:
    """The next result of a worker."""
    try:
        return results.recv()
    except EOFError as error:
        raise RuntimeError("a worker process stopped early; its own message is above") from error


def serve(jobs: Connection, results: Connection) -> None:
    """Do one job: send every result as soon as it is made, and stop quietly when nobody reads them any more."""
    make, numbers, shared = jobs.recv()
    try:
        for number in numbers:
            results.send(make(number, shared))
    except BrokenPipeError:
        return


if __name__ == "__main__":
    serve(Connection(os.dup(0), writable=False), Connection(os.dup(1), readable=False))
