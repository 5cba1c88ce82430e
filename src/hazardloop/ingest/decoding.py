"""A batch of messages to columns of readings, and a reject for whatever could not be taken.

Nothing the field sends can raise here, and one bad value never costs its good neighbours. Plain
messages are read all at once, as columns; every other one is opened by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Wish
from hazardloop.devices.readings import Bools, Flags, Floats, Readings, Rows, Times
from hazardloop.devices.registry import Registry
from hazardloop.ingest.judging import (
    Reject,
    by_message_and_reason,
    judge_times,
    judge_values,
    values_said,
)
from hazardloop.ingest.opening import Opened, StatusSaid
from hazardloop.ingest.plain import Plain, read_plain
from hazardloop.ingest.routing import CHANNELS, OURS, Routes
from hazardloop.ingest.texts import Places, Texts

SPAN: Final = 256 * 1024
"""Bytes of messages that are read at once."""
_FLAGS: Final = np.array([*CHANNELS.values()], np.int16)


@dataclass(frozen=True, slots=True)
class Sequences:
    """The numbers that gateways gave to their messages; columns of equal length.

    message: (m,) index in the batch; gateway_id: (m,); seq: (m,) from 0.
    """

    message: Rows
    gateway_id: Rows
    seq: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Intake:
    """What a batch of messages held."""

    readings: Readings
    rejects: list[Reject]
    statuses: list[StatusSaid]
    sequences: Sequences
    wishes: list[Wish]
    """To be published to gateways."""


def decode(topics: Texts, payloads: Texts, received_at: Times, routes: Routes) -> Intake:
    """Readings, rejects, statuses and sequence numbers of a batch.

    Args:
        topics: (n,) as received.
        payloads: (n,) as received.
        received_at: (n,) us since the Unix epoch.
        routes: of the registry that says whose topics and points they are.
    """
    plain = [_read_span(part, topics, payloads, routes) for part in _spans(payloads)]
    left = np.ones(len(topics), np.bool_)
    for _, _, taken in plain:
        left[taken] = False
    opened = Opened()
    for at in np.flatnonzero(left).tolist():
        opened.open(at, topics[at], payloads[at], int(received_at[at]), routes)
    values = [said for said, _, _ in plain]
    if len(opened.values) or not plain:
        values.append(_opened_values(opened, routes.registry))
    said = _together(_Values, values)
    if len(opened.values):
        said = said.take(np.argsort(said.message, kind="stable"))
    numbers = [*(numbers for _, numbers, _ in plain), _opened_numbers(opened)]
    return _judged(said, opened, _together(Sequences, numbers), received_at, routes.registry)


def _spans(payloads: Texts) -> Iterator[slice]:
    """Messages to be read at once: so many that their columns stay in the processor's cache."""
    if len(payloads):
        size = int(payloads.end[-1] - payloads.start[0])
        step = max(1, len(payloads) * SPAN // max(size, 1))
        for start in range(0, len(payloads), step):
            yield slice(start, start + step)


@dataclass(frozen=True, slots=True)
class _Values:
    """What was said, before anybody judged it; columns of equal length.

    misfit: of a type that the point does not take; there is a reject for it already.
    """

    message: Rows
    row: Rows
    observed_at: Times
    quality: Flags
    value: Floats
    misfit: Bools

    def take(self, which: npt.NDArray[np.intp]) -> "_Values":
        """The values at `which`."""
        return _Values(*(getattr(self, column)[which] for column in self.__slots__))


Columns = TypeVar("Columns", _Values, Sequences)


def _together(form: type[Columns], parts: Sequence[Columns]) -> Columns:
    """All of them as one."""
    if len(parts) == 1:
        return parts[0]
    return form(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in form.__slots__)
    )


def _read_span(
    part: slice, topics: Texts, payloads: Texts, routes: Routes
) -> tuple[_Values, Sequences, Places]:
    """What the plain messages of known points say, what they are numbered, and which they are."""
    topics, payloads = topics[part], payloads[part]
    number = routes.topics.find(np.full(len(topics), OURS), topics)
    plain = read_plain(payloads, (number >= 0) & (payloads.size <= wire.LARGEST_PAYLOAD))
    number = number[plain.which]
    of_message = np.repeat(np.arange(len(number)), plain.sizes)
    group = (number // len(CHANNELS)).astype(np.int64)[of_message]
    row = routes.rows[routes.codes.find(group, plain.codes)]
    plain, row, of_message, number = _of_known_points(plain, row, of_message, number, routes)
    taken = plain.which + part.start
    message = taken.astype(np.int32)
    said = _Values(
        message[of_message],
        row,
        (plain.ts_ms * 1000)[of_message],
        _FLAGS[number % len(CHANNELS)][of_message],
        plain.value,
        np.zeros(len(row), np.bool_),
    )
    numbered = plain.seq >= 0
    gateway_id = routes.gateway_id[number[numbered] // len(CHANNELS)]
    return said, Sequences(message[numbered], gateway_id, plain.seq[numbered]), taken


def _of_known_points(
    plain: Plain, row: Rows, of_message: Places, number: Rows, routes: Routes
) -> tuple[Plain, Rows, Places, Rows]:
    """Only the messages in which each value is of a point that takes it, and no two of the same."""
    good = row >= 0
    good[good] = ~plain.boolean[good] | routes.registry.boolean[row[good]]
    if len(row) > len(number):
        good &= ~_said_twice(of_message, row)
    if good.all():
        return plain, row, of_message, number
    whole = np.ones(len(number), np.bool_)
    whole[of_message[~good]] = False
    plain, row, number = plain.take(whole), row[whole[of_message]], number[whole]
    return plain, row, np.repeat(np.arange(len(number)), plain.sizes), number


def _said_twice(of_message: Places, row: Rows) -> Bools:
    """(v,) which values are of a point that their message names before or again."""
    order = np.argsort(of_message << 32 | row)
    same = (of_message[order[1:]] == of_message[order[:-1]]) & (row[order[1:]] == row[order[:-1]])
    twice = np.zeros(len(row), np.bool_)
    twice[order[1:][same]] = True
    return twice


def _opened_values(opened: Opened, registry: Registry) -> _Values:
    """What was in messages that were opened one by one."""
    message, row = np.array(opened.messages, np.int32), np.array(opened.rows, np.int32)
    observed_at, quality = np.array(opened.at_us, np.int64), np.array(opened.flags, np.int16)
    value, misfit = values_said(
        opened.values, row, observed_at, quality, message, registry, opened.rejects
    )
    return _Values(message, row, observed_at, quality, value, misfit)


def _opened_numbers(opened: Opened) -> Sequences:
    message, gateway_id, seq = np.array(opened.numbered, np.int64).reshape(-1, 3).T
    return Sequences(message.astype(np.int32), gateway_id.astype(np.int32), seq)


def _judged(
    said: _Values, opened: Opened, sequences: Sequences, received_at: Times, registry: Registry
) -> Intake:
    """What is to be kept, with all that a look at time and value can tell."""
    message, row, observed_at, quality, value = (
        said.message, said.row, said.observed_at, said.quality, said.value,
    )  # fmt: skip
    received, rejects = received_at[message], opened.rejects
    keep = judge_times(row, observed_at, received, quality, message, registry, rejects)
    keep &= ~said.misfit
    judge_values(row, value, quality, message, keep, registry, rejects)
    readings = Readings(row, observed_at, received, value, quality, message)
    return Intake(
        readings if keep.all() else readings.take(keep),
        by_message_and_reason(rejects),
        opened.statuses,
        sequences,
        opened.wishes,
    )
