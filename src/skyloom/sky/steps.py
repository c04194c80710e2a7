"""Profiles on equal steps of the semi-major axis, and where they end."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

STEP = 0.2  # arcsec, the published spacing


def on_steps(sma: Shaped[np.ndarray, "r"], sb: Shaped[np.ndarray, "r"], step: float = STEP) -> Float[np.ndarray, "t"]:
    """Surface brightness at 0, step, 2 step … up to the last finite point: linear in sma between finite points.

    sma : [arcsec], increasing; sb : [mag/arcsec²], NaN where it was not measured
    Inside the first finite point its value is held. Empty if no point is finite.
    """
    finite = np.isfinite(sma) & np.isfinite(sb)
    if not finite.any():
        return np.empty(0, np.float32)
    radius, value = sma[finite].astype(np.float64), sb[finite].astype(np.float64)
    places = step * np.arange(int(radius[-1] / step + 1e-6) + 1)
    return np.interp(places, radius, value).astype(np.float32)


def cut_at_limit(sb: Float[np.ndarray, "t"], limit: float) -> Float[np.ndarray, "n"]:
    """The profile up to its first step that is fainter than `limit` [mag/arcsec²], or is NaN; empty if that is all."""
    beyond = ~(sb <= limit)
    return sb[: np.argmax(beyond)] if beyond.any() else sb


def cut_at_noise(intensity: Float[np.ndarray, "t"], window: int = 40, threshold: float = 4.0) -> Float[np.ndarray, "n"]:
    """The profile up to the middle of the first window in which (mean / standard deviation)² is ≤ `threshold`.

    intensity : linear, sky-subtracted, one value per step; window : steps, 8 arcsec of the published 0.2
    The whole profile if no window is that poor, or if it is shorter than a window.
    Source: Smith et al. 2021, arXiv:2010.00622, “Training set” ("the signal-to-noise ratio of a 1D convolution
    with a length of 40 pixels (= 8 arcsec) reaches a threshold of 4 … (μ/σ)²").
    We differ: the paper leaves open what is convolved and which end of the window counts. Here it is the profile in
    linear units (in magnitudes the ratio is in the thousands and never falls so low), and the window's middle. The
    standard deviation holds the profile's own slope as well as noise: an exponential of scale length below 4.5 arcsec
    is under the threshold from the start, and is cut at the middle of the first window.
    """
    if len(intensity) < window:
        return intensity
    windows = np.lib.stride_tricks.sliding_window_view(intensity.astype(np.float64), window)
    poor = ~(windows.mean(1) ** 2 > threshold * windows.var(1))
    return intensity[: np.argmax(poor) + window // 2] if poor.any() else intensity
