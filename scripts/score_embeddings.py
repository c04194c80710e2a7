"""Probe trained encoders beside what needs no training, and write scores.json and card.md; ship them if asked.

    python scripts/score_embeddings.py SURVEY RUN... [--where FILTER] [--folds K] [--ship] [--table FILE]

Numbers of SURVEY's own catalogue, or a mock's truth, are read out of each run's vectors, of photometry and moments, of
a random encoder and of the pixels; a linear and a nearest-neighbour model learn them on the side that the runs learnt
from, and are scored on the sides that no run saw. Then each test galaxy is turned, blurred and made noisier, and is
looked for among all. The first run's card and scores hold the table.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from shipping import head, keep, ship

import skyloom as sl
from skyloom.checkpoint import Run, open_run
from skyloom.data import store
from skyloom.data.destination import write_whole
from skyloom.data.rings import SKIES, known_sky
from skyloom.errors import SkyloomError
from skyloom.infer.embed import Encoder, encoder_of
from skyloom.metrics.plain_features import in_circles, middle_pixels, of_random_encoder
from skyloom.metrics.probes import cross_probe, probe, recall_at_one
from skyloom.recipes.lesson import splits_of
from skyloom.sky.views import blurred, deepened_to, smoothed_noise, turned

KINDS = ("linear", "knn")
PIXELS = 12  # a side, of the images' middle, in the model of the pixels: more of them only add noise to it
BLUR, NOISE = 1.0, 1.5  # of the retrieval: FWHM added [pixel], and factor of the sky's rms
Features = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # light, good, rms


class Galaxies:
    """Sky-subtracted light, bad pixels 0, which pixels are good, and the sky's rms, of some objects."""

    def __init__(self, survey: store.Survey, ids: list[str]):
        self.survey, self.ids = survey, ids
        rows = survey.rows_of(ids)
        flux, ivar = survey.cutouts_at(rows)
        level, rms = known_sky(survey.table(SKIES), rows, flux, ivar)
        self.good = np.asarray(ivar > 0)
        self.light = np.where(self.good, flux - level[..., None, None], 0).astype(np.float32)
        self.rms = np.where(np.isfinite(rms) & (rms > 0), rms, np.nanmedian(rms, 0))

    def column(self, name: str) -> np.ndarray:
        values = self.survey.table([name]).take(self.survey.rows_of(self.ids))[name]
        return np.array([math.nan if value is None else value for value in values.to_pylist()])


def learnt(encoder: Encoder, info) -> Features:
    def features(light, good, rms):
        sky = np.zeros(light.shape[:2])
        return encoder.vectors(light, good.astype(np.float32), info=info, sky=sky).astype(float)

    return features


def plain(side: int, bin: int) -> dict[str, Features]:
    """What needs no training, on the pixels that an encoder sees. bin : of them averaged to one along each axis"""

    def seen(light, rms):
        n, c, h, w = light.shape
        cut = light[..., : h // bin * bin, : w // bin * bin]
        return cut.reshape(n, c, h // bin, bin, w // bin, bin).mean((3, 5)), np.median(rms, 0) / bin

    return {
        "photometry": lambda light, good, rms: in_circles(*seen(light, rms)),
        "random": lambda light, good, rms: of_random_encoder(*seen(light, rms)).astype(float),
        "pixels": lambda light, good, rms: middle_pixels(*seen(light, rms), side),
    }


def targets_of(galaxies: Galaxies) -> dict[str, tuple[str, np.ndarray]]:
    """Name of each target to its kind and values; what the survey does not have is left out."""
    there, found = set(galaxies.survey.column_names), {}
    number = galaxies.column
    if "mag_r" in there:
        found["magnitude r"] = number("mag_r")
        found["half-light radius (ln)"] = np.log(number("half_light_radius"))
        found["ellipticity"] = number("ellipticity")
        for one, other in (("u", "g"), ("g", "r"), ("r", "i"), ("i", "Z"), ("J", "Ks")):
            colour = number(f"mag_{one}") - number(f"mag_{other}")
            found[f"colour {one} − {other}"] = np.where(np.abs(colour - np.nanmedian(colour)) < 3, colour, np.nan)
        sort = np.where(number("is_star") == 1, 0.0, np.where(number("is_extended") == 1, 1.0, np.nan))
        found["star or extended"] = sort
    if "true_n" in there:
        found["magnitude r"] = number("true_mag_r")
        found["half-light radius (ln)"] = np.log(number("true_r_e"))
        found["ellipticity"] = number("true_ellipticity")
        found["colour g − r"] = number("true_mag_g") - number("true_mag_r")
        found["Sérsic index (ln)"] = np.log(number("true_n"))
    if "hst_flux_radius" in there:
        found["half-light radius (ln)"] = np.log(number("hst_flux_radius"))
        found["magnitude F814W"] = number("hst_mag")
    for label, name in (("spiral_label", "spiral"), ("zphot", "redshift (ln 1 + z)")):
        if label in there:
            found[name] = np.log1p(number(label)) if label == "zphot" else number(label)
    return found


def seen_otherwise(galaxies: Galaxies, rows: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Some galaxies turned by any angle, moved a little, blurred and made noisier; and which pixels are good."""
    rng = torch.Generator().manual_seed(seed)
    light = torch.from_numpy(galaxies.light[rows])
    fwhm = torch.full((len(rows),), BLUR)
    angle = (torch.rand(len(rows), generator=rng) - 0.5) * 2 * math.pi
    by = torch.rand(len(rows), 2, generator=rng) - 0.5
    quarters = (angle / (math.pi / 2)).round()
    out = turned(blurred(light, fwhm), angle - quarters * math.pi / 2, by)
    out = torch.stack([torch.rot90(one, -int(k), (-2, -1)) for one, k in zip(out, quarters, strict=True)])
    rms = torch.from_numpy(galaxies.rms[rows]).float()
    out = deepened_to(out, rms * smoothed_noise(fwhm)[:, None], NOISE * rms, rng)
    return out.numpy(), np.ones(out.shape, bool)


def catalogued(galaxies: Galaxies) -> dict[str, np.ndarray]:
    """Magnitudes of other telescopes, if the survey has any in columns `hsc_<band>`."""
    names = [name for name in galaxies.survey.column_names if name.startswith("hsc_")]
    return {"HSC magnitudes": np.column_stack([galaxies.column(name) for name in names])} if names else {}


def table(galaxies: Galaxies, train, test, all_features: dict[str, Features], folds: int) -> list[dict]:
    """A row per target and kind of probe, a score of each set of features in it. folds : 0 for the two sides"""
    vectors = {name: make(galaxies.light, galaxies.good, galaxies.rms) for name, make in all_features.items()}
    more = catalogued(galaxies)
    sound = np.all([np.isfinite(part).all(1) for part in vectors.values()], 0)
    rows = []
    for target, values in targets_of(galaxies).items():
        classes = set(np.unique(values[np.isfinite(values)])) <= {0.0, 1.0}
        known = np.isfinite(values) & sound
        goal = values == 1 if classes else values
        for kind in KINDS:
            row: dict = {"target": target, "probe": kind, "measure": "area" if classes else "R²"}
            for name, features in (vectors | more).items():
                if folds:
                    found = cross_probe(features[known], goal[known], kind, folds)
                else:
                    found = probe(features, goal, train & known, test & known, kind)
                row |= {"n": found.score.n, name: [found.score.value, found.low, found.high]}
            rows.append(row)
            print(row, flush=True)
    asked = np.flatnonzero(test & sound)
    light, good = seen_otherwise(galaxies, asked)
    row = {
        "target": f"itself, turned, {BLUR:g} pixel blurred, {NOISE:g} × noise",
        "probe": "recall@1",
        "measure": "share",
    }
    for name, make in all_features.items():
        again = make(light, good, galaxies.rms[asked])
        score = recall_at_one(again, vectors[name][sound], np.flatnonzero(np.isin(np.flatnonzero(sound), asked)))
        row |= {
            "n": score.n,
            name: [score.value, score.value - 1.96 * score.error, min(1.0, score.value + 1.96 * score.error)],
        }
    print(row, flush=True)
    return [*rows, row]


def markdown(rows: list[dict]) -> str:
    names = [name for name in rows[0] if isinstance(rows[0][name], list)]
    lines = [f"| asked for | probe | n | {' | '.join(names)} |", "|---|---|---|" + "---|" * len(names)]
    for row in rows:
        best = max(row[name][0] for name in names if name in row)
        cells = []
        for name in names:
            if name not in row:
                cells.append("")
                continue
            value, low, high = row[name]
            mark = "**" if value == best else ""
            cells.append(f"{mark}{value:.3f}{mark} [{low:.3f}, {high:.3f}]")
        lines.append(f"| {row['target']} ({row['measure']}) | {row['probe']} | {row['n']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def card(run: Run, scores: dict) -> str:
    """The model card."""
    facts = run.facts("encoder")
    info = json.loads(facts["info"])
    bands = ", ".join(band["name"] for band in info["bands"])
    some = "; some of the bands are enough" if facts["some_bands"] else ""
    return "\n".join([
        head(run, f"{facts['images']:,} images, the training side (80 %, by position) of"),
        f"**Makes** vectors of {facts['dimension']} numbers from the inner {info['shape'][0]} pixels of "
        f"{info['pixel_scale'] or 'no stated size'} arcsec in {bands}{some}; other bands and pixels are refused.\n",
        f"**Probes** on objects of {scores['survey']} that no training saw, by position; in brackets 95 %. "
        "`photometry`: light in four circles of each band, size, shape; `random`: an untrained encoder; `pixels`: "
        f"the inner {PIXELS} × {PIXELS} of each band.\n",
        markdown(scores["rows"]),
        "\n**Not for** other bands, depths and seeing than those above, nor for galaxies larger than it sees.\n",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("survey", type=Path)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--where", default="")
    parser.add_argument("--most", type=int, default=4000, help="objects, at most, by the survey's order")
    parser.add_argument("--folds", type=int, default=0, help="probe in so many folds of all objects; 0: by sides")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--table", type=Path, help="where to write the table in Markdown too")
    asked = parser.parse_args()
    survey, runs = sl.open(asked.survey), [open_run(name) for name in asked.runs]
    encoders = [encoder_of(run.path) for run in runs]
    split = splits_of([survey], runs[0].record["settings"]["split"])[0]
    passing = set(survey.table(["object_id"], asked.where or None)["object_id"].to_pylist())
    sides = {side: [one for one in ids if one in passing] for side, ids in split.ids.items()}
    train_ids, test_ids = sides["train"], [*sides["calibration"], *sides["test"]]
    train_ids, test_ids = train_ids[: asked.most], test_ids[: asked.most]
    galaxies = Galaxies(survey, [*train_ids, *test_ids])
    train = np.arange(len(galaxies.ids)) < len(train_ids)
    features: dict[str, Features] = {}
    for encoder in encoders:
        try:
            encoder.matched(survey.info)
        except SkyloomError as reason:
            raise SystemExit(f"{encoder.name}: {reason}") from reason
        features[encoder.name] = learnt(encoder, survey.info)
    rows = table(galaxies, train, ~train, features | plain(PIXELS, encoders[0].bin), asked.folds)
    scores = {"survey": asked.survey.name, "where": asked.where, "rows": rows}
    print(markdown(rows))
    keep(runs[0], scores, card(runs[0], scores))
    if asked.ship:
        ship(runs[0])
    if asked.table:
        write_whole(asked.table, markdown(rows) + "\n")


if __name__ == "__main__":
    main()
