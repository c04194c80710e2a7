"""Noise that follows from a seed and a place on the pixel grid, not from when or with what else it was drawn."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from numpy.random import Philox, SeedSequence

ORIGIN = 1 << 31  # added to rows and columns: a halo reaches below 0
PER_STEP = 8  # numbers that one step of the counter stands for: 256 bits


def unit_normal(seed: int, stream: int, rows: range, columns: range, depth: int = 1) -> Float32[np.ndarray, "d h w"]:
    """Independent unit normal numbers, `depth` at each place of a grid; none is beyond 6.8.

    seed, stream : not negative; other streams of a seed are independent of it
    rows, columns : consecutive, from −2³¹; the number at a place is the same in whichever window it is asked for
    The counter of one generator says the row and the column, and is set to where the window begins in each row.
    Source: Salmon et al. 2011, SC '11 (Philox); Box & Muller 1958 turn two uniform numbers into two normal ones.
    """
    first, last = ((place + ORIGIN) * depth for place in (columns.start, columns.stop))
    start = first // PER_STEP * PER_STEP
    raw = np.empty((len(rows), -(-(last - start) // 2)), np.uint64)
    bits = Philox(key=SeedSequence([seed, stream]).generate_state(2, np.uint64))
    state = bits.state
    for line, row in zip(raw, rows, strict=True):
        state["state"]["counter"][:] = start // PER_STEP, 0, row + ORIGIN, 0
        bits.state = state
        line[:] = bits.random_raw(raw.shape[1])
    normal = _normal(raw.view(np.uint32))[:, first - start : last - start]
    return normal.reshape(len(rows), len(columns), depth).transpose(2, 0, 1)


def _normal(bits: np.ndarray) -> Float32[np.ndarray, "h w"]:
    """Unit normal numbers of as many whole ones of 32 bits, an even number in a row."""
    share, turn = ((bits[:, k::2].astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32) for k in (0, 1))
    radius, angle = np.sqrt(-2 * np.log(share)), np.float32(2 * np.pi) * turn
    out = np.empty(bits.shape, np.float32)
    np.multiply(radius, np.cos(angle), out=out[:, 0::2])
    np.multiply(radius, np.sin(angle), out=out[:, 1::2])
    return out
