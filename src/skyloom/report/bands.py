"""The order of bands: blue to red, which one to measure in, and which three make a colour picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# pivot wavelength [nm] by the first word of a band's name; only the order and the rough distances matter here
WAVELENGTHS = {
    "fuv": 153, "nuv": 230, "u": 355, "b": 440, "g": 475, "v": 550, "f606w": 590, "r": 622, "vis": 715, "i": 763,
    "f814w": 805, "z": 890, "y": 1020, "j": 1250, "h": 1650, "f160w": 1540, "k": 2150, "ks": 2150, "w1": 3400, "w2": 4600,
}  # fmt: skip
RED_GREEN_BLUE = (763, 622, 475)  # [nm] where the composite's colours are sought: i, r, g


def wavelength(band: str) -> float | None:
    """Rough pivot wavelength [nm] of a band by its name (`sdss_r`, `VISTA-Ks`, `F814W`); None if it is not known."""
    words = band.lower().replace("-", "_").replace(".", "_").split("_")
    return next((WAVELENGTHS[word] for word in reversed(words) if word in WAVELENGTHS), None)


def by_wavelength(bands: Sequence[str]) -> list[str]:
    """Blue to red; in the survey's own order if a wavelength is not known."""
    known = [wavelength(band) for band in bands]
    return list(bands) if None in known else sorted(bands, key=wavelength)


def reference_band(bands: Sequence[str]) -> str:
    """The band nearest to r, in which most surveys are deepest; the middle one if wavelengths are not known."""
    if any(wavelength(band) is None for band in bands):
        return bands[len(bands) // 2]
    return min(bands, key=lambda band: abs(wavelength(band) - RED_GREEN_BLUE[1]))


def colour_bands(bands: Sequence[str]) -> tuple[int, int, int]:
    """Indices of the bands shown red, green and blue: those nearest to i, r, g, distinct if there are three."""
    ordered = by_wavelength(bands)
    if len(ordered) < 3:
        chosen = [ordered[-1], ordered[0], ordered[0]]
    elif any(wavelength(band) is None for band in ordered):
        chosen = [ordered[-1], ordered[len(ordered) // 2], ordered[0]]
    else:
        chosen, left = [], list(ordered)
        for target in RED_GREEN_BLUE:
            nearest = min(left, key=lambda band: abs(np.log(wavelength(band) / target)))
            chosen.append(nearest)
            left.remove(nearest)
        chosen = list(reversed(by_wavelength(chosen)))
    red, green, blue = (list(bands).index(band) for band in chosen)
    return red, green, blue
