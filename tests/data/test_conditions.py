"""What a galaxy can be asked by: read from columns, told to a network, and turned with the image."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import skyloom as sl
from skyloom.data.conditions import (
    RADII,
    conditions_from,
    encoded,
    facts_of,
    learnt_conditions,
    require_conditions,
    unit_of,
    values_of,
    wished,
)
from skyloom.data.images import image_batches, read_images
from skyloom.errors import RequestError
from skyloom.sky.grid import SYMMETRIES, turn_pa


@pytest.fixture
def described(tiny_survey):
    """A survey of five galaxies or more, with columns of every kind."""
    n = len(tiny_survey)
    return tiny_survey.add_columns(pa.table({
        "object_id": tiny_survey.table(["object_id"])["object_id"].to_pylist(),
        "mag_g": [20.0 + k for k in range(n)], "mag_r": [19.5 + 0.8 * k for k in range(n)],
        "true_r_e": [0.0, *(1.0 + k for k in range(n - 1))], "true_pa": [40.0 * k for k in range(n)],
        "vector": [[float(k), 2.0, float(k % 2)] for k in range(n)], "word": ["a"] * n, "same": [3.0] * n,
        "t01_a_fraction": [0.1 * k for k in range(n)], "t01_b_fraction": [1 - 0.1 * k for k in range(n)],
    }))  # fmt: skip


def learnt(survey, *texts):
    wishes = wished(texts)
    return learnt_conditions(wishes, [values_of(survey, wish) for wish in wishes])


def test_every_kind_of_condition_is_read_as_it_is_written(described):
    n = len(described)
    texts = ["mag=mag_g", "g_r=mag_g-mag_r", "r_e=log(true_r_e)", "pa=angle(true_pa)", "vector", "votes=t01_*_fraction"]
    mag, colour, size, angle, vector, votes = learnt(described, *texts)
    assert [one.width for one in (mag, colour, size, angle, vector, votes)] == [1, 1, 1, 2, 3, 2]
    assert (mag.low, mag.high, mag.unit) == ((20.0,), (20.0 + n - 1,), "mag")
    assert colour.low[0] == pytest.approx(0.5) and colour.high[0] == pytest.approx(0.5 + 0.2 * (n - 1))
    assert size.low == (1.0,) and size.unit == "arcsec"  # the galaxy of size 0 has no logarithm, and counts for nothing
    assert vector.kind == "vector" and vector.std[1] == 1.0  # an element that never varies says nothing, without harm
    assert votes.numbers == 2 and angle.unit == "deg"
    assert conditions_from(facts_of([mag, angle])) == (mag, angle) and conditions_from(None) == ()


def test_what_is_told_is_standardised_and_what_is_unknown_stays_unknown(described):
    size, vector = learnt(described, "log(true_r_e)", "vector")
    values = values_of(described, wished(["log(true_r_e)"])[0])
    told = size.told(values)
    assert np.isnan(told[0]).all() and np.nanmean(told) == pytest.approx(0) and np.nanstd(told) == pytest.approx(1)
    assert size.outside(np.array([[99.0]])) and not size.outside(np.array([[2.0]]))
    assert vector.told(np.array([[1.0, 2.0, 0.0]]))[0, 1] == 0


@given(st.floats(0, 180), st.sampled_from([*SYMMETRIES]))
def test_an_angle_and_its_opposite_are_told_alike_and_turn_with_the_image(angle, k):
    one, other, turned = (
        encoded("angle", np.array([[value]])) for value in (angle, angle + 180, turn_pa(np.array(angle), k))
    )
    np.testing.assert_allclose(one, other, atol=1e-9)
    quarter, mirror = (-1 if k % 2 else 1), (-1 if k >= 4 else 1)
    np.testing.assert_allclose(turned, one * [[quarter, quarter * mirror]], atol=1e-9)


def test_labels_of_a_batch_turn_with_its_images(tiny_survey):
    """An image that is bright along x and told so is bright along what it is told after any symmetry."""
    ids = tiny_survey.table(["object_id"])["object_id"].to_pylist()
    images = read_images(tiny_survey, ids)
    y, x = np.indices(images.flux.shape[-2:]) - (images.flux.shape[-1] - 1) / 2
    images.flux[:] = torch.from_numpy((np.abs(0.6 * x + 0.8 * y) * (np.hypot(x, y) < 20)).astype(np.float32))
    images.bad.clear()
    angle = np.degrees(np.arctan2(0.8, 0.6))
    labels = torch.from_numpy(encoded("angle", np.full((len(ids), 1), angle))).float()
    labels = torch.cat([torch.arange(len(ids))[:, None].float(), labels], 1)
    batch = next(image_batches(images, lambda flux: flux, 40, shift=0.0, seed=1, labels=labels, angles=[1]))
    light = batch.images[:, 0].numpy()
    moments = np.stack([(light * (x**2 - y**2)).sum((1, 2)), (light * 2 * x * y).sum((1, 2))], 1)
    moments /= np.hypot(*moments.T)[:, None]
    np.testing.assert_allclose(batch.labels[:, 1:].numpy(), moments, atol=0.01)  # pixels are square
    assert len(np.unique(batch.labels[:, 1:].numpy().round(3), axis=0)) == 4
    assert set(batch.labels[:, 0].tolist()) == set(range(len(ids)))


def test_a_profile_is_told_at_fixed_radii(tmp_path):
    """The truth of mocks at radii that lie between theirs; an engine's profiles are read by the same door."""
    pytest.importorskip("galsim")
    survey = sl.mock(tmp_path / "mocks.lance", 3, size=32, bands="gr", seed=5)
    values = values_of(survey, wished(["sb=profile(true.r)"])[0])
    truth = survey.table(["true_sma", "true_sb_r"]).to_pylist()
    for row, facts in zip(values, truth, strict=True):
        inside = facts["true_sma"][-1] >= RADII
        expected = np.interp(np.log(RADII[inside]), np.log(facts["true_sma"]), facts["true_sb_r"])
        np.testing.assert_allclose(row[inside], expected, rtol=1e-6)
        assert np.isnan(row[~inside]).all()
    (sb,) = learnt(survey, "sb=profile(true.r)")
    assert (sb.kind, sb.unit, sb.width) == ("profile", "mag/arcsec²", len(RADII))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x=exp(mag_g)", "is not name=column"),
        ("nothing", "no column 'nothing'"),
        ("word", "no numbers"),
        ("log(vector)", "is of one number"),
        ("same", "same for every galaxy"),
    ],
)
def test_what_cannot_be_a_condition_is_refused(described, text, reason):
    with pytest.raises(RequestError, match=reason):
        learnt(described, text)


def test_a_name_comes_once_and_some_galaxy_must_have_a_value(described):
    with pytest.raises(RequestError, match="named a twice"):
        wished(["a=mag_g", "a=mag_r"])
    hollow = described.add_columns(pa.table({
        "object_id": described.table(["object_id"])["object_id"].to_pylist(), "hollow": [float("nan")] * len(described)
    }))  # fmt: skip
    with pytest.raises(RequestError, match="no object has a value"):
        require_conditions(hollow, wished(["hollow"]))


def test_units_follow_from_the_names_of_columns():
    names = ("true_mag_r", "true_r_e", "true_pa", "true_sb_r", "psf_fwhm", "true_ellipticity", "magic")
    assert [unit_of(name) for name in names] == ["mag", "arcsec", "deg", "mag/arcsec²", "arcsec", "", ""]
