"""How many mock galaxies per second, with their true profiles, and where the time goes.

Expected: constant per galaxy once the workers run and have drawn the neighbours that they use again and again, and
proportional to the cores. `galaxies/s` is wall time of the whole, from a cold start; the rest is CPU time per galaxy
on one core when warm, of which `draw` is the noise-free drawing and `truth` the true profiles. GalSim 2.8 alone, one
draw per band and no truth, did 12-17 galaxies/s at 256 x 256 x 3 and 22-40 at 64 x 64 x 3 on two cores; its components
drawn once and combined 40 and 199.

    OMP_NUM_THREADS=1 python benchmarks/bench_mock.py [galaxies]
"""

from __future__ import annotations

import sys

from _bench import environment, timed

from skyloom.data.mocks import studio
from skyloom.data.mocks.draw import Placed, draw
from skyloom.data.mocks.mock import mock_cutouts
from skyloom.data.mocks.sample import galaxy
from skyloom.data.mocks.truth import truth

BANDS = "gri"


def rate(size: int, n: int) -> float:
    """Galaxies per second of wall time, on all cores, from a cold start."""
    with timed() as timing:
        for _ in mock_cutouts(n, size, BANDS):
            pass
    return n / timing.wall


def parts(size: int, n: int) -> tuple[float, float, float]:
    """Milliseconds of CPU per galaxy, warm: of everything, of the noise-free drawing, of the true profiles."""
    shared = studio.studio(size, BANDS, seed=0)
    galaxies = [galaxy(shared.population, BANDS, studio.generator(shared, number)) for number in range(n)]
    middle = (size - 1) / 2
    for number in range(n):
        studio.cutout(number, shared)
    with timed() as everything:
        for number in range(n):
            studio.cutout(number, shared)
    with timed() as drawing:
        for one in galaxies:
            draw(shared.optics.canvas, [Placed(one, middle, middle)])
    with timed() as measuring:
        for one in galaxies:
            truth(one, shared.optics)
    return 1000 * everything.cpu / n, 1000 * drawing.cpu / n, 1000 * measuring.cpu / n


def main(n: int) -> None:
    print(environment())
    print(f"{'pixels':>8} {'galaxies':>9} {'galaxies/s':>11} {'all [ms]':>9} {'draw [ms]':>10} {'truth [ms]':>11}")
    for size, count in ((256, n), (64, 8 * n)):
        print(f"{size:>8} {count:>9} {rate(size, count):>11.1f}", end=" ")
        print("{:>9.1f} {:>10.1f} {:>11.1f}".format(*parts(size, max(n // 4, 10))))
    print(environment())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
