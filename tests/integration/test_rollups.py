"""Sums of readings against sums made in Python, whatever happened to the clerk and the readings.

The same on TimescaleDB: set HAZARDLOOP_TEST_DATABASE_URL to such a server.
"""

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.rows import dict_row

from hazardloop.devices.instants import microseconds_of, utc
from hazardloop.devices.readings import BAD, Quality, Readings
from hazardloop.ingest import rollups
from hazardloop.ingest import store as reading_store
from hazardloop.service.database import Connection, connect
from tests import worlds

ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
POINTS = np.array([1, 2, 3], np.int64)
WIDTHS = [timedelta(seconds=10), *(timedelta(minutes=m) for m in (1, 7, 60, 180, 1440))]
SUMMED_UP_TO = (datetime.now(UTC) - timedelta(minutes=6)).replace(minute=0, second=0, microsecond=0)
"""The clerk waits five minutes of an hour for what comes late of the one before it."""
LAST_HOUR = SUMMED_UP_TO - timedelta(hours=1)
"""Begin of an hour that is over, and so is summed up; it stays so while the tests run."""

Told = tuple[int, datetime, float, int]
"""point_id, time, value, quality bits."""


@pytest.fixture
async def conn(database: str) -> AsyncIterator[Connection]:
    """As owner; points 1 to 4 belong to E1, the others to E2."""
    worlds.register(database, {"GD-1": "gas_detector"})
    worlds.register(database, {"GD-1": "gas_detector"}, enterprise="E2")
    async with await connect(database, "test") as connection:
        yield connection


@asynccontextmanager
async def as_api(conn: Connection, scope: str | None) -> AsyncIterator[Connection]:
    async with conn.transaction():
        await conn.execute("SET LOCAL ROLE hazardloop_api")
        if scope is not None:
            await conn.execute("SELECT set_config('hazardloop.scope', %s, true)", [scope])
        yield conn


def some_readings(
    seed: int, since: datetime, until: datetime, each_s: float, *, shift_us: int = 0
) -> list[Told]:
    """Of every point, at about that distance; every tenth is bad; values that add up exactly."""
    chance = random.Random(seed)
    told = []
    for point in POINTS.tolist():
        at = since + timedelta(microseconds=shift_us)
        while at < until:
            bad = chance.random() < 0.1
            quality = int(chance.choice([Quality.NOT_A_NUMBER, Quality.OUT_OF_RANGE])) if bad else 0
            value = math.nan if quality & Quality.NOT_A_NUMBER else chance.randrange(4000) / 4
            told.append((point, at, value, quality | int(chance.choice([0, Quality.LATE]))))
            at += timedelta(seconds=each_s * chance.choice([0.5, 1, 1.5]))
    return told


async def store(conn: Connection, told: Iterable[Told]) -> None:
    """As the worker stores a batch."""
    point, at, value, quality = zip(*told, strict=True)
    n = len(point)
    times = np.array([microseconds_of(one) for one in at])
    readings = Readings(
        np.array(point, np.int32) - 1, times, times, np.array(value), np.array(quality, np.int16),
        np.zeros(n, np.int32),
    )  # fmt: skip
    async with conn.transaction():
        late_before_us = await rollups.late_before(conn)
        await reading_store.store_readings(conn, readings, POINTS, late_before_us)


async def query_one(conn: Connection, question: str) -> Any:
    row = await (await conn.execute(question)).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


async def open_days(conn: Connection, since: datetime, until: datetime) -> None:
    await conn.execute("SELECT ensure_reading_partitions(%s, %s)", [since.date(), until.date()])


async def buckets(
    conn: Connection, point: int, since: datetime, until: datetime, width: timedelta
) -> list[dict[str, Any]]:
    """What the api is told."""
    async with as_api(conn, "*"), conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT * FROM reading_buckets(%s, %s, %s, %s, 100000)", [point, since, until, width]
        )
        return await cursor.fetchall()


def summed(
    told: Iterable[Told], point: int, since: datetime, until: datetime, width: timedelta
) -> list[dict[str, Any]]:
    """The oracle."""
    parts = defaultdict(list)
    for _, at, value, quality in sorted(
        one for one in told if one[0] == point and since <= one[1] < until
    ):
        parts[ORIGIN + (at - ORIGIN) // width * width].append((value, not quality & BAD))
    lines = []
    for start, pairs in sorted(parts.items()):
        good = [value for value, usable in pairs if usable]
        lines.append({
            "start": start, "min": min(good, default=None), "max": max(good, default=None),
            "mean": sum(good) / len(good) if good else None, "last": good[-1] if good else None,
            "count": len(good), "bad": len(pairs) - len(good),
        })  # fmt: skip
    return lines


async def check(conn: Connection, told: list[Told]) -> None:
    """Every width and several spans, aligned and not, give what the oracle gives."""
    first, last = min(one[1] for one in told), max(one[1] for one in told)
    spans = [
        (first, last + timedelta(seconds=1)),
        (first + timedelta(minutes=17, seconds=3), last - timedelta(minutes=31, seconds=7)),
        (LAST_HOUR + timedelta(minutes=20), LAST_HOUR + timedelta(minutes=20, seconds=30)),
    ]
    for point in POINTS.tolist():
        for since, until in spans:
            for width in WIDTHS:
                assert await buckets(conn, point, since, until, width) == summed(
                    told, point, since, until, width
                ), (point, since, until, width)


async def test_buckets_are_exact_before_and_after_summing_and_after_late_readings(
    conn: Connection,
) -> None:
    since, until = LAST_HOUR - timedelta(hours=26), datetime.now(UTC)
    await open_days(conn, since, until)
    told = some_readings(1, since, until, 300)
    await store(conn, told)
    await check(conn, told)
    await rollups.roll(conn)  # the clerk was away for a day
    await check(conn, told)
    fresh = some_readings(2, LAST_HOUR, until, 10, shift_us=1)
    await store(conn, fresh)
    late = some_readings(3, since, until, 4000, shift_us=2)
    await store(conn, late)
    await rollups.roll(conn)
    await check(conn, told + fresh + late)
    await rollups.roll(conn)
    await check(conn, told + fresh + late)


async def test_sums_are_made_again_where_their_mark_was_set_back(conn: Connection) -> None:
    since, until = LAST_HOUR - timedelta(hours=3), LAST_HOUR + timedelta(hours=1)
    await open_days(conn, since, until)
    told = some_readings(9, since, until, 200)
    await store(conn, told)
    await rollups.roll(conn)
    # TimescaleDB keeps no such mark.
    await conn.execute("""
        DO $$ BEGIN IF to_regclass('reading_rollup') IS NOT NULL THEN
            UPDATE reading_rollup SET rolled_to = rolled_to - interval '2 hours';
        END IF; END $$""")
    await rollups.roll(conn)
    await check(conn, told)


async def test_an_hour_that_is_over_is_answered_from_its_sums(conn: Connection) -> None:
    since, until = LAST_HOUR, LAST_HOUR + timedelta(hours=1)
    await open_days(conn, since, until)
    told = some_readings(4, since, until, 60)
    await store(conn, told)
    await rollups.roll(conn)
    await conn.execute("DELETE FROM reading")  # behind the back of everything
    for width in (timedelta(minutes=1), timedelta(hours=1)):
        assert await buckets(conn, 1, since, until, width) == summed(told, 1, since, until, width)


async def test_a_writer_that_commits_while_the_clerk_sums_loses_nothing(
    conn: Connection, database: str
) -> None:
    since, until = LAST_HOUR - timedelta(hours=2), LAST_HOUR + timedelta(hours=1)
    await open_days(conn, since, until)
    told = some_readings(5, since, until, 60)
    first, second = told[::2], told[1::2]
    await store(conn, first)
    async with await connect(database, "test-clerk") as clerk:
        async with conn.transaction():
            await store(conn, second)  # not committed while the clerk goes by
            await rollups.roll(clerk)
        await rollups.roll(clerk)
    await check(conn, told)


async def test_a_clerk_that_dies_again_and_again_leaves_right_sums(
    conn: Connection, database: str
) -> None:
    since, until = LAST_HOUR - timedelta(hours=40), LAST_HOUR + timedelta(hours=1)
    await open_days(conn, since, until)
    told = some_readings(6, since, until, 30)
    await store(conn, told)
    chance = random.Random(6)
    killed = 0
    for _ in range(20):
        async with await connect(database, "test-clerk") as clerk:
            rolling = asyncio.create_task(rollups.roll(clerk))
            await asyncio.wait([rolling], timeout=chance.random() * 0.1)
            await conn.execute("SELECT pg_terminate_backend(%s)", [clerk.info.backend_pid])
            try:
                await rolling
            except psycopg.OperationalError:
                killed += 1
    assert killed
    late = some_readings(7, since, until, 3000, shift_us=1)
    await store(conn, late)
    await rollups.roll(conn)
    await check(conn, told + late)


async def test_readings_leave_when_their_days_are_over_and_their_sums_stay(
    conn: Connection,
) -> None:
    old, new = LAST_HOUR - timedelta(days=20), LAST_HOUR
    await open_days(conn, old, new)
    told = [*some_readings(8, old, old + timedelta(hours=1), 60), (1, new, 5.0, 0)]
    await store(conn, told)
    await rollups.roll(conn)
    days = {"minute_days": 400, "hour_days": 1200}
    await rollups.tend(conn, raw_days=25, **days)
    await conn.execute(
        "CREATE OR REPLACE FUNCTION readings_are_held(first timestamptz, past timestamptz)"
        " RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'"
    )
    assert await rollups.tend(conn, raw_days=10, **days) == 0
    assert await query_one(conn, "SELECT count(*) FROM reading") == len(told)
    await conn.execute(
        "CREATE OR REPLACE FUNCTION readings_are_held(first timestamptz, past timestamptz)"
        " RETURNS boolean LANGUAGE sql STABLE AS 'SELECT false'"
    )
    assert await rollups.tend(conn, raw_days=10, **days) > 0
    assert await query_one(conn, "SELECT count(*) FROM reading") == 1
    hour = old.replace(minute=0), old + timedelta(hours=1)
    for width in (timedelta(minutes=1), timedelta(hours=1)):
        assert await buckets(conn, 1, *hour, width) == summed(told, 1, *hour, width)


async def test_readings_that_nobody_summed_up_are_not_dropped(conn: Connection) -> None:
    at = LAST_HOUR - timedelta(days=20)
    await open_days(conn, at, LAST_HOUR)
    await store(conn, [(1, at, 5.0, 0)])
    await rollups.roll(conn)
    late = at - timedelta(days=5)
    await open_days(conn, late, late)
    await store(conn, [(1, late, 7.0, 0)])
    await rollups.roll(conn)
    await rollups.tend(conn, raw_days=10, minute_days=400, hour_days=1200)
    found = await buckets(conn, 1, late, LAST_HOUR, timedelta(hours=1))
    assert [(one["count"], one["last"]) for one in found] == [(1, 7.0), (1, 5.0)]


async def test_a_tenant_gets_nothing_of_another_through_any_way_of_asking(
    conn: Connection,
) -> None:
    await open_days(conn, LAST_HOUR, LAST_HOUR)
    rows = await (
        await conn.execute("SELECT min(point_id), enterprise_id FROM point GROUP BY 2 ORDER BY 2")
    ).fetchall()
    (mine, me), (theirs, _) = rows
    for point in (mine, theirs):
        await conn.execute("INSERT INTO reading VALUES (%s, %s, now(), 1.0, 0)", [point, LAST_HOUR])
    await rollups.roll(conn)
    span = [LAST_HOUR - timedelta(hours=1), LAST_HOUR + timedelta(hours=1)]
    questions = {
        "newest": ("SELECT count(*) FROM newest_reading(%s, %s)", span[:1]),
        "raw": ("SELECT count(*) FROM readings_of(%s, %s, %s, 10)", span),
        "hours": ("SELECT count(*) FROM reading_buckets(%s, %s, %s, '1 h', 10)", span),
        "minutes": ("SELECT count(*) FROM reading_buckets(%s, %s, %s, '1 min', 10)", span),
        "seconds": ("SELECT count(*) FROM reading_buckets(%s, %s, %s, '1 s', 10)", span),
    }
    for name, (question, arguments) in questions.items():
        for scope, point, expected in [
            (str(me), mine, 1),
            (str(me), theirs, 0),
            ("*", theirs, 1),
            (None, mine, 0),
            ("", mine, 0),
        ]:
            async with as_api(conn, scope):
                answer = await (await conn.execute(question, [point, *arguments])).fetchone()
            assert answer == (expected,), (name, scope, point)
    for deed in (
        "SELECT * FROM reading",
        "SELECT * FROM reading_1min",
        "SELECT * FROM reading_1h",
        "COPY reading TO STDOUT",
        "DELETE FROM reading",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with as_api(conn, "*"):
                await conn.execute(deed)  # type: ignore[arg-type]


async def test_the_database_calls_the_same_readings_bad_as_the_worker(conn: Connection) -> None:
    for quality in [0, *(int(flag) for flag in Quality), int(BAD)]:
        answer = await (
            await conn.execute("SELECT reading_is_bad(%s::smallint, 1.0)", [quality])
        ).fetchone()
        assert answer == (bool(quality & BAD),), Quality(quality)


def test_late_hours_name_each_point_and_hour_once() -> None:
    at = [LAST_HOUR + timedelta(minutes=m) for m in (5, 10, 70, 6)]
    times = np.array([microseconds_of(one) for one in at])
    readings = Readings(
        np.array([0, 0, 0, 1], np.int32), times, times, np.zeros(4), np.zeros(4, np.int16),
        np.zeros(4, np.int32),
    )  # fmt: skip
    points, hours = rollups.late_hours(readings, np.array([7, 9]))
    assert list(zip(points, hours, strict=True)) == [
        (7, LAST_HOUR), (7, LAST_HOUR + timedelta(hours=1)), (9, LAST_HOUR)
    ]  # fmt: skip
    assert utc(microseconds_of(LAST_HOUR)) == LAST_HOUR
