"""Which of a survey's bands to measure in, and which three make a colour picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skyloom.sky.wavelengths import by_wavelength, wavelengths

RED_GREEN_BLUE = (763, 622, 475)  # [nm] where the composite's colours are sought: i, r, g


def reference_band(bands: Sequence[str]) -> str:
    """The band nearest to r, in which most surveys are deepest; the middle one if wavelengths are not known."""
    known = wavelengths(bands)
    if known is None:
        return bands[len(bands) // 2]
    return min(bands, key=lambda band: abs(np.log(known[band] / RED_GREEN_BLUE[1])))


def colour_bands(bands: Sequence[str]) -> tuple[int, int, int]:
    """Indices of the bands shown red, green and blue: those nearest to i, r, g, distinct if there are three."""
    ordered, known = by_wavelength(bands), wavelengths(bands)
    if len(ordered) < 3:
        chosen = [ordered[-1], ordered[0], ordered[0]]
    elif known is None:
        chosen = [ordered[-1], ordered[len(ordered) // 2], ordered[0]]
    else:
        chosen, left = [], set(ordered)
        for target in RED_GREEN_BLUE:
            chosen.append(min(sorted(left), key=lambda band: abs(np.log(known[band] / target))))
            left.remove(chosen[-1])
        chosen = list(reversed(by_wavelength(chosen)))
    red, green, blue = (list(bands).index(band) for band in chosen)
    return red, green, blue
