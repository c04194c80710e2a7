"""`score`: real and fake galaxies, or pieces of a field, of two surveys compared by every metric beside its null."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from skyloom import __version__
from skyloom.data import store
from skyloom.data.store import Survey
from skyloom.errors import RequestError
from skyloom.metrics.counts import completeness_limits
from skyloom.metrics.distances import trial
from skyloom.metrics.measured import Encoder, Progress, legacy_bands, lens, measured, shapes
from skyloom.metrics.memorisation import Memorised
from skyloom.metrics.photometry import Property
from skyloom.metrics.samples import Frame, Sample, are_pieces, drawn, like
from skyloom.metrics.score import Score
from skyloom.metrics.verdicts import METRICS, Case, Row

NUMBERS = ("value", "error", "low", "high", "null", "null_error", "sigmas", "p")


class Suspect(NamedTuple):
    """A fake galaxy that is a copy of a real one, by name. ratio : of its distance to that of the nearest held out"""

    fake: str
    real: str
    ratio: float


@dataclass(frozen=True)
class Comparison:
    """What `score` found.

    rows : one per number; nulls : how real galaxies were set beside real ones; notes : what else must be known
    real_ids, fake_ids : the galaxies compared; null_ids : the real ones that only the null has
    properties : what was measured on each galaxy, (real, fake), for histograms; empty if no metric needed any
    suspects : copies that memorisation found
    """

    real: str
    fake: str
    n: int
    seed: int
    rows: tuple[Row, ...]
    nulls: str
    notes: tuple[str, ...]
    real_ids: tuple[str, ...]
    fake_ids: tuple[str, ...]
    null_ids: tuple[str, ...]
    properties: tuple[tuple[Property, Property], ...]
    suspects: tuple[Suspect, ...] = ()

    def table(self) -> pa.Table:
        """One line per number; the schema's metadata say of what."""
        columns: dict[str, list] = {"metric": [row.metric for row in self.rows]}
        columns |= {"name": [row.found.name for row in self.rows], "unit": [row.found.score.unit for row in self.rows]}
        columns |= {"n": [row.found.score.n for row in self.rows]}
        values = np.array([_numbers(row) for row in self.rows], float).reshape(-1, len(NUMBERS))
        columns |= {name: values[:, k].tolist() for k, name in enumerate(NUMBERS)}
        story = {"real": self.real, "fake": self.fake, "n": str(self.n), "seed": str(self.seed), "nulls": self.nulls}
        story |= {"notes": json.dumps(self.notes, ensure_ascii=False), "skyloom": __version__}
        return pa.table({**columns, "note": [row.note for row in self.rows]}).replace_schema_metadata(story)

    def __str__(self) -> str:
        """The table for a terminal, and under it all that must be known to read it."""
        heads = ("metric", "", "value", "null", "sigma", "p", "95 % interval", "n", "")
        lines = [heads, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        said = [f"{self.n} of {self.fake} beside {self.n} of {self.real}. Null: {self.nulls}.", *self.notes]
        copies = [f"{one.fake} is a copy of {one.real} (ratio {one.ratio:.2f})" for one in self.suspects[:5]]
        return "\n".join([*text, "", *said, *copies])


def score(
    real: Survey | str | Path,
    fake: Survey | str | Path,
    metrics: Sequence[str] | None = None,
    *,
    held_out: Survey | str | Path | None = None,
    n: int | None = None,
    seed: int = 0,
    inception: str | Path | Encoder | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare fake galaxies with real ones, in distributions of what is measured on them; each score with its null.

    Surveys of pieces of a field (`ingest --catalogue grid`) are compared in the sources that are found in them.
    metrics : names (see `METRICS`); None: all that are of galaxies, or of pieces, for which there is what they need,
        and a note on the others
    held_out : real galaxies that the generator has not seen, where `real` are those it was trained on: memorisation
    n : galaxies of each; None: all fakes, or half of the real ones if those are fewer: the other half is the null
    inception : weights of an encoder of 8-bit pictures (b, 3, h, w), one row of features for each: a TorchScript file,
        or any callable of torch tensors
    Each cutout's sky is subtracted; bad pixels count as sky. Same surveys, arguments and seed: same numbers.
    Raises RequestError for surveys of different bands or pixel scales, n = 0, metrics that there are not or that lack
    what they need; UnitError for zero points that only one survey has.
    """
    real, fake = store.opened(real), store.opened(fake)
    require_known(metrics)
    pool, fakes, count = drawn(real, fake, n, seed)
    encoder = _encoder(inception)
    of = "pieces" if are_pieces(real) and are_pieces(fake) else "galaxies"
    chosen, left_out = _chosen(metrics, pool.frame, count, of, held_out is not None, encoder is not None)
    through = lens(pool, seed, encoder)
    kinds = list(dict.fromkeys(kind for name in chosen for kind in METRICS[name].kinds))
    rows = trial(len(pool), len(fakes), count, seed=seed, shuffled=False)
    ours = measured(pool, [kind for kind in kinds if kind != "coarse"], through, progress)
    theirs = measured(fakes, kinds, through, progress)
    train = outside = None
    if "memorisation" in chosen and held_out is not None:
        everything = Sample(real, np.arange(len(real)), pool.frame, pool.planes, pool.gain)
        train = measured(everything, ["coarse"], through, progress)["coarse"]
        outside = measured(like(pool, store.opened(held_out)), ["coarse"], through, progress)["coarse"]
    case = Case(pool.frame, rows, ours, theirs, seed, train, outside)
    found, memorised = [], None
    for done, name in enumerate(chosen, 1):
        verdict = METRICS[name].judge(case)
        found += verdict.rows
        memorised = verdict.memorised or memorised
        if progress:
            progress(done, len(chosen), "compare")
    names = pool.ids
    return Comparison(
        real.path.name, fake.path.name, count, seed, tuple(found), rows.null.words, (*pool.frame.notes, *left_out),
        names[:count], fakes.ids, names[count:], _properties(case), _suspects(memorised, fakes, real),
    )  # fmt: skip


def require_known(metrics: Sequence[str] | None) -> None:
    """RequestError for a metric that there is not, or for none at all."""
    unknown = [name for name in metrics or () if name not in METRICS]
    if unknown or (metrics is not None and not metrics):
        there = "; ".join(f"{name}: {metric.says}" for name, metric in METRICS.items())
        raise RequestError(f"no metric {', '.join(map(repr, unknown)) or 'was named'}; there is {there}")


def _chosen(
    metrics: Sequence[str] | None, frame: Frame, n: int, of: str, held_out: bool, encoder: bool
) -> tuple[list[str], list[str]]:
    """The metrics to use, and a note on those that were not asked for by name and lack what they need.

    of : "galaxies" or "pieces", which the surveys hold
    """
    lacking = {name: f"needs {metric.fewest} {of} of each" for name, metric in METRICS.items() if n < metric.fewest}
    if not held_out:
        lacking["memorisation"] = "needs real galaxies that the generator has not seen (held_out)"
    if not encoder:
        lacking["inception"] = "needs weights of an encoder (inception)"
    if len(frame.bands) < 2:
        lacking["colours"] = "needs two bands"
    if legacy_bands(frame) is None:
        lacking["sgd_legacy"] = "needs three bands"
    if metrics is not None:
        refused = [f"{name} {lacking[name]}" for name in metrics if name in lacking]
        if refused:
            raise RequestError(f"{'; '.join(refused)}; give it, or leave the metric out")
        return list(dict.fromkeys(metrics)), []
    suited = [name for name, metric in METRICS.items() if metric.of in ("", of)]
    notes = [f"Left out: {name}, which {lacking[name]}." for name in suited if name in lacking]
    if of == "pieces":
        notes.append("Both are pieces of a field: what is measured on one galaxy in the middle of each is left out.")
    return [name for name in suited if name not in lacking], notes


def _encoder(inception: str | Path | Encoder | None) -> Encoder | None:
    """The user's encoder: a callable as it is, or a TorchScript module from a file."""
    if inception is None or callable(inception):
        return inception
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript: it is what such weights come in
            return torch.jit.load(str(inception), map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as fault:
        raise RequestError(
            f"{inception} is no TorchScript module ({str(fault).splitlines()[0]}); save one with torch.jit.script, or "
            "give a callable from Python"
        ) from fault


def _properties(case: Case) -> tuple[tuple[Property, Property], ...]:
    """All properties that were measured, of the real and of the fake galaxies that were compared."""
    pairs: list[tuple[Property, Property]] = []
    if "photometry" in case.real:
        ours, theirs = case.compared("photometry")
        pairs += zip(ours.properties, theirs.properties, strict=True)
    if "morphology" in case.real:
        pairs += zip(*(shapes(found) for found in case.compared("morphology")), strict=True)
    if "sources" in case.real:
        limits = completeness_limits(case.real["sources"])
        pairs += zip(
            *((*one.magnitudes_to(limits), *one.colours_and_size) for one in case.compared("sources")), strict=True
        )
    return tuple(pairs)


def _suspects(memorised: Memorised | None, fakes: Sample, real: Survey) -> tuple[Suspect, ...]:
    if memorised is None:
        return ()
    found, fake_ids = memorised.suspects, fakes.ids
    real_ids = real.table(["object_id"])["object_id"].take(found.train).to_pylist()
    pairs = zip(found.fake, real_ids, found.ratio, strict=True)
    return tuple(Suspect(fake_ids[k], name, float(ratio)) for k, name, ratio in pairs)


def _numbers(row: Row) -> tuple[float, ...]:
    """The NUMBERS of one row."""
    found = row.found
    return (
        found.score.value, found.score.error, found.low, found.high, found.null.value, found.null.error, found.sigmas,
        found.p,
    )  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    found = row.found
    unit = f" {found.score.unit}" if found.score.unit else ""
    value, null = (_written(one) for one in (found.score, found.null))
    between = f"{found.low:.3g} to {found.high:.3g}" if np.isfinite(found.low) else ""
    sigmas, p = f"{found.sigmas:+.1f}", f"{found.p:.2g}"
    return row.metric, found.name, value + unit, null, sigmas, p, between, str(found.score.n), row.note


def _written(number: Score) -> str:
    """`0.0436 ± 0.0231`: as many digits as the error has a meaning for."""
    if not number.error > 0:
        return f"{number.value:.3g}"
    digits = int(np.clip(1 - np.floor(np.log10(number.error)), 0, 6))
    return f"{number.value:.{digits}f} ± {number.error:.{digits}f}"
