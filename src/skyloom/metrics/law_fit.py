"""A law of scaling fitted to runs, with intervals from a bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

from skyloom.errors import RequestError
from skyloom.metrics.scaling import Law

LEAST, SIZES = 8, 3  # runs, and different sizes and numbers of tokens among them, that a fit can be made of
DELTA = 1e-3  # of Huber's loss
SQUARES = 1e6  # a delta so large that only squares are left
EXPONENTS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 1.8)  # where the fits start, of both
STARTS, REPLICAS, LEVEL = 16, 600, 0.9
RANGE = (1e-4, 4.0)  # that exponents stay in
FAR = 2.0  # no step changes a parameter by more
Residual = Literal["log", "plain"]


class Interval(NamedTuple):
    """A number, and the ends of its interval."""

    value: float
    low: float
    high: float


class _Problem(NamedTuple):
    """What is fitted, with the logarithms of N and D about their means, so that parameters hardly depend on each other.

    A row of parameters is log A', α, log B', β, and log E, or E where residuals are plain; A' = A e^(−α mean log N).
    """

    x: Float[np.ndarray, "n"]
    z: Float[np.ndarray, "n"]
    middle: tuple[float, float]
    residual: Residual

    def predicted(self, rows: Float[np.ndarray, "k 5"]) -> tuple[Float[np.ndarray, "k n"], Float[np.ndarray, "k n 5"]]:
        """What residuals are taken from, the loss or its logarithm, and its derivatives."""
        a, alpha, b, beta, e = (rows[:, i, None] for i in range(5))
        size, data = a - alpha * self.x, b - beta * self.z
        floor = np.broadcast_to(e, size.shape)
        if self.residual == "plain":
            parts = [np.exp(size), np.exp(data), np.ones_like(floor)]
            value = parts[0] + parts[1] + floor
        else:
            most = np.maximum(np.maximum(size, data), floor)
            parts = [np.exp(part - most) for part in (size, data, floor)]
            total = parts[0] + parts[1] + parts[2]
            value, parts = most + np.log(total), [part / total for part in parts]
        slopes = [parts[0], -self.x * parts[0], parts[1], -self.z * parts[1], parts[2]]
        return value, np.stack(slopes, -1)

    def law(self, rows: Float[np.ndarray, "k 5"]) -> Law:
        a, alpha, b, beta, e = rows.T
        floor = e if self.residual == "plain" else np.exp(e)
        return Law(np.exp(a + alpha * self.middle[0]), np.exp(b + beta * self.middle[1]), floor, alpha, beta)


@dataclass(frozen=True)
class FittedLaw:
    """A law, its replicas from the bootstrap, and how far runs scatter about it.

    spread : 1σ of a run about the law, relative to the loss, or in its unit where residuals are plain
    spreads : the same for each replica
    ends : how many of the best starts came to the same end, of how many
    """

    law: Law
    replicas: Law
    spread: float
    spreads: Float[np.ndarray, "k"]
    residual: Residual
    runs: int
    level: float
    ends: tuple[int, int]

    def intervals(self) -> dict[str, Interval]:
        """A, B, E, alpha and beta, each with the interval that holds the true one with the chance `level`."""
        every = zip(Law._fields, self.law, self.replicas, strict=True)
        return {name: self.interval(float(value), np.asarray(replicas)) for name, value, replicas in every}

    @property
    def untold(self) -> list[str]:
        """Exponents that the runs do not bound: their intervals reach an end of what is looked through."""
        found = self.intervals()
        return [name for name in ("alpha", "beta") if found[name].low <= RANGE[0] or found[name].high >= RANGE[1]]

    def interval(self, value: float, replicas: Float[np.ndarray, "k"]) -> Interval:
        """A number with the interval that its replicas give."""
        tail = (1 - self.level) / 2
        low, high = np.quantile(replicas, [tail, 1 - tail])
        return Interval(float(value), float(low), float(high))

    def expected(self, n: float, d: float) -> Interval:
        """The loss by the law, for n parameters and d tokens."""
        return self.interval(float(self.law.loss(n, d)), np.asarray(self.replicas.loss(n, d)))

    def predicted(self, n: float, d: float, seed: int = 0) -> Interval:
        """The loss that one new run will have: it scatters about the law as the others do."""
        noise = np.random.default_rng(seed).normal(size=len(self.spreads)) * self.spreads
        losses = self.replicas.loss(n, d)
        return self.interval(
            float(self.law.loss(n, d)), losses + noise if self.residual == "plain" else losses * np.exp(noise)
        )


def fit_law(
    n_parameters: Float[np.ndarray, "n"],
    n_tokens: Float[np.ndarray, "n"],
    loss: Float[np.ndarray, "n"],
    *,
    residual: Residual | None = None,
    level: float = LEVEL,
    replicas: int = REPLICAS,
    delta: float = DELTA,
    seed: int = 0,
) -> FittedLaw:
    """The law that runs follow, by the least sum of Huber losses of residuals, from many starts.

    residual : of the "log" of the loss, as published, or "plain"; None: of the log where all losses are positive. The
        log allows no E below 0; a likelihood of continuous values may have one.
    level : chance that an interval holds; replicas : of the bootstrap; delta : where Huber's loss turns linear
    Each replica is a fit to the law's own losses with normal noise. Its σ is that of a least-squares fit with n − 5
    degrees of freedom, drawn anew each time from what these leave open: so intervals hold for few runs too, and are
    wider than they need be for runs that fail now and then. Intervals are percentiles.
    Raises RequestError for fewer than 8 runs, fewer than 3 different N or D, or numbers that are not positive.
    Source: Hoffmann et al. 2022, arXiv:2203.15556, Eq. 3; Huber 1964, AoMS 35, 73.
    We differ: the sum and not the mean of Huber's losses, tight tolerances, and whole-grid intervals, as Besiroglu et
    al. 2024, arXiv:2404.10102 found the published fit to have stopped early and its intervals far too narrow; steps are
    those of Levenberg and Marquardt with Huber's weights, which fit all replicas at once; the bootstrap draws noise and
    not runs, because a grid of twelve that loses its corners is another grid.
    """
    n, d, found = (np.asarray(each, float) for each in (n_parameters, n_tokens, loss))
    require_runs(n, d, found)
    chosen: Residual = residual or ("log" if (found > 0).all() else "plain")
    if chosen == "log" and (found <= 0).any():
        raise RequestError(f"a loss of {found.min():g} has no logarithm; ask for plain residuals")
    x, z = np.log(n), np.log(d)
    problem = _Problem(x - x.mean(), z - z.mean(), (x.mean(), z.mean()), chosen)
    y = np.log(found) if chosen == "log" else found
    begun = _starts(problem, found)
    rows, costs = _descended(problem, begun, np.broadcast_to(y, (len(begun), len(y))), delta, steps=600, tight=1e-12)
    best = rows[[np.argmin(costs)]]
    same = int((costs <= costs.min() * (1 + 1e-3) + 1e-15).sum())
    level_of, _ = problem.predicted(best)
    _, squares = _descended(problem, best, y[None], SQUARES, steps=100, tight=1e-9)
    spread = float(np.sqrt(2 * squares[0] / (len(y) - 5)))
    rng = np.random.default_rng(seed)
    drawn = spread * np.sqrt((len(y) - 5) / rng.chisquare(len(y) - 5, replicas))
    noisy = level_of + rng.normal(size=(replicas, len(y))) * drawn[:, None]
    again, _ = _descended(problem, np.repeat(best, replicas, 0), noisy, delta, steps=100, tight=1e-6)
    law = Law(*(np.asarray(part).item() for part in problem.law(best)))
    return FittedLaw(law, problem.law(again), spread, drawn, chosen, len(y), level, (same, len(begun)))


def require_runs(n: Float[np.ndarray, "n"], d: Float[np.ndarray, "n"], loss: Float[np.ndarray, "n"]) -> None:
    """RequestError unless five numbers can be found from these runs."""
    if not (np.isfinite(n) & np.isfinite(d) & np.isfinite(loss) & (n > 0) & (d > 0)).all():
        raise RequestError("runs with parameters or tokens that are not positive, or a loss that is no number")
    sizes, amounts = len(np.unique(n)), len(np.unique(d))
    if len(loss) < LEAST or sizes < SIZES or amounts < SIZES:
        raise RequestError(
            f"{len(loss)} runs of {sizes} sizes and {amounts} numbers of tokens are too few for a law of five numbers; "
            f"give {LEAST} or more (better 12), of {SIZES} sizes and {SIZES} numbers of tokens or more"
        )


def _starts(problem: _Problem, loss: Float[np.ndarray, "n"]) -> Float[np.ndarray, "k 5"]:
    """The best of a grid of exponents, for each of which A, B and E follow by least squares."""
    found: list[tuple[float, list[float]]] = []
    weight = 1 / np.abs(loss) if problem.residual == "log" else np.ones_like(loss)
    small = 1e-6 * np.abs(loss).max()
    for alpha, beta in product(EXPONENTS, EXPONENTS):
        terms = np.stack([np.exp(-alpha * problem.x), np.exp(-beta * problem.z), np.ones_like(loss)], 1)
        signed = np.concatenate([terms, -terms[:, 2:]], 1) if problem.residual == "plain" else terms
        parts, left = nnls(signed * weight[:, None], loss * weight)
        a, b = np.log(np.maximum(parts[:2], small))
        e = parts[2] - parts[3] if problem.residual == "plain" else float(np.log(max(parts[2], small)))
        found.append((left, [a, alpha, b, beta, e]))
    return np.array([row for _, row in sorted(found, key=lambda one: one[0])[:STARTS]])


def _descended(
    problem: _Problem, rows: Any, y: Any, delta: float, steps: int, tight: float
) -> tuple[Float[np.ndarray, "k 5"], Float[np.ndarray, "k"]]:
    """Each row of parameters taken down to the least sum of Huber's losses for its row of y."""
    rows, cost, damping = rows.copy(), np.empty(len(rows)), np.full(len(rows), 1e-3)
    value, slopes = problem.predicted(rows)
    left = value - y
    cost = _huber(left, delta)
    alive = np.arange(len(rows))
    for _ in range(steps):
        step = _step(slopes[alive], left[alive], damping[alive], delta)
        tried = rows[alive] + step
        tried[:, [1, 3]] = np.clip(tried[:, [1, 3]], *RANGE)
        value, slope = problem.predicted(tried)
        after = _huber(value - y[alive], delta)
        better = after < cost[alive]
        gain = (cost[alive] - after) / np.maximum(cost[alive], 1e-300)
        taken = alive[better]
        rows[taken], slopes[taken], cost[taken] = tried[better], slope[better], after[better]
        left[taken] = value[better] - y[taken]
        damping[alive] = np.clip(np.where(better, damping[alive] / 5, damping[alive] * 4), 1e-9, 1e9)
        alive = alive[~np.where(better, gain < tight, damping[alive] > 1e6)]
        if not len(alive):
            break
    return rows, cost


def _huber(left: Float[np.ndarray, "k n"], delta: float) -> Float[np.ndarray, "k"]:
    size = np.abs(left)
    return np.where(size < delta, 0.5 * size**2, delta * (size - 0.5 * delta)).sum(-1)


def _step(slopes, left, damping, delta) -> Float[np.ndarray, "k 5"]:
    """A damped step of least squares, with the weights that make it one of Huber's loss."""
    weighted = slopes * np.minimum(1, delta / np.maximum(np.abs(left), 1e-300))[..., None]
    curvature = np.einsum("kni,knj->kij", weighted, slopes)
    slope = np.einsum("kni,kn->ki", weighted, left)
    own = np.einsum("kii->ki", curvature)
    ridge = damping[:, None] * own + 1e-12 * own.max(-1, keepdims=True) + 1e-300
    curvature = curvature + np.eye(5) * ridge[:, :, None]
    return np.clip(-np.linalg.solve(curvature, slope[..., None])[..., 0], -FAR, FAR)
