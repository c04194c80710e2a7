"""The reader of tokens: nothing is foreseen, nothing absent is seen, and what is kept in a cache changes nothing."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from skyloom.nn.laws import Law
from skyloom.nn.low_rank import LowRankLinear
from skyloom.nn.sky_gpt import SkyGPT, SkyGPTConfig
from skyloom.sky.tokens import TokenKind, Tokens

KINDS = (TokenKind("image", 4, 2), TokenKind("mag", 1, 0, 0, 3), TokenKind("curve", 1, 1, 2, 3))


def made(depth=2, **more):
    torch.manual_seed(0)
    net = SkyGPT(SkyGPTConfig(depth=depth, head=8, kinds=KINDS, waves=6, **more)).eval()
    for ends in net.ends:
        torch.nn.init.normal_(ends.says.weight, std=0.1)
    for layer in net.layers:
        torch.nn.init.normal_(layer.out.weight, std=0.1)
        torch.nn.init.normal_(layer.back.weight, std=0.1)
    return net


def some_batch(n=3, seed=0):
    rng = torch.Generator().manual_seed(seed)

    def tokens(t, w, a):
        places = torch.randn(n, t, a, generator=rng)
        return Tokens(torch.randn(n, t, w, generator=rng), torch.ones(n, t, w, dtype=torch.bool), places)

    return {"image": tokens(4, 4, 2), "mag": tokens(1, 1, 0), "curve": tokens(5, 1, 3)}


def changed(batch, name, place, by=1.0):
    values = batch[name].values.clone()
    values[:, place] += by
    return batch | {name: batch[name]._replace(values=values)}


def means(laws):
    return torch.cat([law.mean.flatten(1) for law in laws.values()], 1)


@pytest.mark.parametrize(("name", "place", "before"), [("image", 2, 2), ("mag", 0, 4), ("curve", 3, 8)])
def test_nothing_is_foreseen(name, place, before):
    """What is said of a token, and of all before it, does not change with it; what is said of a later one does."""
    net, batch = made(), some_batch()
    with torch.no_grad():
        here, there = net.next(batch), net.next(changed(batch, name, place))
    one, other = (torch.cat([law.expected.flatten(2).mean(2) for law in laws.values()], 1) for laws in (here, there))
    torch.testing.assert_close(one[:, : before + 1], other[:, : before + 1])
    assert (one[:, before + 1 :] - other[:, before + 1 :]).abs().max() > 1e-4


def test_what_is_hidden_is_not_looked_at_and_what_is_shown_is():
    net, batch = made(), some_batch()
    hidden = {"mag": torch.ones(3, 1, dtype=torch.bool)}
    with torch.no_grad():
        said = means(net.filled(batch, hidden))
        torch.testing.assert_close(means(net.filled(changed(batch, "mag", 0), hidden)), said)
        assert (means(net.filled(changed(batch, "image", 3), hidden)) - said).abs().max() > 1e-4


@pytest.mark.parametrize("how", ["next", "filled", "vectors"])
def test_tokens_that_are_absent_might_as_well_not_be_there(how):
    """Padding of a series changes nothing for the other tokens, whatever lies under it."""
    net, batch = made(), some_batch()
    curve = batch["curve"]
    padded = Tokens(*(torch.cat([part, 7 * part[:, :2]], 1) for part in curve))
    known = padded.known.bool()
    known[:, 5:] = False
    longer = batch | {"curve": padded._replace(known=known, values=torch.where(known, padded.values, 0.0))}
    with torch.no_grad():
        if how == "vectors":
            torch.testing.assert_close(net.vectors(longer), net.vectors(batch))
            return
        calls = [getattr(net, how)(one, *([{}] if how == "filled" else [])) for one in (batch, longer)]
    torch.testing.assert_close(calls[1]["curve"].mean[:, :5], calls[0]["curve"].mean)
    torch.testing.assert_close(calls[1]["image"].mean, calls[0]["image"].mean)


def test_a_cache_changes_nothing():
    """Token after token with kept keys and values: the laws that one pass over the filled sequence gives."""
    net, batch = made(), some_batch()
    for rng in (None, torch.Generator().manual_seed(1)):
        filled, laws = net.continued(batch, {"image": 2, "mag": 0, "curve": 0}, rng)
        with torch.no_grad():
            again = net.next(filled)
        for name in batch:
            torch.testing.assert_close(laws[name].mean, again[name].mean, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(filled["image"].values[:, :2], batch["image"].values[:, :2])
        assert not torch.equal(filled["image"].values[:, 2:], batch["image"].values[:, 2:])


def test_draws_follow_their_laws():
    """Of 4,000 objects alike, the first drawn number has the mean and spread that was said of it."""
    net = made()
    batch = {"mag": Tokens(torch.zeros(4000, 1, 1), torch.ones(4000, 1, 1, dtype=torch.bool), torch.zeros(4000, 1, 0))}
    filled, laws = net.continued(batch, {"mag": 0}, torch.Generator().manual_seed(0))
    values = filled["mag"].values.flatten()
    law = Law(*(part[:1] for part in (laws["mag"].log_share, laws["mag"].mean, laws["mag"].sigma)))
    share = float((values < float(law.quantile(0.84))).float().mean())
    assert share == pytest.approx(0.84, abs=4 * math.sqrt(0.84 * 0.16 / 4000))


def test_a_continuation_of_nothing_is_what_one_pass_says():
    net, batch = made(), some_batch()
    filled, laws = net.continued(batch, {})
    with torch.no_grad():
        again = net.next(batch)
    for name in batch:
        torch.testing.assert_close(filled[name].values, batch[name].values)
        torch.testing.assert_close(laws[name].mean, again[name].mean, atol=2e-5, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(mean=st.floats(-5, 5), sigma=st.floats(0.05, 4), value=st.floats(-8, 8), level=st.floats(0.02, 0.98))
def test_a_law_of_one_part_is_scipys_gaussian(mean, sigma, value, level):
    law = Law(torch.zeros(1, 1), torch.full((1, 1), mean), torch.full((1, 1), sigma))
    value = np.float32(value)
    assert float(law.surprise(torch.tensor([value]))) == pytest.approx(
        -norm.logpdf(value, mean, sigma), abs=1e-3, rel=1e-3
    )
    assert float(law.below(torch.tensor([value]))) == pytest.approx(norm.cdf(value, mean, sigma), abs=1e-4)
    assert float(law.quantile(level)) == pytest.approx(norm.ppf(level, mean, sigma), abs=1e-3)


def test_a_mixture_integrates_to_one_and_its_mean_is_that_of_its_density():
    law = Law.of(torch.randn(1, 9, generator=torch.Generator().manual_seed(3)), 1, 3)
    grid = torch.linspace(-30, 30, 60_001)
    wide = Law(*(part.expand(len(grid), -1, -1) for part in (law.log_share, law.mean, law.sigma)))
    density = (-wide.surprise(grid[:, None])).exp()[:, 0].double()
    assert float(torch.trapezoid(density, grid.double())) == pytest.approx(1, abs=1e-4)
    mean = float(torch.trapezoid(density * grid, grid.double()))
    assert mean == pytest.approx(float(law.expected), abs=1e-3)


def test_flop_counts_every_product():
    """PyTorch's own counter, of one forward pass."""
    net, batch = made(depth=3), some_batch(n=1)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        net.filled(batch, {})
    told = net.config.flop({name: tokens.values.shape[1] for name, tokens in batch.items()})
    assert told == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_a_change_of_low_rank_starts_at_nought_and_leaves_the_matrix():
    torch.manual_seed(0)
    layer, x = LowRankLinear(6, 4, 2), torch.randn(5, 6)
    torch.testing.assert_close(layer(x), x @ layer.weight.T)
    layer(x).square().sum().backward()
    assert layer.weight.grad is None and layer.up.grad is not None
    with torch.no_grad():
        layer.up.normal_()
    change = layer(x) - x @ layer.weight.T
    assert torch.linalg.matrix_rank(change) == 2


def test_recomputed_activations_give_the_same_gradient():
    grads = []
    for recompute in (False, True):
        net, batch = made(recompute=recompute), some_batch()
        sum(law.expected.sum() for law in net.next(batch).values()).backward()
        grads.append(torch.cat([weight.grad.flatten() for weight in net.parameters() if weight.grad is not None]))
    torch.testing.assert_close(*grads)
