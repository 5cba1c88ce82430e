"""Notices into messages: who fills the post, and what storm control lets go out when."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from hazardloop.alarms import notice_store
from hazardloop.alarms.notices import Addressed, plan_messages
from hazardloop.service.database import Connection

if TYPE_CHECKING:
    from hazardloop.service.jobs import Office

NOBODY: Final = "no_contact"
"""Why a notice is undeliverable: nobody stands at the post."""


async def send_notices(office: "Office", arguments: Mapping[str, Any]) -> None:
    """The task: puts the notices of `notice_ids`, or those that were held of `alarm_ids`, into
    messages; those done before are left.
    """
    async with office.pool.connection() as conn, conn.transaction():
        await notice_store.take_turn(conn)
        ids = arguments.get("notice_ids")
        if ids is None:
            ids = await notice_store.held_of(conn, arguments["alarm_ids"])
        await put_into_messages(conn, ids, datetime.now(UTC))


async def put_into_messages(conn: Connection, notice_ids: list[int], now: datetime) -> None:
    """Each notice into a message to every contact it is for; one without a contact is kept so."""
    sounding = await notice_store.hold_silenced(conn, notice_ids)
    addressed, nobody = await notice_store.address(conn, sounding)
    await notice_store.set_aside(conn, nobody, "undeliverable", NOBODY)
    standing = await notice_store.standing_messages(conn, _contacts(addressed), now)
    everywhere = frozenset(one.notice_id for one in addressed if one.alone)
    planned = plan_messages(addressed, standing, now)
    await notice_store.save_messages(conn, planned, everywhere, now)


def _contacts(addressed: list[Addressed]) -> list[int]:
    return sorted({one.contact_id for one in addressed})
