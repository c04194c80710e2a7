"""Memorisation: planted copies are caught, honest draws are not; and neighbours are those of a plain search."""

import numpy as np
import pytest
from scipy.ndimage import shift

from skyloom.errors import CatalogueError, RequestError
from skyloom.metrics.memorisation import WRONG, memorisation, neighbours

N = 400


def stretched(images):
    return np.arcsinh(images)


def copied(train, count, seed, noise=0.5):
    """Copies of training images, turned, mirrored, shifted by up to half a pixel, with noise added; and which ones."""
    rng = np.random.default_rng(seed)
    which = rng.choice(len(train), count, replace=False)
    copies = np.empty((count, *train.shape[1:]), np.float32)
    for place, image in enumerate(train[which]):
        turned = np.rot90(image[..., :: rng.choice([1, -1])], rng.integers(4), (1, 2))
        copies[place] = shift(turned, (0, *rng.uniform(-0.5, 0.5, 2)), order=1, mode="nearest")
    return copies + rng.normal(0, noise, copies.shape).astype(np.float32), which


@pytest.fixture(scope="module")
def train(discs):
    return discs(N, 10)


@pytest.fixture(scope="module")
def held_out(discs):
    return stretched(discs(N, 11))


@pytest.mark.parametrize("seed", range(3))
def test_a_generator_that_returns_one_copy_in_twenty_is_caught(seed, discs, train, held_out):
    copies, which = copied(train, 20, seed)
    fake = np.concatenate([discs(380, 20 + seed), copies])
    found = memorisation(stretched(fake), stretched(train), held_out, seed)
    assert found.alarm and found.ratio.value < found.null.value - 3 * found.null.error
    caught = found.suspects.fake >= 380
    assert caught.sum() >= 18 and (~caught).sum() <= 6
    np.testing.assert_array_equal(found.suspects.train[caught], which[found.suspects.fake[caught] - 380])
    assert found.share.value == len(caught) / 400 and (np.diff(found.suspects.ratio) >= 0).all()


def test_exact_copies_are_caught_and_named(discs, train, held_out):
    fake = np.concatenate([train[7:17], discs(190, 3)])
    found = memorisation(stretched(fake), stretched(train), held_out)
    assert found.alarm and set(range(10)) <= set(found.suspects.fake)
    first = found.suspects.fake < 10
    np.testing.assert_array_equal(found.suspects.train[first], found.suspects.fake[first] + 7)
    assert found.suspects.distance[first].max() < 1e-6


def test_honest_draws_raise_the_alarm_no_more_often_than_stated(discs):
    p_values, suspected = [], 0
    for seed in range(24):
        three = (stretched(discs(120, 100 + 3 * seed + k, 16, 1)) for k in range(3))
        found = memorisation(*three, seed, relabellings=199)
        p_values.append(found.p_value)
        suspected += bool(len(found.suspects.fake))
        assert abs(found.ratio.value - found.null.value) < 4 * found.null.error
    p_values = np.array(p_values)
    assert (p_values < 0.01).sum() <= 1 and (p_values <= 0.1).sum() <= 6  # more in 2 % and in 1 % of honest suites
    assert suspected <= 2 + WRONG * 24


def test_a_held_out_set_of_another_size_finds_no_copies_where_there_are_none(discs):
    fake, train, held_out = (stretched(discs(n, seed, 16, 1)) for n, seed in ((150, 0), (300, 1), (120, 2)))
    for sets in ((fake, train, held_out), (fake, held_out, train)):
        found = memorisation(*sets, relabellings=99)
        assert found.p_value > 0.01 and not len(found.suspects.fake)
        assert abs(found.ratio.value - found.null.value) < 3 * found.null.error
    assert memorisation(fake, held_out, train, relabellings=99).null.value == pytest.approx(1, abs=0.02)
    assert memorisation(fake, train, held_out, relabellings=99).null.value < 0.99  # a larger set is nearer


def test_copies_are_found_in_a_training_set_larger_than_the_held_out_one(discs, train, held_out):
    copies, which = copied(train, 20, 5)
    found = memorisation(stretched(np.concatenate([copies, discs(100, 6)])), stretched(train), held_out[:150])
    caught = found.suspects.fake[found.suspects.fake < 20]
    assert len(caught) >= 15
    np.testing.assert_array_equal(found.suspects.train[found.suspects.fake < 20], which[caught])


def test_a_generator_that_saw_the_held_out_set_instead_looks_no_worse_than_honest(discs, train, held_out):
    fake = np.concatenate([held_out[:20], stretched(discs(180, 7))])
    found = memorisation(fake, stretched(train), held_out, relabellings=99)
    assert found.p_value > 0.5 and found.ratio.value > 1 and not len(found.suspects.fake)


def test_more_copies_are_a_smaller_ratio(discs, train, held_out):
    honest, (copies, _) = discs(200, 8), copied(train, 40, 9)
    found = [
        memorisation(stretched(np.concatenate([copies[:count], honest[count:]])), stretched(train), held_out, 0, 19)
        for count in (0, 20, 40)
    ]
    assert found[0].ratio.value > found[1].ratio.value > found[2].ratio.value


def test_one_seed_gives_one_verdict(discs):
    sets = [stretched(discs(60, seed, 16, 1)) for seed in range(3)]
    first, again = (memorisation(*sets, 4, 19) for _ in range(2))
    assert first[:4] == again[:4]
    for one, other in zip(first.suspects, again.suspects, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(16, 16), (48, 32), (9, 12)])
def test_neighbours_are_those_of_a_plain_search_over_all_symmetries(shape):
    rng = np.random.default_rng(0)
    fake, train = rng.normal(size=(12, 2, *shape)), rng.normal(size=(30, 2, *shape))
    cells = [side // 16 if side >= 16 else 1 for side in shape]
    plain = []
    for images in (fake, train):
        means = images.reshape(len(images), 2, shape[0] // cells[0], cells[0], shape[1] // cells[1], cells[1]).mean(
            (3, 5)
        )
        plain.append(means * np.sqrt(np.prod(cells)))
    views = [one[..., ::i, ::j] for one in (plain[0],) for i in (1, -1) for j in (1, -1)]
    if plain[0].shape[2] == plain[0].shape[3]:
        views += [view.swapaxes(2, 3) for view in views]
    squares = [np.mean((view[:, None] - plain[1][None]) ** 2, (2, 3, 4)) for view in views]
    expected = np.sqrt(np.min(squares, 0))
    index, distance = neighbours(fake.astype(np.float32), train.astype(np.float32), 5)
    np.testing.assert_array_equal(index, np.argsort(expected, 1)[:, :5])
    np.testing.assert_allclose(distance, np.sort(expected, 1)[:, :5], rtol=1e-5)


def test_galaxies_without_noise_in_common_are_at_least_root_two_apart():
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=(20, 3, 64, 64)).astype(np.float32) for _ in range(2))
    _, distance = neighbours(one, other, 20)
    assert distance.mean() == pytest.approx(2**0.5, rel=0.04) and distance.max() < 1.5


def test_sets_cut_into_blocks_give_what_whole_ones_give(monkeypatch):
    rng = np.random.default_rng(0)
    fake, train = (rng.normal(size=(n, 1, 16, 16)).astype(np.float32) for n in (23, 40))
    whole = neighbours(fake, train, 3)
    monkeypatch.setattr("skyloom.metrics.memorisation.BLOCK", 200)
    for one, other in zip(whole, neighbours(fake, train, 3), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_what_cannot_be_compared_is_refused():
    one = np.zeros((4, 1, 16, 16), np.float32)
    with pytest.raises(RequestError, match="one shape"):
        neighbours(one, one[..., :8])
    with pytest.raises(RequestError, match="ask for 1 to 4"):
        neighbours(one, one, 5)
    with pytest.raises(RequestError, match="one shape"):
        memorisation(one, one, one[:0])
    with pytest.raises(CatalogueError, match="not finite"):
        memorisation(one, one, np.full_like(one, np.inf))
