"""Parts of the worker on their own: decode, receive, store."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from hazardloop.ingest import packets, rollups
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.batching import BatchLimits, Gathering
from hazardloop.ingest.decoding import Intake, decode
from hazardloop.ingest.messages import Messages
from hazardloop.ingest.mqtt import Session
from hazardloop.ingest.routing import routes_of
from hazardloop.ingest.texts import Texts
from hazardloop.service.benches.load import Load, machine, registry_of, start_ms_of
from hazardloop.service.database import connect, migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres

BATCH: Final = 5_000
ROUNDS: Final = 5
READ_BYTES: Final = 256 * 1024
"""As one read of a socket gives at most."""


def bench_decode(load: Load) -> dict[str, Any]:
    """Payloads to columns: decode, resolve, judge."""
    routes = routes_of(registry_of(load))
    start_ms = start_ms_of(load)
    said = list(load.all_messages(start_ms))
    received = np.full(BATCH, time.time_ns() // 1000)
    batches = [
        (Texts.of(topic.encode() for topic, _ in part), Texts.of(payload for _, payload in part))
        for part in (said[at : at + BATCH] for at in range(0, len(said), BATCH))
    ]

    def once() -> int:
        return sum(
            _good(decode(topics, payloads, received[: len(topics)], routes))
            for topics, payloads in batches
        )

    return _figures("decode", load, once)


def bench_receive(load: Load) -> dict[str, Any]:
    """Bytes of a socket to columns: parse, decode, resolve, judge, and the acknowledgements."""
    routes = routes_of(registry_of(load))
    stream = b"".join(
        packets.publish(topic, payload, qos=1, packet_id=number % 65_535 + 1, protocol=4)
        for number, (topic, payload) in enumerate(load.all_messages(start_ms_of(load)))
    )
    reads = [stream[at : at + READ_BYTES] for at in range(0, len(stream), READ_BYTES)]

    def once() -> int:
        session = Session(4)
        session.receive(b"\x20\x02\x00\x00")
        gathering = Gathering(BatchLimits(BATCH))
        now_us, found = time.time_ns() // 1000, 0
        for nth, data in enumerate(reads):
            for event in session.receive(data, now_us):
                assert isinstance(event, Messages), event
                gathering.add(event, 1, 0.0)
            while gathering.count >= BATCH or (nth == len(reads) - 1 and gathering.count):
                batch = gathering.take()
                intake = decode(batch.topics, batch.payloads, batch.received_at, routes)
                found += _good(intake)
                session.acknowledge(batch.due)
        return found

    return _figures("receive", load, once)


def bench_store(load: Load) -> dict[str, Any]:
    """Columns into the table of an embedded PostgreSQL, a commit for each batch."""
    with TemporaryDirectory(prefix="hazardloop-bench-") as home:
        server = EmbeddedPostgres(Path(home))
        server.start()
        try:
            return asyncio.run(_store(load, server.conninfo))
        finally:
            server.stop()


async def _store(load: Load, conninfo: str) -> dict[str, Any]:
    await migrate(conninfo)
    registry = registry_of(load)
    said = list(load.all_messages(start_ms_of(load)))
    received = np.full(len(said), time.time_ns() // 1000)
    intake = decode(
        Texts.of(t.encode() for t, _ in said),
        Texts.of(p for _, p in said),
        received,
        routes_of(registry),
    )
    async with await connect(conninfo, "bench") as connection:
        began, cpu = time.perf_counter(), time.process_time()
        for at in range(0, len(intake.readings), BATCH):
            part = intake.readings.take(np.arange(at, min(at + BATCH, len(intake.readings))))
            async with connection.transaction():
                late_before_us = await rollups.late_before(connection)
                await reading_store.store_readings(
                    connection, part, registry.point_id, late_before_us
                )
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
        row = await (await connection.execute("SELECT count(*) FROM reading")).fetchone()
    assert row is not None  # count(*) gives one
    return {
        "bench": "store",
        "readings": load.readings,
        "missing": load.readings - int(row[0]),
        "seconds": round(seconds, 3),
        "readings_per_second": round(load.readings / seconds),
        "cpu_seconds": round(cpu_seconds, 3),
        "machine": machine(),
    }


def _good(intake: Intake) -> int:
    assert not intake.rejects, intake.rejects[:3]
    return len(intake.readings)


def _figures(name: str, load: Load, once: Callable[[], int]) -> dict[str, Any]:
    """The median of some rounds, each of which must find every reading."""
    walls, cpus, found = [], [], 0
    for _ in range(ROUNDS):
        began, cpu = time.perf_counter(), time.process_time()
        found = once()
        walls.append(time.perf_counter() - began)
        cpus.append(time.process_time() - cpu)
    seconds, cpu_seconds = median(walls), median(cpus)
    return {
        "bench": name,
        "messages": load.messages,
        "readings": load.readings,
        "missing": load.readings - found,
        "rounds": ROUNDS,
        "seconds": round(seconds, 4),
        "messages_per_second": round(load.messages / seconds),
        "readings_per_second": round(load.readings / seconds),
        "cpu_seconds": round(cpu_seconds, 4),
        "messages_per_cpu_second": round(load.messages / cpu_seconds),
        "machine": machine(),
    }
