"""Pool, migrations, and the transaction in which a request runs."""

import asyncio
import hashlib
import logging
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncTransaction, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import AsyncConnectionPool

from hazardloop.service import database_roles, queue_schema
from hazardloop.service.errors import DatabaseAbsent, DatabaseAway, SchemaWrong

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]
Pool: TypeAlias = AsyncConnectionPool[Connection]

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)

BACK_OFF_FROM_S: Final = 0.2
BACK_OFF_TO_S: Final = 2.0
EVERYTHING: Final = "*"
"""Scope of a request that may see all enterprises."""
KEEP_DAYS_BACK: Final = 31
"""Readings are accepted up to 30 days old."""
KEEP_DAYS_AHEAD: Final = 7

PATIENCE: Final = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5_000,
}
"""So that a database that went away is noticed in seconds."""


def patient(conninfo: str, name: str) -> str:
    """`conninfo` with timeouts and an application name, where it does not set them itself."""
    defaults: dict[str, Any] = PATIENCE | {"application_name": f"hazardloop-{name}"}
    given = conninfo_to_dict(conninfo)
    return make_conninfo(conninfo, **{k: v for k, v in defaults.items() if k not in given})


async def connect(conninfo: str, name: str) -> Connection:
    """A connection outside any transaction. DatabaseAbsent: it does not answer or refuses us."""
    try:
        connection: Connection = await AsyncConnection.connect(
            patient(conninfo, name), autocommit=True
        )
        try:
            await _asked(connection, lambda it: it.execute("SET TIME ZONE 'UTC'"))
        except BaseException:  # cancelled as well: nobody else knows of it yet
            await connection.close()
            raise
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseAbsent(_absent(conninfo, error)) from error
    return connection


def open_pool(conninfo: str, name: str, *, most: int = 8) -> Pool:
    """A pool that is not open yet; it recovers within seconds of the database coming back.

    Its connections are outside any transaction until one is begun.
    """
    return AsyncConnectionPool(
        patient(conninfo, name),
        min_size=1,
        max_size=most,
        timeout=3,
        reconnect_timeout=2,
        max_lifetime=1_800,
        check=_check_if_spoken,
        configure=_speak_utc,
        open=False,
    )


async def _speak_utc(connection: Connection) -> None:
    await connection.set_autocommit(True)
    await connection.execute("SET TIME ZONE 'UTC'")


async def _check_if_spoken(connection: Connection) -> None:
    """Asks a connection whether it lives, if there is anything to read on it before it was asked.

    That is how one shows whose server ended it, or whose kernel gave it up (PATIENCE); to ask every
    one each time would be one more round trip for each request.
    """
    unasked = select.poll()
    unasked.register(connection.fileno(), select.POLLIN)
    if unasked.poll(0):
        await AsyncConnectionPool.check_connection(connection)


ENTER_SCOPE: Final = """
    SELECT set_config('role', 'hazardloop_api', true),
           set_config('hazardloop.scope', %s, true), set_config('hazardloop.actor', %s, true),
           set_config('hazardloop.actor_role', %s, true)"""


@asynccontextmanager
async def request_scope(
    pool: Pool, scope: str, actor: str = "", role: str = "", *, one_instant: bool = False
) -> AsyncIterator[Connection]:
    """One transaction as `hazardloop_api` that sees `scope`: `*`, or an enterprise_id as text.

    `actor` and `role`: whom the ledger names for what the database writes down by itself.
    `one_instant`: all that it reads is of the instant at which it began.
    """
    async with pool.connection() as connection, AsyncExitStack() as ending:
        async with connection.pipeline():  # one round trip
            # connection.transaction() would keep the pipeline open to its end.
            await ending.enter_async_context(AsyncTransaction(connection))
            if one_instant:
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            await connection.execute(ENTER_SCOPE, [scope, actor, role])
        yield connection


def migration_texts() -> list[tuple[str, str]]:
    """Name and SQL of each migration, in order."""
    folder = resources.files("hazardloop.service") / "migrations"
    files = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    return [(entry.name, entry.read_text(encoding="utf-8")) for entry in files]


async def migrate(conninfo: str, service: str | None = None) -> list[str]:
    """Names of the migrations applied just now; none when the database is at this version already.

    `service` is how the processes will connect, where that is not as the owner.
    Raises DatabaseAbsent; SchemaWrong when a landed migration was edited or the database is newer.
    """
    async with await connect(conninfo, "migrate") as connection:
        applied = await _apply(connection)
        await ensure_partitions(connection, datetime.now(UTC))
        async with connection.transaction():
            await database_roles.settle(connection, service)
    return applied


async def _apply(connection: Connection) -> list[str]:
    texts = migration_texts()
    async with connection.transaction():
        # Two migrations at once would race; the second waits here and finds nothing to do.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('hazardloop.migrate'))")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migration (name text PRIMARY KEY,"
            " sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        known = dict(await _rows(connection, "SELECT name, sha256 FROM schema_migration"))
        _refuse_strangers(known, dict(texts))
        fresh = [(name, text) for name, text in texts if name not in known]
        queue = await queue_schema.apply(connection)  # before what builds on it
        for name, text in fresh:
            await connection.execute(sql.SQL(text))
            await connection.execute(
                "INSERT INTO schema_migration (name, sha256) VALUES (%s, %s)", [name, _digest(text)]
            )
    return queue + [name for name, _ in fresh]


def _refuse_strangers(known: dict[str, str], texts: dict[str, str]) -> None:
    for name, digest in known.items():
        if name not in texts:
            raise SchemaWrong(
                f"the database has migration {name}, this program has not: use a newer program"
            )
        if _digest(texts[name]) != digest:
            raise SchemaWrong(f"migration {name} differs from the one applied to this database")


async def require_schema(connection: Connection) -> None:
    """Raises SchemaWrong unless the database is at exactly this program's version."""
    (present,) = (await _rows(connection, "SELECT to_regclass('schema_migration') IS NOT NULL"))[0]
    known = dict(
        await _rows(connection, "SELECT name, sha256 FROM schema_migration") if present else []
    )
    texts = dict(migration_texts())
    _refuse_strangers(known, texts)
    if missing := sorted(texts.keys() - known.keys()):
        raise SchemaWrong(
            f"the database lacks migration {missing[0]}: run `hazardloop migrate` first"
        )
    await queue_schema.require(connection)


async def ensure_partitions(connection: Connection, now: datetime) -> int:
    """How many daily partitions of `reading` were made, for all days a reading may fall on."""
    rows = await _rows(
        connection,
        "SELECT ensure_reading_partitions(%s, %s)",
        [
            (now - timedelta(days=KEEP_DAYS_BACK)).date(),
            (now + timedelta(days=KEEP_DAYS_AHEAD)).date(),
        ],
    )
    return int(rows[0][0])


async def _rows(
    connection: Connection, query: str, arguments: list[Any] | None = None
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query, arguments)).fetchall()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _absent(conninfo: str, error: psycopg.Error) -> str:
    where = conninfo_to_dict(conninfo)
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    reason = first.rpartition("failed: ")[2]
    return (
        f"no database at {where.get('host', 'local socket')}:{where.get('port', 5432)}"
        f" ({reason}): start PostgreSQL or correct HAZARDLOOP_DATABASE_URL"
    )


LOST: Final = (
    psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError, DatabaseAbsent,
)  # fmt: skip
"""The database's own trouble, not that of what was asked: gone, full, read-only, shutting down."""


async def _asked(connection: Connection, ask: Callable[[Connection], Awaitable[Answer]]) -> Answer:
    """What `ask` gives. OperationalError whenever the connection is lost on the way.

    The last words of a server that dies may come as any error, also as one without a code.
    """
    try:
        return await ask(connection)
    except LOST:
        raise
    except psycopg.Error as error:
        if connection.closed:
            raise psycopg.OperationalError(str(error) or type(error).__name__) from error
        raise


class SteadyConnection:
    """A connection that is made anew when it was lost; whoever asks waits until it is back."""

    def __init__(self, conninfo: str, name: str) -> None:
        self._conninfo = conninfo
        self._name = name
        self._connection: Connection | None = None

    async def __call__(self, ask: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        """What `ask` gives; asked again on a new connection if the database went away meanwhile."""
        wait_s = BACK_OFF_FROM_S
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = await connect(self._conninfo, self._name)
                return await _asked(self._connection, ask)
            except LOST as error:
                reason = str(error).strip().partition("\n")[0]
                log.warning("database away", extra={"asking": self._name, "reason": reason})
                await self.close()
                await asyncio.sleep(wait_s)
                wait_s = min(BACK_OFF_TO_S, wait_s * 2)

    async def close(self) -> None:
        """Lets go of the connection; asking again makes another."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


class BriskConnection:
    """A connection that is made anew when it was lost, for those who cannot wait long."""

    def __init__(self, conninfo: str, name: str) -> None:
        self._conninfo = conninfo
        self._name = name
        self._connection: Connection | None = None

    async def __call__(
        self, ask: Callable[[Connection], Awaitable[Answer]], within_s: float
    ) -> Answer:
        """What `ask` gives; asked once more, on a new connection, where one was lost.

        Raises DatabaseAway: no answer within that time.
        """
        until = time.monotonic() + within_s
        try:
            try:
                return await self._answer(ask, until)
            except LOST as error:
                await self.close()
                if isinstance(error, DatabaseAbsent) or time.monotonic() >= until:
                    raise
                return await self._answer(ask, until)
        except LOST as error:
            await self.close()
            raise DatabaseAway(str(error).strip().partition("\n")[0]) from error

    async def close(self) -> None:
        """Lets go of the connection; asking again makes another."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _answer(self, ask: Callable[[Connection], Awaitable[Answer]], until: float) -> Answer:
        asking = asyncio.ensure_future(self._ask(ask))
        try:
            await asyncio.wait({asking}, timeout=max(0.0, until - time.monotonic()))
            if asking.done():
                return asking.result()
            self._sever()
            await asyncio.wait({asking}, timeout=1.0)
            if not asking.done():
                raise DatabaseAbsent("no answer in time")
            try:
                return asking.result()
            except LOST as error:  # by our own doing: there is no time for another try
                raise DatabaseAbsent("no answer in time") from error
        finally:
            if not asking.done():
                self._sever()
                asking.cancel()
                with suppress(*LOST, asyncio.CancelledError):
                    await asking

    async def _ask(self, ask: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._conninfo, self._name)
        return await _asked(self._connection, ask)

    def _sever(self) -> None:
        """Ends the connection from our side, so that whoever waits on it is told so at once.

        Cancelling would first ask the server to stop: one that hangs lets us wait for that, too.
        """
        if self._connection is None or self._connection.closed:
            return
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self._connection.fileno())) as own,
        ):
            own.shutdown(socket.SHUT_RDWR)
