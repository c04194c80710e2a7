"""Sources strewn over a plane without edges: where they are and what they are follows from a seed and the place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from skyloom.sky.positional import ORIGIN

CELL = 64  # side of the squares whose sources are drawn together [pixel]
SCALES = (1, 2, 4, 8)  # sides of the squares that share a density, in CELLs
STREAM = 500  # of the seed: beside those of the noise


class Strewn(NamedTuple):
    """x, y : [pixel], 0 is the middle of the first; marks : what each of them is"""

    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    marks: Float32[np.ndarray, "n m"]


@dataclass(frozen=True)
class Sources:
    """A marked point process, clustered as a log-normal field is.

    known : marks of the sources that were measured, of which new ones are drawn
    jitter : σ by which each mark of a new one is moved by itself; shared : and by which all are moved together
    turning : the two marks (of the ellipticity) that turn together when a source is rotated
    weights : how often each known one is drawn, in any unit
    density : sources per pixel; contrast : σ of the logarithm of the density in squares of SCALES
    """

    known: Float32[np.ndarray, "k m"]
    jitter: Float32[np.ndarray, "m"]
    shared: Float32[np.ndarray, "m"]
    turning: tuple[int, int]
    weights: Float[np.ndarray, "k"]
    density: float
    contrast: tuple[float, ...] = (0.0,) * len(SCALES)

    def facts(self) -> dict[str, Any]:
        """As plain facts, which `sources_of` reads; a line of text per known source."""
        return {
            "known": [" ".join(f"{mark:.3f}" for mark in one) for one in self.known.tolist()],
            "jitter": [round(value, 4) for value in self.jitter.tolist()],
            "shared": [round(value, 4) for value in self.shared.tolist()],
            "turning": self.turning,
            "weights": [round(value, 4) for value in self.weights.tolist()],
            "density": self.density,
            "contrast": self.contrast,
        }

    def strewn(self, seed: int, rows: range, columns: range) -> Strewn:
        """The sources with their centres in a window; the same ones in whichever window they are asked for."""
        found = [
            self._cell(seed, down, across)
            for down in range(rows.start // CELL, -(-rows.stop // CELL))
            for across in range(columns.start // CELL, -(-columns.stop // CELL))
        ]
        x, y, marks = (np.concatenate(parts) for parts in zip(*found, strict=True))
        inside = (y >= rows.start - 0.5) & (y < rows.stop - 0.5) & (x >= columns.start - 0.5) & (x < columns.stop - 0.5)
        return Strewn(x[inside], y[inside], marks[inside])

    def _cell(self, seed: int, row: int, column: int) -> Strewn:
        rng = _rng(seed, 0, row, column)
        count = rng.poisson(self.density * CELL**2 * self._excess(seed, row, column))
        x, y = (CELL * (place + rng.random(count)) - 0.5 for place in (column, row))
        total = np.cumsum(self.weights)
        marks = self.known[np.searchsorted(total, total[-1] * rng.random(count), side="right")]
        marks = marks + self.jitter * rng.standard_normal(marks.shape).astype(np.float32)
        marks = marks + self.shared * rng.standard_normal((count, 1)).astype(np.float32)
        return Strewn(x, y, self._turned(marks, rng.random(count)))

    def _excess(self, seed: int, row: int, column: int) -> float:
        """Density of a cell over the mean one; its own mean is 1."""
        log = 0.0
        for number, (scale, sigma) in enumerate(zip(SCALES, self.contrast, strict=True)):
            if sigma > 0:
                log += sigma * _rng(seed, 1 + number, row // scale, column // scale).standard_normal() - sigma**2 / 2
        return float(np.exp(log))

    def _turned(self, marks: Float32[np.ndarray, "n m"], share: Float[np.ndarray, "n"]) -> Float32[np.ndarray, "n m"]:
        """Marks of sources turned by a share of half a circle: an ellipse is itself again after that."""
        cosine, sine = np.cos(2 * np.pi * share), np.sin(2 * np.pi * share)
        first, second = self.turning
        e1, e2 = marks[:, first].copy(), marks[:, second].copy()
        marks[:, first], marks[:, second] = cosine * e1 - sine * e2, sine * e1 + cosine * e2
        return marks


def sources_of(facts: dict[str, Any]) -> Sources:
    """The process that `facts` wrote down."""
    known = np.array([line.split() for line in facts["known"]], np.float32)
    jitter, shared = (np.array(facts[name], np.float32) for name in ("jitter", "shared"))
    first, second = facts["turning"]
    weights = np.array(facts["weights"])
    return Sources(known, jitter, shared, (first, second), weights, facts["density"], tuple(facts["contrast"]))


def _rng(seed: int, stream: int, row: int, column: int) -> np.random.Generator:
    return np.random.default_rng([seed, STREAM + stream, row + ORIGIN, column + ORIGIN])


def counts_contrast(counts: Float[np.ndarray, "n h w"]) -> tuple[float, ...]:
    """σ of the log-density in squares of SCALES from counts in the cells of n pieces; NaN where a cell was not seen.

    What the variance of counts has beyond Poisson's at a scale, less what larger scales have, is that scale's.
    """
    beyond = []
    for scale in SCALES:
        h, w = (side // scale for side in counts.shape[1:])
        squares = counts[:, : h * scale, : w * scale].reshape(len(counts), h, scale, w, scale).sum((2, 4)).ravel()
        squares = squares[np.isfinite(squares)]
        mean = squares.mean() if len(squares) else 0.0
        excess = (squares.var(ddof=1) - mean) / mean**2 if len(squares) > 4 and mean > 0 else 0.0
        beyond.append(np.log1p(max(excess, 0.0)))
    own = [max(here - above, 0.0) for here, above in zip(beyond, [*beyond[1:], 0.0], strict=True)]
    return tuple(float(np.sqrt(value)) for value in own)


def on_grid(sources: Strewn, rows: range, columns: range, side: int) -> Float32[np.ndarray, "m h w"]:
    """Sources told of on a grid: at each place the sum of their marks, and of where in it they lie (−1 to 1, y and x).

    side : of a place of the grid [pixel]; rows, columns : of its places
    """
    y, x = (sources.y + 0.5) / side, (sources.x + 0.5) / side
    down, across = np.floor(y).astype(int), np.floor(x).astype(int)
    here = (down >= rows.start) & (down < rows.stop) & (across >= columns.start) & (across < columns.stop)
    offsets = np.stack([2 * (y - down) - 1, 2 * (x - across) - 1], 1)
    told = np.concatenate([sources.marks, offsets], 1)[here]
    out = np.zeros((len(rows), len(columns), told.shape[1]), np.float32)
    np.add.at(out, (down[here] - rows.start, across[here] - columns.start), told.astype(np.float32))
    return out.transpose(2, 0, 1)
