"""Samplers against what is known exactly: the ideal denoiser of a Gaussian, and the schedulers of diffusers."""

from functools import partial

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.samplers.schedules import cosine_kept, karras_sigmas, sigmas_of, sub_sampled
from skyloom.samplers.solvers import ancestral, begun, between, ddim, dpm_solver, encode, heun

MEAN, SPREAD = 0.7, 1.3


def ideal(x, sigma):
    """The posterior mean of x0 ~ N(MEAN, SPREAD²)."""
    share = SPREAD**2 / (SPREAD**2 + sigma**2)
    return MEAN + share * (x - MEAN)


def exact(x, high, low):
    """Where the deterministic path of that Gaussian leads from one noise level to another."""
    return MEAN + (x - MEAN) * ((SPREAD**2 + low**2) / (SPREAD**2 + high**2)) ** 0.5


def noise(seed=0, n=64):
    return torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def last(states):
    *_, state = states
    return state


@settings(max_examples=40)
@given(st.integers(2, 100), st.floats(1e-3, 0.1), st.floats(1, 500))
def test_noise_levels_fall_to_nothing_between_their_ends(steps, lowest, highest):
    sigmas = karras_sigmas(steps, lowest, highest)
    assert len(sigmas) == steps + 1 and (sigmas.diff() < 0).all() and sigmas[-1] == 0
    np.testing.assert_allclose(sigmas[[0, -2]], [highest, lowest], rtol=1e-9)


@pytest.mark.parametrize(("solver", "order"), [(ddim, 1), (dpm_solver, 2), (heun, 2)])
def test_a_solver_approaches_the_exact_path_as_fast_as_its_order(solver, order):
    start = MEAN + noise() * 40
    errors = []
    for steps in (20, 40, 80):
        sigmas = karras_sigmas(steps, 0.01, 40.0)[:-1]  # the last step, to 0, is of first order in all of them
        reached = last(solver(ideal, start.double(), sigmas))
        errors.append(float((reached - exact(start.double(), sigmas[0], sigmas[-1])).abs().max()))
    found = np.log2(errors[1] / errors[2])
    assert found == pytest.approx(order, abs=0.45), errors


@settings(max_examples=30)
@given(st.integers(1, 12), st.floats(0.2, 5))
def test_a_solver_that_is_told_of_the_spread_needs_no_steps_for_it(steps, wrong):
    """Exact in one step where the spread is that of the pixels; at 24 steps within 5 % where it is off by up to two."""
    sigmas = karras_sigmas(max(steps, 2), 0.04, 400.0)[-steps - 1 :]
    start = exact(MEAN + noise().double(), 0.0, sigmas[0])
    told = last(dpm_solver(ideal, start, sigmas, spread=SPREAD))
    torch.testing.assert_close(told, exact(start, sigmas[0], 0.0), rtol=1e-6, atol=1e-6)
    if 0.5 < wrong < 2:
        sigmas = karras_sigmas(24, 0.04 * SPREAD, 300.0 * SPREAD)
        start = exact(MEAN + noise().double(), 0.0, sigmas[0])
        told = last(dpm_solver(ideal, start, sigmas, spread=wrong * SPREAD))
        assert float((told - MEAN).norm() / (exact(start, sigmas[0], 0.0) - MEAN).norm()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("solver", "steps"), [(ddim, 300), (dpm_solver, 40), (heun, 40)])
def test_a_population_comes_out_as_it_is(solver, steps):
    """Solvers of first order need many more steps: with 40, ddim's galaxies differ among each other 6 % too little."""
    sigmas = karras_sigmas(steps, 0.01, 200.0)
    drawn = last(solver(ideal, noise(1, 4000) * sigmas[0], sigmas))
    n = drawn.numel()
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=5 * SPREAD / n**0.5 + 0.01)
    assert float(drawn.std()) == pytest.approx(SPREAD, rel=5 / (2 * n) ** 0.5 + 0.02)


def test_galaxies_that_all_have_light_in_the_middle_come_out_as_bright_as_they_are():
    """500 pixels of light 1.6 ± 0.7, all fainter or brighter together, under noise at the start of 75."""
    light = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    light[..., 5:27, 5:28] = 1.0
    n = float(light.sum())

    def ideal_light(x, sigma):
        measured, error = (x * light).sum((1, 2, 3), keepdim=True) / n, sigma / n**0.5
        return light * (1.6 + (measured - 1.6) * 0.7**2 / (0.7**2 + error**2))

    sigmas = karras_sigmas(40, 0.01, 75.0)
    unit = torch.randn(800, 1, 32, 32, generator=torch.Generator().manual_seed(4)).double()
    start = begun(ideal_light, unit * sigmas[0], float(sigmas[0]))
    found = (last(dpm_solver(ideal_light, start, sigmas)) * light).sum((1, 2, 3)) / n
    without = (last(dpm_solver(ideal_light, unit * sigmas[0], sigmas)) * light).sum((1, 2, 3)) / n
    assert float(found.mean()) == pytest.approx(1.6, abs=0.08) and float(found.std()) == pytest.approx(0.7, abs=0.08)
    assert float(without.mean()) < 1.45


def test_the_published_way_draws_the_population_on_all_steps_and_on_some():
    kept = cosine_kept(1000)
    for steps, slack in ((1000, 0.01), (200, 0.07)):
        rng = torch.Generator().manual_seed(2)
        sigmas = sub_sampled(kept, steps)
        start = torch.randn(1000, 1, 4, 4, generator=rng).double() * sigmas[0]
        fresh = partial(torch.randn, start.shape, generator=rng, dtype=torch.float64)
        drawn = last(ancestral(ideal, start, sigmas, fresh))
        assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.04 + slack)
        assert float(drawn.std()) == pytest.approx(SPREAD, rel=0.03 + slack)


@settings(max_examples=4)
@given(st.integers(0, 5))
def test_what_was_encoded_comes_back(seed):
    sigmas = karras_sigmas(400, 0.01, 40.0)
    image = MEAN + SPREAD * noise(seed, 2)
    hidden = last(encode(ideal, image.double(), sigmas))
    torch.testing.assert_close(last(ddim(ideal, hidden, sigmas)), image.double(), atol=0.03, rtol=0.02)
    assert float(hidden.std()) > 20


@settings(max_examples=30)
@given(st.floats(0, 1), st.integers(0, 9))
def test_noise_between_two_is_as_likely_as_both(part, seed):
    a, b = noise(seed, 400), noise(seed + 100, 400)
    mixed = between(a, b, part)
    assert float(mixed.std()) == pytest.approx(1, abs=0.03)
    torch.testing.assert_close(between(a, b, 0.0), a, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(between(a, b, 1.0), b, atol=1e-4, rtol=1e-4)


# the schedulers of diffusers keep x · sqrt(kept) where we keep x


class Published:
    """A DDPM network that knows the noise exactly, in the published variables."""

    def __init__(self):
        self.kept = cosine_kept(1000).float()

    def noise(self, x, step):
        kept = self.kept[step]
        sigma = ((1 - kept) / kept).sqrt()
        there = x / kept.sqrt()
        return (there - ideal(there, sigma)) / sigma


def theirs(scheduler, steps, seed=3):
    net = Published()
    scheduler.set_timesteps(steps)
    x = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    for step in scheduler.timesteps:
        x = scheduler.step(net.noise(x, int(step)), int(step), x).prev_sample
    return x


def test_the_cosine_schedule_is_that_of_diffusers():
    scheduler = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")
    torch.testing.assert_close(cosine_kept(1000).float(), scheduler.alphas_cumprod, rtol=2e-3, atol=1e-7)


def test_ddim_agrees_with_diffusers():
    scheduler = DDIMScheduler(
        1000, beta_schedule="squaredcos_cap_v2", clip_sample=False, set_alpha_to_one=True, timestep_spacing="linspace"
    )
    expected = theirs(scheduler, 50)
    sigmas = sub_sampled(cosine_kept(1000), 50)
    start = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(3)) / (1 + sigmas[0] ** 2) ** -0.5
    taken = sigmas_of(cosine_kept(1000))[scheduler.timesteps]
    torch.testing.assert_close(taken, sigmas[:-1], rtol=1e-6, atol=0)
    torch.testing.assert_close(last(ddim(ideal, start.float(), sigmas)), expected, atol=0.02, rtol=0.02)


def test_dpm_solver_agrees_with_diffusers():
    scheduler = DPMSolverMultistepScheduler(
        1000, beta_schedule="squaredcos_cap_v2", algorithm_type="dpmsolver++", use_karras_sigmas=True,
        final_sigmas_type="zero", lower_order_final=False, euler_at_final=False,
    )  # fmt: skip
    scheduler.set_timesteps(20)
    scheduler.set_begin_index(0)
    sigmas = scheduler.sigmas.double()
    kept = 1 / (1 + sigmas**2)
    x = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(4)).double()
    ours = last(dpm_solver(ideal, x / kept[0].sqrt(), sigmas))
    for number, step in enumerate(scheduler.timesteps):
        there = x / kept[number].sqrt()
        predicted = (there - ideal(there, sigmas[number])) / sigmas[number]
        x = scheduler.step(predicted, step, x).prev_sample
    torch.testing.assert_close(ours, x, atol=0.01, rtol=0.01)
