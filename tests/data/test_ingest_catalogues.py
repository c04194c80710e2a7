"""Catalogues from every format, and every way in which a row can be wrong."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from skyloom.data.catalogues import read_catalogue, sound_rows
from skyloom.errors import CatalogueError, SourceError

COLUMNS = {
    "object_id": ["007", "b", "c"],
    "ra": [10.5, 0.0, 359.9],
    "dec": [-3.25, 90.0, 1.0],
    "mag": [18.5, 19.0, 20.5],
}


def write(path, columns=None):
    table = Table(columns or COLUMNS)
    if path.name.endswith(".parquet"):
        pq.write_table(pa.table(columns or COLUMNS), path)
    elif path.name.endswith(".gz"):
        lines = [",".join(table.colnames), *(",".join(str(v) for v in row) for row in table)]
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
    else:
        table.write(path, format={".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits"}[path.suffix])
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.ecsv", "a.fits", "a.parquet"])
def test_every_format_gives_the_same_catalogue(tmp_path, name):
    catalogue = read_catalogue(write(tmp_path / name))
    assert catalogue.ids == COLUMNS["object_id"], "leading zeros of an id are kept"
    np.testing.assert_array_equal(catalogue.ra, COLUMNS["ra"])
    np.testing.assert_array_equal(catalogue.dec, COLUMNS["dec"])
    assert list(catalogue.columns_of([2, 0])) == [{"mag": 20.5}, {"mag": 18.5}]
    assert sound_rows(catalogue, positions=True) == ([0, 1, 2], [])


@pytest.mark.parametrize("unit", ["rad", "hourangle", "deg"])
def test_positions_are_converted_from_the_unit_that_the_table_states(tmp_path, unit):
    table = Table({"object_id": ["a"], "ra": [150.0] * u.deg, "dec": [2.0] * u.deg})
    table["ra"] = table["ra"].to(unit)
    table.write(tmp_path / "a.ecsv")
    assert read_catalogue(tmp_path / "a.ecsv").ra[0] == pytest.approx(150.0, rel=1e-12)


def test_a_position_in_no_angle_is_refused(tmp_path):
    table = Table({"object_id": ["a"], "ra": [150.0] * u.pixel, "dec": [2.0] * u.pixel})
    table.write(tmp_path / "a.ecsv")
    with pytest.raises(CatalogueError, match="no angle"):
        read_catalogue(tmp_path / "a.ecsv")


def test_sexagesimal_text_is_refused(tmp_path):
    with pytest.raises(CatalogueError, match=r"'12:30:00'.*degrees"):
        read_catalogue(write(tmp_path / "a.parquet", {"object_id": ["a"], "ra": ["12:30:00"], "dec": ["+1:00:00"]}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"object_id": ["007", "b", "007"]}, "row 3: object_id '007' is also that of row 1"),
        ({"object_id": ["007", "", "c"]}, "row 2: the object_id is blank"),
        ({"ra": [10.5, np.nan, 3.0]}, "row 2: the position of 'b' is missing or NaN"),
        ({"dec": [10.5, 91.0, 3.0]}, "row 2: the position of 'b'.*not within"),
        ({"ra": [10.5, 0.0, -3.0]}, "row 3: the position of 'c'.*not within"),
        ({"ra": [10.5, 10.5, 3.0], "dec": [1.0, 1.0, 3.0]}, "row 2: 'b' is at the very position of row 1"),
    ],
)
def test_a_bad_row_is_named_or_set_aside(tmp_path, change, reason):
    catalogue = read_catalogue(write(tmp_path / "a.parquet", COLUMNS | change))
    with pytest.raises(CatalogueError, match=reason) as caught:
        sound_rows(catalogue, positions=True)
    good, bad = sound_rows(catalogue, positions=True, skip_bad=True)
    assert len(good) == 2 and len(bad) == 1
    assert f"row {bad[0].row}: {bad[0].reason}" in str(caught.value)


def test_a_masked_position_is_missing(tmp_path):
    table = Table(COLUMNS)
    table["ra"] = MaskedColumn(COLUMNS["ra"], mask=[False, True, False])
    table.write(tmp_path / "a.ecsv")
    assert np.isnan(read_catalogue(tmp_path / "a.ecsv").ra[1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a"], "ra": [1.0], "dec": [2.0]}, "no object_id column"),
        ({"object_id": ["a"], "ra": [1.0]}, "no partner"),
        ({"object_id": ["a"], "flux": [1.0]}, "names that the store keeps"),
        ({"ID": ["a"], "id": ["b"]}, "differ only in case"),
    ],
)
def test_columns_that_cannot_be_used_are_named(tmp_path, columns, message):
    with pytest.raises(CatalogueError, match=message):
        read_catalogue(write(tmp_path / "a.parquet", columns))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "zero bytes"),
        ("a.fits", b"hello", "not a FITS file"),
        ("a.parquet", b"hello", "cannot be read as Parquet"),
        ("a.xlsx", b"hello", "not a kind of catalogue"),
        ("a.ecsv", b"hello\n", "cannot be read as a table"),
        ("a.csv", b"object_id,ra,dec\n", "no rows"),
    ],
)
def test_a_file_that_is_no_catalogue_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((SourceError, CatalogueError), match=message):
        read_catalogue(tmp_path / name)
