"""The catalogue's rules as far as incidents count on them.

Written down a second time on purpose: what must be raised is not derived from what is tested.
"""

from dataclasses import dataclass
from typing import Final

from hazardloop.simulators.district import DeviceSpec


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one rule does with one quantity."""

    rule: str
    quantity: str
    limits: tuple[tuple[float, str], ...]
    """Limit in the quantity's unit (tank level: as a share of the height) and tier, ascending."""
    on_delay_s: float


WORSE: Final = {"yellow": "orange", "orange": "red"}
"""In hazard units of grade 1 and 2 each tier counts as the next one."""
_PPM: Final = {"NH3": (28.2, 56.5)}
_LEVELS: Final = {
    "atmospheric": ("tank.level.high", 0.85, 0.90),
    "pressurised": ("tank.level.high.pressurised", 0.80, 0.85),
}
ENTRAPMENT: Final = Expectation("elevator.entrapment", "entrapment", ((1.0, "red"),), 0.0)
SMOKE: Final = Expectation("smoke_detector.smoke", "smoke", ((1.0, "red"),), 0.0)


def expected_of_gas(detector: DeviceSpec, grade: int | None) -> Expectation:
    """What comes of gas at `detector` in a hazard unit of `grade`; None = in none."""
    species = detector.tags.get("species")
    if species is None:
        return Expectation("gas_detector.lel.high", "lel", _two(25.0, 50.0, grade), 0.0)
    rule = f"gas_detector.ppm.high.{str(species).lower()}"
    return Expectation(rule, "ppm", _two(*_PPM[str(species)], grade), 0.0)


def expected_of_level(tank: DeviceSpec, grade: int | None) -> Expectation:
    """What comes of a level that rises in `tank` in a hazard unit of `grade`."""
    rule, high, very_high = _LEVELS[str(tank.tags.get("tank_kind", "atmospheric"))]
    return Expectation(rule, "level", _two(high, very_high, grade), 5.0)


def _two(high: float, very_high: float, grade: int | None) -> tuple[tuple[float, str], ...]:
    found = ((high, "yellow"), (very_high, "orange"))
    return tuple((at, WORSE[tier]) for at, tier in found) if grade in (1, 2) else found
