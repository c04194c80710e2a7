"""A network that makes galaxies, ready to use: its denoiser in one form, its scaling, and what survey it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from skyloom.checkpoint import Run, open_for
from skyloom.data.conditions import Condition, conditions_from
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.errors import RequestError
from skyloom.infer.placed import placed
from skyloom.infer.suited import spelled
from skyloom.nn.astroddpm import AstroDDPM, AstroDDPMConfig
from skyloom.nn.denoiser import Denoiser, DenoiserConfig
from skyloom.nn.variational import Variational, VariationalConfig
from skyloom.samplers.schedules import cosine_kept, sigmas_of
from skyloom.sky.scaling import Asinh, MinMax, scaling_of

FACTS = "generator"
SAME_SCALE = 1.02  # largest ratio of pixel scales that count as one
Call = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Generator:
    """Weights that make galaxies.

    info : bands in the network's order with their zero points, pixel scale, and the shape that was trained on
    noise : rms of the sky in one pixel, per band; light : median total flux of the galaxies learnt from, per band
    scaling : from sky-subtracted flux to the network's numbers; sigmas : lowest and highest noise level in those
    spread : σ of the sky's pixels, scaled, as the network assumes it; 0 if it assumes nothing
    times : steps of the published diffusion, 0 for networks that take any noise level
    multiple : images must be a multiple of so many pixels along each axis
    conditions : what its galaxies can be asked by; none if it was told nothing
    """

    name: str
    hash: str
    recipe: str
    info: SurveyInfo
    noise: tuple[float, ...]
    light: tuple[float, ...]
    scaling: Asinh | MinMax
    sigmas: tuple[float, float]
    spread: float
    times: int
    multiple: int
    on: Callable[[str], nn.Module]
    conditions: tuple[Condition, ...] = ()

    def denoiser(self, device: str = "cpu") -> Call:
        """(x, sigma) to the mean of the clean images, scaled; x = clean + sigma · noise."""
        net = self.on(device)
        return net if not self.times else _of_noise(net, self.times, clip=getattr(self.scaling, "clip", False))

    def cutout(
        self, object_id: str, flux: Float[np.ndarray, "c h w"], *, tile: str, ra: float | None = None,
        dec: float | None = None, columns: Mapping[str, Any] | None = None,
    ) -> Cutout:  # fmt: skip
        """A galaxy that was made, as a survey holds it: with the noise learnt from, and sky 0."""
        noise = np.array(self.noise, np.float32)
        ivar = (noise.astype(float) ** -2.0).astype(np.float32)
        return Cutout(
            object_id, np.ascontiguousarray(flux, np.float32),
            np.ascontiguousarray(np.broadcast_to(ivar[:, None, None], flux.shape)),
            ra=ra, dec=dec, tile=tile, sky=np.zeros_like(noise), sky_rms=noise, columns=dict(columns or {}),
        )  # fmt: skip


def _of_noise(net: nn.Module, times: int, clip: bool) -> Call:
    """A network that names the noise of a step as a denoiser of any level; between two steps it is asked in between."""
    levels = sigmas_of(cosine_kept(times))
    place = np.log(levels.numpy())

    def denoise(x: Float[Tensor, "b c h w"], sigma: Float[Tensor, "*b"]) -> Float[Tensor, "b c h w"]:
        level = sigma.to(x).expand(len(x))
        step = np.interp(np.log(level.cpu().numpy()), place, np.arange(times))
        plane = level.view(-1, 1, 1, 1)
        noise = net(x / (1 + plane**2).sqrt(), torch.from_numpy(step).to(x))
        clean = x - plane * noise
        return clean.clamp(-1, 1) if clip else clean

    return denoise


def generator_of(name: str | Path | Generator, *, denoises: bool = True) -> Generator:
    """The generator of shipped weights, of a run directory, or open already; RequestError lists what there is.

    denoises : False also opens those that draw galaxies without taking noise away (`recipes.vae`)
    """
    if isinstance(name, Generator):
        return name
    run, facts = open_for(name, FACTS, "generator", "galaxies")
    if denoises and run.record["recipe"] == "vae":
        raise RequestError(f"{name} is an autoencoder: it draws galaxies (skyloom simulate), and takes no noise away")
    info = SurveyInfo.from_json(facts["info"])
    net = _net(run, facts, info)
    return Generator(
        run.name, run.hash, run.record["recipe"], info, tuple(facts["noise"]), tuple(facts["light"]),
        scaling_of(facts["scaling"]), tuple(facts["sigmas"]), net.config.spread if isinstance(net, Denoiser) else 0.0,
        facts.get("times", 0), net.config.multiple, placed(net),
        conditions_from(facts.get("labels")),
    )  # fmt: skip


def _net(run: Run, facts: dict[str, Any], info: SurveyInfo) -> Any:
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in run.record["settings"]["net"].items()
    }
    settings["channels"] = len(info.bands)
    if run.record["recipe"] == "vae":
        return run.load(Variational(VariationalConfig(**{**settings, "side": info.shape[0]})))
    if run.record["recipe"] == "astroddpm":
        return run.load(AstroDDPM(AstroDDPMConfig(**settings)))
    told = sum(one.width for one in conditions_from(facts.get("labels")))
    return run.load(Denoiser(DenoiserConfig(**{**settings, "conditions": told})))


class Match(NamedTuple):
    """How a survey's images become a generator's.

    bands : for each of the generator's bands the place of the survey's, or None; gain : (c,) flux of the generator per
    flux of the survey, 1 where there is no such band
    """

    bands: tuple[int | None, ...]
    gain: Float[np.ndarray, "c"]

    def enter(self, flux: Float[np.ndarray, "*b c h w"]) -> Float[np.ndarray, "*b g h w"]:
        """Flux of a survey in the generator's bands and unit; NaN in bands that the survey does not have."""
        shape = (*flux.shape[:-3], len(self.bands), *flux.shape[-2:])
        out = np.full(shape, np.nan, np.float32)
        for here, there in enumerate(self.bands):
            if there is not None:
                out[..., here, :, :] = flux[..., there, :, :] * self.gain[here]
        return out

    def leave(self, flux: Float[np.ndarray, "*b g h w"], bands: int) -> Float[np.ndarray, "*b c h w"]:
        """The generator's flux in the bands and unit of the survey."""
        out = np.zeros((*flux.shape[:-3], bands, *flux.shape[-2:]), np.float32)
        for here, there in enumerate(self.bands):
            if there is not None:
                out[..., there, :, :] = flux[..., here, :, :] / self.gain[here]
        return out


class Learnt(Protocol):
    """Weights that belong to bands, zero points and pixels."""

    @property
    def name(self) -> str: ...

    @property
    def recipe(self) -> str: ...

    @property
    def info(self) -> SurveyInfo: ...


def matched(generator: Learnt, info: SurveyInfo, *, anyway: bool = False) -> Match:
    """The survey's bands among those of a network of flux; RequestError for what its weights have never seen.

    anyway : also another pixel scale, or one that is not known; bands must be known in any case
    """
    known = [spelled(name) for name in generator.info.band_names]
    strange = [name for name in info.band_names if spelled(name) not in known]
    if strange:
        raise RequestError(
            f"{generator.name} knows {', '.join(generator.info.band_names)} and has never seen {', '.join(strange)}; "
            f"leave those bands out, or train on yours (skyloom train {generator.recipe})"
        )
    _require_scale(generator, info, anyway)
    places = {spelled(name): k for k, name in enumerate(info.band_names)}
    bands = tuple(places.get(name) for name in known)
    gain = np.ones(len(bands))
    for here, there in enumerate(bands):
        if there is not None:
            gain[here] = _gain(generator, info, here, there)
    return Match(bands, gain)


def _gain(generator: Learnt, info: SurveyInfo, here: int, there: int) -> float:
    ours, theirs = generator.info.bands[here], info.bands[there]
    if ours.zero_point is None and theirs.zero_point is None:
        return 1.0
    if ours.zero_point is None or theirs.zero_point is None:
        raise RequestError(
            f"band {theirs.name}: only one of the survey and {generator.name} has a zero point, so their fluxes cannot "
            "be compared; give --zero-point when you ingest"
        )
    return 10 ** (0.4 * (ours.zero_point - theirs.zero_point))


def _require_scale(generator: Learnt, info: SurveyInfo, anyway: bool) -> None:
    ours, theirs = generator.info.pixel_scale, info.pixel_scale
    if anyway or (ours is None and theirs is None):
        return
    if ours is None or theirs is None or not 1 / SAME_SCALE <= theirs / ours <= SAME_SCALE:
        raise RequestError(
            f"{generator.name} knows pixels of {ours or 'unknown size'} arcsec and the survey's have "
            f"{theirs or 'an unknown size'}; resample the images, train on them, or insist (anyway)"
        )


def of_prior(net: Variational, seed: int, numbers: Sequence[int]) -> Float[Tensor, "b d"]:
    """Latent vectors of galaxies by their number, drawn from the prior of an autoencoder."""
    latent = []
    for number in numbers:
        with torch.random.fork_rng():
            torch.manual_seed(_key(seed, number) ^ 1)
            latent.append(net.prior().sample())
    return torch.stack(latent)


def unit_noise(seed: int, numbers: Sequence[int], shape: Sequence[int]) -> Float[Tensor, "b c h w"]:
    """Unit noise for galaxies by their number: the same whatever else is drawn beside them."""
    return torch.stack([
        torch.randn(tuple(shape), generator=torch.Generator().manual_seed(_key(seed, number))) for number in numbers
    ])  # fmt: skip


def _key(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
