"""Figures of docs/scale.md: Fig. 5.2 of Smith 2022, and the law of the runs that its first example makes.

python docs/figures/scale.py
"""

from __future__ import annotations

import re
import runpy
import tempfile
from contextlib import chdir
from pathlib import Path

import skyloom as sl
from skyloom.metrics.scaling import HOFFMANN
from skyloom.report.scaling import Mark, terms_figure

HERE = Path(__file__).parent
DOTS = 130
MODELS = (
    Mark("LaMDA", 137e9, 168e9),
    Mark("GPT-3", 175e9, 300e9),
    Mark("Gopher", 280e9, 300e9),
    Mark("MT-NLG", 530e9, 270e9),
    Mark("Chinchilla", 70e9, 1.4e12),
    Mark("PaLM", 540e9, 780e9),
)


def main() -> None:
    terms_figure(HOFFMANN, MODELS).savefig(HERE / "scale_figure_5_2.png", dpi=DOTS)
    page = (HERE.parent / "scale.md").read_text(encoding="utf-8")
    example = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)[0]
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("example.py").write_text(example, encoding="utf-8")
        runpy.run_path("example.py")
        sl.scale("runs.csv", plan=1e21, out=HERE / "scale_law.png")


if __name__ == "__main__":
    main()
