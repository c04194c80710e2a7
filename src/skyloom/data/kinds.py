"""What a SOURCE is, by its files alone. Where two readings are possible, the user is asked to choose."""

from __future__ import annotations

from pathlib import Path

from skyloom.data.catalogues import read_catalogue
from skyloom.data.filenames import BAND, parse, stem_of
from skyloom.data.headers import FITS_SUFFIXES, image_hdus, open_fits
from skyloom.data.mosaic import GRID
from skyloom.data.pictures import PICTURE_SUFFIXES
from skyloom.data.readers.cutouts import fits_files, own_catalogue
from skyloom.data.tiles.plan import RECORD
from skyloom.errors import RequestError, SourceError

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
TABLE_SUFFIXES = (".csv", ".csv.gz", ".ecsv")
PARQUET_SUFFIXES = (".parquet", ".parq", ".arrow")
ONE_OBJECT = 1024  # side of the largest image taken as one object without being told [pixel]


def kind_of(source: Path, catalogue: Path | None, size: int | None) -> str:
    """field, cutouts, mosaic, hdf5, parquet, jpeg or table; RequestError if it could be two, SourceError if none."""
    if not source.exists():
        raise SourceError(source, "there is no such file or folder", "check the path")
    if (source / RECORD).exists():
        return "field"
    if source.is_file() and source.name.lower().endswith(TABLE_SUFFIXES):
        return "table"
    kind = _by_suffix(source) if source.is_file() else _by_contents(source)
    if kind == "fits" and str(catalogue) == GRID:
        return "mosaic"
    if kind != "fits":
        return kind
    return _fits_file(source, catalogue, size) if source.is_file() else _fits_folder(source, catalogue, size)


def _suffix_kind(name: str) -> str | None:
    kinds = {"fits": FITS_SUFFIXES, "hdf5": HDF5_SUFFIXES, "parquet": PARQUET_SUFFIXES, "jpeg": PICTURE_SUFFIXES}
    return next((kind for kind, suffixes in kinds.items() if name.lower().endswith(suffixes)), None)


def _by_suffix(source: Path) -> str:
    kind = _suffix_kind(source.name)
    if kind is None:
        wanted = ", ".join((*FITS_SUFFIXES[:1], *HDF5_SUFFIXES[:2], *PARQUET_SUFFIXES[:1], *TABLE_SUFFIXES[:1]))
        raise SourceError(source, "not a kind of file that skyloom reads", f"give {wanted}, or a folder of images")
    return kind


def _by_contents(folder: Path) -> str:
    """The one kind of file that a folder holds, its own catalogue aside."""
    own = own_catalogue(folder)
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*")):
        kind = _suffix_kind(file.name)
        if kind and file.is_file() and file != own and not file.name.startswith((".", "_", "data_thumbnail")):
            found.setdefault(kind, file.name)
    if own is not None and not found:
        raise SourceError(folder, f"holds a catalogue, {own.name}, and no image", "add the images")
    if own is not None and own.suffix == ".fits" and set(found) == {"fits"}:
        return "fits"
    if not found:
        raise SourceError(folder, "holds no FITS, HDF5, Parquet, JPEG or PNG file", "check the path")
    if len(found) > 1:
        listed = ", ".join(f"{kind} ({name})" for kind, name in found.items())
        raise RequestError(f"{folder} holds files of several kinds: {listed}; give a folder, or a file, of one kind")
    return next(iter(found))


def _fits_file(source: Path, catalogue: Path | None, size: int | None) -> str:
    """One file: a mosaic if objects are to be cut from it, by a catalogue or by --size; else one object."""
    side = _side(source)
    if catalogue is not None:
        rows = read_catalogue(catalogue)
        return "cutouts" if "file_loc" in rows.table.column_names or rows.ids == [stem_of(source)] else "mosaic"
    if size is not None:
        return "mosaic"
    if side > ONE_OBJECT:
        raise RequestError(
            f"{source} has {side} pixels a side and may be a mosaic; give --size PX to cut out the objects detected "
            "in it, or --catalogue too to cut at known positions"
        )
    return "cutouts"


def _fits_folder(source: Path, catalogue: Path | None, size: int | None) -> str:
    """A folder: a mosaic if each file is one band of one image and objects are to be cut from it; else cutouts."""
    files = [file for file in fits_files(source) if parse(stem_of(file)).role == "flux"]
    stems = [stem_of(file) for file in files]
    bands_alone = bool(stems) and all(BAND.fullmatch(stem) for stem in stems)
    if catalogue is not None:
        rows = read_catalogue(catalogue)
        if "file_loc" in rows.table.column_names or own_catalogue(source) == catalogue:
            return "cutouts"
        names = {*stems, *(parse(stem).object_id for stem in stems)}
        return "cutouts" if names & set(rows.ids) else "mosaic"
    if own_catalogue(source) is not None:
        return "cutouts"
    if bands_alone:
        return "mosaic"
    if len({parse(stem).object_id for stem in stems if parse(stem).band}) != 1 or not all(parse(s).band for s in stems):
        return "cutouts"
    side = _side(files[0])
    if size is not None and size < side:
        return "mosaic"
    if side > ONE_OBJECT:
        raise RequestError(
            f"{source} holds the bands of one image of {side} pixels a side; give --size PX to cut out the objects "
            "detected in it, or --catalogue too to cut at known positions"
        )
    return "cutouts"


def _side(file: Path) -> int:
    """The shorter side of the first image of a file [pixel]."""
    with open_fits(file) as hdus:
        return min(hdus[image_hdus(hdus, file)[0]].shape[-2:])
