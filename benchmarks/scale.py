"""What a message and a registered point cost, from a thousand to half a million points.

    python -m benchmarks.scale --points 1000 10000 100000 500000 --rules 1 5 20

A database is filled step by step. For each size and number of rules a fresh process reads it as a
worker does at its start, then takes batches of single-value messages of all points in random order:
decode, novelty, rules, rows for COPY. One value in a thousand raises an alarm. The rounds of all
processes take turns, so that other work on the machine meets each alike. Prints one JSON object.
"""

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psycopg

from hazardloop.alarms.evaluation import evaluate, tick
from hazardloop.alarms.memory import Memory, carry_over
from hazardloop.devices import wire
from hazardloop.devices.readings import Times
from hazardloop.devices.store import changes_since, pages
from hazardloop.ingest.decoding import decode
from hazardloop.ingest.repeats import novelty, see
from hazardloop.ingest.store import copy_rows
from hazardloop.ingest.texts import Texts
from hazardloop.service.benches.load import machine
from hazardloop.service.database import connect, migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.remembering import remembered
from hazardloop.service.settings import Settings
from hazardloop.service.site import Site, bring_up_to_date, load_site, with_renewed_routes

POINTS_OF_A_GATEWAY = 100
BATCH = 5_000
BATCHES = 8
CROSSING = 0.001
KIND = """
kind: gas_detector
name: {{zh: 气体探测器, en: Gas detector}}
expected_interval_s: 3600
quantities:
  lel: {{name: {{zh: 浓度, en: Gas}}, unit: "%{{LEL}}", range: [-5, 110], resolution: 0.1}}
rules:
{rules}"""
RULE = """
  - id: bench.r{n}
    kind: threshold
    quantity: lel
    name: {{zh: 基准, en: benchmark}}
    {side}: {{yellow: {yellow}, orange: {orange}}}
    deadband: 2
    off_delay_s: 10
    source: benchmark
    confidence: house
    guidance: {{zh: 基准, en: benchmark}}"""
SILENCE = """
  - id: bench.silence
    kind: stale
    quantity: lel
    name: {zh: 基准, en: benchmark}
    after_intervals: 3
    tier: blue
    source: benchmark
    confidence: house
    guidance: {zh: 基准, en: benchmark}"""
FILL = (
    "INSERT INTO enterprise (code, name) VALUES ('BENCH', 'benchmark') ON CONFLICT DO NOTHING",
    "INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)"
    " SELECT enterprise_id, 'G' || n, 'BENCH.G' || n, '', ''"
    "  FROM enterprise, generate_series(%(from)s / %(each)s, %(to)s / %(each)s - 1) n"
    " WHERE enterprise.code = 'BENCH'",
    "INSERT INTO device (enterprise_id, gateway_id, code, kind)"
    " SELECT g.enterprise_id, g.gateway_id, 'GD-' || n, 'gas_detector'"
    "  FROM generate_series(%(from)s, %(to)s - 1) n"
    "  JOIN gateway g ON g.mqtt_username = 'BENCH.G' || n / %(each)s ORDER BY n",
    "INSERT INTO point (device_id, enterprise_id, quantity, unit)"
    " SELECT device_id, d.enterprise_id, 'lel', '%%{LEL}' FROM device d"
    "  LEFT JOIN point p USING (device_id)"
    " WHERE p.point_id IS NULL AND d.code LIKE 'GD-%%' ORDER BY device_id",
    "INSERT INTO reading (point_id, observed_at, received_at, value, quality)"
    " SELECT point_id, now() - interval '2 hours', now(), 10, 0 FROM point"
    " ON CONFLICT DO NOTHING",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One size of registry under one number of rules."""

    points: int
    rules: int
    conninfo: str
    folder: str

    def kinds_dir(self) -> Path:
        """A catalogue in which gas detectors have so many rules, and one for silence."""
        folder = Path(self.folder) / f"kinds-{self.rules}"
        folder.mkdir(exist_ok=True)
        rules = [
            RULE.format(n=n, side="low", yellow=-3 - n / 100, orange=-4)
            if n % 2
            else RULE.format(n=n, side="high", yellow=80 + n if n else 60, orange=105)
            for n in range(self.rules)
        ]
        text = KIND.format(rules="".join([*rules, SILENCE]))
        (folder / "gas_detector.yaml").write_text(text)
        return folder


def main() -> None:
    """Fills, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[1_000, 10_000, 100_000, 500_000])
    parser.add_argument("--rules", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        asyncio.run(_child(Case(**json.loads(asked.child))))
    else:
        print(json.dumps(_all(asked.points, asked.rules, asked.rounds), indent=1))


def _all(points: list[int], rules: list[int], rounds: int) -> dict[str, Any]:
    with TemporaryDirectory(prefix="hazardloop-bench-") as home:
        server = EmbeddedPostgres(Path(home))
        server.start()
        children: list[subprocess.Popen[str]] = []
        figures: list[dict[str, Any]] = []
        try:
            asyncio.run(migrate(server.conninfo))
            filled = 0
            for size in sorted(points):
                _fill(server.conninfo, filled, size)
                filled = size
                for count in rules:
                    case = Case(size, count, server.conninfo, home)
                    children.append(_started(case))
                    figures.append(_told(children[-1]))
                    _change_one_device(server.conninfo)
                    figures[-1].update(_told(children[-1], "follow"))
            for _ in range(rounds):
                for child, figure in zip(children, figures, strict=True):
                    figure.setdefault("rounds", []).append(_told(child, "go"))
        finally:
            for child in children:
                child.kill()
                child.wait()
            server.stop()
    for figure in figures:
        for name, each in _medians(figure.pop("rounds")).items():
            figure[name] = each
    return {"bench": "scale", "cases": figures, **_summary(figures), "machine": machine()}


def _fill(conninfo: str, from_: int, to: int) -> None:
    with psycopg.connect(conninfo) as connection:
        for text in FILL:
            connection.execute(text, {"from": from_, "to": to, "each": POINTS_OF_A_GATEWAY})
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _change_one_device(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("UPDATE device SET expected_interval_s = 60 WHERE code = 'GD-7'")


def _started(case: Case) -> subprocess.Popen[str]:
    asked = json.dumps({name: getattr(case, name) for name in case.__slots__})
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale", "--child", asked],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _told(child: subprocess.Popen[str], word: str | None = None) -> dict[str, Any]:
    assert child.stdin is not None  # both are pipes
    assert child.stdout is not None
    if word:
        print(word, file=child.stdin, flush=True)
    line = child.stdout.readline()
    if not line:
        raise SystemExit("a measuring process ended; see its message above")
    told: dict[str, Any] = json.loads(line)
    return told


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(median(each[name] for each in rounds), 3) for name in rounds[0]}


def _summary(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """What the contract asks: how flat, and how much memory each further point takes."""
    costs = [figure["us_per_message"] for figure in figures]
    memory: dict[int, float] = {}
    for rules in sorted({figure["rules"] for figure in figures}):
        ours = [figure for figure in figures if figure["rules"] == rules]
        small, large = ours[0], ours[-1]
        if large["points"] > small["points"]:
            more = large["rss_kb"] - small["rss_kb"]
            memory[rules] = round(more / (large["points"] - small["points"]), 3)
    return {"dearest_over_cheapest": round(max(costs) / min(costs), 3), "kb_per_point": memory}


async def _child(case: Case) -> None:
    """Starts as a worker does, says what that took, then a round for each line it is told."""
    began, cpu = time.perf_counter(), time.process_time()
    settings = Settings(database_url=case.conninfo, kinds_dir=case.kinds_dir())
    async with await connect(case.conninfo, "bench") as connection:
        site = await load_site(connection, settings)
        memory, newest, doubts = await remembered(connection, site)
    gc.collect()
    gc.freeze()
    assert len(site.registry) >= case.points
    print(
        json.dumps(
            {
                "points": case.points,
                "rules": case.rules,
                "start_seconds": round(time.perf_counter() - began, 2),
                "start_cpu_seconds": round(time.process_time() - cpu, 2),
                "rss_kb": _rss_kb(),
            }
        ),
        flush=True,
    )
    speakers = Speakers(case)
    for word in sys.stdin:
        if word == "follow\n":
            site, memory, told = await _follow(case, site, memory)
            print(json.dumps(told), flush=True)
            continue
        batches = [speakers.batch() for _ in range(BATCHES)]
        spent = dict.fromkeys(("decode", "quality", "evaluate", "rows"), 0.0)
        for topics, payloads, received in batches:
            at = [time.process_time()]
            intake = decode(topics, payloads, received, site.routes)
            readings = intake.readings
            at.append(time.process_time())
            again = novelty(readings, newest).repeated
            fresh = readings.take(~again) if again.any() else readings
            see(fresh, newest)
            doubts.cast(fresh, intake.stamps, received)
            at.append(time.process_time())
            evaluate(site.table, memory, fresh)
            at.append(time.process_time())
            copy_rows(fresh, site.registry.point_id)
            at.append(time.process_time())
            assert len(readings) == BATCH
            for name, first, last in zip(spent, at, at[1:], strict=False):
                spent[name] += last - first
        ticked = time.process_time()
        tick(site.table, memory, time.time_ns() // 1000)
        tick_ms = 1e3 * (time.process_time() - ticked)
        us = {name: 1e6 * each / (BATCH * BATCHES) for name, each in spent.items()}
        told = {"us_per_message": sum(us.values()), **us, "tick_ms": tick_ms}
        print(json.dumps(told), flush=True)


async def _follow(case: Case, site: Site, memory: Memory) -> tuple[Site, Memory, dict[str, float]]:
    """What it takes to take over one device that changed: in all, and of our own CPU."""
    async with await connect(case.conninfo, "bench") as connection:
        began, cpu = time.perf_counter(), time.process_time()
        changes = await changes_since(connection, site.registry.revision)
        (page,) = pages(changes)
        after, touched = await bring_up_to_date(connection, site, page)
        memory = carry_over(site.table, memory, after.table, touched)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    assert len(changes.devices) == 1
    told = {"follow_ms": round(1e3 * seconds, 1), "follow_cpu_ms": round(1e3 * cpu_seconds, 1)}
    return with_renewed_routes(after), memory, told


class Speakers:
    """Messages of points in random order, each point once in a pass, a pass each 15 seconds."""

    def __init__(self, case: Case) -> None:
        """From nearly two hours ago on."""
        self.points = case.points
        self.dice = np.random.default_rng(7)
        self.left: list[int] = []
        self.now_ms = time.time_ns() // 1_000_000 - 115 * 60_000

    def batch(self) -> tuple[Texts, Texts, Times]:
        """Topics, payloads, times of receipt."""
        topics, payloads = [], []
        high = self.dice.random(BATCH) < CROSSING
        values = np.where(high, 65.0, self.dice.integers(0, 200, BATCH) / 10)
        for seq, value in enumerate(values.tolist()):
            if not self.left:
                self.left = self.dice.permutation(self.points).tolist()
                self.now_ms += 15_000
            point = self.left.pop()
            topics.append(f"{wire.ROOT}/BENCH/G{point // POINTS_OF_A_GATEWAY}/telemetry".encode())
            payloads.append(wire.encode_telemetry(self.now_ms, seq, {f"GD-{point}.lel": value}))
        received = np.full(BATCH, time.time_ns() // 1000, np.int64)
        return Texts.of(topics), Texts.of(payloads), received


def _rss_kb() -> int:
    """Memory of this process that is in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    main()
