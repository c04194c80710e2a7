"""How fast and how true are surface brightness profiles? skyloom beside photutils and AutoProf on the same mocks.

Every code gets the same pixels; photutils and AutoProf also get skyloom's mask of neighbours, and photutils its sky
level and the moments to start from. The truth is that of `skyloom mock`: the mean light on the isophotes of the
noise-free image. Learned engines go by their names, `mean` is the mean true profile of other mocks: what a code must
beat to have seen anything.

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
import pyarrow as pa
from _bench import environment
from astropy.io import fits

import skyloom as sl
from skyloom.data import store
from skyloom.data.mocks.mock import info, mock_cutouts, studio
from skyloom.infer import profiles
from skyloom.infer.profiles import engine_of, measure_survey
from skyloom.metrics.calibration import coverage
from skyloom.metrics.profiles import BINS, deviations, missing, profile_medians
from skyloom.metrics.references import mean_profile, saying, shaped, truth_table
from skyloom.metrics.score import median
from skyloom.sky.background import sky_level
from skyloom.sky.detection import central_and_neighbours, neighbours
from skyloom.sky.photometry import surface_brightness

SIZE, BAND = 256, "r"
WATTS = 10.0  # of a busy core, for an idea of the energy
TRAINING = 200  # mocks whose mean is the baseline
FAINTEST = 30.0  # [mag/arcsec²] beyond which the truth does not enter that mean

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


def as_table(cutouts, found) -> pa.Table:
    """(sma, sb, sb_error) of each cutout as a profile table; no points for None."""
    parts = zip(*(one or ([], [], []) for one in found), strict=True)
    columns = {
        name: pa.chunked_array([pa.array([np.asarray(values, float) for values in part], pa.list_(pa.float64()))])
        for name, part in zip(("sma", "sb", "sb_error"), parts, strict=True)
    }
    return shaped(columns | {"object_id": pa.array([cutout.object_id for cutout in cutouts])}, BAND)


def with_skyloom(survey, given):
    """The profile table, and the CPU seconds for one galaxy."""
    cutouts = list(survey.read())
    started = time.process_time()
    rows = measure_survey(cutouts, survey.info)
    seconds = (time.process_time() - started) / len(cutouts)
    return as_table(cutouts, [(row["sma"], row["sb"], row["sb_error"]) for row in rows]), seconds


def with_engine(name):
    """A learned engine, by its name; its seconds hold the reading of the survey too."""

    def measured(survey, given):
        started = time.process_time()
        table = sl.profile(survey, with_=name)
        return table, (time.process_time() - started) / len(survey)

    return measured


def with_mean(survey, given):
    """The mean true profile of other mocks, whatever the pixels say."""
    with tempfile.TemporaryDirectory() as folder:
        others = mock_cutouts(TRAINING, SIZE, BAND, given.seed + 2)
        truth = truth_table(store.write(Path(folder) / "others.lance", survey.info, others))
    return saying({BAND: mean_profile(truth, FAINTEST)}, truth_table(survey)), 0.0


def start_of(cutout):
    """Sky level and rms, neighbours' mask, and the light within the galaxy's own segment."""
    flux, good = cutout.flux[0], cutout.ivar[0] > 0
    level, rms = sky_level(flux, cutout.ivar[0])
    number, segmap = central_and_neighbours(np.where(good, flux - level, 0).astype(np.float32), good, float(rms))
    return float(level), neighbours(segmap, number) | ~good, np.where(segmap == number, flux - level, 0)


def with_photutils(survey, given):
    from photutils.isophote import Ellipse, EllipseGeometry
    from photutils.morphology import data_properties

    cutouts, facts = list(survey.read()), survey.info
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
    return as_table(cutouts, found), (time.process_time() - started) / len(cutouts)


def with_autoprof(survey, given):
    cutouts, facts = list(survey.read()), survey.info
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for k, cutout in enumerate(cutouts):
            _, mask, _ = start_of(cutout)
            fits.writeto(folder / f"g{k:04d}.fits", np.nan_to_num(cutout.flux[0]))
            fits.writeto(folder / f"mask-g{k:04d}.fits", mask.astype(np.int16))
        (folder / "run.py").write_text(AUTOPROF)
        command = [given.autoprof, "run.py", folder, str(facts.pixel_scale), str(facts.bands[0].zero_point)]
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        seconds = [float((folder / f"g{k:04d}.seconds").read_text()) for k in range(len(cutouts))]
        found = [read_autoprof(folder / f"g{k:04d}.prof") for k in range(len(cutouts))]
        return as_table(cutouts, found), float(np.mean(seconds))


def read_autoprof(path):
    if not path.exists():
        return None
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    names = lines[0].split(",")
    values = np.array([[float(v) for v in line.split(",")] for line in lines[1:] if line[0].isdigit()])
    sma, sb, error = (values[:, names.index(name)] for name in ("R", "SB", "SB_e"))
    kept = (sma > 0) & (sb < 90)
    return sma[kept], sb[kept], error[kept]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--n", type=int, default=20, help="galaxies that every code measures")
    options.add_argument("--speed", type=int, default=400, help="galaxies that skyloom's rate is timed on")
    options.add_argument("--codes", nargs="+", default=["skyloom", "photutils"], help="or autoprof, mean, or an engine")
    options.add_argument("--autoprof", default=sys.executable, help="the Python that has autoprof")
    options.add_argument("--seed", type=int, default=30_000, help="of the mocks")
    given = options.parse_args()
    warnings.simplefilter("ignore")
    codes = {"skyloom": with_skyloom, "photutils": with_photutils, "autoprof": with_autoprof, "mean": with_mean}
    print(environment())
    facts = info(studio(SIZE, BAND, given.seed, None, None))
    with tempfile.TemporaryDirectory() as folder:
        cutouts = mock_cutouts(given.n, SIZE, BAND, given.seed)
        survey = store.write(Path(folder) / "mocks.lance", facts, cutouts)
        for code in given.codes:
            report(code, *codes.get(code, with_engine(code))(survey, given), survey)
    for code in given.codes:
        if code not in ("photutils", "autoprof", "mean"):
            rate("isophotes" if code == "skyloom" else code, given.speed, facts, given.seed + 1)
    print(environment())


def report(code, table, seconds, survey):
    """Errors and coverage of one code by surface brightness; galaxies with a bright companion apart."""
    failed, truth = sum(not sma for sma in table["sma"].to_pylist()), truth_table(survey)
    print(f"\n{code}: {seconds:.3f} CPU s/galaxy, {failed} of {len(table)} failed")
    columns = survey.table(["object_id", "true_companion"])
    companion = dict(zip(*(column.to_pylist() for column in columns.columns), strict=True))
    blended = np.array([companion[name] for name in table["object_id"].to_pylist()])
    points = deviations(table, truth)
    alone, together = (points.where(blended[points.row] == which) for which in (False, True))
    print(f"{'bin':>12} {'points':>7} {'median |Δμ|':>16} {'worst galaxy':>13} {'with companion':>15} "
          f"{'68 %':>6} {'90 %':>6} {'ends short':>11}")  # fmt: skip
    for low, high in BINS:
        line(alone.between(low, high), together.between(low, high), (low, high), missing(table, truth, low, high)[1])


def line(alone, together, limits, short):
    size = median(np.abs(alone.deviation), group=alone.galaxy)
    worst = np.max(profile_medians(np.abs(alone.deviation), alone.row)[0], initial=0)
    covered = [coverage(alone, level, bins=(limits,))[0].share.value for level in (0.68, 0.90)]
    print(
        f"{limits[0]:5.1f}-{limits[1]:5.1f}  {size.n:7d} {size.value:9.4f} ± {size.error:.4f} {worst:13.4f} "
        f"{median(np.abs(together.deviation)).value:15.4f} {covered[0]:6.2f} {covered[1]:6.2f} {short:11d}"
    )


def rate(name, n, facts, seed):
    """Galaxies per second of wall time on all cores, from pixels in memory to rows of the table."""
    engine = engine_of(name, facts, [0])
    cutouts = list(mock_cutouts(min(n, 100), SIZE, BAND, seed))
    many = [cutouts[k % len(cutouts)] for k in range(n)]
    measure_survey(many[: 4 * profiles.CHUNK["cpu"]], facts, engine=engine)
    wall, cpu = time.perf_counter(), time.process_time()
    measure_survey(many, facts, engine=engine)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"\n{name}, {n} galaxies of {SIZE}²: {n / wall:.1f} galaxies/s, {cpu / n:.4f} CPU s/galaxy, "
        f"{cpu * WATTS / n:.3f} kJ/1,000 galaxies at {WATTS:g} W a busy core (assumed)"
    )


if __name__ == "__main__":
    main()
