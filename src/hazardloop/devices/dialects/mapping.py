"""Any other JSON, read by a declared mapping: paths to values, to names and to the time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any, Final, Literal

from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Heard
from hazardloop.devices.dialects.naming import (
    Naming,
    Target,
    Telling,
    UnitOf,
    ValueRefused,
    shown,
    value_of,
)
from hazardloop.devices.dialects.paths import compiled, is_plain
from hazardloop.devices.dialects.profile import STRICT, NamingIn, Point, Quantity, Taking, under
from hazardloop.devices.wire import PayloadRefused, Reason

SEPARATOR: Final = "."
MOST_STEPS: Final = 500_000
"""Looks into one payload; about a second. A mapping that needs more is refused, not waited for."""
LONGEST_TIME: Final = 64


def _compiles(text: str) -> str:
    compiled(text)
    return text


Path = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_compiles)]


class _TimeIn(BaseModel):
    model_config = STRICT
    path: Path
    unit: Literal["ms", "s", "us", "text"] = "ms"
    format: Annotated[str, StringConstraints(min_length=2, max_length=40)] | None = None
    zone: Annotated[str, StringConstraints(pattern=r"^[+-](0\d|1[0-4]):[0-5]\d$")] | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> "_TimeIn":
        if self.unit != "text" and (self.format or self.zone):
            raise ValueError("format and zone are for times written as text")
        return self


class _ReadingIn(Taking):
    path: Path
    point: Point | None = None
    quantity: Quantity | None = None

    @model_validator(mode="after")
    def _says_of_what(self) -> "_ReadingIn":
        if (self.point is None) == (self.quantity is None):
            raise ValueError("give either point (DEVICE.quantity) or quantity (with device_path)")
        return self


class MappingIn(NamingIn):
    """A declared mapping; without `each` the payload, or each object of an array, is looked at."""

    each: Path | None = None
    """To the objects that hold the values."""
    device_path: Path | None = None
    """In an object: whose its values are."""
    ts: Annotated[_TimeIn, under("path")] | None = None
    """In an object, or else in the payload."""
    readings: Annotated[list[_ReadingIn], Field(max_length=2000)] = Field(default_factory=list)
    """A path for each value."""
    name_path: Path | None = None
    value_path: Path | None = None
    """In an object that holds one value: its name and itself."""

    @model_validator(mode="after")
    def _finds_something(self) -> "MappingIn":
        if (self.name_path is None) != (self.value_path is None):
            raise ValueError("name_path and value_path go together")
        if not self.readings and self.value_path is None:
            raise ValueError("wanted: readings, or name_path and value_path")
        whose = self.device_path is not None or self.device is not None
        if not whose and any(one.quantity for one in self.readings):
            raise ValueError("a reading by quantity needs device_path or device")
        return self


@dataclass(frozen=True, slots=True)
class _Look:
    path: ParsedResult
    target: Target
    of_device: bool
    """The target is a quantity only; the object says whose."""


class MappingReader:
    """Reads one gateway's payloads; remembers nothing."""

    def __init__(self, given: MappingIn, unit_of: UnitOf) -> None:
        """By what the profile declares."""
        self._given = given
        self._unit_of = unit_of
        self._naming = Naming(given, SEPARATOR)
        self._each = compiled(given.each) if given.each else None
        self._device = compiled(given.device_path) if given.device_path else None
        self._ts = compiled(given.ts.path) if given.ts else None
        self._pair = (
            (compiled(given.name_path), compiled(given.value_path))
            if given.name_path and given.value_path
            else None
        )
        self._looks = [_look(one) for one in given.readings]
        paths = [look.path for look in self._looks] + [
            path for path in (self._device, self._ts, *(self._pair or ())) if path
        ]
        self._plain = sum(map(is_plain, paths))
        self._searching = len(paths) - self._plain

    def read(self, topic: bytes, payload: bytes, received_us: int) -> Heard:
        """What a message says. Raises PayloadRefused."""
        document = wire.parse_json(payload)
        try:
            objects = list(self._objects(document))
            values = payload.count(b",") + payload.count(b":") + 1
            if len(objects) * self._plain + values * self._searching > MOST_STEPS:
                raise PayloadRefused(
                    Reason.BAD_SHAPE,
                    f"{values} values and {self._plain + self._searching} paths are more than the"
                    " mapping may look at; send fewer in a message",
                )
            telling = Telling()
            found = sum([self._take(entry, document, telling) for entry in objects])
        except (JMESPathError, RecursionError) as error:
            raise PayloadRefused(Reason.BAD_SHAPE, f"the mapping fails: {error!s:.100}") from error
        if not found and not telling.heard.complaints:
            raise PayloadRefused(Reason.BAD_SHAPE, "no path of the mapping finds anything in it")
        return telling.heard

    def _objects(self, document: Any) -> Iterator[Any]:
        chosen = self._each.search(document) if self._each else document
        yield from chosen if isinstance(chosen, list) else [chosen]

    def _take(self, entry: Any, document: Any, telling: Telling) -> int:
        """How many values an object held."""
        device = self._device.search(entry) if self._device else None
        whose = str(device) if isinstance(device, str | int) else None
        found = [
            (self._of(look, whose), raw)
            for look in self._looks
            if (raw := look.path.search(entry)) is not None
        ]
        if any(target is None for target, _ in found):
            detail = f"{self._given.device_path}: {shown(device)} is no device's name"
            telling.complain(detail, readings=len(found))
            return 0
        if self._pair:
            name, raw = self._pair[0].search(entry), self._pair[1].search(entry)
            if isinstance(name, str):
                found.append((self._naming.target(whose, name), raw))
        if not found:
            return 0
        try:
            ts = self._time(entry, document)
        except ValueRefused as refused:
            telling.complain(str(refused), readings=len(found))
            return 0
        for target, raw in found:
            if target is not None:
                self._put(ts, target, raw, telling)
        return len(found)

    def _of(self, look: _Look, device: str | None) -> Target | None:
        if not look.of_device:
            return look.target
        owner = self._given.devices.get(device, device) if device else self._given.device
        if owner is None:
            return None
        target = look.target
        return Target(f"{owner}.{target.point}", target.linear, target.unit, target.values)

    def _put(
        self, ts: int | float | str | None, target: Target, raw: Any, telling: Telling
    ) -> None:
        try:
            value = value_of(raw, target, None, self._unit_of, text_counts=True)
        except ValueRefused as refused:
            telling.complain(str(refused))
        else:
            telling.put(ts, target.point, value)

    def _time(self, entry: Any, document: Any) -> float | str | None:
        if self._ts is None or self._given.ts is None:
            return None
        raw = self._ts.search(entry)
        raw = self._ts.search(document) if raw is None else raw
        return None if raw is None else _milliseconds(raw, self._given.ts)


def _look(one: _ReadingIn) -> _Look:
    point = one.point or one.quantity or ""
    target = Target(point, one.linear, one.unit, one.values)
    return _Look(compiled(one.path), target, one.point is None)


PER_MS: Final = {"ms": 1.0, "s": 1e-3, "us": 1e3}


def _milliseconds(raw: Any, given: _TimeIn) -> float | str:
    """Since the Unix epoch, or RFC 3339. ValueRefused: no time in the declared form."""
    if given.unit == "text":
        return _of_text(raw, given)
    try:
        return round(float(raw) / PER_MS[given.unit] * 1e3) / 1e3
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueRefused(f"{given.path}: {shown(raw)} is no time in {given.unit}") from error


def _of_text(raw: Any, given: _TimeIn) -> float:
    try:
        if len(raw) > LONGEST_TIME:
            raise ValueError("too long")
        at = datetime.strptime(raw, given.format) if given.format else datetime.fromisoformat(raw)
        if at.tzinfo is None:
            if given.zone is None:
                raise ValueError("it has no offset; name the zone in the profile")
            hours, minutes = int(given.zone[:3]), int(given.zone[0] + given.zone[4:])
            at = at.replace(tzinfo=timezone(timedelta(hours=hours, minutes=minutes)))
        return (at - EPOCH) / timedelta(milliseconds=1)
    except (TypeError, ValueError, OverflowError) as error:
        detail = f"{given.path}: {shown(raw)} is no time: {error!s:.80}"
        raise ValueRefused(detail) from error


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
