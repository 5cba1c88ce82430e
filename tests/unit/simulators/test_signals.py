"""Signals are repeatable, free of order, and do what matter does."""

import numpy as np
import pytest

from hazardloop.devices.readings import Floats
from hazardloop.simulators import signals
from hazardloop.simulators.signals import LiftColumns, TankColumns

ROWS = np.arange(40, dtype=np.int32)
ONE = np.array([7], np.int32)
HOUR = np.arange(0.0, 3600.0, 0.5)


def tank(height_m: float = 6.0, period_s: float = 5400.0) -> TankColumns:
    def column(value: float) -> Floats:
        return np.array([value])

    return TankColumns(
        column(height_m), column(4.9), column(0.4), column(0.68), column(period_s), column(0.3)
    )


def test_chance_is_the_same_for_the_same_seed_row_and_step() -> None:
    first = signals.uniform(3, ROWS, np.array([11]))
    assert np.array_equal(first, signals.uniform(3, ROWS, np.array([11])))
    assert not np.any(first == signals.uniform(4, ROWS, np.array([11])))
    assert not np.any(first == signals.uniform(3, ROWS, np.array([12])))
    assert not np.any(first == signals.uniform(3, ROWS + 1, np.array([11])))


def test_chance_is_spread_evenly_over_zero_to_one() -> None:
    many = signals.uniform(1, np.arange(20_000, dtype=np.int32), np.array([-5]))
    assert many.min() >= 0.0
    assert many.max() < 1.0
    shares = np.histogram(many, bins=10, range=(0.0, 1.0))[0] / len(many)
    assert np.all(np.abs(shares - 0.1) < 0.01)


def test_noise_has_unit_variance_and_no_bias() -> None:
    noise = signals.grain(1, np.arange(20_000, dtype=np.int32), np.array([3.14]))
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 1.0) < 0.03


def test_an_instant_shows_the_same_whatever_was_asked_before() -> None:
    shuffled = np.random.default_rng(1).permutation(HOUR)
    in_order = dict(zip(HOUR, signals.gas_background(5, ONE, HOUR), strict=True))
    out_of_order = dict(zip(shuffled, signals.gas_background(5, ONE, shuffled), strict=True))
    assert in_order == out_of_order


def test_clean_air_stays_far_below_any_limit() -> None:
    day = np.arange(0.0, 86_400.0, 7.0)
    shown = signals.gas_background(2, ONE, day)
    assert shown.min() >= 0.0
    assert shown.max() < 2.5
    assert shown.std() > 0.05


def test_wander_is_smooth() -> None:
    drift = signals.wander(1, ONE, HOUR, 60.0)
    assert np.abs(drift).max() <= 1.0
    assert np.abs(np.diff(drift)).max() < np.pi / 60.0 * 0.5 * 1.01


def test_a_plume_arrives_fills_and_is_vented() -> None:
    t_s = np.arange(0.0, 300.0, 0.1)
    shown = signals.plume(t_s, np.array([70.0]), np.array([12.0]), 8.0, 100.0)
    assert np.all(shown[t_s <= 12.0] == 0.0)
    assert np.all(np.diff(shown[(t_s > 12.0) & (t_s <= 100.0)]) >= 0.0)
    assert shown[np.searchsorted(t_s, 12.0 + 8.0)] == pytest.approx(
        70.0 * (1 - np.exp(-1)), rel=0.02
    )
    assert np.all(np.diff(shown[t_s > 100.0]) < 0.0)
    assert shown[-1] < 0.1


def test_a_plume_thins_out_with_distance() -> None:
    assert signals.dilution(np.array([0.0, 8.0, 16.0]), 8.0).tolist() == [1.0, 0.5, 0.2]


def test_a_tanks_level_is_what_flowed_in_less_what_flowed_out() -> None:
    columns, step_s = tank(), 0.5
    flow_in, flow_out = signals.tank_flows(HOUR, columns)
    level = signals.tank_level(HOUR, columns)
    gained = np.cumsum((flow_in - flow_out)[:-1]) * step_s / columns.area_m2
    assert np.abs(level[1:] - level[0] - gained).max() < 2 * flow_in.max() * step_s / 4.9


def test_a_tank_works_between_its_marks_and_returns_after_a_cycle() -> None:
    level = signals.tank_level(np.arange(0.0, 5400.0), tank())
    assert level.min() == pytest.approx(0.4 * 6.0, abs=1e-3)
    assert level.max() == pytest.approx(0.68 * 6.0, abs=1e-3)
    assert signals.tank_level(np.array([5400.0 + 99.0]), tank()) == pytest.approx(level[99])


def test_a_bulge_rises_holds_and_falls_in_straight_lines() -> None:
    shown = signals.bulge(
        np.array([9.0, 10.0, 15.0, 20.0, 49.0, 55.0, 61.0]), 10.0, 10.0, 30.0, 10.0
    )
    assert shown.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0, 0.5, 0.0]


@pytest.mark.parametrize(("floors", "rated_m_s"), [(2, 1.0), (9, 1.75), (28, 2.5), (18, 1.6)])
def test_a_lift_moves_as_its_speed_says(floors: int, rated_m_s: float) -> None:
    lift = LiftColumns(np.array([float(floors)]), np.array([rated_m_s]))
    t_s = np.arange(0.0, 900.0, 0.02)
    height, speed, is_open = signals.lift_motion(1, ONE, t_s, lift)
    slot = np.floor(t_s / signals.lift_slot_s(lift))
    within = np.diff(slot) == 0
    moved = (speed[1:] + speed[:-1]) / 2.0 * 0.02
    assert np.abs(np.diff(height) - moved)[within].max() < 1e-3
    assert np.abs(np.diff(height)[~within]).max(initial=0.0) < 1e-6
    assert np.abs(speed).max() <= rated_m_s + 1e-9
    assert np.abs(np.diff(speed) / 0.02)[within].max() <= 1.0 + 1e-6
    assert height.min() >= 0.0
    assert height.max() <= (floors - 1) * signals.STOREY_M
    assert np.all(speed[is_open] == 0.0)
    landing = height[is_open] / signals.STOREY_M
    assert np.abs(landing - np.round(landing)).max() < 1e-9
    assert np.abs(speed).max() > 0.5


def test_smoke_reaches_the_alarm_when_it_should_and_clears_after_the_fire() -> None:
    t_s = np.array([9.99, 19.9, 20.1, 60.0, 100.0, 110.0])
    thick = signals.obscuration(t_s, 10.0, 10.0, 100.0)
    assert (thick >= signals.SMOKE_ALARM_DB_M).tolist() == [False, False, True, True, True, False]


def test_a_fire_smoulders_before_it_heats() -> None:
    t_s = np.array([15.0, 20.0, 30.0, 90.0, 160.0])
    heat = signals.fire_heat(t_s, 10.0, 10.0, 100.0, 12.0)
    assert heat[:2].tolist() == [0.0, 0.0]
    assert heat[2] == pytest.approx(12.0)
    assert heat[4] < 1.0


def test_a_battery_only_falls_and_lasts_for_years() -> None:
    year = np.linspace(0.0, 365 * 86_400.0, 500)
    charge = signals.battery(1, ONE, year)
    assert np.all(np.diff(charge) < 0.0)
    assert 20.0 < charge[-1] < charge[0] <= 100.0
