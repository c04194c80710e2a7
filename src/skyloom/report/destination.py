"""Where a page goes: checked before the work, written after it."""

from __future__ import annotations

import os
from pathlib import Path

from skyloom.errors import RequestError, StoreError


def page_destination(out: str | Path) -> Path:
    """The page's path, if it can be written; RequestError for another suffix, StoreError for what stands against it."""
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"{out}: a page ends in .html; got {out.suffix or 'no suffix'!r}")
    if out.is_dir() or not out.absolute().parent.is_dir():
        problem = "it is a folder" if out.is_dir() else f"there is no folder {out.absolute().parent}"
        raise StoreError(f"{out} cannot be written: {problem}")
    if not os.access(out.absolute().parent, os.W_OK):
        raise StoreError(f"{out} cannot be written: the folder is read-only; choose another")
    return out


def write_page(out: Path, text: str) -> None:
    """The page is the old one or the new one, never half of either. Raises StoreError if it cannot be written."""
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(out)
    except OSError as fault:
        raise StoreError(f"{out} cannot be written: {fault}; free some space or choose another folder") from fault
    finally:
        draft.unlink(missing_ok=True)
