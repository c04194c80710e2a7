"""What denoisers are held to: right at the ideal one, blind to bad pixels, and L1 is not L2 where light is rare."""

import math

import pytest
import torch
from torch import nn

from skyloom.data.images import ImageBatch
from skyloom.objectives.denoising import Denoising, silenced
from skyloom.objectives.noise import Noise
from skyloom.samplers.schedules import cosine_kept


class Ideal(nn.Module):
    """The posterior mean of white noise of rms `spread`."""

    def __init__(self, spread):
        super().__init__()
        self.spread = spread

    def forward(self, x, sigma, labels=None):
        level = sigma.view(-1, 1, 1, 1)
        return x * self.spread**2 / (self.spread**2 + level**2)

    def log_variance(self, sigma):
        return torch.zeros_like(sigma)


def batch(n=256, spread=1.5, seed=0):
    images = spread * torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return ImageBatch(images, torch.ones_like(images))


def test_the_ideal_denoiser_of_white_noise_has_unit_loss_at_every_level():
    """Karras et al. 2022: the weight makes the error 1 where nothing but the spread is known."""
    for level in (0.01, 1.0, 100.0):
        objective = Denoising(math.log(level), 0.0, spread=1.5)
        loss = objective(Ideal(1.5), batch(), torch.Generator().manual_seed(1))["denoising"]
        assert float(loss) == pytest.approx(1, abs=0.03)


def test_a_worse_denoiser_has_a_larger_loss():
    objective = Denoising(0.0, 1.0, spread=1.5)
    losses = [
        float(objective(Ideal(spread), batch(), torch.Generator().manual_seed(1))["denoising"])
        for spread in (1.5, 1.2, 0.8)
    ]
    assert losses == sorted(losses)


@pytest.mark.parametrize("objective", [Denoising(0.0, 1.0, 1.0), Noise("l1", cosine_kept(100))])
def test_nothing_depends_on_a_bad_pixel(objective):
    images, good = batch(8)[:2]
    good[:, :, :2] = 0

    class Still(nn.Module):
        """Says nothing of other pixels, so that a bad one cannot speak through its neighbours."""

        def forward(self, x, *about):
            return 0.5 * x

        def log_variance(self, sigma):
            return torch.zeros_like(sigma)

    losses = []
    for value in (0.0, 1e6):
        changed = images.clone()
        changed[:, :, :2] = value
        losses.append(objective(Still(), ImageBatch(changed, good), torch.Generator().manual_seed(0)))
    assert losses[0] == losses[1]


def test_labels_are_silenced_as_often_as_asked_and_all_at_once():
    labels = silenced(torch.ones(4000, 3), 0.25, 0.0, (), torch.Generator().manual_seed(0))
    silent = labels.isnan()
    assert (silent.all(1) == silent.any(1)).all()
    assert float(silent.all(1).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_of_hushed_galaxies_any_number_of_conditions_is_said_equally_often():
    """A chance that is drawn evenly makes every count from 0 to all of them equally likely: a beta-binomial law."""
    labels = silenced(torch.ones(9000, 5), 0.0, 1.0, (1, 2, 1, 1), torch.Generator().manual_seed(0))
    said = labels.isfinite()
    assert torch.equal(said[:, 1], said[:, 2])  # the two numbers of an angle
    counts = said[:, [0, 1, 3, 4]].sum(1).bincount(minlength=5) / 9000
    assert counts.tolist() == pytest.approx([0.2] * 5, abs=0.02)


def test_l1_names_the_median_of_the_noise_and_l2_its_mean():
    """A pixel that is bright in one galaxy of ten: with L1 the light that comes back is that of the other nine."""
    rng = torch.Generator().manual_seed(0)
    bright = (torch.rand(4000, 1, 1, 1, generator=rng) < 0.1).float() * 3
    images = ImageBatch(bright, torch.ones_like(bright))
    kept = torch.tensor([0.02])  # so noisy that a bright pixel cannot be told from a dark one
    light = {}
    for loss in ("l1", "l2"):
        said = nn.Parameter(torch.zeros(1, 1, 1, 1))
        optimiser = torch.optim.Adam([said], lr=0.02)
        for step in range(150):
            optimiser.zero_grad()
            predict = _Constant(said, kept)
            Noise(loss, kept)(predict, images, torch.Generator().manual_seed(step))["noise"].backward()
            optimiser.step()
        light[loss] = float(said.detach())
    assert light["l2"] == pytest.approx(0.3, abs=0.05)
    assert light["l1"] < 0.15


class _Constant(nn.Module):
    """A network that believes in one clean image, and names the noise that follows from it."""

    def __init__(self, clean, kept):
        super().__init__()
        self.clean, self.kept = clean, kept

    def forward(self, x, step):
        return (x - self.kept.sqrt() * self.clean) / (1 - self.kept).sqrt()
