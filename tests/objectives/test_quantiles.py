"""What a predicted profile is held to."""

import numpy as np
import torch

from skyloom.data.rings import ProfileBatch
from skyloom.nn.profile_decoder import LEVELS, ProfileDecoder, ProfileDecoderConfig, Quantity
from skyloom.objectives.quantiles import FAINTEST, ProfileLikelihood, likelihood, pinball, vector
from skyloom.sky.isophotes import radii
from skyloom.sky.polar import ANGLES

RADIUS = radii((32, 32))


def batch(seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 1, len(RADIUS))
    fields = {name: 0.3 * torch.randn(shape, generator=generator) for name in ("sb", "cog", "e1", "e2")}
    fields |= {name: torch.randn(2, 1, generator=generator) for name in ("mag", "x", "y")}
    maps = torch.randn(2, 1, 3, len(RADIUS), ANGLES, generator=generator)
    return ProfileBatch(maps, RADIUS, **(fields | changes))


def net():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ProfileDecoder(ProfileDecoderConfig((8, 8), 16, 2, (1, 1)))


def losses(of):
    return ProfileLikelihood()(net(), of, torch.Generator())


def test_unknown_targets_bring_no_loss_and_no_gradient():
    known = batch()
    holes = known._replace(**{name: torch.full_like(getattr(known, name), torch.nan) for name in known._fields[2:]})
    model = net()
    found = ProfileLikelihood()(model, holes, torch.Generator())
    assert all(found[name] == 0 for name in found if name != "stands")
    sum(found.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_light_fainter_than_the_limit_is_not_asked_for():
    plain = batch()
    fainter = plain.sb.clone()
    fainter[..., -1] = FAINTEST + 1
    hidden = plain.sb.clone()
    hidden[..., -1] = FAINTEST + 3
    assert losses(plain._replace(sb=fainter))["sb"] == losses(plain._replace(sb=hidden))["sb"]


def test_the_likelihood_is_best_where_the_width_is_the_mean_miss():
    """Of a Laplace law: the width that maximises the likelihood of its samples is their mean absolute value."""
    sample = torch.from_numpy(np.random.default_rng(0).laplace(0, 0.3, 4000)).float()
    widths = torch.linspace(0.1, 1.0, 91)
    values = [
        likelihood(Quantity(torch.zeros(4000), torch.full((4000,), float(w)), torch.zeros(4000, 4)), sample)
        for w in widths
    ]
    assert abs(float(widths[int(torch.stack(values).argmin())]) - float(sample.abs().mean())) < 0.02


def test_the_pinball_loss_is_least_at_the_quantiles():
    sample = torch.from_numpy(np.random.default_rng(1).normal(0, 1, 5000)).float()
    ends = torch.quantile(sample, torch.tensor(LEVELS))

    def loss(quantiles):
        n = len(sample)
        return float(pinball(Quantity(torch.zeros(n), torch.ones(n), quantiles.expand(n, 4)), sample))

    best = loss(ends)
    assert all(loss(ends + shift) > best for shift in (-0.2, 0.2))


def test_a_vector_misses_alike_in_every_direction():
    width = torch.ones(1)
    one = vector(torch.tensor([0.3]), torch.tensor([0.4]), width)
    torch.testing.assert_close(one, vector(torch.tensor([0.5]), torch.tensor([0.0]), width))
