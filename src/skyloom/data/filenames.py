"""What the names of a folder's files say: which object, which band, and whether flux or a map that lies beside it.

NGC4321_r.fits  NGC4321_r_ivar.fits  NGC4321-g.fits  G265911fitim.fits  G265911sigma.fits
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from skyloom.data.headers import FITS_SUFFIXES
from skyloom.data.weights import ROLES
from skyloom.errors import SourceError

BAND = re.compile(
    r"[ugrizyGUBVRIJHKYZ]|Ks|NUV|FUV|VIS|W[1-4]|ch[1-4]|NB\d{3,4}|F\d{2,4}(W|N|M|L|LP|X|W2)|f\d{2,4}(w|n|m|l|lp|x|w2)"
)  # what is taken as the name of a band at the end of a file name
_SEPARATED = re.compile(r"(.+)[_.\-]([A-Za-z0-9]+)")
_JOINED = re.compile(r"(.*\d)(fitim|mskim|segim|psfim|sigma|invvar|weight)")  # ProFit's habit: G265911fitim


class Name(NamedTuple):
    """An object, a band if the name ends in one, and a role ("flux" if the name says nothing)."""

    object_id: str
    band: str | None
    role: str


class ObjectFiles(NamedTuple):
    """The files of one object: {band or None: {role: file}}."""

    object_id: str
    files: dict[str | None, dict[str, Path]]


def stem_of(file: Path) -> str:
    """The file's name without its FITS suffix, compressed or not."""
    suffix = next((suffix for suffix in sorted(FITS_SUFFIXES, key=len)[::-1] if file.name.lower().endswith(suffix)), "")
    return file.name[: len(file.name) - len(suffix)]


def parse(stem: str) -> Name:
    """Read a stem from its end: a role, a band, in either order; what is left is the object."""
    band, role = None, None
    while True:
        joined, parted = _JOINED.fullmatch(stem), _SEPARATED.fullmatch(stem)
        if role is None and joined:
            stem, role = joined[1], ROLES[joined[2]]
        elif role is None and parted and parted[2].lower() in ROLES:
            stem, role = parted[1], ROLES[parted[2].lower()]
        elif band is None and parted and BAND.fullmatch(parted[2]):
            stem, band = parted[1], parted[2]
        else:
            return Name(stem, band, role or "flux")


def group(files: Sequence[Path]) -> tuple[list[ObjectFiles], list[Path]]:
    """Objects in the order of their names, and the files left where they are (PSFs, segmentation maps).

    A band at the end of a name counts as one only if every flux file of the folder ends in one, and a map is a
    companion only if the flux that it belongs to is there: otherwise the whole name is the object.
    Raises SourceError where two files claim one place, or a map has no flux.
    """
    names = {file: parse(stem_of(file)) for file in files}
    by_band = all(name.band for name in names.values() if name.role == "flux")
    objects: dict[str, ObjectFiles] = {}
    left = [file for file, name in names.items() if name.role == "other"]
    for file, name in names.items():
        if name.role == "other":
            continue
        object_id, band = (name.object_id, name.band) if by_band else (_without_role(stem_of(file), name), None)
        roles = objects.setdefault(object_id, ObjectFiles(object_id, {})).files.setdefault(band, {})
        if name.role in roles:
            raise SourceError(
                file, f"claims the same place as {roles[name.role].name}", "rename or remove one of the two"
            )
        roles[name.role] = file
    for found in objects.values():
        _require_flux(found)
    return [objects[name] for name in sorted(objects)], sorted(left)


def companions(files: Sequence[Path]) -> dict[Path, dict[str, Path]]:
    """The maps beside each image, {folder / stem of the image: {role: map}}, for images that a catalogue names."""
    found: dict[Path, dict[str, Path]] = {}
    for file in files:
        stem = stem_of(file)
        name = parse(stem)
        if name.role not in ("flux", "other"):
            found.setdefault(file.with_name(_without_role(stem, name)), {})[name.role] = file
    return found


def _without_role(stem: str, name: Name) -> str:
    """The stem up to its role, the band left in it: the folder as a whole is not one file per band."""
    if name.band is None or name.role == "flux":
        return name.object_id if name.band is None else stem
    match = _SEPARATED.fullmatch(stem)
    return match[1] if match and match[2].lower() in ROLES else stem


def _require_flux(found: ObjectFiles) -> None:
    shared = found.files.get(None, {})
    for band, roles in found.files.items():
        if "flux" not in roles and not (band is None and len(found.files) > 1 and "flux" not in shared):
            role, file = next(iter(roles.items()))
            raise SourceError(
                file, f"is a {role} map by its name, and its image is missing", "add the image or rename it"
            )
