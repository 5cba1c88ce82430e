"""ThingsBoard telemetry: of a device, and of a gateway for its devices.

Device: `{"k": v}`, `{"ts": ms, "values": {"k": v}}`, or an array of these. Gateway: `{"Device A":
[one of these, …], …}`. Both may come in one object; an array of objects is what tells them apart.
Source: ThingsBoard, MQTT device API and gateway API, telemetry upload.
"""

from dataclasses import dataclass
from typing import Any, Final

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Heard
from hazardloop.devices.dialects.naming import (
    Naming,
    Telling,
    UnitOf,
    ValueRefused,
    shown,
    value_of,
)
from hazardloop.devices.wire import PayloadRefused, Reason

SEPARATOR: Final = "."
WANTED: Final = 'wanted {"key": value}, {"ts": ms, "values": {…}} or {"Device": [{…}]}'


@dataclass(slots=True)
class ThingsBoardReader:
    """Reads one gateway's telemetry; remembers nothing."""

    naming: Naming
    unit_of: UnitOf

    def read(self, topic: bytes, payload: bytes, received_us: int) -> Heard:
        """What a message says. Raises PayloadRefused."""
        said = wire.parse_json(payload)
        telling = Telling()
        for nth, entry in enumerate(said if isinstance(said, list) else [said]):
            if not isinstance(entry, dict):
                raise PayloadRefused(Reason.BAD_SHAPE, f"object {nth} is {shown(entry)}; {WANTED}")
            self._take(None, entry, telling)
        return telling.heard

    def _take(self, device: str | None, entry: dict[str, Any], telling: Telling) -> None:
        """One object of a device; of the gateway itself, it may hold those of its devices."""
        values = entry.get("values")
        if isinstance(values, dict) and entry.keys() <= {"ts", "values"}:
            try:
                ts = _time(entry.get("ts"))
            except ValueRefused as refused:
                telling.complain(str(refused), readings=len(values))
                return
        else:
            ts, values = None, entry
        for key, raw in values.items():
            if device is None and values is entry and _holds_objects(raw):
                self._take_device(key, raw, telling)
                continue
            target = self.naming.target(device, key)
            if target is None:
                continue
            try:
                # ThingsBoard itself takes "12.5" for a number (transport.json.type_cast_enabled).
                value = value_of(raw, target, None, self.unit_of, text_counts=True)
            except ValueRefused as refused:
                telling.complain(str(refused))
            else:
                telling.put(ts, target.point, value)

    def _take_device(self, device: str, entries: list[Any], telling: Telling) -> None:
        for entry in entries:
            if isinstance(entry, dict):
                self._take(device, entry, telling)
            else:
                telling.complain(f"{device[:64]}: {shown(entry)} is not an object")


def _holds_objects(raw: Any) -> bool:
    return isinstance(raw, list) and any(isinstance(each, dict) for each in raw)


def _time(ts: Any) -> int | float | None:
    """Milliseconds; ThingsBoard takes them as text, too. ValueRefused: not a time."""
    if isinstance(ts, str) and ts.isascii() and ts.isdigit() and len(ts) <= 16:
        return int(ts)
    if ts is None or (isinstance(ts, int | float) and not isinstance(ts, bool)):
        return ts
    raise ValueRefused(f"ts: {shown(ts)} is not milliseconds since 1970")
