"""Magnitudes, colours and half-light radii: the laws that light obeys, and galaxies whose radius GalSim knows."""

from functools import cache

import galsim
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photutils.aperture import CircularAperture
from scipy.ndimage import shift

from skyloom.errors import RequestError
from skyloom.metrics.photometry import circles, joined, photometry

SCALE, ZERO_POINTS = 0.2, (22.0, 23.0, 24.0)


@cache
def drawn(n=1.0, r_e=1.2, q=0.7, size=128, flux=1000.0, fwhm=0.7) -> tuple[np.ndarray, float]:
    """A Sérsic galaxy through a Moffat PSF, (1, 3, size, size), and the radius of half its light in a fine drawing."""
    galaxy = galsim.Sersic(n, half_light_radius=r_e, flux=flux).shear(q=q, beta=25 * galsim.degrees)
    seen = galsim.Convolve(galaxy, galsim.Moffat(beta=3.5, fwhm=fwhm))
    fine = seen.drawImage(nx=512, ny=512, scale=0.1, dtype=float)
    image = seen.drawImage(nx=size, ny=size, scale=SCALE, dtype=np.float32).array
    return np.stack([image, 2 * image, 3 * image])[None], fine.calculateHLR(flux=flux)


def measured(flux, **changes):
    return photometry(flux, SCALE, ZERO_POINTS, bands="gri", **changes)


@pytest.mark.parametrize(
    "n, r_e, q", [(0.5, 0.6, 1.0), (1.0, 0.6, 0.5), (1.0, 1.5, 0.9), (2.5, 0.8, 0.6), (4.0, 0.8, 1.0)]
)
def test_the_half_light_radius_is_the_one_galsim_knows_to_five_per_cent(n, r_e, q):
    flux, truth = drawn(n, r_e, q)
    assert measured(flux).r_e[0] == pytest.approx(truth, rel=0.05)


def test_the_half_light_radius_survives_noise():
    flux, truth = drawn(r_e=1.0)
    noisy = flux + np.random.default_rng(0).normal(0, 0.05, (40, *flux.shape[1:])).astype(np.float32)
    assert np.median(measured(noisy, largest=6.0).r_e) == pytest.approx(truth, rel=0.05)


@settings(max_examples=20)
@given(factor=st.floats(0.01, 100))
def test_scaling_the_flux_shifts_magnitudes_and_leaves_colours_and_sizes(factor):
    flux = drawn(size=32)[0]
    before, after = measured(flux), measured((flux * np.float32(factor)).astype(np.float32))
    np.testing.assert_allclose(after.magnitudes - before.magnitudes, -2.5 * np.log10(factor), atol=1e-5)
    np.testing.assert_allclose(after.colours, before.colours, atol=1e-5)
    np.testing.assert_allclose(after.r_e, before.r_e, rtol=1e-4)


def test_colours_are_differences_of_neighbouring_bands():
    found = measured(drawn()[0])
    expected = np.diff(ZERO_POINTS) * -1 - 2.5 * np.log10([1 / 2, 2 / 3])
    np.testing.assert_allclose(found.colours[0], expected, atol=1e-6)
    assert [one.name for one in found.properties] == ["g", "r", "i", "g − r", "r − i", "R_e"]
    assert [one.unit for one in found.properties] == ["mag"] * 5 + ["arcsec"]


@pytest.mark.parametrize("k, mirrored", [(1, False), (2, True), (3, True)])
def test_turning_the_image_changes_nothing(k, mirrored):
    flux = drawn(size=48)[0]
    turned = np.rot90(flux[..., ::-1] if mirrored else flux, k, (2, 3)).copy()
    np.testing.assert_allclose(measured(turned).r_e, measured(flux).r_e, rtol=1e-5)
    np.testing.assert_allclose(measured(turned).magnitudes, measured(flux).magnitudes, atol=1e-5)


def test_half_of_the_light_within_the_largest_radius_lies_within_r_e():
    flux = drawn(n=4.0, r_e=2.0)[0]
    found = measured(flux, largest=8.0)
    circles_of = [CircularAperture((63.5, 63.5), radius) for radius in (found.r_e[0] / SCALE, 8.0 / SCALE)]
    half, whole = (circle.do_photometry(flux[0, 0], method="exact")[0][0] for circle in circles_of)
    assert half / whole == pytest.approx(0.5, abs=2e-3)


@settings(max_examples=40)
@given(radius=st.floats(0.3, 11), x=st.floats(9, 14), y=st.floats(9, 14))
def test_pixels_are_cut_by_circles_as_photutils_cuts_them(radius, x, y):
    radius = min(radius, x, y, 23 - x, 25 - y)
    weights = circles((26, 24), (x, y), (radius,)).reshape(26, 24)
    exact = CircularAperture((x, y), radius).to_mask(method="exact").to_image((26, 24))
    np.testing.assert_allclose(weights, exact, atol=1e-6)
    assert weights.sum() == pytest.approx(np.pi * radius**2, rel=1e-5)


def test_magnitudes_are_taken_within_the_aperture_about_the_centre_given():
    flux = drawn(size=64)[0]
    moved = np.stack([[shift(band, (3, -5), order=1) for band in one] for one in flux])
    here, there = measured(flux, largest=5.0), measured(moved, largest=5.0, centre=(26.5, 34.5))
    np.testing.assert_allclose(there.magnitudes, here.magnitudes, atol=1e-5)
    np.testing.assert_allclose(there.r_e, here.r_e, rtol=1e-5)
    exact = CircularAperture((31.5, 31.5), 7.5).do_photometry(flux[0, 0], method="exact")[0][0]
    assert here.magnitudes[0, 0] == pytest.approx(22 - 2.5 * np.log10(exact), abs=1e-3)


def test_what_cannot_be_measured_is_nan_and_counted():
    flux = np.concatenate([drawn(size=32)[0]] * 4)
    flux[1, 2] *= -1
    flux[2, :] = 0
    found = measured(flux, reference=2)
    assert found.unmeasured == {"g": 1, "r": 1, "i": 2, "g − r": 1, "r − i": 2, "R_e": 2}
    assert np.isnan(found.r_e).tolist() == [False, True, True, False]


def test_galaxies_are_measured_one_by_one_as_together():
    flux = np.concatenate([drawn(r_e=r_e, size=48)[0] for r_e in (0.5, 0.8, 1.1)])
    together, alone = measured(flux), joined([measured(flux[k : k + 1]) for k in range(3)])
    np.testing.assert_allclose(together.r_e, alone.r_e, rtol=1e-5)
    np.testing.assert_allclose(together.magnitudes, alone.magnitudes, atol=1e-6)
    np.testing.assert_array_equal(together.take(np.array([2, 0])).r_e, together.r_e[[2, 0]])


def test_without_facts_of_the_survey_the_units_say_so():
    flux = drawn(size=32)[0]
    bare = photometry(flux, None, [None] * 3, aperture=15.0)
    known = photometry(flux, SCALE, [0.0] * 3)
    assert bare.units == ("mag (instrumental)", "pix")
    np.testing.assert_allclose(bare.r_e * SCALE, known.r_e)
    np.testing.assert_allclose(bare.magnitudes, known.magnitudes)


@pytest.mark.parametrize("changes", [{"aperture": 30.0}, {"largest": 9.0}, {"aperture": 0.0}, {"centre": (1.0, 16.0)}])
def test_circles_that_do_not_fit_are_refused(changes):
    with pytest.raises(RequestError, match="larger cutouts"):
        measured(drawn(size=32)[0], **changes)
