"""`inpaint`: pixels that a trail or a defect has taken, drawn anew by a generator that sees the pixels around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from skyloom.data import store
from skyloom.data.cutout import Cutout
from skyloom.data.directory import require_free
from skyloom.errors import RequestError
from skyloom.infer.filling import Filler, Method, filled_columns, stored_sky
from skyloom.infer.generator import Generator, generator_of, matched
from skyloom.infer.masks import Mask, masks_of
from skyloom.infer.placed import device_of
from skyloom.infer.side_by_side import chunks_of, side_by_side

STEPS: dict[str, int] = {"posterior": 18, "repaint": 32}
CHUNK = {"cpu": 4, "cuda": 32}  # objects in one piece of work
Progress = Callable[[int, int | None, str], None]


def inpaint(
    survey: store.Survey | str | Path,
    out: str | Path,
    mask: str | Path | np.ndarray,
    with_: str | Path | Generator,
    *,
    samples: int = 8,
    seed: int = 0,
    method: Method = "posterior",
    steps: int | None = None,
    keep_samples: bool = False,
    device: str | None = None,
    anyway: bool = False,
    progress: Progress | None = None,
) -> store.Survey:
    """Fill masked pixels into a new survey at `out`; every other pixel keeps its bits.

    mask : "trails", "bad", a column, a file, a folder or an array, see `skyloom.infer.masks`; True is filled
    with_ : weights that ship with skyloom, a run directory, or a generator that is open already
    samples : draws per object, two at least; method, steps : see `skyloom.samplers.conditional`
    keep_samples : also the draws themselves, samples × filled pixels, as the column filled_samples [flux]
    device : "cpu" or "cuda", None for the GPU where there is one
    anyway : also pixel scales that the weights do not know
    A filled pixel holds the mean of the samples, the estimate of least squared error, in which noise has averaged out;
    its ivar is 1/σ², with σ² = variance · (1 + 1/samples), the error of this mean as an estimate of one more sample,
    noise included: so no filled pixel weighs more than an observed one. New columns, per object: filled_pixels, how
    many; and, flat in the order of the flux, filled (1 where filled) and filled_sigma (σ [flux], else 0).
    Bad pixels that are not to be filled, and bands that only the generator has, are taken as unknown. What an object
    becomes follows from its pixels outside the mask, the weights, the arguments and its id; on a CPU, bit for bit.
    Raises RequestError for masks that cannot be used or cover an object entirely, and for bands or pixels that the
    weights do not know; StoreError if `out` cannot be written.
    """
    survey = store.opened(survey)
    steps = STEPS.get(method, 1) if steps is None else steps
    _require_sensible(samples, method, steps)
    generator = generator_of(with_)
    match = matched(generator, survey.info, anyway=anyway)
    require_free(Path(out).absolute())
    masks = masks_of(mask, survey)
    plan = _planned(survey, masks.of, progress)
    device = device_of(device)
    filler = Filler(generator, match, samples, seed, method, steps, keep_samples, device)
    info = survey.info.with_notes(
        "Inpainted: pixels marked in the plane FILLED (column filled) were not observed but drawn by "
        f"{generator.name} (weights {generator.hash}). Mask: {masks.said}. Method {method}, {steps} steps, "
        f"{samples} samples, seed {seed}.",
        "A filled pixel is the mean of its samples; its IVAR is 1/sigma^2, where sigma (plane FILLSIG, column "
        "filled_sigma) is the error of that mean as an estimate of one more sample, noise included.",
    )
    return store.write(out, info, _filled(survey, plan, filler, progress))


def _require_sensible(samples: int, method: str, steps: int) -> None:
    if method not in get_args(Method):
        raise RequestError(f"no method {method!r}; there is {', '.join(get_args(Method))}")
    if samples < 2:
        raise RequestError(f"samples={samples}: one draw says nothing of its error; ask for two at least")
    if steps < 1:
        raise RequestError(f"steps={steps}; ask for one at least")


def _planned(survey: store.Survey, of: Callable[[Cutout], Mask | None], progress: Progress | None) -> dict[str, bytes]:
    """The masks, as bits, of the objects in which there is something to fill; all looked at before any is filled."""
    plan: dict[str, bytes] = {}
    whole, blind = [], []
    for done, cutout in enumerate(survey.read(), 1):
        mask = of(cutout)
        if mask is not None and mask.any():
            seen = ((cutout.ivar > 0) & ~mask).any((1, 2))
            level_known = seen | np.isfinite(stored_sky(cutout)[0])
            if not seen.any():
                whole.append(cutout.object_id)
            elif (mask.any((1, 2)) & ~level_known).any():
                blind.append(cutout.object_id)
            plan[cutout.object_id] = np.packbits(mask).tobytes()
        if progress:
            progress(done, len(survey), "masks")
    if whole:
        raise RequestError(
            f"the mask leaves nothing of {len(whole)} objects ({', '.join(whole[:5])}), and there is nothing to go by; "
            "leave them out, or make new galaxies with skyloom simulate"
        )
    if blind:
        raise RequestError(
            f"the mask leaves nothing of a band of {len(blind)} objects ({', '.join(blind[:5])}), and the survey "
            "states no sky for it, so that its level is unknown; leave that band out of the mask"
        )
    return plan


def _filled(
    survey: store.Survey, plan: dict[str, bytes], filler: Filler, progress: Progress | None
) -> Iterator[Cutout]:
    """All cutouts in order, a few chunks of them in work at a time."""
    chunks = chunks_of(survey.read(), CHUNK[filler.device])
    done = 0
    for chunk in side_by_side(partial(_worked, plan, filler), chunks, filler.device):
        for cutout in chunk:
            yield cutout
            done += cutout.object_id in plan
            if progress and cutout.object_id in plan:
                progress(done, len(plan), "inpaint")


def _worked(plan: dict[str, bytes], filler: Filler, chunk: Sequence[Cutout]) -> list[Cutout]:
    """A chunk with what is to be filled in it filled: on a GPU all objects in one batch, on a CPU one after another."""
    todo = [cutout for cutout in chunk if cutout.object_id in plan]
    masks = [_mask(plan[cutout.object_id], cutout.flux.shape) for cutout in todo]
    batch = len(todo) if filler.device != "cpu" else 1
    filled: dict[str, Cutout] = {}
    for first in range(0, len(todo), max(batch, 1)):
        part = slice(first, first + batch)
        filled |= {cutout.object_id: cutout for cutout in filler(todo[part], masks[part])}
    return [
        filled.get(cutout.object_id) or replace(cutout, columns={**cutout.columns, **filled_columns(cutout)})
        for cutout in chunk
    ]


def _mask(bits: bytes, shape: tuple[int, ...]) -> Mask:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=int(np.prod(shape))).reshape(shape) > 0
