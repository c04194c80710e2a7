"""What is searched for, if no object of the survey: an image from elsewhere or a sketch, as the survey sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyloom.checkpoint import open_run
from skyloom.data.cutout import Cutout, SurveyInfo
from skyloom.data.rings import SKIES, known_sky
from skyloom.data.store import Survey
from skyloom.errors import RequestError, RunError
from skyloom.infer.embed import Encoder
from skyloom.infer.generator import unit_noise
from skyloom.infer.subjects import Subject, gallery
from skyloom.sky.background import sky_level

BRIGHTNESSES = (1.0, 0.3, 3.0, 9.0)  # of a picture, which says nothing of it: each is searched for
JUDGED = 200  # galaxies of the survey that say how bright, how coloured and how noisy its galaxies are


@dataclass(frozen=True)
class Likeness:
    """A survey, as images are made like its own.

    light : median flux in a cutout, per band, at least its noise; noise : median rms of the sky in one pixel, per band
    """

    name: str
    info: SurveyInfo
    light: tuple[float, ...]
    noise: tuple[float, ...]
    recipe: str = "galaxy_edm"


def weights_of(with_: str | Path | Encoder | None) -> tuple[str | None, str | None]:
    """The name that weights give their embeddings, and their hash; None for what cannot be known.

    with_ : weights that ship with skyloom, a run directory, an open encoder, or the name of any embeddings
    """
    if with_ is None:
        return None, None
    if isinstance(with_, Encoder):
        return with_.name, with_.hash
    try:
        run = open_run(with_)
    except RunError:
        return Path(with_).name, None
    return run.name, run.hash


def likeness(survey: Survey) -> Likeness:
    """Bands and pixels of a survey, and what is typical of its galaxies. RequestError for one without any."""
    if not len(survey):
        raise RequestError(f"{survey.path.name} holds no galaxies to search")
    rows = np.unique(np.linspace(0, len(survey) - 1, min(JUDGED, len(survey))).astype(int))
    flux, ivar = survey.cutouts_at(rows)
    level, rms = known_sky(survey.table(SKIES), rows, flux, ivar)
    good = (ivar > 0) & np.isfinite(level)[..., None, None]
    light = np.where(good, flux - np.nan_to_num(level)[..., None, None], 0).sum((2, 3), dtype=float)
    noise = np.nanmedian(np.where(rms > 0, rms, np.nan), 0)
    noise = np.where(np.isfinite(noise), noise, 0.0)
    typical = np.maximum(np.median(light, 0), noise)
    return Likeness(survey.path.name, survey.info, tuple(typical.tolist()), tuple(noise.tolist()))


def as_seen(source: str | Path | Survey, survey: Survey) -> tuple[list[tuple[Cutout, ...]], tuple[str, ...]]:
    """Images as cutouts of a survey: its bands, pixels, PSF and noise, sky 0; and what was done to them, in words.

    Of each image one cutout; of a picture one in each of BRIGHTNESSES, the first that of a well seen galaxy.

    source : FITS cutouts, pictures (sketches, cartoons), a folder of either, or a survey
    A PSF narrower than the survey's is widened to it; one that is wider stays. Noise is added up to the survey's, the
    same each time. Bands that the survey lacks are left out; those that the image lacks take the light of the nearest
    one in a typical galaxy's colours.
    Raises RequestError for images in none of the survey's bands, or whose pixels or zero points are not known.
    """
    like = likeness(survey)
    shown = gallery(source, like, alike=True)
    gains = BRIGHTNESSES if shown.pictured else (1.0,)
    cutouts = [
        tuple(_noisy(subject._replace(flux=gain * subject.flux), like, number) for gain in gains)
        for number, subject in enumerate(shown.subjects)
    ]
    if not cutouts:
        raise RequestError(f"{source} holds no image to search for")
    return cutouts, shown.notes


def _noisy(subject: Subject, like: Likeness, number: int) -> Cutout:
    """The image on noise of the survey's rms; what noise it has already counts."""
    noise, good = np.array(like.noise), np.ones_like(subject.flux)
    _, own = sky_level(subject.flux, good)
    more = np.sqrt(np.maximum(noise**2 - np.nan_to_num(own) ** 2, 0))
    drawn = unit_noise(0, [number], subject.flux.shape)[0].numpy()
    flux = (subject.flux + more[:, None, None] * drawn).astype(np.float32)
    least = np.where(noise > 0, noise, 1.0)
    ivar = np.broadcast_to((least**-2.0)[:, None, None], flux.shape)
    return Cutout(
        subject.object_id, flux, np.ascontiguousarray(ivar, np.float32), ra=subject.ra, dec=subject.dec,
        sky=np.zeros(len(noise), np.float32), sky_rms=noise.astype(np.float32),
    )  # fmt: skip
