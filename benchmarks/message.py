"""What a message costs a worker: CPU of its own, from the bytes of the socket to the commit.

    python -m benchmarks.message --batches 650 1950 4000 --values 1 50 --beside /another/checkout

In a process of its own a worker as it runs in earnest, without the sockets of the broker: packets
are parsed, gathered, decoded, cleared of repeats, judged, evaluated by five rules a point,
committed to PostgreSQL and acknowledged. Another checkout, if one is given, takes its turn in
each round against the same server, so that other work on the machine meets both alike. Prints one
JSON object: medians of the rounds in us of CPU, a reading where a message has many values.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg
import uvloop
import yaml

from hazardloop.alarms.annunciation import Annunciator, BrokerAddress
from hazardloop.ingest import packets
from hazardloop.ingest.batching import Batch, BatchLimits, Gathering
from hazardloop.ingest.messages import Messages
from hazardloop.ingest.mqtt import Session
from hazardloop.ingest.options import SubscriptionOptions
from hazardloop.ingest.spool import Spool
from hazardloop.ingest.subscription import Subscription
from hazardloop.service.benches.load import Load, machine, register
from hazardloop.service.database import BriskConnection, migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.keeping import Keeper
from hazardloop.service.pipeline import Worker
from hazardloop.service.self_watch import SelfWatch
from hazardloop.service.settings import Settings
from hazardloop.service.snapshots import Snapshots
from hazardloop.service.starting import started

READS: Final = 10
"""A batch comes in so many reads of the socket, as 150 ms with a rest of 15 ms between them."""
POINTS: Final = 5_000
RULES: Final = 5
OWN_RULE: Final = """
id: bench.r{n}
kind: threshold
quantity: lel
name: {{zh: 基准, en: benchmark}}
{side}: {{yellow: {yellow}, orange: {orange}}}
deadband: 2
off_delay_s: 10
source: benchmark
confidence: house
guidance: {{zh: 基准, en: benchmark}}"""
STAGES: Final = ("receive", "evaluate", "commit", "acknowledge")


@dataclass(frozen=True, slots=True)
class Size:
    """How many values a message has, and how many messages a batch."""

    values: int
    batch: int

    def __str__(self) -> str:
        """As a name among the figures."""
        return f"{self.batch} x {self.values}"


def main() -> None:
    """Measures, or is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--batches", type=int, nargs="+", default=[650, 1_950, 4_000])
    parser.add_argument("--many", type=int, nargs="*", default=[150], help="batches of 50 values")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=40_000, help="in a round, of one value")
    parser.add_argument("--beside", type=Path, help="another checkout to be measured in turns")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        uvloop.run(_child(**json.loads(given.child)))
        return
    sizes = [Size(1, each) for each in given.batches] + [Size(50, each) for each in given.many]
    print(json.dumps(_all(sizes, given.rounds, given.messages, given.beside), indent=1))


def _all(sizes: list[Size], rounds: int, messages: int, beside: Path | None) -> dict[str, Any]:
    here = Path(__file__).parents[1]
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    with TemporaryDirectory(prefix="hazardloop-bench-") as folder:
        server = EmbeddedPostgres(Path(folder))
        server.start()
        children: dict[str, subprocess.Popen[str]] = {}
        try:
            for name, checkout in (("here", here), ("beside", beside)):
                if checkout is not None:
                    children[name] = _started(name, checkout, server.conninfo, folder)
                    found[name] = {str(size): [] for size in sizes}
            for _ in range(rounds):
                for size in sizes:
                    for name, child in children.items():
                        asked = {"values": size.values, "batch": size.batch, "messages": messages}
                        found[name][str(size)].append(_told(child, json.dumps(asked)))
        finally:
            for child in children.values():
                child.kill()
                child.wait()
            server.stop()
    figures = {
        name: {size: _medians(each) for size, each in of.items()} for name, of in found.items()
    }
    ratios = {
        str(size): round(
            median(
                ours["all"] / theirs["all"]
                for ours, theirs in zip(
                    found["here"][str(size)], found["beside"][str(size)], strict=True
                )
            ),
            3,
        )
        for size in (sizes if beside else ())
    }
    return {"bench": "message", "us": figures, "ratio": ratios, "machine": machine()}


def _started(name: str, checkout: Path, conninfo: str, folder: str) -> "subprocess.Popen[str]":
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    asked = {"conninfo": psycopg.conninfo.make_conninfo(conninfo, dbname=name),
             "home": f"{folder}/{name}"}  # fmt: skip
    paths = f"{checkout / 'src'}:{checkout}"
    child = subprocess.Popen(
        [sys.executable, __file__, "--child", json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    _heard(child)
    return child


def _told(child: "subprocess.Popen[str]", word: str) -> dict[str, float]:
    assert child.stdin is not None  # a pipe
    print(word, file=child.stdin, flush=True)
    return _heard(child)


def _heard(child: "subprocess.Popen[str]") -> dict[str, float]:
    assert child.stdout is not None  # a pipe
    line = child.stdout.readline()
    if not line:
        raise SystemExit("a measuring process ended; see its message above")
    told: dict[str, float] = json.loads(line)
    return told


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(median(each[name] for each in rounds), 3) for name in rounds[0]}


async def _child(conninfo: str, home: str) -> None:
    """A worker that knows its district; a round for each line it is told."""
    await migrate(conninfo)
    load = Load(0, 1, POINTS)
    register(conninfo, load)
    settings = Settings(home=Path(home), database_url=conninfo, kinds_dir=_kinds(Path(home)))
    spool = Spool(Path(home) / "spool.sqlite", settings.spool_bytes, settings.spool_reserve_bytes)
    await spool.open()
    start = await started(settings, spool, asyncio.Event())
    assert start is not None
    options = SubscriptionOptions(url=settings.mqtt_url, client_id="bench", filters=("hl/v1/#",))
    worker = Worker(
        start.site,
        start.memory,
        start.seen,
        Subscription(options),
        Annunciator(BrokerAddress.of(settings.mqtt_url, None)),
        BriskConnection(conninfo, "worker-ask"),
        Keeper(conninfo),
        SelfWatch(start.site.registry, start.site.catalog),
        start.doubts,
        spool,
        Snapshots(spool, settings.spool_reserve_bytes),
    )
    print("{}", flush=True)
    at_ms = time.time_ns() // 1_000_000 - 600_000
    for line in sys.stdin:
        asked = json.loads(line)
        values = asked["values"]
        load = Load(asked["messages"] // (10 if values > 1 else 1), values, POINTS)
        at_ms += load.messages + 1_000
        print(json.dumps(await _round(worker, load, asked["batch"], at_ms)), flush=True)


async def _round(worker: Worker, load: Load, batch: int, at_ms: int) -> dict[str, float]:
    """CPU in us by stage, of a message or, where it has many values, of a reading."""
    session, gathering = Session(4), Gathering(BatchLimits(batch, max_bytes=1 << 30))
    session.receive(b"\x20\x02\x00\x00")
    spent, stored = dict.fromkeys(STAGES, 0.0), 0
    for reads in _reads(load, batch, at_ms):
        at = [time.process_time()]
        arrived = _received(session, gathering, reads)
        at.append(time.process_time())
        work = await worker.work_of([arrived])
        at.append(time.process_time())
        await worker.keeper.keep(work)
        at.append(time.process_time())
        session.acknowledge(arrived.due)
        at.append(time.process_time())
        stored += len(work.readings)
        for name, first, last in zip(STAGES, at, at[1:], strict=False):
            spent[name] += last - first
    assert stored == load.readings
    us = {name: 1e6 * each / stored for name, each in spent.items()}
    return {"all": sum(us.values())} | us


def _received(session: Session, gathering: Gathering, reads: list[bytes]) -> Batch:
    now_us = time.time_ns() // 1_000
    for data in reads:
        for event in session.receive(data, now_us):
            assert isinstance(event, Messages), event
            gathering.add(event, 1, 0.0)
    return gathering.take()


def _reads(load: Load, batch: int, at_ms: int) -> Iterator[list[bytes]]:
    """The bytes of each batch, in so many reads."""
    said = [
        packets.publish(topic, payload, qos=1, packet_id=number % 65_535 + 1, protocol=4)
        for number, (topic, payload) in enumerate(load.all_messages(at_ms))
    ]
    for start in range(0, len(said), batch):
        data = b"".join(said[start : start + batch])
        step = -(-len(data) // READS)
        yield [data[at : at + step] for at in range(0, len(data), step)]


def _kinds(home: Path) -> Path:
    """A catalogue with so many rules for the points of the load."""
    folder = home / "kinds"
    folder.mkdir(parents=True)
    file = resources.files("hazardloop.catalogue") / "gas_detector.yaml"
    kind = yaml.safe_load(file.read_text(encoding="utf-8"))
    shipped = [rule for rule in kind["rules"] if rule["quantity"] == "lel"]
    kind["rules"] = shipped + [
        yaml.safe_load(OWN_RULE.format(n=n, side="high", yellow=80 + n, orange=105))
        for n in range(RULES - len(shipped))
    ]
    text = yaml.safe_dump(kind, allow_unicode=True)
    (folder / "gas_detector.yaml").write_text(text, encoding="utf-8")
    return folder


if __name__ == "__main__":
    main()
