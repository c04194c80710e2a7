"""Guidance, against what it does to normal laws, which can be written down."""

import pytest
import torch

from skyloom.samplers.guidance import guided
from skyloom.samplers.schedules import karras_sigmas
from skyloom.samplers.solvers import heun

WIDE, NARROW, MEAN = 2.0, 0.5, 3.0  # of all images, and of those that were asked for, whose mean is MEAN


def ideal(mean, spread):
    return lambda x, sigma: (x * spread**2 + mean * sigma**2) / (spread**2 + sigma**2)


def test_one_is_what_was_told_and_nought_what_was_not():
    told, untold, x = ideal(MEAN, NARROW), ideal(0.0, WIDE), torch.randn(4, 1, 2, 2)
    assert guided(told, untold, 1.0) is told
    sigma = torch.tensor(0.7)
    torch.testing.assert_close(guided(told, untold, 0.0)(x, sigma), untold(x, sigma))


def test_at_every_noise_level_it_is_the_score_of_the_published_mixture():
    """Ho & Salimans 2022, Eq. 6: (1 + w) of the score that was told, less w of the other."""
    told, untold, x, guidance = ideal(MEAN, NARROW), ideal(0.0, WIDE), torch.linspace(-3, 9, 8).view(2, 1, 2, 2), 2.5
    for sigma in (0.1, 1.0, 20.0):
        level = torch.tensor(sigma)
        scores = [(one(x, level) - x) / sigma**2 for one in (told, untold)]
        expected = guidance * scores[0] - (guidance - 1) * scores[1]
        torch.testing.assert_close((guided(told, untold, guidance)(x, level) - x) / sigma**2, expected)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_galaxies_come_nearer_to_what_was_asked_and_vary_less(guidance):
    noise = 300 * torch.randn(4000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    *_, drawn = heun(guided(ideal(MEAN, NARROW), ideal(0.0, WIDE), guidance), noise, karras_sigmas(40, 0.01, 300.0))
    if guidance == 1:
        assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.05) and float(drawn.std()) == pytest.approx(NARROW, 0.1)
    else:
        assert float(drawn.mean()) > MEAN and float(drawn.std()) < 0.8 * NARROW
