"""The law of scaling: the published numbers, and the best use of a budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from skyloom.metrics.scaling import HOFFMANN, Law, optimum

FIGURE = {  # N, D, A/N^alpha, B/D^beta, loss: the table under Fig. 5.2
    "LaMDA": (137e9, 168e9, 0.066, 0.295, 2.051),
    "GPT-3": (175e9, 300e9, 0.061, 0.251, 2.002),
    "Gopher": (280e9, 300e9, 0.052, 0.251, 1.993),
    "MT-NLG": (530e9, 270e9, 0.041, 0.259, 1.990),
    "Chinchilla": (70e9, 1.4e12, 0.083, 0.163, 1.936),
    "PaLM": (540e9, 780e9, 0.042, 0.192, 1.924),
}
LAWS = st.builds(Law, st.floats(1, 1e3), st.floats(1, 1e3), st.floats(0.1, 3), st.floats(0.1, 1.0), st.floats(0.1, 1.0))


@pytest.mark.golden
@pytest.mark.parametrize("name", FIGURE)
def test_the_losses_of_figure_5_2(name):
    """Smith 2022, thesis, Fig. 5.2. Its losses are sums of rounded terms, one of them cut off (MT-NLG, 0.0419 as
    0.041), so they agree to one unit of the last digit, and the terms to one as well."""
    n, d, of_size, of_data, loss = FIGURE[name]
    assert HOFFMANN.of_size(n) == pytest.approx(of_size, abs=1e-3)
    assert HOFFMANN.of_data(d) == pytest.approx(of_data, abs=5e-4)
    assert HOFFMANN.loss(n, d) == pytest.approx(loss, abs=1e-3)
    assert loss == pytest.approx(of_size + of_data + 1.69, abs=1e-9)


def test_the_order_of_figure_5_2():
    losses = [HOFFMANN.loss(n, d) for n, d, *_ in FIGURE.values()]
    assert losses == sorted(losses, reverse=True)


@given(LAWS, st.floats(1e12, 1e26), st.floats(2, 20))
def test_the_best_use_of_a_budget_is_the_one_that_a_search_finds(law, flops, flop_per):
    best = optimum(law, flops, flop_per)
    assert best.n_parameters * best.n_tokens * flop_per == pytest.approx(flops, rel=1e-9)
    found = minimize_scalar(
        lambda log_n: law.of_size(np.exp(log_n)) + law.of_data(flops / flop_per / np.exp(log_n)),
        bracket=(np.log(best.n_parameters) - 3, np.log(best.n_parameters) + 2),
    )
    assert found.fun + law.E == pytest.approx(float(best.loss), rel=1e-9)
    assert law.alpha * law.of_size(best.n_parameters) == pytest.approx(law.beta * law.of_data(best.n_tokens), rel=1e-6)


def test_more_compute_is_shared_as_the_exponents_say():
    """Hoffmann et al. 2022, Table 2, approach 3: N grows as C^0.46 and D as C^0.54; from exponents that are rounded."""
    small, large = optimum(HOFFMANN, 1e20), optimum(HOFFMANN, 1e22)
    assert np.log10(large.n_parameters / small.n_parameters) / 2 == pytest.approx(0.46, abs=0.01)
    assert np.log10(large.n_tokens / small.n_tokens) / 2 == pytest.approx(0.54, abs=0.01)


def test_no_network_gets_below_the_entropy():
    assert HOFFMANN.loss(np.inf, np.inf) == HOFFMANN.E < HOFFMANN.loss(1e15, 1e15)
