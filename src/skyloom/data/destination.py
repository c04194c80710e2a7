"""Where a file goes: checked before the work, and afterwards written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skyloom.errors import StoreError


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


def write_whole(path: Path, text: str) -> None:
    """The file is the old one or the new one, never half of either."""
    with drafted(path) as draft:
        draft.write_text(text, encoding="utf-8")
