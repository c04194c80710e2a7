"""Batches of galaxies, each seen once or twice as another night might have seen it: what encoders learn from.

Batch k depends on the images, the arguments and k alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from skyloom.data.images import ImageSet, shuffled
from skyloom.errors import RecipeError
from skyloom.sky.grid import SYMMETRIES, corner, turn
from skyloom.sky.views import blurred, deepened_to, dimming, smoothed_noise, turned
from skyloom.sky.wavelengths import wavelengths

LOST = 0.25  # share of a pixel that was bad before a turn, from which it counts as bad after it
ASKED = ("morphology", "magnitude", "size", "ellipticity", "colour", "redshift")
DUST = ("magnitude", "colour", "redshift")  # what extinction changes
MOST_BLUR = 0.7  # of the PSF's own width: more would change what size and shape a galaxy seems to have


class ViewBatch(NamedTuple):
    """Images as a network sees them; the views of one galaxy stand at the same place along b.

    images : scaled, 0 at bad pixels and in bands that are left out; good : 1 where a pixel counts
    seen : share of good pixels of each band, 0 for one that is left out
    """

    images: Float[Tensor, "v b c h w"]
    good: Float[Tensor, "v b c h w"]
    seen: Float[Tensor, "v b c"]

    def to(self, device: torch.device) -> ViewBatch:
        return ViewBatch(*(part.to(device) for part in self))


@dataclass(frozen=True, kw_only=True)
class Views:
    """What may differ between two views of a galaxy; each number is the largest, drawn evenly from none to that.

    rotate : by any angle, and mirrored; False: only the 8 symmetries
    shift : along each axis [pixel]; blur : FWHM of the Gaussian through which it is seen [pixel]
    noise : factor by which the sky's rms grows, 1 for none: 2 is a survey less deep by 0.75 mag
    dropout : chance of a band to be left out; one is always left
    dust : A(V) in front of it [mag]
    asked : what the vectors will be asked for; views that change the answer are refused (`require_honest`)
    """

    rotate: bool = True
    shift: float = 1.0
    blur: float = 1.0
    noise: float = 2.0
    dropout: float = 0.05
    dust: float = 0.0
    asked: tuple[str, ...] = ASKED

    def margin(self, crop: int) -> int:
        """Side of the image of which the inner `crop` pixels a side are clean after a turn and a shift; a multiple
        of 8, which is fast to transform."""
        reach = crop * (math.sqrt(2) if self.rotate else 1) + 2 * self.shift
        return crop if reach <= crop else 8 * math.ceil((reach + 2) / 8)


def require_honest(views: Views, bands: Sequence[str], psf: float | None) -> None:
    """RecipeError for views under which the answer to what will be asked is another one, or that make no sense.

    psf : narrowest FWHM of a band [pixel], None if unknown
    """
    strange = [name for name in views.asked if name not in ASKED]
    if strange or views.noise < 1 or not 0 <= views.dropout < 1 or min(views.shift, views.blur, views.dust) < 0:
        raise RecipeError(
            f"asked={', '.join(views.asked)}, noise={views.noise:g}, dropout={views.dropout:g}: ask for "
            f"{', '.join(ASKED)} only; noise is 1 or more, dropout 0 to below 1, shift, blur and dust 0 or more"
        )
    touched = [name for name in DUST if name in views.asked]
    if views.dust and touched:
        raise RecipeError(
            f"dust={views.dust:g} makes galaxies of other {', '.join(touched)} one, and these will be asked for; "
            "leave dust out, or take them out of asked"
        )
    if views.dust and wavelengths(bands) is None:
        raise RecipeError(f"dust needs the wavelengths of {', '.join(bands)}, and some of these names say none")
    if psf is not None and views.blur > MOST_BLUR * psf and {"size", "ellipticity"} & set(views.asked):
        raise RecipeError(
            f"blur={views.blur:g} pixels changes sizes beside a PSF of {psf:.2g}, and these will be asked for; "
            f"set blur to {MOST_BLUR * psf:.2g} or less, or take size and ellipticity out of asked"
        )


def view_batches(
    images: ImageSet,
    scaled: Callable[[Tensor], Tensor],
    batch: int,
    *,
    views: Views,
    bands: Sequence[str],
    crop: int,
    each: int,
    seed: int,
    start: int = 0,
) -> Iterator[ViewBatch]:
    """For ever: `batch` galaxies, `each` of them seen so many times; every galaxy comes once per epoch.

    scaled : from flux to what the network sees; bands : names of the images' planes
    crop : pixels a side of what the network sees, of the images' middle
    """
    law = list((wavelengths(bands) or {}).values())
    for step in count(start):
        numbers = range(step * batch, (step + 1) * batch)
        rows = np.array([shuffled(seed, n // len(images), len(images))[n % len(images)] for n in numbers])
        seen = [
            _seen_anew(images, rows, scaled, views, crop, law, np.random.default_rng([seed, 8, step, view]))
            for view in range(each)
        ]
        yield ViewBatch(*(torch.stack(parts) for parts in zip(*seen, strict=True)))


def _seen_anew(
    images: ImageSet, rows, scaled, views: Views, crop: int, law: list[float], draw
) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(int(draw.integers(2**62)))
    b, c = len(rows), images.flux.shape[1]
    flux = images.flux[rows]
    rms = torch.from_numpy(np.asarray(images.noise)).float().expand(b, c)
    if views.dust:
        left = dimming(law, _uniform(draw, 0, views.dust, b))
        flux, rms = flux * left[..., None, None], rms * left
    if views.blur:
        fwhm = _uniform(draw, 0, views.blur, b)
        flux, rms = blurred(flux, fwhm), rms * smoothed_noise(fwhm)[:, None]
    angle = _uniform(draw, -math.pi / 4, math.pi / 4, b) if views.rotate else torch.zeros(b)
    by = _uniform(draw, -views.shift, views.shift, (b, 2))
    side = views.margin(crop)
    flux = _middle(turned(_padded(flux, side), angle, by), crop)
    good = torch.ones_like(flux)
    for place in [k for k, row in enumerate(rows) if int(row) in images.bad]:
        one = slice(place, place + 1)
        bad = turned(_padded(1 - images.good(int(rows[place]))[None], side), angle[one], by[one])
        good[one] = (_middle(bad, crop) < LOST).float()
    if views.noise > 1:
        factor = _uniform(draw, 1, views.noise, b)
        flux = deepened_to(flux, rms, factor[:, None] * rms, rng)
    kept = torch.from_numpy(draw.random((b, c)) >= views.dropout)
    kept[np.arange(b), draw.integers(0, c, b)] = True
    good = good * kept[..., None, None]
    planes = torch.stack([scaled(flux) * good, good], 1)
    turns = draw.integers(0, len(SYMMETRIES), b)
    planes = torch.stack([_as_turned(one, int(k)) for one, k in zip(planes, turns, strict=True)])
    return planes[:, 0], planes[:, 1], good.mean((2, 3))


def _padded(planes: Float[Tensor, "b c h w"], side: int) -> Tensor:
    """Mirrored beyond its edges to at least so many pixels a side."""
    border = max(0, math.ceil((side - min(planes.shape[-2:])) / 2))
    return F.pad(planes, (border,) * 4, mode="reflect") if border else planes


def _middle(planes: Float[Tensor, "b c h w"], size: int) -> Tensor:
    h, w = planes.shape[-2:]
    x0, y0 = corner((w - 1) / 2, (h - 1) / 2, size)
    return planes[..., y0 : y0 + size, x0 : x0 + size]


def _as_turned(planes: Float[Tensor, "*p h w"], k: int) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(turn(planes.numpy(), k)))


def _uniform(draw: np.random.Generator, low: float, high: float, shape) -> Tensor:
    return torch.from_numpy(draw.uniform(low, high, shape).astype(np.float32))
