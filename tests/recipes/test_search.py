"""What is found is like what was asked for: an object, an image in other pixels and seeing, a drawing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

import skyloom as sl
from skyloom.data import store
from skyloom.data.tables import read_table
from skyloom.errors import CatalogueError, RequestError, StoreError
from skyloom.infer.query import as_seen, likeness

KINDS, SIDE, NOISE = ("round", "long", "pair"), 32, 0.5  # of the survey that conftest.py draws
K = 8


def kinds(table, query):
    return [row["object_id"].split("-")[0] for row in table.to_pylist() if row["query"] == query]


@pytest.mark.parametrize("with_", [None, "pixels"])
def test_an_object_finds_its_own_kind_and_not_itself(embedded, with_):
    asked = [f"{kind}-3" for kind in KINDS]
    table = sl.search(embedded, asked, K, with_=with_)
    for kind, query in zip(KINDS, asked, strict=True):
        assert np.mean([one == kind for one in kinds(table, query)]) >= 0.75, query
    rows = table.to_pylist()
    assert len(rows) == 3 * K and all(row["object_id"] != row["query"] for row in rows)
    assert [row["rank"] for row in rows] == 3 * list(range(1, K + 1))
    assert all(one["distance"] <= two["distance"] for one, two in pairwise(rows) if two["rank"] > 1)
    assert (rows[0]["ra"], rows[0]["dec"]) == (10 + 0.01 * int(rows[0]["object_id"].split("-")[1]), -5.0)


@pytest.mark.parametrize("with_", [None, "pixels"])
def test_only_objects_that_pass_are_found(embedded, with_):
    table = sl.search(embedded, "round-3", 50, with_=with_, where="mag < 5 AND dec > -4.995")
    assert {row["object_id"] for row in table.to_pylist()} == {f"{kind}-{n}" for kind in KINDS[1:] for n in range(5)}


def write_fits(path, planes, scale, seeing):
    """An image of one object, band by band, with pixels and seeing of its own."""
    hdus = [fits.PrimaryHDU()]
    for band, plane in planes.items():
        cards = fits.Header({"MAGZERO": 22.5, "FILTER": band, "SEEING": seeing, "BUNIT": "nanomaggy"})
        cards.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 0.0, "CRPIX1": 1.0,
                      "CRPIX2": 1.0, "CDELT1": -scale / 3600, "CDELT2": scale / 3600})  # fmt: skip
        hdus.append(fits.ImageHDU(plane.astype(np.float32), cards, name=band))
    fits.HDUList(hdus).writeto(path)
    return path


def foreign(path, kind, light_of, bands="gri", finer=2):
    """A galaxy in pixels half as large, with less noise."""
    light = light_of(kind, 4, scale=finer, size=finer * SIDE)
    rng = np.random.default_rng(9)
    planes = {band: (1 + "gri".find(band)) * light + rng.normal(0, 0.05, light.shape) for band in bands}
    return write_fits(path, planes, 0.2 / finer, 0.4)


@pytest.mark.parametrize("with_", ["encoder", "pixels"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_from_elsewhere_finds_its_kind(embedded, encoder, tmp_path, light_of, kind, with_):
    image = foreign(tmp_path / "elsewhere.fits", kind, light_of)
    table = sl.search(embedded, image, 5, with_=encoder if with_ == "encoder" else with_)
    assert np.mean([one == kind for one in kinds(table, "elsewhere")]) >= 0.8
    notes = table.schema.metadata[b"notes"].decode()
    assert "Resampled from pixels of 0.1 arcsec to 0.2" in notes


def test_an_image_takes_the_pixels_noise_and_light_of_the_survey(galaxies, tmp_path, light_of):
    image = foreign(tmp_path / "elsewhere.fits", "round", light_of)
    ((seen,),), _ = as_seen(image, galaxies)
    assert seen.flux.shape == (3, SIDE, SIDE)
    assert seen.flux.sum((1, 2)) == pytest.approx(4800 * np.array([1, 2, 3]), rel=0.05)
    edge = np.concatenate([seen.flux[:, :4].reshape(3, -1), seen.flux[:, -4:].reshape(3, -1)], 1)
    assert edge.std(1) == pytest.approx([NOISE] * 3, rel=0.2)
    ((again,),), _ = as_seen(image, galaxies)
    assert (seen.flux == again.flux).all()


def test_a_narrower_psf_is_widened_and_a_wider_one_is_named(galaxies, tmp_path):
    y, x = np.indices((SIDE, SIDE)) - 15.5
    star = np.exp(-0.5 * (x**2 + y**2) / (0.4 / 0.2 / 2.3548) ** 2)
    flux = np.tile(1e5 * star / star.sum(), (3, 1, 1)).astype(np.float32)
    for seeing, widened in ((0.4, True), (1.1, False)):
        bands = tuple(replace(band, psf_fwhm=seeing) for band in galaxies.info.bands)
        one = sl.Cutout(
            "star", flux, np.full_like(flux, 1e6), sky=np.zeros(3, np.float32), sky_rms=np.full(3, 1e-3, np.float32)
        )
        other = store.write(tmp_path / f"{seeing}.lance", replace(galaxies.info, bands=bands), [one])
        ((seen,),), notes = as_seen(other, galaxies)
        light = seen.flux[1].astype(float)
        width = 2.3548 * 0.2 * np.sqrt((light * x**2)[8:-8, 8:-8].sum() / light[8:-8, 8:-8].sum())
        assert width == pytest.approx(0.7 if widened else 0.4, rel=0.05)
        assert any(("Blurred to the PSF" if widened else "cannot be undone") in note for note in notes)


def test_bands_are_reconciled_or_refused(embedded, encoder, tmp_path, light_of):
    image = foreign(tmp_path / "two.fits", "long", light_of, bands="rz")
    table = sl.search(embedded, image, 5, with_=encoder)
    notes = table.schema.metadata[b"notes"].decode()
    assert "left out: z" in notes and "g from r, i from r" in notes and kinds(table, "two").count("long") >= 4
    with pytest.raises(RequestError, match=r"has bands H, K and galaxies\.lance has g, r, i"):
        sl.search(embedded, foreign(tmp_path / "red.fits", "long", light_of, bands="HK"), 5, with_=encoder)


def sketch(path, kind):
    """Ink on paper, shaded: a round blot, a stroke, or two blots."""
    y, x = np.indices((256, 256)) - 127.5
    if kind == "pair":
        radius = np.minimum(np.hypot(x - 32, y), np.hypot(x + 32, y)) / 12
    else:
        radius = np.hypot(x, y / (0.95 if kind == "round" else 0.2)) / 24
    Image.fromarray((250 - 240 * np.exp(-radius)).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("with_", "drawn"), [("encoder", KINDS[:2]), ("pixels", KINDS)])
def test_a_sketch_finds_what_it_shows(embedded, encoder, tmp_path, with_, drawn):
    for kind in drawn:
        file = sketch(tmp_path / f"{kind}.png", kind)
        table = sl.search(embedded, file, 5, with_=encoder if with_ == "encoder" else with_)
        assert kinds(table, kind).count(kind) >= 3, kind


def test_objects_and_images_may_be_asked_for_together(embedded, encoder, tmp_path):
    table = sl.search(embedded, [sketch(tmp_path / "drawn.png", "pair"), "round-2"], 3, with_=encoder)
    assert list(dict.fromkeys(table["query"].to_pylist())) == ["round-2", "drawn"]


def test_results_are_written_by_their_endings(embedded, tmp_path):
    mocpy, units = pytest.importorskip("mocpy"), pytest.importorskip("astropy.units")
    out = [tmp_path / name for name in ("near.parquet", "near.ecsv", "near.png", "near.html", "near.moc.fits")]
    table = sl.search(embedded, ["round-3", "pair-1"], 4, out=out)
    assert read_table(out[0]).equals(table, check_metadata=True)
    with Image.open(out[2]) as image:
        assert image.size[0] == pytest.approx(5 * 1.05 * 150, rel=0.01)
    page = out[3].read_text()
    assert page.count("<image") == 10 and "pair-1" in page and table["object_id"][0].as_py() in page
    moc = mocpy.MOC.from_fits(str(out[4]))
    places = [(row["ra"], row["dec"]) for row in table.to_pylist()]
    assert moc.contains_lonlat(*(np.array(each) * units.deg for each in zip(*places, strict=True))).all()
    assert not moc.contains_lonlat(np.array([10.0, 20.0]) * units.deg, np.array([5.0, -5.0]) * units.deg).any()


def test_what_cannot_be_searched_is_refused_before_anything_is_written(embedded, encoder, galaxies, tmp_path):
    for wrong in ("nobody", tmp_path / "absent.png"):
        with pytest.raises(CatalogueError, match=r"neither an object of galaxies\.lance nor a file"):
            sl.search(embedded, wrong)
    with pytest.raises(RequestError, match="ask for at least one"):
        sl.search(embedded, "round-1", 0)
    with pytest.raises(RequestError, match="holds no embedding other"):
        sl.search(embedded, "round-1", with_="other")
    with pytest.raises(RequestError, match="comes from other weights"):
        sl.search(embedded, "round-1", with_=replace(encoder, hash="f" * 16))
    with pytest.raises(RequestError, match=r"comes from other weights \(000000000000\) than random is now \(fff"):
        sl.search(embedded, sketch(tmp_path / "s.png", "pair"), with_=replace(encoder, hash="f" * 16))
    with pytest.raises(RequestError, match="results end in"):
        sl.search(embedded, "round-1", out=tmp_path / "near.txt")
    with pytest.raises(StoreError, match="there is no folder"):
        sl.search(embedded, "round-1", out=tmp_path / "nowhere" / "near.ecsv")
    with pytest.raises(RequestError, match="only objects of the survey"):
        sl.search(embedded, "round-1", transfer="galaxy-mock")
    with pytest.raises(RequestError, match="cannot be used"):
        sl.search(embedded, "round-1", where="no such column <")
    for with_ in (None, "pixels"):
        with pytest.raises(RequestError, match=r"no (other )?galaxy of galaxies\.lance passes mag > 99"):
            sl.search(embedded, "round-1", with_=with_, where="mag > 99")


def test_an_object_without_a_vector_says_so(galaxies, encoder):
    from skyloom.data.embeddings import keep_embeddings

    some = keep_embeddings(galaxies, "random", encoder.hash, ["round-1", "long-1"], np.eye(2, 4, dtype=np.float32))
    with pytest.raises(RequestError, match=r"pair-1 of galaxies\.lance have no vector"):
        sl.search(some, "pair-1")
    assert sl.search(some, "long-1")["object_id"].to_pylist() == ["round-1"]


def test_what_is_typical_of_a_survey_is_measured(galaxies):
    like = likeness(galaxies)
    assert like.noise == pytest.approx([NOISE] * 3, rel=0.1)
    assert like.light[1] > like.light[0] > 3000
