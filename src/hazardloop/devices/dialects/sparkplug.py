"""Sparkplug B: what an edge node and its devices say, with their births, deaths and sequence.

Group is the enterprise's code, edge node the gateway's. A metric of a device is DEVICE.metric; a
metric of the node is `DEVICE/quantity`. Source: Sparkplug 3.0 (ISO/IEC 20237:2023).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Heard
from hazardloop.devices.dialects.naming import (
    Naming,
    Target,
    Telling,
    UnitOf,
    ValueRefused,
    value_of,
)
from hazardloop.devices.dialects.sparkplug_payload import DATA_TYPES, decode_payload, said, text
from hazardloop.devices.dialects.sparkplug_session import (
    LONGEST_NAME,
    MOST_METRICS,
    Born,
    Known,
    Session,
    bd_seq_of,
)
from hazardloop.devices.units import known_unit
from hazardloop.devices.wire import PayloadRefused, Reason

SEPARATOR: Final = "/"
NOT_READINGS: Final = (
    "bdSeq", "Node Control/*", "Device Control/*", "*/Device Control/*", "Properties/*",
    "*/Properties/*",
)  # fmt: skip
"""Metrics by which node and host deal with each other (Sparkplug 3.0, 6.4.7 to 6.4.10)."""
QUALITIES: Final[Mapping[int, str]] = {192: "good", 0: "bad", 500: "bad"}
"""Of the property `Quality`; 500 is stale. Any other is uncertain."""
LAST_MS: Final = 10**15
IN_SERVICE: Final = "in_service"
Device: TypeAlias = str | None
"""None: the node itself."""


@dataclass(slots=True)
class _Message:
    device: Device
    payload: Any
    received_us: int
    telling: Telling = field(default_factory=Telling)


@dataclass(slots=True)
class SparkplugReader:
    """Reads one edge node; its session outlives a change of the registry."""

    group: str
    edge: str
    naming: Naming
    unit_of: UnitOf
    session: Session = field(default_factory=Session)

    def read(self, topic: bytes, payload: bytes, received_us: int) -> Heard:
        """What a message says. Raises PayloadRefused."""
        kind, device = _parted(topic)
        if kind in COMMANDS:
            return Heard()  # our own requests come back to us, and those of other hosts
        message = _Message(device, decode_payload(payload), received_us)
        if kind not in ("NBIRTH", "NDEATH") and message.payload.HasField("seq"):
            self.session.count(message.payload.seq % 256, received_us)
        TAKE[kind](self, message)
        self._ask_for_what_is_missing(message)
        return message.telling.heard

    def _ask_for_what_is_missing(self, message: _Message) -> None:
        heard, session = message.telling.heard, self.session
        lost = session.lost(message.received_us)
        if lost:
            detail = f"up to {lost} messages are missing before this one; a rebirth is asked for"
            message.telling.complain(detail, Reason.SEQ_GAP, 0)
        stranger = any(one.reason is Reason.NO_BIRTH for one in heard.complaints)
        if session.unsure or stranger:
            heard.wishes += session.wish_rebirth(self.group, self.edge, message.received_us)

    def _node_born(self, message: _Message) -> None:
        payload = message.payload
        seq = payload.seq % 256 if payload.HasField("seq") else None
        self.session.begin(bd_seq_of(payload.metrics), seq)
        message.telling.heard.status = wire.Status(True, _when(payload.timestamp))
        self._be_born(message, self.session.node)

    def _device_born(self, message: _Message) -> None:
        assert message.device is not None  # its topic has one
        born = self.session.devices[message.device] = Born()
        self._be_born(message, born)
        if not self.session.alive:
            self._unknown(message, 0, "a device is born before its node")
        told = {point for one in message.telling.heard.telemetry for point in one.values}
        in_service = self._in_service(message.device)
        if in_service is not None and in_service not in told:
            message.telling.put(_when(message.payload.timestamp), in_service, True)

    def _be_born(self, message: _Message, born: Born) -> None:
        if self.session.metrics() + len(message.payload.metrics) > MOST_METRICS:
            raise PayloadRefused(
                Reason.BAD_SHAPE, f"more than {MOST_METRICS} metrics of one edge node"
            )
        for metric in message.payload.metrics:
            known = born.add(metric)
            if known is None:
                detail = f"metric {text(metric.name)!r:.40}: a birth gives each a name"
                message.telling.complain(f"{detail} of 1 to {LONGEST_NAME} characters")
            else:
                self._take(message, metric, known, birth=True)

    def _data(self, message: _Message) -> None:
        device, session = message.device, self.session
        born = session.node if device is None else session.devices.get(device, Born())
        unknown = 0
        for metric in message.payload.metrics:
            known = born.find(metric) or _by_itself(metric)
            if known is None:
                unknown += 1
            else:
                self._take(message, metric, known)
        of_device = device is not None and device not in session.devices
        if unknown or of_device or not session.alive:
            self._unknown(message, unknown, f"{unknown} metrics cannot be told without a birth")

    def _unknown(self, message: _Message, readings: int, detail: str) -> None:
        message.telling.complain(f"{detail}; it is asked for", Reason.NO_BIRTH, readings)

    def _node_dead(self, message: _Message) -> None:
        """An earlier session's will may come late; it says nothing of this one."""
        now = self.session.bd_seq
        if now is not None and bd_seq_of(message.payload.metrics) != now:
            return
        message.telling.heard.status = wire.Status(False)
        # Its own time is that of the connection it was left with.
        at_ms = message.received_us // 1000
        self._all_bad(message, at_ms, None, self.session.node)
        for device, born in self.session.devices.items():
            self._all_bad(message, at_ms, device, born)
        self.session.end()

    def _device_dead(self, message: _Message) -> None:
        """A device that is gone counts as out of service: by contract, as a fault."""
        assert message.device is not None  # its topic has one
        at_ms = _when(message.payload.timestamp)
        in_service = self._in_service(message.device)
        if in_service is not None:
            message.telling.put(at_ms, in_service, False)
        born = self.session.devices.pop(message.device, Born())
        self._all_bad(message, at_ms, message.device, born, except_for=in_service)

    def _all_bad(
        self, message: _Message, at_ms: int | None, device: Device, born: Born,
        except_for: str | None = None,
    ) -> None:  # fmt: skip
        bad = wire.Sample(None, "bad")
        for known in born.by_name.values():
            target = self._target(device, known.name)
            if target and target.point != except_for and self.unit_of(target.point) is not None:
                message.telling.put(at_ms, target.point, bad)

    def _in_service(self, device: str) -> str | None:
        """The point that says whether a device is in service, where it is registered."""
        target = self._target(device, IN_SERVICE)
        return target.point if target and self.unit_of(target.point) is not None else None

    def _target(self, device: Device, name: str) -> Target | None:
        if device is None and name.count("/") == 1:
            device, _, name = name.partition("/")
        return self.naming.target(device, name)

    def _take(self, message: _Message, metric: Any, known: Known, *, birth: bool = False) -> None:
        target = self._target(message.device, known.name)
        if target is None:
            return
        try:
            value = self._value(metric, known, target, message.telling if birth else None)
        except ValueRefused as refused:
            message.telling.complain(str(refused))
            return
        if value is _NO_READING:
            return
        quality = _quality(metric.properties)
        if self.session.unsure and not metric.name and quality is None:
            quality = "uncertain"
        sample = value if quality is None else wire.Sample(value, quality)
        ts = _when(metric.timestamp) or _when(message.payload.timestamp)
        message.telling.put(ts, target.point, sample, kept=metric.is_historical)

    def _value(self, metric: Any, known: Known, target: Target, birth: Telling | None) -> Any:
        datatype = metric.datatype or known.datatype
        registered = self.unit_of(target.point) is not None
        try:
            raw = said(metric, datatype)
        except ValueError as error:
            if not registered:
                return _NO_READING
            raise ValueRefused(f"{target.point}: {error}") from error
        of_no_use = isinstance(raw, str) and target.values is None
        if not registered and (of_no_use or datatype not in DATA_TYPES):
            return _NO_READING
        unit = known.unit
        if unit is not None and known_unit(unit) is None:
            if birth is not None and registered and target.unit is None:
                birth.complain(
                    f"{target.point}: unit {unit!r} is not known; taken as"
                    f" {self.unit_of(target.point)}. Name it in the profile",
                    readings=0,
                )
            unit = None
        return value_of(raw, target, unit, self.unit_of, text_counts=False)


_NO_READING: Final = object()
COMMANDS: Final = frozenset({"NCMD", "DCMD"})
TAKE: Final[Mapping[str, Callable[[SparkplugReader, _Message], None]]] = {
    "NBIRTH": SparkplugReader._node_born,
    "NDEATH": SparkplugReader._node_dead,
    "NDATA": SparkplugReader._data,
    "DBIRTH": SparkplugReader._device_born,
    "DDEATH": SparkplugReader._device_dead,
    "DDATA": SparkplugReader._data,
}
"""By the third level of the topic."""


def _parted(topic: bytes) -> tuple[str, Device]:
    """Kind of message and device of a topic. Raises PayloadRefused."""
    parts = topic.decode("utf-8", "replace").split("/")
    kind = parts[2] if len(parts) in (4, 5) else ""
    device = parts[4] if len(parts) == 5 else None
    if kind not in TAKE and kind not in COMMANDS:
        raise PayloadRefused(Reason.BAD_SHAPE, f"{kind!r:.40} is no kind of Sparkplug message")
    if (device is not None) != kind.startswith("D") or len(device or "") > LONGEST_NAME:
        raise PayloadRefused(Reason.BAD_SHAPE, f"{kind} {'without' if device is None else 'with'}"
                             " a device in its topic")  # fmt: skip
    return kind, device


def _by_itself(metric: Any) -> Known | None:
    """A metric that needs no birth: it has a name, and a value that is not open to doubt."""
    name = text(metric.name)
    if not name or len(name) > LONGEST_NAME:
        return None
    open_to_doubt = metric.WhichOneof("value") in ("int_value", "long_value")
    return None if open_to_doubt and not metric.datatype else Known(name, metric.datatype, None)


def _quality(properties: Any) -> str | None:
    for key, value in zip(properties.keys, properties.values, strict=False):
        if key == b"Quality" and value.WhichOneof("value") in ("int_value", "long_value"):
            return QUALITIES.get(value.int_value or value.long_value, "uncertain")
    return None


def _when(timestamp_ms: int) -> int | None:
    return timestamp_ms if 0 < timestamp_ms < LAST_MS else None
