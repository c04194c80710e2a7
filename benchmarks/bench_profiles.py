"""How fast and how true are surface brightness profiles? skyloom beside photutils and AutoProf on the same mocks.

Every code gets the same pixels; photutils and AutoProf also get skyloom's mask of neighbours, and photutils its sky
level and the moments to start from. The truth is that of `skyloom mock`: the mean light on the isophotes of the
noise-free image.

Expected: time linear in the number of galaxies; errors set by pixel noise, in the faintest bin by the sky.
Run: python benchmarks/bench_profiles.py [--n 20] [--speed 400] [--codes CODE ...] [--autoprof PYTHON]
AutoProf (GPL) pins old astropy and numpy: give the Python of an environment made for it with `pip install autoprof`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from _bench import environment
from astropy.io import fits
from scipy.interpolate import CubicSpline

from skyloom.data.mocks.mock import info, mock_cutouts, studio
from skyloom.infer import profiles
from skyloom.infer.profiles import measure_survey
from skyloom.sky.background import sky_level
from skyloom.sky.detection import central_and_neighbours, neighbours
from skyloom.sky.photometry import surface_brightness

SIZE, BAND = 256, "r"
BINS = ((0.0, 22.5), (22.5, 24.5), (24.5, 26.5), (0.0, 26.5))  # [mag/arcsec²]

AUTOPROF = """
import logging, sys, time
from pathlib import Path
from autoprof.Pipeline import Isophote_Pipeline
folder, scale, zero_point = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
logging.disable(logging.CRITICAL)
for image in sorted(folder.glob("g*.fits")):
    started = time.process_time()
    try:
        Isophote_Pipeline(loggername=str(folder / "log")).Process_Image(dict(
            ap_process_mode="image", ap_image_file=str(image), ap_name=image.stem, ap_saveto=str(folder) + "/",
            ap_mask_file=str(folder / f"mask-{image.name}"), ap_pixscale=scale, ap_zeropoint=zero_point,
            ap_doplot=False))
    except Exception as fault:
        print("failed", image.stem, repr(fault))
    (folder / f"{image.stem}.seconds").write_text(str(time.process_time() - started))
"""


def with_skyloom(cutouts, facts, _):
    """(sma, sb, sb_error) of each galaxy and the CPU seconds for one."""
    started = time.process_time()
    rows = measure_survey(cutouts, facts)
    seconds = (time.process_time() - started) / len(cutouts)
    return [(row["sma"], row["sb"], row["sb_error"]) for row in rows], seconds


def start_of(cutout):
    """Sky level and rms, neighbours' mask, and the light within the galaxy's own segment."""
    flux, good = cutout.flux[0], cutout.ivar[0] > 0
    level, rms = sky_level(flux, cutout.ivar[0])
    number, segmap = central_and_neighbours(np.where(good, flux - level, 0).astype(np.float32), good, float(rms))
    return float(level), neighbours(segmap, number) | ~good, np.where(segmap == number, flux - level, 0)


def with_photutils(cutouts, facts, _):
    from photutils.isophote import Ellipse, EllipseGeometry
    from photutils.morphology import data_properties

    found, started = [], time.process_time()
    for cutout in cutouts:
        level, mask, light = start_of(cutout)
        shape = data_properties(np.nan_to_num(np.maximum(light, 0)))
        middle = (SIZE - 1) / 2
        geometry = EllipseGeometry(middle, middle, 10, shape.ellipticity.value, shape.orientation.to_value("rad"))
        image = np.ma.masked_array(np.nan_to_num(cutout.flux[0] - level), mask)
        try:
            fit = Ellipse(image, geometry).fit_image(step=0.1)
            sb = surface_brightness(fit.intens, facts.pixel_scale, facts.bands[0].zero_point)
            error = 1.0857 * fit.int_err / fit.intens
            found.append((fit.sma[1:] * facts.pixel_scale, sb[1:], error[1:]) if len(fit) > 1 else None)
        except (ValueError, IndexError):
            found.append(None)
    return found, (time.process_time() - started) / len(cutouts)


def with_autoprof(cutouts, facts, python):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for k, cutout in enumerate(cutouts):
            _, mask, _ = start_of(cutout)
            fits.writeto(folder / f"g{k:04d}.fits", np.nan_to_num(cutout.flux[0]))
            fits.writeto(folder / f"mask-g{k:04d}.fits", mask.astype(np.int16))
        (folder / "run.py").write_text(AUTOPROF)
        command = [python, "run.py", folder, str(facts.pixel_scale), str(facts.bands[0].zero_point)]
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        seconds = [float((folder / f"g{k:04d}.seconds").read_text()) for k in range(len(cutouts))]
        return [read_autoprof(folder / f"g{k:04d}.prof") for k in range(len(cutouts))], float(np.mean(seconds))


def read_autoprof(path):
    if not path.exists():
        return None
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    names = lines[0].split(",")
    values = np.array([[float(v) for v in line.split(",")] for line in lines[1:] if line[0].isdigit()])
    sma, sb, error = (values[:, names.index(name)] for name in ("R", "SB", "SB_e"))
    kept = (sma > 0) & (sb < 90)
    return sma[kept], sb[kept], error[kept]


def judge(cutouts, found) -> dict:
    """Deviations from the truth, stated errors and true SB of all points, and the galaxy that each belongs to."""
    parts = []
    for k, (cutout, one) in enumerate(zip(cutouts, found, strict=True)):
        if one is None:
            continue
        true_sma, true_sb = (np.asarray(cutout.columns[name], float) for name in ("true_sma", f"true_sb_{BAND}"))
        known = np.isfinite(true_sb)
        truth = CubicSpline(np.log(true_sma[known]), true_sb[known], extrapolate=False)(np.log(one[0]))
        parts.append(np.stack([one[1] - truth, one[2], truth, np.full(len(truth), k)]))
    deviation, error, truth, galaxy = np.concatenate(parts, 1)
    measured = np.isfinite(deviation) & np.isfinite(truth)
    return {"deviation": deviation[measured], "error": error[measured], "truth": truth[measured],
            "galaxy": galaxy[measured].astype(int)}  # fmt: skip


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--n", type=int, default=20, help="galaxies that every code measures")
    options.add_argument("--speed", type=int, default=400, help="galaxies that skyloom's rate is timed on")
    options.add_argument("--codes", nargs="+", default=["skyloom", "photutils"])
    options.add_argument("--autoprof", default=sys.executable, help="the Python that has autoprof")
    options.add_argument("--seed", type=int, default=30_000, help="of the mocks")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    codes = {"skyloom": with_skyloom, "photutils": with_photutils, "autoprof": with_autoprof}
    print(environment())
    cutouts = list(mock_cutouts(given.n, SIZE, BAND, given.seed))
    facts = info(studio(SIZE, BAND, given.seed, None, None))
    blended = np.array([cutout.columns["true_companion"] for cutout in cutouts])
    for code in given.codes:
        found, seconds = codes[code](cutouts, facts, given.autoprof)
        report(code, found, seconds, cutouts, blended)
    rate(given.speed, facts, given.seed + 1)
    print(environment())


def report(code, found, seconds, cutouts, blended):
    failed = sum(one is None for one in found)
    print(f"\n{code}: {seconds:.3f} CPU s/galaxy, {failed} of {len(found)} failed")
    points = judge(cutouts, found)
    print(
        f"{'bin':>12} {'n':>6} {'median |Δμ|':>12} {'worst galaxy':>13} {'with companion':>15} {'68 %':>6} {'90 %':>6}"
    )
    for low, high in BINS:
        inside = (points["truth"] >= low) & (points["truth"] < high)
        size = np.abs(points["deviation"])
        alone = inside & ~blended[points["galaxy"]]
        together = inside & blended[points["galaxy"]]
        worst = max(np.median(size[alone & (points["galaxy"] == k)]) for k in np.unique(points["galaxy"][alone]))
        covered = [np.mean((size < z * points["error"])[alone]) for z in (1.0, 1.645)]
        print(
            f"{low:5.1f}-{high:5.1f}  {alone.sum():6d} {np.median(size[alone]):12.4f} {worst:13.4f} "
            f"{np.median(size[together]) if together.any() else np.nan:15.4f} {covered[0]:6.2f} {covered[1]:6.2f}"
        )


def rate(n, facts, seed):
    """Galaxies per second of wall time on all cores, from pixels in memory to rows of the table."""
    cutouts = list(mock_cutouts(min(n, 100), SIZE, BAND, seed))
    many = [cutouts[k % len(cutouts)] for k in range(n)]
    measure_survey(many[: 4 * profiles.CHUNK["cpu"]], facts)
    wall, cpu = time.perf_counter(), time.process_time()
    measure_survey(many, facts)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"\nskyloom, {n} galaxies of {SIZE}²: {n / wall:.1f} galaxies/s, {cpu / n:.4f} CPU s/galaxy")


if __name__ == "__main__":
    main()
