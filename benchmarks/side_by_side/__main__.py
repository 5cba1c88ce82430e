"""Three subscribers in turn, over the same broker into the same table, with the same messages.

    python -m benchmarks.side_by_side --messages 100000 --rounds 5

Of each: messages per second of its own CPU and of the clock, what arrived of what was sent, and how
many messages it loses when it is killed (SIGKILL) under load and started again. Prints one JSON
object. Needs Mosquitto on the PATH, and the npm registry for Node-RED (kept in `--modules`).
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import paho.mqtt.client as paho
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.side_by_side import node_red, plain_subscriber
from hazardloop.service.benches.load import Load, machine, register, start_ms_of
from hazardloop.service.database import migrate
from hazardloop.service.embedded import ports
from hazardloop.service.embedded.accounts import Account, kept_secret, service_accounts
from hazardloop.service.embedded.mosquitto import EmbeddedMosquitto
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.gateway_secret import hashed

HOST = "127.0.0.1"
PASSWORD = "bench"
CONNECTIONS = 4
READY_WITHIN_S = 60.0
QUIET_S = 5.0
"""Nothing more arrived for so long: nothing more will."""
KILL_RATE = 8_000.0
"""Messages a second while somebody is killed: what each of the three can follow."""
KILL_MESSAGES = 40_000
STORED = """
    SELECT count(*) FROM reading
     WHERE observed_at >= to_timestamp(%s / 1000.0)
       AND point_id IN (SELECT point_id FROM point JOIN device USING (device_id)
                         WHERE device.code LIKE 'GD-%%')"""


@dataclass(frozen=True, slots=True)
class Servers:
    """The broker and the database, the same for all."""

    home: Path
    conninfo: str
    port: int
    worker_secret: str

    def stored(self, from_ms: int) -> int:
        """Readings of this round: not what the service says of itself, nor those of another."""
        with psycopg.connect(self.conninfo) as connection:
            row = connection.execute(STORED, [from_ms]).fetchone()
        assert row is not None  # count(*) gives one
        return int(row[0])

    def clear(self) -> None:
        """As before the first message: nothing stored, and no session in which the broker keeps
        for one what was sent to another.
        """
        ours = self.home / "worker" / "client_id"
        for name, username, password in (
            (plain_subscriber.CLIENT_ID, "bench", PASSWORD),
            (node_red.CLIENT_ID, "bench", PASSWORD),
            (ours.read_text() if ours.exists() else "nobody", "worker", self.worker_secret),
        ):
            forget_session(self.port, name, username, password)
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute("TRUNCATE reading, process_heartbeat, outbox")
            connection.execute("VACUUM ANALYZE reading")


def forget_session(port: int, client_id: str, username: str, password: str) -> None:
    """Ends the session that the broker keeps under this id."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True)
    client.username_pw_set(username, password)
    answers: list[object] = []
    client.on_connect = lambda *given: answers.append(given)
    client.connect(HOST, port)
    while not answers:
        client.loop(0.1)
    client.disconnect()
    client.loop(0.1)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One of the three."""

    name: str
    acknowledges: str
    command: list[str]
    environment: dict[str, str]
    ready: Callable[[Servers, str], bool]
    """Whether it listens, given its log."""


@asynccontextmanager
async def servers(load: Load) -> AsyncIterator[Servers]:
    """Running, with the district registered."""
    with TemporaryDirectory(prefix="hazardloop-bench-") as folder:
        home = Path(folder)
        postgres = EmbeddedPostgres(home)
        broker = EmbeddedMosquitto(home, HOST, ports.any_free(), "1s")
        try:
            postgres.start()
            await migrate(postgres.conninfo)
            register(postgres.conninfo, load)
            secret = kept_secret(home, "broker-worker")
            ours = service_accounts(secret, kept_secret(home, "broker-service"))
            known = hashed(PASSWORD)
            both = (known.bcrypt, known.pbkdf2)
            anybody = Account("bench", *both, ("hl/v1/#",), ("hl/v1/+/+/telemetry",))
            broker.launch([*ours, anybody])
            await broker.accepting()
            yield Servers(home, postgres.conninfo, broker.port, secret)
        finally:
            broker.child.stop()
            postgres.stop()


def subscribers(at: Servers, modules: Path) -> list[Subscriber]:
    """All three."""
    asked = {"conninfo": at.conninfo, "port": at.port, "username": "bench", "password": PASSWORD}
    start = node_red.install(modules)
    words, environment = node_red.write_flow(modules, asked)
    plain = [sys.executable, "-m", "benchmarks.side_by_side.plain_subscriber", json.dumps(asked)]
    return [
        Subscriber("aiomqtt + executemany", "before it stores", plain, {},
                   lambda _, log: "ready" in log),
        Subscriber("Node-RED, batched inserts", "before it stores", [*start, *words], environment,
                   lambda _, log: "points loaded" in log and "Connected to broker" in log),
        Subscriber("hazardloop worker", "after it stored",
                   [sys.executable, "-m", "hazardloop", "serve", "--role", "worker"],
                   {"HAZARDLOOP_HOME": str(at.home), "HAZARDLOOP_DATABASE_URL": at.conninfo,
                    "HAZARDLOOP_MQTT_URL": f"mqtt://worker:{at.worker_secret}@{HOST}:{at.port}"},
                   lambda servers, _: _worker_listens(servers)),
    ]  # fmt: skip


LISTENS = """
    SELECT 1 FROM process_heartbeat
     WHERE role = 'worker' AND detail->>'broker' = 'connected'
       AND NOT (detail->>'settling')::boolean AND beat_at > now() - interval '2 s'"""


def _worker_listens(at: Servers) -> bool:
    with psycopg.connect(at.conninfo) as connection:
        return bool(connection.execute(LISTENS).fetchone())


@asynccontextmanager
async def running(at: Servers, who: Subscriber) -> AsyncIterator[subprocess.Popen[bytes]]:
    """It has subscribed; ended on the way out."""
    with psycopg.connect(at.conninfo, autocommit=True) as connection:
        connection.execute("TRUNCATE process_heartbeat")
    log = at.home / f"{who.name.split()[0]}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: ASYNC220  a process that outlives this call
            who.command, env=os.environ | who.environment, stdout=output, stderr=output
        )
    try:
        until = time.monotonic() + READY_WITHIN_S
        while not who.ready(at, log.read_text(errors="replace")):
            if child.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{who.name} did not start: {log.read_text()[-2_000:]}")
            await asyncio.sleep(0.1)
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


async def publishing(at: Servers, load: Load, start_ms: int, rate: float) -> Any:
    """A publisher that has its packets made and waits for a line."""
    asked = {
        "host": HOST, "port": at.port, "username": "bench", "password": PASSWORD,
        "connections": CONNECTIONS, "messages": load.messages, "values": load.values,
        "points": load.points, "start_ms": start_ms, "rate": rate,
    }  # fmt: skip
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hazardloop.service.benches.publisher", json.dumps(asked)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None  # a pipe was asked for
    assert await child.stdout.readline() == b"ready\n", "the publisher could not connect"
    return child


async def arrived(at: Servers, wanted: int, from_ms: int) -> tuple[int, float]:
    """How many readings are in the table in the end, and when the last of them was."""
    seen, since = -1, time.time()
    while seen < wanted and time.time() - since < QUIET_S:
        found = at.stored(from_ms)
        if found != seen:
            seen, since = found, time.time()
        await asyncio.sleep(0.02)
    return seen, since


async def measured(at: Servers, who: Subscriber, load: Load) -> dict[str, Any]:
    """One round at full speed."""
    at.clear()
    async with running(at, who) as child:
        start_ms = start_ms_of(load)
        publisher = await publishing(at, load, start_ms, 0.0)
        cpu = cpu_seconds(child.pid)
        output, _ = await publisher.communicate(b"go\n")
        stored, last = await arrived(at, load.readings, start_ms)
        cpu = cpu_seconds(child.pid) - cpu
    return {
        "per_cpu_second": stored / load.values / cpu,
        "per_second": stored / load.values / (last - json.loads(output)["first"]),
        "us_of_cpu": 1e6 * cpu * load.values / max(1, stored),
        "missing": load.readings - stored,
    }


async def lost_when_killed(at: Servers, who: Subscriber, load: Load) -> int:
    """Readings that never arrive when it is killed under load and started again at once."""
    at.clear()
    start_ms = start_ms_of(load)
    async with running(at, who) as child:
        publisher = await publishing(at, load, start_ms, KILL_RATE)
        going = asyncio.create_task(publisher.communicate(b"go\n"))
        await asyncio.sleep(load.messages / KILL_RATE / 2)
        child.kill()
        child.wait()
    async with running(at, who):
        await going
        stored, _ = await arrived(at, load.readings, start_ms)
    return load.readings - stored


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def side_by_side(load: Load, rounds: int, modules: Path) -> dict[str, Any]:
    """The rounds of the three take turns."""
    told: dict[str, list[dict[str, Any]]] = {}
    async with servers(load) as at:
        all_three = subscribers(at, modules)
        for _ in range(rounds):
            for who in all_three:
                told.setdefault(who.name, []).append(await measured(at, who, load))
        killed = Load(KILL_MESSAGES, load.values, load.points)
        lost = {who.name: await lost_when_killed(at, who, killed) for who in all_three}
    figures = {
        who.name: {
            "messages_per_cpu_second": round(median(r["per_cpu_second"] for r in told[who.name])),
            "us_of_cpu_per_message": round(median(r["us_of_cpu"] for r in told[who.name]), 2),
            "messages_per_second": round(median(r["per_second"] for r in told[who.name])),
            "sent": load.readings * rounds,
            "missing": sum(r["missing"] for r in told[who.name]),
            "acknowledges": who.acknowledges,
            "killed_once": {"sent": killed.readings, "lost": lost[who.name]},
        }
        for who in all_three
    }
    ours = figures[all_three[-1].name]["messages_per_cpu_second"]
    return {
        "bench": "side_by_side",
        "messages": load.messages,
        "values": load.values,
        "points": load.points,
        "rounds": rounds,
        "subscribers": figures,
        "ours_over": {
            who.name: round(ours / figures[who.name]["messages_per_cpu_second"], 2)
            for who in all_three[:-1]
        },
        "machine": machine(),
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--values", type=int, default=1)
    parser.add_argument("--points", type=int, default=2_500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--modules", type=Path, help="where npm puts Node-RED; default: forgotten")
    asked = parser.parse_args()
    load = Load(asked.messages, asked.values, asked.points)
    with TemporaryDirectory(prefix="hazardloop-bench-") as folder:
        modules = asked.modules or Path(folder)
        modules.mkdir(parents=True, exist_ok=True)
        print(json.dumps(asyncio.run(side_by_side(load, asked.rounds, modules)), indent=1))


if __name__ == "__main__":
    main()
