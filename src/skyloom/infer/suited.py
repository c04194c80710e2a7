"""Whether weights may measure a survey: the bands and the pixel scale that they were trained on."""

from __future__ import annotations

from collections.abc import Sequence

from skyloom.checkpoint import Run
from skyloom.data.cutout import SurveyInfo
from skyloom.errors import RequestError

SAME_SCALE = {  # largest ratio of pixel scales: rings are read at any scale, and looks are learnt at several
    "profile_decoder": 2.0, "pix2prof": 1.02, "morphology": 1.3, "galaxy_zoo": 1.3,
}  # fmt: skip
ROUNDING = 1e-6
ALIASES = {"Ks": "K", "z": "Z"}  # VIKING's own spellings beside those of mocks


def require_suited(run: Run, info: SurveyInfo, bands: Sequence[str], *, anyway: bool) -> None:
    """RequestError if the weights have never seen such bands or such a pixel scale, unless that is asked for anyway."""
    seen = run.facts("training")
    if anyway or seen is None:
        return
    known = {spelled(band) for band in seen["bands"]}
    strange = [band for band in bands if spelled(band) not in known]
    if strange:
        raise RequestError(
            f"{run.name} was trained on {', '.join(seen['bands'])} and has never seen {', '.join(strange)}; "
            "measure other bands (--band), train on yours (skyloom train), or insist with --anyway"
        )
    scales = seen["pixel_scales"]
    if not scales and info.pixel_scale is None:
        return
    if not scales:
        raise RequestError(
            f"{run.name} was trained on pixels of no stated size, such as pictures have, and those of the survey have "
            f"{info.pixel_scale:g} arcsec; train on it (skyloom train), or insist with --anyway"
        )
    if info.pixel_scale is None:
        raise RequestError(
            f"{run.name} was trained on pixels of {_listed(scales)} arcsec, and the survey does not say how large its "
            "own are; give --pixel-scale when you ingest, or insist with --anyway"
        )
    most = SAME_SCALE[run.record["recipe"]]
    if not any(1 / most <= info.pixel_scale / scale * (1 + ROUNDING) <= most * (1 + 2 * ROUNDING) for scale in scales):
        raise RequestError(
            f"{run.name} was trained on pixels of {_listed(scales)} arcsec, and those of the survey have "
            f"{info.pixel_scale:g}, more than a factor {most:g} away; resample the images, train on them (skyloom "
            "train), or insist with --anyway"
        )


def spelled(band: str) -> str:
    """A band's name as weights know it."""
    return ALIASES.get(band, band)


def _listed(scales: Sequence[float]) -> str:
    return ", ".join(f"{scale:g}" for scale in scales)
