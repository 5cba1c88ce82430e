"""What must be remembered of a Sparkplug edge node: its births, its sequence, what we asked of it.

Source: Sparkplug 3.0 (ISO/IEC 20237:2023), 5 (session) and 6.4.6 (payloads).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Wish
from hazardloop.devices.dialects.sparkplug_payload import encode_payload, said, text

SEQUENCE: Final = 256
"""`seq` counts from 0 to 255 and begins anew."""
REORDER_US: Final = 2_000_000
"""A missing message may still come in this time; brokers with several queues change the order."""
FIRST_WAIT_US: Final = 10_000_000
LONGEST_WAIT_US: Final = 320_000_000
"""Between two requests for a rebirth; doubled each time until one is answered."""
MOST_METRICS: Final = 50_000
"""Of one edge node and its devices, so that nobody can fill our memory."""
LONGEST_NAME: Final = 300
UNIT_PROPERTIES: Final = frozenset({"engunit", "engunits", "unit", "units"})
"""Names of the property in which vendors write the unit, in lower case."""
REBIRTH: Final = "Node Control/Rebirth"


@dataclass(frozen=True, slots=True)
class Known:
    """A metric as its birth described it."""

    name: str
    datatype: int
    unit: str | None


@dataclass(slots=True)
class Born:
    """The metrics of the node itself, or of one of its devices."""

    by_name: dict[str, Known] = field(default_factory=dict)
    by_alias: dict[int, Known] = field(default_factory=dict)

    def add(self, metric: Any) -> Known | None:
        """What a metric of a birth is; None where its name is none."""
        name = text(metric.name)
        if not name or len(name) > LONGEST_NAME:
            return None
        known = Known(name, metric.datatype, _unit(metric.properties))
        self.by_name[name] = known
        if metric.HasField("alias"):
            self.by_alias[metric.alias] = known
        return known

    def find(self, metric: Any) -> Known | None:
        """What a metric of a data message is; None without its birth."""
        if metric.name:
            return self.by_name.get(text(metric.name))
        return self.by_alias.get(metric.alias) if metric.HasField("alias") else None


@dataclass(slots=True)
class Session:
    """One edge node."""

    alive: bool = False
    """Its birth was seen, and no death since."""
    bd_seq: int | None = None
    """Of that birth; the will that fits it carries the same."""
    node: Born = field(default_factory=Born)
    devices: dict[str, Born] = field(default_factory=dict)
    unsure: bool = False
    """Messages were lost: a birth that gave other aliases may be among them."""
    _next_seq: int | None = None
    _missing: set[int] = field(default_factory=set)
    _gap_us: int = 0
    _asked_us: int | None = None
    _wait_us: int = FIRST_WAIT_US

    def begin(self, bd_seq: int | None, seq: int | None) -> None:
        """The node is born: all that was known of it is void, its devices are to be born again."""
        self.alive, self.bd_seq, self.unsure = True, bd_seq, False
        self.node, self.devices = Born(), {}
        self._next_seq = None if seq is None else (seq + 1) % SEQUENCE
        self._missing.clear()
        self._asked_us, self._wait_us = None, FIRST_WAIT_US

    def end(self) -> None:
        """The node is dead."""
        self.alive, self.bd_seq, self._next_seq = False, None, None
        self.node, self.devices = Born(), {}
        self._missing.clear()

    def metrics(self) -> int:
        """How much is remembered; a device counts even without a metric."""
        return len(self.node.by_name) + sum(len(one.by_name) + 1 for one in self.devices.values())

    def count(self, seq: int, received_us: int) -> None:
        """Takes note of a message's number; what is missing before it may yet come."""
        expected, self._next_seq = self._next_seq, (seq + 1) % SEQUENCE
        if expected is None or seq == expected:
            self._missing.discard(seq)
            return
        if seq in self._missing:
            self._missing.discard(seq)
            self._next_seq = expected
            return
        if not self._missing:
            self._gap_us = received_us
        self._missing |= {(expected + n) % SEQUENCE for n in range((seq - expected) % SEQUENCE)}

    def lost(self, received_us: int) -> int:
        """How many messages are given up as lost now; each is told once."""
        if not self._missing or 0 <= received_us - self._gap_us < REORDER_US:
            return 0
        lost = len(self._missing)
        self._missing.clear()
        self.unsure = True
        return lost

    def wish_rebirth(self, group: str, edge: str, received_us: int) -> list[Wish]:
        """A request to be born again, unless one was made a short while ago."""
        if self._asked_us is not None:
            if 0 <= received_us - self._asked_us < self._wait_us:
                return []
            self._wait_us = min(2 * self._wait_us, LONGEST_WAIT_US)
        self._asked_us = received_us
        metric = {"name": REBIRTH.encode(), "datatype": 11, "boolean_value": True}
        topic = f"{wire.SPARKPLUG}/{group}/NCMD/{edge}"
        return [Wish(topic, encode_payload(received_us // 1000, [metric]))]


def bd_seq_of(metrics: Iterable[Any]) -> int | None:
    """The number that ties a death to its birth."""
    for metric in metrics:
        if metric.name == b"bdSeq":
            return int(metric.long_value or metric.int_value)
    return None


def _unit(properties: Any) -> str | None:
    for key, value in zip(properties.keys, properties.values, strict=False):
        if text(key).lower() in UNIT_PROPERTIES and value.HasField("string_value"):
            return str(said(value, 0))[:40]
    return None
