"""Escalation under fire: clerks and database killed at random; counts what became of every level.

    python benchmarks/escalation.py --kills 200

Starts its own PostgreSQL and two clerks, opens red cases whose signatures are due within seconds,
signs some of them at random moments, and meanwhile kills a clerk, or now and then the database,
with SIGKILL at random moments. Progress goes to standard error; at the end one JSON object on
standard output. Exit 1 if a level that was owed was not told, one was told twice, or early, or one
was told that a step had made moot.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

sys.path.insert(0, str(Path(__file__).parents[1]))

from hazardloop.alarms import case_store, consequences, disposal
from hazardloop.alarms.alarm import Action, Actor, Role, Step, Tier
from hazardloop.alarms.deadlines import PROJECT_DEADLINES, Duty
from hazardloop.alarms.errors import CaseOvertaken, StepRefused
from hazardloop.service.benches.load import machine
from hazardloop.service.database import migrate
from hazardloop.service.database_roles import SERVICE
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from tests.cases import OFFICER, found_district, raise_alarms
from tests.worlds import process

CLERKS: Final = 2
CASES_A_KILL: Final = 4
DATABASE_EVERY: Final = 5
"""Each so many-th kill is the database's."""
SIGN_WITHIN: Final = PROJECT_DEADLINES.times[Duty.SIGN][Tier.RED]
WITHIN_S: Final = 180.0

VERDICT: Final = """
    WITH told AS (
        SELECT (body ->> 'escalation_id')::bigint AS escalation_id, count(*) AS lines
          FROM ledger WHERE subject = 'escalation' GROUP BY 1
    ), heard AS (
        SELECT notice_id FROM notice WHERE kind = 'overdue'
    )
    SELECT count(*) FILTER (WHERE fired_at IS NOT NULL) AS fired,
           count(*) FILTER (WHERE cancelled_at IS NOT NULL) AS cancelled,
           count(*) FILTER (WHERE fired_at IS NULL AND cancelled_at IS NULL
                              AND due_at < %(until)s) AS lost,
           count(*) FILTER (WHERE coalesce(lines, 0) > 1) AS doubled,
           count(*) FILTER (WHERE (fired_at IS NOT NULL) <> (lines IS NOT NULL)) AS untold,
           count(*) FILTER (WHERE fired_at IS NOT NULL AND cardinality(receipt) <> 1) AS unheard,
           count(*) FILTER (WHERE fired_at < due_at) AS early,
           (SELECT count(*) FROM heard) AS notices,
           coalesce(max(extract(epoch FROM late_by)), 0)::float8 AS latest_s,
           coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM late_by)), 0)
               ::float8 AS median_s
      FROM escalation LEFT JOIN told USING (escalation_id)"""
# Each side has four levels from its charge on; a signature ends what is left of its own.
INCOMPLETE: Final = """
    SELECT count(*) FROM assignment s
     WHERE 4 <> (SELECT count(*) FROM escalation e WHERE e.case_id = s.case_id
                    AND e.party = s.party AND e.duty = 'sign')
        OR s.signed_at IS NOT NULL AND EXISTS (
               SELECT FROM escalation e WHERE e.case_id = s.case_id AND e.party = s.party
                  AND e.duty = 'sign' AND e.fired_at IS NULL AND e.cancelled_at IS NULL)"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the levels; all that should be 0 stands in `faults`."""

    kills: int
    database_kills: int
    cases: int
    fired: int
    cancelled: int
    median_late_s: float
    latest_s: float
    faults: dict[str, int]


class Field:
    """Cases that open, are signed or not, over a database that comes and goes."""

    def __init__(self, conninfo: str, chance: random.Random) -> None:
        self._conninfo = conninfo
        self._chance = chance
        self._site = Actor("zhang", "张三", Role.ENTERPRISE, 1)
        self.cases: list[UUID] = []

    async def open_some(self, count: int) -> None:
        """Cases whose signatures are, or were, due around now; none where the database is away."""
        with suppress(psycopg.OperationalError):
            async with await AsyncConnection.connect(self._conninfo, autocommit=True) as conn:
                now = datetime.now(UTC) - SIGN_WITHIN
                now += timedelta(seconds=self._chance.uniform(-240, 4))
                async with conn.transaction():
                    alarm_ids = await raise_alarms(conn, count, tier=Tier.RED, raised_at=now)
                    await case_store.open_cases(conn, alarm_ids, now)
                    await consequences.of_opening(conn, alarm_ids, now)
                self.cases += [case_store.case_id_of(alarm_id) for alarm_id in alarm_ids]

    async def sign_one(self) -> None:
        """One signature at one case, unless it is there already, or the database is away."""
        case_id, actor = self._chance.choice(self.cases), self._chance.choice([self._site, OFFICER])
        with suppress(psycopg.OperationalError, StepRefused, CaseOvertaken):
            async with await AsyncConnection.connect(self._conninfo, autocommit=True) as conn:
                case = await case_store.load_case(conn, case_id)
                if case is not None:
                    step = Step(Action.SIGN, actor, case.revision, datetime.now(UTC))
                    await disposal.take_step(conn, case_id, step)


async def campaign(home: Path, kills: int, seed: int) -> Outcome:
    """What became of every level, after so many kills."""
    chance = random.Random(seed)
    server = EmbeddedPostgres(home / "database", settings={"max_connections": "60"})
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        served = make_conninfo(server.conninfo, user=SERVICE, password="of-the-service")
        await migrate(server.conninfo, served)
        async with await AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
            await found_district(conn)
        field = Field(server.conninfo, chance)
        clerks = [Clerk(home / f"clerk{number}", served) for number in range(CLERKS)]
        stack.callback(lambda: [clerk.close() for clerk in clerks])
        databases = 0
        for number in range(1, kills + 1):
            await field.open_some(CASES_A_KILL)
            for _ in range(3):
                await asyncio.sleep(chance.uniform(0, 0.6))
                if field.cases:
                    await field.sign_one()
            if number % DATABASE_EVERY == 0:
                databases += 1
                await _kill_database(server)
            else:
                clerks[number % CLERKS].kill()
            for clerk in clerks:
                clerk.keep()
            print(f"{number} of {kills} kills, {len(field.cases)} cases", file=sys.stderr)
        until = datetime.now(UTC)
        await _settled(server.conninfo, until, clerks)
        return await _judged(server.conninfo, until, kills, databases, len(field.cases))


class Clerk:
    """A clerk's process, and its supervisor."""

    def __init__(self, home: Path, conninfo: str) -> None:
        self._home, self._conninfo = home, conninfo
        self._stack = ExitStack()
        self._start()

    def _start(self) -> None:
        running = process("clerk", self._home, database_url=self._conninfo)
        self.child = self._stack.enter_context(running)

    def kill(self) -> None:
        """At once, without a word; another takes its place."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self.keep()

    def keep(self) -> None:
        """Starts it anew where it has ended: it does so if there is no database as it starts."""
        if self.child.poll() is not None:
            self._stack.close()
            self._start()

    def close(self) -> None:
        """Ends it."""
        self._stack.close()


async def _kill_database(server: EmbeddedPostgres) -> None:
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


LEFT: Final = """
    SELECT count(*) FROM escalation
     WHERE fired_at IS NULL AND cancelled_at IS NULL AND due_at < %s"""


async def _settled(conninfo: str, until: datetime, clerks: Sequence[Clerk]) -> None:
    """Returns when nothing is owed from before `until`, or after a patience: then it is lost."""
    give_up = time.monotonic() + WITHIN_S
    async with await AsyncConnection.connect(conninfo, autocommit=True) as conn:
        while time.monotonic() < give_up:
            row = await (await conn.execute(LEFT, [until])).fetchone()
            if row == (0,):
                return
            for clerk in clerks:
                clerk.keep()
            await asyncio.sleep(0.2)


async def _judged(
    conninfo: str, until: datetime, kills: int, databases: int, cases: int
) -> Outcome:
    async with await AsyncConnection.connect(conninfo, autocommit=True) as conn:
        cursor = await conn.execute(VERDICT, {"until": until})
        row: Any = await cursor.fetchone()
        assert cursor.description is not None
        found = dict(zip([column.name for column in cursor.description], row, strict=True))
        incomplete: Any = await (await conn.execute(INCOMPLETE)).fetchone()
    faults = {name: found[name] for name in ("lost", "doubled", "untold", "unheard", "early")}
    faults["incomplete"] = incomplete[0]
    faults["notices_beside"] = found["notices"] - found["fired"]
    return Outcome(
        kills=kills,
        database_kills=databases,
        cases=cases,
        fired=found["fired"],
        cancelled=found["cancelled"],
        median_late_s=found["median_s"],
        latest_s=found["latest_s"],
        faults=faults,
    )


def main() -> int:
    """Exit code: 1 if there is any fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        began = time.monotonic()
        outcome = asyncio.run(campaign(Path(home), asked.kills, asked.seed))
        seconds = round(time.monotonic() - began, 1)
    print(
        json.dumps(
            asdict(outcome) | {"seconds": seconds, "seed": asked.seed} | {"machine": machine()}
        )
    )
    return int(any(outcome.faults.values()))


if __name__ == "__main__":
    sys.exit(main())
