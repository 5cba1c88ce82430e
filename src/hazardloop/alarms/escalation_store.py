"""Planned steps of escalation in PostgreSQL; the caller owns the transaction.

Locks: whoever plans or cancels holds the alarm of the case already. Whoever fires takes rows of
this table first, passing over those that somebody else holds, and the live counter last.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from hazardloop.alarms import jobs
from hazardloop.alarms.alarm import Stage, Tier
from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.deadlines import Duty
from hazardloop.alarms.escalation import (
    PROJECT_LADDER,
    Charge,
    Clock,
    Ladder,
    Standing,
    clocks,
    turned,
)
from hazardloop.alarms.jobs import Job
from hazardloop.alarms.rows import Row, fetch_each

TASK: Final = "escalate"
"""Name of the job that fires what is due."""

WAITS: Final = "SELECT duty, tier, wait FROM escalation_wait"


async def ladder(conn: Connection) -> Ladder:
    """The ladder of this district."""
    (waits,) = await fetch_each(conn, (WAITS, {}))
    return _ladder(waits)


def _ladder(waits: Sequence[Row]) -> Ladder:
    return PROJECT_LADDER.but((Duty(row["duty"]), Tier(row["tier"]), row["wait"]) for row in waits)


STANDING: Final = """
    SELECT c.case_id, c.enterprise_id, c.revision, c.stage, a.tier, c.stage_due_at,
           c.lead_case_id IS NOT NULL AS led, s.party, s.post, s.sign_due_at
      FROM disposal_case c JOIN alarm a USING (alarm_id)
           LEFT JOIN assignment s ON s.case_id = c.case_id AND c.stage = 'dispatched'
                                 AND s.signed_at IS NULL
     WHERE c.alarm_id = ANY (%(alarm_ids)s::uuid[])
     ORDER BY c.case_id"""
PLANNED: Final = """
    SELECT DISTINCT case_id, duty, party, owed_by, tier, duty_due_at FROM escalation
     WHERE case_id = ANY (ARRAY(SELECT case_id FROM disposal_case
                                 WHERE alarm_id = ANY (%(alarm_ids)s::uuid[])))
       AND cancelled_at IS NULL"""


async def settle(conn: Connection, alarm_ids: Sequence[UUID], now: datetime) -> None:
    """Plans every level of each clock that began for the cases of these alarms, and cancels what
    is left of each that ended. Settled a second time, it changes nothing.
    """
    asked = {"alarm_ids": list(alarm_ids)}
    rows, planned, waits = await fetch_each(conn, (STANDING, asked), (PLANNED, asked), (WAITS, {}))
    cases = [list(group) for _, group in groupby(rows, key=lambda row: row["case_id"])]
    known: dict[UUID, set[Clock]] = {case[0]["case_id"]: set() for case in cases}
    for row in planned:
        known[row["case_id"]].add(_clock(row))
    begun: list[tuple[dict[str, Any], Clock]] = []
    ended: list[tuple[dict[str, Any], Clock]] = []
    for case in cases:
        over, new = turned(known[case[0]["case_id"]], clocks(_standing(case)))
        begun += ((case[0], clock) for clock in new)
        ended += ((case[0], clock) for clock in over)
    await _cancel(conn, ended, now)
    await _plan(conn, begun, _ladder(waits), now)


def _standing(rows: Sequence[Mapping[str, Any]]) -> Standing:
    """How the case of these rows stands; one that is handled under another has no clocks itself."""
    first = rows[0]
    if first["led"]:
        return Standing(Stage(first["stage"]), Tier(first["tier"]), None)
    unsigned = tuple(
        Charge(row["party"], row["post"], row["sign_due_at"]) for row in rows if row["party"]
    )
    return Standing(Stage(first["stage"]), Tier(first["tier"]), first["stage_due_at"], unsigned)


def _clock(row: Mapping[str, Any]) -> Clock:
    return Clock(
        Duty(row["duty"]), row["party"], row["owed_by"], Tier(row["tier"]), row["duty_due_at"]
    )


PLAN: Final = """
    WITH queued AS MATERIALIZED (
        SELECT defer_jobs(%(tasks)s::text[], %(arguments)s::jsonb[], %(instants)s::timestamptz[])
               AS jobs)
    INSERT INTO escalation (case_id, enterprise_id, duty, party, owed_by, tier, duty_due_at, level,
                            post, due_at, planned_at, planned_by_revision, job)
    SELECT case_id, enterprise_id, duty, party, owed_by, tier, duty_due_at, level, post, due_at,
           %(now)s, revision, (SELECT jobs[nth_job] FROM queued)
      FROM unnest(%(case_id)s::uuid[], %(enterprise_id)s::int[], %(duty)s::text[],
                  %(party)s::text[], %(owed_by)s::text[], %(tier)s::int[],
                  %(duty_due_at)s::timestamptz[], %(level)s::int[], %(post)s::text[],
                  %(due_at)s::timestamptz[], %(revision)s::int[], %(nth_job)s::int[])
           AS planned (case_id, enterprise_id, duty, party, owed_by, tier, duty_due_at, level, post,
                       due_at, revision, nth_job)"""


async def _plan(
    conn: Connection,
    begun: Sequence[tuple[Mapping[str, Any], Clock]],
    rungs_of: Ladder,
    now: datetime,
) -> None:
    """Writes all levels down; one job looks for all that are due first at the same instant."""
    if not begun:
        return
    first = sorted({clock.due_at for _, clock in begun})
    nth_at = {due_at: nth for nth, due_at in enumerate(first, 1)}
    rows = [
        {
            "case_id": case["case_id"],
            "enterprise_id": case["enterprise_id"],
            "revision": case["revision"],
            "duty": clock.duty,
            "party": clock.party,
            "owed_by": clock.owed_by,
            "tier": int(clock.tier),
            "duty_due_at": clock.due_at,
            "level": rung.level,
            "post": rung.post,
            "due_at": rung.due_at,
            "nth_job": nth_at[clock.due_at] if rung.level == 1 else None,
        }
        for case, clock in begun
        for rung in rungs_of.rungs(clock)
    ]
    await conn.execute(
        PLAN,
        _columns(rows)
        | {"now": now, "tasks": [TASK for _ in first], "arguments": [Jsonb({}) for _ in first]}
        | {"instants": first},
    )


CANCEL: Final = """
    UPDATE escalation AS e SET cancelled_at = %(now)s, cancelled_by_revision = revision
      FROM unnest(%(case_id)s::uuid[], %(revision)s::int[], %(duty)s::text[],
                  %(party)s::text[], %(owed_by)s::text[], %(tier)s::int[],
                  %(duty_due_at)s::timestamptz[])
           AS ended (case_id, revision, duty, party, owed_by, tier, duty_due_at)
     WHERE (e.case_id, e.duty, e.party, e.owed_by, e.tier, e.duty_due_at)
           = (ended.case_id, ended.duty, ended.party, ended.owed_by, ended.tier,
              ended.duty_due_at)
       AND e.fired_at IS NULL AND e.cancelled_at IS NULL"""
# A job that looks for several cases at once runs while one of them is owed.
CANCEL_IDLE: Final = """
    SELECT cancel_jobs(array_agg(DISTINCT job)) FROM escalation AS gone
     WHERE case_id = ANY (%(case_id)s::uuid[]) AND cancelled_at = %(now)s AND job IS NOT NULL
       AND NOT EXISTS (SELECT FROM escalation AS e WHERE e.job = gone.job
                          AND e.fired_at IS NULL AND e.cancelled_at IS NULL)
    HAVING count(*) > 0"""


async def _cancel(
    conn: Connection, ended: Sequence[tuple[Mapping[str, Any], Clock]], now: datetime
) -> None:
    if not ended:
        return
    rows = [
        {
            "case_id": case["case_id"],
            "revision": case["revision"],
            "duty": clock.duty,
            "party": clock.party,
            "owed_by": clock.owed_by,
            "tier": int(clock.tier),
            "duty_due_at": clock.due_at,
        }
        for case, clock in ended
    ]
    ended_now = _columns(rows) | {"now": now}
    await conn.execute(CANCEL, ended_now)
    await conn.execute(CANCEL_IDLE, ended_now)


@dataclass(frozen=True, slots=True)
class Due:
    """A level whose time has come, held by the transaction that read it."""

    escalation_id: int
    case_id: UUID
    alarm_id: UUID
    enterprise_id: int
    revision: int
    """Of the case, now."""
    duty: str
    party: str
    owed_by: str
    tier: int
    level: int
    post: str
    due_at: datetime
    duty_due_at: datetime
    owed: bool
    """Whether the duty is still not done: so unless somebody went around the steps."""


_DUE: Final = """
    SELECT escalation_id, e.case_id, c.alarm_id, e.enterprise_id, c.revision, e.duty, e.party,
           e.owed_by, e.tier, e.level, e.post, e.due_at, e.duty_due_at,
           CASE e.duty
           WHEN 'sign' THEN c.stage = 'dispatched' AND EXISTS (
               SELECT FROM assignment s WHERE s.case_id = e.case_id AND s.party = e.party
                  AND s.post = e.owed_by AND s.signed_at IS NULL)
           WHEN 'verify' THEN c.stage = 'signed'
           WHEN 'submit' THEN c.stage IN ('verified', 'handling')
           ELSE c.stage = 'submitted' END AS owed
      FROM escalation e JOIN disposal_case c USING (case_id)
     WHERE e.due_at <= %(now)s AND e.fired_at IS NULL AND e.cancelled_at IS NULL
     ORDER BY e.due_at, e.escalation_id LIMIT %(most)s FOR UPDATE OF e """
DUE: Final = _DUE + "SKIP LOCKED"
NEXT_DUE: Final = _DUE


async def due(conn: Connection, now: datetime, most: int) -> list[Due]:
    """What is due and nobody else holds, longest overdue first; held until the caller ends.

    Where others hold all that is due: one of them, waited for, unless it is over by then.
    """
    rows = await _fetch(conn, DUE, {"now": now, "most": most})
    if not rows:
        rows = await _fetch(conn, NEXT_DUE, {"now": now, "most": 1})
    return [Due(**row) for row in rows]


TURN: Final = "SELECT pg_try_advisory_xact_lock(hashtext('hazardloop.escalate'))"


async def our_turn(conn: Connection) -> bool:
    """Whether nobody else is telling levels just now; so it stays until the transaction ends."""
    row = await (await conn.execute(TURN)).fetchone()
    return row is not None and bool(row[0])


FIRED: Final = """
    UPDATE escalation AS e SET fired_at = %(now)s, receipt = ARRAY[notice_id]
      FROM unnest(%(ids)s::bigint[], %(notices)s::bigint[]) AS fired (escalation_id, notice_id)
     WHERE e.escalation_id = fired.escalation_id"""
MOOT: Final = """
    UPDATE escalation AS e SET cancelled_at = %(now)s, cancelled_by_revision = c.revision
      FROM disposal_case c
     WHERE c.case_id = e.case_id AND e.escalation_id = ANY (%(ids)s::bigint[])"""
# One that somebody holds is being told or cancelled; to wait for it could close a ring.
HIGHER: Final = """
    WITH higher AS (
        SELECT DISTINCT ON (case_id, duty, party, owed_by, tier) escalation_id FROM escalation
         WHERE case_id = ANY (%(case_ids)s::uuid[]) AND fired_at IS NULL AND cancelled_at IS NULL
         ORDER BY case_id, duty, party, owed_by, tier, level
    ) SELECT escalation_id, due_at FROM escalation JOIN higher USING (escalation_id)
       WHERE job IS NULL FOR UPDATE OF escalation SKIP LOCKED"""
GIVE_JOBS: Final = """
    UPDATE escalation AS e SET job = given.job
      FROM unnest(%(ids)s::bigint[], %(jobs)s::bigint[]) AS given (escalation_id, job)
     WHERE e.escalation_id = given.escalation_id"""


async def note_fired(
    conn: Connection, fired: Sequence[Due], notices: Sequence[int], now: datetime
) -> None:
    """Keeps that these levels were told, each with its notice, and plans the jobs of the next."""
    await conn.execute(
        FIRED,
        {"ids": [one.escalation_id for one in fired], "notices": list(notices), "now": now},
    )
    higher = await _fetch(conn, HIGHER, {"case_ids": list({one.case_id for one in fired})})
    instants = sorted({row["due_at"] for row in higher})
    ids = await jobs.defer_many(conn, [Job(TASK, {}, due_at) for due_at in instants])
    job_at = dict(zip(instants, ids, strict=True))
    await conn.execute(
        GIVE_JOBS,
        {
            "ids": [row["escalation_id"] for row in higher],
            "jobs": [job_at[row["due_at"]] for row in higher],
        },
    )


async def note_moot(conn: Connection, moot: Iterable[Due], now: datetime) -> None:
    """Keeps that these levels are nobody's any more."""
    await conn.execute(MOOT, {"ids": [one.escalation_id for one in moot], "now": now})


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of the same keys as columns."""
    return {name: [row[name] for row in rows] for name in rows[0]}


async def _fetch(conn: Connection, query: str, values: Mapping[str, Any]) -> list[Row]:
    (rows,) = await fetch_each(conn, (query, values))
    return rows
