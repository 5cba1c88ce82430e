"""How fast history is replayed through rules: columns in memory, and readings out of the store.

    python benchmarks/replay.py --readings 2000000 --points 10000 --rules 5

Rates are of processor seconds of the replaying process; `server_cpu_seconds` are those of
PostgreSQL for the same readings. Prints one JSON object a line.
"""

import argparse
import asyncio
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hazardloop.alarms.hours import LOCAL_TZ
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.devices.readings import Readings
from hazardloop.devices.registry import Registry
from hazardloop.ingest import store as reading_store
from hazardloop.replay.run import Run, Span
from hazardloop.replay.store import readings_between
from hazardloop.service.bench_rules import START_US, bench_registry, bench_rule
from hazardloop.service.benches.load import machine
from hazardloop.service.database import connect, migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres

INTERVAL_US = 10 * US_PER_S
EXCURSIONS = 1e-5
"""Share of the readings that are beyond a limit: 0.1 alarms a day and point."""
PIECE_US = 600 * US_PER_S


def history(readings: int, points: int) -> Readings:
    """Every point each 10 s, its clock a little off the others'."""
    dice = np.random.default_rng(1)
    rounds = readings // points
    row = np.tile(np.arange(points, dtype=np.int32), rounds)
    at = START_US + np.repeat(np.arange(rounds) * INTERVAL_US, points) + row * 7
    value = dice.uniform(40.0, 60.0, len(row))
    value[dice.random(len(row)) < EXCURSIONS] = 99.0
    nothing = np.zeros(len(row), np.int32)
    return Readings(row, at, at + 80_000, value, nothing.astype(np.int16), nothing)


def span_of(said: Readings) -> Span:
    """All of it."""
    start_us = int(said.observed_at.min())
    return Span(start_us, start_us, int(said.observed_at.max()) + 1)


def from_memory(said: Readings, registry: Registry, rules: int) -> dict[str, Any]:
    """Columns handed over at once."""
    span = span_of(said)
    run = Run([bench_rule(nth) for nth in range(rules)], registry, span, LOCAL_TZ)
    start = time.process_time()
    run.take(said, span.end_us)
    found = run.end()
    seconds = time.process_time() - start
    return {
        "bench": "replay_from_memory",
        "readings": len(said),
        "episodes": len(found),
        "cpu_seconds": round(seconds, 3),
        "readings_per_cpu_second": round(len(said) / seconds),
    }


async def from_store(
    conninfo: str, said: Readings, registry: Registry, rules: int
) -> dict[str, Any]:
    """Asked of the table piece by piece."""
    span, read = span_of(said), 0
    run = Run([bench_rule(nth) for nth in range(rules)], registry, span, LOCAL_TZ)
    async with await connect(conninfo, "bench") as connection:
        pid = connection.info.backend_pid
        begun = (time.process_time(), time.perf_counter(), cpu_seconds(pid))
        for at_us in range(span.start_us, span.end_us, PIECE_US):
            until_us = min(at_us + PIECE_US, span.end_us)
            piece = await readings_between(connection, registry.row_of, None, at_us, until_us)
            run.take(piece, until_us)
            read += len(piece)
        found = run.end()
        ended = (time.process_time(), time.perf_counter(), cpu_seconds(pid))
    assert read == len(said), "every reading is replayed"
    cpu, seconds, server = (last - first for first, last in zip(begun, ended, strict=True))
    return {
        "bench": "replay_from_store",
        "readings": read,
        "episodes": len(found),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu, 3),
        "server_cpu_seconds": round(server, 3),
        "readings_per_cpu_second": round(read / cpu),
        "readings_per_cpu_second_of_both": round(read / (cpu + server)),
    }


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def stored(conninfo: str, said: Readings, registry: Registry) -> None:
    """Puts the readings into the table."""
    async with await connect(conninfo, "bench") as connection:
        await connection.execute(
            "SELECT ensure_reading_partitions(to_timestamp(%s)::date, to_timestamp(%s)::date)",
            [int(said.observed_at.min()) // US_PER_S, int(said.observed_at.max()) // US_PER_S],
        )
        async with connection.cursor() as cursor, cursor.copy(reading_store.COPY_READINGS) as copy:
            await copy.write(reading_store.copy_rows(said, registry.point_id))
        await connection.execute("VACUUM ANALYZE reading")


async def main() -> None:
    """Runs both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=2_000_000)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--rules", type=int, default=5, help="each with two limits at every point")
    given = parser.parse_args()
    said, registry = history(given.readings, given.points), bench_registry(given.points)
    told = {"points": given.points, "rules": given.rules, "machine": machine()}
    print(json.dumps(from_memory(said, registry, given.rules) | told), flush=True)
    with TemporaryDirectory(prefix="hazardloop-bench-") as folder:
        server = EmbeddedPostgres(Path(folder), settings={"fsync": "off"})
        server.start()
        try:
            await migrate(server.conninfo)
            await stored(server.conninfo, said, registry)
            found = await from_store(server.conninfo, said, registry, given.rules)
        finally:
            server.stop()
    print(json.dumps(found | told))


if __name__ == "__main__":
    asyncio.run(main())
