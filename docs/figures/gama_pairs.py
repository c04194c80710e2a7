"""docs/figures/gama_pairs.png: seven galaxies of GAMA, each measured twice, in KiDS and in SDSS, at one seeing.

Data: inst/extdata of ProFit (Robotham et al. 2017, MNRAS 466, 1513; github.com/asgr/ProFit; LGPL-3): r band, zero point
0, with sigma maps, masks and PSFs, as `FOLDER/{KiDS,SDSS}/G*{fitim,sigma,mskim,segim,psfim}.fits`.

Seeing: each image is convolved with the PSF of the other survey; both end with the two convolved, and nothing is
deconvolved. The KiDS PSF images cannot be used as they are: their troughs between 1 and 2.4 arcsec hold −8 to −22 % of
the light, so only their cores are, for the width of a Moffat law whose β is that of the stars on the stamps. The SDSS
PSF images are narrowed to the width of the stars. Both choices look at stars alone; what others do is tallied.

Noise: both images were resampled, which correlates their pixels, and the convolution adds to that. The error of a mean
over many pixels needs the noise power at large scales: each variance map is multiplied by the sum of the noise's
autocorrelation, measured on blank sky, and then smoothed by the kernel itself, not by its square. In the core, where a
ring is no larger than the kernel, this overstates the error. Errors of the PSFs are not included.

    python docs/figures/gama_pairs.py FOLDER
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from astropy.io import fits
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from PIL import Image
from scipy.ndimage import binary_dilation, map_coordinates
from scipy.optimize import curve_fit
from scipy.signal import fftconvolve

from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.infer.profiles import measure_survey
from skyloom.report.drawing import TYPE
from skyloom.sky.profiles import Flag

PIXEL_SCALE = {"KiDS": 0.2, "SDSS": 0.339}  # [arcsec/pixel]
COLOUR = {"KiDS": "#0b6e99", "SDSS": "#d1495b"}
BETA = 3.2  # Moffat β of KiDS: the stars on these stamps with a peak above 50 σ have 2.7 to 3.7
CORE = 0.7  # [arcsec] within which a KiDS PSF image is believed
STARS = 0.935  # width of the stars on the SDSS stamps over that of the PSF images: four with a peak above 8 σ
TRIALS = {  # what is taken for the PSFs: the SDSS width in units of its image's, None for both images as published
    "PSFs from the stars": STARS,
    "SDSS PSFs as published": 1.0,
    "both PSFs as published": None,
    "SDSS PSFs narrowed until the galaxies' cores agree": 0.75,
}
LAG = 3  # pixels over which the noise's autocorrelation is summed: the reach of a Lanczos-3 resampling
KNOWN = Flag.NO_WCS  # the images carry no WCS; both are taken to have north up


class View(NamedTuple):
    """One survey's r-band image of a galaxy: flux, its sigma, its good pixels, blank sky, and the PSF (sum 1)."""

    flux: Float[np.ndarray, "h w"]
    sigma: Float[np.ndarray, "h w"]
    good: np.ndarray
    blank: np.ndarray
    psf: Float[np.ndarray, "p p"]
    scale: float


class Pair(NamedTuple):
    """The same galaxy twice: rows of the profile table by survey, and SDSS − KiDS at the radii of SDSS.

    radius : [arcsec]; difference, error : of the surface brightness [mag/arcsec²]; shape : differences of
    ellipticity and of position angle [deg], each with its error
    """

    name: str
    rows: dict[str, dict]
    seeing: dict[str, float]
    radius: Float[np.ndarray, "r"]
    difference: Float[np.ndarray, "r"]
    error: Float[np.ndarray, "r"]
    shape: dict[str, tuple[np.ndarray, np.ndarray]]

    @property
    def offset(self) -> float:
        """The constant that fits the difference best [mag]."""
        return float(np.average(self.difference, weights=self.error**-2))

    @property
    def offset_error(self) -> float:
        return float(np.sum(self.error**-2) ** -0.5)

    def chi2(self, offset: float = 0.0) -> float:
        return float(np.sum(((self.difference - offset) / self.error) ** 2))


def read(folder: Path, survey: str, name: str, stars: float | None = STARS) -> View:
    def image(kind: str) -> np.ndarray:
        return fits.getdata(folder / survey / f"{name}{kind}.fits").astype(np.float64)

    flux, sigma, psf = image("fitim"), image("sigma"), image("psfim")
    good = (image("mskim") == 0) & np.isfinite(flux) & np.isfinite(sigma) & (sigma > 0)
    blank = good & ~binary_dilation(image("segim") > 0, iterations=6)
    scale = PIXEL_SCALE[survey]
    if stars is not None:
        psf = moffat_like(psf, scale) if survey == "KiDS" else resampled(psf, stars * scale, scale)
    return View(flux, sigma, good, blank, psf / psf.sum(), scale)


def moffat_like(psf: Float[np.ndarray, "p p"], scale: float) -> Float[np.ndarray, "q q"]:
    """The round Moffat law of slope BETA that fits the core of a PSF image best, out to 8 arcsec."""

    def moffat(radius, width: float) -> np.ndarray:
        return (1 + (2 * radius / width) ** 2 * (2 ** (1 / BETA) - 1)) ** -BETA

    y, x = np.indices(psf.shape) - (len(psf) - 1) / 2
    radius = np.hypot(x, y) * scale
    core = radius < CORE
    fit, _ = curve_fit(lambda r, height, width: height * moffat(r, width), radius[core], psf[core], (psf.max(), 0.7))
    y, x = np.mgrid[-40:41, -40:41]
    return moffat(np.hypot(x, y) * scale, fit[1])


def correlation(view: View) -> float:
    """Variance of a mean over many pixels of blank sky, in units of what the sigma map says for independent ones."""
    z = np.where(view.blank, (view.flux - np.median(view.flux[view.blank])) / view.sigma, 0.0)
    inside = view.blank & (np.abs(z) < 4)
    z = np.where(inside, z - z[inside].mean(), 0.0)
    total = 0.0
    for dy in range(-LAG, LAG + 1):
        for dx in range(-LAG, LAG + 1):
            there = np.roll(inside, (dy, dx), (0, 1)) & inside
            total += (z * np.roll(z, (dy, dx), (0, 1)))[there].mean()
    return total


def resampled(psf: Float[np.ndarray, "p p"], scale: float, to: float) -> Float[np.ndarray, "q q"]:
    """A PSF on pixels of another size, by cubic spline; sum 1."""
    half = int((len(psf) - 1) / 2 * scale / to)
    places = np.arange(-half, half + 1) * to / scale + (len(psf) - 1) / 2
    kernel = map_coordinates(psf, np.meshgrid(places, places, indexing="ij"), order=3)
    return kernel / kernel.sum()


def width(psf: Float[np.ndarray, "p p"], scale: float) -> float:
    """Full width at half maximum [arcsec]: the diameter of the circle with the area above half the maximum."""
    places = np.linspace(0, len(psf) - 1, 20 * len(psf))
    fine = map_coordinates(psf, np.meshgrid(places, places, indexing="ij"), order=3)
    area = (fine > fine.max() / 2).mean() * ((len(psf) - 1) * scale) ** 2
    return 2 * np.sqrt(area / np.pi)


def observed(name: str, view: View, kernel: np.ndarray, noise: float) -> Cutout:
    """A cutout of the view convolved with the kernel; pixels of which a tenth comes from bad ones are bad."""
    share = fftconvolve(view.good, kernel, mode="same")
    good = view.good & (share > 0.9)
    flux = fftconvolve(np.where(view.good, view.flux, 0.0), kernel, mode="same") / np.where(good, share, 1)
    variance = fftconvolve(np.where(view.good, view.sigma**2, 0.0), kernel, mode="same") / np.where(good, share, 1)
    ivar = np.where(good, 1 / np.where(good, noise * variance, 1), 0.0)
    return Cutout(name, flux[None].astype(np.float32), ivar[None].astype(np.float32))


def measured(cutout: Cutout, scale: float) -> dict:
    return measure_survey([cutout], SurveyInfo((Band("r", 0.0),), cutout.flux.shape[1:], scale))[0]


def compared(name: str, views: dict[str, View], noise: dict[str, float], match: bool = True) -> Pair:
    """Both surveys' profiles, and their difference from half the matched seeing outwards, as far as both reach."""
    rows, seeing = {}, {}
    for survey, other in (("KiDS", "SDSS"), ("SDSS", "KiDS")):
        view = views[survey]
        kernel = resampled(views[other].psf, views[other].scale, view.scale) if match else np.ones((1, 1))
        rows[survey] = measured(observed(name, view, kernel, noise[survey]), view.scale)
        seeing[survey] = width(fftconvolve(np.pad(view.psf, 12), kernel, mode="same"), view.scale)
    deep, shallow = rows["KiDS"], rows["SDSS"]
    sma = shallow["sma"]
    both = (sma > max(seeing.values()) / 2) & (sma <= deep["sma"][-1]) & np.isfinite(shallow["sb"])

    def at_sdss(column: str) -> np.ndarray:
        known = np.isfinite(deep[column])
        return np.interp(np.log(sma[both]), np.log(deep["sma"][known]), deep[column][known])

    def error(column: str) -> np.ndarray:
        return np.hypot(shallow[column][both], at_sdss(column))

    turn = np.interp(np.log(sma[both]), np.log(deep["sma"]), np.unwrap(deep["pa"], period=180))
    angle = (shallow["pa"][both] - turn + 90) % 180 - 90
    shape = {
        "ellipticity": (shallow["ellipticity"][both] - at_sdss("ellipticity"), error("ellipticity_error")),
        "pa": (angle, error("pa_error")),
    }
    return Pair(name, rows, seeing, sma[both], shallow["sb"][both] - at_sdss("sb"), error("sb_error"), shape)


def draw_pair(figure, pair: Pair, view: View) -> None:
    """One panel: both profiles with their errors, the image, and below their difference."""
    top, low = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1.15), "hspace": 0.0})
    figure.subplots_adjust(0.17, 0.125, 0.985, 0.985)
    for survey, row in pair.rows.items():
        band = row["sb"] - row["sb_error"], row["sb"] + row["sb_error"]
        top.fill_between(row["sma"], *band, color=COLOUR[survey], alpha=0.25, lw=0)
        top.plot(row["sma"], row["sb"], color=COLOUR[survey], lw=1.1, ls="-" if survey == "KiDS" else (0, (4, 1.5)))
    top.axvspan(0.1, max(pair.seeing.values()) / 2, color="0.93", lw=0)
    low.axvspan(0.1, max(pair.seeing.values()) / 2, color="0.93", lw=0)
    low.axhline(0, color="0.4", lw=0.7)
    low.axhline(pair.offset, color="#2a9d5c", lw=1.0, ls=(0, (5, 2)))
    low.errorbar(pair.radius, pair.difference, pair.error, fmt="o", ms=2.2, color="0.1", elinewidth=0.7, zorder=3)
    end = 1.15 * max(row["sma"][-1] for row in pair.rows.values())
    top.set(xscale="log", xlim=(0.25, end), ylim=(29.2, 17.8), ylabel=r"$\mu_r$  [mag arcsec$^{-2}$]")
    low.set(ylim=(-0.62, 0.62), xlabel=r"semi-major axis  [arcsec]", ylabel=r"$\Delta\mu$  [mag]")
    low.set_xticks([0.3, 1, 3, 10], ["0.3", "1", "3", "10"])
    top.text(0.955, 0.945, pair.name, transform=top.transAxes, ha="right", va="top", fontsize=10.5)
    inset(top.inset_axes((0.035, 0.045, 0.44, 0.44)), pair, view)


def inset(axes, pair: Pair, view: View) -> None:
    """The KiDS image as it came, with the isophote of half the light and a bar of 5 arcsec."""
    row = pair.rows["KiDS"]
    side = 1.05 * row["r_26"] / view.scale
    level = np.median(view.sigma[view.good])
    x, y = row["x"], row["y"]
    axes.imshow(-np.arcsinh(view.flux / level / 2), cmap="gray", origin="lower", vmax=0.8, interpolation="bicubic")
    k = np.argmin(np.abs(row["sma"] - row["r_e"]))
    size = 2 * row["r_e"] / view.scale
    axes.add_patch(
        Ellipse((x, y), size, size * (1 - row["ellipticity"][k]), angle=row["pa"][k], fill=False, ec="#ff9f43", lw=1.0)
    )
    axes.plot([x - 0.9 * side, x - 0.9 * side + 5 / view.scale], [y - 0.86 * side] * 2, color="k", lw=1.3)
    axes.set(xlim=(x - side, x + side), ylim=(y - side, y + side), xticks=[], yticks=[])
    axes.minorticks_off()


def draw_pulls(figure, pairs: list[Pair]) -> None:
    """The last panel: the legend, and all differences in units of their errors against the normal law."""
    axes = figure.subplots()
    figure.subplots_adjust(0.17, 0.125, 0.985, 0.64)
    raw = np.concatenate([pair.difference / pair.error for pair in pairs])
    shifted = np.concatenate([(pair.difference - pair.offset) / pair.error for pair in pairs])
    edges = np.arange(-5.25, 5.3, 0.5)
    axes.hist(raw, edges, color="0.8", label="as measured")
    axes.hist(shifted, edges, histtype="step", color=COLOUR["SDSS"], lw=1.2, label="less one constant each")
    z = np.linspace(-5, 5, 200)
    axes.plot(z, len(raw) * 0.5 * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), color="k", lw=0.9, label="normal law")
    axes.set(xlabel=r"$\Delta\mu\,/\,\sigma$", ylabel=f"isophotes (of {len(raw)})", xlim=(-5, 5))
    axes.set_ylim(0, 1.5 * axes.get_ylim()[1])
    axes.legend(loc="upper left", fontsize=8, ncols=1, handlelength=1.5, borderaxespad=0.3)
    key = figure.add_axes((0.1, 0.68, 0.88, 0.3))
    key.set_axis_off()
    key.plot([], [], color=COLOUR["KiDS"], label="KiDS, 0.2″ pixels")
    key.plot([], [], color=COLOUR["SDSS"], ls=(0, (4, 1.5)), label="SDSS, 0.339″ pixels")
    key.errorbar(
        [], [], [], fmt="o", ms=2.2, color="0.1", elinewidth=0.7, label=r"$\Delta\mu$ = SDSS − KiDS, both errors"
    )
    key.plot([], [], color="#2a9d5c", lw=1.0, ls=(0, (5, 2)), label="best constant")
    key.plot([], [], color="#ff9f43", lw=1.0, label="half the light; bar 5″")
    key.legend(loc="upper left", fontsize=9, borderaxespad=0, labelspacing=0.35)


def draw(pairs: list[Pair], views: dict[str, View], out: Path) -> None:
    with matplotlib.rc_context(TYPE):
        figure = Figure(figsize=(13.2, 7.0))
        cells = np.ravel(np.asarray(figure.subfigures(2, 4, wspace=0.0, hspace=0.0)))
        for cell, pair in zip(cells, pairs, strict=False):
            draw_pair(cell, pair, views[pair.name])
        draw_pulls(cells[len(pairs)], pairs)
        drawing = BytesIO()
        figure.savefig(drawing, dpi=125, facecolor="white")
    picture = Image.open(drawing).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    picture.save(out, optimize=True)


def tally(title: str, pairs: list[Pair], near: float = 0.0, far: float = np.inf) -> str:
    """How many isophotes in a range of radii [arcsec] agree within one and two errors, without and with constants."""
    parts = []
    for word, shift in (("as measured", 0.0), ("less one constant each", 1.0)):
        pulls = [((p.difference - shift * p.offset) / p.error)[(p.radius > near) & (p.radius <= far)] for p in pairs]
        z = np.abs(np.concatenate(pulls))
        parts.append(f"{word}: {(z < 1).sum()} <1σ, {(z < 2).sum()} <2σ, χ² {(z**2).sum():.0f}")
    return f"{title}: {len(z)} isophotes; " + "; ".join(parts) + "\n"


def line(pair: Pair) -> str:
    """One galaxy: offset, χ² without and with it, and differences of shape, total and size (SDSS − KiDS)."""
    deep, shallow = pair.rows["KiDS"], pair.rows["SDSS"]
    z = np.abs(pair.difference) / pair.error
    size_error, mag_error = (np.hypot(deep[c], shallow[c]) for c in ("r_e_error", "mag_error"))
    parts = [
        f"{pair.name}  seeing {pair.seeing['SDSS']:.2f}  n {len(z)}  <1σ {(z < 1).sum()}  <2σ {(z < 2).sum()}",
        f"median {np.median(pair.difference):+.3f}  constant {pair.offset:+.3f} ± {pair.offset_error:.3f}",
        f"χ² {pair.chi2():.1f} → {pair.chi2(pair.offset):.1f}",
        f"mag {shallow['mag'] - deep['mag']:+.3f} ± {mag_error:.3f}",
        f"r_e {deep['r_e']:.2f} {shallow['r_e']:.2f} ± {size_error:.2f}",
    ]
    for name, (d, e) in pair.shape.items():
        within = f"{(np.abs(d) < e).sum()} <1σ {(np.abs(d) < 2 * e).sum()} <2σ"
        parts.append(f"{name} {np.median(d):+.3f}, error {np.median(e):.3f}, {within}")
    flags = [int(row["flag"] & ~KNOWN) for row in pair.rows.values()]
    return "  ".join([*parts, f"flags {flags}"]) + "\n"


def main(folder: Path) -> None:
    names = sorted(path.name.removesuffix("fitim.fits") for path in (folder / "KiDS").glob("G*fitim.fits"))

    def views(stars: float | None) -> dict[str, dict[str, View]]:
        return {name: {survey: read(folder, survey, name, stars) for survey in PIXEL_SCALE} for name in names}

    best = views(STARS)
    noise = {s: float(np.mean([correlation(both[s]) for both in best.values()])) for s in PIXEL_SCALE}
    pairs = [compared(name, both, noise) for name, both in best.items()]
    draw(pairs, {name: both["KiDS"] for name, both in best.items()}, Path(__file__).with_suffix(".png"))
    write = sys.stdout.write
    write(f"variance of a mean over that of independent pixels: {noise}\n" + "".join(line(pair) for pair in pairs))
    for near, far in ((0, 2), (2, 6), (6, np.inf)):
        write(tally(f"{near} to {far} arcsec", pairs, near, far))
    for title, stars in TRIALS.items():
        write(tally(title, [compared(name, both, noise) for name, both in views(stars).items()]))
    write(tally("seeing not matched", [compared(name, both, noise, match=False) for name, both in best.items()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
