"""How many galaxies per second does the photometry of the Synthetic Galaxy Distance do, in memory?

Aperture magnitudes of three bands and one half-light radius of 256 × 256 × 3 images, as `skyloom score` takes them.
`products`: two products of pixels and aperture weights, for all galaxies together (skyloom). `one by one`: the same
apertures, galaxy after galaxy, as boolean masks in NumPy. `published`: the arithmetic of the published script, which
finds another size, for many galaxies together (`metrics.legacy`). The script itself did 179 galaxies/s on two cores.
Expected: constant per galaxy; `products` within a factor of two of what the matrix product of that size takes.

    python benchmarks/bench_score.py [--n 1024]
"""

from __future__ import annotations

import argparse

import numpy as np
from _bench import best_of, environment

from skyloom.metrics.legacy import legacy_photometry
from skyloom.metrics.photometry import FIRST, RATIO, photometry

SIDE, SCALE, POINTS = 256, 0.262, [22.5] * 3


def galaxies(n: int) -> np.ndarray:
    """Round exponential discs of many sizes, in noise."""
    rng = np.random.default_rng(0)
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    radius = np.hypot(x, y).astype(np.float32)
    images = rng.standard_normal((n, 3, SIDE, SIDE), np.float32)
    for image, scale in zip(images, rng.uniform(4, 20, n), strict=True):
        image *= 0.01
        image += np.exp(-radius / np.float32(scale))
    return images


def one_by_one(images: np.ndarray) -> list[tuple[list[float], float]]:
    """Masks of whole pixels, one galaxy and one circle at a time."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    radius = np.hypot(x, y)
    radii = np.geomspace(FIRST, SIDE / 2, int(np.log(SIDE / 2 / FIRST) / np.log(RATIO)) + 2)
    aperture, found = radius <= 1.5 / SCALE, []
    for image in images:
        light = [float(band[aperture].sum()) for band in image]
        growth = np.array([image[0][radius <= one].sum() for one in radii])
        found.append((light, float(np.interp(growth[-1] / 2, growth, radii))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1024, help="galaxies")
    images = galaxies(parser.parse_args().n)
    few = images[: max(8, len(images) // 16)]
    photometry(images[:8], SCALE, POINTS)  # makes the weights, once
    print(environment())
    print(f"\n{'':<12} {'galaxies':>9} {'galaxies/s':>11} {'CPU ms/galaxy':>14}")
    jobs = {
        "products": (images, lambda: photometry(images, SCALE, POINTS)),
        "one by one": (few, lambda: one_by_one(few)),
        "published": (few, lambda: legacy_photometry(few, SCALE)),
    }
    for name, (used, job) in jobs.items():
        best = best_of(3, job)
        print(
            f"{name:<12} {len(used):>9} {len(used) / best.wall:>11.0f} {1000 * best.cpu / len(used):>14.3f}", flush=True
        )
    print(f"\n{environment().splitlines()[-1]}")


if __name__ == "__main__":
    main()
