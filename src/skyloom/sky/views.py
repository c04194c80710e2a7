"""The same galaxy seen otherwise: turned by any angle, moved, through more air, less deep, behind dust.

Everything works on linear, sky-subtracted flux (b, c, h, w), and says what it does to light, width and noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from skyloom.sky.extinction import extinction
from skyloom.sky.psf import GAUSSIAN_FWHM


def turned(
    flux: Float[Tensor, "b c h w"], angle: Float[Tensor, "b"], by: Float[Tensor, "b 2"]
) -> Float[Tensor, "b c h w"]:
    """Images turned about their centres, then moved: three shears, each a turn of phase along rows or columns.

    angle : [rad] from +x towards +y; best within ±π/4 (quarter turns are exact: `sky.grid.turn`); by : (dx, dy) [pixel]
    The sum of all pixels stays, white noise stays white with its rms, and the PSF keeps its width. What leaves the
    image comes in again at the other side: pixels within about 0.9 half sides of the centre are free of it.
    Source: Unser, Thévenaz & Yaroslavsky 1995, IEEE Trans. Image Process. 4, 1371 (three shears).
    We differ: sheared in Fourier space instead of with splines.
    """
    h, w = flux.shape[-2:]
    y = torch.arange(h, dtype=flux.dtype) - (h - 1) / 2
    x = torch.arange(w, dtype=flux.dtype) - (w - 1) / 2
    lean, rise = -torch.tan(angle / 2)[:, None], torch.sin(angle)[:, None]
    flux = _along(flux, lean * y, -1)
    flux = _along(flux, rise * x + by[:, 1:], -2)
    return _along(flux, lean * (y - by[:, 1:]) + by[:, :1], -1)


def _along(flux: Float[Tensor, "b c h w"], by: Float[Tensor, "b n"], axis: int) -> Float[Tensor, "b c h w"]:
    """Each line of pixels along an axis moved by its own amount."""
    side = flux.shape[axis]
    rates = torch.fft.rfftfreq(side, dtype=flux.dtype)
    phase = by[:, None, :, None] * rates if axis == -1 else by[:, None, None, :] * rates[:, None]
    waves = torch.fft.rfft(flux, dim=axis) * torch.polar(torch.ones(()), -2 * torch.pi * phase)
    return torch.fft.irfft(waves, n=side, dim=axis)


def blurred(flux: Float[Tensor, "b c h w"], fwhm: Float[Tensor, "b"]) -> Float[Tensor, "b c h w"]:
    """Images through a round Gaussian more; fwhm : [pixel]. A Gaussian PSF's width grows in quadrature, light stays."""
    return torch.fft.irfft2(torch.fft.rfft2(flux) * _transfer(flux.shape, fwhm)[:, None], s=flux.shape[-2:])


def _transfer(shape: Sequence[int], fwhm: Float[Tensor, "b"]) -> Float[Tensor, "b h ww"]:
    down, across = torch.fft.fftfreq(shape[-2]), torch.fft.rfftfreq(shape[-1])
    sigma = fwhm[:, None, None] / GAUSSIAN_FWHM
    return torch.exp(-2 * (torch.pi * sigma) ** 2 * (down[:, None] ** 2 + across**2))


def smoothed_noise(fwhm: Float[Tensor, "b"], side: int = 64) -> Float[Tensor, "b"]:
    """The rms of white noise after `blurred`, in units of what it was."""
    rates = torch.fft.fftfreq(side)
    sigma = fwhm[:, None] / GAUSSIAN_FWHM
    return torch.exp(-4 * (torch.pi * sigma * rates) ** 2).mean(1)


def deepened_to(
    flux: Float[Tensor, "b c h w"],
    rms: Float[Tensor, "b c"],
    wanted: Float[Tensor, "b c"],
    rng: torch.Generator,
) -> Float[Tensor, "b c h w"]:
    """White noise added until the sky's rms is what is wanted; an image that is noisier already stays as it is.

    rms : of the sky in one pixel now [flux]
    """
    more = (wanted**2 - rms**2).clamp_min(0).sqrt()
    return flux + more[..., None, None] * torch.randn(flux.shape, generator=rng)


def dimming(wavelengths: Sequence[float], visual: Float[Tensor, "b"], ratio: float = 3.1) -> Float[Tensor, "b c"]:
    """What is left of each band's flux behind dust. wavelengths : [nm]; visual : A(V) [mag]"""
    law = torch.from_numpy(extinction(np.array(wavelengths), ratio)).float()
    return 10 ** (-0.4 * visual[:, None] * law)
