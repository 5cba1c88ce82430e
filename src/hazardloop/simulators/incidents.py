"""Incidents as data: what happens, what it does to the signals, and the alarms it must raise.

Incidents are told in simulated seconds since the start of the run; what must be raised, in real
ones, because that is what alarms are stamped with. `Pace` says how the two go together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hazardloop.simulators.district import DeviceSpec
from hazardloop.simulators.field import Effect, Site


class Hazard(StrEnum):
    """What can happen; a run begins with them in this order."""

    GAS_LEAK = "gas_leak"
    SMOKE = "smoke"
    ENTRAPMENT = "entrapment"
    TANK_OVERFILL = "tank_overfill"


KIND_OF: Final = {
    Hazard.GAS_LEAK: "gas_detector",
    Hazard.TANK_OVERFILL: "tank",
    Hazard.ENTRAPMENT: "elevator",
    Hazard.SMOKE: "smoke_detector",
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast simulated time runs, and how often a gateway reports in real time."""

    speed: float
    interval_s: float

    def held(self, wanted_s: float, on_delay_s: float) -> float:
        """Simulated seconds for which a value must stand so that its alarm cannot be missed.

        At least `wanted_s`; rules count real seconds, so a fast run stretches what they wait for.
        """
        return max(wanted_s, (on_delay_s + 3.0 * self.interval_s + 2.0) * self.speed)


@dataclass(frozen=True, slots=True)
class Truth:
    """One alarm that must be raised, from `earliest_s` to `latest_s` in real seconds of the run."""

    incident: str
    hazard: Hazard
    enterprise: str
    gateway: str
    device: str
    point: str
    rule: str
    tier: str
    earliest_s: float
    latest_s: float
    cleared_from_s: float
    """No earlier than this may it clear."""


@dataclass(frozen=True, slots=True)
class EdgeEvent:
    """What the device itself reports, at `at_s` of simulated time."""

    at_s: float
    device: str
    event: str
    body: Mapping[str, bool | float]


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happens behind one gateway from `start_s` to `end_s` of simulated time."""

    name: str
    hazard: Hazard
    enterprise: str
    gateway: str
    device: str
    start_s: float
    end_s: float
    effects: tuple[Effect, ...]
    events: tuple[EdgeEvent, ...]
    truths: tuple[Truth, ...]
    reports_s: tuple[float, ...]
    """When the gateway reports out of turn because a limit has been crossed."""


@dataclass(frozen=True, slots=True)
class Place:
    """A device of the fleet, with all that an incident at it needs to know."""

    site: Site
    devices: Mapping[str, DeviceSpec]
    device: DeviceSpec
    grade: int | None

    def key(self) -> str:
        """`enterprise/gateway`."""
        return self.site.key()
