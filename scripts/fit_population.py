"""Fit the numbers of `skyloom.data.mocks.population` to the COSMOS parametric table, and print them.

    python scripts/fit_population.py real_galaxy_catalog_23.5_example_fits.fits [tests/data/cosmos_fits.csv]

The table (100 galaxies with F814W < 22.5 of the COSMOS sample; Sérsic and bulge + disc fits by Lackner & Gunn 2012,
MNRAS 421, 2277; given as an example in GalSim's repository, examples/data) is not shipped; the second argument keeps
the columns that the tests compare with. Colours are those of the templates of Coleman, Wu & Weedman 1980 as extended
in GalSim's share/SEDs, through top-hat bands.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import galsim
import numpy as np
from astropy.table import Table
from scipy.stats import beta

HST_PIXEL = 0.03  # [arcsec]
Q_MIN = 0.2  # the thinnest ellipse of the fits
BANDS = {  # KiDS ugri and VIKING ZYJHK: lower and upper edge [nm]
    "u": (325, 383), "g": (401, 550), "r": (550, 693), "i": (693, 840), "Z": (836, 929),
    "Y": (971, 1071), "J": (1166, 1338), "H": (1491, 1782), "K": (1985, 2312),
}  # fmt: skip
TEMPLATES = {"old": "CWW_E_ext.sed", "young": "CWW_Sbc_ext.sed", "irregular": "CWW_Im_ext.sed"}


def read(path: str) -> dict[str, np.ndarray]:
    """The columns used, in arcsec and magnitudes; bulge and disc are NaN where one Sérsic ellipse fits as well."""
    table = Table.read(path)
    single, double = np.array(table["sersicfit"]), np.array(table["bulgefit"])
    hidden = np.where(np.array(table["use_bulgefit"]) == 1, 1.0, np.nan)
    flux = np.array(table["flux"])
    return {
        "mag": np.array(table["mag_auto"]),
        "redshift": np.array(table["zphot"]),
        "r_e": single[:, 1] * HST_PIXEL,
        "n": single[:, 2],
        "q": single[:, 3],
        "bulge_to_total": hidden * flux[:, 1] / np.where(flux[:, 3] > 0, flux[:, 3], np.nan),
        "disc_r_e": hidden * double[:, 1] * HST_PIXEL,
        "disc_q": hidden * double[:, 3],
        "bulge_r_e": hidden * double[:, 9] * HST_PIXEL,
        "bulge_q": hidden * double[:, 11],
    }


def normal(values: np.ndarray) -> str:
    return f"({values.mean():.3f}, {values.std(ddof=1):.3f})"


def beta_law(values: np.ndarray, low: float, high: float) -> str:
    a, b, *_ = beta.fit(np.clip((values - low) / (high - low), 0.01, 0.99), floc=0, fscale=1)
    return f"({a:.2f}, {b:.2f})"


def size_relation(mag: np.ndarray, r_e: np.ndarray) -> str:
    slope, level = np.polyfit(mag - 22, np.log10(r_e), 1)
    scatter = np.std(np.log10(r_e) - level - slope * (mag - 22), ddof=2)
    return f"({level:.3f}, {slope:.3f}, {scatter:.3f})"


def shapes(fits: dict[str, np.ndarray]) -> None:
    early = fits["n"] >= 2.5
    print(f"early_fraction = {early.mean():.2f}; median redshift = {np.nanmedian(fits['redshift']):.2f}")
    for name, of in (("late", ~early), ("early", early)):
        print(f"{name}: log10 n {normal(np.log10(fits['n'][of]))}, q beta {beta_law(fits['q'][of], Q_MIN, 1)}")
        print(f"{name}: log10 r_e at mag 22, slope, scatter {size_relation(fits['mag'][of], fits['r_e'][of])}")
    double = np.isfinite(fits["bulge_to_total"])
    fits = {name: column[double] for name, column in fits.items()}
    print(f"two components: {double.mean():.2f}, B/T beta {beta_law(fits['bulge_to_total'], 0, 1)}")
    print(f"disc log10 r_e {size_relation(fits['mag'], fits['disc_r_e'])}, q beta {beta_law(fits['disc_q'], Q_MIN, 1)}")
    ratio = np.log10(fits["bulge_r_e"] / fits["disc_r_e"])
    print(f"bulge log10 r_e / disc's {normal(ratio)}, q beta {beta_law(fits['bulge_q'], Q_MIN, 1)}")


def counts(mag: np.ndarray) -> None:
    slope = 1 / (np.log(10) * (mag.max() - mag).mean())
    print(f"counts: dN/dmag ∝ 10^({slope:.2f} mag)")


def colours(redshift: float) -> None:
    for name, file in TEMPLATES.items():
        sed = galsim.SED(file, wave_type="Ang", flux_type="flambda").atRedshift(redshift)
        mags = {}
        for band, (low, high) in BANDS.items():
            wave = np.linspace(low, high, 200)
            bandpass = galsim.Bandpass(galsim.LookupTable(wave, np.ones(200), "linear"), "nm").withZeropoint("AB")
            mags[band] = sed.calculateMagnitude(bandpass)
        print(f"z={redshift} {name}: " + ", ".join(f'"{band}": {mags[band] - mags["r"]:.2f}' for band in BANDS))


def keep(fits: dict[str, np.ndarray], path: Path) -> None:
    with path.open("w", newline="") as file:
        file.write(
            "# COSMOS, F814W: the galaxies of GalSim's examples/data/real_galaxy_catalog_23.5_example_fits.fits\n"
        )
        file.write(
            "# (GalSim developers, BSD licence; fits by C. Lackner). mag, arcsec; by scripts/fit_population.py\n"
        )
        rows = csv.writer(file)
        rows.writerow(fits)
        rows.writerows([f"{value:.4g}" for value in row] for row in zip(*fits.values(), strict=True))


if __name__ == "__main__":
    fits = read(sys.argv[1])
    shapes(fits)
    counts(fits["mag"])
    for redshift in (0.05, 0.5):
        colours(redshift)
    if len(sys.argv) > 2:
        keep(fits, Path(sys.argv[2]))
