"""How fast is Pix2Prof? Galaxies per second of the published way, of the same net in batches, and of a smaller stem.

Random weights and images of 256² pixels, profiles of a fixed number of steps (no stop rule). Published: one galaxy
at a time, a Python loop over steps. Batched: the same weights, batch norms folded, channels last, galaxies in step,
a batch on each core, freed memory kept, as the engine does it.
Expected: a batch makes the decoder's loop almost free, and the encoder runs at the speed of a matrix product, so the
cifar stem is limited by its 71 GFLOP; the strided stem has 16 times fewer, and the decoder's loop becomes half of it.
Energy is CPU seconds times watts per busy core, a number that is assumed and not measured.

On a busy machine only the ratio of CPU seconds means something, and only with OMP_NUM_THREADS=1.

    python benchmarks/bench_pix2prof.py [--batch 64] [--steps 300] [--watts 10]
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor

import torch
from _bench import Timing, best_of, environment
from torch.utils.flop_counter import FlopCounterMode

from skyloom.infer.side_by_side import keep_freed_memory
from skyloom.nn.pix2prof import Pix2Prof, Pix2ProfConfig
from skyloom.nn.resnet import Stem, fast

SIDE, ALONE, REPEATS = 256, 4, 3  # pixels; galaxies that the published way does


def discs(n: int) -> torch.Tensor:
    """Exponential discs of many sizes and brightnesses, with noise."""
    rng = torch.Generator().manual_seed(1)
    size, brightness = (low * 30 ** torch.rand(n, 1, 1, 1, generator=rng) for low in (2.0, 0.1))
    place = torch.arange(SIDE) - SIDE / 2
    radius = torch.hypot(place[:, None], place)
    return brightness * torch.exp(-radius / size) + 0.1 * torch.randn(n, 1, SIDE, SIDE, generator=rng)


def seeded(stem: Stem, images: torch.Tensor) -> Pix2Prof:
    """A net of the published size whose batch norms have seen images, so that folding them is a test."""
    torch.manual_seed(0)
    net = Pix2Prof(Pix2ProfConfig(stem=stem))
    with torch.no_grad():
        for _ in range(20):
            net.encoder(images[:, :, ::4, ::4])
    return net.eval()


@torch.no_grad()
def published(net: Pix2Prof, images: torch.Tensor, steps: int) -> torch.Tensor:
    """One galaxy at a time, one step at a time."""
    return torch.cat([net(image, image.new_zeros(1, steps), forced=False) for image in images.split(1)])


def batched(net: Pix2Prof, images: torch.Tensor, steps: int) -> torch.Tensor:
    """As the engine does it: a batch on each core."""
    cores = os.cpu_count() or 1
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(cores) as pool:
            parts = pool.map(lambda some: net.predict(some, most=steps, tolerance=-1.0).values, images.chunk(cores))
            return torch.cat(list(parts))
    finally:
        torch.set_num_threads(threads)


def gflop(net: Pix2Prof, steps: int) -> str:
    with torch.no_grad(), FlopCounterMode(display=False) as encoder:
        features = net.encoder.features(torch.zeros(1, 1, SIDE, SIDE))
    with torch.no_grad(), FlopCounterMode(display=False) as decoder:
        net.decoder.forced(torch.zeros(1, steps), net.decoder.begin(features))
    return f"{encoder.get_total_flops() / 1e9:.1f} + {decoder.get_total_flops() / 1e9:.2f} GFLOP"


def row(name: str, each: Timing, alone: Timing, watts: float) -> str:
    """`each` and `alone` are of one galaxy: by this way, and by the published one."""
    ratios = f"{alone.wall / each.wall:8.1f} {alone.cpu / each.cpu:8.1f}"
    return f"{name:<20} {1 / each.wall:7.2f} {each.wall:9.4f} {each.cpu:9.4f} {ratios} {each.cpu * watts:12.2f}"


def per_galaxy(timing: Timing, n: int) -> Timing:
    return Timing(timing.wall / n, timing.cpu / n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128, help="galaxies in all batches together")
    parser.add_argument("--steps", type=int, default=300, help="steps of a profile")
    parser.add_argument("--watts", type=float, default=10.0, help="assumed power of one busy core [W]")
    arguments = parser.parse_args()
    steps, n = arguments.steps, arguments.batch
    images = discs(n)
    full, small = (seeded(stem, images[:8]) for stem in ("cifar", "strided"))
    quick, quickest = fast(full), fast(small)
    print(environment())
    print(f"\nencoder + decoder per galaxy: cifar stem {gflop(full, steps)}; strided stem {gflop(small, steps)}")
    print(f"\n{'':<20} {'gal/s':>7} {'wall [s]':>9} {'CPU [s]':>9} {'a by wall, by CPU':>17} {'kJ/1000 gal':>12}")
    alone = per_galaxy(best_of(REPEATS, lambda: published(full, images[:ALONE], steps)), ALONE)
    print(row("a published", alone, alone, arguments.watts), flush=True)
    keep_freed_memory()  # as the engine does
    for name, net, repeats in (("b batched", quick, 1), ("c batched, strided", quickest, REPEATS)):
        timing = best_of(repeats, lambda net=net: batched(net, images, steps))
        print(row(name, per_galaxy(timing, n), alone, arguments.watts), flush=True)
    for name, net, quicker in (("b", full, quick), ("c", small, quickest)):
        few = images[:ALONE]
        values = published(net, few, steps)
        difference = (values - batched(quicker, few, steps)).abs().max()
        print(
            f"largest |difference| of {name} from the same weights, one at a time: {difference:.1e} (net units)", end=""
        )
        print(f"; spread of the galaxies {values.std(0).max():.1e}")
    print(f"\nenergy assumes {arguments.watts:g} W per busy core")
    print(environment().splitlines()[-1])


if __name__ == "__main__":
    main()
