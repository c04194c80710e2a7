"""Angles in an image and on the sky: from +x towards +y at a pixel, and position angles, from north through east.

Both directions go through the WCS at one pixel: the steps east and north that one pixel along x and along y make.
Distortion polynomials (SIP) are left out; they turn nothing by more than a small part of a degree.
"""

from __future__ import annotations

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, Wcsprm
from jaxtyping import Float64


def position_angle(wcs: str, x: float, y: float, angle: Float64[np.ndarray, "r"]) -> Float64[np.ndarray, "r"]:
    """Angles from +x towards +y [deg] as position angles, north through east, at pixel (x, y); −180 to 180.

    wcs : the FITS header cards of a cutout, for pixel (0, 0) the centre of the first pixel
    """
    return on_the_sky(compass(wcs, np.array([x]), np.array([y]))[0], angle)


def pixel_angle(
    wcs: str | None, x: float, y: float, position_angle: Float64[np.ndarray, "r"]
) -> Float64[np.ndarray, "r"]:
    """Position angles, north through east, as angles from +x towards +y at a pixel [deg]; NaN without a WCS."""
    if wcs is None:
        return np.full(np.shape(position_angle), np.nan)
    return in_the_image(compass(wcs, np.array([x]), np.array([y]))[0], position_angle)


def compass(wcs: str, x: Float64[np.ndarray, "n"], y: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n 2 2"]:
    """How far east (first) and north (second) one pixel along x and one along y lead, at each of n pixels [deg]."""
    corners = np.array([[x, x + 1, x], [y, y, y + 1]], float).reshape(2, -1).T
    ra, dec = _solution(wcs).p2s(corners, 0)["world"].T.reshape(2, 3, -1)
    east = ((ra[1:] - ra[0] + 180) % 360 - 180) * np.cos(np.radians(dec[0]))
    return np.array([east, dec[1:] - dec[0]]).transpose(2, 0, 1)


def on_the_sky(steps: Float64[np.ndarray, "*n 2 2"], angle: Float64[np.ndarray, "r"]) -> Float64[np.ndarray, "r"]:
    """Angles from +x towards +y [deg] as position angles [deg]; steps : the `compass` of all of them, or of each."""
    dx, dy = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    east, north = (steps[..., k, 0] * dx + steps[..., k, 1] * dy for k in (0, 1))
    return np.degrees(np.arctan2(east, north))


def in_the_image(
    steps: Float64[np.ndarray, "*n 2 2"], position_angle: Float64[np.ndarray, "r"]
) -> Float64[np.ndarray, "r"]:
    """Position angles [deg] as angles from +x towards +y [deg]; steps : the `compass` of all of them, or of each."""
    east, north = np.sin(np.radians(position_angle)), np.cos(np.radians(position_angle))
    (east_x, east_y), (north_x, north_y) = np.moveaxis(steps, (-2, -1), (0, 1))
    parity = np.sign(east_x * north_y - east_y * north_x)  # of the image: −1 where east is to the left of north
    dx, dy = parity * (north_y * east - east_y * north), parity * (east_x * north - north_x * east)
    return np.degrees(np.arctan2(dy, dx))


def _solution(cards: str) -> Wcsprm:
    """The linear WCS and its projection. Where cards need no reading between the lines, 20 times faster than `WCS`."""
    if "PV" in cards or "_ORDER" in cards:
        return WCS(fits.Header.fromstring(cards)).wcs
    solution = Wcsprm(header=cards.rstrip().encode())
    solution.fix()
    return solution
