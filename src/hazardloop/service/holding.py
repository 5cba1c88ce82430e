"""The holds that a worker goes by while the database is away."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hazardloop.alarms.alarm import Change
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.signal import Hold
from hazardloop.alarms.withholding import StandingHold, overtaken, withheld
from hazardloop.devices.registry import Registry


@dataclass(slots=True)
class Holds:
    """As the database told them last, less those that alarms have ended since."""

    standing: tuple[StandingHold, ...] = ()
    active: Callable[[int, str], bool] = lambda _device_id, _rule_id: False
    """Whether an alarm of that rule is active at that device."""
    _ended: frozenset[int] = field(default=frozenset())
    """Shelves that the database may not know yet to be over."""

    def learn(self, standing: Iterable[StandingHold]) -> None:
        """These are granted and not over, says the database."""
        told = tuple(standing)
        self._ended &= {hold.hold_id for hold in told}
        self.standing = tuple(hold for hold in told if hold.hold_id not in self._ended)

    def follow(self, changes: Iterable[Change], registry: Registry) -> None:
        """Ends the shelves that these changes overtake."""
        ended = overtaken(self.standing, placed(changes, registry))
        if ended:
            self._ended |= ended
            self.standing = tuple(hold for hold in self.standing if hold.hold_id not in ended)

    def marks(self, outcome: Outcome, registry: Registry, now_us: int) -> list[Hold | None]:
        """What withholds each change."""
        by_device: dict[int, list[StandingHold]] = {}
        for hold in self.standing:
            by_device.setdefault(hold.device_id, []).append(hold)
        return [
            withheld(by_device.get(device_id, ()), change, device_id, now_us, self.active)
            for change, device_id in placed(outcome.changes, registry)
        ]


def placed(changes: Iterable[Change], registry: Registry) -> list[tuple[Change, int]]:
    """Each change with the id of its device."""
    return [(change, int(registry.device_id[change.row])) for change in changes]
