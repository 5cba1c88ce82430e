"""A batch of messages to columns of readings, and a reject for whatever could not be taken.

Nothing the field sends can raise here, and one bad value never costs its good neighbours. Plain
messages are read all at once, as columns; every other one is opened by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Wish
from hazardloop.devices.readings import Bools, Flags, Floats, Readings, Rows, Times
from hazardloop.devices.registry import Registry
from hazardloop.ingest.clocks import Stamps
from hazardloop.ingest.judging import (
    Reject,
    by_message_and_reason,
    judge_times,
    judge_values,
    values_said,
)
from hazardloop.ingest.opening import Opened, StatusSaid
from hazardloop.ingest.plain import Plain, read_plain
from hazardloop.ingest.routing import CHANNELS, Routes
from hazardloop.ingest.texts import Places, Texts

SPAN: Final = 512 * 1024
"""Bytes of messages that are read at once, if none of them is larger."""
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
    stamps: Stamps
    """The times that gateways gave to what they said live."""
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
    for each in plain:
        left[each.taken] = False
    opened = Opened()
    for at in np.flatnonzero(left).tolist():
        opened.open(at, topics[at], payloads[at], int(received_at[at]), routes)
    values = [each.values for each in plain]
    if len(opened.values) or not plain:
        values.append(_opened_values(opened, routes.registry))
    said = _together(_Values, values)
    if len(opened.values):
        said = said.take(np.argsort(said.message, kind="stable"))
    return Intake(
        _kept(said, opened.rejects, received_at, routes.registry),
        by_message_and_reason(opened.rejects),
        opened.statuses,
        _noted(Sequences, [each.sequences for each in plain], opened.numbered),
        _noted(Stamps, [each.stamps for each in plain], opened.stamped),
        opened.wishes,
    )


def _spans(payloads: Texts) -> Iterator[slice]:
    """Messages to be read at once: so many that their columns stay in the processor's cache."""
    if len(payloads):
        begin, end = int(payloads.start[0]), int(payloads.end[-1])
        edges = payloads.start.searchsorted(np.arange(begin, max(end, begin + 1), SPAN))
        for start, stop in pairwise(np.unique([*edges, len(payloads)]).tolist()):
            yield slice(start, stop)


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


Columns = TypeVar("Columns", _Values, Sequences, Stamps)
Noted = TypeVar("Noted", Sequences, Stamps)


def _together(form: type[Columns], parts: Sequence[Columns]) -> Columns:
    """All of them as one."""
    if len(parts) == 1:
        return parts[0]
    return form(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in form.__slots__)
    )


@dataclass(frozen=True, slots=True)
class _AtOnce:
    """What the plain messages of known points say, and which they are."""

    taken: Places
    values: _Values
    sequences: Sequences
    stamps: Stamps


def _read_span(part: slice, topics: Texts, payloads: Texts, routes: Routes) -> _AtOnce:
    """What can be read at once of these messages."""
    topics, payloads = topics[part], payloads[part]
    number = routes.find(topics)
    plain = read_plain(payloads, (number >= 0) & (payloads.size <= wire.LARGEST_PAYLOAD))
    number = number[plain.which]
    spread = _spread_over(plain.sizes)
    row = routes.rows[routes.codes.find(spread(number // len(CHANNELS)), plain.codes)]
    good = _fitting(plain, row, spread, routes.registry)
    if not good.all():
        whole = plain.whole(good)
        row, number, plain = row[spread(whole)], number[whole], plain.take(whole)
        spread = _spread_over(plain.sizes)
    taken = plain.which + part.start
    message, at_us = taken.astype(np.int32), plain.ts_ms * 1000
    flags = _FLAGS[number % len(CHANNELS)]
    gateway_id = routes.gateway_id[number // len(CHANNELS)]
    numbered, live = plain.seq >= 0, flags == 0
    values = _Values(
        spread(message),
        row,
        spread(at_us),
        spread(flags),
        plain.value,
        np.zeros(len(row), np.bool_),
    )
    return _AtOnce(
        taken,
        values,
        Sequences(message[numbered], gateway_id[numbered], plain.seq[numbered]),
        Stamps(message[live], gateway_id[live], at_us[live]),
    )


def _spread_over(sizes: Places) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """What gives each value what belongs to its message, which has so many of them."""
    if len(sizes) == sizes.sum():  # one each, as most have
        return lambda column: column
    return lambda column: np.repeat(column, sizes)


def _fitting(
    plain: Plain, row: Rows, spread: Callable[[Places], npt.NDArray[Any]], registry: Registry
) -> Bools:
    """(v,) which values are of a point that takes them and that their message names once."""
    good = row >= 0
    if plain.boolean.any():
        good[plain.boolean & good] = registry.boolean[row[plain.boolean & good]]
    if len(row) > len(plain.which):
        pairs = spread(np.arange(len(plain.which))) << 32 | row
        order = np.argsort(pairs)
        same = pairs[order[1:]] == pairs[order[:-1]]
        good[order[1:][same]] = False
    return good


def _opened_values(opened: Opened, registry: Registry) -> _Values:
    """What was in messages that were opened one by one."""
    message, row = np.array(opened.messages, np.int32), np.array(opened.rows, np.int32)
    observed_at, quality = np.array(opened.at_us, np.int64), np.array(opened.flags, np.int16)
    value, misfit = values_said(
        opened.values, row, observed_at, quality, message, registry, opened.rejects
    )
    return _Values(message, row, observed_at, quality, value, misfit)


def _noted(form: type[Noted], plain: Sequence[Noted], opened: list[tuple[int, int, int]]) -> Noted:
    """What was noted of plain messages and of opened ones, in the order of the messages."""
    message, gateway_id, number = np.array(opened, np.int64).reshape(-1, 3).T
    parts = list(plain)
    parts.append(form(message.astype(np.int32), gateway_id.astype(np.int32), number))
    noted = _together(form, parts)
    if not opened:
        return noted
    order = np.argsort(noted.message, kind="stable")
    return form(*(getattr(noted, column)[order] for column in form.__slots__))


def _kept(said: _Values, rejects: list[Reject], received_at: Times, registry: Registry) -> Readings:
    """What is to be kept, with all that a look at time and value can tell; rejects for the rest."""
    message, row, observed_at, quality, value = (
        said.message, said.row, said.observed_at, said.quality, said.value,
    )  # fmt: skip
    received = received_at[message]
    keep = judge_times(row, observed_at, received, quality, message, registry, rejects)
    keep &= ~said.misfit
    judge_values(row, value, quality, message, keep, registry, rejects)
    readings = Readings(row, observed_at, received, value, quality, message)
    return readings if keep.all() else readings.take(keep)
