"""Cases, their assignments, evidence and ledger in PostgreSQL; the caller owns the transaction.

Locks are taken in one order everywhere: alarm, case, live counter. `hold_groups` comes first and
`note_changes` last, so that two writers wait for one another and never in a ring.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from hazardloop.alarms.alarm import Assignment, Case, Check, Party, Stage, Tier, Verdict, case_id_of
from hazardloop.alarms.deadlines import PROJECT_DEADLINES, Deadlines, Duty
from hazardloop.alarms.errors import CaseOvertaken
from hazardloop.alarms.rows import Row, fetch_each

Connection: TypeAlias = AsyncConnection[Any]

OPEN_CASES: Final = """
    WITH opened AS (
        INSERT INTO disposal_case (case_id, alarm_id, enterprise_id, stage, revision,
                                   opened_at, stage_at, stage_due_at)
        SELECT case_id, alarm_id, enterprise_id, 'dispatched', 2,
               %(now)s, %(now)s, %(now)s + (%(sign)s::interval[])[tier]
          FROM alarm JOIN unnest(%(alarm_ids)s::uuid[], %(case_ids)s::uuid[])
                          AS wanted (alarm_id, case_id) USING (alarm_id)
        ON CONFLICT DO NOTHING
        RETURNING case_id, alarm_id, enterprise_id, stage_due_at
    ), located AS (
        SELECT case_id, opened.enterprise_id, device.kind, tier::int AS tier, stage_due_at,
               CASE WHEN tags ? 'maintenance_unit' THEN tags ->> 'maintenance_unit' END AS keeper
          FROM opened JOIN alarm USING (alarm_id) JOIN device USING (device_id)
    ), decided AS (  -- once for each kind of case, however many alarms there are
        SELECT of.*, recipient.*
          FROM (SELECT DISTINCT enterprise_id, kind, tier, keeper FROM located) AS of
               CROSS JOIN LATERAL recipients_of(enterprise_id, kind, tier, keeper) AS recipient
    ), charged AS (
        INSERT INTO assignment (case_id, party, post, assigned_to, recipient_rule_id,
                                dispatched_at, sign_due_at)
        SELECT case_id, party, post, organisation, recipient_rule_id, %(now)s, stage_due_at
          FROM located JOIN decided USING (enterprise_id, kind, tier)
         WHERE located.keeper IS NOT DISTINCT FROM decided.keeper
        RETURNING case_id
    ), noted AS (
        INSERT INTO ledger (case_id, alarm_id, revision, action, actor, actor_role, taken_at, body)
        SELECT case_id, alarm_id, revision, action, 'system', 'system', %(now)s,
               CASE action
               WHEN 'raise' THEN jsonb_build_object('stage', 'raised', 'raised_at', raised_at,
                                                    'tier', (%(names)s::text[])[tier])
               ELSE jsonb_build_object('stage', 'dispatched', 'due_at', stage_due_at) END
          FROM opened JOIN alarm USING (alarm_id)
               CROSS JOIN (VALUES (1, 'raise'), (2, 'dispatch')) AS line (revision, action)
         ORDER BY alarm_id, revision
        RETURNING case_id
    ) SELECT count(*) AS opened FROM opened"""


async def open_cases(
    conn: Connection,
    alarm_ids: Sequence[UUID],
    now: datetime,
    deadlines: Deadlines = PROJECT_DEADLINES,
) -> int:
    """How many cases were opened for alarms already stored: dispatched to both sides at `now`.

    Who is charged is decided by `recipients_of` (migration 0017).

    One statement for any number of alarms; an alarm that has its case keeps it as it stands.
    """
    if not alarm_ids:
        return 0
    parameters = {
        "alarm_ids": list(alarm_ids),
        "case_ids": [case_id_of(alarm_id) for alarm_id in alarm_ids],
        "now": now,
        "sign": _by_tier(deadlines, Duty.SIGN),
        "names": _TIER_NAMES,
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(OPEN_CASES, parameters)
        return int((await cursor.fetchone() or {})["opened"])


TIGHTEN_DEADLINES: Final = """
    WITH risen AS (
        SELECT case_id, tier, %(now)s + (CASE stage WHEN 'dispatched' THEN %(sign)s::interval[]
                                                    WHEN 'signed' THEN %(verify)s::interval[]
                                                    WHEN 'submitted' THEN %(review)s::interval[]
                                                    ELSE %(submit)s::interval[] END)[tier] AS due_at
          FROM disposal_case JOIN alarm USING (alarm_id)
         WHERE alarm_id = ANY (%(alarm_ids)s::uuid[]) AND stage <> 'closed'
           AND (%(names)s::text[])[tier] IS DISTINCT FROM (
                   SELECT body ->> 'tier' FROM ledger
                    WHERE ledger.case_id = disposal_case.case_id AND body ? 'tier'
                    ORDER BY revision DESC LIMIT 1)
    ), tightened AS (
        UPDATE disposal_case AS c
           SET revision = revision + 1, stage_due_at = least(stage_due_at, due_at)
          FROM risen WHERE risen.case_id = c.case_id
        RETURNING c.case_id, alarm_id, revision, stage, stage_due_at, tier
    ), hurried AS (
        UPDATE assignment AS a SET sign_due_at = least(sign_due_at, stage_due_at)
          FROM tightened AS t
         WHERE t.case_id = a.case_id AND t.stage = 'dispatched' AND signed_at IS NULL
        RETURNING a.case_id
    ), noted AS (
        INSERT INTO ledger (case_id, alarm_id, revision, action, actor, actor_role, taken_at, body)
        SELECT case_id, alarm_id, revision, 'tighten', 'system', 'system', %(now)s,
               jsonb_build_object('stage', stage, 'due_at', stage_due_at,
                                  'tier', (%(names)s::text[])[tier])
          FROM tightened
        RETURNING case_id
    ) SELECT count(*) AS tightened FROM tightened"""


async def tighten_deadlines(
    conn: Connection,
    alarm_ids: Sequence[UUID],
    now: datetime,
    deadlines: Deadlines = PROJECT_DEADLINES,
) -> int:
    """How many open cases got the clock of their alarm's higher tier, which runs from `now`.

    No clock gets longer, a closed case keeps its own, and told twice it changes nothing twice.
    Each counts a revision: who was about to submit an orange case must see that it is red.
    """
    if not alarm_ids:
        return 0
    parameters: Row = {"alarm_ids": list(alarm_ids), "now": now, "names": _TIER_NAMES} | {
        duty.value: _by_tier(deadlines, duty) for duty in Duty
    }
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(TIGHTEN_DEADLINES, parameters)
        return int((await cursor.fetchone() or {})["tightened"])


_CASES: Final = """
    SELECT c.*, alarm.tier, alarm.cleared_at IS NULL AS signal_active,
           alarm.cleared_at + nullif(case_policy.rest, '0') AS rests_at,
           (SELECT count(*) FROM evidence
             WHERE evidence.case_id IN (c.case_id, c.lead_case_id)) AS evidence,
           (SELECT jsonb_agg(to_jsonb(assignment) ORDER BY party DESC, post)
              FROM assignment WHERE assignment.case_id = c.case_id) AS assignments,
           (SELECT jsonb_agg(to_jsonb(case_check) ORDER BY position)
              FROM case_check WHERE case_check.case_id = c.case_id) AS checks,
           (SELECT array_agg(case_id ORDER BY case_id)
              FROM disposal_case AS m WHERE m.lead_case_id = c.case_id) AS members
      FROM disposal_case AS c JOIN alarm USING (alarm_id) CROSS JOIN case_policy
     WHERE """
ONES: Final = f"{_CASES} c.case_id = ANY (%(case_ids)s::uuid[])"
GROUPS: Final = f"{ONES} OR c.lead_case_id = ANY (%(case_ids)s::uuid[])"


async def load_cases(conn: Connection, case_ids: Sequence[UUID]) -> Mapping[UUID, Case]:
    """The cases by id, as far as they exist and may be seen."""
    (rows,) = await fetch_each(conn, (ONES, {"case_ids": list(case_ids)}))
    return {row["case_id"]: case_in(row) for row in rows}


async def load_case(conn: Connection, case_id: UUID) -> Case | None:
    """The case; None if there is none or it may not be seen."""
    return (await load_cases(conn, [case_id])).get(case_id)


GIVE_WAY: Final = "SELECT set_config('lock_timeout', '700ms', true)"
"""Less than the server waits before it looks for rings: the worker, who holds alarms of many cases
in an order of its own, is never the one to be broken off."""
MANY_GIVE_WAY: Final = f"""{GIVE_WAY} FROM disposal_case
     WHERE case_id = ANY (%(case_ids)s::uuid[]) OR lead_case_id = ANY (%(case_ids)s::uuid[])
    HAVING count(*) > 1"""
HOLD: Final = """
    SELECT alarm_id FROM alarm
     WHERE alarm_id = ANY (ARRAY(
               SELECT alarm_id FROM disposal_case
                WHERE case_id = ANY (%(case_ids)s::uuid[])
                   OR lead_case_id = ANY (%(case_ids)s::uuid[])))
     ORDER BY alarm_id FOR NO KEY UPDATE"""


async def hold_groups(conn: Connection, case_ids: Sequence[UUID]) -> Mapping[UUID, Case]:
    """These cases and those handled under them, their alarms held until the transaction ends."""
    asked = {"case_ids": list(case_ids)}
    while True:
        _, alarms, rows = await fetch_each(
            conn, (MANY_GIVE_WAY, asked), (HOLD, asked), (GROUPS, asked)
        )
        held = {one["alarm_id"] for one in alarms}
        if all(row["alarm_id"] in held for row in rows):  # none joined while we waited
            return {row["case_id"]: case_in(row) for row in rows}


SIGN_ASSIGNMENT: Final = """
    UPDATE assignment SET signed_at = %(signed_at)s, signed_by = %(signed_by)s
     WHERE case_id = %(case_id)s AND party = %(party)s AND post = %(post)s
       AND signed_at IS NULL"""


async def sign(conn: Connection, case_id: UUID, signed: Assignment) -> None:
    """Keeps the signature of one post; one that has signed is left as it is."""
    await conn.execute(
        SIGN_ASSIGNMENT,
        {
            "case_id": case_id,
            "party": signed.party,
            "post": signed.post,
            "signed_at": signed.signed_at,
            "signed_by": signed.signed_by,
        },
    )


TICK_CHECK: Final = """
    UPDATE case_check SET ticked_at = %(ticked_at)s, ticked_by = %(ticked_by)s
     WHERE case_id = %(case_id)s AND item = %(item)s"""


async def tick(conn: Connection, case_id: UUID, check: Check) -> None:
    """Keeps how an item of the response plan stands now."""
    await conn.execute(
        TICK_CHECK,
        {
            "case_id": case_id,
            "item": check.item,
            "ticked_at": check.ticked_at,
            "ticked_by": check.ticked_by,
        },
    )


SAVE_CASE: Final = """
    UPDATE disposal_case
       SET stage = %(stage)s, revision = %(revision)s, stage_at = %(stage_at)s,
           stage_due_at = %(stage_due_at)s, verdict = %(verdict)s, cause = %(cause)s,
           measures = %(measures)s, responsible = %(responsible)s, funds = %(funds)s,
           deadline = %(deadline)s, plan = %(plan)s, handlers = %(handlers)s,
           submitted_by = %(submitted_by)s, closed_by = %(closed_by)s, closed_at = %(closed_at)s,
           reopened = %(reopened)s, returned = %(returned)s, lead_case_id = %(lead_case_id)s,
           bypass_permit = CASE WHEN %(permitted)s THEN coalesce(%(permit)s, bypass_permit) END
     WHERE case_id = %(case_id)s AND revision = %(revision)s - 1
    RETURNING revision"""


async def save_case(conn: Connection, case: Case, permit: Mapping[str, str] | None) -> None:
    """Keeps `case`, which is one revision on. CaseOvertaken: someone saved it since.

    `permit` is who granted the bypass, when and why, if this very step grants it.
    """
    parameters = {name: getattr(case, name) for name in _COLUMNS} | {
        "handlers": list(case.handlers),
        "permitted": case.bypass_permit,
        "permit": None if permit is None else Jsonb(dict(permit)),
    }
    if await (await conn.execute(SAVE_CASE, parameters)).fetchone() is None:
        current = await load_case(conn, case.case_id)
        raise CaseOvertaken(
            case.case_id, current.revision if current else case.revision, case.revision - 1
        )


NOTE_CHANGES: Final = """
    WITH counted AS (
        UPDATE alarm SET version = version + 1 WHERE alarm_id = ANY (%(alarm_ids)s::uuid[])
        RETURNING alarm_id
    ) SELECT note_live_changes(array_agg(alarm_id)) FROM counted"""


async def note_changes(conn: Connection, alarm_ids: Sequence[UUID]) -> None:
    """Counts a change of each alarm and tells the live list.

    Takes the list's counter, so nothing that waits may come after it.
    """
    await conn.execute(NOTE_CHANGES, {"alarm_ids": list(alarm_ids)})


def case_in(row: Row) -> Case:
    """A row of ONES or GROUPS as a case."""
    return Case(
        **{name: row[name] for name in _COLUMNS if name not in _MADE},
        tier=Tier(row["tier"]),
        signal_active=row["signal_active"],
        rests_at=row["rests_at"],
        stage=Stage(row["stage"]),
        verdict=row["verdict"] and Verdict(row["verdict"]),
        assignments=tuple(_assignment(one) for one in row["assignments"] or ()),
        evidence=row["evidence"],
        handlers=tuple(row["handlers"]),
        bypass_permit=row["bypass_permit"] is not None,
        checks=tuple(_check(one) for one in row["checks"] or ()),
        members=tuple(row["members"] or ()),
    )


def _assignment(found: Row) -> Assignment:
    signed_at = found["signed_at"]
    return Assignment(
        Party(found["party"]),
        found["assigned_to"],
        datetime.fromisoformat(found["dispatched_at"]),
        datetime.fromisoformat(found["sign_due_at"]),
        None if signed_at is None else datetime.fromisoformat(signed_at),
        found["signed_by"],
        found["post"],
    )


def _check(found: Row) -> Check:
    ticked_at = found["ticked_at"]
    return Check(
        found["item"],
        found["required"],
        None if ticked_at is None else datetime.fromisoformat(ticked_at),
        found["ticked_by"],
    )


_MADE: Final = frozenset({"stage", "verdict"})
_COLUMNS: Final = (
    "case_id",
    "alarm_id",
    "enterprise_id",
    "stage",
    "revision",
    "opened_at",
    "stage_at",
    "stage_due_at",
    "verdict",
    "cause",
    "measures",
    "responsible",
    "funds",
    "deadline",
    "plan",
    "submitted_by",
    "closed_by",
    "closed_at",
    "reopened",
    "returned",
    "lead_case_id",
)
"""Fields of a case that are columns of the same name."""

_TIER_NAMES: Final = [tier.wire for tier in Tier if tier]


def _by_tier(deadlines: Deadlines, duty: Duty) -> list[Any]:
    """Times of a duty for tiers 1..4, as PostgreSQL indexes an array."""
    return [deadlines.times[duty][tier] for tier in Tier if tier]
