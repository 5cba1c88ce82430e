"""What was refused of a batch: as dead letters, and as notes to the gateways that sent it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hazardloop.devices import wire
from hazardloop.devices.instants import utc
from hazardloop.devices.registry import Registry
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.judging import Reject
from hazardloop.ingest.store import KEPT_PAYLOAD, DeadLetter

NOTE_EVERY_US: Final = 1_000_000
"""A gateway gets at most one note in this time."""


def dead_letters(rejects: Iterable[Reject], batch: Batch, registry: Registry) -> list[DeadLetter]:
    """The rejects of a batch with their messages, and its oversized messages."""
    letters = [
        _letter(
            registry,
            batch.topics[reject.message],
            batch.payloads[reject.message],
            len(batch.payloads[reject.message]),
            int(batch.received_at[reject.message]),
            reject.reason,
            reject.detail,
            reject.readings,
        )
        for reject in rejects
    ]
    letters += [
        _letter(
            registry,
            large.topic,
            large.head,
            large.payload_bytes,
            large.received_at,
            wire.Reason.TOO_LARGE,
            f"{large.payload_bytes} bytes, at most {wire.LARGEST_PAYLOAD}",
            0,
        )
        for large in batch.oversized
    ]
    return letters


def _letter(
    registry: Registry,
    topic: bytes,
    payload: bytes,
    payload_bytes: int,
    received_us: int,
    reason: wire.Reason,
    detail: str,
    readings: int,
) -> DeadLetter:
    address = wire.address_of(topic)
    home = f"{address.enterprise}/{address.gateway}" if address else ""
    gateway = registry.gateways.get(home)
    return DeadLetter(
        received_at=utc(received_us),
        reason=str(reason),
        detail=detail,
        topic=topic.decode("utf-8", "replace"),
        enterprise_id=gateway.enterprise_id if gateway else None,
        gateway_id=gateway.gateway_id if gateway else None,
        payload=payload[:KEPT_PAYLOAD],
        payload_bytes=payload_bytes,
        readings=readings,
    )


@dataclass(slots=True)
class Notes:
    """Says to each gateway what was refused, seldom enough not to be a burden."""

    _told_us: dict[str, int] = field(default_factory=dict)
    _untold: dict[str, int] = field(default_factory=dict)

    def due(
        self, letters: Sequence[DeadLetter], registry: Registry, now_us: int
    ) -> list[tuple[str, bytes]]:
        """Topic and payload of the notes to be sent now; those held back are counted in the next.

        Only registered gateways are told: anybody can make up others, and we keep a line for each.
        """
        notes: list[tuple[str, bytes]] = []
        for letter in letters:
            address = wire.address_of(letter.topic.encode())
            if address is None or letter.gateway_id is None:
                continue
            home = f"{address.enterprise}/{address.gateway}"
            if now_us - self._told_us.get(home, -NOTE_EVERY_US) < NOTE_EVERY_US:
                self._untold[home] = self._untold.get(home, 0) + 1
                continue
            self._told_us[home] = now_us
            notes.append(
                (
                    wire.reject_topic(address.enterprise, address.gateway),
                    wire.encode_reject(
                        wire.Reason(letter.reason),
                        letter.detail,
                        letter.topic,
                        letter.payload,
                        now_us // 1000,
                        self._untold.pop(home, 0),
                    ),
                )
            )
        self._forget(registry.gateways)
        return notes

    def _forget(self, homes: Mapping[str, object]) -> None:
        for home in self._told_us.keys() - homes.keys():
            del self._told_us[home]
            self._untold.pop(home, None)
