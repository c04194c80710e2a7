"""Two skies beside each other: p is uniform for one population, and what is put in is found with its size and sign."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, kstest

from skyloom.data import store
from skyloom.metrics.comparison import score
from skyloom.metrics.counts import FieldSources, completeness_limits
from skyloom.metrics.distances import Draws, kolmogorov, trial
from skyloom.metrics.fields import clustering, density_ratio, likened, median_shift
from skyloom.metrics.samples import are_pieces

SIDE = 128


def sky(pieces: int, seed: int, *, brighter=0.0, density=40, clumps=0) -> FieldSources:
    """Pieces with about `density` sources in two bands, strewn at random or in so many clumps of σ 4 pixels each."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(density, pieces)
    piece, total = np.repeat(np.arange(pieces), counts), counts.sum()
    places = rng.uniform(0, SIDE - 1, (total, 2))
    if clumps:
        centres = rng.uniform(12, SIDE - 13, (pieces, clumps, 2))
        places = np.clip(centres[piece, rng.integers(clumps, size=total)] + rng.normal(0, 4, (total, 2)), 0, SIDE - 1)
    r = 24 + np.log10(rng.random(total)) / 0.4 - brighter
    magnitudes = np.column_stack([r + rng.normal(0.6, 0.3, total), r])
    good = np.ones((pieces, SIDE, SIDE), bool)
    size = rng.lognormal(1, 0.3, total)
    return FieldSources(("g", "r"), piece, *places.T, magnitudes, size, np.full(total, 30.0), good)


def magnitudes(some: FieldSources):
    return some.magnitudes_to(np.array([24.5, 24.0]))


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40), st.booleans())
def test_the_largest_distance_is_scipys_for_any_multiplicities(seed, n, m, equal_values):
    rng = np.random.default_rng(seed)
    real, fake = (np.round(rng.normal(size=size), 1 if equal_values else 9) for size in (n, m))
    assert kolmogorov(np.append(real, np.nan), fake)[0] == pytest.approx(ks_2samp(real, fake).statistic)
    times, others = rng.integers(0, 3, (2, n)), rng.integers(0, 3, (2, m))
    times[:, 0], others[:, 0] = 1, 1
    found = kolmogorov(real, fake, Draws(times, others))
    again = [
        ks_2samp(np.repeat(real, one), np.repeat(fake, two)).statistic for one, two in zip(times, others, strict=True)
    ]
    np.testing.assert_allclose(found, again)
    shifts = [
        np.median(np.repeat(fake, two)) - np.median(np.repeat(real, one))
        for one, two in zip(times, others, strict=True)
    ]
    np.testing.assert_allclose(median_shift(real, fake, Draws(times, others)), shifts)


@pytest.mark.slow
def test_p_is_uniform_for_two_skies_of_one_population():
    found = []
    for seed in range(60):
        pool, fake = sky(20, 2 * seed), sky(10, 2 * seed + 1)
        rows = trial(20, 10, resamples=99, seed=seed, shuffled=False)
        one = likened(pool, fake, rows, magnitudes)[1]
        (pairs, _), *_ = clustering(pool, fake, rows)
        found.append([density_ratio(pool, fake, rows).p, one.apart.p, one.effect.p, one.shift.p, pairs.p])
    for p in np.transpose(found):
        assert kstest(p, "uniform").pvalue > 0.005
        assert (p < 0.05).mean() < 0.17  # 3 expected of 60, 10 once in a thousand


def test_two_skies_of_one_population_are_as_far_apart_as_their_null():
    pool, fake = sky(20, 1), sky(10, 2)
    rows = trial(20, 10, seed=3, shuffled=False)
    one = likened(pool, fake, rows, magnitudes)[1]
    found = [density_ratio(pool, fake, rows), one.apart, one.effect, one.shift, clustering(pool, fake, rows)[0][0]]
    assert all(each.p > 0.01 and abs(each.sigmas) < 3 for each in found)  # the seeds are fixed


def test_a_sky_that_is_brighter_by_a_fifth_of_a_magnitude_is_caught():
    pool, fake = sky(40, 0), sky(20, 1, brighter=0.2)
    rows = trial(40, 20, seed=2, shuffled=False)
    for one in likened(pool, fake, rows, lambda some: some.magnitudes_to(np.array([99.0, 99.0]))):
        assert one.apart.p < 0.01 and one.effect.p < 0.01 and one.shift.p < 0.02 and one.p < 0.01
        assert one.shift.score.value == pytest.approx(-0.2, abs=3 * one.shift.score.error)
        assert one.effect.score.value < 0  # smaller magnitudes
        assert one.effect.low < -0.2 / 1.1 < one.effect.high  # σ of such counts is 1.08 mag
    assert density_ratio(pool, fake, rows).p > 0.05
    alike = likened(pool, fake, rows, lambda some: some.colours_and_size)
    assert all(one.apart.p > 0.01 and one.effect.p > 0.01 for one in alike)


def test_a_sky_with_more_sources_is_caught_with_its_ratio():
    found = density_ratio(sky(40, 3), sky(20, 4, density=48), trial(40, 20, seed=5, shuffled=False))
    assert found.p < 0.01 and found.low < 1.2 < found.high and found.null.value == pytest.approx(1, abs=0.01)


def test_a_clustered_sky_is_told_from_a_random_one_at_the_size_of_its_clumps():
    pool, fake = sky(24, 6), sky(12, 7, clumps=5)
    rows = trial(24, 12, seed=8, shuffled=False)
    near, *_, far = [one for one, _ in clustering(pool, fake, rows)]
    assert near.name == "w at 8 to 16 pixel, fake − real"
    assert near.score.value > 1 and near.p < 0.01 and near.low > 0
    back = clustering(sky(24, 7, clumps=5), sky(12, 6), rows)[0][0]
    assert back.score.value < -1 and back.sigmas < -2
    assert far.score.value < near.score.value / 2
    same = clustering(sky(24, 9, clumps=5), fake, rows)[0][0]
    assert abs(same.sigmas) < 3


def test_too_few_sources_say_nothing():
    pool, fake = sky(8, 10), sky(4, 11, density=1)
    rows = trial(8, 4, seed=1, shuffled=False)
    one = likened(pool, fake, rows, magnitudes)[0]
    assert np.isnan([one.p, one.apart.p, one.effect.score.value, one.shift.score.value]).all()
    assert all(np.isnan(found.score.value) for found, _ in clustering(pool, fake, rows))
    assert clustering(pool._replace(good=pool.good[:, :20, :20]), fake, rows) == []


def test_pieces_that_come_twice_are_counted_twice():
    pool = sky(5, 12)
    twice = pool.take(np.array([3, 1, 3]))
    assert len(twice.good) == 3 and set(twice.piece) == {0, 1, 2}
    np.testing.assert_array_equal(twice.x[twice.piece == 0], pool.x[pool.piece == 3])
    np.testing.assert_array_equal(twice.x[twice.piece == 0], twice.x[twice.piece == 2])
    assert np.isnan(completeness_limits(pool.take(np.array([], int)))).all()


@pytest.fixture(scope="module")
def lattice(pieces, tmp_path_factory):
    """The pieces side by side, as a grid lies over a mosaic, and as many brighter ones."""
    folder = tmp_path_factory.mktemp("lattice")

    def written(name: str, gain: float):
        whole = [
            replace(one, flux=one.flux * np.float32(gain), ivar=one.ivar / np.float32(gain**2),
                    sky_rms=one.sky_rms * np.float32(gain),
                    columns={"x": 50.0 + 96 * (k % 4), "y": 48.0 + 96 * (k // 4)})
            for k, one in enumerate(pieces.read())
        ]  # fmt: skip
        return store.write(folder / name, pieces.info, whole)

    return written("real.lance", 1.0), written("fake.lance", 1.5)


def test_pieces_are_known_by_the_grid_that_they_lie_on(lattice, pieces, tiny_survey):
    assert are_pieces(lattice[0]) and not are_pieces(pieces) and not are_pieces(tiny_survey)


def test_surveys_of_pieces_are_scored_as_skies(lattice):
    found = score(*lattice)
    kinds = {row.metric for row in found.rows}
    assert {"counts", "sources", "clustering", "noise", "power"} <= kinds and not {"sgd", "effect"} & kinds
    assert any("pieces of a field" in note for note in found.notes)
    rows = {row.found.name: row for row in found.rows}
    shift = rows["r: median, fake − real"].found
    assert shift.score.unit == "mag" and shift.score.n > 20
    assert rows["g − r: KS"].found.p > 0.02 and "if sources were independent" in rows["g − r: KS"].note
    assert [one.name for one, _ in found.properties] == ["g", "r", "g − r", "half-light radius"]


def test_metrics_of_skies_can_be_asked_for_by_name_wherever_the_pieces_come_from(pieces):
    found = score(pieces, pieces, ["counts"])
    assert found.n == 6 and found.rows[0].found.name == "sources per area, fake / real"
