"""A stretch for networks and eyes: linear within the noise, logarithmic above it, and undone without loss.

Works on NumPy arrays and on torch tensors alike, through the arrays' own arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def stretch(flux: Any, sky: Any, sky_rms: Any) -> Any:
    """Flux above the sky in units of the sky's rms, through asinh: a pure number, about N(0, 1) on blank sky.

    flux : (..., C, H, W), linear; sky, sky_rms : (..., C), in the same unit
    NaN or infinite where the rms is not positive or the flux is not finite; unchanged if all three are multiplied by
    one number, however small. float32 in, float32 out.
    Source: Lupton, Gunn & Szalay 1999, AJ 118, 1406 (arXiv:astro-ph/9903081), Eq. 3, with the sky's rms as softening.
    We differ: a natural logarithm's units, without the zero point of a magnitude.
    """
    return _call("arcsinh", (flux - _per_plane(sky)) / _per_plane(sky_rms))


def unstretch(stretched: Any, sky: Any, sky_rms: Any) -> Any:
    """The flux that `stretch` was given, to 1e-5 of its height above the sky over six decades, in float32."""
    return _call("sinh", stretched) * _per_plane(sky_rms) + _per_plane(sky)


def _per_plane(values: Any) -> Any:
    """(..., C) as (..., C, 1, 1); a single number as it is."""
    return values[..., None, None] if getattr(values, "ndim", 0) else values


def _call(name: str, array: Any) -> Any:
    """A function of NumPy's for its arrays, and the method of the same name for those of other libraries."""
    if isinstance(array, np.ndarray | np.generic | float | int):
        return getattr(np, name)(array)
    return getattr(array, name)()
