"""The variational bound: divergences beside torch's own and beside a Monte-Carlo estimate, bad pixels left out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, kl_divergence

from skyloom.data.views import ViewBatch
from skyloom.nn.variational import Posterior, Variational, VariationalConfig
from skyloom.objectives.variational import Bound, divergence, drawn_from

SMALL = VariationalConfig(channels=2, side=16, widths=(2, 3), dimension=3, components=4, deep=(4, 4))


def network(components=4, seed=0) -> Variational:
    torch.manual_seed(seed)
    config = VariationalConfig(**{**SMALL.__dict__, "components": components})
    net = Variational(config).eval()
    if components > 1:
        with torch.no_grad():
            net.log_widths.normal_(0, 0.3)
            net.shares.normal_()
    return net


def posterior(seed: int, n=3, d=3) -> Posterior:
    rng = torch.Generator().manual_seed(seed)
    return Posterior(torch.randn(n, d, generator=rng), torch.randn(n, d, generator=rng))


def batch(seed=0, n=4) -> ViewBatch:
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(1, n, 2, 16, 16, generator=rng)
    good = torch.ones_like(images)
    good[..., 3:5, 3:5] = 0
    return ViewBatch(images * good, good, good.mean((3, 4)))


@given(seed=st.integers(0, 10_000))
def test_the_divergence_from_the_plain_prior_is_that_of_torch(seed):
    ours, net = posterior(seed), network(components=1)
    normal = Independent(Normal(ours.mean, (ours.log_variance / 2).exp()), 1)
    theirs = kl_divergence(normal, Independent(Normal(torch.zeros(3), torch.ones(3)), 1))
    torch.testing.assert_close(divergence(ours, net.prior(), ours.mean), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_divergence_from_a_mixture_is_a_monte_carlo_estimate_on_average(seed):
    ours, net, n = posterior(seed, n=1), network(seed=seed), 40_000
    many = Posterior(*(part.expand(n, -1) for part in ours))
    with torch.no_grad():
        found = divergence(many, net.prior(), drawn_from(many, torch.Generator().manual_seed(seed)))
        torch.manual_seed(100 + seed)
        normal = Normal(ours.mean[0], (ours.log_variance[0] / 2).exp())
        z = normal.sample((n,))
        parts = [
            net.shares.softmax(0)[k].log() + Normal(net.centres[k], net.log_widths[k].exp()).log_prob(z).sum(1)
            for k in range(4)
        ]
        theirs = normal.log_prob(z).sum(1) - torch.stack(parts).logsumexp(0)
    error = (found.var() / n + theirs.var() / n).sqrt()
    assert abs(float(found.mean() - theirs.mean())) < 4 * float(error)
    assert float(found.mean()) > -4 * float(error)


def test_one_gaussian_as_a_mixture_diverges_as_the_plain_prior_does():
    net, n, ours = network(), 40_000, posterior(5, n=1)
    with torch.no_grad():
        net.centres.zero_(), net.log_widths.zero_()
        many = Posterior(*(part.expand(n, -1) for part in ours))
        found = divergence(many, net.prior(), drawn_from(many, torch.Generator().manual_seed(1)))
    exact = float(divergence(ours, network(components=1).prior(), ours.mean))
    assert float(found.mean()) == pytest.approx(exact, abs=4 * float(found.std()) / n**0.5)


def test_the_bound_is_the_sum_of_the_thesis_written_out():
    net, some = network(), batch()
    found = Bound(noise=0.5)(net, some, torch.Generator().manual_seed(3))
    with torch.no_grad():
        own = net.posterior(some.images[0], some.seen[0])
        latent = drawn_from(own, torch.Generator().manual_seed(3))
        drawn, again = net.decode(latent), 0.0
        for one, image, good in zip(drawn, some.images[0], some.good[0], strict=True):
            again += 0.5 * float((((one - image) / 0.5)[good > 0] ** 2).sum())
    assert float(found["drawn again"]) == pytest.approx(again / 4 / (2 * 16 * 16), rel=1e-5)
    assert float(found["divergence"]) == pytest.approx(
        float(divergence(own, net.prior(), latent).mean()) / (2 * 16 * 16), rel=1e-5
    )


def test_what_is_drawn_at_bad_pixels_costs_nothing():
    net, some = network(), batch()
    bad = some.good == 0
    before = Bound(1.0)(net, some, torch.Generator().manual_seed(3))["drawn again"]
    other = ViewBatch(some.images, some.good, some.seen)
    hook = net.drawn.register_forward_hook(lambda _, __, out: out + 1e3 * bad[0])
    after = Bound(1.0)(net, other, torch.Generator().manual_seed(3))["drawn again"]
    hook.remove()
    assert float(after) == pytest.approx(float(before), rel=1e-6)


def test_clusters_are_the_shares_of_a_mixture_at_a_place():
    net = network()
    with torch.no_grad():
        found = net.clusters(net.centres)
        torch.testing.assert_close(found.sum(1), torch.ones(4))
        net.log_widths.fill_(-4)
        assert net.clusters(net.centres).argmax(1).tolist() == [0, 1, 2, 3]


def test_a_mixture_is_drawn_from_in_its_shares():
    net = network()
    with torch.no_grad():
        net.centres.copy_(50 * torch.eye(4, 3) - 25), net.log_widths.fill_(0)
        torch.manual_seed(0)
        counts = net.clusters(net.prior().sample((20_000,))).mean(0)
    torch.testing.assert_close(counts, net.shares.softmax(0).detach(), atol=0.02, rtol=0)
