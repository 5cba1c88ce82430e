"""Who may do what in the database: three roles beside the owner, who only migrates.

`hazardloop_service` is what worker, clerk and api log in as: it owns the readings, which it
partitions and drops, and what it copies the message balance into. `hazardloop_api` is what a
request becomes. `hazardloop_auditor` reads what `hazardloop ledger verify` needs. None of them can
change or remove a line of the ledger, nor switch off what guards it.
"""

from importlib import resources
from typing import Any, Final

from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict

Connection = AsyncConnection[tuple[Any, ...]]

SERVICE: Final = "hazardloop_service"


async def settle(connection: Connection, service: str | None = None) -> None:
    """Gives each role what it may do in the database as it stands; done anew at every migration.

    `service` is how worker, clerk and api connect: if that is with the role of the service, it may
    log in, with the password named there.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('hazardloop.roles'))")
    text = resources.files("hazardloop.service") / "database_roles.sql"
    await connection.execute(sql.SQL(text.read_text(encoding="utf-8")))
    named = conninfo_to_dict(service or "")
    if named.get("user") == SERVICE:
        login = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
            sql.Identifier(SERVICE), sql.Literal(named.get("password"))
        )
        await connection.execute(login)


# Whether the connected role could rewrite the ledger, and as what.
COULD_REWRITE: Final = """
    SELECT session_user::text,
           (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) AS is_superuser,
           pg_has_role(session_user, relowner, 'MEMBER') AS is_owner,
           has_table_privilege(session_user, oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER') AS may_write
      FROM pg_class WHERE oid = 'ledger'::regclass"""


async def power_over_ledger(connection: Connection) -> tuple[str, str | None]:
    """The connected role, and why it could rewrite the ledger; None: it could not."""
    row = await (await connection.execute(COULD_REWRITE)).fetchone()
    assert row is not None  # the ledger is there
    role, is_superuser, is_owner, may_write = row
    if is_superuser:
        return role, "it is a superuser"
    if is_owner:
        return role, "it owns the ledger"
    return role, "it may change its lines" if may_write else None
