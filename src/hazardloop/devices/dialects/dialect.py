"""What a reader of a dialect is, and what it gives."""

from dataclasses import dataclass, field
from typing import Final, Protocol

from hazardloop.devices import wire

OURS: Final = "hazardloop"
"""The dialect of `devices/wire.py`; it needs no reader."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Something to be published to the gateway, with QoS 0; a lost one is wished again."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Complaint:
    """A part of a message that could not be taken; its neighbours were."""

    reason: wire.Reason
    detail: str
    readings: int = 1
    """How many readings it concerns; 0 where it is not about a reading."""


@dataclass(slots=True)
class Heard:
    """What one message says, in our words."""

    telemetry: list[wire.Telemetry] = field(default_factory=list)
    """Values by DEVICE.quantity."""
    backfill: list[wire.Telemetry] = field(default_factory=list)
    """The same, of what the gateway kept while it was offline."""
    complaints: list[Complaint] = field(default_factory=list)
    status: wire.Status | None = None
    wishes: list[Wish] = field(default_factory=list)


class Reader(Protocol):
    """Reads what one gateway sends; may remember what it must to read on."""

    def read(self, topic: bytes, payload: bytes, received_us: int) -> Heard:
        """What a message says.

        Args:
            topic: one of this gateway's.
            payload: at most `wire.LARGEST_PAYLOAD` bytes.
            received_us: us since the Unix epoch; what relative times are relative to.

        Raises PayloadRefused when nothing can be taken from it, and nothing else whatever it holds.
        """
