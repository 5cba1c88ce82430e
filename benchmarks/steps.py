"""Steps on cases over the api at a steady rate, beside a year of others; prints JSON.

PYTHONPATH=src .venv/bin/python -m benchmarks.steps                    # 100 a second for 30 s
PYTHONPATH=src .venv/bin/python -m benchmarks.steps --cases 20000 --seconds 10

Each case is signed by both sides and verified; a step leaves when its time has come, whether those
before it are answered or not. Exit 1 if one was refused, or is not in the ledger exactly once.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import numpy as np
import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.escalation import Kept, token_of
from benchmarks.figures import DISTRICT, fill
from hazardloop.alarms import case_store, consequences
from hazardloop.service.benches.load import machine
from hazardloop.service.database import Connection, connect, migrate
from hazardloop.service.database_roles import SERVICE
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from tests.brokers import free_port
from tests.cases import raise_alarms

STEPS: Final[Sequence[tuple[str, dict[str, str]]]] = (
    ("enterprise", {"action": "sign"}),
    ("authority", {"action": "sign"}),
    ("enterprise", {"action": "verify", "verdict": "real"}),
)
"""Of each case: by whom, and what; the first is on revision 2, as dispatched."""
ONCE: Final = """
    SELECT count(*) FROM unnest(%s::uuid[]) AS told (case_id)
     WHERE 3 <> (SELECT count(*) FROM ledger l
                  WHERE l.case_id = told.case_id AND l.action IN ('sign', 'verify'))"""
READY_S: Final = 120.0


@dataclass(slots=True)
class Taken:
    """What became of the steps."""

    statuses: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """From its time to its answer, each."""


def main() -> int:
    """Exit code: 1 if a step was refused or is not written down once."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=200_000, help="there beside, of a year")
    parser.add_argument("--rate", type=float, default=100.0, help="steps a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hazardloop-steps-") as home:
        found = asyncio.run(steps(Path(home), given.cases, given.rate, given.seconds))
    print(json.dumps({"machine": machine()} | found, indent=1))
    return int(bool(found["refused"] or found["not_written_once"]))


async def steps(home: Path, cases: int, rate: float, seconds: float) -> dict[str, Any]:
    """Figures of one run."""
    server = EmbeddedPostgres(home / "database")
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        served = make_conninfo(server.conninfo, user=SERVICE, password="of-the-service")
        await migrate(server.conninfo, served)
        async with await connect(server.conninfo, "steps") as conn:
            await conn.execute(DISTRICT)
            await fill(conn, cases)
            opened = await open_cases(conn, round(rate * seconds / len(STEPS)))
            await conn.execute("VACUUM ANALYZE")
            sides = (("zhang", "enterprise", 1), ("li", "authority", None))
            tokens = {role: await token_of(conn, name, role, at) for name, role, at in sides}
        port = free_port()
        api = Kept("api", home / "api", database_url=served, api_port=port)
        stack.callback(api.close)
        url = f"http://127.0.0.1:{port}"
        await ready(url)
        taken = Taken()
        began, spent = time.monotonic(), processor_s(api.child.pid)
        await take_all(url, tokens, opened, rate, taken)
        took, spent = time.monotonic() - began, processor_s(api.child.pid) - spent
        with psycopg.connect(server.conninfo) as reader:
            (wrong,) = reader.execute(ONCE, [opened]).fetchone() or (None,)
    p50, p99, most = np.percentile(taken.seconds, (50, 99, 100))
    return {
        "cases_beside": cases,
        "steps": sum(taken.statuses.values()),
        "steps_per_second": round(sum(taken.statuses.values()) / took, 1),
        "api_ms_of_processor_per_step": round(spent * 1e3 / sum(taken.statuses.values()), 2),
        "answered_after_ms": {
            name: round(float(value) * 1e3, 1)
            for name, value in (("p50", p50), ("p99", p99), ("max", most))
        },
        "refused": sum(number for status, number in taken.statuses.items() if status != 201),
        "refusals": dict(taken.refusals),
        "not_written_once": wrong,
    }


def processor_s(pid: int) -> float:
    """Seconds of processor that a process has used; tells more than a clock on a busy machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def open_cases(conn: Connection, count: int) -> list[UUID]:
    """Ids of cases just dispatched."""
    await conn.execute(
        "INSERT INTO rule_version (rule_id, version, definition)"
        " VALUES ('gas_detector.high', 1, '{}')"
    )
    now = datetime.now(UTC)
    async with conn.transaction():
        alarm_ids = await raise_alarms(conn, count, raised_at=now)
        await case_store.open_cases(conn, alarm_ids, now)
        await consequences.of_opening(conn, alarm_ids, now)
    return [case_store.case_id_of(alarm_id) for alarm_id in alarm_ids]


async def ready(url: str) -> None:
    """Returns when the api answers."""
    give_up = time.monotonic() + READY_S
    async with httpx.AsyncClient(base_url=url) as client:
        while time.monotonic() < give_up:
            try:
                if (await client.get("/healthz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.2)
    raise SystemExit("the api does not answer")


async def take_all(
    url: str, tokens: dict[str, str], cases: Sequence[UUID], rate: float, taken: Taken
) -> None:
    """Takes every step of every case, all cases' first ones first, at that rate."""
    limits = httpx.Limits(max_connections=50, max_keepalive_connections=50)
    async with (
        httpx.AsyncClient(base_url=f"{url}/api/v1", limits=limits, timeout=60) as client,
        asyncio.TaskGroup() as group,
    ):
        before: dict[UUID, asyncio.Task[None]] = {}
        began = time.monotonic()
        for nth, (case_id, body, role) in enumerate(planned(cases)):
            due = began + nth / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            headers = {"Authorization": f"Bearer {tokens[role]}"}
            after = before.get(case_id)
            step = take(client, case_id, body, headers, due, taken, after)
            before[case_id] = group.create_task(step)


def planned(cases: Sequence[UUID]) -> Iterator[tuple[UUID, dict[str, Any], str]]:
    """Case, body and side of each step."""
    for revision, (role, body) in enumerate(STEPS, start=2):
        for case_id in cases:
            yield case_id, body | {"revision": revision}, role


async def take(
    client: httpx.AsyncClient,
    case_id: UUID,
    body: dict[str, Any],
    headers: dict[str, str],
    due: float,
    taken: Taken,
    after: asyncio.Task[None] | None,
) -> None:
    """One step, once the one before it on its case is answered."""
    if after is not None:
        await after
    answer = await client.post(f"/cases/{case_id}/steps", json=body, headers=headers)
    taken.statuses[answer.status_code] += 1
    if answer.status_code != 201:
        problem = answer.json()
        if problem["code"] != "overtaken" or body["revision"] == 2:  # else it follows from another
            taken.refusals[f"{problem['code']}: {problem['detail']}"] += 1
    taken.seconds.append(time.monotonic() - due)


if __name__ == "__main__":
    sys.exit(main())
