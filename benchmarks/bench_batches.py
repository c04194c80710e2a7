"""What does a training batch cost, and do threads help? Wall and CPU time per cutout, by augmentation and workers.

Reads 3 × 256 × 256 cutouts from a survey made for the purpose. Expected: CPU time per cutout is the same for any
number of workers, and wall time falls with them until the cores or the memory's speed run out.

    python benchmarks/bench_batches.py [--n 300]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from _bench import environment, timed
from bench_store import write_skyloom

import skyloom as sl
from skyloom.data.batches import TRAINING, UNCHANGED, Augment, batches

CASES = {"centre, unturned": UNCHANGED, "crop and turn": Augment(shift=0.0), "crop, turn, shift": TRAINING}
BATCH, STEPS = 32, 8


def measure(survey: sl.Survey, size: int, augment: Augment, workers: int) -> str:
    stream = batches(survey, size, BATCH, seed=0, augment=augment, workers=workers)
    next(stream)  # opens the survey
    with timed() as timing:
        for _ in range(STEPS):
            next(stream)
    stream.close()
    return f"{1000 * timing.wall / STEPS / BATCH:8.2f} {1000 * timing.cpu / STEPS / BATCH:8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=300, help="cutouts in the survey")
    arguments = parser.parse_args()
    print(environment())
    print(f"\nms per cutout: wall, CPU; {arguments.n} cutouts, batches of {BATCH}")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "survey.lance"
        write_skyloom(path, arguments.n)
        survey = sl.open(path)
        list(batches(survey, 256, BATCH, seed=0, epochs=1))  # into the page cache
        for name, augment in CASES.items():
            for size in (64, 256):
                for workers in (0, 1, 2):
                    figures = measure(survey, size, augment, workers)
                    print(f"{name:<18} size {size:3}  workers {workers}  {figures}", flush=True)
    print(f"\n{environment().splitlines()[-1]}")


if __name__ == "__main__":
    main()
