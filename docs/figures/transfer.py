"""Figure of docs/transfer.md: cartoons and mocks given the look of a survey, and the real galaxies nearest to them.

    python docs/figures/transfer.py [--with galaxy-kids] [--survey SURVEY] [--seed S]

Without --survey, the sample survey that comes with skyloom. Also writes sketch.png, the drawing of the page's example.
"""

from __future__ import annotations

import argparse
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

import skyloom as sl
from skyloom.data import store
from skyloom.metrics.nearest import search
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.sheets import Album, pictures, show, whole

HERE = Path(__file__).parent
SIDE = 512  # of a cartoon [pixel]
CARTOON_STRENGTHS, MOCK_STRENGTHS = (0.5, 0.6, 0.7), (0.3, 0.45, 0.6)
MOCKS = 4
FAIR = "is_extended AND NOT in_bad_strip AND NOT in_halo AND NOT is_saturated"
BLUE, GOLD, WARM = (130, 170, 255), (255, 225, 150), (255, 180, 100)
PANEL, GAP, LEFT, HEAD, UNDER = 0.92, 0.03, 0.86, 0.26, 0.17  # [inch]


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, a: float, b: float, colour) -> None:
    draw.ellipse((x - a, y - b, x + a, y + b), fill=colour)


def arms(draw: ImageDraw.ImageDraw, colour, width: int) -> None:
    """Two logarithmic spiral arms."""
    angle = np.linspace(0.4, 5.6, 300)
    for start in (0, np.pi):
        radius = 34 * np.exp(0.3 * angle)
        points = SIDE / 2 + radius * np.cos(angle + start), SIDE / 2 + radius * np.sin(angle + start)
        draw.line(list(zip(*points, strict=True)), fill=colour, width=width, joint="curve")


def spiral() -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    arms(draw, BLUE, 30)
    disc(draw, 256, 256, 50, 50, GOLD)
    return image


def ring() -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    draw.ellipse((110, 110, 402, 402), outline=BLUE, width=34)
    disc(draw, 256, 256, 32, 32, GOLD)
    return image


def lens() -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    for first, last in ((200, 330), (30, 140)):
        draw.arc((112, 112, 400, 400), first, last, fill=BLUE, width=28)
    disc(draw, 256, 256, 54, 54, WARM)
    return image


def edge_on() -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    disc(draw, 256, 256, 216, 26, (255, 220, 170))
    disc(draw, 256, 256, 50, 46, (255, 235, 190))
    draw.line((60, 257, 452, 257), fill=(120, 70, 40), width=8)
    return image.rotate(25, resample=Image.Resampling.BICUBIC)


def pair() -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    draw.line((220, 250, 340, 290), fill=(150, 160, 200), width=16)
    disc(draw, 170, 240, 80, 90, WARM)
    disc(draw, 360, 286, 70, 54, BLUE)
    return image


def smiley() -> Image.Image:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((80, 80, 432, 432), outline="black", width=20)
    for x in (200, 312):
        disc(draw, x, 212, 24, 30, "black")
    draw.arc((160, 170, 352, 360), 20, 160, fill="black", width=20)
    return image


def sketch() -> Image.Image:
    """A spiral in ink on paper: the example of the page."""
    image = Image.new("L", (SIDE, SIDE), 255)
    draw = ImageDraw.Draw(image)
    arms(draw, 40, 26)
    disc(draw, 256, 256, 46, 46, 10)
    return image


CARTOONS = (spiral, ring, lens, edge_on, pair, smiley)


def draw_cartoons(folder: Path) -> Path:
    folder.mkdir()
    for number, cartoon in enumerate(CARTOONS):
        cartoon().save(folder / f"{number}-{cartoon.__name__}.png")
    return folder


def make_mocks(folder: Path) -> sl.Survey:
    """A few of the larger of some mock galaxies."""
    every = sl.mock(folder / "mocks.lance", 60, size=96, bands="gri", seed=8)
    facts = every.table(["object_id", "true_r_e_r", "true_mag_r"]).to_pylist()
    bright = [row for row in facts if row["true_mag_r"] < 21.5]
    largest = sorted(bright, key=lambda row: -row["true_r_e_r"])[:MOCKS]
    return store.write(folder / "few.lance", every.info, every.read(ids=[row["object_id"] for row in largest]))


def rows_of(
    source, strengths, weights: str, real: sl.Survey, folder: Path, seed: int
) -> tuple[list[Album], np.ndarray]:
    """The source, what it becomes at each strength, the real galaxies nearest to the middle one; their distances."""
    made = []
    for strength in (0.0, *strengths):
        done = sl.transfer(
            source, folder / f"{Path(folder).name}-{strength}.lance", weights, strength=strength, seed=seed
        )
        print(f"strength {strength:g}:", *done.told, sep="\n  ")
        made.append(done.survey)
    found = search(made[2], real)
    print("nearest", dict(zip(found.ids, found.neighbours[:, 0], strict=True)), "usual distance", found.usual)
    albums = [Album(list(survey.read()), survey.info) for survey in made]
    return [*albums, Album(list(real.read(ids=list(found.neighbours[:, 0]))), real.info)], found.distance[:, 0]


def draw(figure: Figure, blocks, names) -> None:
    """Blocks of columns side by side; a row per strength, the nearest real galaxies last."""
    width, height = figure.get_size_inches()
    left = LEFT
    for (rows, distances), (title, words) in zip(blocks, names, strict=True):
        columns = len(distances)
        figure.text((left + PANEL * columns / 2) / width, 1 - 0.45 * HEAD / height, title, ha="center", va="center")
        for place, row in enumerate(rows):
            low = HEAD + PANEL * (place + 1) + 0.07 * (place > 0) + 0.07 * (place == len(rows) - 1)
            if words[place]:
                middle = 1 - (low - PANEL / 2) / height
                figure.text((left - 0.09) / width, middle, words[place], ha="right", va="center", fontsize=9)
            for column, one in enumerate(row):
                side = PANEL * (1 - GAP)
                corner = (left + PANEL * column) / width, 1 - low / height
                axes = figure.add_axes((*corner, side / width, side / height))
                show(axes, one)
                if place == len(rows) - 1:
                    axes.text(0.5, -0.03, f"{distances[column]:#.2g}", transform=axes.transAxes, ha="center", va="top",
                              fontsize=8)  # fmt: skip
        left += PANEL * columns + LEFT


def main(given: argparse.Namespace) -> None:
    sketch().save(HERE / "sketch.png", optimize=True)
    survey = sl.sample() if given.survey is None else sl.open(given.survey)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = FAIR if "in_bad_strip" in survey.column_names else None
        fair = whole(Album(list(survey.read(where)), survey.info))
        real = store.write(folder / "real.lance", survey.info, fair.cutouts)
        blocks = []
        for kind, source, strengths in (
            ("cartoons", draw_cartoons(folder / "drawn"), CARTOON_STRENGTHS),
            ("mocks", make_mocks(folder), MOCK_STRENGTHS),
        ):
            (folder / kind).mkdir()
            blocks.append(rows_of(source, strengths, given.weights, real, folder / kind, given.seed))
        some = Album(list(real.read(ids=real.table(["object_id"])["object_id"].to_pylist()[:60])), real.info)
        shown = pictures(some, *(album for rows, _ in blocks for album in rows))[1:]
    half = len(blocks[0][0])
    coloured = [(shown[:half], blocks[0][1]), (shown[half:], blocks[1][1])]
    names = [
        ("cartoons", ["input", *(f"{one:g}" for one in CARTOON_STRENGTHS), "nearest\nreal"]),
        ("mocks", ["input", *(f"{one:g}" for one in MOCK_STRENGTHS), "nearest\nreal"]),
    ]
    width = 2 * LEFT + PANEL * (len(CARTOONS) + MOCKS) + 0.02
    height = HEAD + PANEL * half + 0.14 + UNDER
    figure = drawn(lambda sheet: draw(sheet, coloured, names), width, height, PAPER)
    drawing = BytesIO()
    figure.savefig(drawing, dpi=130, facecolor="white")
    pixels = np.asarray(Image.open(drawing).convert("RGB"))
    coarse = (pixels // 8 * 8 + pixels // 32).astype(np.uint8)  # 32 levels: finer than the noise
    Image.fromarray(coarse).save(HERE / "transfer.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--with", dest="weights", default="galaxy-kids")
    parser.add_argument("--survey")
    parser.add_argument("--seed", type=int, default=1)
    main(parser.parse_args())
