"""A masked autoencoder sees what is shown, and is held to what is hidden; to nothing else."""

import pytest
import torch

from skyloom.data.views import ViewBatch
from skyloom.nn.masked import MaskedAutoencoder, MaskedConfig
from skyloom.objectives.masked import HiddenPatches, some_places

SMALL = MaskedConfig(channels=2, side=16, patch=4, dimension=8, layers=1, heads=2, thin=8)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MaskedAutoencoder(SMALL).eval()


def batch(seed=0, n=3) -> ViewBatch:
    images = torch.randn(1, n, 2, 16, 16, generator=torch.Generator().manual_seed(seed))
    return ViewBatch(images, torch.ones_like(images), torch.ones(1, n, 2))


def places(n=3):
    return some_places(n, SMALL.patches, 0.75, torch.Generator().manual_seed(1))


def changed(batch: ViewBatch, net, at: torch.Tensor, by: float) -> torch.Tensor:
    """The images with other pixels in some patches."""
    images = batch.images[0].clone()
    for one, where in zip(images, at, strict=True):
        for place in where.tolist():
            y, x = 4 * (place // 4), 4 * (place % 4)
            one[:, y : y + 4, x : x + 4] += by
    return images


def test_places_are_shown_or_hidden_once_each():
    shown, hidden = places()
    assert shown.shape == (3, 4) and hidden.shape == (3, 12)
    assert (torch.cat([shown, hidden], 1).sort(1).values == torch.arange(16)).all()


def test_patches_lie_row_by_row_and_hold_their_pixels(net):
    images = batch().images[0]
    first = net.patches(images)[:, 6].unflatten(1, (2, 4, 4))
    torch.testing.assert_close(first, images[:, :, 4:8, 8:12])


def test_no_hidden_pixel_is_looked_at_and_every_shown_one_is(net):
    some, (shown, hidden) = batch(), places()
    with torch.no_grad():
        one = net.hidden_again(some.images[0], some.seen[0], shown)
        assert torch.equal(net.hidden_again(changed(some, net, hidden, 7.0), some.seen[0], shown), one)
        assert not torch.equal(net.hidden_again(changed(some, net, shown, 7.0), some.seen[0], shown), one)


def test_the_loss_is_the_mean_error_of_hidden_patches_and_of_no_others(net):
    some, objective = batch(), HiddenPatches(0.75, noise=0.5)
    shown, hidden = places()
    with torch.no_grad():
        found = float(objective(net, some, torch.Generator().manual_seed(1))["hidden patches"])
        drawn, true = net.hidden_again(some.images[0], some.seen[0], shown), net.patches(some.images[0])
        squares = [((drawn[i, k] - true[i, k]) / 0.5).square().mean() for i in range(3) for k in hidden[i].tolist()]
    assert found == pytest.approx(float(torch.stack(squares).mean()), rel=1e-5)
    hook = net.leave.register_forward_hook(lambda _, __, out: out + 9 * torch.zeros_like(out).scatter(
        1, shown[..., None].expand(-1, -1, out.shape[2]), torch.ones_like(out)))  # fmt: skip
    assert float(objective(net, some, torch.Generator().manual_seed(1))["hidden patches"]) == pytest.approx(found)
    hook.remove()


def test_bad_pixels_cost_nothing(net):
    some, objective = batch(), HiddenPatches(0.75, noise=1.0)
    good = some.good.clone()
    good[..., ::2] = 0
    seen = ViewBatch(some.images * good, good, some.seen)
    found = objective(net, seen, torch.Generator().manual_seed(1))["hidden patches"]
    hook = net.leave.register_forward_hook(lambda _, __, out: out + 9 * (1 - net.patches(good[0])))
    other = objective(net, seen, torch.Generator().manual_seed(1))["hidden patches"]
    hook.remove()
    assert float(found.detach()) == pytest.approx(float(other.detach()))


def test_vectors_are_of_all_patches(net):
    some = batch()
    with torch.no_grad():
        whole = net(some.images[0], some.seen[0])
        for place in range(16):
            other = changed(some, net, torch.full((3, 1), place), 3.0)
            assert not torch.allclose(net(other, some.seen[0]), whole)
