"""One-time links: whose they are, and the session of one case that they open."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field

from hazardloop.alarms import ledger_store
from hazardloop.alarms.ledger_store import Act
from hazardloop.service.api import sessions
from hazardloop.service.api.access import Account, Here, Now, public, refuse_cross_site
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch_one
from hazardloop.service.api.schema import Out
from hazardloop.service.database import EVERYTHING, Connection, request_scope

log = logging.getLogger(__name__)
router = APIRouter(tags=["session"])


class LinkOut(Out):
    """What a link opened."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "case_id": "0e8a9f3c-5a41-5b0e-8d4e-2f6b7a1c9d20",
                    "token": "pJ2c7mB0x0V7k0m8yq3oVY4mG3l0W9rTzC1nD5eA2sE",
                }
            ]
        }
    )
    case_id: UUID
    token: str | None = Field(
        description="For `Authorization: Bearer`, of that case alone; null: the contact has no"
        " account, so it is only noted that they read it."
    )


@dataclass(frozen=True, slots=True)
class Link:
    """A link that was found, spent or not."""

    case_id: UUID
    message_id: int
    contact_id: int
    name: str
    """Of the contact."""
    language: str
    spent: bool
    """Used, expired, or its contact or account is no longer active."""
    account: Account | None


FIND: Final = f"""
    SELECT l.case_id AS of_case, l.message_id, l.contact_id, c.name, c.language AS speaks,
           l.used_at IS NOT NULL OR l.expires_at <= %(now)s OR NOT c.active
               OR u.active IS FALSE AS spent, u.user_id IS NOT NULL AS known,
           {sessions.ACCOUNT_COLUMNS}
      FROM case_link l JOIN contact c USING (contact_id)
           LEFT JOIN user_account u USING (user_id)
           LEFT JOIN enterprise e ON e.enterprise_id = u.enterprise_id
     WHERE l.token_sha256 = %(token)s"""


async def find(conn: Connection, token: str, now: datetime) -> Link | None:
    """The link of that token; looking changes nothing."""
    row = await fetch_one(conn, FIND, {"token": sessions.hash_of(token), "now": now})
    if row is None:
        return None
    return Link(
        case_id=row["of_case"],
        message_id=row["message_id"],
        contact_id=row["contact_id"],
        name=row["name"],
        language=row["speaks"],
        spent=row["spent"],
        account=sessions.account_in(row) if row["known"] else None,
    )


USE: Final = """
    UPDATE case_link SET used_at = %(now)s, used_from = %(address)s
     WHERE token_sha256 = %(token)s AND used_at IS NULL AND expires_at > %(now)s"""
NOTE_READ: Final = """
    UPDATE notice_message SET read_at = %(now)s, read_by = 'link'
     WHERE message_id = %(message_id)s AND read_at IS NULL"""


async def use(conn: Connection, token: str, address: str, now: datetime) -> tuple[Link, str | None]:
    """The link, used up, and a new session of its account; written down like a login.

    Raises Problem not_found, link_used.
    """
    link = await find(conn, token, now)
    if link is None:
        raise Problem("not_found", "this is no link of ours")
    used = {"token": sessions.hash_of(token), "now": now, "address": address}
    if link.spent or (await conn.execute(USE, used)).rowcount == 0:
        raise Problem(
            "link_used", "it was used or is too old: log in to act", case_id=str(link.case_id)
        )
    await conn.execute(NOTE_READ, {"now": now, "message_id": link.message_id})
    session = None
    if link.account is not None:
        session = await sessions.open_session(conn, link.account, now, link.case_id)
    await ledger_store.note_act(conn, _login(link, address, now))
    return link, session


def _login(link: Link, address: str, now: datetime) -> Act:
    who = link.account
    return Act(
        "link",
        str(link.case_id),
        "login" if who else "read",
        who.username if who else f"contact:{link.contact_id}",
        who.role if who else "contact",
        now,
        body={"address": address, "contact": link.contact_id, "message": link.message_id},
        enterprise_id=who.enterprise_id if who else None,
    )


@router.post(
    "/auth/link/{token}/exchange",
    dependencies=[public()],
    responses=problems("not_found", "link_used", "cross_site"),
)
async def exchange_link(token: str, request: Request, here: Here, now: Now) -> LinkOut:
    """Use up a one-time link: its session reaches one case, for two hours, and is logged as a
    login.
    """
    refuse_cross_site(request)
    async with request_scope(here.pool, EVERYTHING) as conn:
        link, session = await use(conn, token, address_of(request), now)
    log.info("login by link", extra={"contact": link.contact_id, "case": str(link.case_id)})
    return LinkOut(case_id=link.case_id, token=session)


def address_of(request: Request) -> str:
    """From where somebody asks."""
    return request.client.host if request.client else ""
