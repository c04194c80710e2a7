"""Views of galaxies: exact where pixels lie on each other, right in direction and size, and the same for one seed."""

import numpy as np
import pytest
import torch

from skyloom.data.cutout import Band, SurveyInfo
from skyloom.data.images import ImageSet
from skyloom.data.poses import Wobble, fixed_views, view_batches, viewed


def spot(x: float, y: float, side=33, width=1.5) -> torch.Tensor:
    """One image with a round source at (x, y) from the middle."""
    at = torch.arange(side) - (side - 1) / 2
    return torch.exp(-((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * width**2))[None, None]


def place(image: torch.Tensor) -> tuple[float, float]:
    """Where the light of a view is, from its middle."""
    at = torch.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2
    total = image.sum()
    return float((image[0, 0].sum(0) * at).sum() / total), float((image[0, 0].sum(1) * at).sum() / total)


def one(image, side=33, angle=0.0, mirrored=1.0, zoom=1.0, shift=(0.0, 0.0), reach=1.0):
    numbers = (torch.tensor([float(value)]) for value in (np.radians(angle), mirrored, zoom))
    return viewed(image, side, *numbers, torch.tensor([shift]), reach)


def test_an_image_seen_as_it_is_is_itself_and_its_middle_is_a_crop():
    image = torch.randn(1, 2, 33, 33)
    torch.testing.assert_close(one(image), image, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one(image, side=17), image[..., 8:25, 8:25], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_move_pixels_onto_pixels(turns):
    image = torch.randn(1, 1, 32, 32)
    seen = one(image, side=32, angle=90 * turns)
    torch.testing.assert_close(seen, torch.rot90(image, turns, (2, 3)), atol=1e-4, rtol=1e-4)
    mirrored = one(image, side=32, mirrored=-1.0)
    torch.testing.assert_close(mirrored, image.flip(3), atol=1e-4, rtol=1e-4)


def test_a_source_is_where_turn_zoom_and_shift_bring_it():
    image = spot(4.0, 0.0)
    x, y = place(one(image, angle=30))
    assert (x, y) == (pytest.approx(4 * np.cos(np.pi / 6), abs=0.02), pytest.approx(-4 * np.sin(np.pi / 6), abs=0.02))
    assert place(one(image, zoom=1.5)) == pytest.approx((6.0, 0.0), abs=0.02)
    assert place(one(image, shift=(2.0, -3.0))) == pytest.approx((6.0, -3.0), abs=0.02)
    assert place(one(image, side=17, reach=2.0)) == pytest.approx((2.0, 0.0), abs=0.02)


def test_beyond_the_image_there_is_sky():
    seen = one(torch.ones(1, 1, 9, 9), side=21)
    assert (seen[..., 0] == 0).all() and seen[0, 0, 10, 10] == pytest.approx(1, abs=1e-5)


def test_fixed_views_are_as_many_as_angles_and_mirrors():
    image = torch.randn(2, 1, 16, 16)
    assert len(list(fixed_views(image, 16, (0.0, 45.0), False))) == 2
    eight = list(fixed_views(image, 16, (0.0, 90.0, 180.0, 270.0), True))
    assert len({tuple(view[0, 0, 0].round(decimals=3).tolist()) for view in eight}) == 8


def sets(counts=(5, 4)):
    info = SurveyInfo((Band("r", None, None, None),), (12, 12), None, "", "", "", ())
    flux = [torch.randn(n, 1, 12, 12) for n in counts]
    return [ImageSet(tuple(map(str, range(len(f)))), f, {}, np.ones(1), info) for f in flux]


def batches(images, labels, start=0, seed=3):
    return view_batches(
        images, labels, lambda x: x, 3, side=8, reach=1.0, wobble=Wobble(1.3, 2.0, 0.1), seed=seed, start=start
    )


def test_every_image_comes_once_an_epoch_with_its_label_and_a_stream_can_be_taken_up_anywhere():
    images = sets()
    labels = [np.arange(5.0)[:, None], 10 + np.arange(4.0)[:, None]]
    stream = batches(images, labels)
    first = [next(stream) for _ in range(6)]
    for epoch in (first[:3], first[3:]):
        assert sorted(torch.cat([b.labels for b in epoch])[:, 0].tolist()) == [0, 1, 2, 3, 4, 10, 11, 12, 13]
    again = next(batches(images, labels, start=4))
    assert torch.equal(again.images, first[4].images) and torch.equal(again.labels, first[4].labels)
    assert not torch.equal(next(batches(images, labels, seed=4)).images, first[0].images)
