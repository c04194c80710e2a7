"""Noise in, a survey of new galaxies out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from skyloom.data import store
from skyloom.data.cutout import Cutout
from skyloom.data.directory import require_free
from skyloom.errors import RequestError
from skyloom.infer.asked import Asked, Value, asked_of
from skyloom.infer.concept import Concept
from skyloom.infer.generator import Generator, generator_of, of_prior, unit_noise
from skyloom.infer.placed import device_of
from skyloom.infer.side_by_side import side_by_side
from skyloom.nn.variational import Variational
from skyloom.samplers.schedules import cosine_kept, karras_sigmas, sub_sampled
from skyloom.samplers.solvers import ancestral, begun, ddim, dpm_solver, heun

NOTHING = Asked()
CHUNK = {"cpu": 16, "cuda": 256}  # galaxies drawn together
Sampler = Literal["dpm", "heun", "ddim", "ancestral", "decoder"]
USUAL: dict[str, tuple[Sampler, int]] = {"galaxy_edm": ("dpm", 16), "astroddpm": ("ddim", 50), "vae": ("decoder", 1)}
Progress = Callable[[int, int | None, str], None]


def simulate(
    out: str | Path,
    with_: str | Path | Generator,
    n: int,
    *,
    steps: int | None = None,
    seed: int = 0,
    sampler: Sampler | None = None,
    labels: Mapping[str, Value] | None = None,
    like: str | tuple[store.Survey, str] | None = None,
    concept: str | Path | Concept | None = None,
    guidance: float = 1.0,
    device: str | None = None,
    progress: Progress | None = None,
) -> store.Survey:
    """Draw `n` galaxies that no telescope has seen into a new survey at `out`.

    with_ : weights that ship with skyloom (galaxy-kids, galaxy-mock, galaxy-zoo), a run directory, or an open generator
    steps : of the sampler, None for the usual number; sampler : dpm and heun are of second order (heun calls the
        network twice a step), ddim of first, ancestral adds fresh noise at each step as published; decoder is for
        autoencoders alone, in one step: the mean of what a latent vector may be, and white noise of the survey's rms
    labels : what to ask for, by name: a number for all galaxies, or one for each, NaN where nothing is said of it; for
        weights that were told of it
    like : SURVEY:OBJECT_ID, or an open survey and an id: ask for all that the weights know and that galaxy has
    concept : a file of `concept`, what a handful of examples have in common
    guidance : 1 draws from what was learnt of such galaxies; above it they follow more closely, and vary less
    device : "cpu" or "cuda", None for the GPU where there is one
    What was asked for is kept in columns `asked_…`. Values outside the range learnt from are warned of, with the range.
    The survey has the bands, zero points and pixels of the one that the weights learnt from, its noise, and no sky.
    Galaxy k follows from the weights, the sampler, its steps, the seed and k: it is the same however many are drawn,
    and on a CPU of the same kind bit for bit.
    Source: conditions and guidance Ho & Salimans 2022, arXiv:2207.12598. We differ: any part of the conditions may be
    said (`objectives.denoising.silenced`).
    Raises RequestError for weights that make no galaxies, n or steps below 1, an unknown sampler, and for names or
    values that the weights cannot be asked for; StoreError if `out` cannot be written.
    """
    generator = generator_of(with_, denoises=False)
    usual, enough = USUAL[generator.recipe]
    sampler, steps = sampler or usual, enough if steps is None else steps
    require_sensible(n, steps, sampler, generator)
    asked = asked_of(generator, n, labels, like, concept, guidance)
    require_free(Path(out).absolute())
    info = replace(
        generator.info, source=f"skyloom simulate, {generator.name}, seed {seed}"
    ).with_notes(
        "Simulated: no pixel is real.",
        f"Drawn by {generator.name} (weights {generator.hash}) with {sampler}, {steps} steps, seed {seed}.",
        *asked.notes,
    )  # fmt: skip
    device = device_of(device)
    draws = draw(generator, n, steps, seed, sampler, device, asked)
    return store.write(out, info, _cutouts(draws, generator, seed, n, asked, progress))


def require_sensible(n: int, steps: int, sampler: str, generator: Generator) -> None:
    """RequestError for what cannot be drawn."""
    if n < 1:
        raise RequestError(f"n={n} galaxies asked for; ask for one at least")
    if sampler not in get_args(Sampler):
        raise RequestError(f"no sampler {sampler!r}; there is {', '.join(get_args(Sampler))}")
    if (sampler == "decoder") != (generator.recipe == "vae"):
        raise RequestError(f"sampler {sampler} does not suit {generator.name}; ask for {USUAL[generator.recipe][0]}")
    if steps < 1 or (generator.times and steps > generator.times):
        most = f"at most {generator.times} with {generator.name}" if generator.times else "at least 1"
        raise RequestError(f"steps={steps}; ask for {most}")


def draw(
    generator: Generator, n: int, steps: int, seed: int, sampler: Sampler, device: str = "cpu", asked: Asked = NOTHING
) -> Iterator[Float[np.ndarray, "c h w"]]:
    """Galaxies one by one, sky-subtracted flux, a chunk in memory and a few in work."""
    chunk = CHUNK[device]
    work: Callable[[range], np.ndarray]
    if sampler == "decoder":
        work = partial(_decoded, generator, seed, device)
    else:
        work = partial(_drawn, generator, asked, steps, seed, sampler, device)
    for galaxies in side_by_side(work, (range(first, first + chunk) for first in range(0, n, chunk)), device):
        yield from galaxies


def _drawn(generator, asked, steps, seed, sampler, device, numbers) -> Float[np.ndarray, "b c h w"]:
    """A whole chunk, also where fewer are wanted: its size must not change what is drawn."""
    denoiser = asked.denoiser(generator, device, numbers)
    shape = (len(generator.info.bands), *generator.info.shape)
    sigmas = sigmas_for(generator, steps)
    x = (unit_noise(seed, numbers, shape) * sigmas[0]).to(device, torch.float32)
    x = x.contiguous(memory_format=torch.channels_last)
    x = begun(denoiser, x, float(sigmas[0]))
    fresh = torch.Generator().manual_seed(seed * 1_000_003 + numbers[0] + 1)

    def normal() -> Tensor:
        return torch.randn(x.shape, generator=fresh).to(device)

    solvers: dict[str, Callable[..., Iterator[Tensor]]] = {
        "dpm": partial(dpm_solver, spread=generator.spread),
        "heun": heun,
        "ddim": ddim,
        "ancestral": partial(ancestral, normal=normal),
    }
    *_, scaled = solvers[sampler](denoiser, x, sigmas)
    return generator.scaling.flux(scaled).cpu().numpy()


@torch.inference_mode()
def _decoded(generator: Generator, seed: int, device: str, numbers: range) -> Float[np.ndarray, "b c h w"]:
    """A whole chunk of an autoencoder's galaxies, seen through the survey's noise."""
    net = cast(Variational, generator.on(device))
    clean = generator.scaling.flux(net.decode(of_prior(net, seed, numbers).to(device))).cpu()
    noise = unit_noise(seed, numbers, clean.shape[1:]) * torch.tensor(generator.noise)[:, None, None]
    return (clean + noise).numpy()


def sigmas_for(generator: Generator, steps: int) -> Float[Tensor, "n"]:
    """The noise levels that a sampler with so many steps walks down, 0 last."""
    if generator.times:
        return sub_sampled(cosine_kept(generator.times), steps)
    return karras_sigmas(steps, *generator.sigmas)


def _cutouts(
    draws, generator: Generator, seed: int, n: int, asked: Asked, progress: Progress | None
) -> Iterator[Cutout]:
    digits = max(6, len(str(n)))
    for number, flux in zip(range(n), draws, strict=False):
        name = f"sim-{seed}-{number:0{digits}d}"
        yield generator.cutout(name, flux, tile=name, columns=asked.columns(number))
        if progress:
            progress(number + 1, n, "galaxies")
