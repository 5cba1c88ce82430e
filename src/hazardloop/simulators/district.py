"""An invented district: enterprises, hazard units, gateways and their devices, as plain data.

Companies and places are made up. The same arguments give the same district everywhere, so that the
registry and the fleet agree without talking to each other.
"""

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from hazardloop.simulators.companies import COMPANIES, Company, HazardUnitSpec, SiteSketch

Tag: TypeAlias = str | int | float

LIFT_EVENTS: Final = (
    "entrapment",
    "door_open_run",
    "overspeed",
    "non_level_stop",
    "repeated_door_failure",
    "safety_circuit",
)
"""What a lift's controller reports by itself; `normal` says that none of them stands."""

COMBUSTIBLE: Final = ("lel", "in_service", "fault")
TOXIC: Final = ("ppm", "in_service", "fault")
TANK: Final = ("level", "pressure", "temperature", "in_service")
LIFT: Final = ("floor", "speed", "door", "in_service", *LIFT_EVENTS)
SMOKE: Final = ("smoke", "fault", "battery", "tamper", "temperature")

TRY_INTERVAL_S: Final = 86_400.0
"""The devices of `try` report when somebody plays with them: a day of silence is no failure."""


SPECIES: Final = {"氨": "NH3"}
"""Media whose vapour is watched for in ppm, and what the rules of the catalogue call them."""
LIQUEFIED: Final = {"液化石油气": (840.0, 1_770.0), "氨": (860.0, 2_160.0)}
"""Media stored under their own vapour pressure: that at 20 degrees Celsius and that of the tank's
design, kPa above the atmosphere; house, of the usual size."""


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device; `quantities` are exactly the points that it reports."""

    code: str
    kind: str
    name: str
    location: str
    tags: Mapping[str, Tag]
    hazard_unit: str | None
    expected_interval_s: float | None
    quantities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """What collects from devices and speaks MQTT."""

    code: str
    name: str
    devices: tuple[DeviceSpec, ...]


@dataclass(frozen=True, slots=True)
class EnterpriseSpec:
    """An invented company."""

    code: str
    name: str
    area: str
    hazard_units: tuple[HazardUnitSpec, ...]
    gateways: tuple[GatewaySpec, ...]


@dataclass(frozen=True, slots=True)
class District:
    """All enterprises; the one of `try`, which no fleet touches, is the last."""

    enterprises: tuple[EnterpriseSpec, ...]
    try_enterprise: str
    try_gateway: str

    def fleet(self) -> tuple[tuple[str, GatewaySpec], ...]:
        """(enterprise code, gateway) of every gateway but that of `try`."""
        return tuple(
            (enterprise.code, gateway)
            for enterprise in self.enterprises
            for gateway in enterprise.gateways
            if gateway.code != self.try_gateway
        )

    def points(self) -> int:
        """How many points are to be registered, those of `try` included."""
        return sum(
            len(device.quantities)
            for enterprise in self.enterprises
            for gateway in enterprise.gateways
            for device in gateway.devices
        )


_NAMES: Final = {
    "g": "可燃气体探测器",
    "x": "气体探测器",
    "t": "储罐",
    "e": "电梯",
    "s": "感烟探测器",
}
_KINDS: Final = {
    "g": "gas_detector",
    "x": "gas_detector",
    "t": "tank",
    "e": "elevator",
    "s": "smoke_detector",
}
_PREFIXES: Final = {"g": "GD", "x": "GD", "t": "TK", "e": "EL", "s": "SD"}
_QUANTITIES: Final = {"g": COMBUSTIBLE, "x": TOXIC, "t": TANK, "e": LIFT, "s": SMOKE}


def _tags(letter: str, number: int, medium: str, dice: random.Random) -> dict[str, Tag]:
    """What is worth knowing of a device, and what its signal is computed from."""
    if letter in "gx":
        gas: dict[str, Tag] = {"gas": medium} if letter == "g" else {"species": SPECIES[medium]}
        # A row of detectors about 8 m apart: GB/T 50493 wants a release within 10 m outdoors.
        return gas | {
            "x_m": round(8.0 * (number % 4) + dice.uniform(-1.5, 1.5), 1),
            "y_m": round(8.0 * (number // 4) + dice.uniform(-1.5, 1.5), 1),
        }
    if letter == "t":
        tank: dict[str, Tag] = {
            "medium": medium,
            "height_m": dice.choice([3.5, 4.5, 5.0, 6.0]),
            "diameter_m": dice.choice([1.8, 2.2, 2.6]),
            "max_temperature_cel": 40.0,
        }
        if medium in LIQUEFIED:
            tank |= {"tank_kind": "pressurised", "design_pressure_kpa": LIQUEFIED[medium][1]}
        return tank
    if letter == "e":
        return {
            "floors": dice.randint(4, 28),
            "rated_speed_m_s": dice.choice([1.0, 1.6, 1.75, 2.5]),
        }
    return {"floor": dice.randint(1, 6)}


def _device(place: str, number: int, site: SiteSketch, dice: random.Random) -> DeviceSpec:
    letter = site.kinds[number % len(site.kinds)]
    label = f"{number // 6 + 1}区{number + 1}号"
    return DeviceSpec(
        code=f"{_PREFIXES[letter]}-{place}",
        kind=_KINDS[letter],
        name=f"{site.medium if letter in 'gxt' else ''}{_NAMES[letter]}{number + 1}",
        location=f"{site.name}{label}",
        tags=_tags(letter, number, site.medium, dice),
        hazard_unit=site.unit if letter in "gxt" else None,
        expected_interval_s=None,
        quantities=_QUANTITIES[letter],
    )


def _counts(sites: list[SiteSketch], points: int) -> list[int]:
    """How many devices each gateway gets: one more each in turn, until there are `points`."""
    counts = [0] * len(sites)
    for turn in itertools.count():
        for index, site in enumerate(sites):
            if points <= 0 and turn > 0:
                return counts
            counts[index] += 1
            points -= len(_QUANTITIES[site.kinds[turn % len(site.kinds)]])
    raise AssertionError("count never ends")


def _gateways(companies: list[Company], points: int, dice: random.Random) -> Iterator[GatewaySpec]:
    turns = {company.code: itertools.cycle(company.sites) for company in companies}
    sites = [next(turns[company.code]) for company in companies]
    counts = _counts(sites, points)
    wide, deep = max(2, len(str(len(sites)))), max(2, len(str(counts[0])))
    for number, (site, count) in enumerate(zip(sites, counts, strict=True), 1):
        devices = tuple(
            _device(f"{number:0{wide}d}{index + 1:0{deep}d}", index, site, dice)
            for index in range(count)
        )
        yield GatewaySpec(f"GW-{number:0{wide}d}", f"{site.name}网关", devices)


def _try_enterprise() -> EnterpriseSpec:
    def device(letter: str, quantities: tuple[str, ...], tags: Mapping[str, Tag]) -> DeviceSpec:
        code, name = f"{_PREFIXES[letter]}-TRY", f"体验{_NAMES[letter]}"
        return DeviceSpec(
            code, _KINDS[letter], name, "体验区", tags, None, TRY_INTERVAL_S, quantities
        )

    devices = (
        device("g", ("lel", "ppm", "in_service", "fault"), {"gas": "甲烷"}),
        device("t", TANK, {"medium": "水", "height_m": 10.0, "diameter_m": 3.0}),
        device("e", LIFT, {"floors": 18, "rated_speed_m_s": 1.75}),
        device("s", SMOKE, {"floor": 1}),
    )
    gateway = GatewaySpec("GW-TRY", "体验网关", devices)
    return EnterpriseSpec("TRY", "示范体验有限公司", "中心片区", (), (gateway,))


def build_district(seed: int = 1, gateways: int = 56, points: int = 1200) -> District:
    """A district whose fleet has `gateways` gateways and at least `points` points; and `try`.

    Raises:
        ValueError: fewer than one gateway.
    """
    if gateways < 1:
        raise ValueError(f"gateways: {gateways}, at least 1 is needed")
    dice = random.Random(seed)  # noqa: S311  a district is no secret
    companies = [COMPANIES[index % len(COMPANIES)] for index in range(gateways)]
    companies.sort(key=COMPANIES.index)
    made = list(zip(companies, _gateways(companies, points, dice), strict=True))
    enterprises = tuple(
        EnterpriseSpec(
            company.code,
            company.name,
            company.area,
            company.units,
            tuple(gateway for owner, gateway in made if owner is company),
        )
        for company in COMPANIES
    )
    return District((*enterprises, _try_enterprise()), "TRY", "GW-TRY")
