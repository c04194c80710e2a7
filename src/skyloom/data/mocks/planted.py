"""Oddities planted into mocks, so that it is known what a search for oddities ought to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from skyloom.data.cutout import Cutout
from skyloom.sky.background import sky_level
from skyloom.sky.trails import draw_trail, random_trail

BLUER = (1.4, 0.7)  # of a ring's light beside its galaxy's: in the first and in the last band
FWHM = 3.5  # of what passed through the optics [pixel]

Light = Float[np.ndarray, "c h w"]


def planted(cutout: Cutout, kind: str, rng: np.random.Generator) -> Cutout:
    """The same mock with something odd in it, and `planted` in its columns; its noise and bad pixels stay.

    kind : `ring`, blue, around the galaxy; `merger`, a second nucleus and two tails; `trail`, of a satellite;
        `artefact`, of the detector: bled columns, a jump between two halves, cosmic rays, or bands out of register
    The cutout needs the columns true_x, true_y of mocks.
    """
    level, rms = sky_level(cutout.flux, cutout.ivar)
    light = np.where(cutout.ivar > 0, cutout.flux - level[:, None, None], 0).astype(float)
    added = KINDS[kind](light, rms, (cutout.columns["true_x"], cutout.columns["true_y"]), rng)
    flux = np.where(cutout.ivar > 0, cutout.flux + added, cutout.flux).astype(np.float32)
    columns = {**cutout.columns, "planted": kind}
    return replace(cutout, flux=flux, object_id=f"{kind}-{cutout.object_id}", columns=columns)


def _ring(light: Light, rms: Float[np.ndarray, "c"], centre: tuple[float, float], rng: np.random.Generator) -> Light:
    angle, q, radius = rng.uniform(0, np.pi), rng.uniform(0.6, 1), rng.uniform(6, 12)
    along, across = _turned(light.shape[1:], centre, angle)
    shape = np.exp(-0.5 * ((np.hypot(along, across / q) - radius) / rng.uniform(1.5, 2.2)) ** 2)
    colour = np.geomspace(*BLUER, len(light))
    return _shared(shape, colour * rng.uniform(0.7, 1.3) * _total(light, rms, centre))


def _merger(light: Light, rms: Float[np.ndarray, "c"], centre: tuple[float, float], rng: np.random.Generator) -> Light:
    angle, apart = rng.uniform(0, 2 * np.pi), rng.uniform(5, 10)
    other = centre[0] + apart * np.cos(angle), centre[1] + apart * np.sin(angle)
    along, across = _turned(light.shape[1:], other, rng.uniform(0, np.pi))
    second = np.exp(-np.hypot(np.hypot(along, across / rng.uniform(0.5, 1)), FWHM / 3) / rng.uniform(1.5, 3))
    tails, turn = np.zeros(light.shape[1:]), rng.choice([-1, 1])
    y, x = np.indices(tails.shape, dtype=float)
    for (x0, y0), start in ((other, angle), (centre, angle + np.pi)):
        for step in np.linspace(0, 1, 30):
            radius, where = 3 + 15 * step, start + turn * 1.8 * step
            spot = np.hypot(x - x0 - radius * np.cos(where), y - y0 - radius * np.sin(where))
            tails += (1 - 0.7 * step) * np.exp(-0.5 * (spot / (FWHM / 2)) ** 2)
    total = _total(light, rms, centre)
    return _shared(second, rng.uniform(0.4, 1) * total) + _shared(tails, rng.uniform(0.3, 0.6) * total)


def _trail(light: Light, rms: Float[np.ndarray, "c"], centre: tuple[float, float], rng: np.random.Generator) -> Light:
    strip, _ = draw_trail(light.shape[1:], random_trail(rng, light.shape[1:]))
    band = rng.integers(len(light))  # one exposure, of one band
    return strip * rms[:, None, None] * (np.arange(len(light)) == band)[:, None, None]


def _artefact(
    light: Light, rms: Float[np.ndarray, "c"], centre: tuple[float, float], rng: np.random.Generator
) -> Light:
    kind, added = rng.choice(["bleed", "jump", "rays", "register"]), np.zeros_like(light)
    band, (height, width) = rng.integers(len(light)), light.shape[1:]
    if kind == "bleed":
        first = rng.integers(width - 3)
        added[:, :, first : first + rng.integers(1, 4)] = (rng.uniform(20, 200) * rms)[:, None, None]
    elif kind == "jump":
        added[band, :, : rng.integers(width // 4, 3 * width // 4)] = rng.uniform(1.5, 4) * rms[band]
    elif kind == "rays":
        for _ in range(rng.integers(5, 15)):
            steps, angle = np.arange(rng.integers(3, 12)), rng.uniform(0, 2 * np.pi)
            rows = (rng.uniform(0, height) + steps * np.sin(angle)).astype(int) % height
            columns = (rng.uniform(0, width) + steps * np.cos(angle)).astype(int) % width
            added[band, rows, columns] = rng.uniform(20, 200) * rms[band]
    else:
        added[band] = np.roll(light[band], rng.choice([-6, -4, 4, 6], 2), (0, 1)) - light[band]
    return added


KINDS: dict[str, Callable[..., Light]] = {"ring": _ring, "merger": _merger, "trail": _trail, "artefact": _artefact}


def _turned(shape: tuple[int, ...], centre: tuple[float, float], angle: float) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.indices(shape, dtype=float)
    x, y = x - centre[0], y - centre[1]
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _shared(shape: Float[np.ndarray, "h w"], total: Float[np.ndarray, "c"]) -> Light:
    """Light of one shape with these totals."""
    return total[:, None, None] * shape / shape.sum()


def _total(light: Light, rms: Float[np.ndarray, "c"], centre: tuple[float, float]) -> Float[np.ndarray, "c"]:
    """A galaxy's flux within 8 pixels, at least what stands out of the noise there."""
    along, across = _turned(light.shape[1:], centre, 0.0)
    inside = np.hypot(along, across) < 8
    return np.maximum((light * inside).sum((1, 2)), 10 * rms * np.sqrt(inside.sum()))
