"""A flood of alarms through the whole path; prints as JSON what became of each of them.

PYTHONPATH=src .venv/bin/python -m benchmarks.flood                    # 10,000 alarms in 60 s
PYTHONPATH=src .venv/bin/python -m benchmarks.flood --alarms 1000 --seconds 10

Starts a broker, a database, worker, api and clerk as processes of their own. Every message raises
one alarm at a point of its own; a fifth are red. Somebody watches the live stream: the time of a
red alarm is from the publishing of its message to its line on the stream. Exit 1 if an alarm was
lost or doubled, not dispatched to both sides, not planned to escalate, not told, not in the ledger.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiomqtt
import httpx
import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo

from hazardloop.alarms.alarm import Role
from hazardloop.service.api import sessions
from hazardloop.service.api.sessions import Account
from hazardloop.service.benches.load import machine
from hazardloop.service.database import connect, migrate
from hazardloop.service.database_roles import SERVICE
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from tests import brokers
from tests.worlds import eventually, process, query

ENTERPRISES: Final = 50
RED_EVERY: Final = 5
"""Each so many-th device is in a hazard unit of grade 1, where this concentration is red."""
PATIENCE_S: Final = 240.0

DISTRICT: Final = """
    INSERT INTO enterprise (code, name, area)
    SELECT 'E' || n, 'E' || n, 'area' FROM generate_series(1, %(enterprises)s) n;
    INSERT INTO hazard_unit (enterprise_id, code, name, grade)
    SELECT enterprise_id, 'HU', 'HU', 1 FROM enterprise WHERE NOT internal;
    INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)
    SELECT enterprise_id, 'G', code || '.G', '', '' FROM enterprise WHERE NOT internal;
    INSERT INTO device (enterprise_id, gateway_id, hazard_unit_id, code, kind, expected_interval_s)
    SELECT g.enterprise_id, gateway_id, CASE WHEN n %% %(red_every)s = 0 THEN hazard_unit_id END,
           'GD-' || n, 'gas_detector', 86400
      FROM generate_series(0, %(alarms)s - 1) n
           JOIN enterprise e ON e.code = 'E' || 1 + n %% %(enterprises)s
           JOIN gateway g USING (enterprise_id) JOIN hazard_unit USING (enterprise_id);
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, enterprise_id, 'lel', '%%{LEL}' FROM device WHERE kind = 'gas_detector'"""

WATCHER: Final = """
    INSERT INTO user_account (username, display_name, role, password_hash)
    VALUES ('watcher', 'watcher', 'operator', '-') RETURNING user_id"""

WORKING: Final = """
    SELECT count(DISTINCT role) = 2 FROM process_heartbeat
     WHERE role IN ('worker', 'clerk') AND beat_at > clock_timestamp() - interval '5 s'
       AND (role <> 'worker' OR detail ->> 'broker' = 'connected')"""
RECORDED: Final = "SELECT count(*) FROM alarm WHERE rule_id = 'gas_detector.lel.high'"
TOLD: Final = "SELECT count(*) FROM notice WHERE kind = 'dispatched' AND state = 'waiting'"

# What became of every alarm: each is to be a row of all of these, and none of them twice.
OUTCOME: Final = """
    WITH ours AS (
        SELECT a.alarm_id, a.point_id, a.tier, a.recorded_at - a.raised_at AS took, c.case_id,
               (SELECT count(*) FROM assignment s WHERE s.case_id = c.case_id) AS charged,
               (SELECT count(DISTINCT party) FROM assignment s
                 WHERE s.case_id = c.case_id AND dispatched_at = c.opened_at) AS sides,
               (SELECT count(*) FROM escalation e
                 WHERE e.case_id = c.case_id AND duty = 'sign') AS levels,
               (SELECT count(*) FROM notice n
                 WHERE n.case_id = c.case_id AND n.kind = 'dispatched') AS notices,
               (SELECT count(*) FROM ledger l WHERE l.case_id = c.case_id
                   AND action IN ('raise', 'dispatch')) AS lines,
               (SELECT count(*) FROM ledger l WHERE subject = 'alarm'
                   AND subject_id = a.alarm_id::text AND action = 'raised') AS raised_lines
          FROM alarm a LEFT JOIN disposal_case c USING (alarm_id)
         WHERE a.rule_id = 'gas_detector.lel.high'
    )
    SELECT count(*) AS recorded, count(DISTINCT point_id) AS points,
           count(*) FILTER (WHERE tier = 4) AS red,
           count(*) FILTER (WHERE case_id IS NULL) AS without_case,
           count(*) FILTER (WHERE sides <> 2 OR charged <> 2) AS not_dispatched_to_both,
           count(*) FILTER (WHERE levels <> 8) AS without_their_levels,
           count(*) FILTER (WHERE notices <> 2) AS without_their_notices,
           count(*) FILTER (WHERE lines <> 2 OR raised_lines <> 1) AS without_their_lines,
           (SELECT count(*) FROM ledger) = (SELECT count(*) FROM ledger_chain) AS chained
      FROM ours"""


@dataclass(slots=True)
class Seen:
    """What the stream showed, and what was published."""

    published: dict[str, float] = field(default_factory=dict)
    """By device, when: seconds of the monotonic clock."""
    shown: dict[str, float] = field(default_factory=dict)
    """Red ones only, when first."""
    lines: Counter[str] = field(default_factory=Counter)
    resets: int = 0
    red: int = 0
    """So many are to be shown."""
    greeted: asyncio.Event = field(default_factory=asyncio.Event)
    all_shown: asyncio.Event = field(default_factory=asyncio.Event)


def main() -> int:
    """Exit code: 1 if anything is missing or there twice."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--alarms", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--broker", choices=("nats", "mosquitto"), default="nats")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hazardloop-flood-") as home:
        figures = asyncio.run(flood(Path(home), given.alarms, given.seconds, given.broker))
    print(json.dumps({"machine": machine()} | figures, indent=1))
    return 1 if figures["wrong"] else 0


async def flood(home: Path, alarms: int, seconds: float, broker: str = "nats") -> dict[str, Any]:
    """What became of so many alarms, raised evenly within so many seconds."""
    server = EmbeddedPostgres(home / "database")
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        served = make_conninfo(server.conninfo, user=SERVICE, password="of-the-service")
        await migrate(server.conninfo, served)
        token = await found(server.conninfo, alarms)
        (home / "broker").mkdir()
        running = stack.enter_context(getattr(brokers, broker)(home / "broker"))
        port = brokers.free_port()
        settings = {"database_url": served, "mqtt_url": running.url}
        for role, more in (("worker", {"settle_s": 0}), ("clerk", {}), ("api", {"api_port": port})):
            stack.enter_context(process(role, home / role, **settings, **more))
        await asyncio.to_thread(eventually, lambda: query(server.conninfo, WORKING) == [(True,)],
                                "worker and clerk work")  # fmt: skip
        seen = Seen(red=len(range(0, alarms, RED_EVERY)))
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch(f"http://127.0.0.1:{port}", token, seen))
            await asyncio.wait_for(seen.greeted.wait(), PATIENCE_S)
            began = time.monotonic()
            await publish(running.port, alarms, seconds, seen)
            published_s = time.monotonic() - began
            await until(server.conninfo, RECORDED, alarms)
            recorded_s = time.monotonic() - began
            with suppress(TimeoutError):  # then it is in the figures
                await asyncio.wait_for(seen.all_shown.wait(), PATIENCE_S)
            await until(server.conninfo, TOLD, 0)
            told_s = time.monotonic() - began
            watching.cancel()
        outcome = outcome_of(server.conninfo)
        return judged(outcome, seen, alarms) | {
            "seconds_published": round(published_s, 1),
            "seconds_recorded": round(recorded_s, 1),
            "seconds_told": round(told_s, 1),
        }


async def found(conninfo: str, alarms: int) -> str:
    """The token of somebody who watches a district with so many points."""
    values = {"enterprises": ENTERPRISES, "alarms": alarms, "red_every": RED_EVERY}
    with psycopg.connect(conninfo, cursor_factory=psycopg.ClientCursor) as owner:
        owner.execute(DISTRICT, values)
    async with await connect(conninfo, "flood") as conn:
        (user_id,) = await (await conn.execute(WATCHER)).fetchone() or (0,)
        watcher = Account(user_id, "watcher", "", Role.OPERATOR, "zh-CN", None, None, None)
        return await sessions.open_session(conn, watcher, datetime.now(UTC))


async def publish(port: int, alarms: int, seconds: float, seen: Seen) -> None:
    """A message for each point, spread evenly; each device is noted as its message leaves."""
    async with aiomqtt.Client("127.0.0.1", port, max_inflight_messages=1_000) as client:
        client.pending_calls_threshold = alarms  # it is the broker that is waited for
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for nth in range(alarms):
                ahead = began + nth * seconds / alarms - time.monotonic()
                if ahead > 0:
                    await asyncio.sleep(ahead)
                device = f"E{1 + nth % ENTERPRISES}/GD-{nth}"
                reading = {"ts": time.time_ns() // 1_000_000, "values": {f"GD-{nth}.lel": 60.0}}
                seen.published[device] = time.monotonic()
                topic = f"hl/v1/E{1 + nth % ENTERPRISES}/G/telemetry"
                group.create_task(client.publish(topic, json.dumps(reading), qos=1))


async def watch(url: str, token: str, seen: Seen) -> None:
    """Follows the live stream until cancelled; where it ends, from where it was."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", headers=headers, timeout=None) as client:
        last: dict[str, str] = {}
        while True:
            with suppress(httpx.TransportError):
                async with client.stream("GET", "/stream", headers=last) as answer:
                    async for name, identity, body in events(answer):
                        if identity:
                            last = {"Last-Event-ID": identity}
                        note(name, body, seen)
            await asyncio.sleep(0.2)


async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, str, Any]]:
    """Name, id and content of each server-sent event."""
    name, identity = "", ""
    async for line in answer.aiter_lines():
        match line.partition(": "):
            case ("event", _, name):
                pass
            case ("id", _, identity):
                pass
            case ("data", _, body):
                yield name, identity, json.loads(body)


def note(name: str, body: Any, seen: Seen) -> None:
    """Keeps when a red alarm was first shown."""
    seen.lines[name] += 1
    seen.resets += name == "reset"
    if name == "hello":
        seen.greeted.set()
    if name == "alarms":
        now = time.monotonic()
        for op in body["ops"]:
            if op["op"] == "put" and op["a"]["tier"] == "red":
                seen.shown.setdefault(f"{op['a']['ent'][0]}/{op['a']['dev'][0]}", now)
        if len(seen.shown) >= seen.red:
            seen.all_shown.set()


async def until(conninfo: str, count: str, wanted: int) -> None:
    """Returns once so many are counted, or after a patience: then it is in the figures."""
    give_up = time.monotonic() + PATIENCE_S
    async with await connect(conninfo, "flood") as conn:
        while time.monotonic() < give_up:
            if await (await conn.execute(count)).fetchone() == (wanted,):
                return
            await asyncio.sleep(0.2)


def outcome_of(conninfo: str) -> dict[str, Any]:
    """Counts of what became of the alarms."""
    with psycopg.connect(conninfo, row_factory=psycopg.rows.dict_row) as conn:
        return dict(conn.execute(OUTCOME).fetchone() or {})


def judged(outcome: dict[str, Any], seen: Seen, alarms: int) -> dict[str, Any]:
    """The figures, and what of them is wrong."""
    took = [at - seen.published[device] for device, at in seen.shown.items()]
    found = {
        "lost": alarms - outcome["points"],
        "doubled": outcome["recorded"] - outcome["points"],
        "red_not_shown": seen.red - len(seen.shown),
        "not_chained": int(not outcome["chained"]),
    } | {
        name: outcome[name]
        for name in (
            "without_case",
            "not_dispatched_to_both",
            "without_their_levels",
            "without_their_notices",
            "without_their_lines",
        )
    }
    p50, p99, most = np.percentile(took, (50, 99, 100)) if took else (None, None, None)
    return {
        "alarms": alarms,
        "recorded": outcome["recorded"],
        "red": outcome["red"],
        "red_shown_after_s": {
            name: None if value is None else round(float(value), 3)
            for name, value in (("p50", p50), ("p99", p99), ("max", most))
        },
        "stream_resets": seen.resets,
        "wrong": {name: number for name, number in found.items() if number},
    }


if __name__ == "__main__":
    sys.exit(main())
