"""Fields: any tile alone is the mosaic's tile, an interruption costs nothing, and the files say what they hold."""

import json
import shutil
from hashlib import sha256

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from scipy.spatial import cKDTree
from typer.testing import CliRunner

import skyloom as sl
from skyloom.cli.main import app
from skyloom.data import destination, workers
from skyloom.data.tiles import files
from skyloom.data.tiles.files import STEPS, is_whole
from skyloom.data.tiles.mosaic import open_field
from skyloom.errors import RequestError
from skyloom.infer.fields.painter import BLOCK, Painter, painter_of


@pytest.fixture(scope="module")
def painter(field_run):
    return painter_of(field_run.path)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)


def make(folder, field_run, shape=(300, 420), **options):
    return sl.field(folder, field_run.path, shape, **{"tile": 128, "seed": 3, **options})


def pixels(made, rows=slice(0, 300), columns=slice(0, 420)):
    return made.field.window(rows, columns).flux


def digests(folder):
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "tiles").glob("*.fits"))}


def test_a_window_is_the_same_bit_for_bit_whatever_else_is_made(painter):
    whole = painter.pixels(3, range(-40, 2 * BLOCK), range(0, 400))
    part = painter.pixels(3, range(100, 300), range(211, 350))
    assert np.array_equal(whole[:, 140:340, 211:350], part)


def test_blocks_are_what_one_run_of_the_network_gives(painter):
    rows, columns = range(BLOCK, 3 * BLOCK), range(0, 2 * BLOCK)
    net = painter.on("cpu").of(3)
    laid = painter._laid(net, 3, net.windows(rows), net.windows(columns))
    at_once = painter._painted(net, laid, rows, columns, "cpu")
    in_blocks = painter.light(3, rows, columns)
    np.testing.assert_allclose(in_blocks, at_once, rtol=0, atol=1e-6 * np.abs(at_once).max())


def test_light_and_noise_are_apart(painter):
    rows, columns = range(0, 200), range(50, 250)
    light, once, thrice = (painter.pixels(5, rows, columns, noise) for noise in (0, 1, 3))
    assert np.array_equal(light, painter.light(5, rows, columns))
    np.testing.assert_allclose(thrice - light, 3 * (once - light), atol=1e-4)
    np.testing.assert_allclose((once - light).std((1, 2)), painter.rms, rtol=0.03)


def test_other_seeds_make_other_skies(painter):
    one, other = (painter.pixels(seed, range(100), range(100)) for seed in (0, 1))
    assert abs(np.corrcoef(one[0].ravel(), other[0].ravel())[0, 1]) < 0.1


def test_same_arguments_same_bytes_in_any_order_and_by_any_process(field_run, tmp_path, monkeypatch):
    make(tmp_path / "one", field_run)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    make(tmp_path / "two", field_run)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(digests(tmp_path / "one")) == 12


def test_tiles_and_shape_do_not_change_a_pixel(field_run, tmp_path):
    small = make(tmp_path / "small", field_run)
    large = make(tmp_path / "large", field_run, shape=(400, 450), tile=200)
    assert np.array_equal(pixels(small), pixels(large))


def test_an_interrupted_field_goes_on_and_a_torn_tile_is_made_anew(field_run, tmp_path):
    make(tmp_path / "whole", field_run)
    shutil.copytree(tmp_path / "whole", tmp_path / "torn")
    tiles = tmp_path / "torn" / "tiles"
    (tiles / "tile_0000_0001.fits").unlink()
    half = (tiles / "tile_0001_0002.fits").read_bytes()
    (tiles / "tile_0001_0002.fits").write_bytes(half[: len(half) // 2])
    flipped = bytearray((tiles / "tile_0002_0000.fits").read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tiles / "tile_0002_0000.fits").write_bytes(flipped)
    made = make(tmp_path / "torn", field_run)
    assert made.new == 3
    assert digests(tmp_path / "torn") == digests(tmp_path / "whole")
    assert make(tmp_path / "torn", field_run).new == 0


def test_a_tile_that_cannot_be_written_leaves_nothing_behind(field_run, tmp_path, monkeypatch):
    written = []

    def stop(hdus):
        if len(written) == 2:
            raise OSError("no space left on device")
        written.append(1)
        return sealed(hdus)

    sealed = files._sealed
    monkeypatch.setattr(files, "_sealed", stop)
    with pytest.raises(sl.SkyloomError, match="no space left"):
        make(tmp_path / "field", field_run)
    assert all(is_whole(path) for path in (tmp_path / "field" / "tiles").iterdir())
    monkeypatch.setattr(files, "_sealed", sealed)
    assert make(tmp_path / "field", field_run).new == 10


def test_a_tile_tells_where_it_lies_what_it_is_and_who_made_it(field_run, tmp_path):
    made = make(tmp_path / "field", field_run, centre=(150.0, 2.0))
    painter = painter_of(field_run.path)
    places = []
    for name, first in (("tile_0000_0000", (0, 0)), ("tile_0002_0003", (256, 384))):
        with fits.open(tmp_path / "field" / "tiles" / f"{name}.fits") as hdus:
            assert [hdu.header["BAND"] for hdu in hdus[1:]] == ["g", "r"]
            assert [hdu.header["MAGZERO"] for hdu in hdus[1:]] == [25.0, 26.0]
            assert {hdu.header["BUNIT"] for hdu in hdus[1:]} == {"count"}
            assert hdus[0].header["WHASH"] == field_run.hash
            assert hdus[0].header["SEED"] == 3
            places.append(WCS(hdus[1].header).pixel_to_world(200 - first[1], 100 - first[0]))
            stored = np.array([hdu.data for hdu in hdus[1:]])
            rows, columns = (range(at, at + side) for at, side in zip(first, stored.shape[1:], strict=True))
        flux = painter.pixels(3, rows, columns)
        assert (np.abs(stored - flux).max((1, 2)) <= np.array(painter.rms) / STEPS / 2 * 1.001).all()
    assert places[0].separation(places[1]).arcsec < 1e-6
    middle = made.field.plan.wcs(made.field.info).pixel_to_world(209.5, 149.5)
    assert (middle.ra.deg, middle.dec.deg) == pytest.approx((150.0, 2.0))
    assert made.field.plan.wcs(made.field.info).proj_plane_pixel_scales()[0].to_value("arcsec") == pytest.approx(0.25)


def test_the_index_lists_every_tile(field_run, tmp_path):
    make(tmp_path / "field", field_run)
    index = json.loads((tmp_path / "field" / "index.json").read_text())
    assert len(index["tiles"]) == 12
    assert sum(one["shape"][0] * one["shape"][1] for one in index["tiles"]) == 300 * 420
    assert all((tmp_path / "field" / one["file"]).exists() for one in index["tiles"])


def round_sources(painter, seed, rows, columns, device="cpu"):
    """In place of the network: sources of 300 rms, round, where the seed puts them."""
    wide = [range(side.start - 20, side.stop + 20) for side in (rows, columns)]
    found = painter.sources.strewn(seed, *wide)
    down, across = (
        np.exp(-((np.array(side)[:, None] - at) ** 2) / 8) for side, at in ((rows, found.y), (columns, found.x))
    )
    spots = down @ across.T / (8 * np.pi)
    return (300 * spots * np.array(painter.rms)[:, None, None]).astype(np.float32)


@pytest.mark.slow
def test_the_catalogue_finds_the_sources_that_were_put_in(field_run, tmp_path, monkeypatch):
    monkeypatch.setattr(Painter, "light", round_sources)
    made = make(tmp_path / "field", field_run, shape=(500, 500))
    found = pq.read_table(tmp_path / "field" / "catalogue.parquet")
    assert found.num_rows == made.sources
    truth = painter_of(field_run.path).sources.strewn(3, range(10, 490), range(10, 490))
    alone = cKDTree(np.column_stack([truth.x, truth.y])).query(np.column_stack([truth.x, truth.y]), 2)[0][:, 1] > 14
    tree = cKDTree(np.column_stack([found["x"], found["y"]]))
    apart, which = tree.query(np.column_stack([truth.x, truth.y])[alone])
    assert alone.sum() > 50
    assert (apart < 0.7).mean() > 0.97
    for band, rms in zip("gr", painter_of(field_run.path).rms, strict=True):
        assert np.median(found[f"flux_{band}"].to_numpy()[which]) == pytest.approx(300 * rms, rel=0.05)
    wcs = made.field.plan.wcs(made.field.info)
    ra, dec = wcs.wcs_pix2world(found["x"], found["y"], 0)
    np.testing.assert_allclose(((found["ra"].to_numpy() - ra + 180) % 360) - 180, 0, atol=1e-8)
    np.testing.assert_allclose(found["dec"], dec, atol=1e-8)
    seen = sl.ingest(tmp_path / "field", tmp_path / "seen.lance", size=32)
    assert len(seen) == pytest.approx(made.sources, rel=0.05)  # ingest measures the sky, the catalogue knows it


def test_a_field_without_sources_has_an_empty_catalogue_and_no_cutouts(field_run, tmp_path, monkeypatch):
    monkeypatch.setattr(Painter, "light", lambda painter, seed, *sides: np.zeros((2, *map(len, sides[:2])), "f4"))
    assert make(tmp_path / "field", field_run, noise=0.2).sources == 0
    with pytest.raises(sl.SkyloomError, match="no source in it"):
        sl.ingest(tmp_path / "field", tmp_path / "seen.lance", size=32)


def test_a_field_is_a_survey_in_pieces(field_run, tmp_path):
    made = make(tmp_path / "field", field_run)
    survey = sl.ingest(tmp_path / "field", tmp_path / "pieces.lance", catalogue="grid", size=100)
    assert len(survey) == 12
    first = next(iter(survey.read()))
    x, y = (int(first.columns[name]) - 50 for name in "xy")
    assert np.array_equal(first.flux, pixels(made, slice(y, y + 100), slice(x, x + 100)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"shape": (0, 10)}, "one row and one column"),
        ({"tile": 8}, "less than the 20 pixels"),
        ({"seed": -1}, "0 or more"),
        ({"noise": -1.0}, "0 or more"),
        ({"noise": float("nan")}, "0 or more"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(field_run, tmp_path, options, reason):
    with pytest.raises(RequestError, match=reason):
        make(tmp_path / "field", field_run, **options)
    assert not (tmp_path / "field").exists()


def test_a_disk_that_is_too_small_is_named_with_its_room(field_run, tmp_path, monkeypatch):
    monkeypatch.setattr(destination.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 10**9))
    with pytest.raises(RequestError, match=r"up to 9\d\.\d GB and the disk has 1\.0 GB"):
        make(tmp_path / "field", field_run, shape=(200_000, 200_000), tile=4096)


def test_another_field_or_folder_is_left_alone(field_run, tmp_path):
    make(tmp_path / "field", field_run)
    before = digests(tmp_path / "field")
    with pytest.raises(RequestError, match="holds another field: seed 3 there and 4 asked for"):
        make(tmp_path / "field", field_run, seed=4)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(RequestError, match="is no field"):
        make(tmp_path / "other", field_run)
    assert digests(tmp_path / "field") == before


def test_a_field_without_a_place_on_the_sky_is_no_hips_and_that_is_said_first(field_run, tmp_path):
    copy = shutil.copytree(field_run.path, tmp_path / "nowhere")
    facts = json.loads((copy / "field.json").read_text())
    facts["info"] = json.dumps(json.loads(facts["info"]) | {"pixel_scale": None})
    (copy / "field.json").write_text(json.dumps(facts))
    with pytest.raises(RequestError, match="no place on the sky and no HiPS"):
        sl.field(tmp_path / "out", copy, (64, 64), tile=64, for_hips=True)
    assert not (tmp_path / "out").exists()


def test_weights_that_make_no_fields_are_refused(tmp_path):
    with pytest.raises(RequestError, match="makes no fields"):
        sl.field(tmp_path / "field", "galaxy-mock", (300, 300))
    with pytest.raises(RequestError, match="no field weights 'nothing'"):
        sl.field(tmp_path / "field", "nothing", (300, 300))
    with pytest.raises(RequestError, match="holds no field"):
        open_field(tmp_path)


def test_the_command_also_makes_what_one_looks_at(field_run, tmp_path):
    wanted = [tmp_path / "sky", "--with", field_run.path, "--shape", "130x130", "--tile", "130", "--hips", "--json"]
    answer = CliRunner().invoke(app, ["field", *map(str, wanted)])
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.stdout.splitlines()[-1])
    assert said["page"] == str(tmp_path / "sky" / "index.html")
    assert said["hips"] == str(tmp_path / "sky" / "hips")
    assert (tmp_path / "sky" / "hips" / "properties").exists()
