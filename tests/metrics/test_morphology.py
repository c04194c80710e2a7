"""Morphology without a model: laws of scale and symmetry, closed forms, noise, neighbours; what cannot be measured."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from skyloom.errors import RequestError
from skyloom.metrics.morphology import GALAXY, OTHER, SKY, Morphology, _gini, _growth, _m20, morphology, segmented
from skyloom.metrics.morphology import _Ellipse as Ellipse

SIDE, NOISE = 96, 0.05


def galaxy(sersic_image, n=1.0, axis_ratio=0.7, centre=(47.3, 47.6), flux=2000.0, r_e=7.0):
    image = sersic_image(SIDE, flux, r_e, n, axis_ratio, 0.5, centre)
    return gaussian_filter(image, 1.2)


def noisy(image, seed=0, rms=NOISE):
    return image + np.random.default_rng(seed).normal(0, rms, image.shape)


def measured(image, noise=NOISE) -> Morphology:
    return Morphology(*(float(one[0]) for one in morphology(np.asarray(image)[None], np.array([noise]))))


@pytest.mark.parametrize("gain", [1e-9, 0.3, 1e9])
def test_the_unit_of_flux_makes_no_difference(gain, sersic_image):
    image = noisy(galaxy(sersic_image))
    np.testing.assert_allclose(measured(gain * image, gain * NOISE), measured(image), rtol=1e-6)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_turning_or_mirroring_an_image_changes_nothing(turns, mirrored, sersic_image):
    image = noisy(galaxy(sersic_image))
    turned = np.rot90(image[:, ::-1] if mirrored else image, turns)
    np.testing.assert_allclose(measured(turned), measured(image), rtol=1e-3, atol=1e-4)


def test_an_exponential_disc_is_as_concentrated_as_the_closed_form_says(sersic_image):
    found = measured(sersic_image(SIDE, 1e5, 8.0, 1.0, 1.0, 0.0), 0.01)
    scale = 8.0 / 1.67835
    radii = np.linspace(1e-6, 30 * scale, 200_000)
    light = 1 - (1 + radii / scale) * np.exp(-radii / scale)
    inside = light < light[np.searchsorted(radii, 1.5 * found.petrosian_radius)]
    r20, r80 = (np.interp(share * light[inside].max(), light, radii) for share in (0.2, 0.8))
    assert found.concentration == pytest.approx(5 * np.log10(r80 / r20), abs=0.02)
    mean = light / (np.pi * radii**2)
    ratio = np.exp(-radii / scale) / (2 * np.pi * scale**2) / mean
    petrosian = radii[np.flatnonzero((ratio < 0.2) & (radii > 1))[0]]
    assert found.petrosian_radius == pytest.approx(petrosian, rel=0.01)
    assert abs(found.asymmetry) < 0.005 and abs(found.smoothness) < 0.005


def test_a_growth_curve_is_exact_for_a_plane_and_fills_holes():
    good = np.ones((40, 40), bool)
    good[5:12, 22:30] = False
    for ellipse in (Ellipse(19.2, 20.7), Ellipse(19.2, 20.7, 0.5, 0.8)):
        found = _growth(np.where(good, 3.0, 0.0), good, ellipse)
        inside = found.radius < 15
        np.testing.assert_allclose(found.area[inside], np.pi * ellipse.ratio * found.radius[inside] ** 2)
        np.testing.assert_allclose(found.flux[inside], 3 * found.area[inside])


def test_gini_and_m20_are_those_of_their_definitions():
    assert _gini(np.full(9, 2.0)) == pytest.approx(0) and _gini(np.eye(1, 9)[0]) == pytest.approx(1)
    values = np.random.default_rng(0).exponential(size=50)
    differences = np.abs(values[:, None] - values).sum()
    assert _gini(values) == pytest.approx(differences / (2 * values.mean() * 50 * 49))
    image = np.zeros((9, 9))
    image[4, 3:6] = 3, 10, 3  # the brightest pixel has more than a fifth of the light, and lies at its centre
    outline = np.zeros((9, 9), bool)
    outline[4, 2:7] = True
    image[4, [2, 6]] = 1
    assert np.isnan(_m20(image, outline))
    image[4, 4], image[4, 3] = 0, 10  # then 10 of 15 at x = 3
    centre = (2 + 30 + 15 + 6) / 15
    moment = [1 * (2 - centre) ** 2, 10 * (3 - centre) ** 2, 3 * (5 - centre) ** 2, 1 * (6 - centre) ** 2]
    assert _m20(image, outline) == pytest.approx(np.log10(moment[1] / sum(moment)))


def test_noise_moves_no_number_on_average(sersic_image):
    image, clean = galaxy(sersic_image), measured(galaxy(sersic_image), 1e-3)
    found = morphology(np.stack([noisy(image, seed) for seed in range(12)]), np.full(12, NOISE))
    tolerance = {"concentration": 0.08, "asymmetry": 0.01, "smoothness": 0.01, "gini": 0.015, "m20": 0.03}
    for name, allowed in tolerance.items():
        assert np.mean(getattr(found, name)) == pytest.approx(getattr(clean, name), abs=allowed), name
    assert np.median(found.snr) > 10


def test_lumps_off_the_centre_make_a_galaxy_less_symmetric_and_less_smooth(sersic_image):
    image, previous = galaxy(sersic_image), None
    for height in (0.0, 0.5, 1.0):
        lumpy = image.copy()
        for y, x in ((40, 52), (53, 42), (44, 40), (56, 50)):
            lumpy += (
                height
                * image.max()
                * 0.2
                * gaussian_filter(np.eye(1, SIDE**2, SIDE * y + x).reshape(SIDE, SIDE), 1.0)
                * 6
            )
        found = measured(noisy(lumpy))
        if previous:
            assert found.asymmetry > previous.asymmetry + 0.01 and found.smoothness > previous.smoothness + 0.003
        previous = found


def test_blur_makes_galaxies_less_concentrated_and_more_equal(sersic_image):
    found = [measured(noisy(gaussian_filter(galaxy(sersic_image, n=2.5), s)), 0.05) for s in (0.01, 1.5, 3.0)]
    for name in ("concentration", "gini"):
        one, other, last = (getattr(each, name) for each in found)
        assert one > other > last


def test_neighbours_and_bad_pixels_are_left_out(sersic_image):
    alone = noisy(galaxy(sersic_image))
    crowded = alone + sersic_image(SIDE, 3000.0, 2.0, 1.0, 1.0, 0.0, (12, 78))
    crowded[60:63, 20] = np.nan
    what = segmented(crowded[None], np.array([NOISE]))[0]
    assert what[78, 12] == OTHER and what[47, 47] == GALAXY and what[2, 2] == SKY and (what[60:63, 20] == OTHER).all()
    np.testing.assert_allclose(measured(crowded), measured(alone), rtol=0.02, atol=0.02)


def test_images_do_not_know_of_each_other(sersic_image):
    images = np.stack([noisy(galaxy(sersic_image, n), k) for k, n in enumerate((1.0, 2.0, 4.0))])
    together = morphology(images, np.full(3, NOISE))
    for k, image in enumerate(images):
        np.testing.assert_array_equal([one[k] for one in together], measured(image))


@pytest.mark.parametrize("image", [np.zeros((32, 32)), np.full((32, 32), 5.0), np.full((32, 32), np.nan)])
def test_what_cannot_be_measured_is_nan(image):
    assert np.isnan(measured(image, 1.0)).all()


def test_noise_alone_and_a_source_far_from_the_middle_are_no_galaxy(sersic_image):
    assert np.isnan(measured(noisy(np.zeros((SIDE, SIDE))), 5 * NOISE)).all()
    assert np.isnan(measured(noisy(galaxy(sersic_image, centre=(15.0, 80.0))), NOISE).concentration)


def test_a_galaxy_too_small_to_be_smoothed_has_no_smoothness(sersic_image):
    found = measured(noisy(galaxy(sersic_image, r_e=1.5)))
    assert np.isnan(found.smoothness) and np.isfinite(found.concentration) and found.petrosian_radius < 8


def test_one_noise_for_each_image_is_asked_for():
    with pytest.raises(RequestError, match="one rms for each"):
        morphology(np.zeros((2, 8, 8)), np.ones(3))
    assert len(morphology(np.zeros((0, 8, 8)), np.ones(0)).gini) == 0
