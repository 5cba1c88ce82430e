"""Readings into the table, and messages set aside with the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from psycopg import AsyncConnection

from hazardloop.devices.instants import utc
from hazardloop.devices.readings import (
    BAD,
    Bools,
    Flags,
    Floats,
    Quality,
    Readings,
    Rows,
    Times,
)
from hazardloop.ingest import rollups

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

NEWEST_AT_ONCE: Final = 20_000
"""Points whose newest reading is fetched at once."""
KEPT_PAYLOAD: Final = 4096
"""Bytes of a refused payload that are kept."""
_EPOCH_2000_US: Final = 946_684_800 * 1_000_000
"""PostgreSQL counts its binary timestamps from 2000-01-01T00:00Z."""
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_ROW: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("point_length", ">i4"),
        ("point", ">i4"),
        ("observed_length", ">i4"),
        ("observed", ">i8"),
        ("received_length", ">i4"),
        ("received", ">i8"),
        ("value_length", ">i4"),
        ("value", ">f8"),
        ("quality_length", ">i4"),
        ("quality", ">i2"),
    ]
)
"""A row of COPY's binary format for the columns of `reading`."""
_EMPTY_ROW: Final = np.zeros((), _ROW)
"""One with the sizes of its fields, and nothing in them."""
_EMPTY_ROW["fields"] = 5
for _field in ("point", "observed", "received", "value", "quality"):
    _EMPTY_ROW[f"{_field}_length"] = _ROW[_field].itemsize

COPY_READINGS: Final = """
    COPY reading (point_id, observed_at, received_at, value, quality) FROM STDIN (FORMAT binary)"""

COPY_REPEATS: Final = """
    COPY reading_repeat (point_id, observed_at, received_at, value, quality)
    FROM STDIN (FORMAT binary)"""

MAKE_REPEATS: Final = """
    CREATE TEMPORARY TABLE IF NOT EXISTS reading_repeat (LIKE reading) ON COMMIT DELETE ROWS"""

STORED_ALREADY: Final = """
    SELECT s.nth
      FROM unnest(%(point_id)s::int[], %(observed_us)s::bigint[]) WITH ORDINALITY
           AS s (point_id, observed_us, nth)
      JOIN reading r ON r.point_id = s.point_id
       AND r.observed_at = timestamptz 'epoch' + s.observed_us * interval '1 microsecond'
     WHERE r.observed_at BETWEEN %(first)s AND %(last)s"""

INSERT_REPEATS: Final = """
    INSERT INTO reading SELECT * FROM reading_repeat ON CONFLICT DO NOTHING"""

_NEWEST: Final = """
    SELECT p.point_id, (extract(epoch FROM r.observed_at) * 1e6)::bigint,
           (extract(epoch FROM r.received_at) * 1e6)::bigint, r.value, r.quality
      FROM point p
      CROSS JOIN LATERAL (
           SELECT observed_at, received_at, value, quality FROM reading
            WHERE point_id = p.point_id AND observed_at < %(until)s {usable}
            ORDER BY observed_at DESC LIMIT 1) r"""
NEWEST: Final = _NEWEST.format(usable="")
NEWEST_USABLE: Final = (
    _NEWEST.format(usable="AND quality & %(bad)s = 0") + " WHERE p.point_id = ANY (%(points)s)"
)

_NEWEST_ROW: Final = np.dtype(
    [("point_id", "i4"), ("observed", "i8"), ("received", "i8"), ("value", "f8"), ("quality", "i2")]
)

# Late readings took no part in the course of their point, nor did bad ones.
RECENT: Final = """
    SELECT wanted.point_id, (extract(epoch FROM r.observed_at) * 1e6)::bigint,
           (extract(epoch FROM r.received_at) * 1e6)::bigint, r.value, r.quality
      FROM unnest(%(points)s::int[]) AS wanted (point_id)
      CROSS JOIN LATERAL (
           SELECT observed_at, received_at, value, quality FROM reading
            WHERE point_id = wanted.point_id AND quality & %(unjudged)s = 0
              AND observed_at > now() - interval '1 day'
            ORDER BY observed_at DESC LIMIT 3) r
     ORDER BY wanted.point_id, r.observed_at"""

LATELY: Final = """
    SELECT wanted.nth, (extract(epoch FROM r.observed_at) * 1e6)::bigint, r.value
      FROM unnest(%(points)s::int[], %(since)s::timestamptz[], %(until)s::timestamptz[],
                  %(most)s::int[])
           WITH ORDINALITY AS wanted (point_id, since, until, most, nth)
      CROSS JOIN LATERAL (
           SELECT observed_at, value FROM reading
            WHERE point_id = wanted.point_id AND quality & %(bad)s = 0
              AND observed_at > wanted.since AND observed_at <= wanted.until
            ORDER BY observed_at DESC LIMIT wanted.most) r
     ORDER BY wanted.nth, r.observed_at"""

# A worker that was killed before it could acknowledge gets the message again: it is known.
SET_ASIDE: Final = """
    INSERT INTO dead_letter (received_at, reason, detail, topic, enterprise_id, gateway_id,
                             payload, payload_bytes, readings)
    SELECT received_at, reason, detail, topic, enterprise_id, gateway_id, payload, payload_bytes,
           readings
      FROM unnest(%(received_at)s::timestamptz[], %(reason)s::text[], %(detail)s::text[],
                  %(topic)s::text[], %(enterprise_id)s::int[], %(gateway_id)s::int[],
                  %(payload)s::bytea[], %(payload_bytes)s::int[], %(readings)s::int[],
                  %(again)s::bool[])
           AS s (received_at, reason, detail, topic, enterprise_id, gateway_id, payload,
                 payload_bytes, readings, again)
     WHERE NOT (again AND EXISTS (
           SELECT FROM dead_letter d
            WHERE d.gateway_id IS NOT DISTINCT FROM s.gateway_id AND d.topic = s.topic
              AND d.reason = s.reason AND d.payload_bytes = s.payload_bytes
              AND d.payload = s.payload
              AND d.received_at BETWEEN s.received_at - interval '1 day' AND s.received_at))"""

COUNT_MORE: Final = """
    INSERT INTO dead_letter AS l (received_at, reason, detail, topic, enterprise_id, gateway_id,
                                  payload, payload_bytes, readings, messages, counted)
    SELECT received_at, reason, 'and ' || messages || ' more in this minute', '', enterprise_id,
           gateway_id, '', 0, readings, messages, true
      FROM unnest(%(received_at)s::timestamptz[], %(reason)s::text[], %(enterprise_id)s::int[],
                  %(gateway_id)s::int[], %(messages)s::int[], %(readings)s::int[])
           AS more (received_at, reason, enterprise_id, gateway_id, messages, readings)
    ON CONFLICT (coalesce(gateway_id, 0), reason, received_at) WHERE counted
    DO UPDATE SET messages = l.messages + EXCLUDED.messages,
                  readings = l.readings + EXCLUDED.readings,
                  detail = 'and ' || l.messages + EXCLUDED.messages || ' more in this minute'"""


@dataclass(frozen=True, slots=True)
class CountedLetters:
    """Messages of one gateway, minute and reason that were refused and only counted."""

    received_at: datetime
    """The minute in which they were received."""
    reason: str
    enterprise_id: int | None
    gateway_id: int | None
    messages: int
    readings: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message, or a part of one, that was refused or set aside."""

    received_at: datetime
    reason: str
    detail: str
    topic: str
    enterprise_id: int | None
    """Of the gateway that sent it, where that is known."""
    gateway_id: int | None
    payload: bytes
    """As much as is kept."""
    payload_bytes: int
    readings: int
    again: bool = False
    """The broker says that it sent the message before: it may be here already."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest reading, or some of the newest, of points that have any: equal-length columns."""

    point_id: Rows
    observed_at: Times
    received_at: Times
    value: Floats
    quality: Flags


def copy_rows(readings: Readings, point_id: Rows) -> memoryview:
    """The readings in PostgreSQL's binary COPY format, in the order of their key.

    In that order the index grows page by page, and two workers cannot wait for each other.

    Args:
        readings: n of them.
        point_id: (rows of the registry,) the id of each dense row.
    """
    point = point_id.take(readings.row)
    order = key_order(point, readings.observed_at)
    # Bytes repeated, not records: numpy takes ten times as long to fill a column of records.
    data = bytearray(b"".join((_SIGNATURE, _EMPTY_ROW.tobytes() * len(readings), _TRAILER)))
    rows = np.frombuffer(data, _ROW, len(readings), len(_SIGNATURE))
    rows["point"] = point[order]
    rows["observed"] = readings.observed_at[order] - _EPOCH_2000_US
    rows["received"] = readings.received_at[order] - _EPOCH_2000_US
    rows["value"] = readings.value[order]
    rows["quality"] = readings.quality[order]
    return memoryview(data)  # of which a slice is no copy


def key_order(point: Rows, observed_at: Times) -> npt.NDArray[np.intp] | slice:
    """(n,) places by point, and by time within each point; all of them as they stand, if so."""
    same = point[1:] == point[:-1]
    if ((point[1:] > point[:-1]) | (same & (observed_at[1:] >= observed_at[:-1]))).all():
        return slice(None)  # as nearly always
    return np.lexsort((observed_at, point))


async def store_readings(
    connection: Connection, readings: Readings, point_id: Rows, late_before_us: int
) -> None:
    """Appends readings whose (point, time) is not stored yet. UniqueViolation: one of them is.

    `late_before_us`: what `rollups.late_before` said in this transaction.
    """
    async with connection.cursor() as cursor, cursor.copy(COPY_READINGS) as copy:
        await copy.write(copy_rows(readings, point_id))
    await rollups.note_late(connection, readings, point_id, late_before_us)


async def store_new_readings(
    connection: Connection, readings: Readings, point_id: Rows, late_before_us: int
) -> int:
    """How many of the readings were new; those whose (point, time) was stored are left out."""
    await connection.execute(MAKE_REPEATS)
    async with connection.cursor() as cursor:
        async with cursor.copy(COPY_REPEATS) as copy:
            await copy.write(copy_rows(readings, point_id))
        await cursor.execute(INSERT_REPEATS)
        new = cursor.rowcount
    await rollups.note_late(connection, readings, point_id, late_before_us)
    return new


async def stored_already(connection: Connection, readings: Readings, point_id: Rows) -> Bools:
    """(n,) which of the readings have a (point, time) that is in the table."""
    stored = np.zeros(len(readings), np.bool_)
    if len(readings) == 0:
        return stored
    cursor = await connection.execute(
        STORED_ALREADY,
        {
            "point_id": point_id[readings.row].tolist(),
            "observed_us": readings.observed_at.tolist(),
            "first": utc(int(readings.observed_at.min())),
            "last": utc(int(readings.observed_at.max())),
        },
    )
    stored[[nth - 1 for (nth,) in await cursor.fetchall()]] = True
    return stored


async def newest_readings(connection: Connection, until: datetime) -> Newest:
    """The newest reading of each point before `until`, usable or not."""
    return await _newest(connection, NEWEST, {"until": until})


async def newest_usable(connection: Connection, until: datetime, point_ids: Rows) -> Newest:
    """The newest usable reading before `until` of each of these points."""
    given = {"until": until, "bad": int(BAD), "points": point_ids.tolist()}
    return await _newest(connection, NEWEST_USABLE, given)


async def _newest(connection: Connection, query: str, given: Mapping[str, Any]) -> Newest:
    """Page by page into columns: half a million rows at once would be a gigabyte."""
    pages = [np.empty(0, _NEWEST_ROW)]
    async with connection.transaction():
        await connection.execute("SET LOCAL cursor_tuple_fraction = 1")  # we want it to the end
        async with connection.cursor(name="newest") as cursor:
            await cursor.execute(query, given)
            while page := await cursor.fetchmany(NEWEST_AT_ONCE):
                pages.append(np.array(page, _NEWEST_ROW))
    rows = np.concatenate(pages)
    return Newest(*(np.ascontiguousarray(rows[name]) for name in _NEWEST_ROW.names or ()))


async def recent(connection: Connection, point_ids: Rows) -> Newest:
    """The newest three of a day of each point, leaving out bad and late ones, by rising time."""
    given = {"points": point_ids.tolist(), "unjudged": int(BAD | Quality.LATE)}
    return await _newest(connection, RECENT, given)


async def lately(
    connection: Connection, point_ids: Rows, since: Times, until: Times, most: Rows
) -> tuple[Rows, Times, Floats]:
    """The newest usable readings of each point after `since` and no later than `until`.

    Args:
        connection: whose transaction it is asked in.
        point_ids: (n,) each once.
        since: (n,) us.
        until: (n,) us.
        most: (n,) readings of each.
    Returns: (n,) how many were found of each; their times in us and their values, point by point,
        each by rising time.
    """
    given = {
        "points": point_ids.tolist(),
        "since": [utc(each) for each in since.tolist()],
        "until": [utc(each) for each in until.tolist()],
        "most": most.tolist(),
        "bad": int(BAD),
    }
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(LATELY, given)
        rows = await cursor.fetchall()
    nth = np.array([row[0] for row in rows], np.int64)
    at = np.array([row[1] for row in rows], np.int64)
    value = np.array([row[2] for row in rows], np.float64)
    return np.bincount(nth - 1, minlength=len(point_ids)).astype(np.int32), at, value


async def set_aside(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Keeps dead letters, each payload cut to `KEPT_PAYLOAD` bytes."""
    if not letters:
        return
    await connection.execute(
        SET_ASIDE,
        {
            "received_at": [letter.received_at for letter in letters],
            "reason": [letter.reason for letter in letters],
            "detail": [storable(letter.detail) for letter in letters],
            "topic": [storable(letter.topic) for letter in letters],
            "enterprise_id": [letter.enterprise_id for letter in letters],
            "gateway_id": [letter.gateway_id for letter in letters],
            "payload": [letter.payload[:KEPT_PAYLOAD] for letter in letters],
            "payload_bytes": [letter.payload_bytes for letter in letters],
            "readings": [letter.readings for letter in letters],
            "again": [letter.again for letter in letters],
        },
    )


async def count_more(connection: Connection, counted: Sequence[CountedLetters]) -> None:
    """Adds to the rows that stand for messages set aside without being kept."""
    if counted:
        columns = zip(*map(astuple, counted), strict=True)
        names = [one.name for one in fields(CountedLetters)]
        await connection.execute(COUNT_MORE, dict(zip(names, map(list, columns), strict=True)))


def storable(text: str) -> str:
    """PostgreSQL takes no NUL, and UTF-8 has no lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
