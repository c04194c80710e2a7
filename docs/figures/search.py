"""Figures of docs/search.md and docs/anomalies.md: neighbours of a few galaxies, the oddest objects, the map.

    python docs/figures/search.py [--with simclr-kids] [--survey SURVEY] [--steps near odd map]

Without --survey, the sample survey that comes with skyloom; with `--with untrained`, an encoder that nobody trained.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

import skyloom as sl

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

from untrained import NAME, untrained  # noqa: E402

FAIR = "NOT is_star AND NOT in_bad_strip AND NOT in_halo AND NOT is_saturated AND NOT is_cut"
QUERIES = ("sample-00047", "sample-00306", "sample-01991")  # a blue disc, an edge-on galaxy, a red elliptical
OUT = {"near": "search_near.jpg", "light": "search_light.jpg", "odd": "anomalies_sheet.jpg", "map": "search_map.jpg"}


def shown(png: Path, name: str) -> None:
    """The sheet as the page shows it."""
    with Image.open(png) as image:
        image.convert("RGB").save(HERE / OUT[name], quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="weights", default="simclr-kids")
    parser.add_argument("--survey", type=Path)
    parser.add_argument("--steps", nargs="*", default=list(OUT), choices=list(OUT))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, sheet = Path(folder) / "sample.lance", Path(folder) / "sheet.png"
        survey = sl.open(shutil.copytree(asked.survey, path)) if asked.survey else sl.ingest("sample", path)
        weights = untrained(survey) if asked.weights == NAME else asked.weights
        survey = sl.embed(survey, weights).survey
        if "near" in asked.steps:
            sl.search(survey, QUERIES, 8, with_=weights, where=FAIR, out=sheet)
            shown(sheet, "near")
        if "light" in asked.steps:
            sl.search(survey, QUERIES, 8, with_="pixels", where=FAIR, out=sheet)
            shown(sheet, "light")
        if "odd" in asked.steps:
            table = sl.anomalies(survey, 25, with_=weights, out=sheet)
            shown(sheet, "odd")
            print(*table["object_id"].to_pylist(), (table.schema.metadata or {})[b"notes"].decode(), sep="\n")
        if "map" in asked.steps:
            figure = sl.map_figure(survey, sl.survey_map(survey, weights))
            figure.savefig(sheet, dpi=150)
            shown(sheet, "map")


if __name__ == "__main__":
    main()
