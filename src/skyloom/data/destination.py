"""Where a file goes: checked before the work, and afterwards written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skyloom.errors import RequestError, SkyloomError, StoreError


def require_place(path: Path) -> None:
    """StoreError, with the reason, unless a file can be written there."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir():
        problem = "it is a folder" if path.is_dir() else f"there is no folder {folder}"
        raise StoreError(f"{path} cannot be written: {problem}")
    if not os.access(folder, os.W_OK):
        raise StoreError(f"{path} cannot be written: the folder is read-only; choose another")


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A path beside it to write to, which takes its place when all went well: the old file or the new, never half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def drafted_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside it to fill, which takes its place when all went well; of a draft, nothing is left."""
    draft = path.with_name(f".{path.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)  # of a call that was killed
    try:
        draft.mkdir(parents=True)
        yield draft
        draft.replace(path)
    except SkyloomError:
        raise
    except OSError as fault:
        raise StoreError(f"{path} cannot be written: {fault}; free some space and run the same again") from fault
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def require_room(folder: Path, needed: int, there: int = 0) -> None:
    """RequestError if the disk has less room than `needed`. there : of the same, is written already [byte]"""
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free + there
    if needed > free:
        raise RequestError(
            f"{folder}: this takes up to {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB left; make room, "
            "or ask for a smaller one"
        )


def write_whole(path: Path, text: str) -> None:
    """The file is the old one or the new one, never half of either."""
    with drafted(path) as draft:
        draft.write_text(text, encoding="utf-8")
