"""The read side of cases: SQL, and rows to what a client sees."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from hazardloop.alarms import case_store, grouping
from hazardloop.alarms.alarm import Actor, Case, Stage, Tier
from hazardloop.alarms.deadlines import DUTIES, Passage, duty_runs
from hazardloop.alarms.grouping import Site
from hazardloop.alarms.lifecycle import allowed_actions
from hazardloop.alarms.rows import fetch_each
from hazardloop.service.api import lookup
from hazardloop.service.api.case_forms import (
    AlarmFacts,
    AssignmentOut,
    CaseBrief,
    CaseWithSteps,
    CheckOut,
    DeadlineOut,
    DutyOut,
    EvidenceOut,
    RelatedList,
    RelatedOut,
    StepOut,
)
from hazardloop.service.api.problems import Problem
from hazardloop.service.api.rows import fetch
from hazardloop.service.database import Connection

FACTS: Final = """
    SELECT c.case_id, c.alarm_id, c.bypass_permit,
           jsonb_build_object('id', e.enterprise_id, 'code', e.code, 'name', e.name) AS enterprise,
           jsonb_build_object('id', x.device_id, 'code', x.code, 'name', x.name) AS device,
           x.code || '.' || p.quantity AS point, x.kind, x.location, a.tier_now, a.rule_id AS rule,
           coalesce(r.definition -> 'name', '{}') AS name, nullif(a.value, 'NaN') AS value,
           a.limit_value AS "limit", a.direction,
           CASE a.direction WHEN 'stale' THEN 's' ELSE coalesce(a.value_unit, p.unit) END AS unit,
           a.raised_at, a.cleared_at, a.found_late, a.drill
      FROM disposal_case c JOIN alarm a USING (alarm_id)
           JOIN enterprise e ON e.enterprise_id = c.enterprise_id
           JOIN device x ON x.device_id = a.device_id JOIN point p ON p.point_id = a.point_id
           JOIN rule_version r ON r.rule_id = a.rule_id AND r.version = a.rule_version"""
ONES: Final = f"{FACTS} WHERE c.case_id = ANY (%(case_ids)s::uuid[])"
LIST: Final = f"""{FACTS}
     WHERE (%(stages)s::text[] IS NULL OR c.stage = ANY (%(stages)s))
       AND (%(closed)s::boolean IS NULL OR (c.stage = 'closed') = %(closed)s)
       AND (%(tiers)s::int[] IS NULL OR a.tier = ANY (%(tiers)s))
       AND {lookup.matches("enterprise", "enterprise")} AND {lookup.matches("device", "device")}
       AND {lookup.matches("point", "point")}
       AND (%(kind)s::text IS NULL OR x.kind = %(kind)s)
       AND (%(alarm)s::uuid IS NULL OR c.alarm_id = %(alarm)s)
       AND (%(overdue)s::boolean IS NULL
            OR (c.stage <> 'closed' AND coalesce(c.stage_due_at < %(now)s, false)) = %(overdue)s)
       AND (%(from)s::timestamptz IS NULL OR c.opened_at >= %(from)s)
       AND (%(to)s::timestamptz IS NULL OR c.opened_at < %(to)s)
       AND (%(after_at)s::timestamptz IS NULL
            OR (c.opened_at, c.case_id) < (%(after_at)s, %(after_id)s::uuid))
     ORDER BY c.opened_at DESC, c.case_id DESC LIMIT %(limit)s"""


async def list_briefs(
    conn: Connection, wanted: Mapping[str, Any], actor: Actor, now: datetime
) -> list[CaseBrief]:
    """Cases that fit `wanted`, a value or None for each name in LIST, newest first."""
    rows = await fetch(conn, LIST, dict(wanted))
    cases = await case_store.load_cases(conn, [row["case_id"] for row in rows])
    return [
        CaseBrief.model_validate(_brief(cases[row["case_id"]], row, actor, now)) for row in rows
    ]


STEPS: Final = """
    SELECT revision, action, actor, actor_role, taken_at, note, body
      FROM ledger WHERE case_id = %(case_id)s ORDER BY entry_id"""
EVIDENCE: Final = """
    SELECT evidence_id AS id, file_name, media_type, size_bytes, encode(sha256, 'hex') AS sha256,
           uploaded_by, uploaded_at
      FROM evidence WHERE case_id = %(case_id)s ORDER BY uploaded_at, evidence_id"""

CHECKS: Final = """
    SELECT item, text, required, ticked_at, ticked_by
      FROM case_check WHERE case_id = %(case_id)s ORDER BY position"""


async def whole_case(conn: Connection, case_id: UUID, actor: Actor, now: datetime) -> CaseWithSteps:
    """One case with its ledger, duties and evidence. Problem not_found."""
    one, asked = {"case_ids": [case_id]}, {"case_id": case_id}
    cases, facts, steps, evidence, checks = await fetch_each(
        conn,
        (case_store.ONES, one), (ONES, one), (STEPS, asked), (EVIDENCE, asked), (CHECKS, asked),
    )  # fmt: skip
    if not cases or not facts:
        raise Problem("not_found", f"case {case_id} is not known here")
    return CaseWithSteps.model_validate(
        _brief(case_store.case_in(cases[0]), facts[0], actor, now)
        | {
            "steps": [StepOut(**step) for step in steps],
            "evidence": [EvidenceOut(**one) for one in evidence],
            "checks": [CheckOut(**check) for check in checks],
            "deadlines": _deadlines(steps, now),
        }
    )


def _deadlines(steps: Sequence[Mapping[str, Any]], now: datetime) -> list[DeadlineOut]:
    passages = [
        Passage(
            step["action"],
            Stage(step["body"]["stage"]),
            datetime.fromisoformat(step["body"]["due_at"]) if "due_at" in step["body"] else None,
            step["taken_at"],
        )
        for step in steps
    ]
    return [
        DeadlineOut(stage=run.duty, due_at=run.due_at, done_at=run.done_at, overdue=run.overdue)
        for run in duty_runs(passages, now)
    ]


NEIGHBOURS: Final = """
    SELECT c.case_id, a.device_id, x.hazard_unit_id, a.raised_at, case_policy.related_within
      FROM disposal_case c JOIN alarm a USING (alarm_id) JOIN device x USING (device_id)
           CROSS JOIN case_policy
           JOIN (alarm mine JOIN device own USING (device_id)) ON mine.alarm_id = %(alarm_id)s
     WHERE c.stage <> 'closed' AND a.enterprise_id = mine.enterprise_id
       AND (x.device_id = own.device_id OR x.hazard_unit_id = own.hazard_unit_id)
       AND a.raised_at BETWEEN mine.raised_at - related_within AND mine.raised_at + related_within
     ORDER BY c.case_id = %(case_id)s DESC, abs(extract(epoch FROM a.raised_at - mine.raised_at))
     LIMIT %(most)s"""


async def related_cases(
    conn: Connection, case_id: UUID, actor: Actor, now: datetime
) -> RelatedList:
    """Open cases of the same device or hazard unit near in time. Problem not_found."""
    lead = await case_store.load_case(conn, case_id)
    if lead is None:
        raise Problem("not_found", f"case {case_id} is not known here")
    asked = {"case_id": case_id, "alarm_id": lead.alarm_id, "most": grouping.MOST_MEMBERS + 1}
    near = await fetch(conn, NEIGHBOURS, asked)
    within = near[0]["related_within"] if near else timedelta(0)
    sites = [Site(*(row[name] for name in Site.__slots__)) for row in near]
    own = next((site for site in sites if site.case_id == case_id), None)
    proposals = () if own is None else grouping.related(own, sites, within)
    found = [one.case_id for one in proposals]
    cases = await case_store.load_cases(conn, found)
    facts = {row["case_id"]: row for row in await fetch(conn, ONES, {"case_ids": found})}
    return RelatedList(
        within_s=within.total_seconds(),
        items=[
            RelatedOut(
                case=CaseBrief.model_validate(
                    _brief(cases[one.case_id], facts[one.case_id], actor, now)
                ),
                because=one.bond,
                apart_s=one.apart.total_seconds(),
                obstacle=grouping.no_merge(lead, cases[one.case_id]),
            )
            for one in proposals
        ],
    )


_SAME: Final = tuple(
    name
    for name in CaseBrief.model_fields
    if name in Case.__slots__ and name not in ("bypass_permit", "members")
)
"""What a client sees as it is."""


def _brief(case: Case, row: Mapping[str, Any], actor: Actor, now: datetime) -> dict[str, Any]:
    due = None
    if case.stage_due_at is not None:
        due = DutyOut(
            stage=DUTIES[case.stage], at=case.stage_due_at, overdue=now > case.stage_due_at
        )
    return {name: getattr(case, name) for name in _SAME} | {
        "id": case.case_id,
        "tier": case.tier.wire,
        "enterprise": row["enterprise"],
        "alarm": _facts(row),
        "due": due,
        "assignments": [AssignmentOut.model_validate(one) for one in case.assignments],
        "bypass_permit": row["bypass_permit"],
        "members": list(case.members),
        "allowed_actions": list(allowed_actions(case, actor, now)),
    }


def _facts(row: Mapping[str, Any]) -> AlarmFacts:
    return AlarmFacts.model_validate(
        dict(row)
        | {
            "id": row["alarm_id"],
            "tier_now": Tier(row["tier_now"]).wire if row["tier_now"] else None,
            "condition": "active" if row["cleared_at"] is None else "cleared",
        }
    )
