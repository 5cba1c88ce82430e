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


_LEL: Final = {
    True: Expectation("gas_detector.lel.high", "lel", ((25.0, "orange"), (50.0, "red")), 3.0),
    False: Expectation("gas_detector.lel.high", "lel", ((25.0, "yellow"), (50.0, "orange")), 3.0),
}
_LEVEL: Final = {
    kind: Expectation("tank.level.high", "level", ((high, "yellow"), (very_high, "orange")), 60.0)
    for kind, high, very_high in (("atmospheric", 0.85, 0.90), ("pressurised", 0.80, 0.85))
}
ENTRAPMENT: Final = Expectation("elevator.entrapment", "entrapment", ((1.0, "red"),), 0.0)
SMOKE: Final = Expectation("smoke_detector.smoke", "smoke", ((1.0, "red"),), 0.0)


def expected_of_gas(grade: int | None) -> Expectation:
    """What comes of %LEL in a hazard unit of `grade`: one tier higher in grades 1 and 2."""
    return _LEL[grade in (1, 2)]


def expected_of_level(tank: DeviceSpec) -> Expectation:
    """What comes of a level that rises in `tank`."""
    return _LEVEL[str(tank.tags.get("tank_kind", "atmospheric"))]
