"""Where a page goes: checked before the work, written after it."""

from __future__ import annotations

from pathlib import Path

from skyloom.data.destination import require_place, write_whole
from skyloom.errors import RequestError, StoreError


def page_destination(out: str | Path) -> Path:
    """The page's path, if it can be written; RequestError for another suffix, StoreError for what stands against it."""
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise RequestError(f"{out}: a page ends in .html; got {out.suffix or 'no suffix'!r}")
    require_place(out)
    return out


def write_page(out: Path, text: str) -> None:
    """The page is the old one or the new one, never half of either. Raises StoreError if it cannot be written."""
    try:
        write_whole(out, text)
    except OSError as fault:
        raise StoreError(f"{out} cannot be written: {fault}; free some space or choose another folder") from fault
