"""From the names in a foreign payload to our points, and from what it says to their values."""

import fnmatch
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Complaint, Heard
from hazardloop.devices.dialects.profile import NamingIn
from hazardloop.devices.units import AS_IT_IS, Linear, conversion

UnitOf: TypeAlias = Callable[[str], str | None]
"""DEVICE.quantity to the unit its values are kept in; None for a point that is not registered."""
_NUMBER: Final = re.compile(r"[-+]?\d{1,40}(\.\d{0,40})?([eE][-+]?\d{1,3})?\Z", re.ASCII)
REMEMBERED: Final = 10_000
"""Names whose target is kept at hand; a gateway that makes up more only works slower."""

LONGEST: Final = 300
"""Characters of a name that is worth remembering."""


@dataclass(frozen=True, slots=True)
class Target:
    """The point that a foreign name stands for, and how its values are to be taken."""

    point: str
    """DEVICE.quantity."""
    linear: Linear = AS_IT_IS
    """Of the value sent, to the value in `unit`."""
    unit: str | None = None
    """In which it is sent, whatever the payload says; None: ask the payload."""
    values: Mapping[str, float | bool] | None = None
    """What each of its words stands for."""


@dataclass(slots=True)
class Naming:
    """What the profile of a gateway says of names."""

    given: NamingIn
    separator: str
    """Between device and quantity in the names of the profile."""
    own_code: Callable[[str], str] = str
    """Of a device that the profile does not name, what is left when what is no code is cut off."""
    passed_over: tuple[str, ...] = ()
    """Patterns of names that are never readings in this dialect."""
    _ignored: re.Pattern[str] | None = None
    _found: dict[tuple[str | None, str], Target | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Patterns made into one expression."""
        if patterns := (*self.given.ignore, *self.passed_over):
            self._ignored = re.compile("|".join(map(fnmatch.translate, patterns)))

    def target(self, device: str | None, key: str) -> Target | None:
        """The point for `key` of a device, or of the gateway itself; None: to be passed over."""
        asked = (device, key)
        if len(key) + len(device or "") > LONGEST:
            return self._look_up(device, key)
        if asked not in self._found:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            self._found[asked] = self._look_up(device, key)
        return self._found[asked]

    def _look_up(self, device: str | None, key: str) -> Target | None:
        given = self.given
        full = key if device is None else f"{device}{self.separator}{key}"
        if (named := given.names.get(full)) is not None:
            return Target(named.point, named.linear, named.unit, named.values)
        if self._ignored and self._ignored.match(full):
            return None
        owner = given.device
        if device is not None:
            owner = given.devices.get(device) or self.own_code(device)
        prefix = "" if owner is None else f"{owner}."
        if (of_all := given.quantities.get(key)) is not None:
            return Target(prefix + of_all.quantity, of_all.linear, of_all.unit, of_all.values)
        return Target(prefix + key)


class ValueRefused(ValueError):
    """A value that is none for its point; says why."""


def value_of(
    raw: Any, target: Target, said_unit: str | None, unit_of: UnitOf, *, text_counts: bool
) -> float | bool | None:
    """The value that is meant, in the unit of its point. ValueRefused: none can be made of it.

    Args:
        raw: as the payload has it.
        target: its point.
        said_unit: the unit beside it in the payload.
        unit_of: the registry.
        text_counts: whether a text such as "12.5" is a number in this dialect.
    """
    if raw is None:
        return None
    if target.values is not None:
        return _meaning(raw, target)
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and text_counts and _NUMBER.match(raw):
        raw = float(raw)
    if not isinstance(raw, int | float):
        raise ValueRefused(f"{target.point[:130]}: {shown(raw)} is not a number or boolean")
    unit = target.unit or said_unit
    wanted = None if unit is None else unit_of(target.point)
    turned = AS_IT_IS if unit is None or wanted is None else conversion(unit, wanted)
    if turned is None:
        raise ValueRefused(f"{target.point}: {unit!r:.40} cannot be turned into {wanted}")
    value = target.linear.then(turned)(raw)
    return value if math.isfinite(value) else None


def _meaning(raw: Any, target: Target) -> float | bool:
    assert target.values is not None  # the caller has looked
    if isinstance(raw, bool):
        word = str(raw).lower()
    elif isinstance(raw, float) and raw.is_integer():
        word = str(int(raw))
    else:
        word = str(raw) if isinstance(raw, int | float | str) else shown(raw)
    if word not in target.values:
        known = ", ".join(list(target.values)[:8])
        raise ValueRefused(f"{target.point}: {word!r:.60} is none of {known:.200}")
    return target.values[word]


@dataclass(slots=True)
class Telling:
    """What one message says in the making: values by their time."""

    heard: Heard = field(default_factory=Heard)
    _live: dict[int | float | str | None, wire.Telemetry] = field(default_factory=dict)
    _kept: dict[int | float | str | None, wire.Telemetry] = field(default_factory=dict)

    def put(
        self, ts: int | float | str | None, point: str, value: wire.Value, *, kept: bool = False
    ) -> None:
        """A value at a time; a second one of the same point and time is a complaint."""
        by_time, telling = (
            (self._kept, self.heard.backfill) if kept else (self._live, self.heard.telemetry)
        )
        telemetry = by_time.get(ts)
        if telemetry is None:
            telemetry = by_time[ts] = wire.Telemetry({}, ts)
            telling.append(telemetry)
        if point in telemetry.values:
            self.complain(f"{point[:130]}: two values at one time; the first is taken")
        else:
            telemetry.values[point] = value

    def complain(
        self, detail: str, reason: wire.Reason = wire.Reason.BAD_SHAPE, readings: int = 1
    ) -> None:
        """Something that could not be taken."""
        self.heard.complaints.append(Complaint(reason, detail[:400], readings))


def shown(raw: Any) -> str:
    """The beginning of a value, for a message."""
    return repr(raw)[:60] if isinstance(raw, str | bytes | int | float) else type(raw).__name__
