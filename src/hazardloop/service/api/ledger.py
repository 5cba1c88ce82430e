"""The ledger of all that was done, and the signed anchors by which others hold us to it."""

from datetime import date
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.service.api.access import Conn, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import problems
from hazardloop.service.api.rows import fetch
from hazardloop.service.api.schema import Instant, Out

router = APIRouter(tags=["ledger"])

LINE: Final[dict[str, Any]] = {
    "position": 88121,
    "hash": "5f3c9a1e0b7d2c4f6a8e1d3b5c7f9a0e2d4b6c8f1a3e5d7b9c0f2e4a6d8b1c3f",
    "id": 88121,
    "subject": "user",
    "subject_id": "17",
    "alarm": None,
    "case": None,
    "revision": None,
    "action": "changed",
    "actor": "admin",
    "actor_role": "admin",
    "taken_at": "2026-11-22T01:12:00.000Z",
    "noted_at": "2026-11-22T01:12:00.004Z",
    "note": None,
    "body": {"active": [True, False]},
}
ANCHOR: Final[dict[str, Any]] = {
    "position": 88121,
    "hash": LINE["hash"],
    "made_at": "2026-11-22T16:01:12.000Z",
    "day": "2026-11-22",
    "key": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "signature": "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
}


class LedgerLine(Out):
    """One act: who did what to what, and when."""

    model_config = ConfigDict(json_schema_extra={"examples": [LINE]})
    position: int = Field(description="In the chain, counted from 1.")
    hash: str = Field(description="SHA-256 of the hash before it and of this line.")
    id: int
    subject: str = Field(description="case, alarm, rule, user, gateway, device, drill, ...")
    subject_id: str
    alarm: UUID | None
    case: UUID | None
    revision: int | None = Field(description="Of the case, after this act.")
    action: str
    actor: str
    actor_role: str
    taken_at: Instant = Field(description="When it was done; of a signal, in data time.")
    noted_at: Instant | None = Field(description="When it was written down, where that is known.")
    note: str | None
    body: dict[str, Any] = Field(description="What it brought; of a change, [before, after].")


class Anchor(Out):
    """Signed word of where the ledger stood: keep it, and verify the ledger against it."""

    model_config = ConfigDict(json_schema_extra={"examples": [ANCHOR]})
    position: int = Field(description="Lines that there were.")
    hash: str = Field(description="At that position.")
    made_at: Instant
    day: date | None = Field(description="That it closes; null: a checkpoint between two days.")
    key: str = Field(description="Public key (Ed25519) of who signed.")
    signature: str


LINES: Final = """
    SELECT c.position, encode(c.hash, 'hex') AS hash, l.entry_id AS id, l.subject,
           coalesce(l.subject_id, l.case_id::text) AS subject_id, l.alarm_id AS alarm,
           l.case_id AS "case", l.revision, l.action, l.actor, l.actor_role, l.taken_at,
           l.noted_at, l.note, l.body
      FROM ledger l JOIN ledger_chain c USING (entry_id)
     WHERE (c.position > %(after)s)
       AND (%(subject)s::text IS NULL OR l.subject = %(subject)s)
       AND (%(subject_id)s::text IS NULL
            OR coalesce(l.subject_id, l.case_id::text) = %(subject_id)s)
       AND (%(actor)s::text IS NULL OR l.actor = %(actor)s)
       AND (%(action)s::text IS NULL OR l.action = %(action)s)
       AND (%(from)s::timestamptz IS NULL OR l.taken_at >= %(from)s)
       AND (%(to)s::timestamptz IS NULL OR l.taken_at < %(to)s)
     ORDER BY c.position LIMIT %(limit)s"""

ANCHORS: Final = """
    SELECT checkpoint_id, position, encode(hash, 'hex') AS hash, made_at, day,
           encode(key, 'hex') AS key, encode(signature, 'hex') AS signature
      FROM ledger_checkpoint
     WHERE checkpoint_id < %(before)s AND (day IS NOT NULL OR %(all)s)
     ORDER BY checkpoint_id DESC LIMIT %(limit)s"""

Word = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


@router.get(
    "/ledger", dependencies=[require("ledger.read")], responses=problems("bad_request", "invalid")
)
async def get_ledger(
    conn: Conn,
    page: Paging,
    subject: Word = None,
    subject_id: Annotated[Word, Query(description="With `subject`; of a case, its id.")] = None,
    actor: Word = None,
    action: Word = None,
    start: Annotated[AwareDatetime | None, Query(alias="from")] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to")] = None,
) -> Listing[LedgerLine]:
    """What was done, in the order of the chain; an enterprise reads what concerns it."""
    wanted = {
        "subject": subject, "subject_id": subject_id, "actor": actor, "action": action,
        "from": start, "to": end, "limit": page.limit + 1,
        "after": page.after[0] if page.after else 0,
    }  # fmt: skip
    lines = [LedgerLine(**row) for row in await fetch(conn, LINES, wanted)]
    return listing(lines, page, lambda line: (line.position,))


@router.get(
    "/ledger/anchors", dependencies=[require("ledger.read")], responses=problems("bad_request")
)
async def get_anchors(
    conn: Conn,
    page: Paging,
    every: Annotated[
        bool, Query(alias="all", description="The checkpoints between the days as well.")
    ] = False,
) -> Listing[Anchor]:
    """Anchors of the days, newest first: what `hazardloop ledger verify --checkpoint` takes."""
    before = page.after[0] if page.after else 1 << 62
    rows = await fetch(conn, ANCHORS, {"before": before, "all": every, "limit": page.limit + 1})
    found = listing(rows, page, lambda row: (row["checkpoint_id"],))
    return Listing(items=[Anchor(**row) for row in found.items], next_cursor=found.next_cursor)
