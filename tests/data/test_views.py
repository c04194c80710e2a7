"""Batches of galaxies seen twice: what stays, what is refused, and that batch k depends on k alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skyloom.data.images import read_images
from skyloom.data.views import MOST_BLUR, Views, require_honest, view_batches
from skyloom.errors import RecipeError

NAMES = ("g", "r", "i")
PLAIN = Views(rotate=False, shift=0.0, blur=0.0, noise=1.0, dropout=0.0)


@pytest.fixture
def images(tiny_survey):
    return read_images(tiny_survey, tiny_survey.table(["object_id"])["object_id"].to_pylist())


def first(images, views, start=0, each=2, batch=8, crop=40, seed=1):
    stream = view_batches(
        images, lambda flux: flux, batch, views=views, bands=NAMES, crop=crop, each=each, seed=seed, start=start
    )
    return next(stream)


def test_batch_k_depends_on_k_alone(images):
    stream = view_batches(images, torch.asinh, 3, views=Views(), bands=NAMES, crop=40, each=2, seed=1)
    second = [next(stream) for _ in range(2)][1]
    again = next(view_batches(images, torch.asinh, 3, views=Views(), bands=NAMES, crop=40, each=2, seed=1, start=1))
    assert all(torch.equal(one, other) for one, other in zip(second, again, strict=True))
    other = next(view_batches(images, torch.asinh, 3, views=Views(), bands=NAMES, crop=40, each=2, seed=2, start=1))
    assert not torch.equal(other.images, second.images)


def test_both_views_are_of_the_same_galaxies_and_keep_their_light(images):
    """Total flux to 1 %, of galaxies that the crop holds: noise of rms 0.5 in 48 × 48 pixels adds 24."""
    seen = first(images, Views(noise=1.0, dropout=0.0, shift=1.0, blur=1.5), crop=48)
    light = seen.images.sum((3, 4))
    assert (light[0] - light[1]).abs().max() < 120
    assert ((light[0] / light[1] - 1).abs() < 0.08).all() and not torch.equal(seen.images[0], seen.images[1])
    assert light[0, :, 0].sort().values.diff().max() > 300  # they are galaxies of several magnitudes


def test_views_without_any_change_are_the_pixels_under_a_symmetry(images):
    seen = first(images, PLAIN, each=1, crop=64)
    for image in seen.images[0]:
        values = image.flatten(1).sort(1).values
        assert any(
            torch.allclose(values, own.flatten(1).sort(1).values, atol=1e-3 * float(own.abs().max()))
            for own in images.flux
        )


def test_a_band_that_is_left_out_is_dark_and_said_so_and_one_always_stays(images):
    seen = first(images, Views(dropout=0.9))
    gone = seen.seen == 0
    assert 0.4 < gone.float().mean() < 0.75
    assert (seen.images[gone] == 0).all() and (seen.good[gone] == 0).all()
    assert (~gone).any(2).all()


def test_bad_pixels_count_for_nothing(images):
    """The corner of every image is bad: in the whole cutout it stays bad, at a corner; in the crop nothing is."""
    whole = first(images, PLAIN, each=1, crop=64)
    assert (whole.good == 0).sum((3, 4)).unique().tolist() == [1]
    assert (whole.images[whole.good == 0] == 0).all()
    assert first(images, Views(dropout=0.0)).good.all()


def test_noise_grows_to_no_more_than_asked(images):
    corner = np.s_[..., 2:8, 2:8]
    quiet = first(images, PLAIN, each=1, crop=40).images[corner].std()
    noisy = (
        first(images, Views(rotate=False, shift=0, blur=0, noise=3, dropout=0), each=1, crop=40).images[corner].std()
    )
    assert 1.3 * quiet < noisy < 3 * quiet


@given(crop=st.integers(8, 64), shift=st.floats(0, 4))
def test_the_margin_holds_the_corners_of_a_turned_crop(crop, shift):
    side = Views(shift=shift).margin(crop)
    assert side % 8 == 0 and side / 2 > crop / 2 * np.sqrt(2) + shift
    assert Views(rotate=False, shift=0.0).margin(crop) == crop


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"dust": 0.1}, "dust=0.1 makes galaxies of other magnitude, colour, redshift one"),
        ({"blur": 3.0}, "blur=3 pixels changes sizes"),
        ({"noise": 0.5}, "noise is 1 or more"),
        ({"dropout": 1.0}, "dropout 0 to below 1"),
        ({"asked": ("mass",)}, "asked=mass"),
    ],
)
def test_views_that_change_what_will_be_asked_are_refused(changes, words):
    with pytest.raises(RecipeError, match=words):
        require_honest(Views(**changes), NAMES, psf=3.0)


def test_dust_and_blur_are_allowed_where_their_answers_are_not_asked_for():
    require_honest(Views(dust=0.3, blur=5.0, asked=("morphology",)), NAMES, psf=3.0)
    require_honest(Views(blur=MOST_BLUR * 3.0), NAMES, psf=3.0)
    with pytest.raises(RecipeError, match="wavelengths"):
        require_honest(Views(dust=0.3, asked=("morphology",)), ("g", "secret"), psf=3.0)


def test_dust_reddens_both_views_by_different_amounts(images):
    views = Views(rotate=False, shift=0, blur=0, noise=1, dropout=0, dust=3.0, asked=("morphology",))
    light = first(images, views, crop=48).images.sum((3, 4))
    colour = torch.log10(light[..., 0] / light[..., 2])
    assert (colour[0] - colour[1]).abs().max() > 0.1
