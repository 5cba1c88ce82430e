"""When a batch is full, and what is in it. No clock: instants are arguments."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from hazardloop.devices.readings import Bools, Times
from hazardloop.ingest import texts
from hazardloop.ingest.messages import DUP, RETAIN, Messages, Oversized
from hazardloop.ingest.packets import PacketIds
from hazardloop.ingest.texts import Texts

DUE_NOW: Final = float("-inf")
PATIENCE: Final = 3
"""A batch costs as much beside its messages as two thousand of them: decision 29."""
LEAD_US: Final = 1_000_000
"""So far instants may run ahead of the clock; if it was set back by more, they go back with it."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is due once one of these is reached; all are at least 1 (message, byte) or >= 0 s.

    max_messages: never more than these in a batch.
    max_age_s: since the first message of the batch was received; `PATIENCE` times as long where
        many come, which is then a fraction of what a batch costs beside its messages.
    max_bytes: on the wire; overshot by what one read of the socket gave. Columns of more readings
        than such a batch holds leave the processor's cache, and each reading costs twice as much.
    """

    max_messages: int = 5000
    max_age_s: float = 0.05
    max_bytes: int = 512 << 10

    @property
    def many_bytes(self) -> int:
        """So many within `max_age_s` are many: some 13,000 messages of one value in a second."""
        return self.max_bytes // 6


@dataclass(slots=True)
class Batch:
    """Messages of one connection, in the order they came.

    number: 1, 2, 3, ... in one subscription.
    generation: which connection they came on.
    topics, payloads, flags: (n,) as in `Messages`.
    received_at: (n,) microseconds since 1970-01-01T00:00Z, one reading of the clock per read of
        the socket, and one more for each message: no two messages of a subscription share an
        instant, because it stands in for the time that a message may lack.
    oversized: messages over the packet limit, to be set aside as `too_large`.
    due: (m,) packet ids to acknowledge, in the order they came, those of `oversized` among them.
    wire_bytes: that all of them took on the wire, without the oversized ones.
    """

    number: int
    generation: int
    topics: Texts = field(default_factory=lambda: Texts.of(()))
    payloads: Texts = field(default_factory=lambda: Texts.of(()))
    flags: bytes = b""
    received_at: Times = field(default_factory=lambda: np.empty(0, np.int64))
    oversized: list[Oversized] = field(default_factory=list)
    due: PacketIds = field(default_factory=lambda: np.empty(0, np.intp))
    wire_bytes: int = 0

    def __len__(self) -> int:
        """How many messages, without the oversized ones."""
        return len(self.topics)

    @property
    def dup(self) -> Bools:
        """(n,) sent once before, as the broker says; tells nothing about what we have stored."""
        dup: Bools = self._bits(DUP) != 0
        return dup

    @property
    def sent_again(self) -> bool:
        """Whether any of them, or of the oversized, is marked as sent before."""
        return bool(self.dup.any()) or any(large.flags & DUP for large in self.oversized)

    @property
    def retained(self) -> Bools:
        """(n,) the last word on its topic from before we subscribed."""
        retained: Bools = self._bits(RETAIN) != 0
        return retained

    def _bits(self, mask: int) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.flags, np.uint8) & np.uint8(mask)


def together(batches: Sequence[Batch]) -> Batch:
    """What is in all of them, in order, to be looked at as one; acknowledge each by itself."""
    first = batches[0]
    if len(batches) == 1:
        return first
    return Batch(
        first.number,
        first.generation,
        *texts.together([(batch.topics, batch.payloads) for batch in batches]),
        b"".join(batch.flags for batch in batches),
        np.concatenate([batch.received_at for batch in batches]),
        [large for batch in batches for large in batch.oversized],
        np.concatenate([batch.due for batch in batches]),
    )


@dataclass(slots=True)
class _Piece:
    """What one read of the socket gave, and when (seconds of the caller's own clock)."""

    content: Messages | Oversized
    generation: int
    at: float

    @property
    def count(self) -> int:
        return len(self.content) if isinstance(self.content, Messages) else 1

    @property
    def size(self) -> int:
        return self.content.wire_bytes if isinstance(self.content, Messages) else 0


class Gathering:
    """Messages on their way into batches; nothing is dropped and nothing overtakes."""

    def __init__(self, limits: BatchLimits) -> None:
        """ValueError: limits that can never be met."""
        if limits.max_messages < 1 or limits.max_bytes < 1 or limits.max_age_s < 0:
            raise ValueError(f"batch limits {limits} allow no message")
        self._limits = limits
        self._pieces: deque[_Piece] = deque()
        self._bytes = 0
        self._taken = 0
        self._last_instant = -1
        self._age_s = limits.max_age_s
        """Of the batch that gathers now."""
        self.count = 0  # messages waiting, oversized ones among them

    def add(self, content: Messages | Oversized, generation: int, now: float) -> None:
        """Take in what came on that connection; `now` in seconds, of any clock that only rises."""
        piece = _Piece(content, generation, now)
        self._pieces.append(piece)
        self.count += piece.count
        self._bytes += piece.size

    @property
    def due_at(self) -> float | None:
        """When a batch is due if nothing more comes; DUE_NOW: at once; None: nothing waits."""
        if not self._pieces:
            return None
        limits = self._limits
        if self.count >= limits.max_messages or self._bytes >= limits.max_bytes:
            return DUE_NOW
        if self._pieces[-1].generation != self._pieces[0].generation:
            return DUE_NOW
        return self._pieces[0].at + self._age_s

    def take(self) -> Batch:
        """The next batch, of one connection and within the limits; empty if nothing waits."""
        self._taken += 1
        generation = self._pieces[0].generation if self._pieces else 0
        parts: list[Messages] = []
        due = []
        batch = Batch(self._taken, generation)
        room, size = self._limits.max_messages, 0
        first_at = last_at = self._pieces[0].at if self._pieces else 0.0
        while self._pieces and room > 0 and size < self._limits.max_bytes:
            if self._pieces[0].generation != generation:
                break
            piece = self._next(room)
            room -= piece.count
            size += piece.size
            last_at = piece.at
            if isinstance(piece.content, Oversized):
                batch.oversized.append(piece.content)
                due.append(np.array([piece.content.packet_id], np.intp))
            else:
                parts.append(piece.content)
                due.append(piece.content.packet_ids)
        _join(parts, batch)
        batch.due = np.concatenate(due) if due else batch.due
        batch.wire_bytes = size
        self._age_s = self._age_after(size, last_at - first_at)
        self._tell_apart(batch.received_at)
        return batch

    def _age_after(self, size: int, span_s: float) -> float:
        """How long the next batch may gather, after one of so many bytes that came in that time."""
        limits = self._limits
        many = size * limits.max_age_s >= limits.many_bytes * max(span_s, limits.max_age_s)
        return limits.max_age_s * (PATIENCE if many else 1)

    def _tell_apart(self, received_at: Times) -> None:
        """Makes the instants rise strictly, within the batch and from batch to batch.

        Not over a clock that was set back: else they would stand still until it has caught up.
        """
        if len(received_at):
            np.maximum.accumulate(received_at, out=received_at)
            received_at += np.arange(len(received_at))
            behind = self._last_instant + 1 - int(received_at[0])
            if 0 < behind <= LEAD_US:
                received_at += behind
            self._last_instant = int(received_at[-1])

    def _next(self, room: int) -> _Piece:
        """The first piece, or as much of it as there is room for."""
        piece = self._pieces.popleft()
        if isinstance(piece.content, Messages) and piece.count > room:
            rest = _split(piece.content, room)
            self._pieces.appendleft(_Piece(rest, piece.generation, piece.at))
        self.count -= piece.count
        self._bytes -= piece.size
        return piece


def _split(messages: Messages, count: int) -> Messages:
    """Leave the first `count` messages in `messages` and give the rest; wire bytes by share."""
    size = messages.wire_bytes * count // len(messages)
    rest = Messages(
        messages.topics[count:],
        messages.payloads[count:],
        messages.packet_ids[count:],
        messages.flags[count:],
        messages.received_at,
        messages.wire_bytes - size,
    )
    messages.topics, messages.payloads = messages.topics[:count], messages.payloads[:count]
    messages.packet_ids = messages.packet_ids[:count]
    messages.flags = messages.flags[:count]
    messages.wire_bytes = size
    return rest


def _join(parts: list[Messages], batch: Batch) -> None:
    batch.topics, batch.payloads = texts.together([(part.topics, part.payloads) for part in parts])
    batch.flags = b"".join(part.flags for part in parts)
    instants = np.array([part.received_at for part in parts], np.int64)
    batch.received_at = np.repeat(instants, np.array([len(part) for part in parts], np.intp))
