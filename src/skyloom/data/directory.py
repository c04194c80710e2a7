"""The directory of a survey: what it holds, and having it alone while one writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skyloom.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows has no lock of this kind: there, that only one process writes is the user's care
    fcntl = None  # type: ignore[assignment]

PARTS = ("data", "_versions", "_transactions")  # what a write makes in the directory before its commit


def committed(path: Path) -> bool:
    """Whether any version of a table was ever finished here."""
    return any((path / "_versions").glob("*.manifest"))


def require_survey(path: Path) -> None:
    """StoreError, with the remedy, unless some table was finished here."""
    if not path.exists():
        raise StoreError(f"{path}: no survey there; make one with skyloom ingest or skyloom mock, or check the name")
    if not path.is_dir():
        raise StoreError(f"{path} is a file; a survey is a directory; skyloom ingest turns files into one")
    if not committed(path):
        raise StoreError(f"{path}: no survey was ever finished there; write it again, or check the name")


def require_free(path: Path) -> None:
    """StoreError unless a new survey may be made here: nothing is there, or what a killed write left."""
    if not path.exists():
        return
    if not path.is_dir():
        raise StoreError(f"{path} is a file; choose another name for the survey")
    if committed(path):
        raise StoreError(f"{path} exists; ingest adds to it, or choose another name")
    others = sorted({entry.name for entry in path.iterdir()} - set(PARTS))
    if others:
        raise StoreError(f"{path} holds {', '.join(others[:5])} and no survey; choose another name")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """The directory, made if need be, proven writable, and locked until the end; the lock dies with its process."""
    new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as fault:
        raise unwritable(path, fault) from fault
    handle = os.open(path, os.O_RDONLY) if fcntl else None
    try:
        _lock(path, handle)
        yield
    except BaseException:
        if new:
            with suppress(OSError):  # it is not empty: something was finished there
                path.rmdir()
        raise
    finally:
        if handle is not None:
            os.close(handle)


def _lock(path: Path, handle: int | None) -> None:
    if handle is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as fault:
        raise StoreError(f"{path} is being written by another process; wait until it ends") from fault


def unwritable(path: Path, fault: BaseException) -> StoreError:
    return StoreError(
        f"{path} cannot be written ({brief(fault)}); nothing was changed; "
        f"free space or permission there, or write elsewhere"
    )


def brief(fault: BaseException) -> str:
    """The first sentence of a fault from below, without the places in its source."""
    return str(fault).split(", /")[0].split("\n")[0][:300] or type(fault).__name__
