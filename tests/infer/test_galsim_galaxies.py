"""Generated galaxies as GalSim profiles: total flux, shear, PSF; GalSim's own profiles and moments are the referees."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import skyloom as sl
from skyloom.data.mocks.mock import mock_cutouts
from skyloom.data.mocks.observation import alone, survey_like_kids
from skyloom.errors import RequestError
from skyloom.infer.galsim_galaxies import isolated
from skyloom.infer.generator import generator_of
from skyloom.infer.noiseless import noiseless

gs = pytest.importorskip("galsim")

SCALE, PSF = 0.2, {"fwhm": 0.68, "beta": 3.0}


@pytest.fixture(scope="module")
def generator():
    return generator_of("galaxy-mock")


@pytest.fixture(scope="module")
def galaxies(generator):
    return sl.galsim_galaxies(generator, 4, seed=3, steps=8)


def stamp(profile, scale=SCALE, side=128):
    return profile.drawImage(nx=side, ny=side, scale=scale, method="no_pixel")


def moments(profile):
    return gs.hsm.FindAdaptiveMom(stamp(profile, scale=0.1, side=256)).observed_shape


def test_all_flux_is_drawn_and_goes_through_a_psf(galaxies):
    for galaxy in galaxies:
        for profile in galaxy.values():
            assert stamp(profile).array.sum() == pytest.approx(profile.flux, rel=5e-3) and profile.flux > 0
            seen = gs.Convolve(profile, gs.Moffat(beta=3, fwhm=1.0)).drawImage(nx=256, ny=256, scale=SCALE)
            assert seen.array.sum() == pytest.approx(profile.flux, rel=5e-3)


def test_the_response_to_shear_is_that_of_the_shape(galaxies):
    """Adaptive moments of a sheared image are the sheared moments: for any galaxy, nothing is left to choose."""
    for galaxy in galaxies:
        plain = moments(galaxy["r"])
        for part in ("g1", "g2"):
            shears = [gs.Shear(**{part: size}) for size in (0.03, -0.03)]
            plus, minus = (getattr(moments(galaxy["r"].shear(one)), part) for one in shears)
            expected = [getattr(one + plain, part) for one in shears]
            assert plus - minus == pytest.approx(expected[0] - expected[1], rel=0.01)


def test_without_its_psf_it_is_smaller_and_comes_back_through_the_same_psf(generator, galaxies):
    bare = sl.galsim_galaxies(generator, 1, seed=3, steps=8, deconvolved=True)[0]["r"]
    assert bare.flux == pytest.approx(galaxies[0]["r"].flux, rel=1e-4)
    psf, wider = (
        gs.Convolve(gs.Moffat(**PSF), gs.Pixel(SCALE)),
        gs.Gaussian(fwhm=0.6),
    )
    again, before = (stamp(gs.Convolve(*parts)).array for parts in ((bare, psf, wider), (galaxies[0]["r"], wider)))
    np.testing.assert_allclose(again, before, atol=5e-3 * before.max())
    sharper, duller = (stamp(gs.Convolve(one, wider)).array.max() for one in (bare, galaxies[0]["r"]))
    assert sharper > 1.1 * duller


def test_flux_has_the_zero_point_that_is_asked_for(generator, galaxies):
    other = sl.galsim_galaxies(generator, 1, seed=3, steps=8, zero_point=25.0)[0]
    for band, profile in other.items():
        assert profile.flux == pytest.approx(galaxies[0][band].flux / 100, rel=1e-4)


def test_flux_is_that_of_the_magnitude_and_colours_that_were_asked_for():
    """A colour ties a band to its neighbour; a band that nothing was said of has the light that was painted."""
    labels = {"r_mag": [20.0, 21.0], "g_r": 0.8}
    made = sl.galsim_galaxies("galaxy-mock-conditional", 2, labels=labels, steps=2, zero_point=30.0)
    for magnitude, galaxy in zip(labels["r_mag"], made, strict=True):
        assert galaxy["r"].flux == pytest.approx(10 ** (0.4 * (30 - magnitude)), rel=1e-6)
        assert galaxy["g"].flux == pytest.approx(10 ** (0.4 * (30 - magnitude - 0.8)), rel=1e-6)
        assert stamp(galaxy["r"]).array.sum() == pytest.approx(galaxy["r"].flux, rel=5e-3)
        assert galaxy["i"].flux != galaxy["r"].flux


@pytest.fixture(scope="module")
def pairs():
    """Mocks with noise and the same without, one galaxy in each and no sky level."""
    observation = replace(alone(survey_like_kids("gri")), sky=(0.0, 0.0))
    noises = (observation, replace(observation, noise=False))
    return [np.stack([one.flux for one in mock_cutouts(8, 64, "gri", 62, observation=each)]) for each in noises]


def test_noise_is_taken_away_and_light_is_left(generator, pairs):
    """The truth of mocks: a tenth of the noise is left at most, and the flux of the galaxies within 4 %."""
    noisy, clean = pairs
    found = noiseless(generator, torch.from_numpy(noisy)).numpy()
    y, x = np.indices(noisy.shape[2:]) - 31.5
    inside, outside = np.hypot(x, y) < 10, np.hypot(x, y) > 22
    left = ((found - clean) / np.array(generator.noise)[:, None, None])[:, :, outside]
    assert left.std() < 0.1 and abs(left.mean()) < 0.05
    ratio = found[:, :, inside].sum(2) / clean[:, :, inside].sum(2)
    assert np.median(ratio, 0).tolist() == pytest.approx([1, 1, 1], abs=0.04)


def test_a_neighbour_is_taken_away_and_the_galaxy_is_left(generator, pairs, sersic_image):
    light = pairs[1][0].astype(float)
    neighbour = sersic_image(size=64, flux=0.5 * light[1].sum(), r_e=2.0, n=1.0, axis_ratio=0.9, centre=(47, 20))
    noise = np.array(generator.noise)
    alone_, crowded = isolated(light, noise), isolated(light + neighbour, noise)
    assert crowded.sum((1, 2)) == pytest.approx(alone_.sum((1, 2)), rel=0.05)
    assert np.abs(crowded - alone_)[:, 16:25, 43:52].max() < 0.1 * neighbour.max()
    assert not crowded[:, 0].any() or np.abs(crowded[:, 0]).max() < 1e-2 * crowded.max()


def test_what_cannot_be_a_profile_is_refused(generator):
    unsized = replace(generator, info=replace(generator.info, pixel_scale=None))
    with pytest.raises(RequestError, match="have no size"):
        sl.galsim_galaxies(unsized)
    blurred = replace(generator.info, bands=tuple(replace(band, psf_fwhm=None) for band in generator.info.bands))
    with pytest.raises(RequestError, match="give psf"):
        sl.galsim_galaxies(replace(generator, info=blurred), deconvolved=True)
    with pytest.raises(RequestError, match="cannot tell light from noise"):
        noiseless(replace(generator, spread=0.0), torch.zeros(1, 3, 64, 64))
