"""docs/figures/simulated.inc: galaxies of the shipped generators beside real ones, from their scores.json.

python docs/figures/simulated.py
"""

from __future__ import annotations

from pathlib import Path

from skyloom.checkpoint import open_run
from skyloom.infer.generator import generators

OUT = Path(__file__).with_suffix(".inc")
SHOWN = {
    ("sgd", "r"): "W of r", ("sgd", "g − r"): "W of g − r", ("sgd", "R_e"): "W of R_e",
    ("sgd", "sum"): "SGD, scale-free",
    ("effect", "r"): "Cohen's d of r", ("noise", "r rms, fake / real"): "rms of the sky, r",
    ("frechet", "Fréchet distance"): "Fréchet, random features", ("classifier", "area under ROC"): "classifier, AUC",
    ("memorisation", "nearest neighbours"): "memorisation, ratio",
}  # fmt: skip


def main() -> None:
    lines = []
    for name in generators():
        scores = open_run(name).facts("scores")
        lines.append(
            f"\n**`{name}`**: {scores['n']:,} galaxies ({scores['sampler']}, {scores['steps']} steps, "
            f"{1 / scores['cpu_seconds_per_galaxy']:.1f} galaxies a second and core) beside as many real ones.\n\n"
            "| score | simulated beside real | real beside real |\n|---|---|---|"
        )
        for row in scores["rows"]:
            words = SHOWN.get((row["metric"], row["name"]))
            if words:
                lines.append(
                    f"| {words} | {row['value']:.3g} ± {row['error']:.1g} {row['unit']} | {row['null']:.3g} ± "
                    f"{row['null_error']:.1g} |"
                )
    OUT.write_text("\n".join(lines).lstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
