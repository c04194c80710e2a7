"""The whole engine: what physics says of a changed image, what it says of a galaxy with a formula, and every horror."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyloom.sky.profiles import Flag, Profiles
from skyloom.sky.sersic import intensity, total_flux

SIDE = 96
SKY = 5.0


def parameters(n: float, rng: np.random.Generator) -> dict:
    """A galaxy that fits its frame of 96 pixels, with 30 rms per pixel at r_e."""
    return {
        "n": n,
        "r_e": rng.uniform(5, 9),
        "q": rng.uniform(0.4, 0.8),
        "pa": rng.uniform(-1.5, 1.5),
        "i_e": 30.0,
        "centre": tuple((SIDE - 1) / 2 + rng.uniform(-0.5, 0.5, 2)),
    }


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    return [parameters(n, rng) for n in (1, 2, 1, 4, 1, 2)]


@pytest.fixture(scope="module")
def images(draw, truth):
    noise = np.random.default_rng(1).normal(SKY, 1, (len(truth), SIDE, SIDE))
    return np.stack([draw((SIDE, SIDE), **facts) for facts in truth]).astype(np.float32) + noise.astype(np.float32)


@pytest.fixture(scope="module")
def plain(images, engine) -> Profiles:
    return engine.extract(images, np.ones_like(images))


def measured(profiles: Profiles) -> torch.Tensor:
    """Which rings each galaxy is measured on."""
    return torch.arange(len(profiles.sma)) <= profiles.last[:, None]


def tensors(profiles: Profiles) -> list[torch.Tensor]:
    nested = ([*part] if isinstance(part, tuple) else [part] for part in profiles)
    return [tensor for part in nested for tensor in part]


def require_same(got: Profiles, want: Profiles, factor: float = 1.0, tolerance: float = 1e-3) -> None:
    """Equal light, geometry (angles apart), totals and radii to a tolerance, the light's in units of its error; the
    errors themselves to twenty times that.

    Rounding may carry a pixel over the border of two annuli: one ring in ten may move by up to a fifth of its error.
    """
    seen = measured(want)
    assert (got.last == want.last).all() and (got.flag == want.flag).all()
    moved = ((got.light / factor - want.light).abs() / want.light_error)[seen]
    assert moved.max() < 0.2 and (moved > tolerance).float().mean() <= 0.1
    errors = [(p.light_error[seen], p.sky_error, p.growth.total_error) for p in (got, want)]
    for ours, theirs in zip(*errors, strict=True):
        np.testing.assert_allclose(ours / factor, theirs, rtol=20 * tolerance)
    for name in ("ellipticity", "ellipticity_error"):
        np.testing.assert_allclose(getattr(got, name)[seen], getattr(want, name)[seen], atol=tolerance)
    np.testing.assert_allclose(got.growth.total / factor, want.growth.total, rtol=tolerance)
    np.testing.assert_allclose(got.growth.half_light, want.growth.half_light, rtol=tolerance)


def turned(angle: torch.Tensor, other: torch.Tensor, seen: torch.Tensor) -> float:
    """Largest difference of two position angles, modulo half a turn [rad]."""
    return float((torch.remainder(angle - other + np.pi / 2, np.pi) - np.pi / 2).abs()[seen].max())


def test_galaxies_are_measured_as_their_formulas_say(plain, truth):
    """Within 4 errors and 2 % of the law beyond the seeing of a pixel; discs to 3 % in flux and half-light radius."""
    for k, facts in enumerate(truth):
        rings = (plain.sma > 3) & measured(plain)[k]
        law = intensity(plain.sma[rings].numpy().astype(float), facts["r_e"], facts["n"], facts["i_e"])
        allowed = 4 * plain.light_error[k, rings].numpy() + 0.02 * law
        assert (np.abs(plain.light[k, rings].numpy() - law) < allowed).all(), facts
        total = total_flux(facts["i_e"], facts["r_e"], facts["n"], facts["q"])
        found = plain.growth
        pairs = (found.total, found.total_error, float(total)), (found.half_light, found.half_light_error, facts["r_e"])
        for value, error, expected in pairs:
            assert abs(float(value[k]) - expected) < 4 * float(error[k]) + 0.02 * expected, facts
            assert facts["n"] != 1 or float(value[k]) == pytest.approx(expected, rel=0.03)
        assert abs(float(plain.sky[k]) - SKY) < 4 * float(plain.sky_error[k])
        assert np.hypot(float(plain.x[k]) - facts["centre"][0], float(plain.y[k]) - facts["centre"][1]) < 0.05
    assert (plain.flag == 0).all()


@pytest.mark.parametrize("factor", [1e-12, 1e12, 2.0**-40])
def test_the_unit_of_the_flux_scales_the_light_and_nothing_else(images, plain, engine, factor):
    """1e-3 errors; to the byte for a power of two."""
    unit = np.float32(factor)
    got = engine.extract(images * unit, np.ones_like(images) / unit / unit)
    require_same(got, plain, factor)
    assert turned(got.angle, plain.angle, measured(plain)) < 1e-3
    np.testing.assert_allclose(got.sky / factor, plain.sky, rtol=1e-3)
    shift = -2.5 * torch.log10(got.light / plain.light)[measured(plain)]
    assert np.quantile(np.abs(shift.numpy() + 2.5 * np.log10(factor)), 0.9) < 1e-3
    if factor == 2.0**-40:
        assert (got.light[measured(plain)] / factor == plain.light[measured(plain)]).all()


SYMMETRIES = {  # of the image's axes; where (x, y) goes; where an angle goes
    "a quarter turn": (lambda a: np.rot90(a, axes=(1, 2)), lambda x, y: (y, SIDE - 1 - x), lambda t: t - np.pi / 2),
    "a half turn": (lambda a: a[:, ::-1, ::-1], lambda x, y: (SIDE - 1 - x, SIDE - 1 - y), lambda t: t),
    "a flip of x": (lambda a: a[:, :, ::-1], lambda x, y: (SIDE - 1 - x, y), lambda t: -t),
    "a flip of y": (lambda a: a[:, ::-1], lambda x, y: (x, SIDE - 1 - y), lambda t: -t),
    "a transposition": (lambda a: a.transpose(0, 2, 1), lambda x, y: (y, x), lambda t: np.pi / 2 - t),
}


@pytest.mark.parametrize("change", SYMMETRIES)
def test_symmetries_of_the_square_move_the_centre_and_turn_the_angle(images, plain, engine, change):
    """1e-3 pixel, radian, and error."""
    move, place, turn = SYMMETRIES[change]
    moved = np.ascontiguousarray(move(images))
    got = engine.extract(moved, np.ones_like(moved))
    require_same(got, plain)
    for coordinate, expected in zip((got.x, got.y), place(plain.x, plain.y), strict=True):
        np.testing.assert_allclose(coordinate, expected, atol=1e-3)
    assert turned(got.angle, turn(plain.angle), measured(plain)) < 1e-3


def test_a_shift_by_whole_pixels_moves_the_centre(images, plain, engine):
    """1e-3 pixel in the centre; the light changes by a few errors, since other pixels of sky are in the frame."""
    moved, weight = np.roll(images, (3, 2), (1, 2)), np.ones_like(images)
    weight[:, :3], weight[:, :, :2] = 0, 0
    got = engine.extract(moved, weight)
    np.testing.assert_allclose(got.x, plain.x + 2, atol=1e-2)
    np.testing.assert_allclose(got.y, plain.y + 3, atol=1e-2)
    bright = measured(plain) & measured(got) & (plain.light > 10 * plain.light_error)
    assert ((got.light - plain.light).abs() < 4 * plain.light_error)[bright].all()


@pytest.mark.parametrize("sky", [1000.0, -300.0])
def test_a_constant_added_to_the_sky_is_measured_as_sky(images, plain, engine, sky):
    """1e-2 errors: float32 holds the sum of 1000 and the noise to 6e-5."""
    got = engine.extract(images + np.float32(sky), np.ones_like(images))
    require_same(got, plain, tolerance=1e-2)
    assert ((got.sky - sky - plain.sky).abs() < 1e-2 * plain.sky_error).all()


def test_what_lies_under_ivar_zero_changes_no_byte(images, engine):
    weight = np.ones_like(images)
    weight[:, 20:30, 40:60] = 0
    weight[:, 58:64, 40:52] = 0
    weight[0, 46:50, 46:50] = 0
    results = []
    for value in (0.0, np.nan, 1e30, -1e30, np.inf):
        spoiled = np.where(weight > 0, images, np.float32(value))
        results.append([tensor.numpy().tobytes() for tensor in tensors(engine.extract(spoiled, weight))])
    assert all(result == results[0] for result in results)


def test_company_and_repetition_change_nothing(images, plain, engine):
    """Twice the same bytes; alone within 1e-3 errors of what it is among others."""
    again = engine.extract(images, np.ones_like(images))
    assert all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(tensors(again), tensors(plain), strict=True))
    for k in (0, 3):
        alone = engine.extract(images[k : k + 1], np.ones_like(images[:1]))
        one = Profiles(*(p if p is plain.sma else _row(p, k) for p in plain))
        require_same(alone, one)


def _row(part, k: int):
    return type(part)(*(p[k : k + 1] for p in part)) if isinstance(part, tuple) else part[k : k + 1]


def test_a_neighbour_does_not_leak_into_the_profile(draw, images, plain, truth, engine):
    """A compact galaxy as bright, 30 pixels away: inside 3 r_e the light stays within 5 errors and 2 %."""
    companion = draw((SIDE, SIDE), centre=(75.0, 68.0), r_e=3, i_e=300, q=0.8).astype(np.float32)
    got = engine.extract(images + companion, np.ones_like(images))
    for k, facts in enumerate(truth):
        rings = (plain.sma > 3) & (plain.sma < 3 * facts["r_e"]) & measured(got)[k] & measured(plain)[k]
        off = (got.light[k] - plain.light[k]).abs()[rings]
        assert (off < 0.02 * plain.light[k, rings] + 5 * got.light_error[k, rings]).all(), facts


# Horrors: none may raise, hang, or leave a profile that nobody is warned of.


def require_sane(profiles: Profiles, shape: tuple[int, int]) -> None:
    """Every measured ring has a geometry and an error; every galaxy has a total and a radius, or a flag."""
    seen = measured(profiles)
    for part in (
        profiles.light,
        profiles.ellipticity,
        profiles.ellipticity_error,
        profiles.angle,
        profiles.angle_error,
    ):
        assert torch.isfinite(part[seen]).all()
    assert (profiles.light_error[seen] >= 0).all()
    assert ((profiles.ellipticity >= 0) & (profiles.ellipticity <= 0.951))[seen].all()
    assert profiles.last.max() < len(profiles.sma) and profiles.last.min() >= -1
    clean = profiles.flag == 0
    for part in (profiles.growth.total, profiles.growth.half_light, profiles.sky, profiles.sky_error):
        assert torch.isfinite(part[clean]).all()
    assert (profiles.last[clean] >= 4).all()
    inside = [((c >= -0.5) & (c <= n - 0.5)).all() for c, n in zip((profiles.x, profiles.y), shape[::-1], strict=True)]
    assert all(inside) or (profiles.flag[~((profiles.x >= 0) & (profiles.y >= 0))] != 0).all()


def horrors(draw, h: int, w: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(h * w)
    rows, columns = np.indices((h, w))
    distance = np.hypot(columns - w / 2, rows - h / 2)
    r_e = max(1.0, min(h, w) / 10)
    galaxy = draw((h, w), r_e=r_e, i_e=50) + rng.normal(0, 1, (h, w))
    huge = draw((h, w), r_e=3.0 * max(h, w), n=4, i_e=1e3) + rng.normal(0, 1, (h, w))
    whole, none = np.ones((h, w)), np.zeros((h, w))
    return {
        "zeros": (none, whole),
        "a constant": (none + 7.3, whole),
        "a huge constant": (none + 1e30, whole),
        "noise": (rng.normal(0, 1, (h, w)), whole),
        "nothing but NaN": (none + np.nan, none),
        "all masked": (galaxy, none),
        "one good pixel": (galaxy, (rows == h // 2) & (columns == w // 2)),
        "a hot pixel": (np.where((rows == h // 2) & (columns == w // 2), 1e6, 0) + rng.normal(0, 1, (h, w)), whole),
        "a hot pixel on nothing": (np.where((rows == h // 2) & (columns == w // 2), 1e6, 0), whole),
        "a saturated hole": (np.where(distance > 2.5, galaxy, np.nan), distance > 2.5),
        "a masked middle": (galaxy, distance > min(h, w) / 4),
        "a masked outside": (galaxy, distance < min(h, w) / 4),
        "half a frame": (galaxy, columns < w / 2),
        "a chessboard": (galaxy, (rows + columns) % 2),
        "a negative galaxy": (-galaxy, whole),
        "a sky far below zero": (galaxy - 1e6, whole),
        "a galaxy larger than the frame": (huge, whole),
        "a galaxy in the corner": (draw((h, w), centre=(0.0, 0.0), r_e=r_e, i_e=50) + rng.normal(0, 1, (h, w)), whole),
        "a galaxy without noise": (draw((h, w), r_e=r_e), whole),
        "a tiny unit": (galaxy * 1e-18, whole * 1e36),
        "a huge unit": (galaxy * 1e18, whole * 1e-36),
        "weights over 60 decades": (galaxy, 10.0 ** rng.uniform(-30, 30, (h, w))),
        "a bright row": (np.where(rows == h // 2, 1e3, 0) + rng.normal(0, 1, (h, w)), whole),
        "a ring": (np.where(np.abs(distance - min(h, w) / 4) < 1.5, 100, 0) + rng.normal(0, 1, (h, w)), whole),
        "a ramp": (columns * 10 + rng.normal(0, 1, (h, w)), whole),
        "a field of stars": (rng.normal(0, 1, (h, w)) + 1e5 * (rng.random((h, w)) < 0.05), whole),
    }


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 5), (8, 8), (16, 16), (33, 47), (64, 9), (64, 64)])
def test_no_horror_raises_or_goes_unflagged(draw, engine, shape):
    """All horrors in one batch, so one frame's NaN would show in another's."""
    names, frames = zip(*horrors(draw, *shape).items(), strict=True)
    flux, ivar = (np.stack(part).astype(np.float32) for part in zip(*frames, strict=True))
    profiles = engine.extract(flux, ivar)
    require_sane(profiles, shape)
    flags = dict(zip(names, profiles.flag.tolist(), strict=True))
    lengths = dict(zip(names, (profiles.last + 1).tolist(), strict=True))
    for empty in ("zeros", "a constant", "a huge constant", "nothing but NaN", "all masked"):
        assert flags[empty] & Flag.NOTHING and lengths[empty] == 0
    if min(shape) >= 16:
        assert flags["a saturated hole"] & Flag.BAD_CENTRE
        assert flags["a galaxy larger than the frame"] & Flag.TRUNCATED
        assert flags["a negative galaxy"] & (Flag.NOTHING | Flag.FAINT)


def test_a_galaxy_that_fills_its_frame_is_flagged(draw, engine):
    frame = draw((64, 64), r_e=128, i_e=300) + np.random.default_rng(3).normal(0, 1, (64, 64))
    assert engine.extract(frame[None], np.ones((1, 64, 64))).flag & Flag.TRUNCATED


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 2**31),
    st.integers(1, 48),
    st.integers(1, 48),
    st.sampled_from([0.0, 0.1, 0.5, 0.95, 1.0]),
    st.floats(-30, 15),
    st.sampled_from(["gauss", "cauchy", "sparse", "integers", "flat"]),
)
def test_no_random_frame_raises(engine, seed, h, w, masked, decade, kind):
    rng = np.random.default_rng(seed)
    frames = {
        "gauss": lambda: rng.normal(0, 1, (3, h, w)),
        "cauchy": lambda: rng.standard_cauchy((3, h, w)),
        "sparse": lambda: rng.exponential(1e3, (3, h, w)) * (rng.random((3, h, w)) < 0.02),
        "integers": lambda: rng.integers(-2, 3, (3, h, w)),
        "flat": lambda: np.ones((3, h, w)),
    }
    ivar = (rng.random((3, h, w)) >= masked) * min(10.0 ** (-2 * decade), 1e30)
    require_sane(engine.extract(frames[kind]() * 10.0**decade, ivar), (h, w))


def test_the_geometry_of_a_galaxy_too_faint_for_a_shape_is_flagged(draw, engine):
    """Stars of S/N 3 per pixel at the peak, 20 draws: whatever is shorter than five rings says FAINT."""
    rng = np.random.default_rng(9)
    frames = draw((48, 48), r_e=1.0, i_e=3.0) + rng.normal(0, 1, (20, 48, 48))
    profiles = engine.extract(frames, np.ones_like(frames))
    short = profiles.last < 4
    assert ((profiles.flag & (Flag.FAINT | Flag.NOTHING)) > 0)[short].all()
