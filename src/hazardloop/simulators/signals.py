"""What sensors show: columns that follow from seed, place and time alone.

Every function is closed in time: asked for any instant, in any order, it answers the same.
`t_s` is simulated time in seconds since the run began, (n,) or (1,); parameters broadcast with it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hazardloop.devices.readings import Bools, Floats, Rows

Words = npt.NDArray[np.uint64]

_SEED_STEP: Final = 0x9E3779B97F4A7C15
_ROW_STEP: Final = np.uint64(0xD1B54A32D192ED03)
_TIME_STEP: Final = np.uint64(0x8CB92BA72F3D8DD7)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_WORD: Final = (1 << 64) - 1

SMOKE_ALARM_DB_M: Final = 0.15
"""Obscuration at which a point smoke detector responds, dB/m; house, of the usual size."""
STOREY_M: Final = 3.0
"""Height of one storey, m; house."""


def uniform(seed: int, row: Rows, step: npt.NDArray[np.int64]) -> Floats:
    """(n,) numbers in [0, 1): one for each pair of row and step, always the same one.

    Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over a weighted sum of the three.
    """
    word: Words = np.atleast_1d(row).astype(np.uint64) * _ROW_STEP
    word = word + np.atleast_1d(step).astype(np.uint64) * _TIME_STEP
    word = word + np.uint64((seed * _SEED_STEP) & _WORD)
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    word = word ^ (word >> np.uint64(31))
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


def grain(seed: int, row: Rows, t_s: Floats) -> Floats:
    """(n,) noise of unit variance, within +-3, new every 100 ms: the restlessness of a sensor."""
    step = np.floor(np.atleast_1d(t_s) * 10.0).astype(np.int64) * 3
    total = uniform(seed, row, step) + uniform(seed, row, step + 1) + uniform(seed, row, step + 2)
    return (total - 1.5) * 2.0


def wander(seed: int, row: Rows, t_s: Floats, period_s: float) -> Floats:
    """(n,) smooth drift in [-1, 1] whose direction changes about every `period_s`."""
    place = np.atleast_1d(t_s) / period_s
    step = np.floor(place).astype(np.int64)
    ease = 0.5 - 0.5 * np.cos(np.pi * (place - step))
    before = uniform(seed + 1, row, step)
    after = uniform(seed + 1, row, step + 1)
    return 2.0 * (before + (after - before) * ease) - 1.0


def gas_background(seed: int, row: Rows, t_s: Floats) -> Floats:
    """(n,) what a detector shows in clean air, %LEL: 0 to about 2, drifting over minutes."""
    drift = 0.6 + 0.5 * wander(seed, row, t_s, 600.0)
    return np.maximum(drift + 0.12 * grain(seed, row, t_s), 0.0)


def plume(t_s: Floats, steady: Floats, arrives_s: Floats, tau_s: float, vented_s: float) -> Floats:
    """(n,) concentration that a release adds at each detector, in the unit of `steady`.

    It comes after `arrives_s`, nears `steady` with the time constant `tau_s`, and from `vented_s`
    on decays with twice that constant: a ventilated space modelled as one well-mixed box.
    """
    filling = 1.0 - np.exp(-np.maximum(np.minimum(t_s, vented_s) - arrives_s, 0.0) / tau_s)
    venting = np.exp(-np.maximum(t_s - vented_s, 0.0) / (2.0 * tau_s))
    return steady * filling * venting


def dilution(distance_m: Floats, reach_m: float) -> Floats:
    """(n,) share of the concentration at the source that stands at `distance_m`; 1 at it."""
    return 1.0 / (1.0 + (distance_m / reach_m) ** 2)


@dataclass(frozen=True, slots=True)
class TankColumns:
    """Tanks that fill and empty in turn, one element per tank."""

    height_m: Floats
    area_m2: Floats
    low: Floats
    """Lowest fill of the cycle as a share of the height."""
    high: Floats
    period_s: Floats
    """Length of one cycle of filling, resting, emptying, resting."""
    phase: Floats
    """Where in its cycle the tank stands at t_s = 0, as a share of the period."""


_FILLED: Final = 0.4
_OPENED: Final = 0.5
_EMPTIED: Final = 0.9


def tank_flows(t_s: Floats, tank: TankColumns) -> tuple[Floats, Floats]:
    """Inflow and outflow of each tank, (n,) each, m3/s: one pump in, one pump out, never both."""
    place = (t_s / tank.period_s + tank.phase) % 1.0
    rate = (tank.high - tank.low) * tank.height_m * tank.area_m2 / (_FILLED * tank.period_s)
    fills = place < _FILLED
    empties = (place >= _OPENED) & (place < _EMPTIED)
    return np.where(fills, rate, 0.0), np.where(empties, rate, 0.0)


def tank_level(t_s: Floats, tank: TankColumns) -> Floats:
    """(n,) level in m: the integral of `tank_flows` over the area, `low` to `high` and back."""
    place = (t_s / tank.period_s + tank.phase) % 1.0
    filled = np.minimum(place / _FILLED, 1.0)
    emptied = np.clip((place - _OPENED) / (_EMPTIED - _OPENED), 0.0, 1.0)
    return (tank.low + (tank.high - tank.low) * (filled - emptied)) * tank.height_m


def bulge(t_s: Floats, start_s: float, rise_s: float, hold_s: float, fall_s: float) -> Floats:
    """(n,) 0 to 1 in a straight line over `rise_s`, 1 for `hold_s`, and back to 0 over `fall_s`."""
    rises = (t_s - start_s) / rise_s
    falls = (start_s + rise_s + hold_s + fall_s - t_s) / fall_s
    return np.clip(np.minimum(rises, falls), 0.0, 1.0)


def ambient(seed: int, row: Rows, t_s: Floats) -> Floats:
    """(n,) temperature of the air in degrees Celsius: a day's swing about 20, and weather."""
    swing = 4.0 * np.sin(2.0 * np.pi * np.atleast_1d(t_s) / 86_400.0)
    return 20.0 + swing + 2.0 * wander(seed + 2, row, t_s, 1_800.0)


@dataclass(frozen=True, slots=True)
class LiftColumns:
    """Lifts that make one trip per slot of time, one element per lift."""

    floors: Floats
    """Number of landings, at least 2; the lowest is 1."""
    rated_m_s: Floats
    accel_m_s2: float = 1.0
    door_s: float = 8.0
    """Time for which the door stands open at the start of a trip's slot."""


def _trip(lift: LiftColumns, distance_m: Floats) -> tuple[Floats, Floats]:
    """Top speed and travel time of a trip: speed rises, holds and falls in straight lines."""
    top = np.minimum(lift.rated_m_s, np.sqrt(lift.accel_m_s2 * distance_m))
    travel = np.where(
        distance_m > 0.0, distance_m / np.maximum(top, 1e-9) + top / lift.accel_m_s2, 0.0
    )
    return top, travel


def lift_slot_s(lift: LiftColumns) -> Floats:
    """(n,) time slot of one trip, s: door, the longest trip, door, and 5 s of rest."""
    _, travel = _trip(lift, (lift.floors - 1.0) * STOREY_M)
    return 2.0 * lift.door_s + travel + 5.0


def lift_motion(
    seed: int, row: Rows, t_s: Floats, lift: LiftColumns
) -> tuple[Floats, Floats, Bools]:
    """Height above the lowest landing in m, speed in m/s (up is positive), door open; (n,) each.

    Height is the integral of speed; the door is open only while the car stands at a landing.
    """
    slot_s = lift_slot_s(lift)
    place = np.atleast_1d(t_s) / slot_s
    step = np.floor(place).astype(np.int64)
    origin = np.floor(uniform(seed + 3, row, step) * lift.floors) * STOREY_M
    target = np.floor(uniform(seed + 3, row, step + 1) * lift.floors) * STOREY_M
    top, travel = _trip(lift, np.abs(target - origin))
    since = (place - step) * slot_s
    moving = np.clip(since - lift.door_s, 0.0, travel)
    ramp = top / lift.accel_m_s2
    rises = np.minimum(moving, ramp)
    falls = np.maximum(moving - (travel - ramp), 0.0)
    speed = top - lift.accel_m_s2 * (ramp - rises) - lift.accel_m_s2 * falls
    covered = lift.accel_m_s2 * rises**2 / 2.0 + top * np.maximum(moving - ramp, 0.0)
    covered = covered - lift.accel_m_s2 * falls**2 / 2.0
    heading = np.sign(target - origin)
    under_way = (since > lift.door_s) & (since < lift.door_s + travel)
    leaving = since < lift.door_s
    arrived = (since > lift.door_s + travel + 1.0) & (since < 2.0 * lift.door_s + travel)
    return origin + heading * covered, np.where(under_way, heading * speed, 0.0), leaving | arrived


def obscuration(t_s: Floats, start_s: float, smoulder_s: float, out_s: float) -> Floats:
    """(n,) smoke in dB/m: it grows as the square of time up to four times the alarm, then clears.

    Slow pyrolysis first, flame after twice `smoulder_s`; put out at `out_s`, gone within 10 s.
    `smoulder_s` is the time from `start_s` until `SMOKE_ALARM_DB_M` is reached.
    """
    grown = np.maximum(np.minimum(t_s, out_s) - start_s, 0.0) / smoulder_s
    cleared = np.exp(-np.maximum(t_s - out_s, 0.0) / 3.0)
    return SMOKE_ALARM_DB_M * np.minimum(grown**2, 4.0) * cleared


def fire_heat(
    t_s: Floats, start_s: float, smoulder_s: float, out_s: float, rise_k: float
) -> Floats:
    """(n,) kelvins that the same fire adds: none while it smoulders, up to `rise_k` in flame."""
    flaming = np.maximum(np.minimum(t_s, out_s) - start_s - smoulder_s, 0.0) / smoulder_s
    cooled = np.exp(-np.maximum(t_s - out_s, 0.0) / 20.0)
    return rise_k * np.minimum(flaming, 1.0) * cooled


def battery(seed: int, row: Rows, t_s: Floats) -> Floats:
    """(n,) charge in %: from 60 to 100 at the start, falling 1 % in about ten days."""
    full = 60.0 + 40.0 * uniform(seed + 4, row, np.zeros(1, np.int64))
    return np.maximum(full - np.maximum(t_s, 0.0) / 864_000.0, 0.0)
