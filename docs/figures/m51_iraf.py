"""Figure of docs/profile.md: M51 by skyloom and by IRAF's `ellipse`, the reference table of photutils.

Run: python docs/figures/m51_iraf.py [FOLDER]      (writes m51_iraf.png, 5 s)

`tests/golden/test_m51_iraf.py` holds the same numbers to its tolerances.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from astropy.io import fits
from astropy.table import Table

from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.infer.profiles import measure_survey
from skyloom.sky.annuli import measure
from skyloom.sky.background import sky_level
from skyloom.sky.ellipse import ellipticity_and_angle, shape_of
from skyloom.sky.isophotes import Isophotes, fit_isophotes, radii

DATA = Path(__file__).parents[2] / "tests" / "golden" / "data"


class Curve(NamedTuple):
    """sma [pixel]; intensity [counts/pixel], the sky in it; pa [deg, +x to +y]; centre 0-based; errors beside each."""

    sma: np.ndarray
    intensity: np.ndarray
    intensity_error: np.ndarray
    ellipticity: np.ndarray
    ellipticity_error: np.ndarray
    pa: np.ndarray
    pa_error: np.ndarray
    x: np.ndarray
    y: np.ndarray


def read_image() -> np.ndarray:
    return fits.getdata(DATA / "m51.fits").astype(np.float32)


def read_iraf() -> Curve:
    """IRAF's isophotes: its angles count from +y and its pixels from 1, ours from +x and 0."""
    table = Table.read(DATA / "m51_iraf.fits.gz")[1:]
    names = ["SMA", "INTENS", "INT_ERR", "ELLIP", "ELLIP_ERR", "PA", "PA_ERR", "X0", "Y0"]
    columns = {name: np.asarray(np.ma.filled(table[name].astype(float), np.nan)) for name in names}
    columns["PA"] = (columns["PA"] + 90) % 180
    columns["X0"], columns["Y0"] = columns["X0"] - 1, columns["Y0"] - 1
    return Curve(*columns.values())


def measure_ours(image: np.ndarray) -> Curve:
    """What `skyloom profile` says, its sky added back."""
    _, rms = sky_level(image, np.ones_like(image))
    cutout = Cutout("M51", image[None], np.full((1, *image.shape), 1 / rms**2, np.float32))
    row = measure_survey([cutout], SurveyInfo((Band("B"),), image.shape))[0]
    light = 10 ** (-0.4 * row["sb"])
    shape = row["ellipticity"], row["ellipticity_error"], row["pa"], row["pa_error"]
    centre = (np.full_like(light, row[axis]) for axis in "xy")
    return Curve(row["sma"], light + row["sky"], light * row["sb_error"] / 1.0857, *shape, *centre)


def measure_free(image: np.ndarray, ours: Curve) -> Curve:
    """Isophotes that follow the light of their own ring, arms and all: the same fit without its prior."""
    level, rms = sky_level(image, np.ones_like(image))
    flux = torch.from_numpy((image - np.float32(level)) / np.float32(rms))[None]
    good, sma = torch.ones_like(flux), radii(image.shape)
    x, y = (torch.tensor([c[0]], dtype=torch.float32) for c in (ours.x, ours.y))
    start = (torch.zeros(1, len(sma)) for _ in range(2))
    fit = fit_isophotes(flux, good, torch.tensor([[1.0, 0.0]]), x, y, *start, sma, rounds=40, walk=10.0, arms=0.0)
    annuli = measure(flux, good, good, fit, sma)
    ellipticity, angle = (part[0].numpy() for part in ellipticity_and_angle(fit.e1, fit.e2))
    error, count = fit.shape_error[0].numpy(), len(ours.sma)
    columns = (
        sma.numpy(), annuli.mean[0].numpy() * rms + level, annuli.error[0].numpy() * rms, ellipticity, error,
        np.degrees(angle) % 180, np.degrees(error / (2 * np.maximum(ellipticity, 0.01))),
        np.full(len(sma), float(fit.x)), np.full(len(sma), float(fit.y)),
    )  # fmt: skip
    return Curve(*(np.asarray(column, float)[:count] for column in columns))


def measure_on(image: np.ndarray, ellipses: Curve) -> np.ndarray:
    """Our photometry on somebody else's ellipses, one by one: intensity of each [counts/pixel], the sky in it."""
    return np.array([_one_ring(image, ellipses, k) for k in range(len(ellipses.sma))])


def _one_ring(image: np.ndarray, ellipses: Curve, k: int) -> float:
    ladder = ellipses.sma[k] * 1.1 ** np.arange(-6.0, 7.0)
    reach = int(1.2 * ladder[-1]) + 24
    left, bottom = (max(int(c) - reach, 0) for c in (ellipses.x[k], ellipses.y[k]))
    flux = torch.from_numpy(image[bottom : bottom + 2 * reach, left : left + 2 * reach])[None]
    good, rings, one = torch.ones_like(flux), torch.ones(1, len(ladder)), torch.ones(1)
    e1, e2 = shape_of(torch.tensor(ellipses.ellipticity[k]), torch.tensor(np.radians(ellipses.pa[k])))
    light = np.interp(np.log(ladder), np.log(ellipses.sma), ellipses.intensity)
    held = Isophotes(
        (ellipses.x[k] - left) * one, (ellipses.y[k] - bottom) * one, float(e1) * rings, float(e2) * rings,
        0 * rings, 0 * one, torch.from_numpy(light).float()[None], 0 * one,
    )  # fmt: skip
    annuli = measure(flux, good, good, held, torch.from_numpy(ladder).float())
    return float(annuli.mean[0, len(ladder) // 2])


def at(radius: np.ndarray, curve: Curve, values: np.ndarray) -> np.ndarray:
    """Values of a curve at other radii, linear in log radius; NaN beyond its ends."""
    return np.interp(np.log(radius), np.log(curve.sma), values, np.nan, np.nan)


def draw(iraf: Curve, ours: Curve, free: Curve, on_iraf: np.ndarray, path: Path) -> None:
    curves = {"IRAF ellipse": (iraf, "k", "o"), "skyloom": (ours, "C0", ""), "skyloom, free": (free, "C1", "")}
    figure, axes = plt.subplots(4, sharex=True, figsize=(7, 10), height_ratios=(3, 2, 2, 2), layout="constrained")
    for name, (curve, colour, marker) in curves.items():
        style = {"color": colour, "marker": marker, "ms": 3, "lw": 0 if marker else 1.5, "label": name}
        axes[0].plot(curve.sma, curve.intensity, **style)
        for axis, value, error in (
            (axes[1], curve.ellipticity, curve.ellipticity_error),
            (axes[2], curve.pa, curve.pa_error),
        ):
            axis.plot(curve.sma, value, **style)
            axis.fill_between(curve.sma, value - error, value + error, color=colour, alpha=0.15, lw=0)
        if curve is not iraf:
            residual = -2.5 * np.log10(at(iraf.sma, curve, curve.intensity) / iraf.intensity)
            axes[3].plot(iraf.sma, residual, color=colour, lw=1.5)
    axes[3].plot(iraf.sma, -2.5 * np.log10(on_iraf / iraf.intensity), "C2--", label="skyloom on IRAF's ellipses")
    axes[3].axhline(0, color="k", lw=0.5)
    labels = "intensity [counts/pixel]", "ellipticity", "PA [deg, +x to +y]", "skyloom − IRAF [mag]"
    for axis, label in zip(axes, labels, strict=True):
        axis.set_ylabel(label)
    axes[0].set(xscale="log", yscale="log", title="M51, B")
    axes[1].set_ylim(0, 0.45)
    axes[2].set_ylim(0, 180)
    axes[3].set(ylim=(-0.12, 0.35), xlabel="semi-major axis [pixel]", xlim=(0.5, 64))
    axes[0].legend()
    axes[3].legend()
    figure.savefig(path, dpi=90)


def main(folder: Path) -> None:
    image, iraf = read_image(), read_iraf()
    ours = measure_ours(image)
    draw(iraf, ours, measure_free(image, ours), measure_on(image, iraf), folder / "m51_iraf.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
