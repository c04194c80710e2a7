"""A survey's galaxies to vectors, kept in the survey as a column with the weights they came from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float, Float32
from torch import nn

from skyloom.checkpoint import Run, open_for
from skyloom.data import store
from skyloom.data.cutout import SurveyInfo
from skyloom.data.embeddings import column_of, keep_embeddings, read_embeddings, without_embedding
from skyloom.data.rings import SKIES, known_sky
from skyloom.errors import RequestError
from skyloom.infer.generator import Match, matched
from skyloom.infer.placed import device_of, placed
from skyloom.infer.side_by_side import chunks_of, side_by_side
from skyloom.infer.token_nets import FACTS as TOKENS
from skyloom.infer.token_nets import vectors_of
from skyloom.nn.embedder import Embedder, EmbedderConfig
from skyloom.nn.masked import MaskedAutoencoder, MaskedConfig
from skyloom.nn.variational import Variational, VariationalConfig
from skyloom.sky.background import sky_level
from skyloom.sky.grid import corner
from skyloom.sky.scaling import Asinh, scaling_of

FACTS = "encoder"
CHUNK = 32  # images in one call of the network, always: their number must not change what comes out
SAVED = 60.0  # seconds after which what is done is kept
SHARE = 20.0  # and at least so many times as long as keeping it takes
Progress = Callable[[int, int | None, str], None]
NETS: dict[str, Callable[[Any], nn.Module]] = {
    "simclr": lambda settings: Embedder(EmbedderConfig(**settings)),
    "vae": lambda settings: Variational(VariationalConfig(**settings)),
    "masked_autoencoder": lambda settings: MaskedAutoencoder(MaskedConfig(**settings)),
}


@dataclass(frozen=True)
class Encoder:
    """Weights that turn images into vectors.

    info : bands in the network's order with their zero points, pixel scale after binning, and the shape that is seen
    noise : rms of the sky in one pixel, per band; scaling : from sky-subtracted flux to the network's numbers
    bin : pixels of a survey averaged to one along each axis; some_bands : bands may be missing
    """

    name: str
    hash: str
    recipe: str
    info: SurveyInfo
    noise: tuple[float, ...]
    scaling: Asinh
    bin: int
    dimension: int
    some_bands: bool
    on: Callable[[str], nn.Module]

    def vectors(
        self,
        flux: Float32[np.ndarray, "n c h w"],
        ivar: Float32[np.ndarray, "n c h w"],
        *,
        info: SurveyInfo | None = None,
        sky: Float[np.ndarray, "n c"] | None = None,
        device: str | None = None,
    ) -> Float32[np.ndarray, "n d"]:
        """One vector of each image; NaN for an image without a good pixel in any band.

        flux, ivar : as a survey holds them, sky included; pixels with ivar 0 count for nothing
        info : what is true of the images: bands, zero points, pixel scale; None: as what the weights learnt from
        sky : level of each band [flux], None to measure it
        An image has the same vector, bit for bit on a CPU of the same kind, whatever others it comes with.
        Raises RequestError for bands or pixels that the weights have never seen.
        """
        match = self.matched(info)
        level = sky_level(flux, ivar)[0] if sky is None else sky
        device = device_of(device)
        net = self.on(device)
        found = np.full((len(flux), self.dimension), np.nan, np.float32)
        for start in range(0, len(flux), CHUNK):
            some = slice(start, start + CHUNK)
            images, good = self._seen(flux[some], ivar[some], level[some], match)
            found[some] = self._of(net, images, good, device)
        return found

    def matched(self, info: SurveyInfo | None) -> Match:
        """The bands of some images among the encoder's; RequestError for what the weights have never seen."""
        if info is None:
            return matched(self, self.info)
        scale = None if info.pixel_scale is None else info.pixel_scale * self.bin
        match = matched(self, replace(info, pixel_scale=scale))
        lacking = [name for name, there in zip(self.info.band_names, match.bands, strict=True) if there is None]
        if lacking and (not self.some_bands or len(lacking) == len(match.bands)):
            raise RequestError(
                f"{self.name} needs all of {', '.join(self.info.band_names)}, and {', '.join(lacking)} are not there; "
                f"train one that has seen galaxies without them (skyloom train {self.recipe} --set dropout=0.1)"
            )
        return match

    def _seen(self, flux, ivar, level, match) -> tuple[Float32[np.ndarray, "n c s s"], Bool[np.ndarray, "n c s s"]]:
        """Light in the encoder's bands and unit, 0 at bad pixels, binned and cropped; and which pixels are good."""
        good = np.asarray(ivar > 0) & np.isfinite(level)[..., None, None]
        light = np.where(good, flux, 0) - np.where(np.isfinite(level), level, 0)[..., None, None]
        light = np.where(good, light, 0)
        places = [0 if there is None else there for there in match.bands]
        known = np.array([there is not None for there in match.bands])
        good = good[:, places] & known[:, None, None]
        light = np.where(good, match.enter(light), 0).astype(np.float32)
        if self.bin > 1:
            h, w = (side // self.bin for side in light.shape[-2:])
            cells = (*light.shape[:2], h, self.bin, w, self.bin)
            light, good = (part[..., : h * self.bin, : w * self.bin].reshape(cells) for part in (light, good))
            good = good.all((3, 5))
            light = np.where(good, light.mean((3, 5)), 0)
        return _centred(light.astype(np.float32), self.info.shape), _centred(good, self.info.shape)

    @torch.inference_mode()
    def _of(self, net: nn.Module, images, good, device: str) -> Float32[np.ndarray, "n d"]:
        """A whole chunk at a time, also where fewer are wanted."""
        whole = np.zeros((CHUNK, *images.shape[1:]), np.float32)
        seen = np.zeros((CHUNK, images.shape[1]), np.float32)
        whole[: len(images)], seen[: len(images)] = images, good.mean((2, 3))
        scaled = self.scaling.scaled(torch.from_numpy(whole).to(device))
        vectors = net(scaled, torch.from_numpy(seen).to(device)).cpu().numpy()[: len(images)]
        return np.where(good.any((1, 2, 3))[:, None], vectors, np.nan).astype(np.float32)


def _centred(planes: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The middle of images, or images in the middle of zeros, in this shape."""
    out = np.zeros((*planes.shape[:-2], *shape), planes.dtype)
    h, w = planes.shape[-2:]
    x0, y0 = corner((w - 1) / 2, (h - 1) / 2, shape[0])
    low, left = max(0, y0), max(0, x0)
    part = planes[..., low : y0 + shape[0], left : x0 + shape[1]]
    out[..., low - y0 : low - y0 + part.shape[-2], left - x0 : left - x0 + part.shape[-1]] = part
    return out


def encoder_of(name: str | Path | Encoder, info: SurveyInfo | None = None) -> Encoder:
    """The encoder of shipped weights, of a run directory, or open already; RequestError lists what there is.

    info : of the images that it is wanted for: weights of sky_gpt may know several kinds of images, each with its own
        way in; None for the first
    """
    if isinstance(name, Encoder):
        return name
    run, facts = open_for(name, FACTS, "encoder", "vectors")
    net, seen, noise, scaling, bin = _net(run, facts, info)
    return Encoder(
        run.name, run.hash, run.record["recipe"], seen, noise, scaling, bin, facts["dimension"], facts["some_bands"],
        placed(net),
    )  # fmt: skip


def _net(
    run: Run, facts: Mapping[str, Any], info: SurveyInfo | None
) -> tuple[nn.Module, SurveyInfo, tuple[float, ...], Asinh, int]:
    """The network, and of the images that it sees: what they are, their noise, their scaling, their binning."""
    if run.facts(TOKENS):
        tokens = vectors_of(run, info)
        kind = tokens.facts
        return tokens, kind.info, kind.noise, kind.scaling, kind.bin
    seen = SurveyInfo.from_json(facts["info"])
    settings = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in run.record["settings"]["net"].items()
    }
    settings |= {name: seen.shape[0] for name in ("side",) if name in settings}
    net = run.load(NETS[run.record["recipe"]]({**settings, "channels": len(seen.bands)}))
    return net, seen, tuple(facts["noise"]), scaling_of(facts["scaling"]), facts["bin"]


class Embedded(NamedTuple):
    """made : vectors computed now; kept : those that were there; blind : ids of objects without a good pixel"""

    survey: store.Survey
    column: str
    made: int
    kept: int
    blind: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """All but the survey."""
        return {name: value for name, value in self._asdict().items() if name != "survey"}


def embed(
    survey: str | Path | store.Survey,
    with_: str | Path | Encoder,
    *,
    device: str | None = None,
    progress: Progress | None = None,
) -> Embedded:
    """A vector of every object that has none of these weights yet, kept in the survey as `embedding_<name>`.

    with_ : weights that ship with skyloom (simclr-kids), a run directory, or an open encoder
    device : "cpu" or "cuda", None for the GPU where there is one
    What is done is kept every minute, so that a call that was killed goes on where it was. Weights of the recipe vae
    whose prior is a mixture also sort: `cluster_<name>` is the most probable part of the mixture, and
    `cluster_<name>_probability` how probable it is.
    Raises RequestError for weights that make no vectors, or bands and pixels that they have never seen.
    """
    survey = store.opened(survey)
    encoder = encoder_of(with_, survey.info)
    column = column_of(encoder.name)
    encoder.matched(survey.info)
    missing = without_embedding(survey, encoder.name, encoder.hash)
    work = partial(_vectors_of, survey, encoder, survey.table(SKIES), device_of(device))
    waiting, blind, done = list[Piece](), list[str](), 0
    saved, pause = time.monotonic(), SAVED
    for piece in side_by_side(work, chunks_of(missing, CHUNK), device_of(device)):
        waiting.append(piece)
        blind += piece.blind
        done += len(piece.ids) + len(piece.blind)
        if progress:
            progress(done, len(missing), "embed")
        if time.monotonic() - saved > pause:
            started = time.monotonic()
            survey, waiting = _kept(survey, encoder, waiting), []
            saved = time.monotonic()
            pause = max(SAVED, SHARE * (saved - started))
    survey = _sorted(_kept(survey, encoder, waiting), encoder)
    return Embedded(survey, column, len(missing) - len(blind), len(survey) - len(missing), tuple(blind))


class Piece(NamedTuple):
    """Vectors of some objects, and the ids of others that have no good pixel."""

    ids: tuple[str, ...]
    vectors: Float32[np.ndarray, "n d"]
    blind: tuple[str, ...]


def _vectors_of(survey: store.Survey, encoder: Encoder, stored, device: str, ids: tuple[str, ...]) -> Piece:
    rows = survey.rows_of(ids)
    flux, ivar = survey.cutouts_at(rows)
    level, _ = known_sky(stored, rows, flux, ivar)
    vectors = encoder.vectors(flux, ivar, info=survey.info, sky=level, device=device)
    sound = np.isfinite(vectors).all(1)
    names = np.array(ids, object)
    return Piece(tuple(names[sound]), vectors[sound], tuple(names[~sound]))


def _kept(survey: store.Survey, encoder: Encoder, pieces: Sequence[Piece]) -> store.Survey:
    ids = [name for piece in pieces for name in piece.ids]
    if not ids:
        return survey
    return keep_embeddings(survey, encoder.name, encoder.hash, ids, np.concatenate([piece.vectors for piece in pieces]))


def _sorted(survey: store.Survey, encoder: Encoder) -> store.Survey:
    """The same survey with each object's cluster, if the weights know any."""
    net = encoder.on("cpu")
    if not (isinstance(net, Variational) and net.config.components > 1):
        return survey
    found = read_embeddings(survey, encoder.name)
    with torch.inference_mode():
        probability, cluster = net.clusters(torch.tensor(found.vectors)).max(1)
    name = column_of(encoder.name).replace("embedding", "cluster", 1)
    return survey.add_columns(
        pa.table({"object_id": found.ids, name: cluster.numpy(), f"{name}_probability": probability.numpy()})
    )
