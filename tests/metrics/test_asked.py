"""Is what comes what was asked for: lines whose slope, scatter and R² are known, moves that are known, and mocks."""

import numpy as np
import pytest

import skyloom as sl
from skyloom.errors import RequestError
from skyloom.metrics.asked import asked_properties, leakage, measured_properties, response, responses

N = 4000


def test_a_line_with_noise_is_found_with_its_errors():
    rng = np.random.default_rng(0)
    asked = rng.normal(0, 2, N)
    found = response(asked, 0.5 * asked + 3 + rng.normal(0, 0.3, N))
    assert found.slope.value == pytest.approx(0.5, abs=4 * found.slope.error) and found.slope.error < 0.01
    assert found.scatter.value == pytest.approx(0.3, rel=0.05)
    assert found.r2.value == pytest.approx(1 / 1.09, abs=0.01) and found.r2.n == N


def test_errors_are_the_spread_of_repetitions():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(60):
        asked = rng.normal(size=100)
        found.append(response(asked, asked + rng.normal(size=100), resamples=60))
    slopes = np.array([one.slope.value for one in found])
    assert np.mean([one.slope.error for one in found]) == pytest.approx(slopes.std(), rel=0.35)


def test_galaxies_without_a_number_drop_out_and_too_few_are_refused():
    asked, measured = np.arange(30.0), np.arange(30.0)
    measured[::3] = np.nan
    assert response(asked, measured).r2.n == 20
    for values in (np.arange(5.0), np.ones(30)):
        with pytest.raises(RequestError, match="ask for more"):
            response(values, values)


def test_leakage_is_in_units_of_what_was_asked_and_of_what_real_galaxies_spread():
    rng = np.random.default_rng(2)
    unit = {"size": rng.normal(0, 2.0, N), "colour": rng.normal(0, 0.1, N)}
    base = {name: rng.normal(0, 1, 50) for name in unit}
    low = {"size": base, "colour": base}
    high = {
        "size": {"size": base["size"] + 4.0, "colour": base["colour"]},
        "colour": {"size": base["size"] + rng.normal(0, 1, 50), "colour": base["colour"] + 0.1},
    }
    found = leakage(low, high, {"size": np.full(50, 2.0), "colour": np.full(50, 2.0)}, unit)
    assert found.move[0] == pytest.approx([1, 0], abs=0.05) and found.move[1, 1] == pytest.approx(0.5, rel=0.05)
    assert abs(found.move[1, 0]) < 4 * found.error[1, 0] and found.n == 50


def test_shapes_are_asked_for_as_components():
    found = asked_properties({"ellipticity": np.array([[0.5]]), "pa": np.array([[45.0]]), "r_e": np.array([[np.e]])})
    assert found["e1"] == pytest.approx([0.0], abs=1e-12) and found["e2"] == pytest.approx([0.5])
    assert found["r_e"] == pytest.approx([1.0]) and "pa" not in found


@pytest.mark.slow
def test_mocks_are_as_they_were_made(tmp_path):
    """The ceiling of every score: the truth of mocks beside what is measured on them."""
    pytest.importorskip("galsim")
    survey = sl.mock(tmp_path / "mocks.lance", 150, size=64, seed=4)
    names = ["true_mag_g", "true_mag_r", "true_mag_i", "true_r_e", "true_ellipticity", "true_pa", "true_n"]
    truth = {name: np.array(survey.table([name])[name].to_pylist(), float)[:, None] for name in names}
    asked = asked_properties({
        "r_mag": truth["true_mag_r"], "g_r": truth["true_mag_g"] - truth["true_mag_r"],
        "r_i": truth["true_mag_r"] - truth["true_mag_i"], "r_e": truth["true_r_e"], "n": truth["true_n"],
        "ellipticity": truth["true_ellipticity"], "pa": truth["true_pa"],
    })  # fmt: skip
    found = responses(asked, measured_properties(survey, "r"))
    assert found["r_mag"].slope.value == pytest.approx(1, abs=0.05)
    least = {"r_mag": 0.85, "g_r": 0.6, "r_i": 0.6, "r_e": 0.6, "ellipticity": 0.3, "e1": 0.6, "e2": 0.6, "n": 0.3}
    assert {name: one.r2.value > least[name] for name, one in found.items()} == dict.fromkeys(found, True)
