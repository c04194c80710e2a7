"""How fast do cutouts go in and come out? Writing, reading in order, reading shuffled: skyloom, HDF5, Zarr, memmap.

Every store holds the same 3 × 256 × 256 float32 flux and ivar (with bad pixels), and every reader fills the same
reused buffers, 64 cutouts at a time, in the same random orders. skyloom is timed through its public functions, with
its checks and content hash; the others do nothing but store. Files are in the page cache ("warm").
Expected: shuffled reading costs a copy of the pixels (0.1 ms, memmap's time) and what the format adds to it.

    python benchmarks/bench_store.py [--n 1000] [--directory DIR]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import zarr
from _bench import Timing, environment, timed

import skyloom as sl
from skyloom.data import store

BATCH, SHAPE = 64, (3, 256, 256)
SHUFFLES = 8  # batches read at random; the best and the median are printed
Fill = Callable[[np.ndarray, np.ndarray, np.ndarray], object]


class Format(NamedTuple):
    name: str
    write: Callable[[Path, int], object]
    reader: Callable[[Path], Fill]  # a function (rows, flux, ivar) that fills the buffers


def cutouts(n: int) -> Iterator[sl.Cutout]:
    """Noise, each cutout another piece of one sheet: making it costs little beside storing it."""
    rng = np.random.default_rng(0)
    sheet = rng.normal(size=(3, 320, 320)).astype(np.float32)
    weights = np.where(rng.random((3, 320, 320)) < 0.01, 0, np.float32(4)).astype(np.float32)
    for number in range(n):
        y, x = divmod(number * 37 % 4096, 64)
        here = np.s_[:, y : y + 256, x : x + 256]
        sky, rms = np.full(3, number, np.float32), np.ones(3, np.float32)
        flux, ivar = sheet[here] + np.float32(number), weights[here].copy()
        yield sl.Cutout(f"object-{number}", flux, ivar, sky=sky, sky_rms=rms)


def write_skyloom(path: Path, n: int) -> None:
    info = sl.SurveyInfo(tuple(sl.Band(name) for name in "gri"), SHAPE[1:], pixel_scale=0.2)
    store.write(path, info, cutouts(n))


def read_skyloom(path: Path) -> Fill:
    return sl.open(path).cutouts_at


def fill_arrays(arrays, n: int) -> None:
    for number, cutout in enumerate(cutouts(n)):
        for array, pixels in zip(arrays, (cutout.flux, cutout.ivar), strict=True):
            array[number] = pixels


def row_by_row(arrays) -> Fill:
    def fill(rows, flux, ivar):
        for array, out in zip(arrays, (flux, ivar), strict=True):
            for place, row in enumerate(rows):
                out[place] = array[row]

    return fill


def write_memmap(path: Path, n: int) -> None:
    path.mkdir()
    arrays = [np.lib.format.open_memmap(path / f"{k}.npy", "w+", np.float32, (n, *SHAPE)) for k in range(2)]
    fill_arrays(arrays, n)
    for array in arrays:
        array.flush()


def read_memmap(path: Path) -> Fill:
    return row_by_row([np.load(path / f"{k}.npy", mmap_mode="r") for k in range(2)])


def write_hdf5(path: Path, n: int) -> None:
    with h5py.File(path, "w") as file:
        fill_arrays([file.create_dataset(k, (n, *SHAPE), "f4", chunks=(1, *SHAPE)) for k in "fi"], n)


def read_hdf5(path: Path) -> Fill:
    file = h5py.File(path)

    def fill(rows, flux, ivar):
        for array, out in ((file["f"], flux), (file["i"], ivar)):
            for place, row in enumerate(rows):
                array.read_direct(out, np.s_[row], np.s_[place])

    return fill


def write_zarr(path: Path, n: int) -> None:
    facts = {"shape": (n, *SHAPE), "chunks": (1, *SHAPE), "dtype": "f4", "compressors": None}
    fill_arrays([zarr.create_array(path / k, **facts) for k in "fi"], n)


def read_zarr(path: Path) -> Fill:
    return row_by_row([zarr.open_array(path / k, mode="r") for k in "fi"])


FORMATS = (
    Format("skyloom", write_skyloom, read_skyloom),
    Format("HDF5", write_hdf5, read_hdf5),
    Format("Zarr", write_zarr, read_zarr),
    Format("memmap", write_memmap, read_memmap),
)


def measure(entry: Format, path: Path, n: int) -> tuple[Timing, Timing, list[Timing], float]:
    """Writing all, reading all in order, batches read shuffled, and the size on disk [MB]."""
    with timed() as writing:
        entry.write(path, n)
    fill = entry.reader(path)
    flux, ivar = (np.empty((BATCH, *SHAPE), np.float32) for _ in range(2))
    with timed() as in_order:
        for start in range(0, n - n % BATCH, BATCH):
            fill(np.arange(start, start + BATCH), flux, ivar)
    shuffled, rng = [], np.random.default_rng(1)
    for _ in range(SHUFFLES):
        rows = rng.permutation(n)[:BATCH]
        with timed() as timing:
            fill(rows, flux, ivar)
        shuffled.append(timing)
    expected = {number: cutout for number, cutout in enumerate(cutouts(n)) if number in rows[:2]}
    for place in range(2):
        assert np.array_equal(flux[place], expected[rows[place]].flux) and np.array_equal(
            ivar[place], expected[rows[place]].ivar
        )
    size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file()) / 1e6
    return writing, in_order, shuffled, size


def row(name: str, n: int, writing: Timing, in_order: Timing, shuffled: list[Timing], size: float) -> str:
    read = n - n % BATCH
    walls = sorted(1000 * timing.wall / BATCH for timing in shuffled)
    cpu = 1000 * float(np.median([timing.cpu for timing in shuffled])) / BATCH
    median = float(np.median(walls))
    return (
        f"{name:<8} {n / writing.wall:9.0f} {1000 * writing.cpu / n:9.2f} {read / in_order.wall:9.0f} "
        f"{1000 / median:9.0f} {median:9.2f} {walls[0]:9.2f} {cpu:9.2f} {size:8.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="cutouts; each takes 1.6 MB of disk and page cache")
    parser.add_argument("--directory", type=Path, help="where to write; a temporary directory by default")
    arguments = parser.parse_args()
    if arguments.n < BATCH:
        parser.error(f"--n must be at least {BATCH}")
    print(environment())
    print(f"\n{arguments.n} cutouts of {SHAPE} float32 flux and ivar; batches of {BATCH}; wall time unless CPU is said")
    print("         write/s   CPU ms/  read/s   shuffled  ms each  ms each  CPU ms/  MB on")
    print("                    write   in order     /s     (median)  (best)  cutout    disk")
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        for entry in FORMATS:
            path = Path(directory) / entry.name
            print(row(entry.name, arguments.n, *measure(entry, path, arguments.n)), flush=True)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    print(f"\n{environment().splitlines()[-1]}")


if __name__ == "__main__":
    main()
