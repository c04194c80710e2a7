"""Product tables to files and back: ragged lists, units, and never half a file."""

import numpy as np
import pyarrow as pa
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyloom.data import tables
from skyloom.data.tables import FORMATS, check_destination, read_table, to_astropy, unit_of, write_table
from skyloom.errors import RequestError, SkyloomError, SourceError, StoreError


def make(lists=((1.0, 2.0, np.nan), (), (3.5,)), names=("a", "b b", "ümlaut")) -> pa.Table:
    fields = [
        pa.field("object_id", pa.string()),
        pa.field("sma", pa.list_(pa.float64()), metadata={"unit": "arcsec"}),
        pa.field("mag", pa.float64(), metadata={"unit": "mag", "meaning": "total"}),
        pa.field("flag", pa.int32(), metadata={"unit": ""}),
    ]
    count = range(len(names))
    columns = [list(names), [list(row) for row in lists], [20.0 + k for k in count], list(count)]
    return pa.table(columns, schema=pa.schema(fields, metadata={"engine": "isophotes", "citation": "Nobody 1999"}))


def read_back(path) -> Table:
    return Table.read(path, format={".ecsv": "ascii.ecsv", ".fits": "fits", ".parquet": "parquet"}[path.suffix])


def rows_of(column) -> list[np.ndarray]:
    return [np.ma.filled(np.ma.asarray(row, dtype=float), np.nan) for row in column]


@pytest.mark.parametrize("suffix", [".ecsv", ".fits"])
def test_astropy_reads_back_every_row_list_and_unit(tmp_path, suffix):
    table = make(names=("a", "b b", "c"))
    write_table(table, tmp_path / f"products{suffix}")
    back = read_back(tmp_path / f"products{suffix}")
    assert back.colnames == table.column_names
    assert [str(name).strip() for name in back["object_id"]] == ["a", "b b", "c"]
    assert back["sma"].unit == units.arcsec and back["mag"].unit == units.mag
    for got, want in zip(rows_of(back["sma"]), table["sma"].to_pylist(), strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(back["mag"], table["mag"])
    np.testing.assert_array_equal(back["flag"], table["flag"])
    assert back["flag"].dtype.kind == "i"


def test_parquet_gives_back_the_very_table(tmp_path):
    write_table(make(), tmp_path / "products.parquet")
    back = read_table(tmp_path / "products.parquet")
    assert back.schema.metadata == make().schema.metadata and back.column_names == make().column_names
    assert [field.metadata for field in back.schema] == [field.metadata for field in make().schema]
    assert back.select(["object_id", "mag", "flag"]).equals(make().select(["object_id", "mag", "flag"]))
    for got, want in zip(back["sma"].to_pylist(), make()["sma"].to_pylist(), strict=True):
        np.testing.assert_array_equal(got, want)
    assert [unit_of(field) for field in back.schema] == ["", "arcsec", "mag", ""]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.floats(width=64, allow_infinity=False), max_size=6), min_size=1, max_size=5))
@pytest.mark.parametrize("suffix", FORMATS)
def test_any_ragged_lists_survive_to_the_bit(tmp_path, suffix, lists):
    path = tmp_path / f"ragged{suffix}"
    write_table(make(lists, [f"galaxy-{k}" for k in range(len(lists))]), path)
    back = read_table(path)["sma"].to_pylist() if suffix == ".parquet" else rows_of(read_back(path)["sma"])
    for got, want in zip(back, lists, strict=True):
        np.testing.assert_array_equal(np.asarray(got, float), np.asarray(want, float))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_without_rows_can_be_written(tmp_path, suffix):
    write_table(make((), ()), tmp_path / f"empty{suffix}")
    assert (tmp_path / f"empty{suffix}").stat().st_size > 0


def test_the_story_is_in_the_fits_history_and_the_checksums_hold(tmp_path):
    write_table(make(names=("a", "b", "c")), tmp_path / "products.fits")
    with fits.open(tmp_path / "products.fits", checksum=True) as hdus:
        assert "citation: Nobody 1999" in list(hdus["PROFILES"].header["HISTORY"])
        assert hdus["PROFILES"].verify_checksum() == 1 and hdus["PROFILES"].verify_datasum() == 1


def test_the_same_table_gives_the_same_bytes(tmp_path):
    for suffix in (".parquet", ".ecsv"):
        for name in ("one", "two"):
            write_table(make(), tmp_path / f"{name}{suffix}")
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_units_and_lists_reach_an_astropy_table():
    table = to_astropy(make())
    assert table["sma"].unit == units.arcsec and table["object_id"].unit is None
    assert [len(row) for row in table["sma"]] == [3, 0, 1]
    assert table.meta["engine"] == "isophotes"


@pytest.mark.parametrize("name", ["products", "products.csv", "products.FITS", "products.fits.gz"])
def test_an_unknown_suffix_is_refused_and_the_known_ones_named(tmp_path, name):
    with pytest.raises(RequestError, match=r"\.parquet, \.ecsv, \.fits"):
        check_destination(tmp_path / name)


def test_a_missing_or_read_only_folder_is_refused(tmp_path, monkeypatch):
    with pytest.raises(StoreError, match="no folder"):
        check_destination(tmp_path / "nowhere" / "products.fits")
    monkeypatch.setattr(tables.os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(StoreError, match="read-only"):
        check_destination(tmp_path / "products.fits")


def test_a_folder_of_that_name_is_refused(tmp_path):
    (tmp_path / "products.fits").mkdir()
    with pytest.raises(StoreError, match="folder"):
        check_destination(tmp_path / "products.fits")


@pytest.mark.parametrize(
    "suffix, writer", [(".parquet", "pq.write_table"), (".ecsv", "to_astropy"), (".fits", "_to_fits")]
)
def test_a_failure_in_mid_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, suffix, writer):
    path = tmp_path / f"products{suffix}"
    write_table(make(names=("a", "b", "c")), path)
    before = path.read_bytes()

    def fill_the_disk(table, partial=None, *_):
        if partial is not None:
            partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"skyloom.data.tables.{writer}", fill_the_disk)
    with pytest.raises(StoreError, match="No space left"):
        write_table(make(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not really"])
def test_what_is_no_parquet_file_is_named(tmp_path, content):
    path = tmp_path / "products.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"products\.parquet"):
        read_table(path)


def test_a_name_that_fits_cannot_hold_is_a_named_error(tmp_path):
    """FITS holds ASCII: the object named in another alphabet needs Parquet or ECSV."""
    with pytest.raises(SkyloomError):
        write_table(make(), tmp_path / "products.fits")
    assert not list(tmp_path.iterdir())
