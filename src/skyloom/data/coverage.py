"""Where on the sky objects lie, as a multi-order coverage map (MOC) that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from jaxtyping import Float

from skyloom.data.destination import drafted
from skyloom.errors import CatalogueError, MissingExtraError, StoreError

ORDER = 14  # of the cells: 12.9 arcsec


def write_moc(ra: Float[np.ndarray, "n"], dec: Float[np.ndarray, "n"], path: Path, order: int = ORDER) -> int:
    """Write the cells of an order in which objects lie as a FITS MOC, and return how many objects have no position.

    ra, dec : ICRS [deg], NaN where unknown
    Raises CatalogueError if no object has a position, MissingExtraError without mocpy, StoreError if it cannot be
    written.
    Source: Fernique et al. 2022, IVOA Recommendation MOC 2.0.
    """
    known = np.isfinite(ra) & np.isfinite(dec)
    if not known.any():
        raise CatalogueError(f"none of the {len(ra)} objects has a position, so there is no map of where they lie")
    cells = require_mocpy().MOC.from_lonlat(ra[known] * units.deg, dec[known] * units.deg, max_norder=order)
    try:
        with drafted(path) as draft:
            cells.save(draft, format="fits")
    except OSError as fault:
        raise StoreError(f"{path} cannot be written: {fault}; free some space or choose another folder") from fault
    return int((~known).sum())


def require_mocpy() -> Any:
    """The library of coverage maps, an optional extra."""
    try:
        import mocpy
    except ImportError as error:
        raise MissingExtraError("mocpy", "search") from error
    return mocpy
