"""What goes out comes back: FITS, Parquet, HDF5 and HATS; and no folder is half written or overwritten."""

import csv
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from astropy_healpix import HEALPix
from hypothesis import given
from hypothesis import strategies as st

import skyloom as sl
from skyloom.data import export as door
from skyloom.data import store
from skyloom.data.writers.hats import partition
from skyloom.errors import RequestError, StoreError

CARDS = fits.Header(
    {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": 2.2, "CRPIX1": 4.25, "CRPIX2": -3.5,
        "CD1_1": -4.8e-5, "CD1_2": 2.7e-5, "CD2_1": 2.7e-5, "CD2_2": 4.8e-5, "RADESYS": "ICRS",
    }
)  # fmt: skip
WCS_TEXT = "".join(card.image for card in CARDS.cards)
BANDS = (sl.Band("g", 22.5, 0.9, "nanomaggy"), sl.Band("r", 22.5, 0.75, "nanomaggy"), sl.Band("VIS", None, None, None))


def cutouts(count, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(count):
        flux = (rng.normal(size=(3, 9, 7)) * 10.0 ** rng.integers(-12, 12)).astype(np.float32)
        ivar = rng.uniform(0.1, 2, flux.shape).astype(np.float32)
        flux[rng.random(flux.shape) < 0.1] = np.nan
        flux[0, 0, 0] = -0.0
        ivar[~np.isfinite(flux)] = 0
        ivar[1, 2, 3] = 0
        columns = {"mag": 18 + i / 7, "n": i, "kind": "spiral" if i % 2 else None, "votes": [0.25, i / 3]}
        where = {"ra": 150 + 0.3 * i, "dec": 2 - 0.1 * i, "tile": f"tile {i // 3}", "wcs": WCS_TEXT}
        sky = {"sky": rng.normal(size=3).astype(np.float32), "sky_rms": rng.random(3).astype(np.float32)}
        yield sl.Cutout(f"J{i:03d}+02 é/{i}", flux, ivar, **where, **sky, columns=columns)


@pytest.fixture
def survey(tmp_path):
    notes = ("Zero points are AB.", "σ is 1.")
    info = sl.SurveyInfo(BANDS, (9, 7), 0.19827, "a field", "Someone 2020", "CC-BY-4.0", notes)
    return store.write(tmp_path / "mine.lance", info, cutouts(7))


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def plain(cutout):
    return {name: np.asarray(value).tolist() for name, value in cutout.columns.items()}


def assert_same_object(ours, theirs):
    assert same_bits(ours.flux, theirs.flux) and same_bits(ours.ivar, theirs.ivar)
    assert (ours.ra, ours.dec, ours.tile, plain(ours)) == (theirs.ra, theirs.dec, theirs.tile, plain(theirs))
    assert same_bits(ours.sky, theirs.sky) and same_bits(ours.sky_rms, theirs.sky_rms)
    assert WCS(fits.Header.fromstring(ours.wcs)).wcs.compare(WCS(fits.Header.fromstring(theirs.wcs)).wcs)


@pytest.mark.parametrize("format", ["fits", "parquet", "hdf5", "hats"])
def test_export_then_ingest_gives_the_same_survey(survey, tmp_path, format):
    summary = door.export(survey, tmp_path / "out", format)
    back = sl.ingest(tmp_path / "out", tmp_path / "back.lance")
    assert summary["objects"] == len(back) == len(survey)
    found = {cutout.object_id: cutout for cutout in back.read()}
    for cutout in survey.read():
        if format == "hdf5":  # HDF5 has no missing text: the summary says so
            assert "kind" in summary["left_out"]
            cutout = replace(cutout, columns={**cutout.columns, "kind": cutout.columns["kind"] or ""})
        assert_same_object(cutout, found[cutout.object_id])
    assert back.info.bands == survey.info.bands and back.info.shape == survey.info.shape
    assert back.info.pixel_scale == pytest.approx(survey.info.pixel_scale, rel=1e-3 if format == "fits" else 1e-12)
    assert (back.info.notes, back.info.citation, back.info.licence) == (survey.info.notes, "Someone 2020", "CC-BY-4.0")


def test_the_fits_files_alone_tell_bands_units_zero_points_and_wcs(survey, tmp_path):
    door.export(survey, tmp_path / "out")
    cutout = next(survey.read())
    file = sorted(file for file in (tmp_path / "out").glob("*.fits") if file.name != "catalogue.fits")[0]
    with fits.open(file, checksum=True) as hdus:
        assert [(hdu.name, hdu.ver) for hdu in hdus[1:4]] == [("SCI", 1), ("IVAR", 1), ("MASK", 1)]
        assert [hdus["SCI", i].header["BAND"] for i in (1, 2, 3)] == ["g", "r", "VIS"]
        assert hdus["SCI", 1].header["MAGZERO"] == 22.5 and hdus["SCI", 1].header["BUNIT"] == "nanomaggy"
        assert "MAGZERO" not in hdus["SCI", 3].header and "BUNIT" not in hdus["SCI", 3].header
        assert WCS(hdus["SCI", 2].header).wcs.compare(WCS(CARDS).wcs)
        assert same_bits(hdus["SCI", 1].data.astype("f4"), cutout.flux[0])
        np.testing.assert_array_equal(hdus["MASK", 2].data == 1, cutout.ivar[1] == 0)
        assert hdus[0].header["CAT mag"] == pytest.approx(18.0) and "CHECKSUM" in hdus["SCI", 3].header
        assert any("Zero points are AB." in line for line in hdus[0].header["HISTORY"])
    (tmp_path / "out" / "catalogue.parquet").unlink()
    back = sl.ingest(tmp_path / "out", tmp_path / "back.lance")
    assert back.info.bands == survey.info.bands


def test_the_catalogue_opens_in_astropy(survey, tmp_path):
    summary = door.export(survey, tmp_path / "out")
    table = Table.read(tmp_path / "out" / "catalogue.fits")
    assert len(table) == 7 and table["n"].tolist() == list(range(7)) and "file_loc" in table.colnames
    assert set(summary["left_out"]) == {"votes"}


def test_parquet_uses_the_names_of_the_multimodal_universe(survey, tmp_path):
    door.export(survey, tmp_path / "out", "parquet")
    row = pq.read_table(tmp_path / "out").to_pylist()[0]
    assert set(row["image"]) == {"band", "flux", "ivar", "mask", "psf_fwhm", "scale"}
    assert row["image"]["band"] == ["g", "r", "VIS"] and row["image"]["psf_fwhm"][2] is None
    cutout = next(survey.read())
    np.testing.assert_array_equal(np.array(row["image"]["mask"]), cutout.ivar > 0)
    assert same_bits(np.array(row["image"]["flux"], np.float32), cutout.flux)


def test_hats_puts_each_object_in_its_cell(survey, tmp_path):
    door.export(survey, tmp_path / "out", "hats")
    with (tmp_path / "out" / "partition_info.csv").open() as file:
        pixels = [(int(row["Norder"]), int(row["Npix"])) for row in csv.DictReader(file)]
    total = 0
    for order, pixel in pixels:
        place = (
            tmp_path / "out" / "dataset" / f"Norder={order}" / f"Dir={pixel // 10000 * 10000}" / f"Npix={pixel}.parquet"
        )
        table = pq.ParquetFile(place).read()
        ra, dec = (np.array(table[name]) * u.deg for name in ("ra", "dec"))
        assert (HEALPix(2**order, "nested").lonlat_to_healpix(ra, dec) == pixel).all()
        assert (np.array(table["_healpix_29"]) >> (2 * (29 - order)) == pixel).all()
        assert table["_healpix_29"].to_pylist() == sorted(table["_healpix_29"].to_pylist())
        total += table.num_rows
    assert total == len(survey)
    facts = dict(line.split("=", 1) for line in (tmp_path / "out" / "properties").read_text().splitlines()[1:])
    assert facts["hats_nrows"] == "7" and facts["hats_col_healpix"] == "_healpix_29"
    assert pq.read_metadata(tmp_path / "out" / "dataset" / "_metadata").num_rows == 7


@given(st.lists(st.integers(0, 12 * 4**29 - 1), min_size=1, max_size=60), st.integers(1, 9))
def test_every_object_is_in_one_cell_and_no_cell_is_too_full(cells, largest):
    cells = np.array(cells, np.int64)
    found = partition(cells, largest)
    assert sorted(np.concatenate(list(found.values()))) == list(range(len(cells)))
    for (order, pixel), rows in found.items():
        assert (cells[rows] >> (2 * (29 - order)) == pixel).all()
        assert len(rows) <= largest or order == 12


def test_hats_without_positions_is_refused(tmp_path):
    info = sl.SurveyInfo((sl.Band("r"),), (4, 4))
    ones = np.ones((1, 4, 4), np.float32)
    nowhere = store.write(tmp_path / "a.lance", info, [sl.Cutout("a", ones, ones)])
    with pytest.raises(RequestError, match="2 coordinates of 1 objects are missing"):
        door.export(nowhere, tmp_path / "out", "hats")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(survey, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(RequestError, match="overwrites nothing"):
        door.export(survey, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_stopped_export_leaves_nothing_and_can_be_run_again(survey, tmp_path):
    def stop(done, total, what):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        door.export(survey, tmp_path / "out", progress=stop)
    assert not (tmp_path / "out").exists()
    (tmp_path / ".out.partial").mkdir()  # as a kill leaves it
    (tmp_path / ".out.partial" / "half.fits").write_text("half")
    door.export(survey, tmp_path / "out")
    assert not list((tmp_path / "out").glob("half*")) and not (tmp_path / ".out.partial").exists()


def test_an_unknown_format_is_named(survey, tmp_path):
    with pytest.raises(RequestError, match=r"'zarr' is unknown.*fits, parquet, hdf5, hats"):
        door.export(survey, tmp_path / "out", "zarr")


def test_a_missing_parent_folder_is_named(survey, tmp_path):
    with pytest.raises(StoreError, match="there is no folder"):
        door.export(survey, tmp_path / "a" / "b" / "out")


def test_a_read_only_folder_is_named(survey, tmp_path, monkeypatch):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write everywhere
        monkeypatch.setattr(os, "access", lambda path, mode: path != locked)
    with pytest.raises(StoreError, match="cannot be written"):
        door.export(survey, locked / "out")


def test_a_full_disk_is_named(survey, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(door.WRITERS, "fits", full)
    with pytest.raises(StoreError, match="No space left on device"):
        door.export(survey, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.partial").exists()


def test_strange_names_survive(survey, tmp_path):
    door.export(survey, tmp_path / "čas a prostor")
    back = sl.ingest(tmp_path / "čas a prostor", tmp_path / "zpět sem.lance")
    assert {c.object_id for c in back.read()} == {c.object_id for c in survey.read()}
    assert pa.types.is_string(back.table().schema.field("kind").type)
