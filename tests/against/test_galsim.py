"""Drawings and true photometry against GalSim's own drawing, PSFs and Sérsic profiles.

Tolerance: 1e-3 of each pixel, or 3 % of the noise of an empty pixel.
Known to differ: GalSim folds in what lies beyond the pixels' Nyquist frequency and we leave it out, so the rows and
columns through a compact bulge ripple by a few parts in a thousand.
"""

import numpy as np
import pytest

from skyloom.data.mocks.draw import Placed, draw, draw_point
from skyloom.data.mocks.observation import KIDS_VIKING
from skyloom.data.mocks.population import Component, Galaxy
from skyloom.data.mocks.studio import studio
from skyloom.sky.psf import moffat, moffat_half_light_radius, moffat_transfer
from skyloom.sky.sersic import intensity, sersic_b, total_flux

galsim = pytest.importorskip("galsim")
STRICT = galsim.GSParams(maximum_fft_size=10_000, folding_threshold=2e-4, maxk_threshold=1e-4)


@pytest.mark.parametrize(("n", "r_e", "q"), [(0.5, 1.0, 0.3), (1.032, 3.0, 0.5), (2.064, 1.0, 0.9), (3.965, 0.6, 0.7)])
def test_a_drawing_is_what_galsim_draws(n, r_e, q):
    canvas = studio(128, "r", 0).optics.canvas
    image = draw(canvas, [Placed(Galaxy("disc", {"disc": Component(n, r_e, q, 35.0, {"r": 17.0})}), 63.3, 64.1)])[0]
    light = galsim.Sersic(n, half_light_radius=r_e * np.sqrt(q), flux=10 ** (0.4 * 13), gsparams=STRICT)
    fwhm, beta = canvas.psfs["r"]
    seen = galsim.Convolve(
        light.shear(q=q, beta=35 * galsim.degrees), galsim.Moffat(beta=beta, fwhm=fwhm), gsparams=STRICT
    )
    expected = seen.drawImage(galsim.ImageD(128, 128, scale=0.2), center=galsim.PositionD(64.3, 65.1)).array
    np.testing.assert_allclose(image, expected, rtol=1e-3, atol=0.03 * KIDS_VIKING["r"].sky_rms)


def test_a_star_is_what_galsim_draws():
    canvas = studio(64, "gr", 0).optics.canvas
    star = draw_point(canvas, 31.4, 32.2)
    for image, (fwhm, beta) in zip(star, canvas.psfs.values(), strict=True):
        expected = galsim.Moffat(beta=beta, fwhm=fwhm, gsparams=STRICT).drawImage(
            galsim.ImageD(64, 64, scale=0.2), center=galsim.PositionD(32.4, 33.2)
        )
        np.testing.assert_allclose(image, expected.array, atol=1e-3 * image.max())


@pytest.mark.parametrize("n", [0.5, 1.0, 2.5, 4.0, 6.0])
def test_the_sersic_law_is_galsims(n):
    theirs = galsim.Sersic(n, half_light_radius=2.0, flux=3.0)
    radius = np.array([0.1, 0.5, 2.0, 5.0])
    ours = 3.0 * intensity(radius, 2.0, n) / total_flux(1.0, 2.0, n)
    np.testing.assert_allclose(ours, [theirs.xValue(float(r), 0.0) for r in radius], rtol=1e-4)
    np.testing.assert_allclose(2.0 / theirs.scale_radius, sersic_b(n) ** n, rtol=1e-6)


@pytest.mark.parametrize(("fwhm", "beta"), [(0.68, 3.0), (1.0, 2.5), (0.8, 4.765)])
def test_the_moffat_is_galsims(fwhm, beta):
    theirs = galsim.Moffat(beta=beta, fwhm=fwhm)
    np.testing.assert_allclose(
        moffat(np.array([0.0, 0.3, 2.0]), fwhm, beta), [theirs.xValue(r, 0.0) for r in (0.0, 0.3, 2.0)], rtol=1e-6
    )
    wavenumber = np.array([0.5, 2.0, 8.0])
    np.testing.assert_allclose(
        moffat_transfer(wavenumber, fwhm, beta), [theirs.kValue(k, 0.0).real for k in wavenumber], atol=1e-4
    )
    np.testing.assert_allclose(moffat_half_light_radius(fwhm, beta), theirs.half_light_radius, rtol=1e-4)
