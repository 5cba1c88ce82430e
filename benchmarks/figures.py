"""Prints as JSON how fast the published figures are, over a year of alarms and their cases.

python -m benchmarks.figures                       # a million alarms, some minutes
python -m benchmarks.figures --alarms 100000
python -m benchmarks.figures --database-url ...    # on a server of your own

Alarms are spread evenly over the year, over 200 enterprises, four kinds and four tiers; the cases
of the last day are open. Each figure is asked for as a request asks for it, with row security.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psycopg

from benchmarks.store import a_database, a_server
from hazardloop.alarms import figure_store
from hazardloop.alarms.facts import Facts, Table
from hazardloop.alarms.figures import FIGURES, GroupBy, counts, grouped, spreads, whole
from hazardloop.alarms.packed_months import PackedMonths
from hazardloop.service.api.figures import COUNTED
from hazardloop.service.benches.load import machine
from hazardloop.service.database import Connection, connect, migrate

DISTRICT = """
    INSERT INTO enterprise (code, name, area)
    SELECT 'E' || n, 'E' || n, 'area ' || n % 12 FROM generate_series(1, 200) n;
    INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)
    SELECT enterprise_id, 'G', code, '-', '-' FROM enterprise WHERE NOT internal;
    INSERT INTO device (enterprise_id, gateway_id, code, kind)
    SELECT enterprise_id, gateway_id, kind, kind FROM gateway,
           unnest(ARRAY['gas_detector', 'tank', 'elevator', 'smoke_detector']) kind
     WHERE enterprise_id IN (SELECT enterprise_id FROM enterprise WHERE NOT internal);
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, enterprise_id, 'q', '%' FROM device;
    INSERT INTO rule_version (rule_id, version, definition) VALUES ('bench.high', 1, '{}')"""

FILLED = ("alarm", "disposal_case", "assignment", "ledger")

# Triggers and references guard single steps; the year is made at once, as a restored copy would be.
REFERENCES = """
    SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname)
      FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY (%(tables)s::regclass[])"""
TRIGGERS = "; ".join(f"ALTER TABLE {table} {{0}} TRIGGER USER" for table in FILLED)
INDEXES = """
    SELECT format('DROP INDEX %%s', indexrelid::regclass), pg_get_indexdef(indexrelid)
      FROM pg_index WHERE indrelid = ANY (%(tables)s::regclass[]) AND NOT indisunique"""

YEAR = """
    SET LOCAL work_mem = '256MB';
    CREATE TEMPORARY TABLE made AS
    SELECT md5('alarm' || n)::uuid AS alarm_id, md5('case' || n)::uuid AS case_id, n,
           point.point_id, point.device_id, point.enterprise_id, device.kind, enterprise.area,
           1 + n %% 97 %% 4 AS tier, %(end)s - (n * %(step)s) AS at,
           n * %(step)s > interval '1 day' AS old
      FROM generate_series(1, %(alarms)s) n
           JOIN (SELECT *, row_number() OVER (ORDER BY point_id) AS nth,
                        count(*) OVER () AS points FROM point WHERE quantity = 'q') point
             ON point.nth = 1 + (n * 7919::bigint) %% point.points
           JOIN device USING (device_id)
           JOIN enterprise ON enterprise.enterprise_id = point.enterprise_id;
    INSERT INTO alarm (alarm_id, enterprise_id, device_id, point_id, rule_id, rule_version, tier,
                       tier_now, value, limit_value, direction, raised_at, cleared_at, raised_kind,
                       raised_area, acknowledged_at, acknowledged_by)
    SELECT alarm_id, enterprise_id, device_id, point_id, 'bench.high', 1, tier, 0, 60, 50, 'high',
           at, at + interval '9 minutes', kind, area, at + interval '1 minute', 'seat' || n %% 6
      FROM made;
    INSERT INTO disposal_case (case_id, alarm_id, enterprise_id, stage, revision, opened_at,
                               stage_at, verdict, cause, measures, closed_by, closed_at)
    SELECT case_id, alarm_id, enterprise_id, CASE WHEN old THEN 'closed' ELSE 'dispatched' END, 7,
           at, at, 'real', '-', '-', 'li', at + interval '5 hours' FROM made;
    INSERT INTO assignment (case_id, party, assigned_to, dispatched_at, sign_due_at, signed_at,
                            signed_by)
    SELECT case_id, party, '-', at, at + interval '30 minutes', at + n %% 50 * interval '1 minute',
           '-'
      FROM made, unnest(ARRAY['enterprise', 'authority']) party WHERE old;
    INSERT INTO ledger (case_id, alarm_id, revision, action, actor, actor_role, taken_at, body)
    SELECT case_id, alarm_id, nth, action, '-', '-', at + nth * interval '40 minutes',
           CASE WHEN action IN ('submit', 'close') THEN
                jsonb_build_object('fulfilled',
                                   CASE action WHEN 'close' THEN 'review' ELSE action END,
                                   'late', n %% 20 = 0) ELSE '{}' END
      FROM made, unnest(ARRAY['raise', 'dispatch', 'verify', 'submit', 'close']) WITH ORDINALITY
           AS line (action, nth) WHERE old;
    UPDATE live_counter SET seq = seq + 1;
    DROP TABLE made"""

CHANGED = (
    "SELECT note_live_changes(array_agg(alarm_id)) FROM (SELECT alarm_id FROM alarm LIMIT {}) a"
)
END = datetime(2026, 11, 22, tzinfo=UTC)
A_YEAR = timedelta(days=365)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--alarms", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--database-url", help="server on which databases may be made")
    given = parser.parse_args()
    with a_server(given.database_url) as server, a_database(server) as conninfo:
        figures = asyncio.run(measured(conninfo, given.alarms, given.rounds))
    print(json.dumps({"machine": machine()} | figures, indent=1))


async def measured(conninfo: str, alarms: int, rounds: int) -> dict[str, Any]:
    """All figures of one database."""
    await migrate(conninfo)
    async with await connect(conninfo, "bench") as conn:
        await conn.execute(DISTRICT)
        began = time.perf_counter()
        await fill(conn, alarms)
        found: dict[str, Any] = {"alarms": alarms, "filled_s": time.perf_counter() - began}
        began = time.perf_counter()
        found["alarms packed"] = await figure_store.pack(conn)
        found["packed_s"] = time.perf_counter() - began
        await conn.execute("VACUUM ANALYZE")
        kept = PackedMonths()
        found["nothing kept"] = await asked(conn, rounds, None)
        found["kept, nothing new"] = await asked(conn, rounds, kept)
        await conn.execute(CHANGED.format(500))
        found["kept, 500 alarms changed since"] = await asked(conn, rounds, kept)
        found["bytes kept"] = kept.bytes
        return found


async def fill(conn: Connection, alarms: int) -> None:
    """A year of alarms, told to the live counter as one change."""
    step = (A_YEAR - timedelta(hours=1)) / alarms
    tables = {"tables": list(FILLED)}
    async with conn.transaction():
        await conn.execute(TRIGGERS.format("DISABLE"))
        for (drop,) in await (await conn.execute(REFERENCES, tables)).fetchall():
            await conn.execute(drop)
        indexes = await (await conn.execute(INDEXES, tables)).fetchall()
        for drop, _ in indexes:
            await conn.execute(drop)
        for statement in YEAR.split(";"):
            cursor = psycopg.AsyncClientCursor(conn)
            await cursor.execute(statement, {"end": END, "step": step, "alarms": alarms})
        for _, make in indexes:
            await conn.execute(make)
        await conn.execute(TRIGGERS.format("ENABLE"))


async def asked(conn: Connection, rounds: int, kept: PackedMonths | None) -> dict[str, float]:
    """Median milliseconds of each figure, as a request computes it."""
    codes = {n: f"E{n}" for n in range(0, 1_000)}

    def by(group_by: GroupBy) -> Callable[[Facts], object]:
        return lambda facts: counts(facts, grouped(facts, group_by, codes), COUNTED)

    def members(facts: Facts) -> object:
        return facts.alarm_ids(facts.first(FIGURES["on_time"](facts), 101))

    marks, times = {Table.MARKS}, {Table.MARKS, Table.TIMES}
    figures: dict[str, tuple[Collection[Table], Callable[[Facts], object]]] = {
        "facts only": (marks, lambda facts: None),
        "handling": (marks, lambda facts: counts(facts, whole(facts), COUNTED)),
        "handling by enterprise": (marks, by(GroupBy.ENTERPRISE)),
        "handling by tier": (marks, by(GroupBy.TIER)),
        "response": (times, lambda facts: spreads(facts, whole(facts))),
        "response by kind": (
            times,
            lambda facts: spreads(facts, grouped(facts, GroupBy.KIND, codes)),
        ),
        "first members": (tuple(Table), members),
    }
    return {
        name: round(median([await timed(conn, tables, figure, kept) for _ in range(rounds)]), 1)
        for name, (tables, figure) in figures.items()
    }


async def timed(
    conn: Connection,
    tables: Collection[Table],
    figure: Callable[[Facts], object],
    kept: PackedMonths | None,
) -> float:
    """Milliseconds of one request."""
    began = time.perf_counter()
    async with conn.transaction():
        await conn.execute("SET LOCAL ROLE hazardloop_api")
        await conn.execute("SELECT set_config('hazardloop.scope', '*', true)")
        rows = await conn.execute("SELECT enterprise_id FROM enterprise WHERE NOT internal")
        ids = [row[0] for row in await rows.fetchall()]
        end = END + timedelta(seconds=1)
        figure(await figure_store.facts_of(conn, END - A_YEAR, end, ids, tables=tables, kept=kept))
    return (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    main()
