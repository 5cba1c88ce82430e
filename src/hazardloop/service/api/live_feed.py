"""What one client of the live stream has still to be told; nothing here waits or sends."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import msgspec

from hazardloop.service.api.alarm_queries import Counts, Facts, compact

MOST_PENDING_BYTES: Final = 2_000_000
"""A client that is further behind starts again from a snapshot."""

encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Op:
    """One alarm put into the live list, or taken out of it; encoded once for all clients."""

    alarm_id: UUID
    enterprise_id: int
    version: int
    text: bytes


def op_of(facts: Facts) -> Op:
    """What has to be done in a live list so that it shows `facts`."""
    if facts.is_open:
        text = b'{"op":"put","a":' + encode(compact(facts)) + b"}"
    else:
        why = "cleared" if facts.case_id is None else "closed"
        text = encode({"op": "del", "id": facts.alarm_id, "ver": facts.version, "why": why})
    return Op(facts.alarm_id, facts.enterprise_id, facts.version, text)


def event(name: str, body: bytes, identity: str | None = None) -> bytes:
    """One server-sent event."""
    told = f"id: {identity}\n" if identity else ""
    return f"{told}event: {name}\ndata: ".encode() + body + b"\n\n"


@dataclass(slots=True)
class Feed:
    """One client: what it has been told, and what waits for it, at most one op per alarm."""

    enterprise_id: int | None
    """Whose alarms it is told of; None = all."""
    epoch: UUID
    told: int
    """The client knows all changes up to this number."""
    reached: int
    """With what is pending it will know all up to this one."""
    _pending: dict[UUID, Op] = field(default_factory=dict)
    _bytes: int = 0
    _reset: str | None = None
    _counts: Counts | None = None
    _counts_told: Counts | None = None

    def offer(self, ops: Iterable[Op], seq: int) -> None:
        """Notes that up to `seq` this happened; the latest of an alarm replaces what waited."""
        for op in ops:
            if self.enterprise_id not in (None, op.enterprise_id):
                continue
            before = self._pending.get(op.alarm_id)
            if before is not None and before.version > op.version:
                continue
            self._bytes += len(op.text) - (len(before.text) if before else 0)
            self._pending[op.alarm_id] = op
        self.reached = max(self.reached, seq)
        if self._bytes > MOST_PENDING_BYTES:
            self.start_over("slow", self.epoch, self.reached)

    def start_over(self, reason: str, epoch: UUID, seq: int) -> None:
        """Has the client take a new snapshot; what it is told after that follows on `seq`."""
        self._pending.clear()
        self._bytes = 0
        self._reset = reason
        self.epoch = epoch
        self.told = self.reached = seq

    @property
    def starting_over(self) -> bool:
        """Whether the client is yet to be told to take a new snapshot."""
        return self._reset is not None

    def offer_counts(self, counts: Counts) -> None:
        """Notes how many are open now."""
        self._counts = counts

    @property
    def waiting(self) -> bool:
        """Whether there is something to tell at once."""
        return bool(self._reset or self._pending or self._counts_changed)

    @property
    def _counts_changed(self) -> bool:
        return self._counts is not None and self._counts != self._counts_told

    def take(self, *, also_empty: bool = False) -> bytes:
        """The events to send now; with `also_empty` the client's position moves on in any case."""
        events = []
        if self._reset is not None:
            events.append(event("reset", encode({"reason": self._reset, "seq": self.told})))
            self._reset = None
        if self._pending or (also_empty and self.reached > self.told):
            ops = b",".join(op.text for op in self._pending.values())
            body = b'{"from":%d,"seq":%d,"ops":[%b]}' % (self.told + 1, self.reached, ops)
            events.append(event("alarms", body, f"{self.epoch}:{self.reached}"))
            self.told = self.reached
            self._pending.clear()
            self._bytes = 0
        if self._counts_changed:
            assert self._counts is not None
            events.append(event("counts", encode(self._counts)[:-1] + b',"seq":%d}' % self.told))
            events += self._turn_of_flood()
            self._counts_told = self._counts
        return b"".join(events)

    def _turn_of_flood(self) -> list[bytes]:
        """A banner where a flood has begun or ended since the client was last told."""
        assert self._counts is not None
        flood = self._counts.flood
        before = self._counts_told.flood if self._counts_told else None
        if flood is None or flood.on == (before is not None and before.on):
            return []
        level = "warning" if flood.on else "info"
        said = {"level": level, "code": "flood", "i18n": "system.flood", "params": flood}
        return [event("system", encode(said))]
