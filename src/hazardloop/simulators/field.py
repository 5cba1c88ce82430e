"""What every device behind a gateway shows at an instant, undisturbed or within an incident."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from hazardloop.devices.readings import Floats, Rows
from hazardloop.simulators import signals
from hazardloop.simulators.district import LIQUEFIED, DeviceSpec, District, GatewaySpec
from hazardloop.simulators.signals import LiftColumns, TankColumns

Values: TypeAlias = dict[str, float | bool]
"""`DEVICE.quantity` to value, as in a telemetry payload."""

FULL_SCALE: Final = 100.0
"""Where gas detectors end, %LEL or ppm."""
VAPOUR_SLOPE: Final = 0.028
"""Relative rise of that pressure per kelvin near 20 degrees Celsius; about right for both."""
BREATHING_KPA: Final = 0.8
"""Pressure in the vapour space of an atmospheric tank, held by its breather valve."""


@dataclass(frozen=True, slots=True)
class GasLeak:
    """A release as one detector meets it; the same one may reach several."""

    device: str
    quantity: str
    steady: float
    arrives_s: float
    tau_s: float
    vented_s: float


@dataclass(frozen=True, slots=True)
class Overfill:
    """A tank filled on, up to `target_m`, and drained to where it would have been."""

    device: str
    target_m: float
    start_s: float
    rise_s: float
    hold_s: float
    fall_s: float


@dataclass(frozen=True, slots=True)
class Halt:
    """A lift that stands between two landings with its door shut."""

    device: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Fire:
    """Something that smoulders under a smoke detector, burns, and is put out."""

    device: str
    start_s: float
    smoulder_s: float
    out_s: float
    rise_k: float


Effect: TypeAlias = GasLeak | Overfill | Halt | Fire


@dataclass(frozen=True, slots=True)
class Site:
    """The devices behind one gateway, as columns for `signals`; rows count through the district."""

    enterprise: str
    gateway: str
    gas: tuple[str, ...]
    gas_quantities: tuple[str, ...]
    """`lel` or `ppm`, one per gas detector."""
    gas_rows: Rows
    tanks: tuple[str, ...]
    tank_rows: Rows
    tank: TankColumns
    vapour_kpa: Floats
    """(tanks,) vapour pressure at 20 degrees Celsius, 0 = atmospheric tank."""
    lifts: tuple[str, ...]
    lift_rows: Rows
    lift: LiftColumns
    smoke: tuple[str, ...]
    smoke_rows: Rows

    def key(self) -> str:
        """`enterprise/gateway`."""
        return f"{self.enterprise}/{self.gateway}"


def sites_of(district: District, seed: int) -> tuple[Site, ...]:
    """The whole fleet as columns, in the order of `district.fleet()`."""
    row = 0
    sites = []
    for enterprise, gateway in district.fleet():
        sites.append(_site(enterprise, gateway, row, seed))
        row += len(gateway.devices)
    return tuple(sites)


def _vapour_kpa(tank: DeviceSpec) -> float:
    stored = LIQUEFIED.get(str(tank.tags["medium"]))
    return 0.0 if stored is None else stored[0]


def _column(devices: Iterable[DeviceSpec], tag: str) -> Floats:
    return np.array([float(device.tags[tag]) for device in devices])


def _site(enterprise: str, gateway: GatewaySpec, first_row: int, seed: int) -> Site:
    def of_kind(kind: str) -> tuple[list[DeviceSpec], tuple[str, ...], Rows]:
        found = [(row, d) for row, d in enumerate(gateway.devices, first_row) if d.kind == kind]
        rows = np.array([row for row, _ in found], np.int32)
        return [d for _, d in found], tuple(d.code for _, d in found), rows

    detectors, gas, gas_rows = of_kind("gas_detector")
    tanks, tank_codes, tank_rows = of_kind("tank")
    lifts, lift_codes, lift_rows = of_kind("elevator")
    _, smoke, smoke_rows = of_kind("smoke_detector")
    return Site(
        enterprise,
        gateway.code,
        gas,
        tuple(detector.quantities[0] for detector in detectors),
        gas_rows,
        tank_codes,
        tank_rows,
        _tank_columns(tanks, tank_rows, seed),
        np.array([_vapour_kpa(tank) for tank in tanks]),
        lift_codes,
        lift_rows,
        LiftColumns(_column(lifts, "floors"), _column(lifts, "rated_speed_m_s")),
        smoke,
        smoke_rows,
    )


def _tank_columns(tanks: list[DeviceSpec], rows: Rows, seed: int) -> TankColumns:
    """Buffer tanks: each works between about 40 and 70 % of its height, in 1 to 3 hours."""
    share = [signals.uniform(seed + 5, rows, np.array([step])) for step in range(4)]
    return TankColumns(
        height_m=_column(tanks, "height_m"),
        area_m2=np.pi / 4.0 * _column(tanks, "diameter_m") ** 2,
        low=0.36 + 0.08 * share[0],
        high=0.64 + 0.08 * share[1],
        period_s=3_600.0 * (1.0 + 2.0 * share[2]),
        phase=share[3],
    )


def readings_at(site: Site, seed: int, t_s: float, effects: Iterable[Effect] = ()) -> Values:
    """All values of the site at simulated time `t_s`, rounded as its devices would."""
    now = np.array([t_s])
    values: Values = {}
    _gas(site, seed, now, values)
    _tanks(site, seed, now, values)
    _lifts(site, seed, now, values)
    _smoke(site, seed, now, values)
    for effect in effects:
        _EFFECTS[type(effect)](values, site, seed, now, effect)
    return {point: _rounded(point, value) for point, value in values.items()}


def _rounded(point: str, value: float | bool) -> float | bool:
    return value if isinstance(value, bool) else round(value, _PLACES[point.rpartition(".")[2]])


_PLACES: Final[Mapping[str, int]] = {
    "lel": 1, "ppm": 1, "level": 3, "pressure": 1, "temperature": 1,
    "floor": 0, "speed": 2, "battery": 0,
}  # fmt: skip


def _gas(site: Site, seed: int, now: Floats, values: Values) -> None:
    if site.gas:
        shown = signals.gas_background(seed, site.gas_rows, now)
        columns = zip(site.gas, site.gas_quantities, shown.tolist(), strict=True)
        for code, quantity, gas in columns:
            values |= {
                f"{code}.{quantity}": gas,
                f"{code}.in_service": True,
                f"{code}.fault": False,
            }


def _tanks(site: Site, seed: int, now: Floats, values: Values) -> None:
    if not site.tanks:
        return
    gauge_m = 0.002 * signals.grain(seed, site.tank_rows, now)
    level = signals.tank_level(now, site.tank) + gauge_m
    warm = signals.ambient(seed, site.tank_rows, now)
    vapour = site.vapour_kpa * (1.0 + VAPOUR_SLOPE * (warm - 20.0))
    breath = BREATHING_KPA * (1.0 + 0.2 * signals.wander(seed + 6, site.tank_rows, now, 300.0))
    pressure = np.where(site.vapour_kpa > 0.0, vapour, breath)
    columns = zip(site.tanks, level.tolist(), pressure.tolist(), warm.tolist(), strict=True)
    for code, level_m, kpa, celsius in columns:
        values |= {
            f"{code}.level": level_m,
            f"{code}.pressure": kpa,
            f"{code}.temperature": celsius,
            f"{code}.in_service": True,
        }


def _lifts(site: Site, seed: int, now: Floats, values: Values) -> None:
    if not site.lifts:
        return
    height, speed, is_open = signals.lift_motion(seed, site.lift_rows, now, site.lift)
    floor = np.floor(height / signals.STOREY_M + 0.5) + 1.0
    columns = zip(site.lifts, floor.tolist(), speed.tolist(), is_open.tolist(), strict=True)
    for code, landing, m_s, door in columns:
        values |= {
            f"{code}.floor": landing,
            f"{code}.speed": m_s,
            f"{code}.door": door,
            f"{code}.in_service": True,
        }


def _smoke(site: Site, seed: int, now: Floats, values: Values) -> None:
    if not site.smoke:
        return
    charge = signals.battery(seed, site.smoke_rows, now)
    warm = signals.ambient(seed, site.smoke_rows, now)
    for code, percent, celsius in zip(site.smoke, charge.tolist(), warm.tolist(), strict=True):
        values |= {
            f"{code}.smoke": False,
            f"{code}.fault": False,
            f"{code}.battery": percent,
            f"{code}.tamper": False,
            f"{code}.temperature": celsius,
        }


def _leak_shown(values: Values, _site: Site, _seed: int, now: Floats, leak: GasLeak) -> None:
    steady, arrives = np.array([leak.steady]), np.array([leak.arrives_s])
    added = signals.plume(now, steady, arrives, leak.tau_s, leak.vented_s)
    point = f"{leak.device}.{leak.quantity}"
    values[point] = min(values[point] + float(added[0]), FULL_SCALE)


def _overfill_shown(values: Values, _site: Site, _seed: int, now: Floats, over: Overfill) -> None:
    share = float(signals.bulge(now, over.start_s, over.rise_s, over.hold_s, over.fall_s)[0])
    usual = values[f"{over.device}.level"]
    values[f"{over.device}.level"] = usual + share * (over.target_m - usual)


def halted_at(site: Site, seed: int, halt: Halt) -> float:
    """Height in m at which the lift of `halt` stands: where it was, but clear of every landing."""
    start = np.array([halt.start_s])
    height, _, _ = signals.lift_motion(seed, site.lift_rows, start, site.lift)
    number = site.lifts.index(halt.device)
    landing = np.floor(height[number] / signals.STOREY_M)
    top = site.lift.floors[number] - 2.0
    return float((min(landing, top) + 0.45) * signals.STOREY_M)


def _halt_shown(values: Values, site: Site, seed: int, now: Floats, halt: Halt) -> None:
    if halt.start_s <= now[0] < halt.end_s:
        floor = np.floor(halted_at(site, seed, halt) / signals.STOREY_M + 0.5) + 1.0
        values[f"{halt.device}.floor"] = float(floor)
        values[f"{halt.device}.speed"] = 0.0
        values[f"{halt.device}.door"] = False


def _fire_shown(values: Values, _site: Site, _seed: int, now: Floats, fire: Fire) -> None:
    thick = signals.obscuration(now, fire.start_s, fire.smoulder_s, fire.out_s)
    heat = signals.fire_heat(now, fire.start_s, fire.smoulder_s, fire.out_s, fire.rise_k)
    values[f"{fire.device}.smoke"] = bool(thick[0] >= signals.SMOKE_ALARM_DB_M)
    values[f"{fire.device}.temperature"] += float(heat[0])


_EFFECTS: Final[Mapping[type, Callable[..., None]]] = {
    GasLeak: _leak_shown,
    Overfill: _overfill_shown,
    Halt: _halt_shown,
    Fire: _fire_shown,
}
