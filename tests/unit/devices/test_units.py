"""Units that gateways write, in those of the catalogue."""

import pytest

from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.units import UNITS, conversion, known_unit


@pytest.mark.parametrize(
    ("given", "wanted", "value", "expected"),
    [
        pytest.param("mm", "m", 7420.0, 7.42, id="millimetres"),
        pytest.param("MPa", "kPa", 1.6, 1600.0, id="megapascal"),
        pytest.param("[psi]", "kPa", 100.0, 689.4757, id="pounds per square inch, NIST SP 811"),
        pytest.param("K", "Cel", 273.15, 0.0, id="the ice point"),
        pytest.param("°F", "Cel", 212.0, 100.0, id="the boiling point"),
        pytest.param("%", "[ppm]", 1.0, 10_000.0, id="one per cent"),
        pytest.param("/", "%", 0.25, 25.0, id="a SenML ratio"),
        pytest.param("km/h", "m/s", 36.0, 10.0, id="a speed"),
        pytest.param("%LEL", "%{LEL}", 12.5, 12.5, id="a usual spelling"),
    ],
)
def test_a_value_is_turned(given: str, wanted: str, value: float, expected: float) -> None:
    turned = conversion(given, wanted)
    assert turned is not None
    assert turned(value) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        pytest.param("%", "%{LEL}", id="per cent by volume is not per cent of the limit"),
        pytest.param("m", "kPa", id="a length is no pressure"),
        pytest.param("furlong", "m", id="a unit that is not known"),
        pytest.param("1", "m", id="a bare number"),
    ],
)
def test_what_measures_something_else_is_not_turned(given: str, wanted: str) -> None:
    assert conversion(given, wanted) is None


def test_there_and_back_is_where_one_was() -> None:
    for one, (dimension, *_) in UNITS.items():
        for other in (unit for unit, (same, *_) in UNITS.items() if same == dimension):
            there, back = conversion(one, other), conversion(other, one)
            assert there is not None
            assert back is not None
            assert back(there(12.5)) == pytest.approx(12.5)


def test_every_unit_of_the_catalogue_is_known() -> None:
    for kind in shipped_catalog().kinds.values():
        for quantity in kind.quantities.values():
            assert known_unit(quantity.unit) == quantity.unit
