"""SenML in JSON (RFC 8428): records resolved by the RFC, units turned into ours.

A name is a device and a quantity: `urn:dev:ow:10e2073a01080063:voltage` is the quantity `voltage`
of device `10e2073a01080063`; the kind of URN (RFC 9039) is left out. The profile renames devices by
all that stands before the last of `:`, `/` or `.`, that is by `urn:dev:ow:10e2073a01080063`.
"""

import re
from collections.abc import Iterator
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
from hazardloop.devices.dialects.profile import finite
from hazardloop.devices.wire import PayloadRefused, Reason

SEPARATOR: Final = ":"
RELATIVE_BELOW_S: Final = 2.0**28
"""A time below it is relative to now (RFC 8428, 4.5.3)."""
LATEST_S: Final = 1e12
UNDERSTOOD: Final = frozenset({*range(1, 11), 26})
"""`bver`: 10 is RFC 8428; 26 says that secondary units are used (RFC 8798, RFC 9100)."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*\Z")
_DEVICE_URN: Final = re.compile(r"urn:dev:[a-z0-9]+:")
_NUMBERS: Final = ("bt", "bv", "bs", "v", "s", "t", "ut")
_TEXTS: Final = ("bn", "bu", "n", "u", "vs", "vd")
_VALUES: Final = ("v", "vs", "vb", "vd")
_BASE: Final = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})


@dataclass(frozen=True, slots=True)
class Resolved:
    """One record with what the base fields add to it (RFC 8428, 4.6)."""

    name: str
    unit: str | None
    time_s: float
    """Since the Unix epoch; below 2**28: since now."""
    value: Any


@dataclass(slots=True)
class SenmlReader:
    """Reads one gateway's packs; remembers nothing."""

    naming: Naming
    unit_of: UnitOf

    def read(self, topic: bytes, payload: bytes, received_us: int) -> Heard:
        """What a pack says. Raises PayloadRefused."""
        telling = Telling()
        for record in resolve(wire.parse_json(payload), telling):
            self._take(record, received_us, telling)
        return telling.heard

    def _take(self, record: Resolved, received_us: int, telling: Telling) -> None:
        device, key = parted(record.name)
        target = self.naming.target(device, key)
        if target is None:
            return
        try:
            value = value_of(record.value, target, record.unit, self.unit_of, text_counts=False)
        except ValueRefused as refused:
            telling.complain(str(refused))
            return
        if abs(record.time_s) > LATEST_S:
            telling.complain(f"{target.point[:130]}: t: {record.time_s!r:.40} is not a time")
        elif record.time_s >= RELATIVE_BELOW_S:
            telling.put(round(record.time_s * 1e6) / 1e3, target.point, value)
        elif record.time_s == 0:
            telling.put(None, target.point, value)
        else:
            # Now is when we received it: as uncertain as a reading without any time.
            ago_ms = received_us / 1e3 + record.time_s * 1e3
            telling.put(round(ago_ms, 3), target.point, wire.Sample(value, "uncertain"))


def without_urn(device: str) -> str:
    """A device's name without the beginning that every such URN has (RFC 9039)."""
    return _DEVICE_URN.sub("", device, count=1)


def parted(name: str) -> tuple[str | None, str]:
    """Device and quantity of a resolved name; a name without a separator has no device."""
    at = max(name.rfind(separator) for separator in ":/.")
    return (name[:at], name[at + 1 :]) if at >= 0 else (None, name)


def resolve(pack: Any, telling: Telling) -> Iterator[Resolved]:
    """The records of a pack, resolved; one that is wrong by itself becomes a complaint.

    Raises PayloadRefused for what makes the whole pack unreadable: no array, a version or an
    extension that must be understood and is not (RFC 8428, 4.4).
    """
    if not isinstance(pack, list):
        raise PayloadRefused(Reason.BAD_SHAPE, f"a SenML pack is an array, not {shown(pack)}")
    for nth, record in enumerate(pack):
        _require_understood(nth, record)
    base: dict[str, Any] = {}
    for nth, record in enumerate(pack):
        if wrong := _wrong(record):
            # Its base fields hold for the records after it: those cannot be told without them.
            detail = f"record {nth}: {wrong}: {shown(record[wrong])} is of a wrong type"
            if wrong in _BASE:
                raise PayloadRefused(Reason.BAD_SHAPE, detail)
            telling.complain(detail)
            record = {label: value for label, value in record.items() if label in _BASE}
        base |= {label: value for label, value in record.items() if label in _BASE}
        said = [record[label] for label in _VALUES if label in record]
        if len(said) > 1:
            telling.complain(f"record {nth}: several values in one record")
        elif said:
            name = base.get("bn", "") + record.get("n", "")
            if not _NAME.match(name):
                telling.complain(f"record {nth}: {name!r:.80} is no SenML name")
                continue
            value = said[0]
            if "v" in record and value is not None:
                value += base.get("bv", 0)
            time_s = base.get("bt", 0) + record.get("t", 0)
            yield Resolved(name, record.get("u", base.get("bu")), time_s, value)
        elif "s" in record:
            telling.complain(f"record {nth}: a sum over time is no reading; send `v`")


def _require_understood(nth: int, record: Any) -> None:
    if not isinstance(record, dict):
        raise PayloadRefused(Reason.BAD_SHAPE, f"record {nth} is {shown(record)}, not an object")
    version = record.get("bver", 10)
    if not finite(version) or version not in UNDERSTOOD:
        raise PayloadRefused(Reason.BAD_SHAPE, f"record {nth}: bver {shown(version)} is not known")
    for label in record:
        if label.endswith("_"):
            raise PayloadRefused(
                Reason.BAD_SHAPE, f"record {nth}: {label[:60]!r} must be understood, and is not"
            )


def _wrong(record: dict[str, Any]) -> str | None:
    """The first label whose value is of a wrong type."""
    for label in _NUMBERS:
        if label in record and not finite(record[label]) and not _not_a_number(label, record):
            return label
    for label in _TEXTS:
        if label in record and not isinstance(record[label], str):
            return label
    return "vb" if not isinstance(record.get("vb", True), bool) else None


def _not_a_number(label: str, record: dict[str, Any]) -> bool:
    """Gateways write NaN or null for a broken sensor: stored as bad, as in our own dialect."""
    return label == "v" and (record["v"] is None or isinstance(record["v"], float))
