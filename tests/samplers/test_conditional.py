"""Conditional draws with the ideal denoiser of a Gaussian, whose conditional mean and covariance are closed forms.

Tolerances: a mean of B draws scatters by B^(-1/2) of its σ, a variance by (2/B)^(1/2) of itself; each pixel and each
principal axis of the conditional law is allowed 5 of these, and what the sampler itself is stated to be off.
"""

import numpy as np
import pytest
import torch

from skyloom.samplers.conditional import conditioned, normal, posterior, repaint
from skyloom.samplers.schedules import karras_sigmas

SIDE, DRAWS = 5, 1000


def smooth_field(side=SIDE) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of a field on a torus: smooth light, and noise of rms 0.5 on it."""
    frequency = torch.fft.fftfreq(side)
    power = 20 / (1 + (frequency[:, None] ** 2 + frequency**2) / 0.1**2) ** 1.5 + 0.25
    row = torch.fft.ifft2(power).real
    y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    covariance = row[(y[:, None] - y) % side, (x[:, None] - x) % side].double()
    return torch.linspace(-1, 1, side**2).double(), (covariance + covariance.T) / 2


MEAN, COVARIANCE = smooth_field()
VALUES, AXES = (part.float() for part in torch.linalg.eigh(COVARIANCE))
MASK = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
MASK[..., 2:4] = True  # two columns of five
TRUTH = (MEAN.float() + AXES @ (VALUES.sqrt() * torch.randn(SIDE**2, generator=torch.Generator().manual_seed(3)))).view(
    1, 1, SIDE, SIDE
)


def ideal(x, sigma):
    along = (x.flatten(1) - MEAN.float()) @ AXES
    return (along * VALUES / (VALUES + sigma**2) @ AXES.T + MEAN.float()).view(x.shape)


def conditional_law(error=0.0):
    """Mean and covariance of the masked pixels given the others, which were seen with an error."""
    m = MASK.flatten()
    seen = COVARIANCE[~m][:, ~m] + error**2 * torch.eye(int((~m).sum())).double()
    gain = torch.linalg.solve(seen, COVARIANCE[~m][:, m]).T
    mean = MEAN[m] + gain @ (TRUTH.flatten()[~m].double() - MEAN[~m])
    return mean, COVARIANCE[m][:, m] - gain @ COVARIANCE[~m][:, m]


def start(draws=DRAWS, seed=0):
    rng = torch.Generator().manual_seed(seed)
    known = torch.where(MASK, torch.nan, TRUTH).expand(draws, -1, -1, -1)
    return normal(known, rng), known, rng


def assert_law(draws, error=0.0, mean_off=0.0, variance_off=0.0):
    mean, covariance = conditional_law(error)
    filled = draws.flatten(1)[:, MASK.flatten()].double()
    values, axes = torch.linalg.eigh(covariance)
    for found, variance in (
        (filled - mean, covariance.diagonal()),
        ((filled - mean) @ axes, values),
    ):
        shift = (found.mean(0) / variance.sqrt()).abs().max()
        assert shift < mean_off + 5 * len(draws) ** -0.5
        ratio = found.var(0) / variance
        assert (ratio - 1).abs().max() < variance_off + 5 * (2 / len(draws)) ** 0.5


@pytest.mark.parametrize("error", [0.0, 0.7])
def test_the_posterior_sampler_has_the_exact_conditional_mean_and_covariance(error):
    noise, known, _ = start()
    given = None if error == 0 else torch.tensor(error)
    *_, draws = posterior(ideal, noise, karras_sigmas(40, 0.02, 60), known, MASK, 16, given, 0.0, np.inf)
    assert_law(draws, error, mean_off=0.03, variance_off=0.02)


def test_at_its_usual_cost_it_is_a_few_per_cent_off():
    noise, known, _ = start()
    *_, draws = posterior(ideal, noise, karras_sigmas(18, 0.02, 60), known, MASK)
    assert_law(draws, mean_off=0.15, variance_off=0.12)


@pytest.mark.parametrize("error", [0.0, 0.7])
def test_repaint_tends_to_the_conditional_law_with_many_short_steps(error):
    """200 steps taken 6 times each; at the usual 32 taken 10 times its variance is a fifth too small."""
    noise, known, rng = start(500)
    given = None if error == 0 else torch.tensor(error)
    *_, draws = repaint(ideal, noise, karras_sigmas(200, 0.02, 60), known, MASK, rng, 6, given)
    assert_law(draws, error, mean_off=0.2, variance_off=0.15)


def both(known, mask, steps=5, seed=0):
    """The last state of either sampler."""
    filler = torch.where(mask, torch.nan, known)
    rng = torch.Generator().manual_seed(seed)
    noise, sigmas = normal(known, rng), karras_sigmas(steps, 0.02, 60)
    *_, one = posterior(ideal, noise, sigmas, filler, mask)
    *_, other = repaint(ideal, noise, sigmas, filler, mask, rng, 2)
    return one, other


def test_known_pixels_keep_their_bits():
    known = TRUTH.expand(3, -1, -1, -1).clone()
    for draws in both(known, MASK):
        kept = ~MASK.expand_as(known)
        assert draws[kept].numpy().tobytes() == known[kept].numpy().tobytes()
        assert torch.isfinite(draws).all()


def test_a_mask_of_nothing_returns_the_image():
    known = TRUTH.expand(3, -1, -1, -1).clone()
    for draws in both(known, torch.zeros_like(MASK)):
        assert draws.numpy().tobytes() == known.numpy().tobytes()


def test_the_same_generator_gives_the_same_bytes_and_another_gives_others():
    known = TRUTH.expand(2, -1, -1, -1).clone()
    for one, again, other in zip(both(known, MASK), both(known, MASK), both(known, MASK, seed=1), strict=True):
        assert one.numpy().tobytes() == again.numpy().tobytes() != other.numpy().tobytes()


def test_what_lies_under_the_mask_is_never_read():
    noise, known, _ = start(2)
    sigmas = karras_sigmas(4, 0.02, 60)
    results = []
    for value in (0.0, 1e30, torch.nan, torch.inf):
        there = torch.where(MASK, torch.tensor(value), known)
        *_, one = posterior(ideal, noise, sigmas, there, MASK)
        *_, other = repaint(ideal, noise, sigmas, there, MASK, torch.Generator().manual_seed(1), 2)
        results.append(one.numpy().tobytes() + other.numpy().tobytes())
    assert len(set(results)) == 1


def test_without_a_known_pixel_the_denoiser_is_not_told_anything():
    x, level = torch.randn(2, 1, SIDE, SIDE), torch.tensor(1.5)
    told = conditioned(ideal, torch.full_like(x, torch.nan), torch.ones(1, 1, SIDE, SIDE, dtype=torch.bool))
    torch.testing.assert_close(told(x, level), ideal(x, level))


def test_pixels_of_endless_error_say_nothing_and_exact_ones_come_back():
    x, level = torch.randn(2, 1, SIDE, SIDE), torch.tensor(1.5)
    deaf = conditioned(ideal, TRUTH.expand_as(x), MASK, error=torch.tensor(1e6))
    torch.testing.assert_close(deaf(x, level), ideal(x, level), atol=1e-5, rtol=1e-5)
    exact = conditioned(ideal, TRUTH.expand_as(x), MASK, iterations=40, slack=0, leap=np.inf)
    kept = ~MASK.expand_as(x)
    torch.testing.assert_close(exact(x, level)[kept], TRUTH.expand_as(x)[kept], atol=1e-4, rtol=1e-4)


def test_levels_may_differ_within_a_batch():
    x, levels = torch.randn(2, 1, SIDE, SIDE), torch.tensor([0.3, 2.0])

    def ideal_each(x, sigma):
        return torch.cat([ideal(one[None], level) for one, level in zip(x, sigma.expand(len(x)), strict=True)])

    together = conditioned(ideal_each, TRUTH.expand_as(x), MASK)(x, levels)
    for k in range(2):
        alone = conditioned(ideal, TRUTH, MASK)(x[k : k + 1], levels[k])
        torch.testing.assert_close(together[k : k + 1], alone, atol=1e-5, rtol=1e-5)


def test_the_noise_of_a_share_depends_on_its_own_generator_alone():
    like = torch.empty(6, 1, 4, 4)
    one, two, three = (torch.Generator().manual_seed(seed) for seed in (1, 2, 3))
    together = normal(like, [one, two, three])
    alone = normal(like[:2], torch.Generator().manual_seed(2))
    assert torch.equal(together[2:4], alone)
    assert len(np.unique(together.numpy())) == like.numel()


def test_a_denoiser_whose_derivative_is_no_covariance_does_not_run_away():
    """Its derivative is turned and here and there of the wrong sign: told or not, no pixel leaps over three levels."""

    def crooked(x, sigma):
        return ideal(x, sigma) + 0.2 * torch.roll(x, 1, -1) - 0.3 * x.flip(-2)

    x = 3 * torch.randn(4, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    for level in (0.1, 1.0, 10.0):
        told = conditioned(crooked, TRUTH.expand_as(x), MASK, iterations=8)(x, torch.tensor(level))
        assert (told - crooked(x, torch.tensor(level))).abs().max() <= 3.001 * level
