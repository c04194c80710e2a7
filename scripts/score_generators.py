"""Score trained generators against galaxies that no training saw, write scores.json and card.md, ship them if asked.

    python scripts/score_generators.py RUN REAL [--where FILTER] [--n 10000] [--steps 10 20 40] [--fewer 1000]
        [--ship | --keep FILE]

Galaxies are drawn into RUN/../NAME-drawn.lance and compared with REAL by every score that applies; if REAL is the
survey that was trained on, with those of its galaxies that were held out, by position. With --steps, fewer galaxies are
drawn at each number of steps too, and scored against the null of as many. --keep writes the scores of weights that do
not ship, for docs/figures.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from shipping import head, keep, ship

import skyloom as sl
from skyloom.checkpoint import Run, open_run
from skyloom.data import store
from skyloom.data.destination import write_whole
from skyloom.data.images import read_images
from skyloom.infer.generator import generator_of
from skyloom.infer.simulate import USUAL
from skyloom.recipes.lesson import splits_of

CURVE = ("sgd", "frechet", "noise")


def side(survey: store.Survey, run: Run, names: tuple[str, ...], where: str, path: Path) -> store.Survey:
    """Some sides of a survey's split, as a survey of their own, in the pixels of the network."""
    if path.exists():
        return sl.open(path)
    settings = run.record["settings"]
    split = splits_of([survey], settings["split"])[0]
    passing = set(survey.table(["object_id"], where or None)["object_id"].to_pylist())
    ids = [one for name in names for one in split.ids[name] if one in passing]
    if settings["bin"] == 1 and not settings["bands"]:
        return store.write(path, survey.info, survey.read(ids=ids))
    generator = generator_of(run.path)
    images = read_images(survey, ids, bands=settings["bands"], bin=settings["bin"], size=settings["crop"])
    pairs = zip(images.ids, images.flux.numpy(), strict=True)
    return store.write(path, generator.info, (generator.cutout(name, flux, tile=name) for name, flux in pairs))


def drawn(run: Run, n: int, path: Path, steps: int | None = None) -> tuple[store.Survey, float]:
    """A survey of n galaxies and the CPU seconds that one took; drawn once."""
    facts = path.with_suffix(".json")
    if not path.exists():
        started = time.process_time()
        sl.simulate(path, run.path, n, steps=steps, seed=11)
        facts.write_text(json.dumps({"cpu_seconds": (time.process_time() - started) / n}), encoding="utf-8")
    return sl.open(path), json.loads(facts.read_text(encoding="utf-8"))["cpu_seconds"]


def rows_of(comparison) -> list[dict]:
    return [
        {name: (round(value, 6) if isinstance(value, float) else value) for name, value in row.items()}
        for row in comparison.table().to_pylist()
    ]


def card(run: Run, scores: dict) -> str:
    """The model card."""
    facts = run.facts("generator")
    info = json.loads(facts["info"])
    bands = ", ".join(band["name"] for band in info["bands"])
    uncalibrated = all(band["zero_point"] is None for band in info["bands"])
    lines = [
        head(run, f"{facts['images']:,} images, the training side (80 %, by position) of"),
        f"**Makes** {info['shape'][0]} × {info['shape'][1]} pixels of {info['pixel_scale'] or 'no stated size'}"
        f"{' arcsec' if info['pixel_scale'] else ''} in {bands}; other bands and pixels are refused.\n",
        f"**Scores** of {scores['n']:,} galaxies ({scores['sampler']}, {scores['steps']} steps, "
        f"{scores['cpu_seconds_per_galaxy']:.3f} CPU s each) beside {scores['n']:,} real ones of {scores['real']}. "
        f"Null: {scores['nulls']}.\n",
        "| metric | | value | real beside real | n |\n|---|---|---|---|---|\n"
        + "\n".join(
            f"| {row['metric']} | {row['name']} | {row['value']:.4g} ± {row['error']:.2g} {row['unit']} | "
            f"{row['null']:.4g} ± {row['null_error']:.2g} | {row['n']:,} |"
            for row in scores["rows"]
        ),
        "\n**Not for** anything that depends on rare objects, or on bands, depths and seeing other than those above.\n",
        *(["Its pixels are levels of pictures without a zero point: nothing for photometry.\n"] * uncalibrated),
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("real", type=Path)
    parser.add_argument("--where", default="")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--steps", type=int, nargs="*", default=[])
    parser.add_argument("--fewer", type=int, default=1000, help="galaxies at each of these numbers of steps")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    run, real = open_run(asked.run), sl.open(asked.real)
    folder = run.path.parent
    fake, seconds = drawn(run, asked.n, folder / f"{run.name}-drawn.lance")
    own = real.content_hash in {one["hash"] for one in run.record["surveys"]}
    held_out = None
    if own:
        held_out = side(real, run, ("calibration", "test"), asked.where, folder / f"{run.name}-held-out.lance")
        real = side(real, run, ("train",), asked.where, folder / f"{run.name}-train.lance")
    found = sl.score(real, fake, held_out=held_out)
    sampler, steps = USUAL[run.record["recipe"]]
    scores = {
        "real": asked.real.name, "n": found.n, "nulls": found.nulls, "sampler": sampler, "steps": steps,
        "cpu_seconds_per_galaxy": round(seconds, 4), "rows": rows_of(found), "curve": [],
        "suspects": len(found.suspects), "notes": list(found.notes),
    }  # fmt: skip
    for number in asked.steps:
        some, cost = drawn(run, asked.fewer, folder / f"{run.name}-{number}-{asked.fewer}.lance", number)
        few = sl.score(real, some, CURVE, n=asked.fewer)
        scores["curve"].append({"steps": number, "n": asked.fewer, "cpu_seconds": round(cost, 4), "rows": rows_of(few)})
    keep(run, scores, card(run, scores))
    if asked.ship:
        ship(run)
    if asked.keep:
        write_whole(asked.keep, json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
