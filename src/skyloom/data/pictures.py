"""Pictures made for the eye: JPEG, PNG and 8-bit arrays. Their pixels are a display stretch, and marked as such."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from skyloom.data.admission import Piece
from skyloom.data.cutout import Band
from skyloom.errors import CutoutError, SourceError

NOTES = (
    "Pictures, not science images: 8-bit pixels in the display stretch of their maker; they give no magnitudes.",
    "Row 0 is the top of the picture.",
    "Rounding to whole numbers is counted as noise: the rms of a band is at least 1/√12.",
)
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
ROUNDING = 12**-0.5  # rms of rounding to whole numbers
COLOURS = {"RGB": "RGB", "RGBA": "RGB", "L": "L", "I;16": "I"}


def picture_files(source: Path) -> list[Path]:
    """A picture, or all in a folder and in those below it, in the order of their names."""
    if source.is_file():
        return [source]
    return sorted(file for file in source.rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES)


def read_picture(file: Path | BinaryIO, where: str) -> Piece:
    """Red, green and blue, or grey, as bands; transparent pixels are bad. SourceError if it cannot be decoded."""
    try:
        with Image.open(file) as picture:
            mode, pixels = picture.mode, np.asarray(picture)
    except UnidentifiedImageError as error:
        raise SourceError(where, "not a picture that can be decoded", "fetch it again") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise SourceError(where, f"the picture is cut short or damaged ({error})", "fetch it again") from error
    if mode not in COLOURS:
        raise CutoutError(f"{where}: a picture of mode {mode}; convert it to RGB or grey")
    planes = np.moveaxis(np.atleast_3d(pixels), -1, 0)
    bad = np.broadcast_to(planes[3] == 0, (3, *planes.shape[1:])) if mode == "RGBA" else None
    names = COLOURS[mode] if mode.startswith("RGB") else ("grey",)
    return as_picture(names, planes[: len(names)], bad)


def as_picture(names: str | tuple[str, ...], planes: np.ndarray, bad: np.ndarray | None = None) -> Piece:
    """Planes of whole numbers as a piece whose unit says what they are."""
    bands = tuple(Band(name, unit=f"{planes.dtype} (display stretch)") for name in names)
    return Piece(bands, np.ascontiguousarray(planes, np.float32), bad=bad, least_noise=ROUNDING, notes=NOTES)


def with_pixels_of(picture: Piece, piece: Piece) -> Piece:
    """The object of `piece` with the pixels of `picture`."""
    return replace(
        piece,
        bands=picture.bands,
        flux=picture.flux,
        bad=picture.bad,
        least_noise=picture.least_noise,
        notes=(*piece.notes, *picture.notes),
    )
