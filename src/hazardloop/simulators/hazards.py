"""How each kind of incident goes, and which alarms follow from it."""

import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from hazardloop.simulators import signals
from hazardloop.simulators.district import DeviceSpec
from hazardloop.simulators.expectations import (
    ENTRAPMENT,
    SMOKE,
    Expectation,
    expected_of_gas,
    expected_of_level,
)
from hazardloop.simulators.field import Fire, GasLeak, Halt, Overfill
from hazardloop.simulators.incidents import EdgeEvent, Hazard, Incident, Pace, Place, Truth

SURE: Final = 6.0
"""%LEL or ppm: how far a leak keeps from a limit, whether it shall reach it or not."""
RESTLESS: Final = 3.0
"""%LEL or ppm: more than clean air and noise ever add."""
REACH_M: Final = 8.0
NOTICED_S: Final = 45.0
"""After this time between landings a lift's controller reports an entrapment; vendor practice."""
LAG_S: Final = 3.0
"""Real seconds by which a message may be composed later than planned on a busy machine."""


def incident_at(
    place: Place, hazard: Hazard, number: str, start_s: float, pace: Pace, dice: random.Random
) -> Incident:
    """The incident of this kind at this device, its details thrown with `dice`."""
    return _MAKERS[hazard](place, f"{number}-{hazard}", start_s, pace, dice)


def _truth(
    place: Place, name: str, hazard: Hazard, rule: Expectation, device: str, tier: str,
    crossed_s: tuple[float, float], back_s: float, pace: Pace,
) -> Truth:  # fmt: skip
    """`crossed_s`: simulated instants between which the value reaches the lowest limit for good."""
    return Truth(
        incident=name,
        hazard=hazard,
        enterprise=place.site.enterprise,
        gateway=place.site.gateway,
        device=device,
        point=f"{device}.{rule.quantity}",
        rule=rule.rule,
        tier=tier,
        earliest_s=crossed_s[0] / pace.speed + rule.on_delay_s,
        latest_s=crossed_s[1] / pace.speed + rule.on_delay_s + pace.interval_s + LAG_S,
        cleared_from_s=back_s / pace.speed,
    )


def _clear_of(steady: float, limits: Iterable[float]) -> float:
    """`steady`, moved so far from each limit that noise cannot decide whether it is reached."""
    for limit in limits:
        if abs(steady - limit) < SURE + RESTLESS:
            return limit + SURE if steady >= limit else limit - SURE - RESTLESS
    return steady


def _gas_leak(place: Place, name: str, start_s: float, pace: Pace, dice: random.Random) -> Incident:
    """A release near one detector; neighbours see what the wind leaves of it, later."""
    rule = expected_of_gas(place.device, place.grade)
    leaks = _leaks(place, rule, start_s, dice)
    reached = {
        leak.device: [
            (_reaches(leak, limit), tier) for limit, tier in rule.limits if leak.steady > limit
        ]
        for leak in leaks
    }
    reports = sorted(at_s for crossings in reached.values() for at_s, _ in crossings)
    vented_s = reports[-1] + pace.held(dice.uniform(40.0, 90.0), rule.on_delay_s)
    leaks = [replace(leak, vented_s=vented_s) for leak in leaks]
    soonest = rule.limits[0][0] - RESTLESS
    truths = tuple(
        _truth(
            place, name, Hazard.GAS_LEAK, rule, leak.device, reached[leak.device][-1][1],
            (_reaches(leak, soonest), reached[leak.device][0][0]), vented_s, pace,
        )
        for leak in leaks
        if reached[leak.device]
    )  # fmt: skip
    return Incident(
        name, Hazard.GAS_LEAK, place.site.enterprise, place.site.gateway, place.device.code,
        start_s, vented_s + 10.0 * leaks[0].tau_s, tuple(leaks), (), truths, tuple(reports),
    )  # fmt: skip


def _leaks(place: Place, rule: Expectation, start_s: float, dice: random.Random) -> list[GasLeak]:
    """The release at each detector of the site, not vented yet."""
    peak, tau_s, wind_m_s = dice.uniform(62.0, 80.0), dice.uniform(6.0, 9.0), dice.uniform(1.5, 4.0)
    limits = [limit for limit, _ in rule.limits]
    alike = [
        code
        for code, quantity in zip(place.site.gas, place.site.gas_quantities, strict=True)
        if quantity == rule.quantity
    ]
    away = [_distance_m(place.device, place.devices[code]) for code in alike]
    steady = peak * signals.dilution(np.array(away), REACH_M)
    return [
        GasLeak(
            code,
            rule.quantity,
            _clear_of(there, limits),
            start_s + away_m / wind_m_s,
            tau_s,
            math.inf,
        )
        for code, away_m, there in zip(alike, away, steady.tolist(), strict=True)
    ]


def _distance_m(one: DeviceSpec, other: DeviceSpec) -> float:
    across = float(one.tags["x_m"]) - float(other.tags["x_m"])
    along = float(one.tags["y_m"]) - float(other.tags["y_m"])
    return math.hypot(across, along)


def _reaches(leak: GasLeak, limit: float) -> float:
    """When the leak alone stands at `limit`, which lies below its steady value."""
    return leak.arrives_s - leak.tau_s * math.log(1.0 - limit / leak.steady)


def _tank_overfill(
    place: Place, name: str, start_s: float, pace: Pace, dice: random.Random
) -> Incident:
    """An inlet that does not shut: up to 3 % over the highest limit, then drained."""
    code, rule = place.device.code, expected_of_level(place.device, place.grade)
    height_m = float(place.device.tags["height_m"])
    rise_s, fall_s = dice.uniform(40.0, 60.0), dice.uniform(30.0, 45.0)
    hold_s = pace.held(60.0, rule.on_delay_s)
    target = rule.limits[-1][0] + 0.03
    over = Overfill(code, target * height_m, start_s, rise_s, hold_s, fall_s)
    number = place.site.tanks.index(code)

    def level_share(t_s: float) -> float:
        usual = float(signals.tank_level(np.array([t_s]), place.site.tank)[number]) / height_m
        risen = float(signals.bulge(np.array([t_s]), start_s, rise_s, hold_s, fall_s)[0])
        return usual + risen * (target - usual)

    limit = rule.limits[0][0]
    crossed_s = next(
        start_s + step * 0.1 for step in range(1000) if level_share(start_s + step * 0.1) >= limit
    )
    back_s = start_s + rise_s + hold_s
    truth = _truth(
        place, name, Hazard.TANK_OVERFILL, rule, code, rule.limits[-1][1],
        (crossed_s - 0.5, crossed_s + 0.5), back_s, pace,
    )  # fmt: skip
    return Incident(
        name, Hazard.TANK_OVERFILL, place.site.enterprise, place.site.gateway, code,
        start_s, back_s + fall_s, (over,), (), (truth,), (crossed_s + 0.5, start_s + rise_s),
    )  # fmt: skip


def _entrapment(
    place: Place, name: str, start_s: float, pace: Pace, dice: random.Random
) -> Incident:
    """A car that stops between landings with somebody in it, until the rescuers let them out."""
    code = place.device.code
    noticed_s = start_s + NOTICED_S
    freed_s = noticed_s + pace.held(dice.uniform(50.0, 110.0), ENTRAPMENT.on_delay_s)
    events = (
        EdgeEvent(noticed_s, code, "entrapment", {"active": True}),
        EdgeEvent(freed_s, code, "entrapment", {"active": False}),
        EdgeEvent(freed_s + 1.0, code, "normal", {}),
    )
    truth = _truth(
        place,
        name,
        Hazard.ENTRAPMENT,
        ENTRAPMENT,
        code,
        "red",
        (noticed_s, noticed_s),
        freed_s,
        pace,
    )
    return Incident(
        name, Hazard.ENTRAPMENT, place.site.enterprise, place.site.gateway, code,
        start_s, freed_s + 1.0, (Halt(code, start_s, freed_s),), events, (truth,), (start_s,),
    )  # fmt: skip


def _smoke(place: Place, name: str, start_s: float, pace: Pace, dice: random.Random) -> Incident:
    """Something smoulders, smokes, burns a little and is put out."""
    code = place.device.code
    smoulder_s = dice.uniform(4.0, 10.0)
    seen_s = start_s + smoulder_s
    out_s = seen_s + pace.held(dice.uniform(50.0, 110.0), SMOKE.on_delay_s)
    fire = Fire(code, start_s, smoulder_s, out_s, dice.uniform(8.0, 18.0))
    truth = _truth(place, name, Hazard.SMOKE, SMOKE, code, "red", (seen_s, seen_s), out_s, pace)
    return Incident(
        name, Hazard.SMOKE, place.site.enterprise, place.site.gateway, code,
        start_s, out_s + 50.0, (fire,), (), (truth,), (seen_s,),
    )  # fmt: skip


_MAKERS: Final[Mapping[Hazard, Callable[[Place, str, float, Pace, random.Random], Incident]]] = {
    Hazard.GAS_LEAK: _gas_leak,
    Hazard.TANK_OVERFILL: _tank_overfill,
    Hazard.ENTRAPMENT: _entrapment,
    Hazard.SMOKE: _smoke,
}
