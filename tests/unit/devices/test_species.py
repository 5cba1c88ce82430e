"""Gases: the arithmetic between mg/m3, ppm and the explosive limit, and the table behind it."""

import re

import numpy as np
import pytest

from hazardloop.devices.species import (
    mg_m3_of,
    molar_volume_l,
    percent_lel_of,
    ppm_of,
    shipped_species,
    toxic_levels,
    vol_of,
)

GASES = shipped_species()


@pytest.mark.parametrize(("celsius", "litres"), [(0, 22.4), (20, 24.04), (25, 24.45)])
def test_a_mole_fills_what_the_tables_were_made_with(celsius: float, litres: float) -> None:
    assert molar_volume_l(celsius) == pytest.approx(litres, abs=0.005)


def test_thin_air_holds_less_of_a_gas_in_a_cubic_metre() -> None:
    assert molar_volume_l(20, 101.325 / 2) == pytest.approx(2 * molar_volume_l(20))
    assert mg_m3_of(10, GASES["CO"], kpa=70) < mg_m3_of(10, GASES["CO"])


@pytest.mark.parametrize(
    ("gas", "mg_m3", "ppm"),
    [("CO", 20, 17.2), ("NH3", 20, 28.2), ("H2S", 10, 7.05), ("Cl2", 1, 0.339), ("O3", 0.3, 0.15),
     ("COCl2", 0.5, 0.122), ("CO2", 9000, 4916), ("gasoline", 300, 72.1), ("acetone", 300, 124),
     ("propylene_oxide", 5, 2.07), ("C6H6", 3, 0.923), ("AsH3", 0.03, 0.00925)],
)  # fmt: skip
def test_exposure_limits_in_ppm_are_those_of_the_published_tables(
    gas: str, mg_m3: float, ppm: float
) -> None:
    assert GASES[gas].exposure_limit == mg_m3
    assert float(f"{ppm_of(float(mg_m3), GASES[gas]):.3g}") == pytest.approx(ppm, rel=1e-3)


def test_there_and_back_is_where_one_was_for_columns_too() -> None:
    values = np.array([0.0, 1.5, 300.0, np.nan])
    for gas in GASES.values():
        back = mg_m3_of(ppm_of(values, gas, 31.0, 98.0), gas, 31.0, 98.0)
        np.testing.assert_allclose(back, values)


def test_a_quarter_of_the_explosive_limit_of_methane_is_12500_ppm() -> None:
    assert vol_of(25.0, GASES["CH4"]) * 10_000 == 12_500
    assert percent_lel_of(1.25, GASES["CH4"]) == 25


def test_what_does_not_burn_has_no_share_of_an_explosive_limit() -> None:
    with pytest.raises(ValueError, match="CO2 has no lower explosive limit"):
        vol_of(10.0, GASES["CO2"])


@pytest.mark.parametrize(
    ("gas", "levels"),
    [
        pytest.param("H2S", (10, 20), id="a ceiling stands"),
        pytest.param("CO", (20, 40), id="without a ceiling the shift's mean"),
        pytest.param("CH4", None, id="no limit, no levels"),
    ],
)
def test_levels_follow_the_first_limit_there_is(gas: str, levels: tuple[float, ...] | None) -> None:
    assert toxic_levels(GASES[gas]) == levels


def test_every_number_of_the_table_can_be_one() -> None:
    assert len(GASES) >= 60
    for gas in GASES.values():
        known = [gas.lel_vol, gas.uel_vol, gas.lel_iec_vol, gas.mac, gas.twa, gas.stel, gas.idlh]
        assert all(value is None or value > 0 for value in known), gas.code
        assert (gas.lel_vol or 0) <= (gas.uel_vol or 100) <= 100
        assert gas.twa is None or gas.stel is None or gas.twa < gas.stel
        assert (gas.exposure_limit is None) == (gas.limits_confidence == ""), gas.code
        assert (gas.lel_vol is None) == (gas.lel_confidence == ""), gas.code
        assert {gas.limits_confidence, gas.lel_confidence} <= {"", "sure", "likely", "check"}


def test_every_cas_number_ends_with_its_check_digit_and_is_there_once() -> None:
    for gas in GASES.values():
        digits = gas.cas.replace("-", "")
        weighed = sum(nth * int(digit) for nth, digit in enumerate(reversed(digits[:-1]), 1))
        assert weighed % 10 == int(digits[-1]), gas.code
    assert len({gas.cas for gas in GASES.values()}) == len(GASES)


ATOMS = {"H": 1.008, "B": 10.81, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "P": 30.974,
         "S": 32.06, "Cl": 35.45, "As": 74.922, "Br": 79.904}  # fmt: skip


def test_a_molar_mass_is_the_sum_of_its_atoms() -> None:
    for gas in GASES.values():
        parts = re.findall(r"([A-Z][a-z]?)(\d*)", gas.formula)
        if parts:
            mass = sum(ATOMS[atom] * int(count or 1) for atom, count in parts)
            assert gas.molar_mass_g == pytest.approx(mass, abs=0.03), gas.code
