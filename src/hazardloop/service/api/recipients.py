"""Who is charged with a case on each side: rules as data, and what they would decide."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from psycopg.types.json import Jsonb
from pydantic import ConfigDict, Field, field_validator

from hazardloop.alarms import ledger_store
from hazardloop.alarms.alarm import TIER_BY_NAME, Party
from hazardloop.alarms.ledger_store import Act
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Actor, Conn, Here, Now, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Instant, Out, Ref, Text

router = APIRouter(prefix="/recipient-rules", tags=["cases"])

TierName = Literal["red", "orange", "yellow", "blue"]
PostName = Literal[
    "assignee", "superior", "duty_supervisor", "district_leader", "village", "maintenance_unit"
]
"""Posts that can be charged; contacts know the same."""
PLACEHOLDERS: Final = ("{enterprise}", "{area}", "{maintenance_unit}")


class Charge(Body):
    """One post of a side, and the organisation that holds it."""

    post: PostName = "assignee"
    organisation: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*\S[^\x00]*$",
        description="Its name, or " + ", ".join(PLACEHOLDERS) + " for what those are.",
    )

    @field_validator("organisation")
    @classmethod
    def _known_placeholders(cls, text: str) -> str:
        rest = text
        for known in PLACEHOLDERS:
            rest = rest.replace(known, "")
        if "{" in rest or "}" in rest:
            raise ValueError(f"braces hold one of {', '.join(PLACEHOLDERS)}, found {text!r}")
        return text


RULE_EXAMPLE: Final[dict[str, Any]] = {
    "party": "enterprise",
    "device_kind": "elevator",
    "charges": [
        {"post": "assignee", "organisation": "{enterprise}"},
        {"post": "maintenance_unit", "organisation": "{maintenance_unit}"},
    ],
}


class RecipientRuleIn(Body):
    """Who is charged on one side where everything that is named fits."""

    model_config = ConfigDict(json_schema_extra={"examples": [RULE_EXAMPLE]})
    party: Party
    enterprise: str | None = Field(default=None, description="Id or code; null: any.")
    device_kind: str | None = Field(default=None, description="Null: any.")
    area_prefix: Text = Field(default="", description="Beginning of the enterprise's area.")
    min_tier: TierName = "blue"
    charges: list[Charge] = Field(min_length=1, max_length=4)

    @field_validator("charges")
    @classmethod
    def _each_post_once(cls, charges: list[Charge]) -> list[Charge]:
        posts = [charge.post for charge in charges]
        if len(set(posts)) < len(posts):
            raise ValueError("each post of a side is charged once")
        return charges


class RecipientRule(Out):
    """A rule, in force or ended."""

    id: int
    party: Party
    enterprise: Ref | None
    device_kind: str | None
    area_prefix: str
    min_tier: TierName
    charges: list[Charge]
    made_at: Instant
    made_by: str
    ended_at: Instant | None
    ended_by: str | None


class Recipient(Out):
    """Who would be charged, and by which rule."""

    party: Party
    post: str
    organisation: str
    rule: int | None = Field(description="Null: no rule fits, the default decided.")


class Preview(Out):
    """What dispatch would do with an alarm of that device and tier."""

    device: Ref
    tier: TierName
    recipients: list[Recipient]


SELECT: Final = """
    SELECT recipient_rule_id AS id, party, nullif(device_kind, '') AS device_kind, area_prefix,
           ('{blue,yellow,orange,red}'::text[])[min_tier] AS min_tier, charges,
           made_at, made_by, ended_at, ended_by,
           CASE WHEN enterprise_id IS NOT NULL THEN
               jsonb_build_object('id', enterprise_id, 'code', e.code, 'name', e.name) END
           AS enterprise
      FROM recipient_rule LEFT JOIN enterprise e USING (enterprise_id)"""
LIST: Final = f"""{SELECT}
     WHERE recipient_rule_id > %(after)s AND (%(ended)s OR ended_at IS NULL)
     ORDER BY recipient_rule_id LIMIT %(limit)s"""


@router.get("", dependencies=[require("recipients.read")])
async def list_recipient_rules(
    conn: Conn,
    page: Paging,
    ended: Annotated[bool, Query(description="Those that ended, too.")] = False,
) -> Listing[RecipientRule]:
    """Rules in the order in which they were made.

    Of those that fit, the most specific decides for its side: one of the enterprise before one of
    the kind of device before the longest area before the highest tier before the newest. What was
    charged already stays as it is.
    """
    after = page.after[0] if page.after else 0
    rows = await fetch(conn, LIST, {"after": after, "ended": ended, "limit": page.limit + 1})
    return listing([RecipientRule(**row) for row in rows], page, key=lambda one: (one.id,))


DEVICE: Final = """
    SELECT d.enterprise_id, d.kind, d.tags ->> 'maintenance_unit' AS keeper,
           jsonb_build_object('id', d.device_id, 'code', d.code, 'name', d.name) AS device
      FROM device d WHERE d.device_id = %(device_id)s"""
DECIDED: Final = """
    SELECT party, post, organisation, recipient_rule_id AS rule
      FROM recipients_of(%(enterprise_id)s, %(kind)s, %(tier)s, %(keeper)s)
     ORDER BY party DESC, post"""


@router.get(
    "/preview",
    dependencies=[require("recipients.read")],
    responses=problems("not_found", "ambiguous"),
)
async def preview_recipients(
    conn: Conn,
    device: Annotated[str, Query(description="Id or code.")],
    tier: TierName,
) -> Preview:
    """Who would be charged with an alarm of this device and tier now, and by which rule."""
    device_id = await lookup.device_id(conn, device)
    found = await fetch_one(conn, DEVICE, {"device_id": device_id})
    assert found is not None
    rows = await fetch(conn, DECIDED, found | {"tier": int(TIER_BY_NAME[tier]), "device": None})
    return Preview(device=found["device"], tier=tier, recipients=[Recipient(**row) for row in rows])


ADD: Final = """
    INSERT INTO recipient_rule (party, enterprise_id, device_kind, area_prefix, min_tier, charges,
                                made_at, made_by)
    VALUES (%(party)s, %(enterprise_id)s, %(device_kind)s, %(area_prefix)s, %(min_tier)s,
            %(charges)s, %(now)s, %(by)s)
    RETURNING recipient_rule_id AS id"""
ONE: Final = f"{SELECT} WHERE recipient_rule_id = %(id)s"


@router.post(
    "",
    status_code=201,
    dependencies=[require("recipients.write")],
    responses=problems("not_found", "invalid"),
)
async def add_recipient_rule(
    body: RecipientRuleIn, conn: Conn, here: Here, actor: Actor, now: Now
) -> RecipientRule:
    """Make a rule; it decides for cases that open from now on."""
    if body.device_kind is not None and body.device_kind not in here.kinds:
        raise Problem("invalid", f"device_kind: one of {', '.join(sorted(here.kinds))}")
    enterprise_id = None
    if body.enterprise is not None:
        enterprise_id = await lookup.enterprise_id(conn, body.enterprise)
    added = await fetch_one(
        conn,
        ADD,
        {
            "party": body.party,
            "enterprise_id": enterprise_id,
            "device_kind": body.device_kind or "",
            "area_prefix": body.area_prefix,
            "min_tier": int(TIER_BY_NAME[body.min_tier]),
            "charges": Jsonb([charge.model_dump() for charge in body.charges]),
            "now": now,
            "by": actor.username,
        },
    )
    assert added is not None
    await _note(conn, actor, now, added["id"], "make", body.model_dump(mode="json"))
    return await _one(conn, added["id"])


END: Final = """
    UPDATE recipient_rule SET ended_at = %(now)s, ended_by = %(by)s
     WHERE recipient_rule_id = %(id)s AND ended_at IS NULL"""


@router.post(
    "/{rule_id}/end",
    dependencies=[require("recipients.write")],
    responses=problems("not_found", "changed"),
)
async def end_recipient_rule(rule_id: int, conn: Conn, actor: Actor, now: Now) -> RecipientRule:
    """End a rule; to change one, end it and make another."""
    rule = await _one(conn, rule_id)
    ended = await conn.execute(END, {"id": rule_id, "now": now, "by": actor.username})
    if ended.rowcount == 0:
        raise Problem("changed", f"recipient rule {rule_id} was ended by {rule.ended_by} already")
    await _note(conn, actor, now, rule_id, "end", {})
    return await _one(conn, rule_id)


async def _one(conn: Conn, rule_id: int) -> RecipientRule:
    row = await fetch_one(conn, ONE, {"id": rule_id}) if rule_id < 2**31 else None
    if row is None:
        raise Problem("not_found", f"no recipient rule {rule_id} is known here")
    return RecipientRule(**row)


async def _note(
    conn: Conn, actor: Actor, now: Now, rule_id: int, action: str, body: dict[str, Any]
) -> None:
    act = Act("recipient_rule", str(rule_id), action, actor.username, actor.role, now, body=body)
    await ledger_store.note_act(conn, act)
