"""The picture of the README, from the real field: skyloom tour --out tour; python docs/figures/readme_figure.py tour

Left: large galaxies of the field in colour. Right: the largest with its isophotes, and its profiles in nine bands.
"""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse as Patch
from PIL import Image

import skyloom as sl
from skyloom.report.distributions import grouped
from skyloom.report.drawing import PAPER, drawn
from skyloom.report.galaxies import Look, picture
from skyloom.report.measurements import Measured
from skyloom.report.portraits import crop
from skyloom.report.profiles import draw_profiles, ellipses, shown_radii

ROWS, COLUMNS = 6, 4
WIDTH, HEIGHT = 10.4, 4.4  # [inch]


def galaxy_image(axes, row: dict, measured: Measured, side: int, with_isophotes: bool = False) -> None:
    """A galaxy in colour, cropped to its last isophote."""
    survey = measured.homes[row["object_id"]]
    look: Look = measured.looks[str(survey.path)]
    scale = survey.info.pixel_scale
    cutout = next(survey.read(ids=[row["object_id"]]))
    box = crop(survey.info.shape, row["x"], row["y"], (1.2 if with_isophotes else 0.85) * row["sma"][-1] / scale)
    ends = (box[1].start - 0.5, box[1].stop - 0.5, box[0].start - 0.5, box[0].stop - 0.5)
    axes.imshow(picture(cutout, look, box, side), origin="lower", extent=ends, interpolation="bicubic")
    axes.set_axis_off()
    if with_isophotes:
        for e in ellipses(row, scale, cutout.wcs, shown_radii(row, 7)):
            axes.add_patch(Patch((e.x, e.y), 2 * e.a, 2 * e.b, angle=e.angle, fill=False, ec="w", lw=0.7, alpha=0.85))
        for e in ellipses(row, scale, cutout.wcs, [row["r_e"]]):
            axes.add_patch(Patch((e.x, e.y), 2 * e.a, 2 * e.b, angle=e.angle, fill=False, ec="#ff9f43", lw=1.4))
        left, low = ends[0] + 0.05 * (ends[1] - ends[0]), ends[2] + 0.06 * (ends[3] - ends[2])
        axes.plot([left, left + 10 / scale], [low, low], color="w", lw=1.5)
        axes.text(left, low + 0.02 * (ends[3] - ends[2]), "10″", color="w", va="bottom", fontsize=10)
        axes.set(xlim=ends[:2], ylim=ends[2:])


def is_whole(row: dict, measured: Measured) -> bool:
    """Whether the crop of a galaxy holds no bad pixel."""
    survey = measured.homes[row["object_id"]]
    cutout = next(survey.read(ids=[row["object_id"]]))
    box = crop(survey.info.shape, row["x"], row["y"], 0.85 * row["sma"][-1] / survey.info.pixel_scale)
    return bool((cutout.ivar[list(measured.looks[str(survey.path)].bands)][:, *box] > 0).any(0).all())


def draw(figure: Figure, measured: Measured) -> None:
    rows = [row for row in measured.largest(3 * ROWS * COLUMNS) if is_whole(row, measured)]
    tiles = HEIGHT * COLUMNS / ROWS
    mosaic, portrait, profiles = figure.subfigures(1, 3, width_ratios=(tiles, HEIGHT, WIDTH - tiles - HEIGHT), wspace=0)
    panels = mosaic.subplots(ROWS, COLUMNS, gridspec_kw={"wspace": 0.025, "hspace": 0.025})
    mosaic.subplots_adjust(0, 0.005, 1, 0.995)
    for axes, row in zip(panels.flat, rows[1:], strict=False):
        galaxy_image(axes, row, measured, 128)
    axes = portrait.subplots()
    portrait.subplots_adjust(0.01, 0.005, 0.995, 0.995)
    galaxy_image(axes, rows[0], measured, 400, with_isophotes=True)
    every = grouped(measured.table, [rows[0]["object_id"]])[rows[0]["object_id"]]
    draw_profiles(profiles, every, measured.people.radius_unit, PAPER, measured.reference)


def main(tour: Path, out: Path) -> None:
    surveys = [sl.open(path) for path in sorted(tour.glob("kids*.lance"))]
    table = pq.read_table(tour / "profiles.parquet")
    hashes = table.schema.metadata[b"survey_hash"].decode().split()
    measured = Measured("profiles", table, tuple(survey for survey in surveys if survey.content_hash in hashes))
    figure = drawn(lambda figure: draw(figure, measured), WIDTH, HEIGHT, PAPER)
    drawing = BytesIO()
    figure.savefig(drawing, dpi=130, facecolor="white")
    pixels = np.asarray(Image.open(drawing).convert("RGB"))
    coarse = (pixels // 8 * 8 + pixels // 32).astype(np.uint8)  # 32 levels: finer than the noise
    Image.fromarray(coarse).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "tour"), Path(__file__).with_name("readme.png"))
