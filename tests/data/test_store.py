"""The store: what goes in comes out, bit for bit; a write happens whole or not at all; every fault has a name."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import skyloom as sl
from skyloom.data import directory, rows, store
from skyloom.data.pixels import pack_ivar, unpack_ivar
from skyloom.errors import CatalogueError, CutoutError, RequestError, StoreError

SOURCE = Path(sl.__file__).parents[1]
INFO = sl.SurveyInfo((sl.Band("g", unit="adu"), sl.Band("r", 22.5, 0.7, "nanomaggy")), (4, 6), 0.2, notes=("made up",))


def cutout(name, info=INFO, seed=None, **facts) -> sl.Cutout:
    shape = (len(info.bands), *info.shape)
    flux = np.random.default_rng(abs(hash(name)) if seed is None else seed).normal(size=shape).astype(np.float32)
    return sl.Cutout(str(name), flux, np.ones(shape, np.float32), **facts)


def several(n, first=0, **facts):
    return (cutout(f"o{number}", seed=number, **facts) for number in range(first, first + n))


def bits(array) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def same(one: sl.Cutout, other: sl.Cutout) -> bool:
    return (
        one.object_id == other.object_id and bits(one.flux) == bits(other.flux) and bits(one.ivar) == bits(other.ivar)
    )


def files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


# ---- what goes in comes out

patterns = st.integers(0, 2**32 - 1)  # every float32 there is: NaN payloads, infinities, -0, subnormals
weights = st.one_of(st.just(0.0), st.just(4.0), st.floats(0, 2.0**100, width=32))
variances = arrays(np.float32, (2, 4, 6), elements=weights)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(arrays(np.uint32, (2, 4, 6), elements=patterns), variances), max_size=4))
def test_every_bit_of_a_pixel_comes_back(tmp_path, pixels):
    def made():
        for number, (pattern, ivar) in enumerate(pixels):
            flux = pattern.view(np.float32).copy()
            yield sl.Cutout(f"o{number}", flux, np.where(np.isfinite(flux), ivar, np.float32(0)))

    path = tmp_path / "bits.lance"
    shutil.rmtree(path, ignore_errors=True)
    survey = store.write(path, INFO, made())
    assert all(map(same, made(), survey.read())) and len(survey) == len(pixels)
    flux, ivar = survey.cutouts_at(range(len(pixels)))
    assert all(bits(flux[n]) == bits(c.flux) and bits(ivar[n]) == bits(c.ivar) for n, c in enumerate(made()))
    survey.verify()


@given(arrays(np.float32, (2, 5, 3), elements=st.one_of(weights, st.sampled_from([-0.0, float("inf"), 2.0**-149]))))
def test_packed_variances_come_back_exactly(ivar):
    out = np.full_like(ivar, np.nan)
    unpack_ivar(pack_ivar(ivar), out)
    assert bits(out) == bits(ivar)


def test_variances_that_are_one_number_per_band_take_little_room():
    ivar = np.ones((3, 256, 256), np.float32) * np.float32([1, 2, 3])[:, None, None]
    assert len(pack_ivar(ivar)) < 20
    ivar[:, 5:9, 5:9] = 0
    assert len(pack_ivar(ivar)) < ivar.nbytes / 30


def test_everything_else_comes_back_too(tmp_path):
    sky, rms = np.float32([1.5, np.nan]), np.float32([0.1, 0.2])
    facts = {"ra": 12.3, "dec": -4.5, "tile": "t é", "wcs": "CRPIX1  =  3.0", "sky": sky, "sky_rms": rms}
    columns = {"mag": 20.5, "n": 3, "kind": "spiral", "good": True, "profile": np.array([1.0, np.nan, 3.0])}
    survey = store.write(tmp_path / "s.lance", INFO, [cutout("a", columns=columns, **facts), cutout("b")])
    full, bare = survey.read()
    assert survey.info == INFO
    for name, value in facts.items():
        np.testing.assert_array_equal(getattr(full, name), value)
        assert name == "tile" or getattr(bare, name) is None
    for name, value in columns.items():
        np.testing.assert_array_equal(full.columns[name], value)
        assert bare.columns[name] is None
    assert full.flux.flags.writeable and full.sky.dtype == np.float32


def test_a_column_that_starts_empty_finds_its_type(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BATCH_ROWS", 3)
    values = [None] * 7 + ["spiral", None, "elliptical"]
    made = (cutout(f"o{n}", columns={"kind": value, "never": None, "n": n}) for n, value in enumerate(values))
    table = store.write(tmp_path / "s.lance", INFO, made).table()
    assert table["kind"].to_pylist() == values and table["n"].to_pylist() == list(range(10))
    assert table["never"].null_count == 10


def test_an_empty_survey_is_a_survey(tmp_path):
    survey = store.write(tmp_path / "s.lance", INFO, [])
    assert len(survey) == 0 and not list(survey.read()) and len(survey.table()) == 0
    assert len(store.write(tmp_path / "s.lance", INFO, several(2), append=True)) == 2


@pytest.mark.parametrize("name", ["with space.lance", "Größe ★ %20#?.lance", "no-suffix", "deep/er/s.lance"])
def test_any_path_will_do(tmp_path, name):
    store.write(tmp_path / name, INFO, several(3))
    assert len(store.write(tmp_path / name, INFO, several(3, first=3), append=True)) == 6
    sl.open(tmp_path / name).verify()


# ---- reading


@pytest.fixture
def survey(tmp_path) -> sl.Survey:
    made = (
        cutout(f"o{n}", seed=n, ra=float(n), dec=0.0, tile=f"t{n % 2}", columns={"mag": 20.0 + n}) for n in range(20)
    )
    return store.write(tmp_path / "twenty.lance", INFO, made)


def test_reading_filters_by_sql_and_by_id(survey):
    assert [c.object_id for c in survey.read("mag < 22 AND tile = 't1'")] == ["o1"]
    assert [c.object_id for c in survey.read(ids=["o7", "o3", "o7"])] == ["o7", "o3", "o7"]
    assert [c.object_id for c in survey.read("mag < 30", ids=["o7", "o3"])] == ["o7", "o3"]
    assert [c.object_id for c in survey.read()] == [f"o{n}" for n in range(20)]


@pytest.mark.parametrize("order", [[5, 2, 9], [3, 3, 0, 3], [], range(19, -1, -1)])
def test_random_access_gives_the_rows_asked_for_in_that_order(survey, order, monkeypatch):
    monkeypatch.setattr(store, "TAKE_BYTES", 600)  # three rows at a time
    everything = list(survey.read())
    flux, ivar = survey.cutouts_at(order)
    assert flux.shape == ivar.shape == (len(order), 2, 4, 6)
    assert all(bits(flux[place]) == bits(everything[row].flux) for place, row in enumerate(order))


def test_random_access_fills_the_buffers_it_is_given(survey):
    flux, ivar = np.full((2, 2, 4, 6), 9, np.float32), np.full((2, 2, 4, 6), 9, np.float32)
    got = survey.cutouts_at([1, 0], flux, ivar)
    assert got[0] is flux and got[1] is ivar and (ivar == 1).all()
    with pytest.raises(RequestError, match="float32"):
        survey.cutouts_at([1], flux, ivar)


@pytest.mark.parametrize("bad", [[20], [-1]])
def test_rows_that_are_not_there_are_refused(survey, bad):
    with pytest.raises(RequestError, match="0 to 19"):
        survey.cutouts_at(bad)


def test_the_catalogue_leaves_the_pixels_out(survey):
    table = survey.table()
    assert "flux" not in table.column_names and "ivar" not in table.column_names and "mag" in table.column_names
    assert survey.table(["mag"], "mag > 38")["mag"].to_pylist() == [39.0]
    assert survey.table(["flux"])["flux"].type.list_size == 48


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda s: s.table(["nope"]), CatalogueError, "no column nope; it has object_id"),
        (lambda s: s.table(where="nope > 3"), RequestError, "nope"),
        (lambda s: s.table(where="mag >"), RequestError, "mag >"),
        (lambda s: list(s.read(ids=["o1", "who"])), CatalogueError, "1 of 2 ids .* 'who'"),
        (lambda s: list(s.read("mag > 30", ids=["o1"])), CatalogueError, "'o1'"),
    ],
)
def test_a_question_that_has_no_answer_is_refused(survey, ask, error, words):
    with pytest.raises(error, match=words):
        ask(survey)


def test_a_survey_seen_before_a_write_stays_as_it_was(survey):
    before = survey.table()
    stream = survey.read()
    next(stream)
    store.write(survey.path, INFO, several(5, first=20), append=True)
    survey.add_columns(pa.table({"object_id": ["o1"], "mag": [0.0]}))
    assert survey.table().equals(before) and len(list(stream)) == 19
    assert len(sl.open(survey.path)) == 25


def test_a_reader_during_a_write_sees_the_old_version(survey):
    def slowly():
        for new in several(4, first=20):
            assert len(sl.open(survey.path)) == 20
            yield new

    assert len(store.write(survey.path, INFO, slowly(), append=True)) == 24


# ---- other processes


def first_pixels(survey: sl.Survey, row: int) -> bytes:
    return bits(survey.cutouts_at([row])[0])


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_survey_travels_to_another_process(survey, method):
    here = first_pixels(survey, 3)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(first_pixels, (survey, 3)) == here


def test_a_pickled_survey_is_a_path_and_a_version(survey):
    assert len(pickle.dumps(survey)) < 2000
    store.write(survey.path, INFO, several(1, first=20), append=True)
    assert len(pickle.loads(pickle.dumps(survey))) == 20


def test_a_second_writer_is_turned_away(survey):
    def stream():
        with pytest.raises(StoreError, match="another process"):
            store.write(survey.path, INFO, several(1, first=30), append=True)
        yield from several(1, first=20)

    assert len(store.write(survey.path, INFO, stream(), append=True)) == 21


# ---- writing more


def test_appending_gives_what_writing_at_once_gives(tmp_path):
    at_once = store.write(tmp_path / "a.lance", INFO, several(7))
    store.write(tmp_path / "b.lance", INFO, several(3))
    in_two = store.write(tmp_path / "b.lance", INFO, several(4, first=3), append=True)
    assert in_two.content_hash == at_once.content_hash and in_two.table().equals(at_once.table())
    in_two.verify()


def test_the_content_hash_knows_every_pixel_name_and_the_order(tmp_path):
    def hashed(name, cutouts):
        return store.write(tmp_path / name, INFO, cutouts).content_hash

    one, two = several(2)
    changed = sl.Cutout("o1", two.flux.copy(), two.ivar)
    changed.flux[0, 0, 0] = np.nextafter(changed.flux[0, 0, 0], np.float32(9))
    renamed = sl.Cutout("o2", two.flux, two.ivar)
    streams = {"a": [one, two], "b": [two, one], "c": [one, changed], "d": [one, renamed], "e": [one]}
    assert len({hashed(name, cutouts) for name, cutouts in streams.items()}) == 5


def test_new_columns_may_come_with_appended_rows(survey):
    more = store.write(survey.path, INFO, several(2, first=20, columns={"redshift": 0.5}), append=True)
    assert more.table()["redshift"].to_pylist() == [None] * 20 + [0.5] * 2
    assert more.table()["mag"].to_pylist()[-3:] == [39.0, None, None]
    more.verify()


def test_notes_of_appended_rows_are_kept(survey):
    more = store.write(survey.path, INFO.with_notes("second night"), several(1, first=20), append=True)
    assert more.info.notes == ("made up", "second night")


@pytest.mark.parametrize(
    "info",
    [
        sl.SurveyInfo(INFO.bands[::-1], INFO.shape, 0.2),
        sl.SurveyInfo(INFO.bands, (6, 4), 0.2),
        sl.SurveyInfo(INFO.bands, INFO.shape, 0.3),
        sl.SurveyInfo((sl.Band("g"), INFO.bands[1]), INFO.shape, 0.2),
    ],
)
def test_unlike_cutouts_do_not_share_a_survey(survey, info):
    with pytest.raises(RequestError, match="another survey"):
        store.write(survey.path, info, several(1, first=20), append=True)


def test_products_join_by_id_in_one_new_version(survey):
    embedding = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    products = pa.table(
        {"object_id": ["o5", "o2"], "embedding": embedding, "sma": [[1.0], [2.0, 3.0]], "mag": ["x", "y"]}
    )
    more = survey.add_columns(products)
    assert more.version == survey.version + 1 and more.content_hash == survey.content_hash
    table = more.table().to_pydict()
    assert table["embedding"][5] == [1, 2] and table["embedding"][2] == [3, 4] and table["embedding"][0] is None
    assert table["sma"][2] == [2, 3] and table["mag"][5] == "x" and table["mag"].count(None) == 18
    assert more.table(["embedding"])["embedding"].type == embedding.type
    assert more.table(["object_id"], "mag = 'y'")["object_id"].to_pylist() == ["o2"]
    again = more.add_columns(pa.table({"object_id": ["o5"], "sma": [[9.0]]}))
    assert again.table()["sma"].to_pylist()[2:6] == [None, None, None, [9.0]]
    more.verify()
    again.verify()
    assert store.write(survey.path, INFO, several(2, first=20), append=True).table()["embedding"].null_count == 20


def test_the_sky_may_be_measured_later(survey):
    sky = survey.add_columns(pa.table({"object_id": ["o1"], "sky": [[1.0, 2.0]], "sky_rms": [[3.0, 4.0]]}))
    np.testing.assert_array_equal(next(sky.read(ids=["o1"])).sky, [1, 2])
    with pytest.raises(CatalogueError, match="sky"):
        survey.add_columns(pa.table({"object_id": ["o1"], "sky": [[1.0]]}))


@pytest.mark.parametrize(
    ("products", "words"),
    [
        ({"mag": [1.0]}, "object_id"),
        ({"object_id": ["o1", "who"], "a": [1, 2]}, "'who'"),
        ({"object_id": ["o1", "o1"], "a": [1, 2]}, "twice"),
        ({"object_id": ["o1"], "flux": [1.0]}, "flux"),
        ({"object_id": ["o1"], "a.b": [1.0]}, "a.b"),
    ],
)
def test_products_that_do_not_fit_are_refused(survey, products, words):
    with pytest.raises(CatalogueError, match=words):
        survey.add_columns(pa.table(products))
    assert sl.open(survey.path).version == survey.version


# ---- streams that cannot be stored


@pytest.mark.parametrize(
    ("stream", "error", "words"),
    [
        (lambda: [cutout("a"), cutout("b"), cutout("a")], CatalogueError, "'a'"),
        (lambda: [cutout("")], CatalogueError, "empty object_id"),
        (lambda: [cutout("a", sl.SurveyInfo(INFO.bands, (5, 5)))], CutoutError, r"\(2, 5, 5\)"),
        (lambda: [cutout("a", sl.SurveyInfo(INFO.bands[:1], (4, 6)))], CutoutError, "g, r"),
        (lambda: [cutout("a", sky=np.float32([1]))], CutoutError, "one number per band"),
        (lambda: [cutout("a", columns={"x": 1}), cutout("b", columns={"x": "one"})], CatalogueError, "x"),
        (lambda: [cutout("a", columns={"x": np.zeros((2, 2))})], CatalogueError, "x"),
        (lambda: [cutout("a", columns={"x.y": 1})], CatalogueError, "x.y"),
    ],
)
def test_a_stream_that_does_not_fit_is_refused_and_leaves_nothing(tmp_path, stream, error, words):
    with pytest.raises(error, match=words):
        store.write(tmp_path / "s.lance", INFO, stream())
    assert not (tmp_path / "s.lance").exists()


def test_a_value_of_another_type_later_on_names_its_object(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "BATCH_ROWS", 2)
    stream = [cutout(f"o{n}", columns={"x": "late" if n == 5 else n}) for n in range(8)]
    with pytest.raises(CatalogueError, match=r"'x' holds int64 and object 'o5' brings 'late'"):
        store.write(tmp_path / "s.lance", INFO, stream)


def test_a_duplicate_of_a_stored_object_is_named_and_changes_nothing(survey):
    before = files(survey.path)
    with pytest.raises(CatalogueError, match="'o3'"):
        store.write(survey.path, INFO, [cutout("new"), cutout("o3")], append=True)
    assert files(survey.path) == before and len(sl.open(survey.path)) == 20


@pytest.mark.parametrize("base", [Exception, ValueError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("after", [0, 1, 7])
def test_an_error_of_the_source_passes_through_and_changes_nothing(survey, monkeypatch, base, after):
    monkeypatch.setattr(rows, "BATCH_ROWS", 2)
    before = files(survey.path)

    class Torn(base):
        pass

    def stream():
        yield from several(after, first=20)
        raise Torn("page 3")

    with pytest.raises(Torn, match="page 3"):
        store.write(survey.path, INFO, stream(), append=True)
    assert files(survey.path) == before and len(sl.open(survey.path)) == 20


# ---- places that cannot be used


def test_an_existing_survey_is_not_overwritten(survey):
    with pytest.raises(StoreError, match="exists"):
        store.write(survey.path, INFO, several(1))


def test_a_directory_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(StoreError, match=r"thesis\.tex"):
        store.write(tmp_path, INFO, several(1))


def damage(path: Path, how: str) -> None:
    if how == "file":
        shutil.rmtree(path)
        path.write_text("not a table")
    elif how == "empty":
        shutil.rmtree(path)
        path.mkdir()
    elif how == "missing":
        shutil.rmtree(path)
    elif how == "manifest":
        for manifest in (path / "_versions").glob("*.manifest"):
            manifest.write_bytes(manifest.read_bytes()[:-9])
    elif how == "no bytes":
        for manifest in (path / "_versions").glob("*.manifest"):
            manifest.write_bytes(b"")
    elif how == "foreign":
        shutil.rmtree(path)
        lance.write_dataset(pa.table({"a": [1]}), str(path))
    elif how == "newer":
        facts = json.loads(lance.dataset(str(path)).schema.metadata[b"skyloom"])
        facts |= {"format": 99, "skyloom": "9.9"}
        lance.dataset(str(path)).update_schema_metadata({"skyloom": json.dumps(facts)}, replace=True)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "no survey there"),
        ("file", "is a file"),
        ("empty", "no survey was ever finished"),
        ("manifest", "damaged"),
        ("no bytes", "damaged"),
        ("foreign", "no survey"),
        ("newer", r"format 99, written by skyloom 9\.9.*reads up to format 1; upgrade"),
    ],
)
def test_what_is_no_survey_says_so(survey, how, words):
    damage(survey.path, how)
    with pytest.raises(StoreError, match=words):
        sl.open(survey.path)
    with pytest.raises(StoreError):
        store.write(survey.path, INFO, several(1, first=50), append=True)


@pytest.mark.parametrize("how", ["short", "gone"])
def test_data_that_are_cut_short_say_so(survey, how):
    for file in (survey.path / "data").iterdir():
        file.unlink() if how == "gone" else os.truncate(file, 40)
    fresh = sl.open(survey.path)
    for reading in (lambda: list(fresh.read()), lambda: fresh.cutouts_at([1]), lambda: fresh.table(["mag"])):
        with pytest.raises(StoreError, match="restore it from a copy"):
            reading()


@pytest.mark.parametrize(("byte", "mask"), [(0, 1), (3, 0x40)])  # the last bit of a pixel; its exponent
def test_verify_finds_a_pixel_that_changed_on_disk(survey, byte, mask):
    (file,) = (survey.path / "data").iterdir()
    content = bytearray(file.read_bytes())
    where = content.find(bits(next(survey.read()).flux))
    content[where + byte] ^= mask
    file.write_bytes(content)
    with pytest.raises(StoreError, match="hash"):
        sl.open(survey.path).verify()


def never():
    raise AssertionError("the stream was read before the path was tried")
    yield


@pytest.mark.parametrize("parent", ["/proc", "file"])
def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path, parent):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        store.write((tmp_path / parent) / "s.lance", INFO, never())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_survey_is_found_before_the_work(survey):
    survey.path.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            store.write(survey.path, INFO, never(), append=True)
    finally:
        survey.path.chmod(0o755)


# ---- disasters

BIG = sl.SurveyInfo(INFO.bands, (128, 128), 0.2)


def big(n, first=0):
    return (cutout(f"o{number}", BIG, seed=number) for number in range(first, first + n))


@pytest.mark.parametrize("append", [False, True])
def test_a_full_disk_changes_nothing(tmp_path, append):
    path = tmp_path / "s.lance"
    if append:
        store.write(path, BIG, big(3))
    before = files(path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            store.write(path, BIG, big(60, first=3), append=append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files(path) == before
    assert len(store.write(path, BIG, big(2, first=3), append=append)) == (5 if append else 2)


KILLED = """
import sys, time
import numpy as np, skyloom as sl
from skyloom.data import rows, store
rows.BATCH_ROWS = 2
path, append = sys.argv[1], sys.argv[2] == "True"
info = sl.SurveyInfo((sl.Band("g", unit="adu"), sl.Band("r", 22.5, 0.7, "nanomaggy")), (128, 128), 0.2)
def stream():
    for number in range(100, 100000):
        if number == 300:
            sys.stdout.write("under way"); sys.stdout.flush()
        if number > 300:
            time.sleep(0.01)
        yield sl.Cutout(f"o{number}", np.ones((2, 128, 128), np.float32), np.ones((2, 128, 128), np.float32))
store.write(path, info, stream(), append=append)
"""


@pytest.mark.parametrize("append", [False, True])
def test_a_kill_in_mid_write_leaves_the_old_version_or_none(tmp_path, append):
    path = tmp_path / "s.lance"
    if append:
        store.write(path, BIG, big(3))
    before = files(path)
    command = [sys.executable, "-c", KILLED, str(path), str(append)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SOURCE)})
    assert writer.stdout.read(9) == b"under way"
    time.sleep(0.2)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert files(path) - before, "the kill came before any file was begun"
    if append:
        assert len(sl.open(path)) == 3
    else:
        with pytest.raises(StoreError, match="no survey was ever finished"):
            sl.open(path)
    survey = store.write(path, BIG, big(2, first=3), append=append)
    survey.verify()
    referenced = {
        Path(row).name for batch in lance.dataset(str(path)).tracked_files() for row in batch["path"].to_pylist()
    }
    assert {Path(name).name for name in files(path) if name.startswith("data/")} <= referenced


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_write_holds_a_batch_in_memory_and_not_the_survey(tmp_path):
    code = """
import re, sys, numpy as np, skyloom as sl
from pathlib import Path
from skyloom.data import store
info = sl.SurveyInfo((sl.Band("r"),), (256, 256), 0.2)
ivar = np.ones((1, 256, 256), np.float32)
def stream(n):
    for number in range(n):
        yield sl.Cutout(f"o{number}", np.full((1, 256, 256), number, np.float32), ivar)
peaks = []
for n in (300, 2400):
    survey = store.write(f"{sys.argv[1]}/{n}.lance", info, stream(n))
    assert sum(1 for _ in survey.read()) == n
    status = Path("/proc/self/status").read_text()  # rusage would count the process that started this one too
    peaks.append(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024)
sys.stdout.write(f"{peaks[0]:.0f} {peaks[1]:.0f}")
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(SOURCE)}
    )
    small, large = map(float, done.stdout.split())
    assert large < 1024 and large - small < 400, f"{small} MB for 79 MB of pixels, {large} MB for 629 MB"


def test_opening_the_store_does_not_import_torch():
    code = "import sys, skyloom.data.store; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": str(SOURCE)}
        ).returncode
        == 0
    )


def test_the_lock_dies_with_its_process(tmp_path):
    with directory.alone(tmp_path), pytest.raises(StoreError, match="another process"), directory.alone(tmp_path):
        pass
    with directory.alone(tmp_path):
        pass
