"""How fast is a field made, and in how much memory? Megapixels per second and peak memory at several sizes.

Fields of growing size by `skyloom field`, each a process of its own with its workers, tiles written to disk, catalogue
included; the peak is the sum over all its processes. Beside them, on one core: the published generator's network alone,
as in the paper, and ours alone. Expected: time in proportion to the area, memory flat; the time for the published
87,040² follows from the slope. The network takes half of the time of three bands or more.

    python benchmarks/bench_field.py WEIGHTS [--sides 1024 2048 4096] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _bench import Timing, best_of, environment

from skyloom.infer.fields.painter import BLOCK, painter_of
from skyloom.nn.spatial_gan import SpatialGAN, SpatialGANConfig

PUBLISHED = 87_040  # side of the thesis' largest field [pixel]


def made(weights: str, side: int, folder: Path) -> tuple[float, float, float, int]:
    """Wall and CPU seconds, peak memory of all processes together [GB], bytes on the disk."""
    place = folder / f"field-{side}"
    shutil.rmtree(place, ignore_errors=True)
    command = [sys.executable, "-m", "skyloom", "field", str(place), "--with", weights, "--shape", f"{side}x{side}"]
    before, started = os.times(), time.perf_counter()
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0.0
    while job.poll() is None:
        peak = max(peak, resident(job.pid))
        time.sleep(0.1)
    wall, after = time.perf_counter() - started, os.times()
    if job.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    size = sum(one.stat().st_size for one in place.rglob("*") if one.is_file())
    shutil.rmtree(place)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu, peak, size


def resident(pid: int) -> float:
    """Memory of a process and its children [GB], pages that they share counted once; 0 where /proc does not say."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return own / 1e6 + sum(resident(int(child)) for child in children)


def network_alone(weights: str) -> tuple[Timing, Timing]:
    """CPU of one block of ours without noise, and of the published network, on one core; per megapixel."""
    torch.set_num_threads(1)
    painter = painter_of(weights)
    block = range(BLOCK)
    ours = best_of(3, lambda: painter.light(0, block, block))
    net = SpatialGAN(SpatialGANConfig(len(painter.info.bands))).eval()
    noise = torch.randn(1, net.config.depth, BLOCK // 16 + 6, BLOCK // 16 + 6)
    sides = net.windows(block)
    with torch.inference_mode():
        theirs = best_of(3, lambda: net([noise], sides, sides))
    share = 1e6 / BLOCK**2
    return tuple(Timing(one.wall * share, one.cpu * share) for one in (ours, theirs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    painter = painter_of(asked.weights)
    bands = len(painter.info.bands)
    flop = painter.on("cpu").of(0).flop_per_pixel() / 1e3
    print(f"{painter.name}: {bands} bands, {flop:.0f} kFLOP a pixel\n{environment()}\n")
    ours, theirs = network_alone(asked.weights)
    print(f"network alone, one core: {ours.cpu:.2f} CPU s a Mpixel; the published one {theirs.cpu:.2f}\n")
    print("| side | Mpixel | wall s | CPU s | Mpixel/s | CPU s a Mpixel | peak GB | bytes a pixel and band |")
    print("|---|---|---|---|---|---|---|---|")
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for side in asked.sides:
            wall, cpu, peak, size = made(asked.weights, side, asked.folder or Path(scratch))
            area = side**2 / 1e6
            found.append((area, wall, cpu))
            print(
                f"| {side} | {area:.1f} | {wall:.1f} | {cpu:.1f} | {area / wall:.2f} | {cpu / area:.2f} | {peak:.2f} | "
                f"{size / side**2 / bands:.2f} |",
                flush=True,
            )
    if len(found) > 1:
        area, wall, cpu = np.array(found).T
        slope, start = np.polyfit(area, wall, 1)
        whole = PUBLISHED**2 / 1e6
        print(f"\n{PUBLISHED}² pixels at this slope ({1 / slope:.2f} Mpixel/s): {(start + slope * whole) / 3600:.2f} h")
    print(f"\n{environment()}")
    print(json.dumps({"found": found}))


if __name__ == "__main__":
    main()
