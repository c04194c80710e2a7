"""Noise that follows from a seed and a place on the pixel grid, not from when or with what else it was drawn."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy.random import Philox, SeedSequence
from scipy.special import ndtri

ORIGIN = 1 << 31  # added to rows and columns: a halo reaches below 0
PER_STEP = 4  # numbers that one step of the counter stands for


def unit_normal(seed: int, stream: int, rows: range, columns: range, depth: int = 1) -> Float64[np.ndarray, "d h w"]:
    """Independent unit normal numbers, `depth` at each place of a grid.

    seed, stream : not negative; other streams of a seed are independent of it
    rows, columns : consecutive, from −2³¹; the number at a place is the same in whichever window it is asked for
    The counter of one generator says the row and the column, so that it is set to where the window begins in each row.
    Source: Salmon et al. 2011, SC '11 (Philox); the inverse of the normal distribution turns uniform into normal.
    """
    first = (columns.start + ORIGIN) * depth
    skipped = first % PER_STEP
    count = len(columns) * depth
    raw = np.empty((len(rows), count), np.uint64)
    key = SeedSequence([seed, stream]).generate_state(2, np.uint64)
    for line, row in zip(raw, rows, strict=True):
        bits = Philox(key=key, counter=[first // PER_STEP, 0, row + ORIGIN, 0])
        line[:] = bits.random_raw(count + skipped)[skipped:]
    uniform = ((raw >> np.uint64(11)) + 0.5) * 2.0**-53  # in (0, 1), never either
    return ndtri(uniform).reshape(len(rows), len(columns), depth).transpose(2, 0, 1)
