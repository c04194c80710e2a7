"""Cutouts with their masked pixels drawn: the work that `inpaint` hands out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from skyloom.data.cutout import Cutout
from skyloom.infer.frames import Frame, cut, frames, kept, put
from skyloom.infer.generator import Generator, Match
from skyloom.infer.simulate import sigmas_for
from skyloom.samplers.conditional import normal, posterior, repaint
from skyloom.sky.background import sky_level

Method = Literal["posterior", "repaint"]
ALIKE = 1.1  # ratio of noise up to which two surveys count as equal: that of one cutout is known to a few per cent
FILLED = {"filled": np.uint8, "filled_sigma": np.float32}  # columns of a survey, one number per pixel
LEAST = 1e-3  # σ of a filled pixel, in terms of the sky's noise: below it nothing is known


@dataclass
class _Task:
    """One object on its way. canvas : scaled samples; unknown : still to be drawn; error : of known pixels, scaled"""

    canvas: Float[Tensor, "k g h w"]
    unknown: Bool[Tensor, "g h w"]
    error: Float[Tensor, "g h w"]
    left: list[Frame]
    rng: torch.Generator


@dataclass(frozen=True)
class Filler:
    """Everything that decides how an object is filled, but the object and its mask."""

    generator: Generator
    match: Match
    samples: int
    seed: int
    method: Method
    steps: int
    keep_samples: bool
    device: str

    @cached_property
    def denoiser(self):
        return self.generator.denoiser(self.device)

    def __call__(self, cutouts: Sequence[Cutout], masks: Sequence[Bool[np.ndarray, "c h w"]]) -> list[Cutout]:
        """The cutouts, filled; all of one shape."""
        skies = [sky_outside(cutout, mask) for cutout, mask in zip(cutouts, masks, strict=True)]
        tasks = [self._task(*one) for one in zip(cutouts, masks, skies, strict=True)]
        while active := [task for task in tasks if task.left]:
            self._draw(active)
        return [
            self._written(cutout, mask, sky[0], task.canvas)
            for cutout, mask, sky, task in zip(cutouts, masks, skies, tasks, strict=True)
        ]

    def _task(self, cutout: Cutout, mask: np.ndarray, sky: tuple[np.ndarray, np.ndarray]) -> _Task:
        level, rms = (values[:, None, None] for values in sky)
        seen = (cutout.ivar > 0) & ~mask & np.isfinite(level)
        with np.errstate(invalid="ignore"):
            entered = self.match.enter(np.where(seen, cutout.flux - level, 0).astype(np.float32))
        noise = self.match.enter(np.broadcast_to(rms, (len(rms), 1, 1)))[:, 0, 0]
        unknown = torch.from_numpy(np.isnan(entered) | ~(self.match.enter(seen.astype(np.float32)) > 0))
        light = torch.from_numpy(np.nan_to_num(entered))
        more, less = self._unlike(noise)
        rng = torch.Generator().manual_seed(key(self.seed, cutout.object_id))
        canvas = light.expand(self.samples, *light.shape)
        if less.any():
            canvas = canvas + less * normal(canvas, rng)
        scaled = self.generator.scaling.scaled
        error = (scaled(light + more) - scaled(light - more)) / 2
        left = frames(np.asarray(mask.any(0)), self.generator.info.shape, self.generator.multiple)
        return _Task(scaled(canvas).contiguous(), unknown, error, left, rng)

    def _unlike(self, noise: np.ndarray) -> tuple[Float[Tensor, "g 1 1"], Float[Tensor, "g 1 1"]]:
        """Noise that the survey has beyond the generator's, and noise that it lacks, per band [generator's flux]."""
        ours = np.array(self.generator.noise)
        known = np.isfinite(noise) & (np.maximum(noise, ours) > ALIKE * np.minimum(noise, ours))
        excess = np.where(known, noise**2 - ours**2, 0.0)
        more, less = (torch.from_numpy(np.sqrt(np.maximum(sign * excess, 0)).astype(np.float32)) for sign in (1, -1))
        return more[:, None, None], less[:, None, None]

    def _draw(self, tasks: list[_Task]) -> None:
        """Look at the next frame of each object, all objects in one batch."""
        looks = [(task, task.left.pop(0)) for task in tasks]
        known = torch.cat([cut(task.canvas, frame, 0.0) for task, frame in looks]).to(self.device)
        unknown, error = (
            torch.cat(
                [
                    cut(getattr(task, name), frame, beyond)[None].expand(self.samples, *([-1] * 3))
                    for task, frame in looks
                ]
            )
            for name, beyond in (("unknown", True), ("error", 0.0))
        )
        rngs = [task.rng for task, _ in looks]
        noise, sigmas = normal(known, rngs), sigmas_for(self.generator, self.steps)
        unlike = error.to(self.device) if error.any() else None
        given = (self.denoiser, noise, sigmas, known, unknown.to(self.device))
        if self.method == "posterior":
            *_, drawn = posterior(*given, error=unlike, spread=self.generator.spread)
        else:
            *_, drawn = repaint(*given, rngs, error=unlike)
        for (task, frame), piece in zip(looks, drawn.cpu().split(self.samples), strict=True):
            decided = kept(frame, task.unknown.shape)
            put(task.canvas, piece, frame, task.unknown & decided)
            task.unknown &= ~decided

    def _written(self, cutout: Cutout, mask: np.ndarray, level: np.ndarray, canvas: Tensor) -> Cutout:
        flux = self.match.leave(self.generator.scaling.flux(canvas).numpy(), len(mask)).astype(np.float64)
        draws = flux[:, mask] + np.broadcast_to(level[:, None, None], mask.shape)[mask]
        least = LEAST * self.match.leave(np.array(self.generator.noise, np.float32)[:, None, None], len(mask))
        sigma = draws.std(0, ddof=1) * np.sqrt(1 + 1 / self.samples)
        sigma = np.maximum(sigma, np.broadcast_to(least, mask.shape)[mask])
        new_flux, new_ivar = cutout.flux.copy(), cutout.ivar.copy()
        new_flux[mask], new_ivar[mask] = draws.mean(0), sigma**-2.0
        columns = dict(cutout.columns) | filled_columns(cutout, mask, sigma)
        if self.keep_samples:
            columns["filled_samples"] = draws.astype(np.float32).ravel()
        return replace(cutout, flux=new_flux, ivar=new_ivar, columns=columns)


def filled_columns(cutout: Cutout, mask: np.ndarray | None = None, sigma: np.ndarray | None = None) -> dict[str, Any]:
    """What a survey says of filled pixels; those filled earlier are remembered."""
    filled, errors = (np.zeros(cutout.flux.size, kind) for kind in FILLED.values())
    if cutout.columns.get("filled") is not None:
        filled, errors = (np.array(cutout.columns[name], kind) for name, kind in FILLED.items())
    if mask is not None:
        filled[mask.ravel()], errors[mask.ravel()] = 1, sigma
    if not filled.any():
        return {"filled_pixels": 0, "filled": None, "filled_sigma": None}
    return {"filled_pixels": int(filled.sum()), "filled": filled, "filled_sigma": errors}


def stored_sky(cutout: Cutout) -> tuple[np.ndarray, np.ndarray]:
    """Level and rms in every band as the survey states them; NaN where it does not."""
    none = np.full(len(cutout.flux), np.nan)
    level, rms = (none if values is None else np.asarray(values, float) for values in (cutout.sky, cutout.sky_rms))
    return np.where(np.isfinite(rms), level, np.nan), np.where(np.isfinite(level), rms, np.nan)


def sky_outside(cutout: Cutout, mask: Bool[np.ndarray, "c h w"]) -> tuple[np.ndarray, np.ndarray]:
    """Level and rms in every band: as stored, or measured on the pixels outside the mask."""
    level, rms = stored_sky(cutout)
    if np.isfinite(level).all():
        return level, rms
    stated = np.isfinite(level)
    level_outside, rms_outside = sky_level(cutout.flux, np.where(mask, 0, cutout.ivar))
    return np.where(stated, level, level_outside), np.where(stated, rms, rms_outside)


def key(seed: int, object_id: str) -> int:
    """The seed of an object's own noise."""
    return int.from_bytes(hashlib.sha256(f"{seed} {object_id}".encode()).digest()[:8], "big") >> 1
