"""Fitting the law of scaling: what went in comes out, no other optimiser gets lower, intervals hold what they state."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import huber, logsumexp

from skyloom.errors import RequestError
from skyloom.metrics.law_fit import DELTA, fit_law
from skyloom.metrics.scaling import HOFFMANN, Law, optimum

OURS = Law(20.0, 100.0, 1.2, 0.4, 0.4)  # as of small networks


def grid_of(sizes, amounts, n=(7.5, 10), d=(9, 11.5)):
    parameters, tokens = np.meshgrid(np.logspace(*n, sizes), np.logspace(*d, amounts))
    return parameters.ravel(), tokens.ravel()


def noisy(law, n, d, scatter, seed):
    return law.loss(n, d) * np.exp(scatter * np.random.default_rng(seed).normal(size=len(n)))


@pytest.mark.parametrize("law", [HOFFMANN, OURS])
def test_a_law_without_noise_is_found_exactly(law):
    n, d = grid_of(4, 3) if law is HOFFMANN else grid_of(4, 3, (4, 6.5), (5.5, 8))
    fit = fit_law(n, d, law.loss(n, d), replicas=20)
    assert tuple(fit.law) == pytest.approx(tuple(law), rel=1e-6)
    assert fit.spread < 1e-9 and fit.ends[0] == fit.ends[1]


def test_no_other_optimiser_gets_lower():
    """L-BFGS on the published objective (Hoffmann et al. 2022, Eq. 3), from the truth and around it."""
    n, d = grid_of(4, 4)
    loss = noisy(HOFFMANN, n, d, 0.01, 3)

    def cost(row):
        a, b, e, alpha, beta = row
        terms = [a - alpha * np.log(n), b - beta * np.log(d), np.full(len(n), e)]
        return huber(DELTA, logsumexp(terms, 0) - np.log(loss)).sum() * 1e4

    truth = np.array([np.log(HOFFMANN.A), np.log(HOFFMANN.B), np.log(HOFFMANN.E), HOFFMANN.alpha, HOFFMANN.beta])
    rng = np.random.default_rng(0)
    begun = [truth, *(truth * rng.uniform(0.8, 1.2, (3, 5)))]
    options = {"maxiter": 20_000, "maxfun": 100_000, "ftol": 1e-15, "gtol": 1e-9}
    others = min(minimize(cost, row, method="L-BFGS-B", options=options).fun for row in begun)
    found = fit_law(n, d, loss, replicas=20).law
    ours = cost([np.log(found.A), np.log(found.B), np.log(found.E), found.alpha, found.beta])
    assert ours <= others * (1 + 1e-4)


def coverage(repeats, sizes, amounts, scatter=0.005, replicas=300):
    """Share of repeats in which each interval held the truth, and in which a larger run's loss lay where foretold."""
    n, d = grid_of(sizes, amounts)
    held = []
    for seed in range(repeats):
        fit = fit_law(n, d, noisy(HOFFMANN, n, d, scatter, 7000 + seed), replicas=replicas, seed=seed)
        new = noisy(HOFFMANN, np.array([4e10]), np.array([1.3e12]), scatter, 90_000 + seed)[0]
        told = fit.predicted(4e10, 1.3e12)
        intervals = fit.intervals()
        truths = {name: getattr(HOFFMANN, name) for name in Law._fields}
        held.append(
            [intervals[name].low <= truth <= intervals[name].high for name, truth in truths.items()]
            + [told.low <= new <= told.high]
        )
    return np.mean(held, 0)


def test_intervals_hold_what_they_state():
    """Twelve runs, 30 repeats: 3σ of a share of 0.9 is 0.16."""
    held = coverage(30, 4, 3, replicas=150)
    assert (np.abs(held - 0.9) < 0.16).all(), held
    assert abs(held.mean() - 0.9) < 0.1, held


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "amounts"), [(4, 3), (5, 4), (6, 5)])
def test_intervals_hold_what_they_state_over_200_repeats(sizes, amounts):
    """3σ of a share of 0.9 is 0.064. Recovers Hoffmann's law from 12, 20 and 30 runs that scatter by 0.5 %."""
    held = coverage(200, sizes, amounts)
    assert (np.abs(held - 0.9) < 0.064).all(), held


def test_more_scatter_makes_wider_intervals_and_one_bad_run_does_not_move_the_law():
    n, d = grid_of(4, 4)
    loss = noisy(HOFFMANN, n, d, 0.002, 1)
    calm, rough = fit_law(n, d, loss), fit_law(n, d, noisy(HOFFMANN, n, d, 0.01, 1))
    for name in Law._fields:
        narrow, wide = calm.intervals()[name], rough.intervals()[name]
        assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    loss[5] *= 1.5  # a run that diverged
    hurt = fit_law(n, d, loss)
    assert tuple(hurt.law) == pytest.approx(tuple(calm.law), rel=0.15)
    assert hurt.spread > 10 * calm.spread


def test_the_unit_of_tokens_and_of_parameters_changes_only_A_and_B():
    n, d = grid_of(4, 4)
    loss = noisy(HOFFMANN, n, d, 0.005, 2)
    one, other = fit_law(n, d, loss).law, fit_law(n / 1e3, d * 1e2, loss).law
    assert (other.alpha, other.beta, other.E) == pytest.approx((one.alpha, one.beta, one.E), rel=1e-5)
    assert pytest.approx(one.A / 1e3**one.alpha, rel=1e-4) == other.A
    assert pytest.approx(one.B * 1e2**one.beta, rel=1e-4) == other.B


def test_losses_below_zero_are_fitted_as_they_are():
    """The likelihood of continuous values has no zero that means anything."""
    n, d = grid_of(4, 4, (4, 6.5), (5.5, 8))
    law = OURS._replace(E=-0.8)
    loss = law.loss(n, d) + np.random.default_rng(0).normal(0, 0.002, len(n))
    fit = fit_law(n, d, loss)
    found = fit.intervals()["E"]
    assert fit.residual == "plain" and abs(found.value + 0.8) < 2 * (found.high - found.low) < 0.05
    with pytest.raises(RequestError, match="logarithm"):
        fit_law(n, d, loss, residual="log")
    shifted = fit_law(n, d, loss + 5, residual="plain")
    assert pytest.approx(fit.law.E + 5, abs=1e-4) == shifted.law.E
    assert shifted.law.alpha == pytest.approx(fit.law.alpha, rel=1e-4)


def test_runs_that_do_not_bound_an_exponent_say_so():
    n, d = grid_of(3, 3, (8, 8.1), (9, 11.5))
    assert "alpha" in fit_law(n, d, noisy(HOFFMANN, n, d, 0.02, 0)).untold
    n, d = grid_of(4, 4)
    assert not fit_law(n, d, noisy(HOFFMANN, n, d, 0.005, 0)).untold


def test_a_prediction_is_wider_than_the_law():
    n, d = grid_of(4, 4)
    fit = fit_law(n, d, noisy(HOFFMANN, n, d, 0.005, 4))
    law, run = fit.expected(1e10, 3e11), fit.predicted(1e10, 3e11)
    assert law.value == run.value and run.low < law.low < law.value < law.high < run.high


def test_the_best_size_for_a_budget_lies_in_its_interval():
    n, d = grid_of(5, 5)
    fit = fit_law(n, d, noisy(HOFFMANN, n, d, 0.005, 5))
    found, truth = optimum(fit.replicas, 1e22), optimum(HOFFMANN, 1e22)
    low, high = np.quantile(found.n_parameters, [0.005, 0.995])
    assert low < truth.n_parameters < high < 3 * low


@pytest.mark.parametrize(
    ("n", "d", "words"),
    [
        (grid_of(2, 3)[0], grid_of(2, 3)[1], "6 runs of 2 sizes"),
        (grid_of(2, 5)[0], grid_of(2, 5)[1], "10 runs of 2 sizes and 5 numbers of tokens are too few"),
        (grid_of(4, 4)[0] * 0, grid_of(4, 4)[1], "not positive"),
    ],
)
def test_runs_that_are_too_few_are_refused(n, d, words):
    with pytest.raises(RequestError, match=words):
        fit_law(n, d, HOFFMANN.loss(np.maximum(n, 1), d))
