"""Which pixels of each object are to be filled: said by a column, by files, or found in the images. True is: fill."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
from jaxtyping import Bool

from skyloom.data.cutout import RESERVED, Cutout, SurveyInfo
from skyloom.data.headers import FITS_SUFFIXES, open_fits
from skyloom.data.store import Survey
from skyloom.errors import RequestError, SourceError
from skyloom.infer.rows import sky_of
from skyloom.sky.trail_search import find_trails

FOUND = ("trails", "bad")  # masks that come from the images themselves
ARRAYS = (".npy", ".npz")
Mask = Bool[np.ndarray, "c h w"]


class Masks(NamedTuple):
    """of : an object's mask, None where nothing is to be filled; said : where they come from, in words"""

    of: Callable[[Cutout], Mask | None]
    said: str


class Stack(NamedTuple):
    """Masks as a file has them; ids : the object that each belongs to, if it says so."""

    values: np.ndarray
    ids: tuple[str, ...] | None = None


def masks_of(mask: str | Path | np.ndarray, survey: Survey) -> Masks:
    """The masks that a word, a column, a file, a folder or an array means for a survey.

    mask : "trails" (found in every image), "bad" (the pixels with ivar 0), the name of a column (h × w or c × h × w
        numbers per object), a FITS, NPY or NPZ file, a folder of files named after the objects, or an array
    A file or array holds one mask for all objects, (h, w) or (c, h, w), or one each, (n, h, w) or (n, c, h, w), in the
    survey's order; or with the objects' names beside them: a FITS table, or an array in the NPZ file, `object_id`.
    Where a FITS file has images named MASK, they are what is read, one per band. Anything but 0 is filled.
    Raises RequestError if there is no such thing or its shape is wrong, SourceError for a file that cannot be read.
    """
    if isinstance(mask, np.ndarray):
        return _shared_out(Stack(mask), survey, "the array")
    if str(mask) == "trails":
        return Masks(_trails, "trails found in the images")
    if str(mask) == "bad":
        return Masks(lambda cutout: cutout.ivar == 0, "bad pixels")
    if str(mask) in survey.column_names and str(mask) not in RESERVED:
        return Masks(_from_column(str(mask), survey.info), f"column {mask}")
    path = Path(mask)
    if path.is_dir():
        return Masks(_from_folder(path, survey), f"files in {path.name}")
    if path.is_file():
        return _shared_out(read_masks(path), survey, str(path))
    there = ", ".join(name for name in survey.column_names if name not in RESERVED)
    raise RequestError(
        f"no mask {str(mask)!r}: {survey.path.name} has no such column (it has {there or 'none'}), and there is no "
        f"such file or folder; {' and '.join(FOUND)} are found in the images"
    )


def _trails(cutout: Cutout) -> Mask:
    return find_trails(cutout.flux, cutout.ivar, *sky_of(cutout))


def read_masks(path: Path) -> Stack:
    """The masks of one file; SourceError if it cannot be read."""
    if path.name.lower().endswith(ARRAYS):
        return _read_array(path)
    if path.name.lower().endswith(FITS_SUFFIXES):
        return _read_fits(path)
    raise SourceError(path, f"a mask ends in {', '.join((*FITS_SUFFIXES[:3], *ARRAYS))}", "convert it")


def _read_array(path: Path) -> Stack:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as fault:
        raise SourceError(path, f"not an array of numbers that NumPy reads ({fault})") from fault
    if isinstance(loaded, np.ndarray):
        return Stack(loaded)
    names = [name for name in loaded.files if name != "object_id"]
    chosen = "mask" if "mask" in names else names[0] if len(names) == 1 else None
    if chosen is None:
        raise SourceError(path, f"holds the arrays {', '.join(names) or 'none'}", "name the masks' array `mask`")
    ids = tuple(map(str, loaded["object_id"].tolist())) if "object_id" in loaded.files else None
    return Stack(loaded[chosen], ids)


def _read_fits(path: Path) -> Stack:
    with open_fits(path) as hdus:
        images = [hdu for hdu in hdus if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2 and hdu.size]
        named = [hdu for hdu in images if hdu.name.upper() == "MASK"] or images[:1]
        if not named:
            raise SourceError(path, "no image in any HDU", "give the file that holds the masks")
        shapes = {hdu.shape for hdu in named}
        if len(shapes) > 1:
            raise SourceError(path, f"its images MASK have shapes {sorted(shapes)}", "bring them to one grid")
        values = np.stack([hdu.data for hdu in named]) if len(named) > 1 else named[0].data
        return Stack(np.asarray(values), _names_in(hdus))


def _names_in(hdus) -> tuple[str, ...] | None:
    for hdu in hdus:
        for name in getattr(getattr(hdu, "columns", None), "names", None) or ():
            if name.lower() == "object_id":
                return tuple(str(value).strip() for value in hdu.data[name])
    return None


def _from_column(name: str, info: SurveyInfo) -> Callable[[Cutout], Mask | None]:
    def of(cutout: Cutout) -> Mask | None:
        value = cutout.columns.get(name)
        return None if value is None else planes(value, info, f"column {name} of object {cutout.object_id!r}")

    return of


def _from_folder(folder: Path, survey: Survey) -> Callable[[Cutout], Mask | None]:
    """A file per object, its name the object's, spelled as `skyloom export` spells it; others are left alone."""
    endings = (*FITS_SUFFIXES, *ARRAYS)
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        ending = max((end for end in endings if path.name.lower().endswith(end)), key=len, default="")
        if ending and path.is_file():
            files[unquote(path.name[: -len(ending)])] = path
    ids = survey.table(["object_id"])["object_id"].to_pylist()
    if not files.keys() & set(ids):
        raise RequestError(
            f"{folder}: none of its {len(files)} files ({', '.join(endings)}) is named after an object, such as "
            f"{', '.join(ids[:2])}; name them so"
        )

    def of(cutout: Cutout) -> Mask | None:
        path = files.get(cutout.object_id)
        return None if path is None else planes(read_masks(path).values, survey.info, str(path))

    return of


def planes(values: Any, info: SurveyInfo, where: str) -> Mask:
    """One object's mask for all bands; RequestError unless it is h × w, or c × h × w, of numbers, in rows or flat."""
    array, shape = _numbers(values, where), (len(info.bands), *info.shape)
    for wanted in (shape, shape[1:], (1, *shape[1:])):
        if array.shape in (wanted, (int(np.prod(wanted)),)):
            return np.broadcast_to(array.reshape(wanted) != 0, shape)
    raise RequestError(
        f"{where}: the mask has shape {array.shape} and the images {shape}; make it {shape[1:]} or {shape}"
    )


def _numbers(values: Any, where: str) -> np.ndarray:
    try:
        array = np.asarray(values)
        known = array.dtype.kind in "biuf" and not (array.dtype.kind == "f" and np.isnan(array).any())
    except ValueError:  # rows of different length
        known = False
    if not known:
        raise RequestError(f"{where}: a mask is made of numbers, 0 for pixels to leave alone, without NaN or gaps")
    return array


def _shared_out(stack: Stack, survey: Survey, where: str) -> Masks:
    """Masks from one array: the same for all objects, or one for each."""
    array, n = _numbers(stack.values, where), len(survey)
    bands, shape = len(survey.info.bands), survey.info.shape
    if (
        array.ndim not in (2, 3, 4)
        or array.shape[-2:] != shape
        or (array.ndim == 4 and array.shape[1] not in (1, bands))
    ):
        raise RequestError(
            f"{where}: the mask has shape {array.shape} and the survey {n} × {(bands, *shape)}; make it {shape}, "
            f"{(bands, *shape)}, {(n, *shape)} or {(n, bands, *shape)}"
        )
    if stack.ids is not None:
        return Masks(_by_name(array, stack.ids, survey, where), f"{Path(where).name}, by object_id")
    for_all, each = (
        array.ndim == 2 or (array.ndim == 3 and len(array) in (1, bands)),
        array.ndim > 2 and len(array) == n,
    )
    if for_all and each and n > 1:
        raise RequestError(
            f"{where}: {array.shape} may be one mask for each of {n} objects or for each of {bands} bands; make it "
            f"{(n, 1, *shape)} or {(1, bands, *shape)}"
        )
    if for_all or (array.ndim == 4 and len(array) == 1):
        whole = planes(array[0] if array.ndim == 4 else array, survey.info, where)
        return Masks(lambda cutout: whole, Path(where).name)
    if not each:
        raise RequestError(f"{where}: {len(array)} masks for {n} objects; give one each, or object_id beside them")
    ids = survey.table(["object_id"])["object_id"].to_pylist()
    return Masks(_by_name(array, ids, survey, where), Path(where).name)


def _by_name(array: np.ndarray, ids: Sequence[str], survey: Survey, where: str) -> Callable[[Cutout], Mask | None]:
    places = {name: place for place, name in enumerate(ids)}
    if not len(ids) == len(array) == len(places):
        raise RequestError(f"{where}: {len(array)} masks and {len(places)} different object_id; there must be one each")
    if not places.keys() & set(survey.table(["object_id"])["object_id"].to_pylist()):
        raise RequestError(f"{where}: none of its object_id, such as {ids[0]!r}, is in {survey.path.name}")

    def of(cutout: Cutout) -> Mask | None:
        place = places.get(cutout.object_id)
        return None if place is None else planes(array[place], survey.info, f"{where}, mask {place}")

    return of
