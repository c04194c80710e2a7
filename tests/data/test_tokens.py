"""Objects as tokens: images come back, light is told as such, series in order, and every object once an epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import skyloom as sl
from skyloom.data import store
from skyloom.data.images import ImageSet
from skyloom.data.tokens import Numbers, Series, Tokeniser, TokenSource, token_batches
from skyloom.data.vocabulary import Looks, Vocabulary, listed, read_objects, source_of, vocabulary_of
from skyloom.errors import CatalogueError, RecipeError, RequestError
from skyloom.sky.patches import from_patches, patch_places, to_patches
from skyloom.sky.scaling import Asinh

INFO = sl.SurveyInfo((sl.Band("g", 25.0), sl.Band("r", 25.0)), (16, 16), 0.2)
LOOKS = Looks((2.0, 6.0), 4, "spiral", 1.0, 1)


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    patch=st.integers(1, 4),
    order=st.sampled_from(["spiral", "raster"]),
)
def test_patches_come_back_as_the_image(rows, columns, patch, order):
    images = torch.randn(2, 3, rows * patch, columns * patch)
    assert torch.equal(from_patches(to_patches(images, patch, order), patch, rows, columns, order), images)


def test_a_spiral_goes_outwards_and_never_jumps_within_a_ring():
    places = patch_places(7, 7, "spiral")
    ring = np.abs(places - 3).max(1)
    assert tuple(places[0]) == (3, 3) and (np.diff(ring) >= 0).all()
    steps = np.abs(np.diff(places, axis=0)).max(1)
    assert (steps[np.diff(ring) == 0] == 1).all()


def tokeniser(noise=(1.0, 2.0)):
    return Tokeniser(Asinh(noise).scaled, noise, (2.0, 6.0), 4, 16)


def test_light_is_that_of_an_aperture_in_units_of_its_noise():
    flux, good = torch.zeros(1, 2, 16, 16), torch.ones(1, 2, 16, 16)
    flux[0, :, 7:9, 7:9] = torch.tensor([100.0, 50.0])[:, None, None]
    light = tokeniser().light(flux, good)
    area = torch.tensor([12.0, 112.0])  # pixels whose centres lie within 2 and 6 pixels
    expected = torch.stack([400 / area.sqrt(), 200 / (2 * area.sqrt())], 1)
    torch.testing.assert_close(light.values[0].sinh(), expected, rtol=1e-4, atol=1e-4)
    assert bool(light.known.all())


def test_nothing_depends_on_pixels_that_are_bad():
    flux, good = torch.randn(2, 2, 16, 16), torch.ones(2, 2, 16, 16)
    good[0, 1, :6], good[1, 0] = 0, 0
    strange = torch.where(good > 0, flux, torch.tensor(1e9))
    for one, other in zip(tokeniser().tokens(flux * good, good), tokeniser().tokens(strange * good, good), strict=True):
        assert all(map(torch.equal, one, other))
    light, patches = tokeniser().tokens(flux * good, good)
    assert not light.known[1, :, 0].any() and light.known[1, :, 1].all()
    assert not patches.known[1, :, :16].any() and patches.present.all()


def source(n=5, size=16, seed=0):
    flux = torch.randn(n, 2, size, size, generator=torch.Generator().manual_seed(seed))
    ids = tuple(f"{seed}-{k}" for k in range(n))
    images = ImageSet(ids, flux, {}, np.ones(2), INFO)
    series = Series(
        [np.arange(k + 1.0) for k in range(n)], [np.arange(k + 1.0) for k in range(n)], [np.empty(0, int)] * n, 0, 3
    )
    return TokenSource(
        ids, images, tokeniser(), ("light", "image"), {"number": Numbers(np.arange(float(n))), "curve": series}
    )


def test_batches_depend_on_their_number_alone_and_every_object_comes_once_an_epoch():
    sources = [source(6), source(24, seed=1)]
    stream = token_batches(sources, 3, seed=2)
    first = [next(stream) for _ in range(70)]
    for start in (1, 31, 40, 69):
        again = next(token_batches(sources, 3, seed=2, start=start))
        for name, tokens in again.items():
            assert all(map(torch.equal, tokens, first[start][name]))
    small = [
        int(v)
        for batch in first
        if len(batch["number"].values) and batch["curve"].values.shape
        for v in batch["number"].values.flatten()
    ]
    assert set(small) == set(range(24))
    alone = token_batches([sources[0]], 3, seed=2)
    seen = [int(v) for _ in range(2) for v in next(alone)["number"].values.flatten()]
    assert sorted(seen) == list(range(6))


def test_larger_sources_come_more_often_by_the_root_of_their_size():
    sources = [source(4), source(64, seed=1)]
    stream = token_batches(sources, 2, seed=0)
    largest = [float(next(stream)["number"].values.max()) for _ in range(320)]
    assert 0.7 < np.mean([value > 3 for value in largest]) < 0.85  # four fifths, less what looks small


def test_long_series_are_thinned_in_order():
    one = Series([np.arange(50.0)], [np.arange(50.0)], [np.empty(0, int)], 0, 7)
    for rng in (None, np.random.default_rng(0)):
        tokens = one.tokens(np.array([0]), rng)
        assert tokens.values.shape == (1, 7, 1)
        assert (tokens.values.flatten().diff() > 0).all()
        assert torch.equal(tokens.values[..., 0], tokens.places[..., 0])


@pytest.mark.parametrize("text", ["mag", "mag@", "@time", "mag@time[1:x]", "mag@time[3]"])
def test_a_series_that_cannot_be_read_is_refused(text):
    with pytest.raises(RecipeError, match="values@places"):
        listed(text)


def test_a_series_says_its_columns_and_range():
    one = listed("true_sb_r@true_sma[:28]")
    assert (one.columns, one.low, one.high) == (["true_sb_r", "true_sma"], -np.inf, 28.0)
    one = listed("mag@time-first/filter")
    assert (one.columns, one.since_first) == (["mag", "time", "filter"], True)


@pytest.fixture
def curves(tmp_path):
    """A table of light curves, as people have them: a row per point, in two filters."""
    path = tmp_path / "curves.csv"
    lines = ["object_id,class,time,mag,filter"]
    for k in range(6):
        lines += [
            f"star{k},{'abc'[k % 3]},{2450000 + k + 3 * t},{15 + k + 0.1 * t},{'gr'[t % 2]}" for t in range(k + 2)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_of_points_becomes_objects_with_lists(curves, tmp_path):
    survey = sl.ingest(curves, tmp_path / "curves.lance")
    rows = survey.table(["object_id", "class", "time", "mag", "filter"]).to_pylist()
    assert len(survey) == 6 and rows[2]["class"] == "c" and len(rows[5]["time"]) == 7
    assert rows[1]["filter"] == ["g", "r", "g"] and not survey.info.has_images
    read = read_objects(survey, [row["object_id"] for row in rows], series=["mag@time-first/filter"], bin=1, crop=16)
    words = vocabulary_of([read], LOOKS, (), ("mag@time-first/filter",))
    facts = words.series["mag@time-first/filter"]
    assert facts["step"] == 3 and facts["channels"] == ["g", "r"] and facts["low"] == 15
    tokens = source_of(read, words, 10).batch(np.array([1, 5]))["mag@time-first/filter"]
    assert tokens.places[1, :, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert tokens.places[0, :3, 1:].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert tokens.present.tolist()[0] == [True] * 3 + [False] * 4
    back = tokens.values[0, :3, 0].double() * facts["std"] + facts["mean"]
    np.testing.assert_allclose(back, [16, 16.1, 16.2], atol=1e-5)
    assert Vocabulary.from_facts(words.to_facts()) == words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("object_id,mag\n,1\n", "row 1: the object_id is blank"), ("object_id,ra,dec\na,1,95\n", "not within"),
        ("object_id,ra,dec,m\na,1,2,3\na,1,3,4\n", "row 2.*elsewhere"), ("name,mag\na,1\n", "no object_id column"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_objects_is_refused_with_its_row(text, said, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(CatalogueError, match=said):
        sl.ingest(path, tmp_path / "bad.lance")
    assert not (tmp_path / "bad.lance").exists()


def test_a_table_takes_no_options_of_pixels(curves, tmp_path):
    with pytest.raises(RequestError, match="without images"):
        sl.ingest(curves, tmp_path / "curves.lance", size=32)


def test_flux_of_another_zero_point_is_the_same_light(tmp_path):
    """A survey in units a hundred times as small gives the same tokens, by weights that learnt from the first."""
    rng = np.random.default_rng(0)
    flux = rng.normal(0, 1, (4, 2, 16, 16)).astype(np.float32)
    flux[:, :, 6:10, 6:10] += 50

    def survey(name, factor, zero_point):
        info = sl.SurveyInfo(tuple(sl.Band(band, zero_point) for band in "gr"), (16, 16), 0.2)
        ivar = np.full_like(flux[0], 1 / factor**2)
        sky = np.zeros(2, np.float32)
        rows = [
            sl.Cutout(f"{k}", one * np.float32(factor), ivar, tile=str(k), sky=sky, sky_rms=sky + np.float32(factor))
            for k, one in enumerate(flux)
        ]
        return store.write(tmp_path / name, info, rows)

    reads = [
        read_objects(survey(*told), list("0123"), bin=1, crop=16) for told in (("a", 1.0, 25.0), ("b", 100.0, 30.0))
    ]
    words = vocabulary_of(reads[:1], LOOKS, (), ())
    one, other = (source_of(read, words, 5).batch(np.arange(4)) for read in reads)
    for name in one:
        torch.testing.assert_close(one[name].values, other[name].values, atol=1e-4, rtol=1e-4)
    assert len(vocabulary_of(reads, LOOKS, (), ()).images) == 1
