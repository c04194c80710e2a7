"""The sky under a galaxy that fills its frame, from annuli whose light and noise are known."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from skyloom.sky.annuli import Annuli
from skyloom.sky.isophotes import radii
from skyloom.sky.sersic import intensity
from skyloom.sky.tail import fit_tail

SMA = radii((128, 128))
RADIUS = SMA.numpy().astype(float)
DRAWS = 100


def annuli_of(n, r_e, sky, q=0.7, i_e=100.0, rms=1.0, seed=0) -> Annuli:
    """Annuli of noisy draws of one Sérsic galaxy that is seen whole, with `rms` per pixel."""
    pixels = 2 * np.pi * q * RADIUS**2 * np.sinh(np.log(1.1))
    noise = rms / np.sqrt(pixels)
    light = intensity(RADIUS, r_e, n, i_e)
    mean = sky + light + np.random.default_rng(seed).normal(0, 1, (DRAWS, len(RADIUS))) * noise
    columns = mean, noise, noise, np.ones_like(RADIUS)
    return Annuli(*(torch.from_numpy(np.broadcast_to(c, mean.shape).astype(np.float32)) for c in columns))


def fitted(n, r_e, sky=0.0, **how):
    return fit_tail(annuli_of(n, r_e, sky, **how), SMA, torch.full((DRAWS,), float(r_e)))


@pytest.mark.parametrize("n, r_e", [(1, 20), (2, 12), (2, 20), (4, 12), (4, 20)])
def test_wings_that_reach_the_border_are_not_taken_for_sky(n, r_e):
    """The median along the border is 10 times further off than the fit, or more."""
    border = intensity(64.0, r_e, n, 100.0)
    sky = fitted(n, r_e).sky
    assert 10 * sky.abs().median() < border


@pytest.mark.parametrize("n, r_e", [(1, 12), (1, 20), (2, 12), (2, 20), (4, 12)])
def test_the_error_covers_the_truth(n, r_e):
    """100 draws: 1σ holds at least 60 of them (4σ below 68 would be 49), 3σ at least 98."""
    tail = fitted(n, r_e, sky=7.0)
    pull = (tail.sky - 7).abs() / tail.sky_error
    assert (pull < 1).double().mean() >= 0.6
    assert (pull < 3).double().mean() >= 0.98


def test_the_error_grows_as_the_blank_sky_runs_out():
    errors = [float(fitted(1, r_e).sky_error.median()) for r_e in (6, 10, 15, 20, 30)]
    assert all(low < high for low, high in pairwise(errors))


@pytest.mark.parametrize("n", [0.7, 1, 2, 3])
def test_the_tail_follows_the_light_of_a_sersic_galaxy(n):
    """To 5 % of it, from r_e to where it is a hundredth of that at r_e."""
    tail = fitted(n, 10, rms=0.1)
    truth = intensity(RADIUS, 10, n, 100.0)
    there = (RADIUS > 10) & (truth > 1)
    np.testing.assert_allclose(tail.light(SMA.expand(DRAWS, -1)).median(0).values[there], truth[there], rtol=0.05)


@pytest.mark.parametrize("sky", [-50.0, 1e3])
def test_a_constant_added_to_the_annuli_is_added_to_the_sky(sky):
    """Tolerance: float32 rounding of the sum, a thousandth of the error."""
    plain, raised = fitted(1, 12), fitted(1, 12, sky=sky)
    assert ((raised.sky - sky - plain.sky).abs() < 1e-2 * plain.sky_error + 1e-6 * abs(sky)).all()
    np.testing.assert_allclose(raised.sky_error, plain.sky_error, rtol=0.02)


def test_rings_that_were_not_measured_have_no_say():
    annuli = annuli_of(1, 12, 3.0)
    holed = annuli._replace(mean=annuli.mean.clone(), noise=annuli.noise.clone(), share=annuli.share.clone())
    holed.mean[:, 40], holed.noise[:, 40], holed.share[:, 40] = torch.nan, torch.nan, 0.0
    start = torch.full((DRAWS,), 12.0)
    pull = (fit_tail(holed, SMA, start).sky - 3).abs() / fit_tail(annuli, SMA, start).sky_error
    assert torch.isfinite(pull).all() and pull.median() < 1.5


@pytest.mark.parametrize("value", [0.0, -3.0, torch.nan])
def test_annuli_without_a_galaxy_give_a_finite_sky(value):
    shape = (2, len(RADIUS))
    annuli = Annuli(torch.full(shape, value), *(torch.ones(shape) for _ in range(3)))
    tail = fit_tail(annuli, SMA, torch.tensor([5.0, 30.0]))
    assert all(torch.isfinite(part).all() for part in tail)
