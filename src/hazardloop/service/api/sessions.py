"""Sessions of people: a random token each, kept as its hash."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from hazardloop.alarms.alarm import Actor, Role
from hazardloop.service.api.permissions import PERMISSIONS
from hazardloop.service.api.rows import fetch_one
from hazardloop.service.database import EVERYTHING, Connection

TOKEN_BYTES: Final = 32
IDLE: Final = timedelta(minutes=30)
ABSOLUTE: Final = timedelta(hours=12)
OF_A_LINK: Final = timedelta(hours=2)
"""How long a session lasts that a link opened."""
TOUCH_EVERY: Final = timedelta(minutes=1)
"""How exactly the last use is known: a write for each request would cost more than it tells."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks."""

    user_id: int
    username: str
    display_name: str
    role: Role
    language: str
    enterprise_id: int | None
    enterprise: str | None
    """Code of the enterprise of an enterprise user."""
    enterprise_name: str | None
    case_id: UUID | None = None
    """The only case that the session reaches, as a link opened it; None: whatever the role may."""

    @property
    def scope(self) -> str:
        """Whose rows the account sees, as the database's row security takes it."""
        return EVERYTHING if self.role is not Role.ENTERPRISE else str(self.enterprise_id)

    @property
    def as_actor(self) -> Actor:
        """The account as alarms know it."""
        return Actor(self.username, self.display_name, self.role, self.enterprise_id)

    def may(self, permission: str) -> bool:
        """Whether the account's role has `permission`."""
        return self.role in PERMISSIONS[permission]


ACCOUNT_COLUMNS: Final = """
    u.user_id, u.username, u.display_name, u.role, u.language, u.enterprise_id,
    e.code AS enterprise, e.name AS enterprise_name"""

FIND_USER: Final = f"""
    SELECT {ACCOUNT_COLUMNS}, u.password_hash
      FROM user_account u LEFT JOIN enterprise e USING (enterprise_id)
     WHERE u.username = %(username)s AND u.active"""


async def find_user(conn: Connection, username: str) -> tuple[Account, str] | None:
    """The active account of that name and its password hash."""
    row = await fetch_one(conn, FIND_USER, {"username": username})
    return None if row is None else (account_in(row), row["password_hash"])


OPEN_SESSION: Final = """
    INSERT INTO user_session (token_sha256, user_id, created_at, last_used_at, expires_at, case_id)
    VALUES (%(token)s, %(user_id)s, %(now)s, %(now)s, %(expires_at)s, %(case_id)s)"""
FORGET_OLD: Final = "DELETE FROM user_session WHERE expires_at < %(now)s"


async def open_session(
    conn: Connection, account: Account, now: datetime, case_id: UUID | None = None
) -> str:
    """A new token with which `account` is known from now on; given a case, for that one alone."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    await conn.execute(FORGET_OLD, {"now": now})
    await conn.execute(
        OPEN_SESSION,
        {
            "token": hash_of(token),
            "user_id": account.user_id,
            "now": now,
            "expires_at": now + (ABSOLUTE if case_id is None else OF_A_LINK),
            "case_id": case_id,
        },
    )
    return token


FIND_SESSION: Final = f"""
    SELECT {ACCOUNT_COLUMNS}, s.last_used_at, s.case_id,
           current_setting('transaction_read_only')::boolean AS read_only
      FROM user_session s JOIN user_account u USING (user_id)
           LEFT JOIN enterprise e USING (enterprise_id)
     WHERE s.token_sha256 = %(token)s AND u.active
       AND s.expires_at > %(now)s AND s.last_used_at > %(idle_since)s"""
TOUCH: Final = """
    UPDATE user_session SET last_used_at = %(now)s
     WHERE token_sha256 = %(token)s AND last_used_at < %(now)s"""


async def account_of(conn: Connection, token: str, now: datetime) -> Account | None:
    """Whose session `token` opens, noted as used; None when it ended or never was."""
    arguments: dict[str, Any] = {"token": hash_of(token), "now": now, "idle_since": now - IDLE}
    row = await fetch_one(conn, FIND_SESSION, arguments)
    if row is None:
        return None
    # A database that takes no changes is read all the same.
    if row["last_used_at"] < now - TOUCH_EVERY and not row["read_only"]:
        await conn.execute(TOUCH, arguments)
    return account_in(row)


END_SESSION: Final = "DELETE FROM user_session WHERE token_sha256 = %(token)s"


async def end_session(conn: Connection, token: str) -> None:
    """Makes `token` worthless."""
    await conn.execute(END_SESSION, {"token": hash_of(token)})


def hash_of(token: str) -> bytes:
    """What is stored of a token; it is random, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def account_in(row: dict[str, Any]) -> Account:
    """The account in a row of ACCOUNT_COLUMNS."""
    return Account(
        user_id=row["user_id"],
        username=row["username"],
        display_name=row["display_name"],
        role=Role(row["role"]),
        language=row["language"],
        enterprise_id=row["enterprise_id"],
        enterprise=row["enterprise"],
        enterprise_name=row["enterprise_name"],
        case_id=row.get("case_id"),
    )
