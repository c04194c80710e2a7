"""The random encoder: the same for one seed and for a turned image, and different for what looks different."""

import numpy as np
import pytest
import torch

from skyloom.nn.random_features import RandomEncoder, RandomEncoderConfig


def images(count=4, bands=3, side=32, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, bands, side, side)).astype(np.float32))


@pytest.mark.parametrize("bands", [1, 3, 9])
def test_any_number_of_bands_gives_vectors_of_one_length(bands):
    config = RandomEncoderConfig(bands=bands)
    assert RandomEncoder(config)(images(2, bands)).shape == (2, config.dimension)
    assert 128 <= config.dimension <= 256


def test_one_seed_gives_one_encoder_and_another_another():
    state = torch.random.get_rng_state()
    first, again, other = (RandomEncoder(RandomEncoderConfig(seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)  # the global stream is left alone
    assert torch.equal(first(images()), again(images()))
    assert not torch.allclose(first(images()), other(images()), atol=0.1)


def test_weights_are_those_of_numpys_stream_on_every_machine():
    weights = RandomEncoder(RandomEncoderConfig(bands=1)).get_buffer("filters_0")[0, 0]
    drawn = np.random.default_rng(0).normal(size=(16, 1, 4, 4))[0, 0]
    np.testing.assert_allclose(weights, drawn / np.sqrt((drawn**2).sum()), rtol=1e-6)


def test_nothing_can_be_trained():
    assert not list(RandomEncoder(RandomEncoderConfig()).parameters())


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_eight_symmetries_of_an_image_have_the_same_features(turns, mirrored):
    encoder, upright = RandomEncoder(RandomEncoderConfig()), images()
    turned = torch.rot90(upright.flip(3) if mirrored else upright, turns, (2, 3))
    torch.testing.assert_close(encoder(turned), encoder(upright), atol=2e-5, rtol=1e-4)


def test_light_colour_and_texture_change_the_features_by_more_than_noise_does():
    encoder, sky = RandomEncoder(RandomEncoderConfig()), images(64)
    spread = encoder(sky).std(0)
    smooth = (sky + sky.roll(1, 3)) / 2**0.5  # of the same rms
    bluer = sky * torch.tensor([1.2, 1.0, 1.0])[:, None, None]
    for changed in (sky + 0.2, smooth, bluer):
        shift = (encoder(changed).mean(0) - encoder(sky).mean(0)).abs() / spread
        assert shift.max() > 1
