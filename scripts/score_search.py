"""Score the search by sketch, and the search for oddities, on mocks whose truth is known; print tables.

    python scripts/score_search.py [--with NAME] [--transfer galaxy-kids] [--n 3000] [--folder DIR] [--keep FILE]

Mocks are drawn in the bands of the weights and brought to the pixels, PSF and noise of the sample survey. Sketches of a
ring, an edge-on galaxy, a spiral and a pair ask for ten each: how many are what was drawn (precision@10), by light, by
embedding, and by embedding after `transfer`, beside the share of such galaxies. Then rings, mergers, artefacts and
trails are planted into 4 % of them: area under the precision-recall curve of the orders by forest, density and both;
and how many are found by looking at 25 at a time, with and without labels, beside random.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sklearn.metrics import average_precision_score
from untrained import NAME, untrained

import skyloom as sl
from skyloom.data import store
from skyloom.data.cutout import Cutout
from skyloom.data.destination import write_whole
from skyloom.data.embeddings import read_embeddings
from skyloom.data.mocks.mock import info as mock_info
from skyloom.data.mocks.mock import mock_cutouts
from skyloom.data.mocks.planted import KINDS, planted
from skyloom.data.mocks.population import RESOLVED
from skyloom.data.mocks.studio import studio
from skyloom.infer.embed import Encoder, encoder_of
from skyloom.infer.oddity import main_directions, oddity, relabelled
from skyloom.infer.query import as_seen
from skyloom.recipes.search import PIXELS

BANDS, SIZE, SEED = "ugriZYJHK", 96, 21  # of the mocks; their pixels have 0.2 arcsec
NEARBY = replace(RESOLVED, nearby_r_e=(1.5, 4.5), spirals=0.5, rings=0.2)  # large enough to show what they are
SHARE = 0.04  # of the mocks into which something is planted
LOOK, ROUNDS = 25, 12  # objects looked at in a round, and rounds
CANVAS = 256  # side of a sketch [pixel]
KEPT = ("planted", "ring", "spiral", "edge_on", "pair")
TRUE = ("true_mag_g", "true_mag_r", "true_r_e", "true_ellipticity", "true_n")  # for scripts/score_embeddings.py
THIN = 0.7  # ellipticity from which a galaxy counts as seen from its edge


def mocks(folder: Path, n: int) -> tuple[sl.Survey, sl.Survey]:
    """Mocks as the sample survey sees them, each with its kind, and the same with oddities planted; drawn once."""
    plain, odd = (folder / f"{name}-{n}.lance" for name in ("mocks", "planted"))
    if odd.exists():
        return sl.open(plain), sl.open(odd)
    there = folder / "sample.lance"
    sample = sl.open(there) if there.exists() else sl.ingest("sample", there)
    raw = [replace(one, columns={**one.columns, **truth(one.columns)}) for one in drawn(n)]
    rng = np.random.default_rng(SEED)
    chosen = rng.choice(n, round(SHARE * n), replace=False).tolist()
    kinds = {row: tuple(KINDS)[place % len(KINDS)] for place, row in enumerate(chosen)}
    spoilt = [planted(one, kinds[row], rng) if row in kinds else one for row, one in enumerate(raw)]
    return brought(raw, sample, plain), brought(spoilt, sample, odd)


def drawn(n: int) -> Iterator[Cutout]:
    return mock_cutouts(n, SIZE, BANDS, SEED, population=NEARBY)


def brought(cutouts: list[Cutout], sample: sl.Survey, path: Path) -> sl.Survey:
    """A survey of mocks in the pixels, PSF and noise of another."""
    with tempfile.TemporaryDirectory() as folder:
        info = mock_info(studio(SIZE, BANDS, SEED, NEARBY))
        bare = store.write(Path(folder) / "raw.lance", info, (replace(one, columns={}) for one in cutouts))
        seen, _ = as_seen(bare, sample)
    kept = (
        replace(one, tile=one.object_id, columns={"planted": "", **_known(mock)})
        for (one,), mock in zip(seen, cutouts, strict=True)
    )
    return store.write(path, replace(sample.info, source="mocks", notes=()), kept)


def _known(mock: Cutout) -> dict:
    return {name: mock.columns[name] for name in mock.columns if name in KEPT + TRUE}


def truth(columns) -> dict[str, bool]:
    """What a sketch may ask for."""
    pattern = json.loads(columns["true_components"]).get("pattern") or {"ring": 0, "contrast": 0}
    return {
        "ring": pattern["ring"] > 0,
        "spiral": pattern["contrast"] > 0,
        "edge_on": columns["true_ellipticity"] > THIN,
        "pair": bool(columns["true_companion"]),
    }


def sketches(folder: Path) -> dict[str, Path]:
    """Drawings with a broad pen, bright on dark."""
    middle, found = CANVAS / 2, {}
    for name in ("ring", "spiral", "edge_on", "pair"):
        image = Image.new("L", (CANVAS, CANVAS))
        pen = ImageDraw.Draw(image)

        def disc(x, y, a, b, level, pen=pen):
            pen.ellipse((x - a, y - b, x + a, y + b), fill=level)

        if name == "ring":
            pen.ellipse((middle - 48, middle - 48, middle + 48, middle + 48), outline=130, width=16)
            disc(middle, middle, 16, 16, 255)
        elif name == "spiral":
            for start in (0, np.pi):
                angle = np.linspace(0.3, 4.2, 100)
                radius = 12 * np.exp(0.4 * angle)
                points = zip(
                    middle + radius * np.cos(angle + start), middle + radius * np.sin(angle + start), strict=True
                )
                pen.line(list(points), fill=130, width=14, joint="curve")
            disc(middle, middle, 18, 18, 255)
        elif name == "edge_on":
            disc(middle, middle, 70, 9, 150)
            disc(middle, middle, 16, 12, 255)
        else:
            disc(middle, middle, 24, 20, 255)
            disc(middle + 48, middle + 18, 16, 20, 220)
        image.save(folder / f"{name}.png")
        found[name] = folder / f"{name}.png"
    return found


def by_sketch(survey: sl.Survey, weights: Encoder, generator: str | None, folder: Path) -> list[dict]:
    """Precision at 10 of each sketch, by each way to search."""
    table = survey.table(["object_id", "ring", "spiral", "edge_on", "pair"]).to_pylist()
    kind = {row["object_id"]: row for row in table}
    ways = {"light": {"with_": PIXELS}, "embedding": {"with_": weights}}
    if generator:
        ways["embedding after transfer"] = {"with_": weights, "transfer": generator}
    rows = []
    for name, file in sketches(folder).items():
        row = {"sketch": name, "share": float(np.mean([one[name] for one in kind.values()]))}
        for way, how in ways.items():
            found = sl.search(survey, file, 10, **how, out=folder / f"{name}-{way.replace(' ', '-')}.png")
            row[way] = float(np.mean([kind[one][name] for one in found["object_id"].to_pylist()]))
        print(row, flush=True)
        rows.append(row)
    return rows


def by_oddity(survey: sl.Survey, weights: Encoder) -> dict:
    """How well planted oddities come first, by each number; and how fast they are found."""
    kept = read_embeddings(survey, weights.name)
    kind = np.array(survey.table(["planted"])["planted"].to_pylist())
    places = main_directions(kept.vectors)
    found = oddity(places)
    orders = {"forest": found.isolation, "density": found.sparsity, "both": found.score}
    areas = {"random": {"all": float((kind != "").mean())}}
    for name, values in orders.items():
        areas[name] = {"all": float(average_precision_score(kind != "", values))}
        for one in KINDS:
            others = (kind == one) | (kind == "")
            areas[name][one] = float(average_precision_score(kind[others] == one, values[others]))
        print(name, areas[name], flush=True)
    rng, yields = np.random.default_rng(0), {}
    for wanted in (("ring", "merger"), ("ring",), ("merger",), ("artefact", "trail"), tuple(KINDS)):
        true = np.isin(kind, wanted)
        yields[" + ".join(wanted)] = curves = {
            "wanted": int(true.sum()),
            "labels": looked_at(true, lambda seen, true=true: relabelled(places, found.score, seen, true)),
            "oddest first": looked_at(true, lambda seen: np.where(seen, -np.inf, found.score)),
            "random": looked_at(true, lambda seen: np.where(seen, -np.inf, rng.random(len(seen)))),
        }
        print(" + ".join(wanted), curves, flush=True)
    return {"n": len(kind), "areas": areas, "looked_at": LOOK, "yields": yields}


def looked_at(true: np.ndarray, order) -> list[int]:
    """How many of the wanted an oracle has seen after each round."""
    seen, found = np.zeros(len(true), bool), []
    for _ in range(ROUNDS):
        seen[np.argsort(-order(seen), kind="stable")[:LOOK]] = True
        found.append(int((seen & true).sum()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="weights", default="simclr-kids")
    parser.add_argument("--transfer", default=None)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    surveys = mocks(folder, asked.n)
    weights = untrained(surveys[0]) if asked.weights == NAME else encoder_of(asked.weights)
    plain, odd = (sl.embed(survey, weights).survey for survey in surveys)
    scores = {
        "weights": weights.name, "transfer": asked.transfer, "n": asked.n,
        "sketches": by_sketch(plain, weights, asked.transfer, folder), "oddity": by_oddity(odd, weights),
    }  # fmt: skip
    if asked.keep:
        write_whole(asked.keep, json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
