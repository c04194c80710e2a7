"""Every way in which a user has masks: columns, FITS and NumPy files, folders, an export with its MASK edited."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import skyloom as sl
from skyloom.data import store
from skyloom.data.export import export
from skyloom.errors import RequestError, SourceError
from skyloom.infer.masks import masks_of

H, W, N = 7, 5, 4
INFO = sl.SurveyInfo((sl.Band("g"), sl.Band("r")), (H, W))
RNG = np.random.default_rng(0)
EACH = RNG.random((N, 2, H, W)) < 0.3  # one per object and band
IDS = [f"M{k}/ü" for k in range(N)]


def cutouts():
    for number, name in enumerate(IDS):
        flux = RNG.normal(size=(2, H, W)).astype(np.float32)
        ivar = (RNG.random(flux.shape) > 0.2).astype(np.float32)
        flat = {"flat": EACH[number].ravel(), "numbers": EACH[number].ravel().astype(np.float32)}
        rows = {"rows": EACH[number, 0].tolist(), "one_band": EACH[number, 0].ravel().astype(np.int32)}
        some = {"some": None if number else EACH[0].ravel(), "mag": 20.0, "short": [1, 0, 1]}
        yield sl.Cutout(name, flux, ivar, ra=10.0 + number, dec=0.0, columns={**flat, **rows, **some})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return store.write(tmp_path_factory.mktemp("masks") / "in.lance", INFO, cutouts())


@pytest.fixture
def survey(written, tmp_path):
    return sl.open(shutil.copytree(written.path, tmp_path / "in.lance"))


def read(mask, survey):
    return [masks_of(mask, survey).of(cutout) for cutout in survey.read()]


def assert_same(found, wanted):
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours is None and theirs is None) or (ours.dtype == bool and np.array_equal(ours, theirs))


BOTH = np.repeat(EACH[:, :1], 2, axis=1)  # the first band's mask for both


@pytest.mark.parametrize(("name", "wanted"), [("flat", EACH), ("numbers", EACH), ("rows", BOTH), ("one_band", BOTH)])
def test_a_column_holds_pixels_flat_or_in_rows(survey, name, wanted):
    assert_same(read(name, survey), wanted)


def test_an_object_without_a_value_has_nothing_to_fill(survey):
    assert_same(read("some", survey), [EACH[0], None, None, None])


def test_bad_pixels_are_those_without_weight(survey):
    assert_same(read("bad", survey), [cutout.ivar == 0 for cutout in survey.read()])


SHAPED = [
    (EACH[0, 0], [np.stack([EACH[0, 0]] * 2)] * N),  # (h, w): one for all
    (EACH[0], [EACH[0]] * N),  # (c, h, w): one for all
    (EACH[:1], [EACH[0]] * N),  # (1, c, h, w)
    (EACH[:, 0], BOTH),  # (n, h, w): one each
    (EACH[:, :1], BOTH),  # (n, 1, h, w)
    (EACH, EACH),  # (n, c, h, w)
]


@pytest.mark.parametrize(("array", "wanted"), SHAPED)
@pytest.mark.parametrize("form", ["array", "npy", "npz", "fits"])
def test_an_array_or_file_is_for_all_or_for_each(survey, tmp_path, array, wanted, form):
    path = tmp_path / f"masks.{form}"
    if form == "npy":
        np.save(path, array)
    elif form == "npz":
        np.savez(path, mask=array)
    elif form == "fits":
        fits.PrimaryHDU(array.astype(np.uint8)).writeto(path)
    assert_same(read(array if form == "array" else path, survey), wanted)


@pytest.mark.parametrize("form", ["npz", "fits"])
def test_names_beside_the_masks_decide(survey, tmp_path, form):
    order = [2, 0]
    names = np.array([IDS[k] for k in order] + ["not in the survey"])
    array = np.concatenate([EACH[order], EACH[:1]])
    path = tmp_path / f"masks.{form}"
    if form == "npz":
        np.savez(path, mask=array, object_id=names)
        wanted = [EACH[0], None, EACH[2], None]
    else:
        names = np.array(["M0", "M2", "x"])  # FITS tables hold ASCII
        hdus = [
            fits.PrimaryHDU(),
            fits.ImageHDU(EACH[[0, 2, 1]].astype(np.uint8)),
            fits.table_to_hdu(Table({"OBJECT_ID": names})),
        ]
        fits.HDUList(hdus).writeto(path)
        renamed = (replace(cutout, object_id=cutout.object_id[:2]) for cutout in survey.read())
        survey = store.write(tmp_path / "ascii.lance", INFO, renamed)
        wanted = [EACH[0], None, EACH[2], None]
    assert_same(read(path, survey), wanted)


def test_a_folder_has_a_file_per_object(survey, tmp_path):
    folder = tmp_path / "masks"
    export(survey, tmp_path / "files")
    places = {file.name for file in (tmp_path / "files").glob("M*.fits")}
    folder.mkdir()
    for number, place in enumerate(sorted(places)[:2]):
        fits.PrimaryHDU(EACH[number].astype(np.int16)).writeto(folder / place)
    np.save(folder / sorted(places)[2].replace(".fits", ".npy"), EACH[2, 0])
    (folder / "README.txt").write_text("masks")
    assert_same(read(folder, survey), [EACH[0], EACH[1], BOTH[2], None])


def test_an_export_with_its_mask_planes_edited_is_such_a_folder(survey, tmp_path):
    export(survey, tmp_path / "files")
    for number, file in enumerate(sorted((tmp_path / "files").glob("M*.fits"))):
        with fits.open(file, mode="update") as hdus:
            for band in range(2):
                hdus["MASK", band + 1].data = EACH[number, band].astype(np.uint8)
    assert_same(read(tmp_path / "files", survey), EACH)


def refused(survey, tmp_path):
    np.save(tmp_path / "wrong.npy", np.zeros((3, 3)))
    np.save(tmp_path / "few.npy", np.zeros((3, H, W)))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    np.save(tmp_path / "gap.npy", np.full((H, W), np.nan))
    np.savez(tmp_path / "two.npz", one=np.zeros((H, W)), two=np.zeros((H, W)))
    np.savez(tmp_path / "lost.npz", mask=EACH, object_id=np.array(list("abcd")))
    np.savez(tmp_path / "twice.npz", mask=EACH, object_id=np.array([IDS[0]] * 4))
    (tmp_path / "note.txt").write_text("no mask")
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  =")
    (tmp_path / "empty").mkdir()
    return {
        "wrong.npy": (RequestError, r"shape \(3, 3\) and the survey 4 × \(2, 7, 5\)"),
        "few.npy": (RequestError, "3 masks for 4 objects"),
        "text.npy": (RequestError, "made of numbers"),
        "gap.npy": (RequestError, "without NaN"),
        "two.npz": (SourceError, "one, two"),
        "lost.npz": (RequestError, "none of its object_id"),
        "twice.npz": (RequestError, "one each"),
        "note.txt": (SourceError, "a mask ends in"),
        "broken.fits": (SourceError, "broken.fits"),
        "empty": (RequestError, "named after an object"),
        "nothing.fits": (RequestError, "no such file or folder"),
    }


def test_masks_that_cannot_be_used_are_refused_with_the_reason(survey, tmp_path):
    for name, (kind, reason) in refused(survey, tmp_path).items():
        with pytest.raises(kind, match=reason):
            read(tmp_path / name, survey)


@pytest.mark.parametrize(("name", "reason"), [("mag", "shape"), ("short", r"shape \(3,\)"), ("flux", "no mask 'flux'")])
def test_a_column_that_is_no_mask_is_refused(survey, name, reason):
    with pytest.raises(RequestError, match=reason):
        read(name, survey)


def test_one_per_object_or_one_per_band_is_not_guessed(survey, tmp_path):
    two = store.write(tmp_path / "two.lance", INFO, list(survey.read())[:2])
    with pytest.raises(RequestError, match="each of 2 objects or for each of 2 bands"):
        masks_of(EACH[0], two)
    assert_same(read(EACH[:1], two), [EACH[0]] * 2)


def test_a_file_in_a_folder_of_the_wrong_shape_is_named(survey, tmp_path):
    folder = tmp_path / "masks"
    export(survey, tmp_path / "files")
    folder.mkdir()
    name = next(file.name for file in (tmp_path / "files").glob("M*.fits"))
    fits.PrimaryHDU(np.zeros((3, 3), np.uint8)).writeto(folder / name)
    with pytest.raises(RequestError, match=r"shape \(3, 3\) and the images \(2, 7, 5\)"):
        read(folder, survey)
