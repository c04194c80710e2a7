"""Weights that make sky, ready to use: any window of a field without edges, from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from skyloom.checkpoint import Run, open_for
from skyloom.data.cutout import SurveyInfo
from skyloom.infer.placed import placed
from skyloom.nn.deep_field import DeepField, DeepFieldConfig
from skyloom.nn.spatial_gan import SelfEnsemble, SpatialGANConfig
from skyloom.sky.grid import overlap
from skyloom.sky.noise_model import MARGIN, NoiseModel, noise_model_of
from skyloom.sky.positional import unit_normal
from skyloom.sky.scaling import Asinh, UnitRange, scaling_of
from skyloom.sky.sources import Sources, Strewn, on_grid, sources_of

FACTS = "field"
BLOCK = 256  # side of the pieces that a network is called on [pixel]; another side may change the last bits
NOISE = 1000  # the first stream of the sky's noise, one per band; the streams below are those of the grids


class FieldNet(Protocol):
    """A network that makes a window of sky from what lies on a few grids, coarse to fine.

    cell : side of a place of the coarsest grid [pixel]
    """

    @property
    def cell(self) -> int: ...

    def windows(self, pixels: range) -> list[range]: ...

    def __call__(self, inputs: list[Tensor | None], rows: list[range], columns: list[range]) -> Tensor: ...


class Laid(NamedTuple):
    """What lies on the grids about a window. fresh : noise of each grid, None for none; down, across : the windows"""

    strewn: Strewn | None
    fresh: list[np.ndarray | None]
    down: list[range]
    across: list[range]


@dataclass(frozen=True)
class Painter:
    """Weights that make sky.

    info : bands with their zero points, pixel scale
    rms : of the sky per pixel, of each band of the survey that was learnt from [flux]
    scaling : from flux to the network's numbers
    noise : of the sky, which is added to the light; None where the network draws it itself
    sources : where they lie and what they are; None where the network decides that too
    halo : pixels around a window that it follows from too
    """

    name: str
    hash: str
    recipe: str
    info: SurveyInfo
    rms: tuple[float, ...]
    scaling: Asinh | UnitRange
    noise: NoiseModel | None
    sources: Sources | None
    halo: int
    on: Callable[[str], nn.Module]

    def light(self, seed: int, rows: range, columns: range, device: str = "cpu") -> Float32[np.ndarray, "c h w"]:
        """Flux without the sky's noise (with it, where the network draws it itself)."""
        net: Any = self.on(device)
        net = net.of(seed)
        laid = self._laid(net, seed, net.windows(_covered(rows)), net.windows(_covered(columns)))
        out = np.empty((len(self.info.bands), len(rows), len(columns)), np.float32)
        for here, there, down, across in _blocks(rows, columns):
            out[:, *here] = self._painted(net, laid, down, across, device)[:, *there]
        return out

    def pixels(
        self, seed: int, rows: range, columns: range, noise: float = 1.0, device: str = "cpu"
    ) -> Float32[np.ndarray, "c h w"]:
        """Flux as the survey would have seen it. noise : times the survey's; 0 for light alone

        The same pixel of the same seed is the same in whichever window: the field is made in blocks of one size whose
        corners are multiples of it, so that every pixel is always computed in the same way.
        """
        flux = self.light(seed, rows, columns, device)
        if self.noise is None or noise == 0:
            return flux
        down, across = _wider(_covered(rows)), _wider(_covered(columns))
        for band, plane in enumerate(flux):
            white = unit_normal(seed, NOISE + band, down, across)[0]
            for here, there, top, left in _blocks(rows, columns):
                under = _within(_wider(top), down), _within(_wider(left), across)
                plane[here] += np.float32(noise) * self.noise.seen(band, white[under])[there]
        return flux

    def _laid(self, net: Any, seed: int, down: list[range], across: list[range]) -> Laid:
        """Sources and fresh noise in windows of the grids."""
        if self.sources is None:
            return Laid(None, [unit_normal(seed, 0, down[0], across[0], net.config.depth)], down, across)
        strewn = self.sources.strewn(seed, _pixels(down, net.cell), _pixels(across, net.cell))
        fresh = [
            unit_normal(seed, grid, rows, columns, depth) if depth else None
            for grid, ((_, depth), rows, columns) in enumerate(zip(net.config.depths, down, across, strict=True))
        ]
        return Laid(strewn, fresh, down, across)

    def _painted(self, net: Any, laid: Laid, rows: range, columns: range, device: str) -> Float32[np.ndarray, "c h w"]:
        """Flux of a window in one run of the network."""
        down, across = net.windows(rows), net.windows(columns)
        inputs = [None if one is None else _tensor(one, device) for one in self._inputs(net, laid, down, across)]
        with torch.inference_mode():
            return self.scaling.flux(net(inputs, down, across))[0].cpu().numpy()

    def _inputs(self, net: Any, laid: Laid, down: list[range], across: list[range]) -> list[np.ndarray | None]:
        """What lies on each grid in narrower windows: sources and noise, or noise alone."""
        found: list[np.ndarray | None] = []
        for grid, (white, rows, columns) in enumerate(zip(laid.fresh, down, across, strict=False)):
            parts = []
            if laid.strewn is not None and net.config.depths[grid][0]:
                parts.append(on_grid(laid.strewn, rows, columns, net.cell >> grid))
            if white is not None:
                parts.append(white[:, _within(rows, laid.down[grid]), _within(columns, laid.across[grid])])
            found.append(np.concatenate(parts) if parts else None)
        return found


def _covered(pixels: range) -> range:
    """The whole blocks that a line of pixels lies in."""
    return range(pixels.start // BLOCK * BLOCK, -(-pixels.stop // BLOCK) * BLOCK)


def _blocks(rows: range, columns: range) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], range, range]]:
    """The blocks that cover a window: the pixels of the window, those of the block, and where the block lies."""
    down, across = _covered(rows), _covered(columns)
    for top in range(down.start, down.stop, BLOCK):
        for left in range(across.start, across.stop, BLOCK):
            block = range(top, top + BLOCK), range(left, left + BLOCK)
            (to_rows, of_rows), (to_columns, of_columns) = overlap(rows, block[0]), overlap(columns, block[1])
            yield (to_rows, to_columns), (of_rows, of_columns), *block


def _wider(side: range) -> range:
    return range(side.start - MARGIN, side.stop + MARGIN)


def _within(inner: range, outer: range) -> slice:
    """Where a range lies in a wider one."""
    return slice(inner.start - outer.start, inner.stop - outer.start)


def _tensor(planes: np.ndarray, device: str) -> Tensor:
    return torch.from_numpy(planes).to(device)[None].contiguous(memory_format=torch.channels_last)


def _pixels(grids: list[range], cell: int) -> range:
    """All pixels that the windows of the grids have between them."""
    return range(
        min(grid.start * (cell >> level) for level, grid in enumerate(grids)),
        max(grid.stop * (cell >> level) for level, grid in enumerate(grids)),
    )


def painter_of(name: str | Path) -> Painter:
    """The painter of shipped weights or of a run directory; RequestError lists what there is."""
    run, facts = open_for(name, FACTS, "field weights", "fields")
    return painter_with(run, facts, _net(run, len(facts["rms"])))


def painter_with(run: Run, facts: dict[str, Any], net: Any) -> Painter:
    """The painter of a network in memory and of what is known of it."""
    info = SurveyInfo.from_json(facts["info"])
    noise = None if facts["noise"] is None else noise_model_of(facts["noise"])
    sources = sources_of(facts["sources"]) if "sources" in facts else None
    one = net.of(0)
    halo = -_pixels(one.windows(range(0, 1)), one.cell).start
    return Painter(
        run.name, run.hash, run.record["recipe"], info, tuple(facts["rms"]), scaling_of(facts["scaling"]), noise,
        sources, halo, placed(net),
    )  # fmt: skip


def _net(run: Run, bands: int) -> Any:
    kinds: dict[str, tuple[Any, Any]] = {
        "deep_field": (DeepField, DeepFieldConfig),
        "spatial_gan": (SelfEnsemble, SpatialGANConfig),
    }
    net, config = kinds[run.record["recipe"]]
    settings = {key: tuple(v) if isinstance(v, list) else v for key, v in run.record["settings"]["net"].items()}
    return run.load(net(config(**{**settings, "bands": bands})))
