"""Rules: what is in force, how it came to be, and how people change it."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query
from psycopg.types.json import Jsonb

from hazardloop.alarms import rule_draft_store
from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rule_draft_store import Change
from hazardloop.alarms.rule_review import clashes
from hazardloop.alarms.rules import definition_of, read_rule, rules_of_kind
from hazardloop.devices.catalog import Catalog
from hazardloop.devices.marked_yaml import FileRefused
from hazardloop.service.api.access import Actor, Conn, Here, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.rule_bodies import (
    DecisionIn,
    DraftOut,
    RetireIn,
    RuleIn,
    RuleLife,
    RuleLine,
    VersionOut,
)
from hazardloop.service.api.sessions import Account
from hazardloop.service.api.site import Site
from hazardloop.service.database import EVERYTHING, Connection

router = APIRouter(tags=["rules"])

RuleRef = Annotated[str, Path(description="Id of the rule.", examples=["tank.level.high"])]
DraftRef = Annotated[int, Path(description="Id of the draft.")]

# Of each rule: the version in force, or its first one that waits, or the draft of one that has
# none; who asks for an enterprise is shown what selects points of it, as row security lets it see.
LIST: Final = """
    SELECT r.rule_id AS id, CASE WHEN r.effective_from <= now() THEN r.version END AS version,
           r.origin, r.retired, r.effective_from, r.definition ->> 'kind' AS kind,
           r.definition ->> 'device_kind' AS device_kind, r.definition ->> 'quantity' AS quantity,
           r.definition -> 'name' AS name, r.body, a.drafted_by, a.decided_by AS approved_by,
           d.draft_id AS draft, w.version AS waiting, h.version AS conflict
      FROM (SELECT DISTINCT ON (rule_id) * FROM (
                SELECT rule_id, version, origin, retired, effective_from, definition, body, draft_id
                  FROM rule_version WHERE effective_from IS NOT NULL
                 UNION ALL
                SELECT rule_id, NULL, 'api', false, NULL, definition, body, draft_id
                  FROM rule_draft WHERE decision IS NULL) AS v
             WHERE rule_id > %(after)s AND (%(rule)s::text IS NULL OR rule_id = %(rule)s)
             ORDER BY rule_id, version IS NULL, effective_from > now(), version DESC) AS r
           LEFT JOIN LATERAL (SELECT max(version) AS version FROM rule_version
                WHERE rule_id = r.rule_id AND effective_from > now()
                  AND version > r.version) AS w ON true
           LEFT JOIN LATERAL (SELECT max(version) AS version FROM rule_version
                WHERE rule_id = r.rule_id AND effective_from IS NULL
                  AND version > ALL (SELECT version FROM rule_version
                                      WHERE rule_id = r.rule_id AND effective_from IS NOT NULL)
                ) AS h ON true
           LEFT JOIN rule_draft a ON a.draft_id = r.draft_id
           LEFT JOIN rule_draft d ON d.rule_id = r.rule_id AND d.decision IS NULL
     WHERE (%(device_kind)s::text IS NULL OR r.definition ->> 'device_kind' = %(device_kind)s)
       AND (%(quantity)s::text IS NULL OR r.definition ->> 'quantity' = %(quantity)s)
       AND (NOT %(undecided)s OR num_nonnulls(d.draft_id, h.version) > 0)
       AND (%(all)s OR EXISTS (SELECT FROM rule_points(r.definition)))
     ORDER BY r.rule_id LIMIT %(limit)s"""

VERSIONS: Final = """
    SELECT v.version, v.origin, v.retired, v.body, v.created_at, v.effective_from, v.definition,
           d.drafted_by, d.decided_by AS approved_by, d.reason
      FROM rule_version v LEFT JOIN rule_draft d USING (draft_id)
     WHERE v.rule_id = %(rule)s ORDER BY v.version DESC"""

DRAFTS: Final = """
    SELECT draft_id AS id, rule_id AS rule, retires, body, effective_from, reason, reach, warnings,
           base_version, drafted_at, drafted_by, decision, decided_at, decided_by, decision_note,
           version
      FROM rule_draft
     WHERE rule_id = %(rule)s AND (%(draft)s::bigint IS NULL OR draft_id = %(draft)s)
     ORDER BY draft_id DESC"""

REACH: Final = "SELECT count(*) AS reach FROM rule_points(%(definition)s::jsonb)"

# Bodies in force that watch the same quantity, or will.
OTHERS: Final = """
    SELECT DISTINCT ON (rule_id) rule_id, body, definition, retired FROM rule_version
     WHERE effective_from IS NOT NULL AND rule_id <> %(rule)s
       AND definition ->> 'device_kind' = %(device_kind)s
       AND definition ->> 'quantity' = %(quantity)s
     ORDER BY rule_id, version DESC"""

COMMON: Final = """
    SELECT count(*) AS points FROM rule_points(%(one)s::jsonb) AS mine
      JOIN rule_points(%(other)s::jsonb) AS theirs USING (point_id)"""


@router.get("/rules", dependencies=[require("rules.read")])
async def list_rules(
    conn: Conn,
    page: Paging,
    account: Actor,
    device_kind: str | None = None,
    quantity: str | None = None,
    undecided: Annotated[
        bool, Query(description="Only those with a draft or a conflict to decide on.")
    ] = False,
) -> Listing[RuleLine]:
    """Rules in the order of their ids; an enterprise is shown those that watch its points."""
    chosen = {"device_kind": device_kind, "quantity": quantity, "undecided": undecided}
    chosen |= {"rule": None}
    rows = await _listed(conn, account, page.after[0] if page.after else "", page.limit + 1, chosen)
    return listing([RuleLine.model_validate(row) for row in rows], page, key=lambda one: (one.id,))


async def _listed(
    conn: Connection, account: Account, after: str, limit: int, chosen: dict[str, Any]
) -> list[dict[str, Any]]:
    everything = account.scope == EVERYTHING
    return await fetch(conn, LIST, chosen | {"after": after, "limit": limit, "all": everything})


@router.get("/rules/{rule}", dependencies=[require("rules.read")], responses=problems("not_found"))
async def get_rule(rule: RuleRef, conn: Conn, account: Actor) -> RuleLife:
    """A rule with every version that it ever had, the newest first."""
    return await _life(conn, account, rule)


async def _life(conn: Connection, account: Account, rule: str) -> RuleLife:
    chosen = {"device_kind": None, "quantity": None, "undecided": False, "rule": rule}
    found = await _listed(conn, account, "", 1, chosen)
    versions = await fetch(conn, VERSIONS, {"rule": rule})
    drafts = await fetch(conn, DRAFTS, {"rule": rule, "draft": None})
    if not found and not drafts:
        raise Problem("not_found", f"no rule {rule} is known here")
    one = found[0] if found else {"version": None, "waiting": None, "conflict": None}
    newest = next((row["definition"] for row in versions if row["version"] == one["version"]), None)
    return RuleLife(
        id=rule,
        version=one["version"],
        waiting=one["waiting"],
        conflict=one["conflict"],
        reach=await _reach(conn, newest) if newest else 0,
        versions=[VersionOut.model_validate(row) for row in versions],
        drafts=[DraftOut.model_validate(row) for row in drafts],
    )


async def _reach(conn: Connection, definition: dict[str, Any]) -> int:
    row = await fetch_one(conn, REACH, {"definition": Jsonb(definition)})
    return int(row["reach"]) if row else 0


@router.put(
    "/rules/{rule}",
    status_code=201,
    dependencies=[require("rules.draft")],
    responses=problems("invalid", "draft_refused"),
)
async def draft_rule(
    rule: RuleRef, body: RuleIn, conn: Conn, here: Here, account: Actor
) -> DraftOut:
    """Draft a rule, new or changed; nothing changes until another person approves it.

    All that is wrong with it is told at once, in `errors`; what is only odd, in `warnings`.
    """
    read = _read(body.rule, here)
    if read.rule_id != rule:
        raise _invalid([(("id",), f"id: found {read.rule_id!r}, the address says {rule!r}")])
    definition = definition_of(read)
    reach = await _reach(conn, definition)
    change = Change(
        rule_id=rule,
        body=read.body,
        definition=definition,
        reason=body.reason,
        effective_from=body.effective_from,
        reach=reach,
        warnings=await _warnings(conn, here, read, reach),
    )
    return await _drafted(conn, change, account)


@router.post(
    "/rules/{rule}/retire",
    status_code=201,
    dependencies=[require("rules.draft")],
    responses=problems("not_found", "draft_refused"),
)
async def draft_retirement(rule: RuleRef, body: RetireIn, conn: Conn, account: Actor) -> DraftOut:
    """Draft that a rule is to be none any more; its versions stay, its alarms end."""
    versions = await fetch(conn, VERSIONS, {"rule": rule})
    newest = next((row for row in versions if row["effective_from"] is not None), None)
    if newest is None or newest["retired"]:
        raise Problem("not_found", f"no rule {rule} is in force here")
    change = Change(
        rule_id=rule,
        body=newest["body"] or {},
        definition=newest["definition"],
        reason=body.reason,
        effective_from=body.effective_from,
        reach=await _reach(conn, newest["definition"]),
        warnings=(),
        retires=True,
    )
    return await _drafted(conn, change, account)


async def _drafted(conn: Connection, change: Change, account: Account) -> DraftOut:
    draft_id = await rule_draft_store.draft(conn, change, account.as_actor)
    return await _draft(conn, change.rule_id, draft_id)


async def _draft(conn: Connection, rule: str, draft_id: int) -> DraftOut:
    row = await fetch_one(conn, DRAFTS, {"rule": rule, "draft": draft_id})
    if row is None:
        raise Problem("not_found", f"rule {rule} has no draft {draft_id}")
    return DraftOut.model_validate(row)


@router.post(
    "/rules/{rule}/drafts/{draft}/approve",
    dependencies=[require("rules.approve")],
    responses=problems("not_found", "invalid", "draft_refused"),
)
async def approve_draft(
    rule: RuleRef, draft: DraftRef, body: DecisionIn, conn: Conn, here: Here, account: Actor
) -> DraftOut:
    """Let a draft of another person become the rule's next version, from its time on."""
    found = await _draft(conn, rule, draft)
    if not found.retires:  # the catalogue and the other rules may have changed since
        await _warnings(conn, here, _read(found.body, here), found.reach)
    actor = account.as_actor
    await rule_draft_store.approve(conn, rule, draft, found.base_version, actor, body.note)
    return await _draft(conn, rule, draft)


@router.post(
    "/rules/{rule}/drafts/{draft}/decline",
    dependencies=[require("rules.approve")],
    responses=problems("not_found", "draft_refused"),
)
async def decline_draft(
    rule: RuleRef, draft: DraftRef, body: DecisionIn, conn: Conn, account: Actor
) -> DraftOut:
    """Say no to a draft of another person."""
    return await _ended(conn, rule, draft, "declined", account, body.note)


@router.post(
    "/rules/{rule}/drafts/{draft}/withdraw",
    dependencies=[require("rules.draft")],
    responses=problems("not_found", "draft_refused"),
)
async def withdraw_draft(
    rule: RuleRef, draft: DraftRef, body: DecisionIn, conn: Conn, account: Actor
) -> DraftOut:
    """Take back a draft of one's own."""
    return await _ended(conn, rule, draft, "withdrawn", account, body.note)


async def _ended(
    conn: Connection, rule: str, draft: int, decision: str, account: Account, note: str | None
) -> DraftOut:
    await _draft(conn, rule, draft)
    await rule_draft_store.end(conn, draft, decision, account.as_actor, note)
    return await _draft(conn, rule, draft)


def _read(body: dict[str, Any], here: Site) -> Rule:
    """The rule of that body. Problem invalid: with everything that is wrong with it."""
    try:
        read = read_rule(body, Catalog(here.kinds))
    except FileRefused as refused:
        found = [(problem.path, problem.message) for problem in refused.problems]
        raise _invalid(found) from refused
    if here.kinds[read.device_kind].internal:
        raise _invalid([(("select", "kind"), f"{read.device_kind} is the service's own: its rules"
                                             " are files")])  # fmt: skip
    return read


def _invalid(found: list[tuple[tuple[str | int, ...], str]]) -> Problem:
    errors = [{"loc": ["body", *path], "msg": said, "type": "rule"} for path, said in found]
    return Problem("invalid", found[0][1], errors=errors)


async def _warnings(conn: Connection, here: Site, rule: Rule, reach: int) -> list[str]:
    """What is odd about a rule. Problem invalid: its limits cross those of another."""
    told = [] if reach else ["selects no point"]
    refused: list[tuple[tuple[str | int, ...], str]] = []
    one = Jsonb(definition_of(rule))
    for clash in clashes(rule, await _others(conn, here, rule)):
        other = await fetch_one(
            conn, COMMON, {"one": one, "other": Jsonb(definition_of(clash.other))}
        )
        if other is None or not other["points"]:
            continue
        said = f"{clash.message} at {other['points']} points"
        if clash.refused:
            refused.append(((clash.field,), said))
        else:
            told.append(said)
    if refused:
        raise _invalid(refused)
    return told


async def _others(conn: Connection, here: Site, rule: Rule) -> list[Rule]:
    """The other rules for the same quantity, as they are or will be."""
    known = {each.rule_id: each for each in rules_of_kind(here.kinds[rule.device_kind])[0]}
    asked = {"rule": rule.rule_id, "device_kind": rule.device_kind, "quantity": rule.quantity}
    others: list[Rule] = []
    for row in await fetch(conn, OTHERS, asked):
        if row["retired"]:
            continue
        other = known.get(row["rule_id"])
        if other is None or definition_of(other) != row["definition"]:
            try:
                other = read_rule(row["body"] or {}, Catalog(here.kinds))
            except FileRefused:
                continue  # the workers cannot use it either, and say so
        others.append(other)
    return others
