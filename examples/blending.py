"""Turn one galaxy into the next, through the noise behind both: python examples/blending.py

Two real galaxies of the sample survey are walked up to noise, noise between theirs is walked down again, and blend.png
shows what comes out, from the one to the other. Offline, in two minutes.
"""

import numpy as np
import torch

import skyloom as sl
from skyloom.data.images import read_images
from skyloom.infer.generator import generator_of
from skyloom.report.sheets import Album, galaxies_grid, pictures
from skyloom.samplers.schedules import karras_sigmas
from skyloom.samplers.solvers import between, ddim, encode

sample = sl.ingest("sample", "kids.lance")
bright = sample.table(["object_id", "mag_r"], "is_extended").sort_by("mag_r")["object_id"].to_pylist()
generator = generator_of("galaxy-kids")
flux = read_images(sample, [bright[3], bright[9]]).flux

denoiser = generator.denoiser()
sigmas = karras_sigmas(100, *generator.sigmas)
*_, noise = encode(denoiser, generator.scaling.scaled(flux), sigmas)
path = torch.stack([between(noise[0], noise[1], part) for part in np.linspace(0, 1, 7)])
*_, scaled = ddim(denoiser, path, sigmas)
blends = generator.scaling.flux(scaled).numpy()

names = ["real A", *(f"blend {k}" for k in range(7)), "real B"]
frames = [flux[0].numpy(), *blends, flux[1].numpy()]
album = Album([generator.cutout(name, one, tile=name) for name, one in zip(names, frames, strict=True)], generator.info)
galaxies_grid(pictures(album)[0], columns=9).savefig("blend.png", dpi=150)
light = blends[:, generator.info.index("r")].sum((1, 2))
real = flux[:, generator.info.index("r")].sum((1, 2))
print(f"blend.png: flux in r from {light[0]:.3g} to {light[-1]:.3g}; the real ones: {real[0]:.3g} and {real[1]:.3g}")
