"""HDF5, Parquet and Arrow files of other people: the Multimodal Universe, Hugging Face `datasets`, Galaxy10."""

import io

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import skyloom as sl
from skyloom.errors import CatalogueError, CutoutError, RequestError, SourceError, UnitError

RNG = np.random.default_rng(0)
FLUX = RNG.normal(3, 1, (4, 2, 16, 12)).astype(np.float32)
IVAR = RNG.uniform(1, 2, FLUX.shape).astype(np.float32)
GOOD = RNG.random(FLUX.shape) < 0.9
IDS = ["08", "b", "c", "d"]


def mmu_row(i, **change):
    planes = [
        {"band": band, "flux": FLUX[i, j].tolist(), "ivar": IVAR[i, j].tolist(), "mask": GOOD[i, j].tolist()}
        | {"psf_fwhm": 0.7 + j / 10, "scale": 0.168}
        for j, band in enumerate(["hsc-g", "hsc-r"])
    ]
    return {"object_id": IDS[i], "ra": 10.0 + i, "dec": -1.0, "image": planes, "z_spec": 0.1 * i} | change


def as_list_of_structs(rows):
    return pa.Table.from_pylist(rows)


def as_struct_of_lists(rows):
    turned = [{**row, "image": {key: [p[key] for p in row["image"]] for key in row["image"][0]}} for row in rows]
    return pa.Table.from_pylist(turned)


def as_flat_columns(rows):
    return as_struct_of_lists(rows).flatten()


def write(table, path):
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=3)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, max_chunksize=3)
    return path


def check(survey):
    found = {cutout.object_id: cutout for cutout in survey.read()}
    assert list(found) == IDS and survey.info.band_names == ("hsc-g", "hsc-r")
    assert survey.info.pixel_scale == pytest.approx(0.168, abs=1e-12)
    for i, object_id in enumerate(IDS):
        cutout = found[object_id]
        assert cutout.flux.tobytes() == FLUX[i].tobytes()
        np.testing.assert_array_equal(cutout.ivar, np.where(GOOD[i], IVAR[i], 0))
        assert (cutout.ra, cutout.dec) == (10.0 + i, -1.0) and cutout.columns["z_spec"] == pytest.approx(0.1 * i)
        np.testing.assert_allclose(cutout.columns["psf_fwhm"], [0.7, 0.8], rtol=1e-6)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("layout", [as_list_of_structs, as_struct_of_lists, as_flat_columns])
def test_the_multimodal_universe_in_every_nesting(tmp_path, layout, suffix):
    write(layout([mmu_row(i) for i in range(4)]), tmp_path / f"a{suffix}")
    check(sl.ingest(tmp_path / f"a{suffix}", tmp_path / "out.lance"))


def test_a_folder_as_datasets_saves_it(tmp_path):
    folder = tmp_path / "hf" / "train"
    folder.mkdir(parents=True)
    for part in range(2):
        rows = [mmu_row(i) for i in (2 * part, 2 * part + 1)]
        write(as_struct_of_lists(rows), folder / f"data-{part:05d}-of-00002.arrow")
    (folder / "state.json").write_text("{}")
    (folder / "cache-1234.arrow").write_bytes(b"left by a map of somebody")
    check(sl.ingest(tmp_path / "hf", tmp_path / "out.lance"))


def mmu_hdf5(path, rows=slice(None), **change):
    fields = {
        "object_id": np.array(IDS, "S8"), "ra": 10.0 + np.arange(4), "dec": np.full(4, -1.0),
        "z_spec": np.arange(4) / 10,
        "image_band": np.array([[b"hsc-g", b"hsc-r"]] * 4), "image_array": FLUX, "image_ivar": IVAR, "image_mask": GOOD,
        "image_psf_fwhm": np.array([[0.7, 0.8]] * 4, "f4"), "image_scale": np.full((4, 2), 0.168, "f4"),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in (fields | change).items():
            if values is not None:
                file.create_dataset(name, data=values[rows])
    return path


def test_the_multimodal_universe_in_hdf5(tmp_path):
    check(sl.ingest(mmu_hdf5(tmp_path / "a.hdf5"), tmp_path / "out.lance"))


def test_a_folder_of_healpix_cells_in_hdf5(tmp_path):
    mmu_hdf5(tmp_path / "hsc" / "healpix=10" / "001-of-001.hdf5", slice(0, 3))
    mmu_hdf5(tmp_path / "hsc" / "healpix=11" / "001-of-001.hdf5", slice(3, 4))
    check(sl.ingest(tmp_path / "hsc", tmp_path / "out.lance"))


def test_one_band_without_a_name_or_weights(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["flux"], file["object_id"] = FLUX[:, 0], np.arange(4)
    survey = sl.ingest(tmp_path / "a.h5", tmp_path / "out.lance")
    assert survey.info.band_names == ("band0",) and survey.info.pixel_scale is None
    assert next(survey.read()).object_id == "0"


def test_pictures_in_hdf5_are_marked_as_such(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = RNG.integers(0, 255, (4, 16, 16, 3), np.uint8)
        file["object_id"], file["ans"], file["pxscale"] = np.arange(4), np.arange(4), np.full(4, 0.262)
    survey = sl.ingest(tmp_path / "a.h5", tmp_path / "out.lance")
    assert survey.info.band_names == ("R", "G", "B") and "display stretch" in survey.info.bands[0].unit
    assert any("8-bit" in note for note in survey.info.notes) and survey.info.pixel_scale == 0.262


def test_pictures_in_parquet_are_decoded(tmp_path):
    rows = []
    for object_id in "ab":
        file = io.BytesIO()
        Image.fromarray(RNG.integers(0, 255, (16, 16, 3), np.uint8)).save(file, "PNG")
        rows.append({"id": object_id, "image": {"bytes": file.getvalue(), "path": f"{object_id}.png"}, "smooth": 0.3})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    survey = sl.ingest(tmp_path / "a.parquet", tmp_path / "out.lance")
    cutout = next(survey.read())
    assert cutout.flux.shape == (3, 16, 16) and cutout.columns == {"smooth": 0.3}


def test_pixels_are_read_a_batch_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("skyloom.data.readers.hdf5.CHUNK_BYTES", FLUX[:2].nbytes)
    monkeypatch.setattr("skyloom.data.readers.parquet.BATCH_BYTES", FLUX[:2].nbytes)
    check(sl.ingest(mmu_hdf5(tmp_path / "a.hdf5"), tmp_path / "h.lance"))
    rows = as_struct_of_lists([mmu_row(i) for i in range(4)])
    check(sl.ingest(write(rows, tmp_path / "a.parquet"), tmp_path / "p.lance"))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"object_id": "08"}, CatalogueError, r"row 3.*'08' occurs twice"),
        ({"image": [{**mmu_row(0)["image"][0], "ivar": (-IVAR[0, 0]).tolist()}] * 2}, CutoutError, r"row 3.*negative"),
        ({"image": mmu_row(2)["image"][:1]}, CutoutError, "row 3.*has bands hsc-g and the survey"),
        ({"image": [mmu_row(2)["image"][0]] * 2}, CutoutError, r"row 3.*name of its own"),
        (
            {"image": [{**p, "scale": s} for p, s in zip(mmu_row(2)["image"], (0.2, 0.3), strict=True)]},
            UnitError,
            "row 3.*resample to one grid",
        ),
    ],
)
def test_a_bad_row_is_named_or_set_aside(tmp_path, change, kind, message):
    write(as_list_of_structs([mmu_row(0), mmu_row(1), mmu_row(2, **change)]), tmp_path / "a.parquet")
    with pytest.raises(kind, match=message):
        sl.ingest(tmp_path / "a.parquet", tmp_path / "out.lance")
    assert len(sl.ingest(tmp_path / "a.parquet", tmp_path / "out.lance", skip_bad=True)) == 2
    assert ",3," in (tmp_path / "out.lance.quarantine.csv").read_text()


def test_rows_of_an_image_that_differ_in_length(tmp_path):
    ragged = [[1.0, 2.0], [3.0]]
    pq.write_table(pa.table({"object_id": ["a"], "flux": [ragged]}), tmp_path / "a.parquet")
    with pytest.raises(CutoutError, match="differ in length"):
        sl.ingest(tmp_path / "a.parquet", tmp_path / "out.lance")


@pytest.mark.parametrize("name", ["a.h5", "a.parquet", "a.arrow"])
@pytest.mark.parametrize("content", [b"", b"hello world" * 50, "cut"])
def test_a_file_that_is_damaged_is_named(tmp_path, name, content):
    path = tmp_path / name
    if content == "cut":
        if name == "a.h5":
            mmu_hdf5(path)
        else:
            write(as_struct_of_lists([mmu_row(i) for i in range(4)]), path)
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(SourceError, match=name):
        sl.ingest(path, tmp_path / "out.lance")
    assert not (tmp_path / "out.lance").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"object_id": None}, "no object_id column"),
        ({"image_array": None}, "no flux column"),
        ({"ra": np.arange(4.0)[:2]}, "'ra' has shape"),
    ],
)
def test_datasets_that_are_missing_are_named(tmp_path, change, message):
    with pytest.raises(CatalogueError, match=message):
        sl.ingest(mmu_hdf5(tmp_path / "a.hdf5", **change), tmp_path / "out.lance")


def test_a_table_takes_no_catalogue(tmp_path):
    (tmp_path / "c.csv").write_text("object_id\na\n")
    with pytest.raises(RequestError, match="leave --catalogue out"):
        sl.ingest(mmu_hdf5(tmp_path / "a.hdf5"), tmp_path / "out.lance", catalogue=tmp_path / "c.csv")
