"""What came of each message of a batch, as runs of message numbers: the raw matter of the balance.

A gateway numbers its messages (`seq`). Messages of one gateway that follow each other in number and
came to the same end are one run, so that a batch costs a few rows however many messages it has.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from hazardloop.devices import wire
from hazardloop.devices.instants import MINUTE_US
from hazardloop.devices.readings import Bools, Readings, Rows, Times
from hazardloop.devices.registry import Gateway
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.messages import DUP, RETAIN

Kinds: TypeAlias = npt.NDArray[np.int16]

LARGEST_NUMBER: Final = 2**62
"""A message number beyond is taken for none."""
AGAIN: Final = 1 << 2
"""Bit of a kind: the broker says that it sent the message before (or kept it as retained)."""
UNNUMBERED: Final = 1 << 3
"""Bit of a kind: these messages carry no number; they are only counted."""
FATE: Final = 3
"""Bits of a kind that say what came of the message."""
BALANCED: Final = frozenset(wire.Channel) - {wire.Channel.STATUS}
"""Where a gateway sends what is balanced."""
_SEQ: Final = re.compile(rb'"seq"\s*:\s*(\d{1,18})(?![\d.eE])')


class Fate(IntEnum):
    """What came of a message."""

    STORED = 0
    """At least one reading of it is new in the table; or it held none, and nothing was wrong."""
    DUPLICATE = 1
    """All that it held had been stored before."""
    REJECTED = 2
    """Nothing of it could be stored."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Equal-length columns, one element per run, in the order in which they came."""

    gateway_id: npt.NDArray[np.int32]
    minute: npt.NDArray[np.int32]
    """Minutes since the Unix epoch, of receipt."""
    first: npt.NDArray[np.int64]
    """Number of the first message; the others follow without a gap. 0 where unnumbered."""
    messages: npt.NDArray[np.int32]
    kind: Kinds
    """`Fate`, with the bits AGAIN and UNNUMBERED."""

    def __len__(self) -> int:
        return len(self.first)

    def take(self, which: Bools) -> "Arrivals":
        """The runs that `which`, an (n,) mask, tells."""
        return Arrivals(*(getattr(self, one.name)[which] for one in fields(Arrivals)))

    def runs(self) -> Iterator[tuple[int, int, int, int, int]]:
        """gateway_id, minute, first, messages, kind of each run."""
        columns = (self.gateway_id, self.minute, self.first, self.messages, self.kind)
        return zip(*(column.tolist() for column in columns), strict=True)


def no_arrivals() -> Arrivals:
    """Nothing came."""
    int32 = np.empty(0, np.int32)
    return Arrivals(int32, int32, np.empty(0, np.int64), int32, np.empty(0, np.int16))


def joined(parts: Sequence[Arrivals]) -> Arrivals:
    """The runs of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return no_arrivals()
    return Arrivals(
        *(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Arrivals))
    )


def in_runs(arrivals: Arrivals) -> Arrivals:
    """The same, with runs that continue each other made one; gateway by gateway.

    The order within a gateway stays: what continues what depends on it.
    """
    if len(arrivals) < 2:
        return arrivals
    gateway_id = arrivals.gateway_id
    if (gateway_id[1:] < gateway_id[:-1]).any():
        order = np.argsort(gateway_id, kind="stable")
        arrivals = Arrivals(*(getattr(arrivals, one.name)[order] for one in fields(Arrivals)))
    gateway_id, minute, first = arrivals.gateway_id, arrivals.minute, arrivals.first
    messages, kind = arrivals.messages, arrivals.kind
    follows = first[1:] == first[:-1] + messages[:-1]
    follows |= (kind[1:] & UNNUMBERED) != 0  # these only count
    follows &= (gateway_id[1:] == gateway_id[:-1]) & (minute[1:] == minute[:-1])
    follows &= kind[1:] == kind[:-1]
    starts = np.flatnonzero(np.concatenate(([True], ~follows)))
    return Arrivals(
        gateway_id[starts],
        minute[starts],
        first[starts],
        np.add.reduceat(messages, starts, dtype=np.int32),
        kind[starts],
    )


def fates(messages: int, readings: Readings, new: Readings, refused: Sequence[int]) -> Kinds:
    """(n,) the `Fate` of each message.

    Args:
        messages: n.
        readings: all that could be read and judged usable, repeats among them.
        new: those that are not in the table yet.
        refused: messages of which something was refused.
    """
    fate = np.zeros(messages, np.int16)
    if len(new) == len(readings) and not len(refused):
        return fate
    fate[np.asarray(refused, np.intp)] = Fate.REJECTED
    fate[readings.message] = Fate.DUPLICATE
    fate[new.message] = Fate.STORED
    return fate


class Numbered(Protocol):
    """Columns over every object of a batch that carried a number."""

    @property
    def message(self) -> Rows:
        """(m,) index of its message in the batch."""

    @property
    def gateway_id(self) -> Rows:
        """(m,)"""

    @property
    def seq(self) -> Times:
        """(m,) the number."""


class Senders:
    """Which gateway a topic belongs to, remembered; for one revision of the registry."""

    def __init__(self, gateways: Mapping[str, Gateway]) -> None:
        self._gateways = gateways
        self._known: dict[bytes, int] = {}

    def __call__(self, topic: bytes) -> int:
        """The gateway_id, 0 where there is none, or where the topic is not balanced."""
        found = self._known.get(topic)
        if found is None:
            found = self._look_up(topic)
            if found:  # anybody can make up others, and we keep a line for each
                self._known[topic] = found
        return found

    def _look_up(self, topic: bytes) -> int:
        address = wire.address_of(topic)
        if address is None or address.channel not in BALANCED:
            return 0
        gateway = self._gateways.get(f"{address.enterprise}/{address.gateway}")
        return gateway.gateway_id if gateway else 0


def arrivals_of(
    batch: Batch, numbered: Numbered, fate: Kinds, senders: Senders
) -> tuple[Rows, Arrivals]:
    """Of each number, and of each message without one: its message, and its run of one.

    Args:
        batch: n messages, and its oversized ones; for these the message is -1.
        numbered: every object that carried a number.
        fate: (n,) of each message; objects of one message share it.
        senders: of the registry by which the batch was decoded.
    """
    message, gateway_id, seq = numbered.message, numbered.gateway_id, numbered.seq
    kind = fate | np.where(batch.dup | batch.retained, AGAIN, 0).astype(np.int16)
    minute = (batch.received_at // MINUTE_US).astype(np.int32)
    usable: Bools = (seq >= 0) & (seq <= LARGEST_NUMBER)
    if not usable.all():
        message, gateway_id, seq = message[usable], gateway_id[usable], seq[usable]
    ones = np.ones(len(seq), np.int32)
    arrivals = Arrivals(gateway_id, minute[message], seq, ones, kind[message])
    without = np.ones(len(batch), np.bool_)
    without[message] = False  # an array has several numbers: their count tells nothing
    if not without.any() and not batch.oversized:
        return message, arrivals
    others = list(_others(batch, np.flatnonzero(without).tolist(), minute, kind, senders))
    if not others:
        return message, arrivals
    columns = [np.array(column) for column in zip(*others, strict=True)]
    more = Arrivals(
        columns[1].astype(np.int32),
        columns[2].astype(np.int32),
        columns[3].astype(np.int64),
        np.ones(len(others), np.int32),
        columns[4].astype(np.int16),
    )
    return np.concatenate([message, columns[0].astype(np.int32)]), joined([arrivals, more])


def _others(
    batch: Batch, without: list[int], minute: npt.NDArray[np.int32], kind: Kinds, senders: Senders
) -> Iterator[tuple[int, int, int, int, int]]:
    """Message, gateway_id, minute, number, kind where a number was not read.

    Of broken ones it is looked for in the raw payload.
    """
    for message in without:
        if not (gateway_id := senders(batch.topics[message])):
            continue
        of = int(kind[message])
        numbers = numbers_in(batch.payloads[message]) if of & FATE == Fate.REJECTED else []
        for number, bit in [(one, 0) for one in numbers] or [(0, UNNUMBERED)]:
            yield message, gateway_id, int(minute[message]), number, of | bit
    for large in batch.oversized:
        if not (gateway_id := senders(large.topic)):
            continue
        of = Fate.REJECTED | (AGAIN if large.flags & (DUP | RETAIN) else 0)
        numbers = numbers_in(large.head)
        for number, bit in [(one, 0) for one in numbers] or [(0, UNNUMBERED)]:
            yield -1, gateway_id, int(large.received_at // MINUTE_US), number, of | bit


def numbers_in(payload: bytes) -> list[int]:
    """The message numbers that can still be read in a payload that is broken."""
    return [int(found) for found in _SEQ.findall(payload)]
