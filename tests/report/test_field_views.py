"""A field to look at: every position is the field's, every colour its composite's, and memory follows from the tile."""

import json
import re
import shutil
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy_healpix import healpix_to_lonlat, lonlat_to_healpix
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import skyloom as sl
from skyloom.data import destination, workers
from skyloom.data.tiles.mosaic import TiledField, open_field
from skyloom.errors import RequestError, StoreError
from skyloom.report.fields import hips as hips_room
from skyloom.report.fields import page as page_room
from skyloom.report.fields.colours import Colours, colours_of
from skyloom.report.fields.hips import HipsTiles, order_of
from skyloom.report.fields.page import PageTiles
from skyloom.report.fields.quadtree import SIDE, Node, halved, place_of, row_and_column


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 1)


def whole_picture(folder):
    """The colour composite of all of a field, first row at the bottom."""
    field = open_field(folder)
    colours = colours_of(field)
    return colours.picture(field.flux(*map(slice, (0, 0), field.shape), colours.look.bands))


def properties(folder):
    lines = (folder / "hips" / "properties").read_text(encoding="utf-8").splitlines()
    return dict(re.fullmatch(r"(\S+)\s+= (.+)", line).groups() for line in lines)


def digests(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "properties"]
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


# The tree


@given(st.integers(0, 12).flatmap(lambda level: st.tuples(st.just(level), st.integers(0, 4**level - 1))))
def test_a_place_in_z_order_is_a_row_and_a_column(node):
    row, column = row_and_column(Node(*node))
    assert place_of(row, column, 12) == node[1]
    assert max(row, column) < 2 ** node[0]
    for child, (down, across) in zip(Node(*node).children(), ((0, 0), (1, 0), (0, 1), (1, 1)), strict=True):
        assert row_and_column(child) == (2 * row + down, 2 * column + across)


def test_halving_is_the_mean_of_what_is_opaque():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (8, 8, 4), np.uint8)
    picture[..., 3] = 255
    means = picture.reshape(4, 2, 4, 2, 4).mean((1, 3))
    assert np.abs(halved(picture) - means).max() <= 0.5
    picture[0, 0, 3] = picture[2:4, 2:4, 3] = 0
    half = halved(picture)
    assert half[1, 1, 3] == 0
    assert (half[..., 3] == 255).sum() == 15
    assert np.abs(half[0, 0, :3] - picture[[0, 1, 1], [1, 0, 1], :3].mean(0)).max() <= 0.5


# The HiPS


def test_the_properties_are_those_that_the_standard_requires(drawn_field):
    found = properties(drawn_field[0])
    assert found["creator_did"].startswith("ivo://")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", found["hips_release_date"])
    assert "Simulated" in found["obs_description"]
    expected = {
        "obs_title": "Made field: drawn, seed 3", "dataproduct_type": "image", "dataproduct_subtype": "color",
        "hips_version": "1.4", "hips_status": "private master clonable", "hips_tile_format": "png",
        "hips_tile_width": "512", "hips_order": "11", "hips_frame": "equatorial", "hips_rgb_red": "i",
        "hips_rgb_green": "r", "hips_rgb_blue": "g", "hips_initial_ra": "150.0000000", "hips_initial_dec": "2.2000000",
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    diagonal = np.hypot(200, 280) * 0.25 / 3600
    assert float(found["hips_initial_fov"]) == pytest.approx(diagonal, rel=1e-4)


def test_every_tile_has_the_parent_and_the_name_that_the_standard_asks_for(drawn_field):
    hips = drawn_field[0] / "hips"
    for order in range(12):
        tiles = [*(hips / f"Norder{order}").glob("Dir*/*.png")]
        assert tiles
        for path in tiles:
            number = int(re.fullmatch(r"Npix(\d+)\.png", path.name)[1])
            assert path.parent.name == f"Dir{number // 10000 * 10000}"
            with Image.open(path) as tile:
                assert (tile.size, tile.mode) == ((SIDE, SIDE), "RGBA")
            parent = number // 4
            above = hips / f"Norder{order - 1}" / f"Dir{parent // 10000 * 10000}" / f"Npix{parent}.png"
            assert order == 0 or above.exists()
    with Image.open(hips / "Norder3" / "Allsky.png") as sheet:
        assert sheet.size == (27 * 64, 29 * 64)
        (number,) = {int(path.stem[4:]) for path in (hips / "Norder3").glob("Dir*/*.png")}
        left, top = number % 27 * 64, number // 27 * 64
        assert sheet.crop((left, top, left + 64, top + 64)).getchannel("A").getbbox()


@lru_cache(maxsize=4)
def opened(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def pixels_near(hips, ra, dec, order, radius):
    """Position and RGBA of the HiPS's pixels within a radius [deg], found by numbers of HEALPix cells alone."""
    step = 0.4 * 58.6 / 2 ** (order + 9)
    ring = np.arange(-radius, radius + step, step)
    east, north = (grid.ravel() for grid in np.meshgrid(ring, ring))
    lon, lat = (ra + east / np.cos(np.radians(dec))), dec + north
    nside = 2 ** (order + 9)
    cells = np.unique(lonlat_to_healpix(lon * u.deg, lat * u.deg, nside, order="nested"))
    values = []
    for cell in cells:
        tile, inner = divmod(int(cell), 4**9)
        digits = f"{inner:018b}"
        row, column = int(digits[1::2], 2), int(digits[0::2], 2)  # x of a cell is in the even bits, down the picture
        path = hips / f"Norder{order}" / f"Dir{tile // 10000 * 10000}" / f"Npix{tile}.png"
        values.append(opened(path)[row, column])
    at_lon, at_lat = healpix_to_lonlat(cells, nside, order="nested")
    return np.column_stack([at_lon.deg, at_lat.deg]), np.array(values)


def test_a_source_is_where_the_field_has_it_and_of_the_colour_that_it_has_there(drawn_field):
    folder, places = drawn_field
    field, picture = open_field(folder), whole_picture(folder)
    wcs = field.plan.wcs(field.info)
    for x, y in places[[0, 7, 21]]:
        ra, dec = wcs.wcs_pix2world(x, y, 0)
        at, values = pixels_near(folder / "hips", float(ra), float(dec), 11, 4 * 0.25 / 3600)
        sky = np.median(picture[..., :3].reshape(-1, 3), 0).sum()
        light = np.clip(values[:, :3].sum(1) - sky, 0, None) ** 2.0
        xs, ys = wcs.wcs_world2pix(at, 0).T
        assert np.hypot((xs * light).sum() / light.sum() - x, (ys * light).sum() / light.sum() - y) < 0.25
        # a pixel of the HiPS that lies on the centre of one of the field's has its colour
        away = np.hypot(xs - xs.round(), ys - ys.round())
        close = np.argsort(away)[:5]
        theirs = picture[ys[close].round().astype(int), xs[close].round().astype(int)]
        allowed = 3 + 255 * away[close].max()  # what a source of σ = 2 pixels changes by on the way
        assert np.abs(values[close].astype(int) - theirs).max() <= allowed


def test_neighbouring_tiles_have_no_seam(drawn_field):
    field, picture = open_field(drawn_field[0]), whole_picture(drawn_field[0]).astype(int)
    colours = colours_of(field)
    field = replace(field, plan=replace(field.plan, centre=(0.0, 0.0)))  # where four tiles of every order meet
    tiles = HipsTiles(field, colours, drawn_field[0], order_of(field))
    around = [(1e-6, 0), (-1e-6, 0), (0, 1e-6), (0, -1e-6)]
    numbers = {int(lonlat_to_healpix(lon * u.deg, lat * u.deg, 2**11, order="nested")) for lon, lat in around}
    centres = (np.arange(SIDE) + 0.5) / SIDE
    assert len(numbers) == 4
    for number in numbers:
        drawn = tiles.drawn(Node(11, number)).astype(int)
        x, y = tiles._pixels(Node(11, number), centres[:, None], centres)
        on = drawn[..., 3] == 255
        assert np.array_equal(on, (np.abs(x - 139.5) < 140) & (np.abs(y - 99.5) < 100))
        near = (np.hypot(x - x.round(), y - y.round()) < 0.05) & on
        theirs = picture[y[near].round().astype(int), x[near].round().astype(int)]
        assert near.sum() > 50
        assert np.abs(drawn[near] - theirs).max() < 16


@pytest.mark.parametrize("centre", [(0.0, 0.0), (45.0, 41.8), (10.0, 89.9)])
def test_a_tile_reads_a_window_of_its_own_size_however_large_the_field(drawn_field, monkeypatch, centre):
    small = open_field(drawn_field[0])
    asked = []

    def flux(field, rows, columns, bands):
        shape = rows.stop - rows.start, columns.stop - columns.start
        assert min(rows.start, columns.start) >= 0 and max(rows.stop, columns.stop) <= 90_000
        asked.append(shape)
        return np.zeros((len(bands), *shape), np.float32)

    colours = colours_of(small)
    monkeypatch.setattr(TiledField, "flux", flux)
    monkeypatch.setattr(Colours, "picture", lambda colours, flux, good=None: np.zeros((*flux.shape[1:], 4), np.uint8))
    field = replace(small, plan=replace(small.plan, shape=(90_000, 90_000), centre=centre))
    tiles = HipsTiles(field, colours, drawn_field[0], order_of(field))
    ra, dec = tiles.wcs.wcs_pix2world([5.0, 44_999.0, 81_000.0], [12.0, 44_999.0, 30_000.0], 0)
    for cell in lonlat_to_healpix(ra * u.deg, dec * u.deg, 2**tiles.depth, order="nested"):
        nodes = [Node(tiles.depth - up, int(cell) >> 2 * up) for up in range(tiles.depth + 1)]
        assert all(tiles.holds(node) for node in nodes)
        tiles.drawn(nodes[0])
    page = PageTiles(field, colours, drawn_field[0])
    page.drawn(Node(page.depth, place_of(100, 3, page.depth)))
    assert len(asked) == 4
    assert max(map(max, asked)) <= 1.1 * 2 * 1.07 / 1.02 * SIDE + 26  # the longest way across a cell of HEALPix


def test_the_coverage_is_the_field(drawn_field):
    folder = drawn_field[0]
    with fits.open(folder / "hips" / "Moc.fits") as hdus:
        unique, header = hdus[1].data["UNIQ"], hdus[1].header
    assert (header["PIXTYPE"], header["ORDERING"], header["COORDSYS"]) == ("HEALPIX", "NUNIQ", "C")
    orders = np.floor(np.log2(unique / 4) / 2).astype(int)
    assert orders.max() <= header["MOCORDER"] == int(properties(folder)["moc_order"])
    area = (np.pi / 3 / 4.0**orders).sum() * np.degrees(1) ** 2
    field = 200 * 280 * (0.25 / 3600) ** 2
    cell = np.degrees(np.sqrt(np.pi / 3)) / 2 ** int(header["MOCORDER"])
    assert field <= area < field + 2 * (200 + 280) * 0.25 / 3600 * cell
    assert float(properties(folder)["moc_sky_fraction"]) == pytest.approx(area / 41252.96, rel=1e-4)


# The page


def test_the_pictures_put_together_are_the_composite_and_each_level_halves(drawn_field):
    folder, _ = drawn_field
    expected = whole_picture(folder)[::-1, :, :3]
    with Image.open(folder / "page" / "0" / "0_0.jpg") as tile:
        found = np.asarray(tile).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 2  # JPEG


def test_levels_of_a_larger_field(field_drawn, tmp_path):
    folder, _ = field_drawn(tmp_path / "field", shape=(1030, 61), tile=1024)
    page = sl.field_page(folder)
    expected = whole_picture(folder)[::-1]
    for level, shape in ((2, (1030, 61)), (1, (515, 31)), (0, (258, 16))):
        whole = np.zeros((*shape, 3), np.uint8)
        files = [*(page.parent / "page" / str(level)).iterdir()]
        assert len(files) == -(-shape[0] // SIDE) * -(-shape[1] // SIDE)
        for path in files:
            row, column = map(int, path.stem.split("_"))
            with Image.open(path) as tile:
                part = np.asarray(tile)
            whole[row * SIDE :, column * SIDE :][: part.shape[0], : part.shape[1]] = part
        assert np.abs(whole.astype(int) - expected[..., :3]).mean() < 3  # JPEG
        h, w = (side + side % 2 for side in expected.shape[:2])
        expected = halved(np.pad(expected, ((0, h - expected.shape[0]), (0, w - expected.shape[1]), (0, 0))))


def config(page):
    return json.loads(re.search(r'<script type="application/json" id="field">(.*?)</script>', page, re.S)[1])


def test_the_page_loads_nothing_from_elsewhere_and_knows_the_field(drawn_field):
    folder, places = drawn_field
    page = (folder / "index.html").read_text(encoding="utf-8")
    loaded = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert loaded and all((folder / name).exists() for name in loaded)
    assert not re.findall(r"""(?:src|href)=["']?https?:|url\(|@import|fetch\(|XMLHttpRequest|import\(""", page)
    facts = config(page)
    assert [facts[key] for key in ("width", "height", "tile", "depth", "scale")] == [280, 200, 512, 0, 0.25]
    assert facts["centre"] == [150.0, 2.2]
    found = np.array([source[:2] for source in facts["sources"]])
    apart = np.hypot(*(found[:, None] - places).transpose(2, 0, 1)).min(0)
    assert (apart < 0.3).mean() > 0.9
    assert "no pixel is real" in page
    assert "OpenSeadragon contributors" in (folder / "page" / "openseadragon.LICENSE.txt").read_text()


def test_a_capped_list_of_sources_says_so(drawn_field, monkeypatch, tmp_path):
    folder = shutil.copytree(drawn_field[0], tmp_path / "field")
    monkeypatch.setattr(page_room, "SHOWN", 5)
    page = sl.field_page(folder).read_text(encoding="utf-8")
    assert len(config(page)["sources"]) == 5
    assert re.search(r"marks the 5 of highest S/N among \d\d sources", page)


def test_no_text_of_a_field_becomes_markup(field_drawn, tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    folder, _ = field_drawn(tmp_path / "field", source=evil, shape=(200, 200), tile=200)
    page = sl.field_page(folder).read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<img" not in page
    assert "&lt;/script&gt;" in page
    assert "<" not in page_room._inline({"source": evil})
    assert json.loads(page_room._inline({"source": evil})) == {"source": evil}


# What stands against it


def test_without_a_pixel_scale_there_is_a_page_and_no_hips(field_drawn, tmp_path):
    folder, _ = field_drawn(tmp_path / "field", pixel_scale=None, shape=(200, 200), tile=200)
    page = sl.field_page(folder).read_text(encoding="utf-8")
    assert config(page)["scale"] is None and "not known, so no position on the sky" in page
    with pytest.raises(RequestError, match=r"no pixel scale, so no place on the sky.*--pixel-scale"):
        sl.hips(folder)
    assert not (folder / "hips").exists()


@pytest.mark.parametrize(("tiles", "made", "name"), [(HipsTiles, sl.hips, "hips"), (PageTiles, sl.field_page, "page")])
def test_an_interruption_leaves_nothing(drawn_field, tmp_path, monkeypatch, tiles, made, name):
    folder = shutil.copytree(drawn_field[0], tmp_path / "field", ignore=shutil.ignore_patterns("hips", "page"))
    save = tiles.save

    def full(self, node, picture):
        save(self, node, picture)
        raise OSError("no space left on device")

    monkeypatch.setattr(tiles, "save", full)
    with pytest.raises(StoreError, match="no space left"):
        made(folder)
    assert not (folder / name).exists() and not [*folder.glob(".*")]


def test_a_call_that_was_killed_is_done_anew(drawn_field, tmp_path):
    folder = shutil.copytree(drawn_field[0], tmp_path / "field", ignore=shutil.ignore_patterns("hips", "page"))
    (folder / ".page.draft" / "0").mkdir(parents=True)
    (folder / ".page.draft" / "0" / "7_7.jpg").write_bytes(b"half a")
    sl.field_page(folder)
    assert digests(folder / "page") == digests(drawn_field[0] / "page") and not [*folder.glob(".*")]


def test_what_is_there_is_left_as_it_is(drawn_field, monkeypatch):
    monkeypatch.setattr(hips_room, "draw", None)
    monkeypatch.setattr(page_room, "draw", None)
    before = digests(drawn_field[0])
    sl.hips(drawn_field[0])
    sl.field_page(drawn_field[0])
    assert digests(drawn_field[0]) == before


def test_an_unfinished_field_and_a_folder_without_one_are_refused(drawn_field, tmp_path):
    folder = shutil.copytree(drawn_field[0], tmp_path / "field", ignore=shutil.ignore_patterns("hips", "catalogue*"))
    for make in (sl.hips, sl.field_page):
        with pytest.raises(RequestError, match="run the same skyloom field again"):
            make(folder)
        with pytest.raises(RequestError, match="holds no field"):
            make(tmp_path / "nothing")


def test_a_disk_that_is_too_small_is_said_before_the_work(drawn_field, tmp_path, monkeypatch):
    folder = shutil.copytree(drawn_field[0], tmp_path / "field", ignore=shutil.ignore_patterns("hips", "page"))
    monkeypatch.setattr(destination.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 1000))
    for make in (sl.hips, sl.field_page):
        with pytest.raises(RequestError, match="make room"):
            make(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["catalogue.parquet", "field.json", "index.html", "tiles"]


@pytest.mark.slow
def test_several_processes_make_the_same(drawn_field, tmp_path, monkeypatch):
    folder = shutil.copytree(drawn_field[0], tmp_path / "field", ignore=shutil.ignore_patterns("hips", "page"))
    monkeypatch.setattr(workers, "cores", lambda: 2)
    sl.field_page(folder)
    sl.hips(folder)
    for name in ("page", "hips"):
        assert digests(folder / name) == digests(drawn_field[0] / name)
