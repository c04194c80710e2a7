"""Pictures in square tiles, four of which make one of the next coarser level; drawn one at a time, finest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Int64, UInt8

from skyloom.data.workers import shared_out

SIDE = 512  # of a tile [pixel]
BELOW = 2  # levels below a tile that are drawn with it, as one piece of work
WORTH = 2  # of these pieces make it worth starting a process
Picture = UInt8[np.ndarray, "h w 4"]  # first row at the top: (rows, columns, RGBA)
Progress = Callable[[int, int | None, str], None]


class Node(NamedTuple):
    """A tile of a level. place : in Z-order, its row in the even bits and its column in the odd ones, as in HEALPix"""

    level: int
    place: int

    def children(self) -> Iterator[Node]:
        """Upper left, lower left, upper right, lower right."""
        return (Node(self.level + 1, 4 * self.place + quarter) for quarter in range(4))


class Tiles(Protocol):
    """What there is to draw. depth : its finest level"""

    @property
    def depth(self) -> int: ...

    @property
    def roots(self) -> Sequence[Node]: ...

    def holds(self, node: Node) -> bool:
        """Whether anything of it may lie in a tile."""
        ...

    def drawn(self, node: Node) -> Picture | None:
        """A tile of the finest level, transparent where nothing is; None if nothing lies in it."""
        ...

    def save(self, node: Node, picture: Picture) -> None: ...


def draw(tiles: Tiles, progress: Progress | None, what: str) -> None:
    """Draw and save all tiles of all levels, on all cores.

    A worker holds a tile of each level below its own, and this process one of each level above: never the whole.
    """
    level = max(0, tiles.depth - BELOW)
    jobs = [node for root in tiles.roots for node in _nodes(tiles, root, level)]
    made = shared_out(_job, len(jobs), (tiles, jobs), WORTH)
    done = 0

    def received(_: Node) -> Picture | None:
        nonlocal done
        done += 1
        picture = next(made)
        if progress:
            progress(done, len(jobs), what)
        return picture

    for root in tiles.roots:
        _halves(tiles, root, level, received)


def _job(number: int, shared: tuple[Tiles, list[Node]]) -> Picture | None:
    tiles, jobs = shared
    return _halves(tiles, jobs[number], tiles.depth, lambda node: _saved(tiles, node, tiles.drawn(node)))


def _nodes(tiles: Tiles, node: Node, level: int) -> Iterator[Node]:
    """All tiles of a level below one, in the order in which `_halves` asks for them."""
    if not tiles.holds(node):
        return
    if node.level == level:
        yield node
        return
    for child in node.children():
        yield from _nodes(tiles, child, level)


def _halves(tiles: Tiles, node: Node, level: int, made: Callable[[Node], Picture | None]) -> Picture | None:
    """Save a tile and all between it and `level`, whose own come from `made`; return it at half its size."""
    if not tiles.holds(node):
        return None
    if node.level == level:
        return made(node)
    return _saved(tiles, node, _joined([_halves(tiles, child, level, made) for child in node.children()]))


def _saved(tiles: Tiles, node: Node, picture: Picture | None) -> Picture | None:
    if picture is None:
        return None
    tiles.save(node, picture)
    return halved(picture)


def _joined(quarters: Sequence[Picture | None]) -> Picture | None:
    """One tile of four halves; None if there is none of them."""
    if all(quarter is None for quarter in quarters):
        return None
    half = SIDE // 2
    whole = np.zeros((SIDE, SIDE, 4), np.uint8)
    for number, quarter in enumerate(quarters):
        if quarter is not None:
            down, across = half * (number & 1), half * (number >> 1)
            whole[down : down + half, across : across + half] = quarter
    return whole


def halved(picture: Picture) -> Picture:
    """Means of the opaque of 2 × 2 pixels, opaque where any of them is: a field never fades away."""
    corners = [picture[down::2, across::2].astype(np.uint32) for down in (0, 1) for across in (0, 1)]
    count = sum((corner[..., 3:] > 0).astype(np.uint32) for corner in corners)
    colours = sum(corner[..., :3] * (corner[..., 3:] > 0) for corner in corners)
    mean = (colours + count // 2) // np.maximum(count, 1)
    return np.concatenate([mean, 255 * (count > 0)], axis=2).astype(np.uint8)


def place_of(row: Int64[np.ndarray, "*n"] | int, column: Int64[np.ndarray, "*n"] | int, bits: int):
    """The place in Z-order of rows and columns of less than 2**bits."""
    place = row * 0
    for bit in range(bits):
        place = place | ((row >> bit) & 1) << 2 * bit | ((column >> bit) & 1) << 2 * bit + 1
    return place


def row_and_column(node: Node) -> tuple[int, int]:
    """Of a tile in its level."""
    row, column = (sum((node.place >> 2 * bit + odd & 1) << bit for bit in range(node.level)) for odd in (0, 1))
    return row, column
