"""How well are pixels under a trail recovered, how long does it take, and how faint a trail is found?

Galaxies of a survey that the weights have not seen are crossed by simulated trails of random angle, place, brightness
and periodicity. What lies under a mask is never read, so the first table depends on a trail's width alone: masks are
those that the trails spoil. The second table hides nothing: trails are looked for in the images, by brightness and
width; `left` is the brightest light of a found trail that its mask misses, `extra` the share of pixels that were masked
beside it, and `none` the share of galaxies without a trail in which one was found.
Expected: errors grow with the width; networks keep what planes and plates cannot, the curvature of a galaxy's middle.
Seconds are CPU seconds of one galaxy, all samples.

    python benchmarks/bench_inpaint.py WEIGHTS SURVEY.lance [--where "is_extended"] [--n 24] [--samples 8]
        [--methods posterior repaint linear biharmonic] [--widths 2 4 8] [--steps 18] [--seen]
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from _bench import Timing, environment, timed

import skyloom as sl
from skyloom.data import store
from skyloom.infer.generator import generator_of
from skyloom.infer.inpaint import inpaint
from skyloom.infer.rows import sky_of
from skyloom.metrics.inpainting import Case, Recovery, biharmonic, linear, recovery
from skyloom.recipes.lesson import splits_of
from skyloom.sky.trail_search import find_trails
from skyloom.sky.trails import Trail, draw_trail, random_trail

ARCSEC = 3.0  # diameter of the aperture
BRIGHT = ((3, 10), (10, np.inf), (3, np.inf))  # true flux of the pixels compared [rms]
BASELINES = {"linear": linear, "biharmonic": biharmonic}
FAINT, WIDE = (0.5, 1, 2, 5, 20, 100), (1.5, 3, 6)  # of the trails that are looked for: [rms] and [pixel]


def galaxies(path: Path, where: str | None, n: int, seed: int, seen: bool) -> list[sl.Cutout]:
    """Every k-th galaxy of the part of the survey that no training has seen, n in all."""
    survey = store.open(path)
    ids = survey.table(["object_id"], where)["object_id"].to_pylist()
    if not seen:
        held_out = set(splits_of([survey], seed)[0].ids["test"])
        ids = [name for name in ids if name in held_out]
    return list(survey.read(ids=ids[:: max(1, len(ids) // n)][:n]))


def crossed(cutout: sl.Cutout, trail: Trail) -> tuple[sl.Cutout, np.ndarray]:
    """The galaxy with a trail on every band, as many rms bright in each; and the pixels that are spoilt."""
    light, spoilt = draw_trail(cutout.flux.shape[1:], trail)
    _, rms = sky_of(cutout)
    flux = (cutout.flux + light * np.asarray(rms)[:, None, None]).astype(np.float32)
    columns = {"spoilt": spoilt.astype(np.uint8).ravel()}
    return replace(cutout, flux=flux, columns=columns), np.broadcast_to(spoilt, flux.shape)


def hidden(cutout: sl.Cutout) -> np.ndarray:
    """What a baseline may not rest on: spoilt pixels and bad ones."""
    spoilt = cutout.columns["spoilt"].reshape(cutout.flux.shape[1:]) > 0
    return spoilt | (cutout.ivar == 0)


def filled_by(method: str, spoilt: list[sl.Cutout], info, weights: str, samples: int, steps: int | None, folder: Path):
    """The same cutouts, filled, and the time of one."""
    if method in BASELINES:
        with timed() as timing:
            done = [replace(one, flux=BASELINES[method](one.flux, hidden(one))) for one in spoilt]
    else:
        there = store.write(folder / f"{method}-in.lance", info, spoilt)
        with timed() as timing:
            survey = inpaint(
                there, folder / f"{method}-out.lance", "spoilt", weights, samples=samples, method=method, steps=steps
            )
        done = list(survey.read())
    return done, Timing(timing.wall / len(spoilt), timing.cpu / len(spoilt))


def case_of(truth: sl.Cutout, filled: sl.Cutout, mask: np.ndarray, samples: int) -> Case:
    level, rms = (np.asarray(values)[:, None, None] for values in sky_of(truth))
    good = mask & (truth.ivar > 0)
    sigma = filled.columns.get("filled_sigma")
    true, new = (np.where(truth.ivar > 0, one.flux - level, 0) for one in (truth, filled))
    if sigma is None:
        return Case(true, new, good, rms[:, 0, 0])
    return Case(true, new, good, rms[:, 0, 0], sigma.reshape(mask.shape), samples)


def described(found: Recovery) -> str:
    share = " ".join("    –" if one is None else f"{one.value:5.2f}" for one in (found.held68, found.held90))
    error, magnitude = found.error.median, found.magnitude.median
    return (
        f"{error.value:6.3f} ± {error.error:5.3f} {found.floor:6.3f} {found.bias.value:7.3f} {found.within.value:6.2f} "
        f"{error.n:6d} {magnitude.value:8.4f} ± {magnitude.error:6.4f} {found.magnitude.iqr:7.4f} {share}"
    )


def recovered(given: argparse.Namespace, whole: list[sl.Cutout], info: sl.SurveyInfo) -> None:
    """The first table."""
    radius = ARCSEC / 2 / (info.pixel_scale or 0.25)
    print(f'\n{len(whole)} galaxies, {given.samples} samples; bright pixels by true flux [rms]; aperture {ARCSEC:g}"')
    print(
        f"{'width':>5} {'method':<11} {'bright':>8} {'|error|':>14} {'noise':>6} {'signed':>7} {'<10 %':>6} "
        f"{'pixels':>6} {'Δmag':>17} {'IQR':>7} {'68 %':>5} {'90 %':>5} {'CPU [s]':>8}"
    )
    for width in given.widths:
        rng = np.random.default_rng(int(10 * width))
        pairs = [crossed(one, random_trail(rng, info.shape, (width, width))) for one in whole]
        for method in given.methods:
            with tempfile.TemporaryDirectory() as folder:
                done, each = filled_by(
                    method, [one for one, _ in pairs], info, given.weights, given.samples, given.steps, Path(folder)
                )
            cases = [
                case_of(truth, filled, mask, given.samples)
                for truth, filled, (_, mask) in zip(whole, done, pairs, strict=True)
            ]
            for low, high in BRIGHT:
                row = described(recovery(cases, radius, low, high))
                print(f"{width:5.1f} {method:<11} {low:3g}–{high:<4g} {row} {each.cpu:8.2f}", flush=True)


def found(whole: list[sl.Cutout], info: sl.SurveyInfo) -> None:
    """The second table."""
    facts = [(one.ivar, *sky_of(one)) for one in whole]
    with timed() as timing:
        alarms = [bool(find_trails(one.flux, *rest).any()) for one, rest in zip(whole, facts, strict=True)]
    print(f"\ntrails looked for in {len(whole)} galaxies, all bands; {timing.cpu / len(whole):.3f} CPU s each")
    print(f"none: {np.mean(alarms):.3f}")
    print(f"{'rms':>5} {'width':>5} {'found':>6} {'left [rms]':>10} {'extra':>6}")
    for brightness in FAINT:
        for width in WIDE:
            rng = np.random.default_rng(7)
            rows = []
            for one, (ivar, sky, rms) in zip(whole, facts, strict=True):
                trail = random_trail(rng, info.shape, (width, width), (brightness, brightness))
                light, spoilt = draw_trail(info.shape, trail)
                mask = find_trails(crossed(one, trail)[0].flux, ivar, sky, rms).any(0)
                if (mask & spoilt).sum() > 0.5 * spoilt.sum():
                    rows.append((float((light * ~mask).max()), float((mask & ~spoilt).mean())))
            left, extra = np.median(rows, axis=0) if rows else (np.nan, np.nan)
            print(f"{brightness:5g} {width:5g} {len(rows) / len(whole):6.2f} {left:10.2f} {extra:6.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="shipped weights or a run directory")
    parser.add_argument("survey", type=Path)
    parser.add_argument("--where", default=None, help="an SQL filter on the survey's columns")
    parser.add_argument("--n", type=int, default=24)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0, help="of the split that the weights were trained on")
    parser.add_argument("--seen", action="store_true", help="take any galaxy, as of a survey that no training has seen")
    parser.add_argument("--widths", type=float, nargs="*", default=[2.0, 4.0, 8.0])
    parser.add_argument("--methods", nargs="*", default=["posterior", "repaint", "linear", "biharmonic"])
    given = parser.parse_args()
    generator = generator_of(given.weights)
    whole = galaxies(given.survey, given.where, given.n, given.seed, given.seen)
    info = store.open(given.survey).info
    print(environment())
    print(f"weights {generator.name} ({generator.hash}); survey {given.survey.name}")
    if given.widths and given.methods:
        recovered(given, whole, info)
    found(whole, info)
    print(environment().splitlines()[-1])


if __name__ == "__main__":
    main()
