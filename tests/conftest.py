"""Small seeded makers that every test may ask for, and how the suite runs."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch: the workers of xdist share the cores

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import skyloom as sl

settings.register_profile("seeded", deadline=None, derandomize=True)
settings.load_profile("seeded")


def pytest_collection_modifyitems(items):
    on_device = [item for item in items if item.get_closest_marker("gpu")]
    if on_device:
        import torch

        if not torch.cuda.is_available():
            for item in on_device:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def draw_sersic(size=64, flux=1000.0, r_e=6.0, n=1.0, axis_ratio=0.7, pa=0.5, centre=None) -> np.ndarray:
    """A Sérsic galaxy without PSF or noise, sampled at pixel centres; r_e [pixel], pa [rad from +x towards +y]."""
    x0, y0 = centre or ((size - 1) / 2, (size - 1) / 2)
    y, x = np.indices((size, size), dtype=float)
    along = (x - x0) * np.cos(pa) + (y - y0) * np.sin(pa)
    across = (y - y0) * np.cos(pa) - (x - x0) * np.sin(pa)
    b_n = 2 * n - 1 / 3 + 0.009876 / n  # Prugniel & Simien 1997, good to 1e-4 for 0.5 < n < 10
    light = np.exp(-b_n * (np.hypot(along, across / axis_ratio) / r_e) ** (1 / n))
    return (flux * light / light.sum()).astype(np.float32)


def draw_cutout(number: int, size=64, bands=3) -> sl.Cutout:
    """A galaxy on noise of rms 0.5 and a sky of 2, in every band; the corner pixel is bad."""
    rng = np.random.default_rng(number)
    galaxy = draw_sersic(size, flux=2000 + 500 * number, r_e=4 + number % 4, axis_ratio=rng.uniform(0.4, 1), pa=number)
    flux = np.stack([galaxy * (1 + band) + rng.normal(2, 0.5, galaxy.shape) for band in range(bands)]).astype(
        np.float32
    )
    ivar = np.full_like(flux, 4)
    flux[:, 0, 0], ivar[:, 0, 0] = np.nan, 0
    where = {"ra": 180 + 0.01 * number, "dec": 1 - 0.01 * number, "tile": f"tile-{number // 4}"}
    return sl.Cutout(f"galaxy-{number}", flux, ivar, **where, columns={"redshift": 0.01 * (1 + number)})


@pytest.fixture
def sersic_image():
    """The maker `draw_sersic`."""
    return draw_sersic


@pytest.fixture(scope="session")
def tiny_survey_once(tmp_path_factory) -> Path:
    from skyloom.data import store  # here, so that tests of arrays alone do not wait for Lance

    bands = tuple(sl.Band(name, zero_point=22.5, psf_fwhm=0.7, unit="nanomaggy") for name in "gri")
    info = sl.SurveyInfo(bands, shape=(64, 64), pixel_scale=0.2, source="drawn by tests/conftest.py")
    path = tmp_path_factory.mktemp("surveys") / "tiny.lance"
    store.write(path, info, (draw_cutout(number) for number in range(8)))
    return path


@pytest.fixture
def tiny_survey(tiny_survey_once, tmp_path) -> sl.Survey:
    """A survey of eight galaxies in g, r and i, 64×64 pixels each; the test may change it."""
    return sl.open(shutil.copytree(tiny_survey_once, tmp_path / "tiny.lance"))


def draw_piece(number: int, side=96, bands=2) -> sl.Cutout:
    """A piece of a field: twenty round sources of σ 1.6 pixels on correlated noise of rms 1 and 2, a bad corner."""
    rng = np.random.default_rng([5, number])
    y, x = np.indices((side, side), dtype=float)
    flux = np.empty((bands, side, side), np.float32)
    light = np.zeros((side, side))
    for _ in range(20):
        x0, y0, total = *rng.uniform(0, side, 2), 60 * rng.pareto(1.2) + 80
        light += min(total, 5000) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 5.12) / (5.12 * np.pi)
    for band in range(bands):
        white = rng.normal(size=(side + 1, side))
        flux[band] = (1 + band) * (light + (white[1:] + 0.5 * white[:-1]) / np.sqrt(1.25))
    ivar = np.ones_like(flux) / (np.arange(1, bands + 1)[:, None, None] ** 2)
    flux[:, :2, :2], ivar[:, :2, :2] = np.nan, 0
    return sl.Cutout(
        f"piece-{number}", flux, ivar.astype(np.float32), tile=f"tile-{number}",
        sky=np.zeros(bands, np.float32), sky_rms=np.arange(1, bands + 1, dtype=np.float32),
    )  # fmt: skip


@pytest.fixture(scope="session")
def pieces(tmp_path_factory) -> sl.Survey:
    """Twelve pieces of a field in g and r, with zero points and pixels of 0.25 arcsec."""
    from skyloom.data import store

    bands = (sl.Band("g", zero_point=25.0, unit="count"), sl.Band("r", zero_point=26.0, unit="count"))
    info = sl.SurveyInfo(bands, shape=(96, 96), pixel_scale=0.25, source="drawn by tests/conftest.py")
    return store.write(tmp_path_factory.mktemp("pieces") / "pieces.lance", info, map(draw_piece, range(12)))


@pytest.fixture(scope="session")
def field_run(pieces, tmp_path_factory):
    """A painter of fields after six steps of training."""
    return sl.train(
        "deep_field", pieces, tmp_path_factory.mktemp("skies") / "sky", size="smoke", settings={"recount": "0"}
    )


def draw_field(
    folder: Path, shape=(200, 280), tile=128, centre=(150.0, 2.2), pixel_scale: float | None = 0.25, source="drawn"
) -> tuple[Path, np.ndarray]:
    """A field in g, r and i as `skyloom field` leaves one: 30 round sources of σ 2 pixels on no sky; and their x, y."""
    from skyloom.data.tiles.files import write_tile
    from skyloom.data.tiles.mosaic import open_field
    from skyloom.data.tiles.plan import TILES, Plan, begin
    from skyloom.infer.fields.catalogue import catalogue

    rng = np.random.default_rng(8)
    cells = rng.permutation((shape[0] // 30) * (shape[1] // 30))[:30]  # far apart
    places = np.column_stack([cells % (shape[1] // 30), cells // (shape[1] // 30)]) * 30 + rng.uniform(10, 20, (30, 2))
    rms = (1.0, 2.0, 1.5)
    totals = np.exp(rng.uniform(5, 9, 30)) * rng.uniform(0.5, 2, (3, 30)) * np.array(rms)[:, None]
    y, x = np.indices(shape)
    light = np.zeros((3, *shape))
    for (x0, y0), total in zip(places, totals.T, strict=True):
        spot = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8) / (8 * np.pi)
        light += total[:, None, None] * spot
    bands = tuple(sl.Band(name, zero_point=25.0, unit="count") for name in "gri")
    info = sl.SurveyInfo(bands, shape=(64, 64), pixel_scale=pixel_scale, source=source)
    plan = Plan(shape, tile, 3, "drawn", "0" * 16, 0.0, centre)
    begin(folder, plan, info)
    for one in plan.tiles():
        here = light[:, one.rows.start : one.rows.stop, one.columns.start : one.columns.stop]
        write_tile(folder / TILES / one.name, here.astype(np.float32), one, plan, info, rms)
    catalogue(open_field(folder), rms)
    return folder, places


@pytest.fixture
def field_drawn():
    """The maker `draw_field`."""
    return draw_field


@pytest.fixture(scope="session")
def drawn_field(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A field with its page and its HiPS, and where its sources are; a test must not change it."""
    from skyloom.data import workers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "cores", lambda: 1)
        folder, places = draw_field(tmp_path_factory.mktemp("drawn") / "field")
        sl.field_page(folder)
        sl.hips(folder)
    return folder, places
