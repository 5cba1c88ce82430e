"""Prints the figures of the store as JSON: writing, bytes per reading, sums, charts.

python benchmarks/store.py                     # a million readings, half a minute
python benchmarks/store.py --rows 100000000    # needs 20 GB and some minutes
python benchmarks/store.py --database-url ...  # on a server of your own, such as with TimescaleDB

Every point reports each 10 s, up to now, for as many days as there are; rows lie in the table as
they would have come: by time, all points in turn.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from hazardloop.devices.instants import microseconds_of
from hazardloop.devices.readings import Quality, Readings, Times
from hazardloop.ingest import rollups
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.repeats import nothing_seen, novelty, see
from hazardloop.service.benches.load import machine
from hazardloop.service.database import Connection, connect, migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres

EACH_US = 10_000_000
STEPS_A_DAY = 86_400_000_000 // EACH_US
BATCH = 5_000
DATABASE = "hazardloop_bench_store"
HEADER, TRAILER = 19, 2
"""Bytes of a binary COPY around its rows."""

REGISTER = """
    INSERT INTO enterprise (code, name) VALUES ('BENCH', 'benchmark');
    INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)
    VALUES (1, 'G', 'G', '', '');
    INSERT INTO device (enterprise_id, gateway_id, code, kind) VALUES (1, 1, 'D', 'tank');
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT 1, 1, 'q' || n, 'm' FROM generate_series(1, {points}) n ORDER BY n"""

Write = Callable[[Connection, Readings], Awaitable[None]]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="readings in the big table")
    parser.add_argument("--days", type=int, default=31, help="over how many days; at most 31")
    parser.add_argument(
        "--written", type=int, default=200_000, help="readings of each way to write"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each way to write")
    parser.add_argument(
        "--charts", type=int, default=20, help="of each kind, each of another point"
    )
    parser.add_argument("--database-url", help="server on which databases may be made")
    parser.add_argument("--part", choices=["writing", "reading"], help="only this")
    given = parser.parse_args()
    with a_server(given.database_url) as server:
        figures: dict[str, Any] = {"machine": machine()}
        if given.part != "reading":
            figures["writing"] = asyncio.run(writing(server, given.written, given.rounds))
        if given.part != "writing":
            with a_database(server) as conninfo:
                figures |= asyncio.run(reading(conninfo, given.rows, given.days, given.charts))
    print(json.dumps(figures, indent=1))


@contextmanager
def a_server(url: str | None) -> Iterator[str]:
    """The given server, else an embedded one as the product starts it."""
    if url:
        yield url
        return
    with TemporaryDirectory(prefix="hazardloop-bench-") as home:
        server = EmbeddedPostgres(Path(home))
        server.start()
        try:
            yield server.conninfo
        finally:
            server.stop()


@contextmanager
def a_database(server: str) -> Iterator[str]:
    """A database at the present schema, dropped afterwards."""
    name = sql.Identifier(DATABASE)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        try:
            conninfo = make_conninfo(server, dbname=DATABASE)
            asyncio.run(migrate(conninfo))
            yield conninfo
        finally:
            connection.execute(sql.SQL("DROP DATABASE {}").format(name))


# --- writing: three ways to store every reading once


async def writing(server: str, rows: int, rounds: int) -> dict[str, Any]:
    """Median rates in batches of 5,000, a commit each, ways in turn within each round."""
    points = 1_000
    first = time.time_ns() // 1000 - rows // points * 1_000_000
    batches = list(batches_of(points, rows, first, 1_000_000))
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for name, (write, preparation) in ways(points).items():
            found.setdefault(name, []).append(
                await asyncio.to_thread(cost_of, server, preparation, write, batches)
            )
    return {
        "readings": rows,
        "rounds": rounds,
        "us_per_reading": {
            name: {kind: round(median(one[kind] for one in costs), 2) for kind in costs[0]}
            for name, costs in found.items()
        },
    }


def ways(points: int) -> dict[str, tuple[Write, str]]:
    """Each way to write, and what it wants to have changed about the table."""
    point_id = np.arange(1, points + 1)

    async def plain(connection: Connection, readings: Readings) -> None:
        late_before_us = await rollups.late_before(connection)
        await reading_store.store_readings(connection, readings, point_id, late_before_us)

    async def staged(connection: Connection, readings: Readings) -> None:
        late_before_us = await rollups.late_before(connection)
        await reading_store.store_new_readings(connection, readings, point_id, late_before_us)

    def filtered(*, twice: bool = False) -> Write:
        newest = nothing_seen(points)

        async def write(connection: Connection, readings: Readings) -> None:
            assert not novelty(readings, newest).doubtful.any()
            see(readings, newest)
            late_before_us = await rollups.late_before(connection)
            await reading_store.store_readings(connection, readings, point_id, late_before_us)
            if twice:
                assert novelty(readings, newest).doubtful.all()
                assert (await reading_store.stored_already(connection, readings, point_id)).all()

        return write

    async def staged_again(connection: Connection, readings: Readings) -> None:
        await staged(connection, readings)
        late_before_us = await rollups.late_before(connection)
        assert not await reading_store.store_new_readings(
            connection, readings, point_id, late_before_us
        )

    lawless = "ALTER TABLE reading DROP CONSTRAINT IF EXISTS reading_pkey"
    common = "CREATE INDEX ON reading (point_id, observed_at)"
    timeless = "DROP INDEX IF EXISTS reading_observed"
    return {
        "copy, no index by point": (plain, lawless),
        "copy, index by point and time that is not unique": (plain, f"{lawless}; {common}"),
        "copy, unique index, no index by time": (plain, timeless),
        "copy, unique index": (plain, ""),
        "newest-time filter, copy, index not unique": (filtered(), f"{lawless}; {common}"),
        "newest-time filter, copy, unique index (ours)": (filtered(), ""),
        "staging, insert on conflict": (staged, ""),
        "ours, and all delivered again": (filtered(twice=True), ""),
        "staging, and all delivered again": (staged_again, ""),
    }


def cost_of(
    server: str, preparation: str, write: Write, batches: list[Readings]
) -> dict[str, float]:
    """Microseconds for each reading in a fresh database: of the clock, and of CPU on both sides."""
    with a_database(server) as conninfo:
        return asyncio.run(_cost(conninfo, preparation, write, batches))


async def _cost(
    conninfo: str, preparation: str, write: Write, batches: list[Readings]
) -> dict[str, float]:
    async def write_all(connection: Connection) -> None:
        for batch in batches:
            async with connection.transaction():
                await write(connection, batch)

    async with await connect(conninfo, "bench") as connection:
        for statement in filter(None, preparation.split(";")):
            await connection.execute(statement.encode())
        took = await measured(connection, write_all(connection))
    return {kind: seconds / sum(map(len, batches)) * 1e6 for kind, seconds in took.items()}


def batches_of(points: int, rows: int, first: int, each_us: int) -> Iterator[Readings]:
    """Rows as they come: all points in turn, instant after instant."""
    for at in range(0, rows, BATCH):
        nth = np.arange(at, min(at + BATCH, rows))
        yield columns((nth % points).astype(np.int32), first + nth // points * each_us, nth)


def columns(row: Any, observed_at: Times, nth: Any) -> Readings:
    """Readings of a quiet signal with every hundredth of them bad."""
    quality = np.where(nth % 100 == 99, int(Quality.OUT_OF_RANGE), 0).astype(np.int16)
    value = np.round(20 + 5 * np.sin(nth / 50_000) + (nth * 7 % 13) / 10, 1)
    return Readings(row, observed_at, observed_at + 80_000, value, quality, row)


# --- reading: a big table, its sums, and charts of it


async def reading(conninfo: str, rows: int, days: int, charts: int) -> dict[str, Any]:
    """Bytes, cost of the sums, and times of charts."""
    points = max(1, rows // (days * STEPS_A_DAY))
    async with await connect(conninfo, "bench") as connection:
        store = await one(connection, "SELECT reading_store()")
        await connection.execute(REGISTER.format(points=points).encode())
        empty = await size(connection)
        loaded = await measured(connection, load(connection, points, days))
        stored = await one(connection, "SELECT count(*) FROM reading")
        raw = await size(connection)
        rolled = await measured(connection, rollups.roll(connection))
        with_sums = await size(connection)
        await connection.execute("ANALYZE")
        say("summed up; charts")
        times = {
            name: await chart_times(connection, points, charts, *kind)
            for name, kind in chart_kinds().items()
        }
        say("squeezed")
        squeezed = await squeeze(connection)
        squeezed_times = {
            name: await chart_times(connection, points, charts, *kind)
            for name, kind in chart_kinds().items()
        } if squeezed else None  # fmt: skip
    return {
        "store": store,
        "readings": stored,
        "points": points,
        "days": days,
        "copied": {key: round(value / stored * 1e6, 2) for key, value in loaded.items()},
        "bytes_per_reading": round((raw - empty) / stored, 1),
        "sums": {
            **{f"{key}_per_million": round(v / stored * 1e6, 2) for key, v in rolled.items()},
            "bytes_per_reading": round((with_sums - raw) / stored, 1),
        },
        "charts_ms": times,
        "compressed": squeezed and {
            "bytes_per_reading": round((squeezed - (with_sums - raw) - empty) / stored, 1),
            "charts_ms": squeezed_times,
        },
    }  # fmt: skip


async def load(connection: Connection, points: int, days: int) -> None:
    """Fills the table up to now, an hour of all points at a time."""
    end = microseconds_of(datetime.now(UTC)) // EACH_US * EACH_US
    first = end - days * STEPS_A_DAY * EACH_US + 3_600_000_000
    point_id, row = np.arange(1, points + 1), np.arange(points, dtype=np.int32)
    steps = np.arange(first, end, EACH_US)
    for nth in range(0, len(steps), 360):
        async with connection.cursor() as cursor, cursor.copy(reading_store.COPY_READINGS) as copy:
            parts = [
                reading_store.copy_rows(
                    columns(row, np.full(points, at), row + at // EACH_US), point_id
                )
                for at in steps[nth : nth + 360]
            ]
            body = b"".join(part[HEADER:-TRAILER] for part in parts)
            await copy.write(b"".join((parts[0][:HEADER], body, parts[0][-TRAILER:])))
        if nth % 36_000 == 0:
            say(f"{nth / len(steps):.0%} loaded")


async def squeeze(connection: Connection) -> int | None:
    """Bytes of the database with all but two days compressed, where the store can do that."""
    if not await one(connection, "SELECT to_regproc('compress_chunk') IS NOT NULL"):
        return None
    await connection.execute(
        "SELECT compress_chunk(c) FROM show_chunks('reading', older_than => interval '1 day') c"
    )
    return await size(connection)


def chart_kinds() -> dict[str, tuple[str, timedelta, Any]]:
    """Question, span and width of each chart."""
    raw, sums = "readings_of(%s, %s, %s, 100000)", "reading_buckets(%s, %s, %s, %s, 100000)"
    day, month = timedelta(days=1), timedelta(days=30)
    return {
        "24 h, every reading": (raw, day, None),
        "24 h in 1 min": (sums, day, timedelta(minutes=1)),
        "24 h in 5 min": (sums, day, timedelta(minutes=5)),
        "30 d in 1 h": (sums, month, timedelta(hours=1)),
    }


async def chart_times(
    connection: Connection, points: int, charts: int, question: str, span: timedelta, width: Any
) -> dict[str, float]:
    """Milliseconds as the api asks it, rows fetched; each of another point, at no round time."""
    chance, times, rows = random.Random(1), [], 0
    until = datetime.now(UTC) - timedelta(minutes=1)
    for point in chance.sample(range(1, points + 1), min(charts, points)):
        arguments = [point, until - span, until, *([width] if width else [])]
        began = time.perf_counter()
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE hazardloop_api")
            await connection.execute("SELECT set_config('hazardloop.scope', '*', true)")
            cursor = await connection.execute(f"SELECT * FROM {question}".encode(), arguments)
            rows = len(await cursor.fetchall())
        times.append((time.perf_counter() - began) * 1000)
    return {"median": round(median(times), 1), "max": round(max(times), 1), "rows": rows}


async def measured(connection: Connection, doing: Awaitable[None]) -> dict[str, float]:
    """Seconds of the clock, of our CPU, and of the server's where that is on this machine."""
    used, ours, began = server_cpu(connection), time.process_time(), time.perf_counter()
    await doing
    seconds = {
        "seconds": time.perf_counter() - began,
        "own_cpu_seconds": time.process_time() - ours,
    }
    now = server_cpu(connection)
    return seconds | ({"server_cpu_seconds": now - used} if used is not None and now else {})


def server_cpu(connection: Connection) -> float | None:
    """Seconds of CPU of the process that serves the connection; None: it is elsewhere."""
    file = Path(f"/proc/{connection.info.backend_pid}/stat")
    if not file.exists() or "postgres" not in (text := file.read_text()):
        return None
    return sum(map(int, text.rpartition(")")[2].split()[11:13])) / 100


async def one(connection: Connection, question: str) -> Any:
    """The only value that `question` gives."""
    row = await (await connection.execute(question.encode())).fetchone()
    assert row is not None
    return row[0]


async def size(connection: Connection) -> int:
    """Bytes of the database on disk."""
    return int(await one(connection, "SELECT pg_database_size(current_database())"))


def say(words: str) -> None:
    """To who waits."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
