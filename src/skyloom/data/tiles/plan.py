"""What a field is: its shape, its tiles, where on the sky it lies, and who made it; the record that a folder keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from astropy.wcs import WCS

from skyloom.data.cutout import SurveyInfo
from skyloom.data.destination import write_whole
from skyloom.errors import RequestError

RECORD = "field.json"
TILES = "tiles"
BYTES = 1.2  # of a compressed pixel in one band, at most: the noise of the sky in the steps of `data.tiles.files`


class Tile(NamedTuple):
    """A rectangle of a field. name : of its file"""

    name: str
    rows: range
    columns: range


@dataclass(frozen=True)
class Plan:
    """Everything that the pixels of a field follow from, and its place on the sky.

    shape : rows and columns; tile : side of a tile, of which the last of a line may be smaller [pixel]
    weights, hash : name and hash of the weights; noise : of the sky, in units of the survey's
    centre : ra and dec of the middle of the field [deg]; made up, as no telescope has seen it
    device : what computed it; another one may differ in the last bits
    """

    shape: tuple[int, int]
    tile: int
    seed: int
    weights: str
    hash: str
    noise: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)
    device: str = "cpu"

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.shape[0] // self.tile), -(-self.shape[1] // self.tile)

    def tiles(self) -> Iterator[Tile]:
        """Row by row, from the first pixel."""
        return (self.tile_at(number) for number in range(self.grid[0] * self.grid[1]))

    def tile_at(self, number: int) -> Tile:
        row, column = divmod(number, self.grid[1])
        rows, columns = (
            range(place * self.tile, min((place + 1) * self.tile, side))
            for place, side in zip((row, column), self.shape, strict=True)
        )
        return Tile(f"tile_{row:04d}_{column:04d}.fits", rows, columns)

    def bytes(self, bands: int) -> int:
        """Room on the disk that it takes, at most."""
        return int(self.shape[0] * self.shape[1] * bands * BYTES) + 20_000 * self.grid[0] * self.grid[1]

    def wcs(self, info: SurveyInfo) -> WCS | None:
        """A tangent plane about `centre`, north up and east left; None where the pixel scale is not known."""
        if info.pixel_scale is None:
            return None
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.cunit = ["deg", "deg"]
        wcs.wcs.cdelt = [-info.pixel_scale / 3600, info.pixel_scale / 3600]
        wcs.wcs.crval = list(self.centre)
        wcs.wcs.crpix = [(self.shape[1] + 1) / 2, (self.shape[0] + 1) / 2]
        wcs.wcs.radesys = "ICRS"
        return wcs


def begin(folder: Path, plan: Plan, info: SurveyInfo) -> None:
    """Make the folder of a field, or find the same one begun there; RequestError for anything else."""
    record = {**json.loads(json.dumps(asdict(plan))), "info": json.loads(info.to_json())}
    if (folder / RECORD).exists():
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        other = [name for name in record if found.get(name) != record[name]]
        if other:
            told = ", ".join(f"{name} {found.get(name)!r} there and {record[name]!r} asked for" for name in other[:3])
            raise RequestError(f"{folder} holds another field: {told}; choose another folder")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder} exists and is no field; choose another folder")
    try:
        (folder / TILES).mkdir(parents=True, exist_ok=True)
        write_whole(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    except OSError as fault:
        raise RequestError(f"{folder} cannot be written: {fault}; choose another folder") from fault


def planned(folder: Path) -> tuple[Plan, SurveyInfo]:
    """The plan of a field and what its bands are; RequestError if the folder holds none."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        info = SurveyInfo.from_json(json.dumps(record.pop("info")))
        record |= {"shape": tuple(record["shape"]), "centre": tuple(record["centre"])}
        return Plan(**record), info
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise RequestError(f"{folder} holds no field ({fault}); make one with skyloom field") from fault
