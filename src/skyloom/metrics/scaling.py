"""The law by which a loss falls with the size of a network and with what it is shown, and what it says of a budget.

L(N, D) = A / N^α + B / D^β + E, N in parameters, D in tokens. `metrics.law_fit` finds it from runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FLOP_PER = 6.0  # for a parameter and token: two forward, four backward


class Law(NamedTuple):
    """The five numbers of the law; each may be an array, for many laws at once.

    A, alpha : of the term of the network's size; B, beta : of the term of the tokens; E : what no network gets below
    Source: Hoffmann et al. 2022, arXiv:2203.15556, Eq. 2; Smith 2022, thesis, Eq. 5.1.
    """

    A: float | Float[np.ndarray, "k"]
    B: float | Float[np.ndarray, "k"]
    E: float | Float[np.ndarray, "k"]
    alpha: float | Float[np.ndarray, "k"]
    beta: float | Float[np.ndarray, "k"]

    def of_size(self, n):
        """A / N^α, for a number of parameters or many."""
        return self.A * np.asarray(n, float) ** -self.alpha

    def of_data(self, d):
        """B / D^β, for a number of tokens or many."""
        return self.B * np.asarray(d, float) ** -self.beta

    def loss(self, n, d):
        """The loss of a network of n parameters that has seen d tokens; infinitely many of either are allowed."""
        return self.of_size(n) + self.of_data(d) + self.E


HOFFMANN = Law(406.4, 410.7, 1.69, 0.34, 0.28)  # of language, as published and as the thesis has it


class Optimum(NamedTuple):
    """The best use of so many FLOP: parameters, tokens, and the loss that comes of it."""

    flops: float | Float[np.ndarray, "k"]
    n_parameters: float | Float[np.ndarray, "k"]
    n_tokens: float | Float[np.ndarray, "k"]
    loss: float | Float[np.ndarray, "k"]


def optimum(law: Law, flops, flop_per: float = FLOP_PER) -> Optimum:
    """The least loss under flops = flop_per · N · D, in closed form.

    N = G (C/k)^(β/(α+β)), D = (C/k)^(α/(α+β)) / G, G = (αA / βB)^(1/(α+β)), with C the FLOP and k those for each
    parameter and token.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, Eq. 4; k = 6 is Kaplan et al. 2020, arXiv:2001.08361.
    We differ: k is an argument, because attention and what reads the tokens count for much in small networks.
    """
    total, work = law.alpha + law.beta, np.asarray(flops, float) / flop_per
    tilt = (law.alpha * law.A / (law.beta * law.B)) ** (1 / total)
    n = tilt * work ** (law.beta / total)
    d = work / n
    return Optimum(np.asarray(flops, float), n, d, law.loss(n, d))
