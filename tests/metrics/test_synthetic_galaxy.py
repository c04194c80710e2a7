"""Distances between samples: laws, SciPy as referee, nulls and intervals that hold, and monotone under damage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from skyloom.errors import RequestError
from skyloom.metrics.distances import Draws, bootstrapped, judged, null_draws, trial, wasserstein
from skyloom.metrics.photometry import Photometry
from skyloom.metrics.synthetic_galaxy import (
    cohens_d,
    cohens_d_as_printed,
    colour_distance,
    effects,
    sgd,
)

numbers = st.lists(st.floats(-100, 100), min_size=1, max_size=30).map(np.array)


def population(n, seed=0, *, gain=0.0, colour=0.0, size=1.0, decoupled=False, brightest=None) -> Photometry:
    """Magnitudes, colours that go with them, and sizes; then changed. brightest : drop all below this magnitude."""
    rng = np.random.default_rng(seed)
    r = 20 + rng.normal(0, 1, 8 * n)
    tilt = rng.permutation(r) if decoupled else r
    colours = [0.6 - 0.2 * (tilt - 20) + rng.normal(0, 0.05, 8 * n) for _ in range(2)]
    magnitudes = np.stack([r + colours[0] + colour, r, r - colours[1]], 1) - gain
    r_e = size * np.exp(rng.normal(0, 0.4, 8 * n))
    kept = np.flatnonzero(r > (brightest or 0))[:n]
    return Photometry(("g", "r", "i"), magnitudes[kept], r_e[kept], "r")


@settings(max_examples=50)
@given(real=numbers, fake=numbers)
def test_the_distance_is_that_of_scipy(real, fake):
    assert wasserstein(real, fake)[0] == pytest.approx(wasserstein_distance(real, fake), abs=1e-9)


@settings(max_examples=10)
@given(real=numbers, fake=numbers, seed=st.integers(0, 9))
def test_a_resample_is_a_sample_with_repeats(real, fake, seed):
    draws = bootstrapped(len(real), len(fake), 70, seed)
    expected = [
        wasserstein_distance(np.repeat(real, a), np.repeat(fake, b))
        for a, b in zip(draws.one, draws.other, strict=True)
    ]
    np.testing.assert_allclose(wasserstein(real, fake, draws), expected, atol=1e-9)


@settings(max_examples=50)
@given(real=numbers, shift=st.floats(-50, 50), scale=st.floats(0.1, 10))
def test_a_shift_is_its_own_distance_and_the_unit_scales(real, shift, scale):
    assert wasserstein(real, real + shift)[0] == pytest.approx(abs(shift), abs=1e-9)
    assert wasserstein(scale * real, scale * (real + shift))[0] == pytest.approx(scale * abs(shift), abs=1e-8)


def test_what_was_not_measured_does_not_count_and_nothing_is_nan():
    assert wasserstein(np.array([1.0, np.nan, 3.0]), np.array([2.0, np.inf]))[0] == pytest.approx(1.0)
    assert np.isnan(wasserstein(np.array([np.nan]), np.array([1.0]))[0])


def test_both_nulls_are_what_fresh_samples_of_one_population_show():
    rng = np.random.default_rng(0)
    n = 100
    fresh = np.array([wasserstein(rng.normal(size=n), rng.normal(size=n))[0] for _ in range(400)])
    for pool, expected in ((2 * n, 1.0), (n, 0.95)):
        means = []
        for seed in range(30):
            values = rng.normal(size=pool)
            means.append(wasserstein(values, values, null_draws(pool, n, 60, seed)).mean())
        ratio = np.mean(means) / fresh.mean()  # known to 2 % from 400 pairs, and to 1 % from 30 pools
        assert ratio == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("pool, words", [(200, "disjoint"), (199, "with replacement")])
def test_the_null_is_of_disjoint_galaxies_where_there_are_enough(pool, words):
    draws = null_draws(pool, 100, 5)
    assert words in draws.words and (draws.one.sum(1) == 100).all() and (draws.other.sum(1) == 100).all()
    assert (words == "disjoint") == (not (draws.one * draws.other).any())


@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
def test_the_interval_holds_the_distance_of_the_populations(shift):
    rng, n, inside = np.random.default_rng(1), 100, 0
    for seed in range(60):
        real, fake = rng.normal(size=2 * n), rng.normal(size=n) + shift
        draws = bootstrapped(n, n, 100, seed), null_draws(2 * n, n, 100, seed)
        again, null = wasserstein(real[:n], fake, draws[0]), wasserstein(real, real, draws[1])
        found = judged("x", "", n, float(wasserstein(real[:n], fake)[0]), again, null)
        inside += found.low <= shift <= found.high
    assert inside >= 52  # of 60; 95 % nominal, 52 is 3 sigma below


def test_two_samples_of_one_population_are_as_far_apart_as_the_null_says():
    found = [sgd(population(300, seed), population(150, seed + 100), resamples=60, seed=seed) for seed in range(12)]
    assert abs(np.mean([one.total.sigmas for one in found])) < 0.9  # 12 trials: 0.29 each way, 3 sigma
    assert sum(term.low == 0 for one in found for term in one.terms) > 0.85 * 72
    assert all("disjoint" in one.nulls for one in found)


def test_each_term_has_its_own_unit_and_the_sum_has_none():
    found = sgd(population(200), population(200, 1, gain=0.5))
    assert [term.score.unit for term in found.terms] == ["mag"] * 5 + ["arcsec"]
    assert found.total.score.unit == "" and found.total.score.n == 200
    gains = {term.name: term.score.value for term in found.terms}
    assert gains["r"] == pytest.approx(0.5, abs=0.3) and gains["g − r"] < 0.15


def test_the_sum_does_not_depend_on_the_units():
    real, fake = population(200), population(200, 1, size=1.3)
    finer = [Photometry(one.bands, one.magnitudes, 60 * one.r_e, one.reference) for one in (real, fake)]
    assert sgd(*finer).total.score.value == pytest.approx(sgd(real, fake).total.score.value)


@pytest.mark.parametrize(
    "damage, amounts",
    [
        ("gain", (0.0, 0.1, 0.3, 0.9)),
        ("colour", (0.0, 0.05, 0.1, 0.3)),
        ("size", (1.0, 1.15, 1.4, 2.0)),
        ("brightest", (0.0, 19.0, 20.0, 21.0)),
    ],
)
def test_more_damage_is_further_away(damage, amounts):
    real = population(400)
    fakes = [population(400, 1, **{damage: amount}) for amount in amounts]
    rows = trial(400, 400, resamples=20)
    scores = {
        "sgd": [sgd(real, fake, resamples=20).total.score.value for fake in fakes],
        "effect": [max(abs(one.score.value) for one in effects(real, fake, rows)) for fake in fakes],
    }
    if damage != "size":
        scores["colours"] = [colour_distance(real, fake, rows).score.value for fake in fakes]
    for name, values in scores.items():
        assert (np.diff(values) > 0).all(), f"{name} under {damage}: {values}"


def test_colours_that_no_longer_go_with_magnitudes_are_seen_though_each_alone_is_right():
    real, fake = population(600), population(600, 1, decoupled=True)
    rows = trial(600, 600, resamples=60)
    assert colour_distance(real, fake, rows).sigmas > 3
    assert abs(colour_distance(real, population(600, 1), rows).sigmas) < 3
    alone = {term.name: term.p for term in sgd(real, fake, resamples=100).terms}
    assert min(alone["r"], alone["g − r"], alone["r − i"]) > 0.01


def test_the_distance_of_normal_laws_is_the_closed_form():
    rng = np.random.default_rng(2)
    r, colour = rng.normal(size=(2, 5000))
    samples = [
        Photometry(("g", "r"), np.stack([a * r + b * colour, a * r], 1), np.ones(5000), "r")
        for a, b in ((1, 1), (2, 3))
    ]
    found = colour_distance(*samples, trial(5000, 5000, resamples=4))
    assert found.score.value == pytest.approx(np.hypot(1, 2), rel=0.05)  # uncorrelated: the widths differ by 1 and 2


@given(shift=st.floats(-3, 3), scale=st.floats(0.1, 10))
def test_cohens_d_is_signed_and_free_of_units(shift, scale):
    real = np.random.default_rng(3).normal(size=50)
    real = (real - real.mean()) / real.std()
    found = cohens_d(scale * real, scale * (real + shift), resamples=10)
    assert found.value == pytest.approx(shift, abs=1e-9) and found.unit == ""
    assert cohens_d(real + shift, real, resamples=5).value == pytest.approx(-shift, abs=1e-9)


def test_cohens_d_pools_the_variances_where_the_printed_one_subtracts_them():
    real, fake = np.array([-3.0, 3.0]), np.array([0.0, 2.0])
    assert cohens_d(real, fake).value == pytest.approx(1 / np.sqrt((9 + 1) / 2))
    assert cohens_d_as_printed(real, fake) == pytest.approx(np.sqrt(2 / (9 - 1)))
    assert np.isnan(cohens_d_as_printed(fake, real))


def test_the_error_of_cohens_d_is_that_of_theory():
    rng = np.random.default_rng(4)
    found = cohens_d(rng.normal(size=800), rng.normal(size=800))
    assert found.error == pytest.approx(np.sqrt(2 / 800), rel=0.2)


def test_effects_have_a_null_around_zero():
    real = population(400)
    for one in effects(real, population(200, 1), trial(400, 200)):
        assert abs(one.null.value) < 0.05 and one.null.error == pytest.approx(np.sqrt(2 / 200), rel=0.25)
        assert one.low < one.score.value < one.high


def test_galaxies_without_a_number_are_left_out_and_counted():
    fake = population(100, 1)
    fake.magnitudes[:7, 0] = np.nan
    found = sgd(population(100), fake, resamples=10)
    assert found.unmeasured == {"g": (0, 7), "g − r": (0, 7)}
    assert [term.score.n for term in found.terms] == [93, 100, 100, 93, 100, 100] and found.total.score.n == 93


def test_the_same_seed_gives_the_same_numbers():
    real, fake = population(90), population(60, 1)
    assert sgd(real, fake, n=40, seed=3) == sgd(real, fake, n=40, seed=3)
    assert sgd(real, fake, n=40, seed=3).total != sgd(real, fake, n=40, seed=4).total


@pytest.mark.parametrize("n", [0, -1, 61])
def test_a_number_that_is_not_there_is_refused(n):
    with pytest.raises(RequestError, match="ask for 1 to 60"):
        sgd(population(90), population(60), n=n)
    with pytest.raises(RequestError, match="n=0 of 0 real"):
        trial(0, 5)


def test_samples_measured_differently_are_refused():
    fake = population(20)
    other = Photometry(("g", "r", "z"), fake.magnitudes, fake.r_e, "r")
    for one in (other, Photometry(fake.bands, fake.magnitudes, fake.r_e, "r", ("mag", "pix"))):
        with pytest.raises(RequestError, match="measure both alike"):
            sgd(population(20), one)


def test_the_null_of_one_draw_is_itself():
    draws = Draws(np.array([[1, 0, 1]]), np.array([[0, 1, 0]]))
    assert wasserstein(np.array([0.0, 5, 2]), np.array([0.0, 5, 2]), draws)[0] == pytest.approx(4.0)
