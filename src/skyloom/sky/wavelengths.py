"""The order of bands by their names, blue to red."""

from __future__ import annotations

from collections.abc import Sequence

# pivot wavelength [nm] by the first word of a band's name; only the order and the rough distances matter here
WAVELENGTHS = {
    "fuv": 153, "nuv": 230, "u": 355, "b": 440, "g": 475, "v": 550, "f606w": 590, "r": 622, "vis": 715, "i": 763,
    "f814w": 805, "z": 890, "y": 1020, "j": 1250, "f160w": 1540, "h": 1650, "k": 2150, "ks": 2150,
    "w1": 3400, "w2": 4600, "blue": 440, "green": 530, "red": 620,
}  # fmt: skip


def wavelength(band: str) -> float | None:
    """Rough pivot wavelength [nm] of a band by its name (`sdss_r`, `VISTA-Ks`, `F814W`); None if it is not known."""
    words = band.lower().replace("-", "_").replace(".", "_").split("_")
    return next((WAVELENGTHS[word] for word in reversed(words) if word in WAVELENGTHS), None)


def wavelengths(bands: Sequence[str]) -> dict[str, float] | None:
    """Of all these bands [nm]; None if that of any is not known."""
    found = {band: wavelength(band) for band in bands}
    known = {band: value for band, value in found.items() if value is not None}
    return known if len(known) == len(found) else None


def by_wavelength(bands: Sequence[str]) -> list[str]:
    """Blue to red; in the survey's own order if a wavelength is not known."""
    known = wavelengths(bands)
    return list(bands) if known is None else sorted(bands, key=known.__getitem__)
