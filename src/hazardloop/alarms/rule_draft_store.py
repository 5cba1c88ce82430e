"""Changes of rules by people: drafted by one, decided by another, each step kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import errors
from psycopg.types.json import Jsonb

from hazardloop.alarms.alarm import Actor
from hazardloop.alarms.errors import DraftRefused
from hazardloop.alarms.rule_store import ONE_AT_A_TIME, Connection


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody wants a rule to be."""

    rule_id: str
    body: Mapping[str, Any]
    definition: Mapping[str, Any]
    reason: str
    effective_from: datetime | None
    """None: from its approval on."""
    reach: int
    """Points that it selects."""
    warnings: Sequence[str]
    retires: bool = False
    """From then on it is none."""


NEWEST: Final = "SELECT coalesce(max(version), 0) FROM rule_version WHERE rule_id = %s"

OPEN: Final = """
    SELECT draft_id, drafted_by FROM rule_draft WHERE rule_id = %s AND decision IS NULL
       FOR NO KEY UPDATE"""

ADD: Final = """
    INSERT INTO rule_draft (rule_id, base_version, retires, body, definition, effective_from,
                            reason, reach, warnings, drafted_at, drafted_by, drafted_role)
    VALUES (%(rule_id)s, %(base)s, %(retires)s, %(body)s, %(definition)s, %(effective_from)s,
            %(reason)s, %(reach)s, %(warnings)s, now(), %(actor)s, %(role)s)
    RETURNING draft_id"""

DECIDE: Final = """
    UPDATE rule_draft SET decision = %(decision)s, decided_at = now(), decided_by = %(actor)s,
           decided_role = %(role)s, decision_note = %(note)s, version = %(version)s
     WHERE draft_id = %(draft)s AND decision IS NULL"""

BECOME: Final = """
    INSERT INTO rule_version (rule_id, version, definition, body, origin, retired, effective_from,
                              draft_id)
    SELECT rule_id, version, definition, body, 'api', retires,
           greatest(effective_from, decided_at), draft_id
      FROM rule_draft WHERE draft_id = %(draft)s"""


async def draft(conn: Connection, change: Change, actor: Actor) -> int:
    """Id of the draft; it takes the place of one of the same author's.

    DraftRefused: another's draft of this rule waits to be decided.
    """
    await conn.execute(ONE_AT_A_TIME)
    row = await (await conn.execute(OPEN, [change.rule_id])).fetchone()
    if row is not None and row[1] != actor.username:
        raise DraftRefused(
            f"draft {row[0]} of rule {change.rule_id} by {row[1]} waits to be decided first"
        )
    if row is not None:
        await _decide(conn, row[0], "replaced", actor, None)
    base = await _newest(conn, change.rule_id)
    made = await conn.execute(
        ADD,
        {
            "rule_id": change.rule_id,
            "base": base,
            "retires": change.retires,
            "body": Jsonb(change.body),
            "definition": Jsonb(change.definition),
            "effective_from": change.effective_from,
            "reason": change.reason,
            "reach": change.reach,
            "warnings": Jsonb(list(change.warnings)),
            "actor": actor.username,
            "role": actor.role,
        },
    )
    found = await made.fetchone()
    assert found is not None
    return int(found[0])


async def approve(
    conn: Connection, rule_id: str, draft_id: int, base: int, actor: Actor, note: str | None
) -> int:
    """The version that the draft became. DraftRefused: the rule has another version since.

    Args:
        conn: of the request.
        rule_id: whose draft it is.
        draft_id: undecided, and another's.
        base: the newest version when it was drafted.
        actor: who approves.
        note: what they say to it.
    """
    await conn.execute(ONE_AT_A_TIME)
    newest = await _newest(conn, rule_id)
    if newest != base:
        raise DraftRefused(
            f"draft {draft_id} changes version {base} of rule {rule_id}, which is at version"
            f" {newest} by now: draft it anew"
        )
    await _decide(conn, draft_id, "approved", actor, note, newest + 1)
    await conn.execute(BECOME, {"draft": draft_id})
    return newest + 1


async def end(
    conn: Connection, draft_id: int, decision: str, actor: Actor, note: str | None
) -> None:
    """Ends a draft that becomes nothing: `declined` by another, or `withdrawn` by its author."""
    await _decide(conn, draft_id, decision, actor, note)


async def _newest(conn: Connection, rule_id: str) -> int:
    row = await (await conn.execute(NEWEST, [rule_id])).fetchone()
    return int(row[0]) if row else 0


async def _decide(
    conn: Connection,
    draft_id: int,
    decision: str,
    actor: Actor,
    note: str | None,
    version: int | None = None,
) -> None:
    said = {"draft": draft_id, "decision": decision, "note": note, "version": version}
    who = {"actor": actor.username, "role": actor.role}
    try:
        done = await conn.execute(DECIDE, said | who)
    except errors.CheckViolation as error:
        raise DraftRefused(
            f"draft {draft_id}: nobody decides on what they drafted, and only its author withdraws"
        ) from error
    if not done.rowcount:
        raise DraftRefused(f"draft {draft_id} was decided already")
