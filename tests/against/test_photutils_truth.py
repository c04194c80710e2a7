"""The true isophotes against photutils.isophote on finely sampled images that GalSim alone drew, without noise.

Compared: surface brightness, ellipticity and PA of the isophotes with PSF and pixel (Sérsic ⊗ Moffat ⊗ pixel, sampled
at an eighth of a pixel near the centre and at a quarter of a pixel outside 1.5 arcsec).
Tolerance: 1e-3 mag/arcsec² for the mean that photutils samples along the true ellipse, at every radius; the same for
the isophote that it fits where isophotes are ellipses, 2e-3 for a bulge and a disc of different ellipticity and 3e-3
where a bar turns: there the intensity varies by 3 to 8 % along the best ellipse, and photutils' samples overlap by a
step where they meet, which shifts its ellipticity by up to 2e-3. Ellipticity 2e-3; PA 1 degree if it is above 0.1.
photutils never lets the ellipticity reach 0, so round galaxies are not compared.
"""

import numpy as np
import pytest

from skyloom.data.mocks.draw import fluxes
from skyloom.data.mocks.population import Component, Galaxy
from skyloom.data.mocks.studio import studio
from skyloom.data.mocks.truth import truth

galsim = pytest.importorskip("galsim")
isophote = pytest.importorskip("photutils.isophote")


def part(n, r_e, q, pa, mag):
    return Component(n, r_e, q, pa, {"r": mag})


GALAXIES = {
    "disc": Galaxy("disc", {"disc": part(1.032, 3.0, 0.5, 40.0, 16.0)}),
    "elliptical": Galaxy("elliptical", {"bulge": part(2.363, 1.5, 0.7, 110.0, 16.0)}),
    "bulge+disc": Galaxy(
        "bulge+disc", {"disc": part(1.032, 3.5, 0.45, 70.0, 16.3), "bulge": part(2.363, 0.8, 0.8, 70.0, 17.0)}
    ),
    "barred": Galaxy("barred", {"disc": part(1.032, 4.0, 0.7, 20.0, 16.0), "bar": part(0.5, 1.6, 0.4, 80.0, 17.5)}),
}


def sampled(galaxy, scale, side, canvas):
    """Flux per 0.2 arcsec pixel, convolved with PSF and pixel, sampled every `scale` arcsec."""
    strict = galsim.GSParams(maximum_fft_size=12_000, folding_threshold=5e-4)
    light = [
        galsim.Sersic(one.n, half_light_radius=one.r_e * np.sqrt(one.q), flux=flux, gsparams=strict).shear(
            q=one.q, beta=one.pa * galsim.degrees
        )
        for one, flux in zip(galaxy.components.values(), fluxes(galaxy, canvas)[0], strict=True)
    ]
    fwhm, beta = canvas.psfs["r"]
    seen = galsim.Convolve(galsim.Sum(light), galsim.Moffat(beta=beta, fwhm=fwhm), galsim.Pixel(0.2), gsparams=strict)
    image = galsim.ImageD(side, side, scale=scale)
    return seen.drawImage(image, method="no_pixel").array * (0.2 / scale) ** 2


def fitted(image, scale, sma, ellipticity, pa):
    """The isophote that photutils fits, centre fixed, from a start near the truth."""
    centre = (image.shape[0] - 1) / 2
    start = isophote.EllipseGeometry(
        centre, centre, sma / scale, ellipticity + 0.05, np.deg2rad(pa + 3), fix_center=True
    )
    return isophote.Ellipse(image, start).fit_isophote(sma / scale, integrmode="bilinear", maxit=300, conver=0.0005)


def averaged(image, scale, sma, ellipticity, pa):
    """The mean of photutils' samples along a given ellipse."""
    centre = (image.shape[0] - 1) / 2
    given = isophote.EllipseGeometry(centre, centre, sma / scale, ellipticity, np.deg2rad(pa))
    return isophote.EllipseSample(image, sma / scale, geometry=given, integrmode="bilinear").extract()[2].mean()


TOLERANCE = {"disc": 1e-3, "elliptical": 1e-3, "bulge+disc": 2e-3, "barred": 3e-3}


@pytest.mark.parametrize("name", GALAXIES)
def test_true_isophotes_are_those_that_photutils_fits_without_noise(name):
    shared = studio(256, "r", 0)
    canvas, sma = shared.optics.canvas, shared.optics.sma
    true = truth(GALAXIES[name], shared.optics).convolved
    images = {0.025: sampled(GALAXIES[name], 0.025, 150, canvas), 0.05: sampled(GALAXIES[name], 0.05, 500, canvas)}
    for radius in (0.2, 0.4, 0.8, 1.4, 3.0, 6.0, 10.0):
        number = int(np.searchsorted(sma, radius))
        scale = 0.025 if sma[number] < 1.5 else 0.05
        ellipticity, pa = true.ellipticity[0, number], true.pa[0, number]
        found = fitted(images[scale], scale, sma[number], ellipticity, pa)
        where = f"{name} at {sma[number]:.2f} arcsec"
        mean = averaged(images[scale], scale, sma[number], ellipticity, pa)
        assert abs(2.5 * np.log10(mean / true.intensity[0, number])) < 1e-3, where
        assert abs(2.5 * np.log10(found.intens / true.intensity[0, number])) < TOLERANCE[name], where
        assert abs(found.eps - ellipticity) < 2e-3, where
        assert ellipticity < 0.1 or abs((np.rad2deg(found.pa) - pa + 90) % 180 - 90) < 1, where
