"""What each metric says of fake galaxies or skies beside real ones, and of real ones beside as many others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm

from skyloom.metrics.classifier import LEAST, classifier_null, classifier_test
from skyloom.metrics.counts import FieldSources, completeness_limits
from skyloom.metrics.distances import SIDE, Distance, Draws, Trial, as_far, judged, signed, unjudged
from skyloom.metrics.features import frechet_distance, kernel_distance
from skyloom.metrics.fields import Likened, clustering, density_ratio, likened
from skyloom.metrics.fluxes import flux_ratios
from skyloom.metrics.legacy import legacy_distance
from skyloom.metrics.measured import legacy_bands, shapes, taken
from skyloom.metrics.memorisation import Memorised, memorisation
from skyloom.metrics.photometry import Property
from skyloom.metrics.samples import Frame
from skyloom.metrics.score import Score
from skyloom.metrics.spectra import FAINTEST, SkyNoise, dex_apart, noise_spectrum, offsets_alone, sky_offsets
from skyloom.metrics.synthetic_galaxy import colour_distance, effects, property_distances

NULLS = 10  # null pairs of the scores that take long
WAVES = "mean log power"


class Row(NamedTuple):
    """One line of a comparison. found : see `Distance`; note : what must be known to read it"""

    metric: str
    found: Distance
    note: str = ""


@dataclass(frozen=True)
class Case:
    """Two samples, measured. real : a pool, of which the first n are compared; fake : n

    train, held_out : coarse images of the training set and of what was held out from it, where memorisation is asked
    """

    frame: Frame
    rows: Trial
    real: dict[str, Any]
    fake: dict[str, Any]
    seed: int = 0
    train: np.ndarray | None = None
    held_out: np.ndarray | None = None

    def compared(self, kind: str) -> tuple[Any, Any]:
        """One kind of measurement of the n real and the n fake galaxies."""
        return taken(self.real[kind], self.rows.real[: self.rows.n]), taken(self.fake[kind], self.rows.fake)


class Verdict(NamedTuple):
    """Rows of a table, and the memorisation test in full where it was made."""

    rows: list[Row]
    memorised: Memorised | None = None


@dataclass(frozen=True)
class Metric:
    """kinds : what it needs measured; fewest : galaxies of each sample below which it says nothing; says : in words

    of : "galaxies", "pieces" of a field, or both: ""
    """

    judge: Callable[[Case], Verdict]
    kinds: tuple[str, ...]
    fewest: int
    says: str
    of: str = ""


def _sgd(case: Case) -> Verdict:
    real, fake = case.real["photometry"], case.fake["photometry"]
    found = property_distances(real.properties, fake.properties, case.rows)
    return Verdict([Row("sgd", one, _lost(found.unmeasured.get(one.name))) for one in (*found.terms, found.total)])


def _lost(counts: tuple[int, int] | None) -> str:
    return f"not measured: {counts[0]} real, {counts[1]} fake" if counts else ""


def _sgd_legacy(case: Case) -> Verdict:
    pool, fake = case.real["legacy"], case.fake["legacy"]
    found = legacy_distance(pool[case.rows.real[: case.rows.n]], fake[case.rows.fake], seed=case.seed).total

    def total(one: np.ndarray, other: np.ndarray) -> Score:
        return legacy_distance(one, other, resamples=1).total

    null = _null_of(total, pool, case.rows.null, 5 * NULLS)
    bands = ", ".join(case.frame.names[k] for k in legacy_bands(case.frame) or ())
    distance = _beside("published sum", found, null)._replace(low=np.nan, high=np.nan)
    return Verdict([Row("sgd_legacy", distance, f"published arithmetic, mag plus arcsec; {bands} as g, r, z")])


def _effect(case: Case) -> Verdict:
    found = effects(case.real["photometry"], case.fake["photometry"], case.rows)
    notes = ["Cohen's d; + where the fake ones are larger", *[""] * (len(found) - 1)]
    return Verdict([Row("effect", one, note) for one, note in zip(found, notes, strict=True)])


def _flux(case: Case) -> Verdict:
    return Verdict(
        [Row("flux", one) for one in flux_ratios(case.real["photometry"], case.fake["photometry"], case.rows)]
    )


def _colours(case: Case) -> Verdict:
    found = colour_distance(case.real["photometry"], case.fake["photometry"], case.rows)
    return Verdict([Row("colours", found, "joint normal laws, covariances included")])


def _morphology(case: Case) -> Verdict:
    found = property_distances(shapes(case.real["morphology"]), shapes(case.fake["morphology"]), case.rows)
    band = case.frame.names[case.frame.reference]
    terms = [
        Row("morphology", one, "; ".join(filter(None, [f"in {band}", _lost(found.unmeasured.get(one.name))])))
        for one in (*found.terms, found.total)
    ]
    return Verdict(terms)


def _power(case: Case) -> Verdict:
    pool, (ours, theirs) = case.real["power"], case.compared("power")
    value, again = (float(_waves(ours, theirs)[0]), _waves(ours, theirs, case.rows.again))
    known = min(int(np.isfinite(part).all(1).sum()) for part in (ours, theirs))
    return Verdict([Row("power", judged(WAVES, "dex", known, value, again, _waves(pool, pool, case.rows.null)))])


def _waves(real: np.ndarray, fake: np.ndarray, draws: Draws | None = None) -> Float[np.ndarray, "s"]:
    """Rms difference of mean log power, over bands and frequencies, as `spectra.power_distance` has it."""
    one, other = (np.ones((1, len(part)), int) for part in (real, fake)) if draws is None else draws[:2]
    means = []
    for logs, times in ((real, one), (fake, other)):
        seen = np.isfinite(logs).all(1)
        with np.errstate(invalid="ignore"):
            means.append(times[:, seen] @ logs[seen] / times[:, seen].sum(1, keepdims=True))
    return np.sqrt(np.mean((means[0] - means[1]) ** 2, 1))


def _noise(case: Case) -> Verdict:
    pool, (ours, theirs) = case.real["noise"], case.compared("noise")
    known = min(int(np.isfinite(part.rms[:, 0]).sum()) for part in (ours, theirs))
    once = [noise_spectrum(part)[1] for part in (ours, theirs)]
    least = FAINTEST * np.max([spectrum.mean(2, keepdims=True) for spectrum in once], 0)
    again, null = _skies(ours, theirs, case.rows.again, least), _skies(pool, pool, case.rows.null, least)
    value = float(dex_apart(once[0], once[1], least)[0])
    rows = [Row("noise", judged("sky power", "dex", known, value, again, null))]
    offsets = sky_offsets(ours, theirs, case.seed)
    others = np.array(
        [offsets_alone(taken(pool, one), taken(pool, other)) for one, other in _null_rows(case.rows.null, 100)]
    )
    for k, (name, offset) in enumerate(zip(case.frame.names, offsets, strict=True)):
        rows.append(Row("noise", signed(f"{name} rms, fake / real", offset.rms, others[:, 0, k])))
        rows.append(Row("noise", signed(f"{name} level, fake − real", offset.level, others[:, 1, k])))
    return Verdict(rows)


def _skies(real: SkyNoise, fake: SkyNoise, draws: Draws, least: np.ndarray) -> Float[np.ndarray, "s"]:
    return dex_apart(noise_spectrum(real, draws.one)[1], noise_spectrum(fake, draws.other)[1], least)


def _frechet(case: Case) -> Verdict:
    return _by_features(case, "frechet", "Fréchet distance", "features", frechet_distance, "random features")


def _kernel(case: Case) -> Verdict:
    return _by_features(case, "kernel", "kernel distance", "features", kernel_distance, "random features")


def _inception(case: Case) -> Verdict:
    note = "features of the encoder given"
    return _by_features(case, "inception", "Fréchet distance", "inception", frechet_distance, note)


def _by_features(case: Case, metric: str, name: str, kind: str, distance: Callable, note: str) -> Verdict:
    null = _null_of(distance, case.real[kind], case.rows.null, NULLS)
    return Verdict([Row(metric, _beside(name, distance(*case.compared(kind)), null), note)])


def _classifier(case: Case) -> Verdict:
    real, fake = case.compared("features")
    score, null = classifier_test(real, fake, case.seed), classifier_null(len(real), len(fake))
    low, high = score.value - SIDE * score.error, score.value + SIDE * score.error
    p = float(norm.sf((score.value - null.value) / null.error))
    found = Distance("area under ROC", score, null, low, min(high, 1.0), p)
    return Verdict([Row("classifier", found, "random features; 0.5: cannot tell them apart")])


def _memorisation(case: Case) -> Verdict:
    if case.train is None or case.held_out is None:
        raise ValueError("memorisation needs a training set and a held-out set")
    found = memorisation(case.fake["coarse"][case.rows.fake], case.train, case.held_out, case.seed)
    distance = Distance("nearest neighbours", found.ratio, found.null, p=found.p_value)
    said = f"{len(found.suspects.fake)} suspects; below the null is nearer to REAL than to the held-out set"
    return Verdict([Row("memorisation", distance, "COPIES: " * found.alarm + said)], found)


def _counts(case: Case) -> Verdict:
    pool, fake = case.real["sources"], case.fake["sources"]
    limits = completeness_limits(pool)
    rows = [Row("counts", density_ratio(pool, fake, case.rows), "all that were found")]
    found = likened(pool, fake, case.rows, lambda some: some.magnitudes_to(limits))
    for one, limit in zip(found, limits, strict=True):
        rows += _three("counts", one, f"to {limit:g} mag; ")
    return Verdict(rows)


def _sources(case: Case) -> Verdict:
    found = likened(case.real["sources"], case.fake["sources"], case.rows, _colours_and_size)
    return Verdict([row for one in found for row in _three("sources", one)])


def _colours_and_size(some: FieldSources) -> tuple[Property, ...]:
    return some.colours_and_size


def _three(metric: str, one: Likened, note: str = "") -> list[Row]:
    note = f"{note}p = {one.p:.2g} if sources were independent" if np.isfinite(one.p) else ""
    return [Row(metric, one.apart, note), Row(metric, one.effect), Row(metric, one.shift)]


def _clustering(case: Case) -> Verdict:
    found = clustering(case.real["sources"], case.fake["sources"], case.rows, case.seed)
    return Verdict([Row("clustering", one, note) for one, note in found])


METRICS: dict[str, Metric] = {
    "sgd": Metric(
        _sgd, ("photometry",), 2, "magnitudes, colours and half-light radii, each in its unit, and a sum", "galaxies"
    ),
    "sgd_legacy": Metric(
        _sgd_legacy, ("legacy",), 2, "the published Synthetic Galaxy Distance, faults included", "galaxies"
    ),
    "effect": Metric(_effect, ("photometry",), 2, "Cohen's d of the same properties", "galaxies"),
    "flux": Metric(_flux, ("photometry",), 2, "the factors that fake fluxes lack, as means and as medians", "galaxies"),
    "colours": Metric(_colours, ("photometry",), 3, "magnitude and colours jointly", "galaxies"),
    "morphology": Metric(
        _morphology, ("morphology",), 2, "concentration, asymmetry, smoothness, Gini, M20", "galaxies"
    ),
    "counts": Metric(_counts, ("sources",), 2, "how many sources a field has, and of which magnitudes", "pieces"),
    "sources": Metric(_sources, ("sources",), 2, "colours and sizes of a field's sources", "pieces"),
    "clustering": Metric(_clustering, ("sources",), 2, "two-point function of a field's sources", "pieces"),
    "power": Metric(_power, ("power",), 2, "power spectrum of the images"),
    "noise": Metric(_noise, ("noise",), 2, "power spectrum, rms and level of the sky"),
    "frechet": Metric(_frechet, ("features",), 3, "Fréchet distance of random features"),
    "kernel": Metric(_kernel, ("features",), 3, "kernel distance of random features"),
    "inception": Metric(_inception, ("inception",), 3, "Fréchet distance of an encoder of yours"),
    "classifier": Metric(_classifier, ("features",), LEAST, "how well a classifier tells fake from real"),
    "memorisation": Metric(_memorisation, ("coarse",), 2, "copies of training images", "galaxies"),
}


def _null_rows(draws: Draws, most: int) -> list[tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]]:
    """Rows of the pool in the first null pairs, those that come twice twice."""
    pairs = zip(draws.one[:most], draws.other[:most], strict=True)
    return [tuple(np.repeat(np.arange(len(times)), times) for times in pair) for pair in pairs]  # type: ignore[misc]


def _null_of(distance: Callable[..., Score], pool: np.ndarray, draws: Draws, most: int) -> Float[np.ndarray, "s"]:
    return np.array([distance(pool[one], pool[other]).value for one, other in _null_rows(draws, most)])


def _beside(name: str, score: Score, null: np.ndarray) -> Distance:
    """A distance with the interval of what exceeds the null, at least 0, from its own error or the null's."""
    null = null[np.isfinite(null)]
    if not (np.isfinite(score.value) and len(null)):
        return unjudged(name, score.unit, score.n)
    level = Score(float(null.mean()), float(null.std()), score.unit, score.n)
    error = max(score.error, level.error)
    low, high = (max(0.0, score.value - level.value + side * SIDE * error) for side in (-1, 1))
    return Distance(name, score, level, low, high, as_far(score.value, null))
