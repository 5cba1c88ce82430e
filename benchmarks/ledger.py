"""Prints what the ledger costs as JSON: raising alarms with and without it, and verifying it.

python benchmarks/ledger.py                    # 10,000 alarms, 200,000 lines; half a minute
python benchmarks/ledger.py --lines 2000000    # what a year of a district may hold
"""

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from hazardloop.alarms import store
from hazardloop.alarms.alarm import Change, ChangeKind, Direction, Tier, alarm_id_of
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.rules import catalogue_rules
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.instants import microseconds_of
from hazardloop.devices.registry import Registry
from hazardloop.devices.store import load_registry
from hazardloop.service import ledger
from hazardloop.service.benches.load import machine
from hazardloop.service.database import connect, migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.settings import Settings

RULE = "gas_detector.lel.high"
BATCH = 1_000
VERIFIED = 3
"""So often."""

REGISTER = """
    INSERT INTO enterprise (code, name) VALUES ('BENCH', 'benchmark');
    INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)
    VALUES (1, 'G', 'G', '', '');
    INSERT INTO device (enterprise_id, gateway_id, code, kind)
    SELECT 1, 1, 'GD-' || n, 'gas_detector' FROM generate_series(1, {points}) n;
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, 1, 'lel', '%LEL' FROM device"""

SILENCE = "; ".join(
    f"ALTER TABLE {table} {{0}} TRIGGER {trigger}"
    for table, trigger in (
        ("alarm", "ledger_raised"), ("alarm_change", "ledger_changed"), ("ledger", "written_down")
    )
)  # fmt: skip
"""Leaves the ledger with the lines of cases alone, without a chain: what was there before."""

FILL = """
    INSERT INTO ledger (subject, subject_id, action, actor, actor_role, taken_at, body)
    SELECT 'bench', n::text, 'made', 'zhang', 'operator', now(),
           jsonb_build_object('stage', 'submitted', 'due_at', now(), 'cause', '法兰泄漏',
                              'measures', '更换垫片', 'n', n)
      FROM generate_series(1, %s) n"""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--alarms", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=200_000)
    given = parser.parse_args()
    with TemporaryDirectory() as home:
        server = EmbeddedPostgres(Path(home))
        server.start()
        try:
            figures = {"machine": machine()}
            figures |= asyncio.run(raising(server.conninfo, given.alarms, given.rounds))
            figures |= verifying(make_conninfo(server.conninfo, dbname="bench_0"), given.lines)
        finally:
            server.stop()
    print(json.dumps(figures, indent=1))


async def raising(conninfo: str, alarms: int, rounds: int) -> dict[str, Any]:
    """Seconds until `alarms` are raised, dispatched and committed, with the ledger and without."""
    took: dict[str, list[float]] = {"ENABLE": [], "DISABLE": []}
    for number in range(2 * rounds):
        setting = ("ENABLE", "DISABLE")[number % 2]
        with psycopg.connect(conninfo, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE bench_{number}")
        database = make_conninfo(conninfo, dbname=f"bench_{number}")
        await migrate(database)
        with psycopg.connect(database) as admin:
            admin.execute(REGISTER.format(points=alarms))
            admin.execute(SILENCE.format(setting))
        took[setting].append(await raise_all(database))
    with_it, without = median(took["ENABLE"]), median(took["DISABLE"])
    return {
        "alarms": alarms,
        "batch": BATCH,
        "seconds_with_ledger": round(with_it, 3),
        "seconds_without": round(without, 3),
        "ratio": round(with_it / without, 2),
    }


async def raise_all(database: str) -> float:
    """Seconds that it takes to raise an alarm at every point, a thousand in a transaction."""
    async with await connect(database, "bench") as conn:
        catalog = shipped_catalog()
        await store.keep_rule_versions(conn, catalogue_rules(catalog))
        registry = await load_registry(conn, catalog)
        now = datetime.now(UTC)
        changes = [raised(registry, row, now) for row in range(len(registry.points))]
        began = time.perf_counter()
        for start in range(0, len(changes), BATCH):
            async with conn.transaction():
                outcome = Outcome(tuple(changes[start : start + BATCH]), ())
                await store.record(conn, outcome, registry, now)
        return time.perf_counter() - began


def raised(registry: Registry, row: int, now: datetime) -> Change:
    """The alarm of one point."""
    point_id, now_us = int(registry.point_id[row]), microseconds_of(now)
    return Change(
        ChangeKind.RAISED, alarm_id_of(RULE, point_id, now_us), row, point_id, RULE, 1,
        Tier.ORANGE, Tier.NONE, 60.0, 50.0, Direction.HIGH, now_us, now_us,
    )  # fmt: skip


def verifying(database: str, lines: int) -> dict[str, Any]:
    """What `hazardloop ledger verify` finds and takes."""
    with psycopg.connect(database) as admin:
        admin.execute(FILL, [lines])
        began = time.perf_counter()
    chained = time.perf_counter() - began
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("VACUUM ANALYZE ledger, ledger_chain")
    rates, cpu = [], []
    for _ in range(VERIFIED):
        with ledger.snapshot(Settings(database_url=database)) as conn:
            began, spent = time.perf_counter(), time.process_time()
            said = ledger.verify(conn, [], None, lambda _: None, database).document()
            took, spent = time.perf_counter() - began, time.process_time() - spent
        rates.append(said["entries_per_second"])
        cpu.append(spent / said["entries"])
    return {
        "lines": said["entries"],
        "chained_per_second": round(lines / chained),
        "verified_per_second": median(rates),
        "client_us_per_line_with_rates": round(median(cpu) * 1e6, 2),
        "verify_seconds_with_rates": round(took, 2),
        "intact": said["intact"],
    }


if __name__ == "__main__":
    main()
