"""The whole worker, as it runs in earnest: own broker and database in a temporary home."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final

import paho.mqtt.client as paho
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from hazardloop.devices import wire
from hazardloop.service.benches.load import (
    ENTERPRISE,
    GATEWAYS,
    QUANTITY,
    Load,
    machine,
    register,
    start_ms_of,
)
from hazardloop.service.database import migrate
from hazardloop.service.embedded import ports
from hazardloop.service.embedded.accounts import Account, kept_secret, service_accounts
from hazardloop.service.embedded.child import Child
from hazardloop.service.embedded.doorkeeper import Doorkeeper, embedded_broker
from hazardloop.service.embedded.installation import role_child
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.errors import EmbeddedFailed
from hazardloop.service.gateway_secret import hashed
from hazardloop.service.settings import Settings

HOST: Final = "127.0.0.1"
CONNECTIONS: Final = {"mosquitto": 4, "nats": 8}
READY_WITHIN_S: Final = 60.0
STORED_WITHIN_S: Final = 300.0
PROBE_EACH_S: Final = 0.02
PASSWORD: Final = "bench"  # noqa: S105  of a broker that lives for this benchmark only

LAST_STORED: Final = """
    SELECT count(*) FROM reading JOIN point USING (point_id) JOIN device USING (device_id)
     WHERE code = ANY (%(devices)s) AND observed_at = to_timestamp(%(last_ms)s / 1000.0)"""

STORED: Final = """
    SELECT count(*) FROM reading
     WHERE point_id NOT IN (SELECT point_id FROM point JOIN device USING (device_id)
                             WHERE device.internal)"""
"""What gateways sent; the worker's readings of itself are not part of the load."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Servers and a worker that has subscribed."""

    conninfo: str
    mqtt_port: int
    worker: Child
    broker: Child


def cpu_seconds_of(child: Child) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running(kind: str, load: Load, sync: str) -> AsyncIterator[Bench]:
    """A bench with the load's district registered, and an account that may say anything."""
    with TemporaryDirectory(prefix="hazardloop-bench-") as folder:
        home = Path(folder)
        postgres = EmbeddedPostgres(home)
        children: list[Child] = []
        try:
            postgres.start()
            await migrate(postgres.conninfo)
            register(postgres.conninfo, load)
            port = ports.any_free()
            secret = kept_secret(home, "broker-worker")
            ours = service_accounts(secret, kept_secret(home, "broker-service"))
            broker = embedded_broker(kind, home, HOST, port, sync)
            door = Doorkeeper(broker, postgres.conninfo, [*ours, _anybody()])
            door.launch()
            children.append(broker.child)
            await broker.accepting()
            worker = role_child("worker", _settings(home, postgres.conninfo, port, secret))
            worker.launch()
            children.append(worker)
            await asyncio.wait_for(door.worker_subscribed(), READY_WITHIN_S)
            yield Bench(postgres.conninfo, port, worker, broker.child)
        finally:
            for child in reversed(children):
                child.stop()
            postgres.stop()


def _anybody() -> Account:
    known = hashed(PASSWORD)
    return Account("bench", known.bcrypt, known.pbkdf2, ("hl/v1/#",), ("hl/v1/+/alarm",))


def _settings(home: Path, conninfo: str, port: int, secret: str) -> Settings:
    return Settings(
        home=home, database_url=conninfo, mqtt_url=f"mqtt://worker:{secret}@{HOST}:{port}"
    )


async def bench_pipeline(kind: str, load: Load, rate: float, sync: str) -> dict[str, Any]:
    """From a raw publisher until every row is in the table."""
    async with running(kind, load, sync) as bench:
        start_ms = start_ms_of(load)
        publisher = await _publisher(kind, load, bench.mqtt_port, rate, start_ms)
        cpu, broker_cpu = cpu_seconds_of(bench.worker), cpu_seconds_of(bench.broker)
        told = await _publish(publisher)
        stored_at = await _all_stored(bench, load, start_ms)
        cpu_seconds = cpu_seconds_of(bench.worker) - cpu
        broker_cpu_seconds = cpu_seconds_of(bench.broker) - broker_cpu
        missing = load.readings - _stored(bench.conninfo)
    seconds = stored_at - told["first"]
    return {
        "bench": "pipeline",
        "broker": kind,
        "broker_sync": sync,
        "messages": load.messages,
        "values": load.values,
        "readings": load.readings,
        "missing": missing,
        "seconds": round(seconds, 3),
        "publish_seconds": round(told["confirmed"] - told["first"], 3),
        "messages_per_second": round(load.messages / seconds),
        "readings_per_second": round(load.readings / seconds),
        "cpu_seconds": round(cpu_seconds, 3),
        "messages_per_cpu_second": round(load.messages / cpu_seconds),
        "broker_cpu_seconds": round(broker_cpu_seconds, 3),
        "machine": machine(),
    }


async def bench_latency(kind: str, load: Load, rate: float, sync: str) -> dict[str, Any]:
    """From publishing a reading that must alarm until a subscriber hears of the alarm, under load.

    Probes are points of their own, each raised once, published beside the load.
    """
    seconds = load.messages / rate
    probes = int(seconds / PROBE_EACH_S)
    async with running(kind, load, sync) as bench:
        _register_probes(bench.conninfo, probes)
        await asyncio.sleep(3)  # the worker reads a changed registry within two seconds
        start_ms = start_ms_of(load)
        publisher = await _publisher(kind, load, bench.mqtt_port, rate, start_ms)
        cpu = cpu_seconds_of(bench.worker)
        loading = asyncio.create_task(_publish(publisher))
        delays_ms = await asyncio.to_thread(_probe, bench.mqtt_port, probes)
        told = await loading
        await _all_stored(bench, load, start_ms)
        cpu_seconds = cpu_seconds_of(bench.worker) - cpu
        missing = load.readings + probes - _stored(bench.conninfo)
    cuts = quantiles(delays_ms, n=100)
    return {
        "bench": "latency",
        "broker": kind,
        "broker_sync": sync,
        "messages": load.messages,
        "readings": load.readings,
        "missing": missing,
        "rate_per_second": round(load.messages / (told["confirmed"] - told["first"])),
        "probes": probes,
        "unheard": probes - len(delays_ms),
        "p50_ms": round(median(delays_ms), 1),
        "p99_ms": round(cuts[98], 1),
        "max_ms": round(max(delays_ms), 1),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "machine": machine(),
    }


async def _publisher(
    kind: str, load: Load, port: int, rate: float, start_ms: int
) -> asyncio.subprocess.Process:
    """A publisher that has its packets made and waits for the word."""
    asked = {
        "host": HOST,
        "port": port,
        "username": "bench",
        "password": PASSWORD,
        "connections": CONNECTIONS[kind],
        "messages": load.messages,
        "values": load.values,
        "points": load.points,
        "start_ms": start_ms,
        "rate": rate,
    }
    module = "hazardloop.service.benches.publisher"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, json.dumps(asked)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None  # a pipe was asked for
    if await child.stdout.readline() != b"ready\n":
        raise EmbeddedFailed("the publisher could not connect; see its message above")
    return child


async def _publish(child: asyncio.subprocess.Process) -> dict[str, float]:
    output, _ = await child.communicate(b"go\n")
    if child.returncode:
        raise EmbeddedFailed("the publisher stopped early; see its message above")
    told: dict[str, float] = json.loads(output)
    return told


async def _all_stored(bench: Bench, load: Load, start_ms: int) -> float:
    """When the last message of each gateway was in the table; commits go in order."""
    turns = (load.messages - 1) // GATEWAYS
    last = range(max(0, load.messages - GATEWAYS), load.messages)
    wanted = [number for number in last if number // GATEWAYS == turns]
    arguments = {
        "devices": [load.device(number, load.values - 1) for number in wanted],
        "last_ms": load.observed_ms(wanted[-1], start_ms),
    }
    until = time.monotonic() + STORED_WITHIN_S
    with psycopg.connect(bench.conninfo, autocommit=True) as connection:
        while time.monotonic() < until:
            row = connection.execute(LAST_STORED, arguments).fetchone()
            if row is not None and row[0] == len(wanted):
                return time.time()
            if not bench.worker.runs():
                raise EmbeddedFailed(f"the worker ended: {bench.worker.last_words()}")
            await asyncio.sleep(0.01)
    return time.time()  # some are missing: the count says how many


def _stored(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(STORED).fetchone()
    assert row is not None  # count(*) gives one
    return int(row[0])


def _register_probes(conninfo: str, probes: int) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "INSERT INTO device (enterprise_id, gateway_id, code, kind, expected_interval_s)"
            " SELECT 1, 1, 'PROBE-' || n, 'gas_detector', 86400 FROM generate_series(1, %s) n",
            [probes],
        )
        connection.execute(
            "INSERT INTO point (device_id, enterprise_id, quantity, unit)"
            " SELECT device_id, 1, %s, '%%{LEL}' FROM device WHERE code LIKE 'PROBE-%%'",
            [QUANTITY],
        )


def _probe(port: int, probes: int) -> list[float]:
    """Milliseconds from publish to alarm of every probe whose alarm was heard."""
    sent: dict[str, float] = {}
    heard: dict[str, float] = {}

    def hear(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        heard[json.loads(message.payload)["point"]] = time.perf_counter()

    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench-probe")
    client.username_pw_set("bench", PASSWORD)
    client.on_message = hear
    client.connect(HOST, port)
    client.loop_start()
    client.subscribe(wire.alarm_topic(ENTERPRISE), 1)
    began = time.perf_counter()
    for number in range(1, probes + 1):
        time.sleep(max(0.0, began + number * PROBE_EACH_S - time.perf_counter()))
        code = f"PROBE-{number}.{QUANTITY}"
        payload = wire.encode_telemetry(time.time_ns() // 1_000_000, number, {code: 60.0})
        sent[code] = time.perf_counter()
        client.publish(f"{wire.ROOT}/{ENTERPRISE}/G0/telemetry", payload, qos=1)
    until = time.monotonic() + STORED_WITHIN_S
    while len(heard) < probes and time.monotonic() < until:
        time.sleep(0.05)
    client.disconnect()
    client.loop_stop()
    return [1e3 * (heard[code] - at) for code, at in sent.items() if code in heard]
