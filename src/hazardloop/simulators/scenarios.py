"""When what happens: the schedule of a run's incidents."""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from hazardloop.simulators import signals
from hazardloop.simulators.district import District
from hazardloop.simulators.errors import ScenarioUnreadable
from hazardloop.simulators.field import Site
from hazardloop.simulators.hazards import incident_at
from hazardloop.simulators.incidents import (
    KIND_OF,
    Hazard,
    Incident,
    Pace,
    Place,
)
from hazardloop.simulators.scenario_file import Scenario, Start

REST_S: Final = 300.0
"""Simulated seconds for which a gateway is spared after an incident, at least."""
OFF_DELAY_S: Final = 90.0
"""Real seconds that alarms may take to clear after it: more than the longest delay of a rule."""


def places_of(district: District, sites: Sequence[Site]) -> tuple[Place, ...]:
    """Every device of the fleet; `sites` in the order of `district.fleet()`."""
    grades = {
        (enterprise.code, unit.code): unit.grade
        for enterprise in district.enterprises
        for unit in enterprise.hazard_units
    }
    return tuple(
        Place(
            site,
            {each.code: each for each in gateway.devices},
            device,
            grades.get((enterprise, device.hazard_unit or "")),
        )
        for site, (enterprise, gateway) in zip(sites, district.fleet(), strict=True)
        for device in gateway.devices
    )


def incidents_of(scenario: Scenario, pace: Pace, places: Sequence[Place]) -> Iterator[Incident]:
    """All incidents of a run in the order of their start, at some of `places`.

    Raises:
        ScenarioUnreadable: an incident is asked for where it cannot be.
    """
    if scenario.starts is None:
        return schedule(scenario, pace, places)
    dice = random.Random(f"{scenario.seed} incidents")  # noqa: S311  repeatable, not secret
    starts = sorted(scenario.starts, key=lambda start: start.at_s)
    return iter(
        [
            incident_at(
                _place_for(start, places, dice), start.hazard, f"{n:05d}", start.at_s, pace, dice
            )
            for n, start in enumerate(starts, 1)
        ]
    )


def _place_for(start: Start, places: Sequence[Place], dice: random.Random) -> Place:
    fitting = [place for place in places if place.device.kind == KIND_OF[start.hazard]]
    if start.device is not None:
        fitting = [place for place in fitting if place.device.code == start.device]
    if not fitting:
        where = start.device or "any device"
        raise ScenarioUnreadable(f"{start.hazard} at {start.at_s:g} s: {where} is not open to it")
    return dice.choice(fitting)


def schedule(scenario: Scenario, pace: Pace, places: Sequence[Place]) -> Iterator[Incident]:
    """Incidents without end, in the order of their start; the first is a gas leak if it may be.

    Each kind comes once before any comes again, and no gateway twice while it may still be alarmed.
    """
    dice = random.Random(f"{scenario.seed} incidents")  # noqa: S311  repeatable, not secret
    by_hazard = {
        hazard: [place for place in places if place.device.kind == KIND_OF[hazard]]
        for hazard in scenario.hazards
    }
    hazards = [hazard for hazard in scenario.hazards if by_hazard[hazard]]
    start_s = scenario.first_s * pace.speed
    busy_until: dict[str, float] = {}
    turn: list[Hazard] = hazards[::-1]
    for number in range(1, 1 << 62) if hazards else ():
        if not turn:
            turn = dice.sample(hazards, len(hazards))
        hazard = turn.pop()
        free = [p for p in by_hazard[hazard] if busy_until.get(p.key(), -math.inf) < start_s]
        candidates = dice.sample(free, min(4, len(free)))
        if candidates:
            place = _fullest(candidates, start_s) if hazard in _LEVELLED else candidates[0]
            incident = incident_at(place, hazard, f"{number:05d}", start_s, pace, dice)
            busy_until[place.key()] = incident.end_s + pace.held(REST_S, OFF_DELAY_S)
            yield incident
        start_s += scenario.every_s * dice.uniform(0.75, 1.25)


_LEVELLED: Final = frozenset({Hazard.TANK_OVERFILL})


def _fullest(places: Sequence[Place], t_s: float) -> Place:
    """The tank that least is missing in, so that a plausible pump can overfill it in time."""

    def share(place: Place) -> float:
        number = place.site.tanks.index(place.device.code)
        level = signals.tank_level(np.array([t_s]), place.site.tank)[number]
        return float(level / place.site.tank.height_m[number])

    return max(places, key=share)
