"""Clerks, api and database killed at random; counts what became of every level and every step.

    python benchmarks/escalation.py --kills 200

Starts its own PostgreSQL, an api and two clerks, opens red cases whose signatures are due within
seconds; both sides sign some of them over the api, all the time; meanwhile a clerk, the api or the
database is killed with SIGKILL at random moments. Progress goes to standard error; at the end one
JSON object on standard output. Exit 1 if a level that was owed was not told, one was told twice, or
early, or one was told that a step had made moot; if a step that the api confirmed is not written
down exactly once; if `ledger verify` finds anything.
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
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

sys.path.insert(0, str(Path(__file__).parents[1]))

from hazardloop.alarms import case_store, consequences
from hazardloop.alarms.alarm import Role, Tier
from hazardloop.alarms.deadlines import PROJECT_DEADLINES, Duty
from hazardloop.service import ledger
from hazardloop.service.api import sessions
from hazardloop.service.api.sessions import Account
from hazardloop.service.benches.load import machine
from hazardloop.service.database import migrate
from hazardloop.service.database_roles import SERVICE
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from tests.brokers import free_port
from tests.cases import found_district, raise_alarms
from tests.worlds import process

CLERKS: Final = 2
CASES_A_KILL: Final = 4
LATELY: Final = 20
"""Cases among which a signer chooses: the older ones are signed, or were left unsigned."""
IN_TURN: Final = ("clerk", "api", "clerk", "api", "database")
"""Whose turn it is to be killed."""
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
    """What became of levels and steps; all that should be 0 stands in `faults`."""

    kills: dict[str, int]
    """Of each kind of process."""
    cases: int
    confirmed: int
    """Steps that the api said are taken."""
    unanswered: int
    """Steps of which it died, or its database was away, before it could say so."""
    fired: int
    cancelled: int
    median_late_s: float
    latest_s: float
    faults: dict[str, int]
    wrong: list[str]
    """What `ledger verify` found."""


class Field:
    """Cases that open, over a database that comes and goes."""

    def __init__(self, conninfo: str, chance: random.Random) -> None:
        self._conninfo = conninfo
        self._chance = chance
        self.cases: list[UUID] = []
        self.confirmed = asyncio.Event()
        """A step was, since the api was killed."""

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


class Signer:
    """One side, who signs whatever case comes to mind, over an api that comes and goes."""

    def __init__(self, field: Field, token: str, port: int, chance: random.Random) -> None:
        self._field, self._chance = field, chance
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        self.confirmed: list[tuple[UUID, int]] = []
        """Case and its revision after the step, as the api said."""
        self.unanswered = 0

    async def work(self) -> None:
        """Signs until it is cancelled."""
        async with self._client:
            while True:
                await asyncio.sleep(self._chance.uniform(0, 0.1))
                if self._field.cases:
                    await self._sign(self._chance.choice(self._field.cases[-LATELY:]))

    async def _sign(self, case_id: UUID) -> None:
        try:
            case = await self._client.get(f"/cases/{case_id}")
            if case.status_code != 200 or "sign" not in case.json()["allowed_actions"]:
                return
            step = {"action": "sign", "revision": case.json()["revision"]}
        except httpx.TransportError:
            return
        try:
            taken = await self._client.post(f"/cases/{case_id}/steps", json=step)
        except httpx.TransportError:
            self.unanswered += 1
            return
        if taken.status_code == 201:
            self.confirmed.append((case_id, step["revision"] + 1))
            self._field.confirmed.set()
        elif taken.status_code >= 500:
            self.unanswered += 1


async def campaign(home: Path, kills: int, seed: int) -> Outcome:
    """What became of every level and step, after so many kills."""
    chance = random.Random(seed)
    server = EmbeddedPostgres(home / "database", settings={"max_connections": "80"})
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        served = make_conninfo(server.conninfo, user=SERVICE, password="of-the-service")
        await migrate(server.conninfo, served)
        async with await AsyncConnection.connect(server.conninfo, autocommit=True) as conn:
            await found_district(conn)
            tokens = [await token_of(conn, *one) for one in SIDES]
        field, port = Field(server.conninfo, chance), free_port()
        signers = [Signer(field, token, port, random.Random(chance.random())) for token in tokens]
        api = Kept("api", home / "api", database_url=served, api_port=port)
        clerks = [
            Kept("clerk", home / f"clerk{number}", database_url=served) for number in range(CLERKS)
        ]
        stack.callback(lambda: [one.close() for one in (api, *clerks)])
        killed = await _fire(field, signers, server, api, clerks, kills, chance)
        until = datetime.now(UTC)
        await _settled(server.conninfo, until, clerks)
        return await _judged(server.conninfo, until, killed, field, signers)


async def _fire(
    field: Field,
    signers: Sequence[Signer],
    server: EmbeddedPostgres,
    api: "Kept",
    clerks: Sequence["Kept"],
    kills: int,
    chance: random.Random,
) -> dict[str, int]:
    """How many of each were killed, while cases opened and were signed."""
    killed = Counter[str]()
    working = [asyncio.create_task(signer.work()) for signer in signers]
    for number in range(kills):
        await field.open_some(CASES_A_KILL)
        await asyncio.sleep(chance.uniform(0.2, 1.8))
        whom = IN_TURN[number % len(IN_TURN)]
        killed[whom] += 1
        match whom:
            case "database":
                await _kill_database(server)
            case "api":
                with suppress(TimeoutError):  # it is to live before it dies
                    await asyncio.wait_for(field.confirmed.wait(), WITHIN_S)
                await asyncio.to_thread(api.kill)
                field.confirmed.clear()
            case _:
                await asyncio.to_thread(chance.choice(clerks).kill)
        for one in (api, *clerks):
            one.keep()
        print(f"{number + 1} of {kills} kills, {len(field.cases)} cases", file=sys.stderr)
    for task in working:
        task.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    return dict(killed)


SIDES: Final = (("zhang", "enterprise", 1), ("li", "authority", None))
"""Name, role and enterprise of who signs."""

ACCOUNT: Final = """
    INSERT INTO user_account (username, display_name, role, enterprise_id, password_hash)
    VALUES (%s, %s, %s, %s, '-') RETURNING user_id"""


async def token_of(
    conn: AsyncConnection[Any], name: str, role: str, enterprise_id: int | None
) -> str:
    """Of a session of a new user."""
    made = await conn.execute(ACCOUNT, [name, name, role, enterprise_id])
    (user_id,) = await made.fetchone() or (0,)
    account = Account(user_id, name, name, Role(role), "zh-CN", enterprise_id, None, None)
    return await sessions.open_session(conn, account, datetime.now(UTC))


class Kept:
    """A process of the service, and its supervisor."""

    def __init__(self, role: str, home: Path, **settings: object) -> None:
        self._role, self._home, self._settings = role, home, settings
        self._stack = ExitStack()
        self._start()

    def _start(self) -> None:
        running = process(self._role, self._home, **self._settings)
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


async def _settled(conninfo: str, until: datetime, clerks: Sequence[Kept]) -> None:
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


WRITTEN: Final = """
    SELECT count(*) FROM unnest(%s::uuid[], %s::int[]) AS told (case_id, revision)
     WHERE 1 <> (SELECT count(*) FROM ledger l WHERE l.case_id = told.case_id
                    AND l.revision = told.revision AND l.action = 'sign')"""
SIGNED_TWICE: Final = """
    SELECT count(*) FROM (SELECT FROM ledger WHERE action = 'sign'
                           GROUP BY case_id, actor_role HAVING count(*) > 1) AS twice"""


async def _judged(
    conninfo: str,
    until: datetime,
    killed: dict[str, int],
    field: Field,
    signers: Sequence[Signer],
) -> Outcome:
    confirmed = [one for signer in signers for one in signer.confirmed]
    async with await AsyncConnection.connect(conninfo, autocommit=True) as conn:
        cursor = await conn.execute(VERDICT, {"until": until})
        row: Any = await cursor.fetchone()
        assert cursor.description is not None
        found = dict(zip([column.name for column in cursor.description], row, strict=True))
        faults = {name: found[name] for name in ("lost", "doubled", "untold", "unheard", "early")}
        faults["incomplete"] = await _number(conn, INCOMPLETE)
        told = [[one[nth] for one in confirmed] for nth in range(2)]
        faults["confirmed_but_not_written_once"] = await _number(conn, WRITTEN, told)
        faults["signed_twice"] = await _number(conn, SIGNED_TWICE)
    faults["notices_beside"] = found["notices"] - found["fired"]
    with psycopg.connect(conninfo) as reader:
        wrong = ledger.verify(reader, [], None, lambda _: None).findings
    faults["ledger"] = len(wrong)
    return Outcome(
        kills=killed,
        cases=len(field.cases),
        confirmed=len(confirmed),
        unanswered=sum(signer.unanswered for signer in signers),
        fired=found["fired"],
        cancelled=found["cancelled"],
        median_late_s=found["median_s"],
        latest_s=found["latest_s"],
        faults=faults,
        wrong=wrong,
    )


async def _number(conn: AsyncConnection[Any], query: str, parameters: Any = None) -> int:
    row = await (await conn.execute(query, parameters)).fetchone()
    return int((row or [0])[0])


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
