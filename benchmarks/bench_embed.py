"""How many galaxies of 64 × 64 pixels and nine bands per second become vectors?

`network`: stretched images in memory through the network. `vectors`: flux and inverse variances in memory, sky known.
`embed`: from a survey on disk to a column of it, two threads. A new network of each recipe's laptop size; what it has
learnt does not change how fast it is. Wanted: 50 images/s on two cores. Expected: constant per image; `embed` is bound
by the network, then by reading 300 kB per galaxy.

    python benchmarks/bench_embed.py [--n 512]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from _bench import best_of, environment

import skyloom as sl
from skyloom.data import store
from skyloom.infer.embed import CHUNK, NETS, Encoder
from skyloom.infer.placed import placed
from skyloom.sky.scaling import Asinh

SIDE, CROP, BANDS = 64, 32, "ugriZYJHK"
SETTINGS = {"simclr": {}, "vae": {"side": CROP}, "masked_autoencoder": {"side": CROP}}


def survey(folder: Path, n: int) -> store.Survey:
    """Gaussians of many sizes on noise of rms 1."""
    rng = np.random.default_rng(0)
    y, x = np.indices((SIDE, SIDE), np.float32) - (SIDE - 1) / 2
    info = sl.SurveyInfo(tuple(sl.Band(name, 25.0) for name in BANDS), (SIDE, SIDE), 0.3)

    def cutout(k: int) -> sl.Cutout:
        flux = rng.standard_normal((len(BANDS), SIDE, SIDE), np.float32)
        flux += 30 * np.exp(-(x**2 + y**2) / rng.uniform(4, 60)).astype(np.float32)
        noise = np.ones(len(BANDS), np.float32)
        return sl.Cutout(f"{k}", flux, np.ones_like(flux), tile="t", sky=0 * noise, sky_rms=noise)

    return store.write(folder / "bench.lance", info, map(cutout, range(n)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=512, help="galaxies")
    n = parser.parse_args().n
    print(environment())
    print(f"\n{'':<20} {'':<8} {'images/s':>9} {'CPU ms/image':>13}")
    with tempfile.TemporaryDirectory() as folder:
        there = survey(Path(folder), n)
        flux, ivar = there.cutouts_at(np.arange(min(n, 4 * CHUNK)))
        sky = np.zeros(flux.shape[:2])
        info = sl.SurveyInfo(there.info.bands, (CROP, CROP), there.info.pixel_scale)
        for recipe, make in NETS.items():
            net = make({"channels": len(BANDS), **SETTINGS[recipe]}).eval()
            images, seen = torch.randn(CHUNK, len(BANDS), CROP, CROP), torch.ones(CHUNK, len(BANDS))
            with torch.inference_mode():
                dimension = net(images, seen).shape[1]
            runs = iter(range(1000))
            ones = (1.0,) * len(BANDS)
            encoder = Encoder(recipe, "0", recipe, info, ones, Asinh(ones), 1, dimension, True, placed(net))

            def afresh(encoder=encoder, runs=runs):
                sl.embed(there.path, Encoder(**{**encoder.__dict__, "hash": str(next(runs))}), device="cpu")

            jobs = {
                "network": (CHUNK, torch.inference_mode()(lambda net=net, a=images, b=seen: net(a, b))),
                "vectors": (len(flux), lambda encoder=encoder: encoder.vectors(flux, ivar, sky=sky, device="cpu")),
                "embed": (n, afresh),
            }
            for name, (used, job) in jobs.items():
                best = best_of(3, job)
                print(f"{recipe:<20} {name:<8} {used / best.wall:>9.0f} {1000 * best.cpu / used:>13.2f}", flush=True)
    print(f"\n{environment().splitlines()[-1]}")


if __name__ == "__main__":
    main()
