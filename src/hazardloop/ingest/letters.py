"""What was refused of a batch: as dead letters, and as notes to the gateways that sent it.

Nobody can flood the others: of each gateway so many letters a minute are kept; the rest is counted.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from hazardloop.devices import wire
from hazardloop.devices.instants import MINUTE_US, utc
from hazardloop.devices.registry import Gateway, Registry
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.judging import Reject
from hazardloop.ingest.messages import DUP, RETAIN
from hazardloop.ingest.store import KEPT_PAYLOAD, CountedLetters, DeadLetter

NOTE_EVERY_US: Final = 1_000_000
"""A gateway gets at most one note in this time."""
MOST_A_MINUTE: Final = 100
"""Letters of a gateway that are kept with their payload, where no setting says otherwise."""
KEPT_TOPIC: Final = 1_000
"""Characters of a topic that are kept; one of ours has at most 150."""
STRANGERS: Final = 0
"""Stands for the gateway of whoever is none of ours: all of them share what is kept of one."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What one gateway is to be told of a batch."""

    home: str
    """ENTERPRISE/GATEWAY."""
    letter: DeadLetter
    """The first; kept, or counted only."""
    messages: int
    """How many there were."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """What was refused of a batch."""

    letters: list[DeadLetter] = field(default_factory=list)
    counted: list[CountedLetters] = field(default_factory=list)
    """Those beyond what is kept."""
    refusals: list[Refusal] = field(default_factory=list)
    """Of registered gateways: anybody can make up others."""
    figures: dict[str, int] = field(default_factory=dict)
    """Refused readings by reason; a message that could not be read so far counts as one."""


@dataclass(slots=True)
class Quota:
    """How many letters of each gateway were kept in each of the last minutes."""

    most: int = MOST_A_MINUTE
    _kept: dict[tuple[int, int], int] = field(default_factory=dict)

    def spend(self, gateway_id: int, minute: int) -> bool:
        """Whether one more may be kept."""
        kept = self._kept.get((gateway_id, minute), 0)
        if kept < self.most:
            self._kept[gateway_id, minute] = kept + 1
        return kept < self.most

    def forget(self) -> None:
        """Minutes that are over are not asked for again."""
        newest = max((minute for _, minute in self._kept), default=0)
        self._kept = {key: kept for key, kept in self._kept.items() if key[1] >= newest - 1}


@dataclass(frozen=True, slots=True)
class _Refused:
    """One reject with its message."""

    topic: bytes
    payload: bytes
    payload_bytes: int
    received_us: int
    reason: str
    detail: str
    readings: int
    again: bool


def sort_letters(
    rejects: Iterable[Reject], batch: Batch, registry: Registry, quota: Quota
) -> Sorted:
    """The rejects of a batch with their messages, and its oversized messages."""
    found = Sorted()
    more: dict[tuple[int, str, int], list[int]] = {}
    told: dict[str, tuple[DeadLetter, int]] = {}
    senders: dict[bytes, tuple[str, Gateway | None]] = {}
    for one in _all_refused(rejects, batch):
        if one.topic not in senders:
            senders[one.topic] = _sender(one.topic, registry)
        home, gateway = senders[one.topic]
        gateway_id = gateway.gateway_id if gateway else STRANGERS
        minute = one.received_us // MINUTE_US
        keep = quota.spend(gateway_id, minute)
        first = gateway is not None and home not in told
        if keep or first:
            letter = _letter(one, gateway)
        if keep:
            found.letters.append(letter)
        else:
            counts = more.setdefault((gateway_id, one.reason, minute), [0, 0])
            counts[0] += 1
            counts[1] += one.readings
        if first:
            told[home] = letter, 0
        if gateway is not None:
            told[home] = told[home][0], told[home][1] + 1
        found.figures[one.reason] = found.figures.get(one.reason, 0) + max(1, one.readings)
    found.refusals.extend(Refusal(home, *one) for home, one in told.items())
    enterprises = {
        gateway.gateway_id: gateway.enterprise_id for _, gateway in senders.values() if gateway
    }
    found.counted.extend(_counted(more, enterprises))
    quota.forget()
    return found


def _all_refused(rejects: Iterable[Reject], batch: Batch) -> Iterator[_Refused]:
    again = batch.dup | batch.retained
    for reject in sorted(rejects, key=lambda one: one.message):
        payload = batch.payloads[reject.message]
        yield _Refused(
            batch.topics[reject.message],
            payload,
            len(payload),
            int(batch.received_at[reject.message]),
            str(reject.reason),
            reject.detail,
            reject.readings,
            bool(again[reject.message]),
        )
    for large in batch.oversized:
        yield _Refused(
            large.topic,
            large.head,
            large.payload_bytes,
            large.received_at,
            str(wire.Reason.TOO_LARGE),
            f"{large.payload_bytes} bytes, at most {wire.LARGEST_PAYLOAD}",
            0,
            bool(large.flags & (DUP | RETAIN)),
        )


def _sender(topic: bytes, registry: Registry) -> tuple[str, Gateway | None]:
    address = wire.address_of(topic)
    home = f"{address.enterprise}/{address.gateway}" if address else ""
    return home, registry.gateways.get(home)


def _letter(one: _Refused, gateway: Gateway | None) -> DeadLetter:
    return DeadLetter(
        received_at=utc(one.received_us),
        reason=one.reason,
        detail=one.detail,
        topic=one.topic[: 4 * KEPT_TOPIC].decode("utf-8", "replace")[:KEPT_TOPIC],
        enterprise_id=gateway.enterprise_id if gateway else None,
        gateway_id=gateway.gateway_id if gateway else None,
        payload=one.payload[:KEPT_PAYLOAD],
        payload_bytes=one.payload_bytes,
        readings=one.readings,
        again=one.again,
    )


def _counted(
    more: Mapping[tuple[int, str, int], Sequence[int]], enterprises: Mapping[int, int]
) -> Iterator[CountedLetters]:
    for (gateway_id, reason, minute), (messages, readings) in sorted(more.items()):
        yield CountedLetters(
            utc(minute * MINUTE_US),
            reason,
            enterprises.get(gateway_id),
            gateway_id or None,
            messages,
            readings,
        )


def counted_strangers(letters: Sequence[DeadLetter], quota: Quota) -> Sorted:
    """Letters of nobody in particular: those that may be kept, and the others counted."""
    found = Sorted()
    more: dict[tuple[int, str, int], list[int]] = {}
    for letter in letters:
        minute = _minute(letter.received_at)
        if quota.spend(STRANGERS, minute):
            found.letters.append(letter)
        else:
            more.setdefault((STRANGERS, letter.reason, minute), [0, 0])[0] += 1
    found.counted.extend(_counted(more, {}))
    quota.forget()
    return found


def _minute(instant: datetime) -> int:
    return int(instant.timestamp()) // 60


@dataclass(slots=True)
class Notes:
    """Says to each gateway what was refused, seldom enough not to be a burden."""

    _told_us: dict[str, int] = field(default_factory=dict)
    _untold: dict[str, int] = field(default_factory=dict)

    def due(
        self, refusals: Sequence[Refusal], registry: Registry, now_us: int
    ) -> list[tuple[str, bytes]]:
        """Topic and payload of the notes to be sent now; those held back are counted in the next.

        Of a batch the first refusal is told, the others are counted in the note after it.
        """
        notes: list[tuple[str, bytes]] = []
        for refusal in refusals:
            home, letter = refusal.home, refusal.letter
            untold = self._untold.pop(home, 0)
            if now_us - self._told_us.get(home, -NOTE_EVERY_US) < NOTE_EVERY_US:
                self._untold[home] = untold + refusal.messages
                continue
            self._told_us[home] = now_us
            if refusal.messages > 1:
                self._untold[home] = refusal.messages - 1
            notes.append(
                (
                    wire.reject_topic(*home.split("/")),
                    wire.encode_reject(
                        wire.Reason(letter.reason),
                        letter.detail,
                        letter.topic,
                        letter.payload,
                        now_us // 1000,
                        untold,
                    ),
                )
            )
        self._forget(registry.gateways)
        return notes

    def _forget(self, homes: Mapping[str, object]) -> None:
        for home in self._told_us.keys() - homes.keys():
            del self._told_us[home]
            self._untold.pop(home, None)
