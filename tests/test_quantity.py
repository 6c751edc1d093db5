"""Units at the file boundary."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmg.core.data.quantity import conversion, convert, parse_unit, resolve_unit, same_unit, unit_text
from dmg.errors import DataError

FLOWS = ["ft3/s", "m3/s", "mm/d", "mm/h", "kg m-2 s-1"]
DEPTHS = {"mm/d", "mm/h", "kg m-2 s-1"}


@pytest.mark.parametrize(
    ("wild", "plain"),
    [
        ("mm/d", "mm d-1"),
        ("mm d-1", "mm d-1"),
        ("mm day^-1", "mm d-1"),
        ("mm/day", "mm d-1"),
        ("mm d⁻¹", "mm d-1"),
        ("ft3/s", "ft3 s-1"),
        ("ft^3 s-1", "ft3 s-1"),
        ("cfs", "ft3 s-1"),
        ("m**3/s", "m3 s-1"),
        ("cumecs", "m3 s-1"),
        ("W/m2", "W m-2"),
        ("s/m^(1/3)", "s m-1/3"),
        ("C", "degC"),
        ("°C", "degC"),
        ("degrees_celsius", "degC"),
        ("K", "K"),
        ("Pa", "Pa"),
        ("-", "1"),
        ("sqkm", "km2"),
        ("degrees_north", "degree"),
        ("gC m-2 d-1", "g m-2 d-1"),
        ("days/yr", "d yr-1"),
    ],
)
def test_spellings_of_the_wild_are_read(wild, plain):
    assert unit_text(wild) == plain
    assert same_unit(wild, plain)
    assert unit_text(plain) == plain


@pytest.mark.parametrize(("one", "other"), [("mm/d", "m/s"), ("degC", "K"), ("ft3/s", "mm/d"), ("%", "1")])
def test_different_units_are_not_the_same(one, other):
    assert not same_unit(one, other)


def test_discharge_factor_is_the_definition_of_the_foot():
    # 1 ft3/s over 1 km2: 0.3048^3 m3/s * 86400 s/d / 1e6 m2 * 1e3 mm/m
    assert convert(1.0, "ft3/s", "mm/d", area=1.0) == pytest.approx(0.3048**3 * 86.4, rel=1e-12)
    assert convert(1.0, "m3/s", "mm/d", area=86.4) == pytest.approx(1.0, rel=1e-12)
    assert convert(1.0, "kg m-2 s-1", "mm/d") == pytest.approx(86400.0)
    assert convert(0.0, "degC", "K") == pytest.approx(273.15)


@given(st.sampled_from(FLOWS), st.sampled_from(FLOWS), st.floats(1e-6, 1e6), st.floats(0.1, 1e5))
def test_round_trip_returns_the_value(one, other, value, area):
    there = convert(value, one, other, area=area)
    assert convert(there, other, one, area=area) == pytest.approx(value, rel=1e-9)
    assert conversion(one, other).needs_area == ((one in DEPTHS) != (other in DEPTHS))


@given(st.sampled_from(FLOWS), st.sampled_from(FLOWS), st.sampled_from(FLOWS), st.floats(1e-3, 1e3))
def test_conversions_compose(one, middle, other, value):
    direct = convert(value, one, other, area=250.0)
    assert convert(convert(value, one, middle, area=250.0), middle, other, area=250.0) == pytest.approx(direct)


def test_arrays_and_tensors_keep_their_dtype_and_broadcast_over_sites():
    area = np.array([1.0, 2.0])
    flow = np.ones((3, 2), dtype=np.float32)
    depth = convert(flow, "ft3/s", "mm/d", area)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth[:, 0], 2 * depth[:, 1])
    tensor = convert(torch.from_numpy(flow), "ft3/s", "mm/d", torch.from_numpy(area))
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor.numpy(), depth, rtol=1e-6)
    assert convert(flow, "degC", "K").dtype == np.float32


def test_different_things_are_refused_with_both_names():
    with pytest.raises(DataError, match=r"'degC' to 'mm/d'"):
        conversion("degC", "mm/d")
    with pytest.raises(DataError, match="area"):
        convert(1.0, "ft3/s", "mm/d")
    with pytest.raises(DataError, match="'furlong per fish' is not a unit"):
        parse_unit("furlong per fish")


def test_the_unit_of_the_store_wins_and_disagreement_names_both():
    assert resolve_unit("q", "mm/day") == "mm/day"
    assert resolve_unit("q", "mm/day", "mm d-1") == "mm/day"
    assert resolve_unit("q", None, "ft3/s") == "ft3/s"
    with pytest.raises(DataError, match=r"'mm/day'.*'ft3/s'"):
        resolve_unit("q", "mm/day", "ft3/s")
    with pytest.raises(DataError, match="'q' has no unit"):
        resolve_unit("q", " ")
