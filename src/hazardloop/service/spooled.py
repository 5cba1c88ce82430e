"""A piece of work as bytes for the spool, and back.

Points go by their ids, not by rows: the registry may be another one when the piece is read. A field
that is added later gets a default, so that what an older program spooled can still be read.
"""

from dataclasses import fields, replace

import msgspec
import numpy as np

from hazardloop.alarms.alarm import Change, ChangeKind
from hazardloop.alarms.evaluation import Find, Outcome
from hazardloop.alarms.memory import CellRow
from hazardloop.devices.instants import utc
from hazardloop.devices.readings import Bools, Readings, no_readings
from hazardloop.devices.registry import Registry
from hazardloop.devices.wire import Reason
from hazardloop.ingest.arrivals import Arrivals, no_arrivals
from hazardloop.ingest.opening import StatusSaid
from hazardloop.ingest.retries import RetryOutcome
from hazardloop.ingest.store import CountedLetters, DeadLetter
from hazardloop.service.work import Aside, SpokenAgain, Work


class _Columns(msgspec.Struct, array_like=True):
    """Columns of n readings as little-endian bytes."""

    point_id: bytes
    observed_at: bytes
    received_at: bytes
    value: bytes
    quality: bytes
    message: bytes


class _Work(msgspec.Struct):
    readings: _Columns
    changes: list[Change]
    cells: list[CellRow]
    letters: list[DeadLetter]
    statuses: list[StatusSaid]
    duplicates: int = 0
    arrivals: list[bytes] = []
    counted: list[CountedLetters] = []
    retries: list[RetryOutcome] = []


class _Aside(msgspec.Struct):
    readings: _Columns
    messages: list[SpokenAgain]
    finds: list[tuple[int, Find]]
    arrivals: list[bytes] = []
    place: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_decode_work = msgspec.msgpack.Decoder(_Work).decode
_decode_aside = msgspec.msgpack.Decoder(_Aside).decode


def pack_work(work: Work) -> bytes:
    """All of `work` that becomes durable, but for its aside."""
    return _encode(
        _Work(
            _columns(work.readings, work.registry),
            list(work.outcome.changes),
            list(work.outcome.cells),
            [_sayable(letter) for letter in work.letters],
            [replace(s, firmware=_text(s.firmware)) for s in work.statuses],
            work.duplicates,
            _runs(work.arrivals),
            work.counted,
            work.retries,
        )
    )


def unpack_work(body: bytes, registry: Registry) -> Work:
    """The work over the rows of `registry`; what a point no longer there said is set aside.

    Raises msgspec.DecodeError: the bytes are not a work.
    """
    said = _decode_work(body)
    readings, known = _readings(said.readings, registry)
    lost = int(np.count_nonzero(~known))
    letters = [*said.letters, _removed(lost, said.readings)] if lost else said.letters
    changes = (_placed(change, registry) for change in said.changes)
    return Work(
        registry,
        Outcome(
            tuple(change for change in changes if change is not None),
            tuple(c for c in said.cells if registry.row_of.get(c.point_id) is not None),
        ),
        readings=readings,
        letters=letters,
        statuses=said.statuses,
        duplicates=said.duplicates,
        arrivals=_arrivals(said.arrivals),
        counted=said.counted,
        retries=said.retries,
    )


def pack_aside(aside: Aside, registry: Registry) -> bytes:
    """The aside, whose rows are those of `registry`."""
    return _encode(
        _Aside(
            _columns(aside.readings, registry),
            list(aside.messages),
            list(aside.finds),
            _runs(aside.arrivals),
            aside.place.astype("<i4").tobytes(),
        )
    )


def unpack_aside(body: bytes, registry: Registry) -> Aside:
    """The aside over the rows of `registry`; points that are no longer there are left out.

    Raises msgspec.DecodeError: the bytes are not an aside.
    """
    said = _decode_aside(body)
    readings, known = _readings(said.readings, registry)
    place = np.cumsum(known) - 1
    finds: list[tuple[int, Find]] = []
    for nth, find in said.finds:
        raised, cleared = _placed(find.raised, registry), _placed(find.cleared, registry)
        if raised is not None and cleared is not None:
            finds.append((int(place[nth]), Find(raised, cleared)))
    return Aside(
        readings,
        tuple(said.messages),
        finds=tuple(finds),
        arrivals=_arrivals(said.arrivals),
        place=np.frombuffer(said.place, "<i4").astype(np.int32),
    )


def _runs(arrivals: Arrivals) -> list[bytes]:
    """Each column of the runs as little-endian bytes."""
    columns = (getattr(arrivals, one.name) for one in fields(Arrivals))
    return [column.astype(column.dtype.newbyteorder("<")).tobytes() for column in columns]


def _arrivals(columns: list[bytes]) -> Arrivals:
    nothing = no_arrivals()
    kinds = [getattr(nothing, one.name).dtype for one in fields(Arrivals)]
    if not columns:
        return nothing
    return Arrivals(
        *(
            np.frombuffer(column, kind.newbyteorder("<")).astype(kind)
            for column, kind in zip(columns, kinds, strict=True)
        )
    )


def _columns(readings: Readings, registry: Registry) -> _Columns:
    return _Columns(
        registry.point_id[readings.row].astype("<i4").tobytes(),
        readings.observed_at.astype("<i8").tobytes(),
        readings.received_at.astype("<i8").tobytes(),
        readings.value.astype("<f8").tobytes(),
        readings.quality.astype("<i2").tobytes(),
        readings.message.astype("<i4").tobytes(),
    )


def _readings(columns: _Columns, registry: Registry) -> tuple[Readings, Bools]:
    """The readings of points that are registered, and (n,) which of all they are."""
    point_id = np.frombuffer(columns.point_id, "<i4")
    if not len(point_id):
        return no_readings(), np.zeros(0, np.bool_)
    unique, place = np.unique(point_id, return_inverse=True)
    find = registry.row_of.get
    row = np.array([find(one, -1) for one in unique.tolist()], np.int32)[place]
    known: Bools = row >= 0
    readings = Readings(
        row,
        np.frombuffer(columns.observed_at, "<i8").astype(np.int64),
        np.frombuffer(columns.received_at, "<i8").astype(np.int64),
        np.frombuffer(columns.value, "<f8").astype(np.float64),
        np.frombuffer(columns.quality, "<i2").astype(np.int16),
        np.frombuffer(columns.message, "<i4").astype(np.int32),
    )
    return (readings if known.all() else readings.take(known)), known


def _placed(change: Change, registry: Registry) -> Change | None:
    """The change with the row its point has now; None: an alarm cannot be raised without one."""
    row = registry.row_of.get(change.point_id, -1)
    return None if row < 0 and change.kind is ChangeKind.RAISED else replace(change, row=row)


def _removed(count: int, columns: _Columns) -> DeadLetter:
    first_us = int(np.frombuffer(columns.received_at, "<i8").min())
    detail = "the point was removed while what it said waited for the database"
    return DeadLetter(
        utc(first_us), str(Reason.UNKNOWN_POINT), detail, "", None, None, b"", 0, count
    )


def _sayable(letter: DeadLetter) -> DeadLetter:
    return replace(letter, detail=_text(letter.detail) or "", topic=_text(letter.topic) or "")


def _text(text: str | None) -> str | None:
    """UTF-8 has no lone surrogates; a gateway's JSON may."""
    return None if text is None else text.encode("utf-8", "replace").decode()
