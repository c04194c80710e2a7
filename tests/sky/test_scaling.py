"""Scalings of generators: invertible where they say so, and what the published one loses."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skyloom.sky.scaling import Asinh, MinMax, facts_of, scaling_of

fluxes = st.floats(-1e3, 1e6).filter(lambda value: abs(value) > 1e-3)


def image(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, len(values), 1, 1)


@given(fluxes, st.floats(1e-2, 1e2), st.sampled_from([1e-12, 1.0, 1e9]))
def test_asinh_gives_back_what_it_took_over_six_decades_and_in_any_unit(flux, softening, unit):
    scaling = Asinh((softening * unit,))
    back = scaling.flux(scaling.scaled(image(flux * unit)))
    np.testing.assert_allclose(back.item() / unit, flux, rtol=2e-5, atol=2e-6 * softening)


@given(fluxes, st.floats(1e-12, 1e12))
def test_the_unit_of_the_flux_does_not_matter(flux, unit):
    one, other = Asinh((2.0,)), Asinh((2.0 * unit,))
    torch.testing.assert_close(one.scaled(image(flux)), other.scaled(image(flux * unit)), rtol=1e-4, atol=1e-5)


@given(st.floats(0, 5))
def test_min_max_keeps_what_lies_inside_its_range(flux):
    scaling = MinMax((5.0,))
    assert -1 <= scaling.scaled(image(flux)).item() <= 1
    assert scaling.flux(scaling.scaled(image(flux))).item() == pytest.approx(flux, abs=1e-6)


@given(st.floats(5.01, 1e4), st.floats(-1e4, -0.01))
def test_clipping_loses_what_lies_outside_and_no_clipping_loses_nothing(bright, dark):
    for flux, end in ((bright, 5.0), (dark, 0.0)):
        clipped, whole = MinMax((5.0,)), MinMax((5.0,), clip=False)
        assert clipped.flux(clipped.scaled(image(flux))).item() == end
        assert whole.flux(whole.scaled(image(flux))).item() == pytest.approx(flux, rel=1e-4, abs=1e-3)


def test_every_band_has_its_own_scale():
    scaled = Asinh((1.0, 10.0)).scaled(image(3.0, 30.0))
    assert scaled[0, 0] == pytest.approx(scaled[0, 1].item())


@pytest.mark.parametrize("scaling", [Asinh((1.0, 2.0)), MinMax((5.0, 6.0), clip=False), MinMax((5.0, 5.0))])
def test_a_scaling_is_read_back_from_its_facts(scaling):
    assert scaling_of(json.loads(json.dumps(facts_of(scaling)))) == scaling
