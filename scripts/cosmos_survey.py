"""A survey of real galaxies as GalSim's COSMOS tables hold them, with HSC magnitudes and photometric redshifts.

    python scripts/cosmos_survey.py FOLDER SURVEY

FOLDER holds real_galaxy_images_extension.fits and the two real_galaxy_catalog_26_extension_example tables of the
BlendingToolKit. Stamps come on 64 × 64 pixels: their middle, or in the middle of pixels that are marked bad.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

import skyloom as sl
from skyloom.data import store

SIDE, ZERO_POINT, PIXEL_SCALE = 64, 25.94, 0.03  # of the HST images, as GalSim states them
PSF = 0.1  # FWHM of ACS in F814W [arcsec], roughly
NAME = "real_galaxy_catalog_26_extension_example"


def framed(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle of an image, or the image in the middle of NaN; and which pixels are there."""
    out = np.full((SIDE, SIDE), np.nan, np.float32)
    height, width = image.shape
    y, x = (SIDE - height) // 2, (SIDE - width) // 2
    part = image[max(0, -y) : max(0, -y) + SIDE, max(0, -x) : max(0, -x) + SIDE]
    out[max(0, y) : max(0, y) + part.shape[0], max(0, x) : max(0, x) + part.shape[1]] = part
    return out, np.isfinite(out)


def cutouts(folder: Path):
    """Each galaxy once, with what the tables say of it."""
    own, more = Table.read(folder / f"{NAME}.fits"), Table.read(folder / f"{NAME}_fits.fits")
    with fits.open(folder / "real_galaxy_images_extension.fits") as images:
        for row, fitted in zip(own, more, strict=True):
            flux, there = framed(np.asarray(images[int(row["GAL_HDU"])].data, float))
            rms = np.float32(np.sqrt(row["NOISE_VARIANCE"]))
            columns = {f"hsc_{band}": float(fitted[f"HSC_{band}"]) for band in "grizy"}
            columns |= {"zphot": float(fitted["ZPHOT"]), "hst_flux_radius": float(fitted["flux_radius"])}
            yield sl.Cutout(
                f"cosmos-{row['IDENT']}", flux[None], np.where(there, rms**-2, 0)[None].astype(np.float32),
                ra=float(row["RA"]), dec=float(row["DEC"]), tile="cosmos", sky=np.zeros(1, np.float32),
                sky_rms=np.array([rms]), columns=columns | {"hst_mag": float(row["MAG"])},
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("survey", type=Path)
    asked = parser.parse_args()
    band = sl.Band("F814W", ZERO_POINT, PSF, "counts/s")
    info = sl.SurveyInfo(
        (band,), (SIDE, SIDE), PIXEL_SCALE, "HST/COSMOS, 100 galaxies", "Leauthaud et al. 2007; Mandelbaum et al. 2012"
    ).with_notes("Stamps smaller than the cutout lie in the middle of bad pixels.")
    print(store.write(asked.survey, info, cutouts(asked.folder)))


if __name__ == "__main__":
    main()
