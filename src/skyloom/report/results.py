"""Where the results of a search go: tables, contact sheets and coverage maps, each by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from skyloom.data.coverage import require_mocpy, write_moc
from skyloom.data.destination import drafted, require_place
from skyloom.data.tables import FORMATS, write_table
from skyloom.errors import CatalogueError, RequestError, StoreError
from skyloom.report.contact import Sheet, sheet_figure, sheet_page
from skyloom.report.destination import write_page

MOC, PAGES, PICTURES = ".moc.fits", (".html", ".htm"), (".png", ".pdf")
DOTS = 150  # per inch of a sheet


def check_results(out: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """The files to write, if they can be; RequestError for endings that nobody knows, before the long work."""
    paths = (Path(out),) if isinstance(out, str | Path) else tuple(Path(one) for one in out)
    for path in paths:
        if not path.name.lower().endswith((*FORMATS, *PAGES, *PICTURES)):
            raise RequestError(
                f"{path}: results end in {', '.join(FORMATS)} (a table), {', '.join((*PAGES[:1], *PICTURES))} (a "
                f"contact sheet) or {MOC} (a map of where they lie); got {path.suffix or 'no suffix'!r}"
            )
        require_place(path)
        if _is_moc(path):
            require_mocpy()
    return paths


def write_results(paths: Sequence[Path], rows: pa.Table, sheet: Callable[[], Sheet]) -> list[str]:
    """Write all of them, each whole or not at all, and return what there is to be said.

    rows : a table with the columns ra and dec [deg] of what was found; sheet : makes the sheet if one is asked for
    """
    told: list[str] = []
    shown = sheet() if any(path.suffix.lower() in (*PAGES, *PICTURES) for path in paths) else None
    for path in paths:
        if _is_moc(path):
            ra, dec = (rows[name].to_numpy(zero_copy_only=False).astype(float) for name in ("ra", "dec"))
            lost = write_moc(ra, dec, path)
            told += [f"{lost} of {len(rows)} have no position and are not in {path.name}"] if lost else []
        elif path.suffix.lower() in PAGES and shown is not None:
            write_page(path, sheet_page(shown, rows))
        elif path.suffix.lower() in PICTURES and shown is not None:
            _draw(path, shown)
        else:
            write_table(rows, path)
    return told


def require_positions(paths: Sequence[Path], positions: pa.Table) -> None:
    """CatalogueError if a map of where objects lie is asked for and none has a position."""
    if any(map(_is_moc, paths)) and not np.isfinite(positions["ra"].to_numpy(zero_copy_only=False).astype(float)).any():
        raise CatalogueError("no object of the survey has a position, so there is no map; leave .moc.fits out")


def _is_moc(path: Path) -> bool:
    return path.name.lower().endswith(MOC)


def _draw(path: Path, sheet: Sheet) -> None:
    try:
        with drafted(path) as draft:
            sheet_figure(sheet).savefig(draft, format=path.suffix[1:].lower(), dpi=DOTS)
    except OSError as fault:
        raise StoreError(f"{path} cannot be written: {fault}; free some space or choose another folder") from fault
