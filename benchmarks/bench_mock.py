"""How many mock galaxies per second, with their true profiles, and where the time goes.

Expected: constant per galaxy; the first few hundred of a survey are slower, while neighbours are drawn for the first
time (the column "from cold"). "no truth" leaves out the true profiles. GalSim 2.8 alone, one draw per band, did 12-17
galaxies/s at 256 x 256 x 3 and 22-40 at 64 x 64 x 3 on two cores; its components drawn once and combined 40 and 199.

    python benchmarks/bench_mock.py [galaxies]
"""

from __future__ import annotations

import sys
from unittest import mock as replaced

from _bench import environment, timed

from skyloom.data.mocks import mock
from skyloom.data.mocks.draw import Placed, draw
from skyloom.data.mocks.sample import galaxy
from skyloom.data.mocks.truth import truth

BANDS = "gri"


def rate(shared: mock.Studio, n: int) -> float:
    """Galaxies per second of wall time."""
    with timed() as timing:
        for _ in mock.drawn(n, shared):
            pass
    return n / timing.wall


def parts(shared: mock.Studio, n: int) -> tuple[float, float]:
    """Milliseconds per galaxy, on one thread, of the noise-free drawing and of the true profiles."""
    galaxies = [galaxy(shared.population, BANDS, mock.generator(shared, number)) for number in range(n)]
    with timed() as drawing:
        for one in galaxies:
            draw(shared.optics.canvas, [Placed(one, shared.optics.canvas.size / 2, shared.optics.canvas.size / 2)])
    with timed() as measuring:
        for one in galaxies:
            truth(one, shared.optics)
    return 1000 * drawing.wall / n, 1000 * measuring.wall / n


def main(n: int) -> None:
    print(environment())
    print(f"{'pixels':>8} {'from cold':>10} {'steady':>8} {'no truth':>9} {'draw [ms]':>10} {'truth [ms]':>11}")
    for size, count in ((256, n), (64, 4 * n)):
        shared = mock.studio(size, BANDS, seed=0)
        cold, steady = rate(shared, count), rate(shared, count)
        with replaced.patch.multiple(mock, truth=lambda *_: None, profile_columns=lambda *_: {}):
            without = rate(shared, count)
        drawing, measuring = parts(shared, count // 4)
        print(f"{size:>8} {cold:>10.1f} {steady:>8.1f} {without:>9.1f} {drawing:>10.1f} {measuring:>11.1f}")
    print(environment())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
