"""The weights that can be asked, as they ship: brightness, colour and direction are as they were asked for."""

import numpy as np
import pytest

import skyloom as sl
from skyloom.infer.generator import generator_of
from skyloom.metrics.asked import measured_properties, response

pytestmark = pytest.mark.slow
N, NAME = 48, "galaxy-mock-conditional"


def test_they_say_what_they_can_be_asked_for():
    names = [one.name for one in generator_of(NAME).conditions]
    assert names == ["r_mag", "r_e", "g_r", "r_i", "ellipticity", "n", "pa"]


def test_brightness_colour_and_direction_follow_what_is_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    asked = {"r_mag": rng.uniform(19, 22, N), "r_e": rng.uniform(0.6, 1.5, N), "pa": rng.uniform(0, 180, N)}
    made = sl.simulate(tmp_path / "made.lance", NAME, N, seed=2, labels={**asked, "ellipticity": 0.6})
    found = measured_properties(made, "r")
    light = response(asked["r_mag"], found["r_mag"])
    assert light.slope.value == pytest.approx(1, abs=0.2) and light.r2.value > 0.6
    for part, component in (("e1", np.cos), ("e2", np.sin)):
        assert response(component(np.radians(2 * asked["pa"])), found[part]).r2.value > 0.2
