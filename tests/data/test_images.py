"""Images in memory for generators: cut, binned, moved and turned without loss; nothing under a bad pixel matters."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import skyloom as sl
from skyloom.data import store
from skyloom.data.images import image_batches, moved, read_images
from skyloom.errors import CutoutError, RequestError


def waves(side=64, seed=0):
    """Light in the middle of an image, and none near its highest frequencies, as a PSF makes it."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side))
    image = sum(
        rng.normal() * np.exp(-0.5 * ((x - rng.uniform(26, 38)) ** 2 + (y - rng.uniform(26, 38)) ** 2) / 2**2)
        for _ in range(5)
    )
    return torch.from_numpy(np.asarray(image, np.float32))[None, None]


@settings(max_examples=15)
@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_an_image_that_is_moved_forth_and_back_is_as_it_was(dx, dy):
    image, there = waves(), torch.tensor([[dx, dy]])
    back = moved(moved(image, there), -there)
    torch.testing.assert_close(back[..., 4:-4, 4:-4], image[..., 4:-4, 4:-4], atol=2e-3, rtol=0)


def test_a_move_by_whole_pixels_moves_by_whole_pixels():
    image = waves()
    by = moved(image, torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(by[..., 4:-4, 4:-4], image.roll((-1, 2), (-2, -1))[..., 4:-4, 4:-4], atol=1e-3, rtol=0)


def test_noise_that_is_moved_is_as_strong_as_before_and_as_white():
    noise = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    by = moved(noise, torch.full((64, 2), 0.5))
    inner = by[..., 8:-8, 8:-8]
    assert float(inner.std()) == pytest.approx(1, abs=0.03)
    neighbours = float((inner[..., 1:] * inner[..., :-1]).mean())
    assert abs(neighbours) < 0.03  # linear interpolation would leave 0.5 in each direction


def test_images_are_the_centres_of_cutouts_without_their_sky(tiny_survey):
    ids = tiny_survey.table(["object_id"])["object_id"].to_pylist()
    images = read_images(tiny_survey, ids, size=16)
    cutouts = list(tiny_survey.read())
    assert images.flux.shape == (len(ids), 3, 16, 16) and images.ids == tuple(ids)
    centre = np.stack([cutout.flux[:, 24:40, 24:40] for cutout in cutouts])
    step = (images.flux.numpy() - centre).std((2, 3))
    np.testing.assert_allclose(step, 0, atol=1e-3)  # a constant per plane was taken away: its sky


def test_bins_are_means_and_noise_is_that_of_means(tiny_survey):
    ids = tiny_survey.table(["object_id"])["object_id"].to_pylist()
    fine, coarse = read_images(tiny_survey, ids), read_images(tiny_survey, ids, bin=2)
    mean = fine.flux.unflatten(2, (32, 2)).unflatten(4, (32, 2)).mean((3, 5))
    good = torch.stack([coarse.good(k) for k in range(len(coarse))]) > 0
    torch.testing.assert_close(torch.where(good, coarse.flux, 0), torch.where(good, mean, 0), atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(coarse.noise, fine.noise / 2)


def test_what_lies_under_a_bad_pixel_changes_nothing(tiny_survey, tmp_path):
    cutouts = list(tiny_survey.read())
    sets = []
    for number, value in enumerate((np.nan, 1e30, 0.0)):

        def changed(value=value):
            for cutout in cutouts:
                flux = np.where(cutout.ivar > 0, cutout.flux, np.float32(value))
                yield sl.Cutout(cutout.object_id, flux, cutout.ivar, tile=cutout.tile)

        survey = store.write(tmp_path / f"{number}.lance", tiny_survey.info, changed())
        sets.append(read_images(survey, [cutout.object_id for cutout in cutouts]))
    for other in sets[1:]:
        assert torch.equal(sets[0].flux, other.flux) and sets[0].bad.keys() == other.bad.keys()


def test_batches_follow_from_their_number(tiny_survey):
    ids = tiny_survey.table(["object_id"])["object_id"].to_pylist()
    images = read_images(tiny_survey, ids)

    def stream(start):
        return image_batches(images, lambda flux: flux, 3, shift=0.5, seed=1, start=start)

    early, late = stream(0), stream(2)
    next(early), next(early)
    for _ in range(3):
        first, again = next(early), next(late)
        assert torch.equal(first.images, again.images) and torch.equal(first.good, again.good)


def test_every_image_comes_once_an_epoch_under_every_symmetry(tiny_survey):
    ids = tiny_survey.table(["object_id"])["object_id"].to_pylist()
    images = read_images(tiny_survey, ids)
    stream = image_batches(images, lambda flux: flux, len(ids), shift=0.0, seed=1)
    totals = [sorted(next(stream).images.sum((1, 2, 3)).tolist()) for _ in range(3)]
    np.testing.assert_allclose(totals, [totals[0]] * 3, rtol=1e-4)


def test_what_cannot_be_read_is_refused(tiny_survey):
    ids = tiny_survey.table(["object_id"])["object_id"].to_pylist()
    with pytest.raises(RequestError, match="does not fit"):
        read_images(tiny_survey, ids, size=65)
    with pytest.raises(CutoutError, match="no band"):
        read_images(tiny_survey, ids, bands=("nope",))
