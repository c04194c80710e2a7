"""What every benchmark prints besides its table: the machine, the versions, and how fast the machine was just then."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

LIBRARIES = ("skyloom", "numpy", "torch", "astropy", "pylance", "pyarrow", "h5py", "zarr", "photutils", "autoprof")


@dataclass
class Timing:
    """Wall and CPU seconds of a block; CPU seconds of all threads, so CPU > wall when several cores work."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def timed() -> Iterator[Timing]:
    timing, wall, cpu = Timing(), time.perf_counter(), time.process_time()
    yield timing
    timing.wall, timing.cpu = time.perf_counter() - wall, time.process_time() - cpu


def best_of(repeats: int, job: Callable[[], object]) -> Timing:
    """The run with the least wall time, of several: what the machine can do when nobody disturbs it."""
    runs = []
    for _ in range(repeats):
        with timed() as timing:
            job()
        runs.append(timing)
    return min(runs, key=lambda run: run.wall)


def matmul(side: int = 1536) -> float:
    """GFLOP/s of a float32 matrix product in NumPy: the yardstick printed before and after each table."""
    one = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    seconds = best_of(3, lambda: one @ one).wall
    return 2 * side**3 / seconds / 1e9


def environment() -> str:
    """The machine, its load, the versions and thread counts, and a reference matmul; print it before and after."""
    load = "/".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"
    threads = {name: os.environ[name] for name in sorted(os.environ) if name.endswith("_NUM_THREADS")}
    lines = [
        f"{platform.system()} {platform.machine()}, {_processor()}, {_cores()} cores usable, load {load}",
        f"Python {platform.python_version()}, " + ", ".join(_versions()),
        f"threads: {threads or 'not limited'}",
        f"reference: float32 matmul {matmul():.0f} GFLOP/s",
    ]
    return "\n".join(lines)


def _processor() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _versions() -> Iterator[str]:
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
