"""Who is told: people at posts, each with channels in the order in which they are tried."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from psycopg.types.json import Jsonb
from pydantic import ConfigDict, Field

from hazardloop.alarms import ledger_store, notice_store
from hazardloop.alarms.alarm import Tier
from hazardloop.alarms.ledger_store import Act
from hazardloop.alarms.notices import Notice, NoticeKind, Post
from hazardloop.service.api import lookup
from hazardloop.service.api.access import Account, Actor, Conn, Now, require
from hazardloop.service.api.paging import Listing, Paging, listing
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.rows import fetch, fetch_one
from hazardloop.service.api.schema import Body, Instant, Name, Out
from hazardloop.service.database import Connection
from hazardloop.service.notification.channels import Channel, ChannelIn, target_of

router = APIRouter(tags=["notices"])

MOST_CHANNELS: Final = 10
SHOWN: Final[dict[str, Any]] = {
    "id": 7,
    "name": "王芳",
    "user": "wangfang",
    "enterprise": "E003",
    "area": "",
    "post": "assignee",
    "language": "zh-CN",
    "active": True,
    "channels": [
        {"id": 11, "kind": "sms", "shown": "138…5678"},
        {"id": 12, "kind": "dingtalk_robot", "shown": "…9f3a"},
    ],
    "too_few_for_red": False,
    "created_at": "2026-11-22T01:02:03.123Z",
}
NEW: Final[dict[str, Any]] = {
    "name": "王芳",
    "user": "wangfang",
    "enterprise": "E003",
    "post": "assignee",
    "channels": [
        {"kind": "sms", "phone": "13812345678"},
        {"kind": "webhook", "url": "https://duty.example.org/hook", "secret": "correct-horse-9"},
    ],
}


class ChannelOut(Out):
    """One channel, without its secrets."""

    id: int
    kind: str
    shown: str = Field(description="Enough to recognise it; numbers and tokens are cut.")


class Contact(Out):
    """Somebody who is told."""

    model_config = ConfigDict(json_schema_extra={"examples": [SHOWN]})
    id: int
    name: str
    user: str | None = Field(description="Whose session a link opens.")
    enterprise: str | None = Field(description="Code; null: on the authority's side.")
    area: str = Field(description="Of the authority's side; empty: where nobody else stands.")
    post: str
    language: str
    active: bool
    channels: list[ChannelOut] = Field(description="In the order in which they are tried.")
    too_few_for_red: bool = Field(description="Red goes out over two channels at once.")
    created_at: Instant


class Queued(Out):
    """What will tell how it went."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"notice": 815}]})
    notice: int = Field(description="Id among /notifications.")


class ContactIn(Body):
    """A new contact."""

    model_config = ConfigDict(json_schema_extra={"examples": [NEW]})
    name: Name
    user: str | None = Field(default=None, max_length=64)
    enterprise: str | None = Field(default=None, max_length=64, description="Id or code.")
    area: str = Field(default="", max_length=200, pattern=r"^[^\x00]*$")
    post: Post
    language: Literal["zh-CN", "en"] = "zh-CN"
    channels: list[ChannelIn] = Field(default=[], max_length=MOST_CHANNELS)


class Kept(Body):
    """A channel that the contact has already."""

    id: int


class ContactChange(Body):
    """What to change; what is left out stays. `channels` are all of them, in their order: one that
    the contact has is named by its id.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"channels": [{"id": 12}, {"kind": "mail", "address": "wf@example.org"}]}]
        }
    )
    name: Name | None = None
    user: str | None = Field(default=None, max_length=64)
    area: str | None = Field(default=None, max_length=200, pattern=r"^[^\x00]*$")
    post: Post | None = None
    language: Literal["zh-CN", "en"] | None = None
    active: bool | None = None
    channels: list[Kept | ChannelIn] | None = Field(default=None, max_length=MOST_CHANNELS)


CONTACTS: Final = """
    SELECT c.contact_id AS id, c.name, u.username AS "user", e.code AS enterprise, c.area, c.post,
           c.language, c.active, c.created_at, c.enterprise_id,
           coalesce((SELECT jsonb_agg(jsonb_build_object('id', channel_id, 'kind', kind,
                                                         'shown', shown)
                                      ORDER BY position, channel_id)
                       FROM contact_channel h WHERE h.contact_id = c.contact_id AND h.active),
                    '[]') AS channels
      FROM contact c LEFT JOIN user_account u USING (user_id)
           LEFT JOIN enterprise e ON e.enterprise_id = c.enterprise_id"""
LIST: Final = f"""{CONTACTS}
     WHERE {lookup.matches("enterprise", "enterprise")}
       AND (%(post)s::text IS NULL OR c.post = %(post)s)
       AND (%(active)s::boolean IS NULL OR c.active = %(active)s)
       AND c.contact_id > %(after)s
     ORDER BY c.contact_id LIMIT %(limit)s"""
ONE: Final = f"{CONTACTS} WHERE c.contact_id = %(id)s"


@router.get("/contacts", dependencies=[require("contacts.read")])
async def list_contacts(
    conn: Conn,
    page: Paging,
    enterprise: Annotated[str | None, Query(description="Id or code.")] = None,
    post: Post | None = None,
    active: bool | None = None,
) -> Listing[Contact]:
    """Contacts in the order of their ids; an enterprise user sees its own only."""
    wanted = {
        "enterprise": enterprise,
        "post": post,
        "active": active,
        "after": page.after[0] if page.after else 0,
        "limit": page.limit + 1,
    }
    rows = await fetch(conn, LIST, wanted)
    return listing([_contact(row) for row in rows], page, key=lambda one: (one.id,))


ADD: Final = """
    INSERT INTO contact (name, user_id, enterprise_id, area, post, language)
    VALUES (%(name)s, %(user_id)s, %(enterprise_id)s, %(area)s, %(post)s, %(language)s)
    RETURNING contact_id"""


@router.post(
    "/contacts",
    status_code=201,
    dependencies=[require("contacts.write")],
    responses=problems("not_found", "invalid"),
)
async def add_contact(body: ContactIn, conn: Conn, actor: Actor, now: Now) -> Contact:
    """Enter a contact. Secrets of channels are taken and never shown again."""
    enterprise_id = None
    if body.enterprise is not None:
        enterprise_id = await lookup.enterprise_id(conn, body.enterprise)
    values = body.model_dump(include={"name", "area", "post", "language"}) | {
        "enterprise_id": enterprise_id,
        "user_id": await _user_id(conn, body.user, enterprise_id),
    }
    row = await fetch_one(conn, ADD, values)
    assert row is not None
    await _put_channels(conn, row["contact_id"], body.channels)
    return await _noted(conn, row["contact_id"], "add", actor, now)


CHANGE: Final = """
    UPDATE contact SET name = coalesce(%(name)s, name), user_id = coalesce(%(user_id)s, user_id),
           area = coalesce(%(area)s, area), post = coalesce(%(post)s, post),
           language = coalesce(%(language)s, language), active = coalesce(%(active)s, active)
     WHERE contact_id = %(id)s"""


@router.patch(
    "/contacts/{contact_id}",
    dependencies=[require("contacts.write")],
    responses=problems("not_found", "invalid"),
)
async def change_contact(
    contact_id: int, body: ContactChange, conn: Conn, actor: Actor, now: Now
) -> Contact:
    """Change a contact, or have it told no more (`active`). What it was told stays on record."""
    row = await _row(conn, contact_id)
    values = body.model_dump(include={"name", "area", "post", "language", "active"}) | {
        "id": contact_id,
        "user_id": await _user_id(conn, body.user, row["enterprise_id"]),
    }
    await conn.execute(CHANGE, values)
    if body.channels is not None:
        await _put_channels(conn, contact_id, body.channels)
    return await _noted(conn, contact_id, "change", actor, now)


@router.post(
    "/contacts/{contact_id}/test",
    status_code=202,
    dependencies=[require("contacts.write")],
    responses=problems("not_found"),
)
async def test_contact(contact_id: int, conn: Conn, actor: Actor, now: Now) -> Queued:
    """Send a marked test message over every channel of the contact; see /notifications for how
    it went.
    """
    row = await _row(conn, contact_id)
    notice = Notice(NoticeKind.TEST, None, None, None, row["post"], Tier.NONE, None, {}, contact_id)
    (notice_id,) = await notice_store.queue(conn, [notice])
    await _noted(conn, contact_id, "test", actor, now)
    return Queued(notice=notice_id)


USER: Final = "SELECT user_id, enterprise_id FROM user_account WHERE username = %(name)s AND active"


async def _user_id(conn: Connection, username: str | None, enterprise_id: int | None) -> int | None:
    """The id of an account of the contact's own side. Problem invalid."""
    if username is None:
        return None
    row = await fetch_one(conn, USER, {"name": username.replace("\x00", "")})
    if row is None or row["enterprise_id"] != enterprise_id:
        raise Problem("invalid", f"no active user {username[:64]!r} belongs to this contact's side")
    return int(row["user_id"])


PUT_AWAY: Final = """
    UPDATE contact_channel SET active = false
     WHERE contact_id = %(contact_id)s AND active AND channel_id <> ALL (%(kept)s::int[])"""
MOVE: Final = """
    UPDATE contact_channel SET position = %(position)s
     WHERE contact_id = %(contact_id)s AND channel_id = %(id)s AND active"""
ADD_CHANNEL: Final = """
    INSERT INTO contact_channel (contact_id, kind, position, shown, target)
    VALUES (%(contact_id)s, %(kind)s, %(position)s, %(shown)s, %(target)s)"""


async def _put_channels(
    conn: Connection, contact_id: int, channels: list[Channel] | list[Kept | Channel]
) -> None:
    """Makes these the contact's channels, in this order. Problem not_found: it has none such."""
    kept = [one.id for one in channels if isinstance(one, Kept)]
    await conn.execute(PUT_AWAY, {"contact_id": contact_id, "kept": kept})
    for position, one in enumerate(channels):
        values: dict[str, Any] = {"contact_id": contact_id, "position": position}
        if not isinstance(one, Kept):
            own = {"kind": one.kind, "shown": one.shown, "target": Jsonb(target_of(one))}
            await conn.execute(ADD_CHANNEL, values | own)
        elif (await conn.execute(MOVE, values | {"id": one.id})).rowcount == 0:
            raise Problem("not_found", f"contact {contact_id} has no channel {one.id}")


async def _row(conn: Connection, contact_id: int) -> dict[str, Any]:
    row = await fetch_one(conn, ONE, {"id": contact_id})
    if row is None:
        raise Problem("not_found", f"no contact {contact_id} is known here")
    return row


def _contact(row: dict[str, Any]) -> Contact:
    return Contact(**row, too_few_for_red=len(row["channels"]) < 2)


async def _noted(
    conn: Connection, contact_id: int, action: str, actor: Account, now: datetime
) -> Contact:
    """The contact as it is now, with a line in the ledger that says who made it so."""
    row = await _row(conn, contact_id)
    contact = _contact(row)
    await ledger_store.note_act(
        conn,
        Act(
            "contact",
            str(contact_id),
            action,
            actor.username,
            actor.role,
            now,
            body=contact.model_dump(mode="json", exclude={"created_at"}),
            enterprise_id=row["enterprise_id"],
        ),
    )
    return contact
