"""The order of bands: blue to red, which one to measure in, and which three make a colour picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# pivot wavelength [nm] by the first word of a band's name; only the order and the rough distances matter here
WAVELENGTHS = {
    "fuv": 153, "nuv": 230, "u": 355, "b": 440, "g": 475, "v": 550, "f606w": 590, "r": 622, "vis": 715, "i": 763,
    "f814w": 805, "z": 890, "y": 1020, "j": 1250, "f160w": 1540, "h": 1650, "k": 2150, "ks": 2150,
    "w1": 3400, "w2": 4600,
}  # fmt: skip
RED_GREEN_BLUE = (763, 622, 475)  # [nm] where the composite's colours are sought: i, r, g


def wavelength(band: str) -> float | None:
    """Rough pivot wavelength [nm] of a band by its name (`sdss_r`, `VISTA-Ks`, `F814W`); None if it is not known."""
    words = band.lower().replace("-", "_").replace(".", "_").split("_")
    return next((WAVELENGTHS[word] for word in reversed(words) if word in WAVELENGTHS), None)


def _wavelengths(bands: Sequence[str]) -> dict[str, float] | None:
    """Of all these bands; None if that of any is not known."""
    found = {band: wavelength(band) for band in bands}
    known = {band: value for band, value in found.items() if value is not None}
    return known if len(known) == len(found) else None


def by_wavelength(bands: Sequence[str]) -> list[str]:
    """Blue to red; in the survey's own order if a wavelength is not known."""
    known = _wavelengths(bands)
    return list(bands) if known is None else sorted(bands, key=known.__getitem__)


def reference_band(bands: Sequence[str]) -> str:
    """The band nearest to r, in which most surveys are deepest; the middle one if wavelengths are not known."""
    known = _wavelengths(bands)
    if known is None:
        return bands[len(bands) // 2]
    return min(bands, key=lambda band: abs(np.log(known[band] / RED_GREEN_BLUE[1])))


def colour_bands(bands: Sequence[str]) -> tuple[int, int, int]:
    """Indices of the bands shown red, green and blue: those nearest to i, r, g, distinct if there are three."""
    ordered, known = by_wavelength(bands), _wavelengths(bands)
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
