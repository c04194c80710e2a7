"""Score trained profile weights on mocks that no training saw, write scores.json and card.md, and ship them if asked.

    python scripts/score_weights.py RUN TEST_SURVEY [--n 1200] [--band r] [--ship]

Beside the test survey, two shifted ones are drawn and scored: the seeing twice as wide, and a sky two magnitudes
shallower. On these the intervals need not hold, and the card says whether they do.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from shipping import head, keep, ship

import skyloom as sl
from skyloom.checkpoint import Run, open_run
from skyloom.data import store
from skyloom.data.mocks.mock import info, mock_cutouts, studio
from skyloom.data.mocks.observation import Observation, survey_like_kids
from skyloom.metrics.calibration import Coverage, coverage, verdict
from skyloom.metrics.profiles import BINS, Points, deviations, profile_medians
from skyloom.metrics.references import truth_table
from skyloom.metrics.score import median
from skyloom.metrics.shapes import judge_shapes

SHIFTED, SEED = 300, 910_000  # galaxies of a shifted survey, and its seed


def shifted(kind: str, band: str) -> Observation:
    """The observation of the mocks, with other seeing or other noise."""
    plain = survey_like_kids(band)
    exposure = plain.exposures[band]
    other = {
        "seeing": replace(exposure, psf_fwhm=2 * exposure.psf_fwhm),
        "noise": replace(exposure, depth=exposure.depth - 2),
    }
    return replace(plain, exposures={band: other[kind]})


def shifted_survey(kind: str, band: str, size: int, path: Path) -> store.Survey:
    if path.exists():
        return sl.open(path)
    observation = shifted(kind, band)
    facts = info(studio(size, band, SEED, None, observation))
    return store.write(path, facts, mock_cutouts(SHIFTED, size, band, SEED, observation=observation))


def measured(run: Run, survey: store.Survey, band: str, n: int) -> tuple[Points, Points, dict]:
    """All points in all bands, those in one band of galaxies without a planted companion, and other facts."""
    names = survey.table(["object_id", "true_companion"])
    ids = names["object_id"].to_pylist()[:n]
    blended = dict(zip(names["object_id"].to_pylist(), names["true_companion"].to_pylist(), strict=True))
    started = time.process_time()
    table = sl.profile(survey, with_=run.path, ids=ids)
    seconds = (time.process_time() - started) / len(ids)
    truth = truth_table(survey, None, ids)
    points = deviations(table, truth)
    pairs = zip(table["object_id"].to_pylist(), table["band"].to_pylist(), strict=True)
    alone = np.array([not blended[name] and here == band for name, here in pairs])
    empty = sum(not sma for sma in table["sma"].to_pylist())
    return points, points.where(alone[points.row]), {
        "galaxies": len(ids), "alone": int(alone.sum()), "empty": empty, "cpu_seconds_per_galaxy": round(seconds, 4),
        "bands": list(survey.info.band_names),
        "shapes": {name: [*found.median, found.low, found.high] for name, found in judge_shapes(table, truth).items()},
    }  # fmt: skip


def errors(points: Points) -> list[dict]:
    """Median |Δμ| of points and of profiles in each bin of the true surface brightness."""
    rows = []
    for low, high in BINS:
        here = points.between(low, high)
        size, each = np.abs(here.deviation), profile_medians(np.abs(here.deviation), here.row)[0]
        found = median(size, group=here.galaxy)
        quartiles = np.percentile(each, [25, 50, 75]) if len(each) else [np.nan] * 3
        rows.append({
            "low": low, "high": high, "points": found.n, "profiles": len(each), "median": found.value,
            "error": found.error, "profile_median": quartiles[1], "iqr": quartiles[2] - quartiles[0],
            "bias": float(np.median(here.deviation)) if found.n else np.nan,
        })  # fmt: skip
    return rows


def covered(points: Points) -> list[Coverage]:
    return [one for level in (0.68, 0.90) for by in ("reference", "predicted") for one in coverage(points, level, by)]


def as_facts(found: list[Coverage]) -> list[dict]:
    return [
        {
            "level": c.level,
            "by": c.by,
            "low": c.low,
            "high": c.high,
            "share": c.share.value,
            "error": c.share.error,
            "points": c.share.n,
        }
        for c in found
    ]


def score(run: Run, survey: store.Survey, band: str, n: int) -> dict:
    points, alone, facts = measured(run, survey, band, n)
    scores = {"test": survey.info.source, "band": band, **facts, "errors": errors(alone), "all": errors(points)}
    if not np.isfinite(points.error).any():
        return scores
    scores["coverage"] = as_facts(covered(points))
    scores["holds"] = verdict(covered(points)).holds
    scores["shifted"] = {}
    for kind in ("seeing", "noise"):
        other = shifted_survey(kind, band, survey.info.shape[0], survey.path.with_name(f"shifted_{kind}_{band}.lance"))
        points, alone, _ = measured(run, other, band, SHIFTED)
        found = covered(points)
        scores["shifted"][kind] = {
            "errors": errors(alone), "coverage": as_facts(found),
            "holds": verdict(found).holds, "words": verdict(found).lines,
        }  # fmt: skip
    return scores


def card(run: Run, scores: dict) -> str:
    """The run in words."""
    training = run.facts("training") or {}
    seen = (
        f"\n**Has seen** bands {', '.join(training['bands'])}; pixels of "
        f"{', '.join(f'{scale:g}' for scale in training['pixel_scales'])} arcsec; frames of "
        f"{', '.join(map(str, training['sizes']))} pixels. Other bands and pixels are refused unless `--anyway`.\n"
    )
    return head(run, "mocks, of which 80 % were learnt from and 12 % calibrated on") + seen + _scores(scores)


def _scores(scores: dict) -> str:
    text = (
        f"\n**Scores** on {scores['galaxies']:,} mocks that training did not see ({scores['test']}), "
        f"band {scores['band']}; galaxies "
        f"without a planted companion ({scores['alone']:,}); {scores['empty']} profiles empty; "
        f"{scores['cpu_seconds_per_galaxy']:.3f} CPU s a galaxy in {len(scores['bands'])} bands, reading included.\n\n"
        "| true μ [mag/arcsec²] | points | median \\|Δμ\\| of points | bias | profiles | median over profiles (IQR) |\n"
        "|---|---|---|---|---|---|\n"
    )
    for row in scores["errors"]:
        text += (
            f"| {row['low']:g}–{row['high']:g} | {row['points']:,} | {row['median']:.4f} ± {row['error']:.4f} | "
            f"{row['bias']:+.4f} | "
            f"{row['profiles']:,} | {row['profile_median']:.4f} ({row['iqr']:.4f}) |\n"
        )
    if "coverage" not in scores:
        return text + "\nIt states no errors and no geometry.\n"
    text += (
        "\n**Geometry and totals**, median |deviation| over all galaxies and bands (quartiles), μ < 26.5: "
        + "; ".join(
            f"{name} {value:.3g} ± {error:.2g} {unit} ({low:.2g}–{high:.2g}, n = {n:,})"
            for name, (value, error, unit, n, low, high) in scores["shapes"].items()
        )
        + ".\n"
    )
    return (
        text + "\n**Coverage** of its intervals [%] on all of them in all bands, companions included, "
        "as they were in what it was calibrated on; "
        "and on shifted surveys in one band (seeing twice as wide; sky two magnitudes shallower), where it need not "
        "hold.\n\n" + _coverage(scores)
    )


def _coverage(scores: dict) -> str:
    columns = {"as trained": scores["coverage"], **{f"other {k}": v["coverage"] for k, v in scores["shifted"].items()}}
    text = "| level | μ of | bin | " + " | ".join(columns) + " |\n|---|---|---|" + "---|" * len(columns) + "\n"
    for k, row in enumerate(scores["coverage"]):
        shares = " | ".join(f"{100 * rows[k]['share']:.1f} ± {100 * rows[k]['error']:.1f}" for rows in columns.values())
        whose = {"reference": "truth", "predicted": "prediction"}[row["by"]]
        text += f"| {100 * row['level']:.0f} | {whose} | {row['low']:g}–{row['high']:g} | {shares} |\n"
    return f"<!-- --8<-- [start:coverage] -->\n{text}<!-- --8<-- [end:coverage] -->\n"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path)
    options.add_argument("survey", type=Path)
    options.add_argument("--n", type=int, default=1200)
    options.add_argument("--band", default="r")
    options.add_argument("--ship", action="store_true", help="copy the run into the package")
    given = options.parse_args()
    run = open_run(given.run)
    scores = score(run, sl.open(given.survey), given.band, given.n)
    said = card(run, scores)
    keep(run, json.loads(json.dumps(scores, default=float)), said)
    print(said)
    if given.ship:
        ship(run)


if __name__ == "__main__":
    main()
