"""What a training takes: arithmetic that anybody can redo, and assumptions that are checked."""

import pytest

from skyloom.errors import RequestError
from skyloom.metrics.costs import Assumptions, assumptions, costs


def test_a_day_of_an_h100():
    """989 TFLOP/s at 0.4 for a day; 0.7 kW for 24 h, with the overhead of a data centre."""
    h100 = next(one for one in costs(989e12 * 0.4 * 86400, Assumptions()) if "H100" in one.device)
    assert h100.days == pytest.approx(1) and h100.kwh == pytest.approx(0.7 * 24 * 1.56)
    assert h100.kg_co2e == pytest.approx(0.7 * 24 * 1.56 * 0.48) and h100.usd == pytest.approx(72)


def test_the_machine_of_the_runs_costs_what_is_known_of_it():
    bare = costs(8.64e15, Assumptions(), "CPU", 1e11)[0]
    assert bare.days == pytest.approx(1) and (bare.kwh, bare.usd, bare.kg_co2e) == (None, None, None)
    told = costs(8.64e15, assumptions({"watts": "100", "overhead": "1", "price": "2"}), "CPU", 1e11)[0]
    assert told.kwh == pytest.approx(2.4) and told.usd == pytest.approx(48)


def test_a_device_of_one_s_own():
    given = assumptions({"flops": "1e14", "utilisation": "0.5", "watts": "200"})
    first = costs(1e20, given)[0]
    assert first.device == "yours" and first.speed == 5e13
    asked = [one.device for one in costs(1e20, given, "CPU", 1e11)]
    assert asked[:2] == ["as the runs (CPU)", "yours"] and costs(1e20, given, "CPU", 1e11)[0].kwh is None


@pytest.mark.parametrize("bad", [{"watt": "3"}, {"watts": "many"}, {"watts": "-1"}, {"utilisation": "40"}])
def test_strange_assumptions_are_refused(bad):
    with pytest.raises(RequestError):
        assumptions(bad)
