"""Requests that may come again: named by their sender, each takes effect once."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import Header

from hazardloop.service.api.problems import Problem
from hazardloop.service.api.rows import fetch_one
from hazardloop.service.api.sessions import Account
from hazardloop.service.database import Connection

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[A-Za-z0-9_-]{8,100}$",
        description="A name that you give the request: sent again under it, it is answered with"
        " what is there now and not done again, for 30 days.",
        examples=["5f3c9a7d10e24b7f"],
    ),
]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The same request took effect before."""

    evidence_id: UUID | None


NOTE: Final = """
    INSERT INTO taken_request (user_id, request_key, request_sha256, enterprise_id, evidence_id,
                               taken_at)
    VALUES (%(user_id)s, %(key)s, %(sha256)s, %(enterprise_id)s, %(evidence_id)s, %(now)s)
        ON CONFLICT DO NOTHING"""
FIND: Final = """
    SELECT request_sha256, evidence_id FROM taken_request
     WHERE user_id = %(user_id)s AND request_key = %(key)s"""


async def earlier(
    conn: Connection,
    account: Account,
    key: str | None,
    content: bytes,
    now: datetime,
    evidence_id: UUID | None = None,
) -> Earlier | None:
    """What came of the same request before; None: it is the first, and counts if this commits.

    One that is under way at this moment is waited for. Problem key_reused: it was another request.
    """
    if key is None:
        return None
    values = {
        "user_id": account.user_id,
        "key": key,
        "sha256": hashlib.sha256(content).digest(),
        "enterprise_id": account.enterprise_id,
        "evidence_id": evidence_id,
        "now": now,
    }
    if (await conn.execute(NOTE, values)).rowcount == 1:
        return None
    row = await fetch_one(conn, FIND, values)
    if row is None or bytes(row["request_sha256"]) != values["sha256"]:
        raise Problem("key_reused", f"another request was sent under the key {key}")
    return Earlier(row["evidence_id"])
