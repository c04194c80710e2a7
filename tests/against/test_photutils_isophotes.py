"""Our isophotes beside `photutils.isophote.Ellipse` on the same pixels: clean Sérsic galaxies on a sky of known level.

Tolerance, from 4 pixels to where the S/N of an isophote is 20: surface brightness 0.03 mag plus 4 of our errors,
ellipticity 0.03, position angle 4°. photutils samples bilinearly, so its core is fainter: we begin at 4 pixels.
"""

import warnings

import numpy as np
import pytest
from photutils.isophote import Ellipse, EllipseGeometry

import skyloom as sl
from skyloom.infer.profiles import measure_survey
from skyloom.sky.sersic import intensity

SIDE, SKY = 128, 10.0
GALAXIES = [  # n, r_e [pixel], axis ratio, position angle [rad]
    (1.0, 12.0, 0.5, 0.4),
    (1.0, 9.0, 0.8, -1.1),
    (2.0, 10.0, 0.65, 1.3),
]


def draw(n, r_e, q, pa, seed) -> np.ndarray:
    fine = (np.arange(SIDE * 5) + 0.5) / 5 - 0.5 - (SIDE - 1) / 2
    dx, dy = fine[None, :], fine[:, None]
    along, across = dx * np.cos(pa) + dy * np.sin(pa), dy * np.cos(pa) - dx * np.sin(pa)
    light = intensity(np.hypot(along, across / q), r_e, n, 60.0).reshape(SIDE, 5, SIDE, 5).mean((1, 3))
    return (light + np.random.default_rng(seed).normal(SKY, 1, light.shape)).astype(np.float32)


@pytest.fixture(scope="module", params=range(len(GALAXIES)), ids=lambda k: "n{} r{} q{} pa{}".format(*GALAXIES[k]))
def pair(request):
    """Our row and photutils' isophotes of one galaxy."""
    n, r_e, q, pa = GALAXIES[request.param]
    image = draw(n, r_e, q, pa, request.param)
    cutout = sl.Cutout("galaxy", image[None], np.ones((1, SIDE, SIDE), np.float32))
    ours = measure_survey([cutout], sl.SurveyInfo((sl.Band("r", 0.0),), (SIDE, SIDE), pixel_scale=1.0))[0]
    geometry = EllipseGeometry((SIDE - 1) / 2, (SIDE - 1) / 2, 8.0, 1 - q + 0.05, pa % np.pi)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of the outskirts, where it stops
        theirs = Ellipse(image.astype(float) - SKY, geometry).fit_image(maxsma=45, step=0.15)
    return ours, theirs


def common(pair) -> dict[str, np.ndarray]:
    """Both on photutils' radii, where both are sure of themselves."""
    ours, theirs = pair
    trusted = [i for i in theirs if i.sma > 4 and i.stop_code == 0 and i.intens > 20 * i.int_err]
    radius = np.array([i.sma for i in trusted])
    assert len(radius) >= 8
    return {
        "radius": radius,
        "sb": np.interp(radius, ours["sma"], ours["sb"]),
        "sb_error": np.interp(radius, ours["sma"], ours["sb_error"]),
        "ellipticity": np.interp(radius, ours["sma"], ours["ellipticity"]),
        "pa": np.interp(radius, ours["sma"], np.unwrap(ours["pa"], period=180)),
        "their sb": np.array([-2.5 * np.log10(i.intens) for i in trusted]),
        "their ellipticity": np.array([i.eps for i in trusted]),
        "their pa": np.degrees([i.pa for i in trusted]),
    }


def test_surface_brightness_agrees(pair):
    both = common(pair)
    off = np.abs(both["sb"] - both["their sb"])
    assert (off < 0.03 + 4 * both["sb_error"]).all()
    assert np.median(off) < 0.02


def test_ellipticity_and_position_angle_agree(pair):
    both = common(pair)
    off = np.abs(both["ellipticity"] - both["their ellipticity"])
    assert off.max() < 0.03 and np.median(off) < 0.01
    turned = np.abs((both["pa"] - both["their pa"] + 90) % 180 - 90)
    assert turned.max() < 4 and np.median(turned) < 1.5


def test_the_centre_agrees(pair):
    ours, theirs = pair
    bright = [i for i in theirs if 4 < i.sma < 12]
    assert abs(ours["x"] - np.median([i.x0 for i in bright])) < 0.1
    assert abs(ours["y"] - np.median([i.y0 for i in bright])) < 0.1
