"""Surveys of the kinds of things that sky_gpt reads beside galaxies, made from published files.

    python scripts/multimodal.py DATA OUT

DATA holds `lightcurves/asas_training_set.tar.gz` with its classes (Richards et al. 2012), `lightcurves/ztf_fink/`
(stamps and photometry of ZTF alerts, from fink-science), `profiles/sparc_rotmod/` (Lelli et al. 2016) and
`tabular/skyserver_sdss_dr14_8k.csv` (SDSS DR14). OUT gets asas.lance, ztf.lance, sparc.lance and sdss.lance.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import skyloom as sl
from skyloom.data import store
from skyloom.data.cutout import Band, Cutout, SurveyInfo
from skyloom.sky.background import sky_level

STAMPS = ("science", "template", "difference")
FILTERS = {"1": "g", "2": "r", "3": "i"}


def write_rows(path: Path, names: list[str], rows: Iterator[list]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)
    return path


def asas(data: Path, out: Path) -> Path:
    """Light curves in V [mag] at heliocentric dates [day], with the class of each star."""
    folder = data / "lightcurves"
    with (folder / "asas_training_set_classes.dat").open(encoding="utf-8") as file:
        classes = {row["filename"]: row["class"] for row in csv.DictReader(file)}

    def rows() -> Iterator[list]:
        with tarfile.open(folder / "asas_training_set.tar.gz") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is None:
                    continue
                name = Path(member.name).stem
                for line in content.read().decode().splitlines():
                    time, mag, error = line.split(",")
                    yield [name, classes.get(name, ""), time, mag, error]

    return write_rows(out / "asas.csv", ["object_id", "kind", "time", "mag", "mag_error"], rows())


def sparc(data: Path, out: Path) -> Path:
    """Rotation curves [km/s] and surface brightness of the disc at 3.6 µm [mag/arcsec², up to a constant]."""

    def rows() -> Iterator[list]:
        for file in sorted((data / "profiles" / "sparc_rotmod").glob("*.dat")):
            distance = float(file.read_text().splitlines()[0].split("=")[1].split()[0])
            for r, v, error, gas, disc, bulge, light, _ in np.loadtxt(file, ndmin=2):
                sb = -2.5 * np.log10(light) if light > 0 else float("nan")
                yield [file.stem.removesuffix("_rotmod"), distance, r, v, error, gas, disc, bulge, sb]

    names = ["object_id", "distance", "radius", "velocity", "velocity_error", "v_gas", "v_disc", "v_bulge", "sb_disc"]
    return write_rows(out / "sparc.csv", names, rows())


def sdss(data: Path, out: Path) -> Path:
    """Magnitudes and redshifts of galaxies, stars and quasars; ids are numbers of rows, as the file rounds its own."""

    def rows() -> Iterator[list]:
        with (data / "tabular" / "skyserver_sdss_dr14_8k.csv").open(encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file)):
                yield [f"row{number}", *(row[name] for name in "ugriz"), row["redshift"], row["class"]]

    return write_rows(out / "sdss.csv", ["object_id", *(f"mag_{band}" for band in "ugriz"), "redshift", "kind"], rows())


def ztf(data: Path) -> Iterator[Cutout]:
    """Alerts: three stamps, and the magnitudes of all detections of the object at their dates [JD] and filters."""
    folder = data / "lightcurves" / "ztf_fink"
    stamps = np.load(folder / "ztf_stamps_263x3x63x63.npz")["stamps"]
    curves: dict[str, list[tuple[float, float, str]]] = {}
    with gzip.open(folder / "ztf_lc.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["magpsf"]:
                curves.setdefault(row["objectId"], []).append(
                    (float(row["jd"]), float(row["magpsf"]), FILTERS[row["fid"]])
                )
    with (folder / "ztf_meta.csv").open(encoding="utf-8") as file:
        for flux, row in zip(stamps, csv.DictReader(file), strict=True):
            good = np.isfinite(flux)
            light = np.where(good, flux, np.nan).astype(np.float32)
            rms = sky_level(light[None], good[None].astype(np.float32))[1][0]
            ivar = np.where(good, 1 / np.square(rms)[:, None, None], 0).astype(np.float32)
            points = sorted(set(curves.get(row["objectId"], [])))
            columns = {
                "time": [one[0] for one in points], "mag": [one[1] for one in points],
                "filter": [one[2] for one in points], "object": row["objectId"], "real": float(row["rb"] or "nan"),
                "kind": row["cdsxmatch"],
            }  # fmt: skip
            ivar = np.where(np.isfinite(ivar), ivar, 0).astype(np.float32)
            yield Cutout(row["candid"], light, ivar, float(row["ra"]), float(row["dec"]), columns=columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    told = parser.parse_args()
    told.out.mkdir(parents=True, exist_ok=True)
    for make in (asas, sparc, sdss):
        path = make(told.data, told.out)
        sl.ingest(path, path.with_suffix(".lance"))
    info = SurveyInfo(
        tuple(Band(name) for name in STAMPS), (63, 63), 1.01, "ZTF public alerts, by way of fink-science",
        "Bellm et al. 2019, PASP 131, 018002", "Apache-2.0 (fink-science); ZTF public data",
    )  # fmt: skip
    store.write(told.out / "ztf.lance", info, ztf(told.data))


if __name__ == "__main__":
    main()
