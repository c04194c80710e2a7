"""A field in colour: one look for all of its pixels, whichever window they are drawn in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, UInt8

from skyloom.data.tiles.mosaic import TiledField
from skyloom.errors import RequestError
from skyloom.infer.fields.catalogue import CATALOGUE
from skyloom.report.bands import colour_bands
from skyloom.report.galaxies import Look, composite, white_of

BRIGHTEST = 15.0  # where the stretch ends [rms of the mean of the bands]; 0.3 % of a deep field's pixels are above it


@dataclass(frozen=True)
class Colours:
    """How a field is coloured. look : its bands and its white; rms : of the survey's noise in those bands [flux]"""

    look: Look
    rms: tuple[float, ...]

    def picture(
        self, flux: Float[np.ndarray, "3 h w"], good: Bool[np.ndarray, "h w"] | None = None
    ) -> UInt8[np.ndarray, "h w 4"]:
        """The colour composite of pixels in the bands of the look; transparent where not good."""
        shown = np.ones(flux.shape, bool) if good is None else np.broadcast_to(good, flux.shape)
        return composite(flux.astype(np.float64), shown, np.array(self.rms), np.array(self.look.white), BRIGHTEST)


def colours_of(field: TiledField) -> Colours:
    """White is the median colour of the sources in the field's catalogue; the stretch follows from the noise alone.

    Neither depends on the field's own noise, so that fields of one survey look alike however deep they are.
    Raises RequestError for a field that was interrupted before its catalogue.
    """
    path = field.folder / CATALOGUE
    if not path.exists():
        raise RequestError(f"{field.folder} was not finished: it has no {CATALOGUE}; run the same skyloom field again")
    bands = colour_bands(field.info.band_names)
    rms = np.array(field.rms)[list(bands)]
    columns = [f"flux_{field.info.band_names[band]}" for band in bands]
    rows = pq.read_table(path, columns=list(dict.fromkeys(columns)))
    fluxes = np.column_stack([rows[column].to_numpy() for column in columns])
    return Colours(Look(bands, white_of(fluxes, rms)), tuple(rms.tolist()))
