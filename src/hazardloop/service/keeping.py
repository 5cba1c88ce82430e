"""One piece of work made durable as a whole: readings, alarm changes, what was set aside."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeAlias, TypeVar
from uuid import UUID, uuid4

from psycopg import AsyncClientCursor, Error, errors

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.store import Announcement
from hazardloop.devices import store as registry_store
from hazardloop.devices.instants import microseconds_of, utc
from hazardloop.devices.readings import NEVER
from hazardloop.ingest import balance_store, retry_store
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.opening import StatusSaid
from hazardloop.service.database import BriskConnection, Connection, ensure_partitions
from hazardloop.service.sieve import REFUSALS, keep_what_can_be
from hazardloop.service.work import Work

log = logging.getLogger(__name__)

Store: TypeAlias = Callable[[Connection, Work, int], Awaitable[list[Announcement]]]
Answer = TypeVar("Answer")

GIVE_UP_S: Final = 4.0
"""A commit that takes longer is taken over by the spool."""

TRANSACTION: Final = "SELECT pg_current_xact_id()::text, reading_late_before()"
WHAT_BECAME_OF_IT: Final = "SELECT pg_xact_status(%s::text::xid8)"

# The transaction leaves its own sign, which is there exactly if it took effect.
SIGN: Final = """
    INSERT INTO spool_progress (spool_id, position) VALUES (%(writer)s, %(number)s)
        ON CONFLICT (spool_id)
        DO UPDATE SET position = excluded.position, advanced_at = clock_timestamp()
    RETURNING pg_current_xact_id()::text, reading_late_before()"""
SIGNED: Final = "SELECT position FROM spool_progress WHERE spool_id = %s"

# A backend that we gave up holds its locks until it notices; it may never.
END_IT: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE backend_xid = (%s::text::xid8)::xid AND usename = current_user
       AND pid <> pg_backend_pid()"""

PROGRESS: Final = """
    INSERT INTO spool_progress (spool_id, position) VALUES (%(spool_id)s, 0)
        ON CONFLICT (spool_id) DO UPDATE SET position = spool_progress.position
    RETURNING position"""

ADVANCE: Final = """
    UPDATE spool_progress SET position = %(through)s, advanced_at = clock_timestamp()
     WHERE spool_id = %(spool_id)s AND position = %(after)s"""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a queue of the spool is recorded before and once this work is."""

    spool_id: UUID
    after: int
    through: int


@dataclass(frozen=True, slots=True)
class Trace:
    """Of a transaction that was not seen to end: how to find out what became of it.

    Its number alone does not tell: if a crash undid it before anything of it had reached the disk,
    the server gives the same number to another.
    """

    transaction: str
    writer: UUID
    number: int
    """Which of its writer's transactions; that of the last one to take effect stands as a sign."""

    def __str__(self) -> str:
        """As it is kept in the spool."""
        return f"{self.transaction} {self.writer} {self.number}"

    @classmethod
    def read(cls, text: str) -> Self:
        """What `str` gave."""
        transaction, writer, number = text.split()
        return cls(transaction, UUID(writer), int(number))


class Overtaken(Exception):
    """The queue is recorded further than the mark says: an earlier try took effect after all."""


class Keeper:
    """The one connection through which a worker writes."""

    def __init__(
        self, conninfo: str, name: str = "worker-keep", give_up_s: float = GIVE_UP_S
    ) -> None:
        self._database = BriskConnection(conninfo, name)
        self._give_up_s = give_up_s
        self._writer, self._number = uuid4(), 0
        self._unsure: tuple[Trace, list[Announcement]] | None = None
        """Transaction that was not seen to end, and what it would announce."""

    async def keep(self, work: Work, mark: Mark | None = None) -> list[Announcement]:
        """What is to be announced, now that `work` is durable.

        Raises DatabaseAway: it is not, as far as we know; `take_unsure` then tells what may
        become of it. Overtaken: with a mark that does not fit any more.
        """
        return await self._ask(lambda connection: self._keep(connection, work, mark))

    def take_unsure(self) -> str | None:
        """The transaction that may yet record the work that could not be kept; told once."""
        unsure, self._unsure = self._unsure, None
        return str(unsure[0]) if unsure else None

    async def recorded(self, unsure: str) -> bool:
        """Whether that transaction took effect. DatabaseAway: it has not ended in time."""
        return await self._ask(lambda connection: _committed(connection, Trace.read(unsure)))

    async def progress(self, spool_id: UUID) -> int:
        """How far that queue is recorded."""

        async def ask(connection: Connection) -> int:
            row = await (await connection.execute(PROGRESS, {"spool_id": spool_id})).fetchone()
            assert row is not None  # INSERT ... RETURNING
            return int(row[0])

        return await self._ask(ask)

    async def note_announced(self, announcements: list[Announcement]) -> None:
        """Takes announcements out of the outbox."""
        if announcements:
            await self._ask(
                lambda connection: alarm_store.note_announced(connection, announcements)
            )

    async def unannounced(self) -> list[Announcement]:
        """What the outbox still holds."""
        return await self._ask(alarm_store.unannounced)

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._database.close()

    async def _ask(self, ask: Callable[[Connection], Awaitable[Answer]]) -> Answer:
        return await self._database(ask, self._give_up_s)

    async def _keep(
        self, connection: Connection, work: Work, mark: Mark | None
    ) -> list[Announcement]:
        if self._unsure is not None:
            trace, announcements = self._unsure
            # The connection was lost while committing: only the database knows how it ended.
            committed = await _committed(connection, trace)
            self._unsure = None
            if committed and mark is None:
                return announcements
        try:
            return await self._commit_whole(connection, work, mark)
        except REFUSALS as error:
            # Tried as it is, it would stand in the way of all that comes after it, for ever.
            log.error("work is refused", extra={"reason": str(error).strip().partition("\n")[0]})
            return await self._commit(connection, work, mark, _store_what_can_be, apart=True)

    async def _commit_whole(
        self, connection: Connection, work: Work, mark: Mark | None
    ) -> list[Announcement]:
        try:
            return await self._commit(connection, work, mark, _store_new)
        except errors.UniqueViolation:
            # Another worker stored some of these readings between our question and now.
            return await self._commit(connection, work, mark, _store_some)
        except errors.CheckViolation:
            # No partition for the day: the clerk makes them ahead, but may have been away.
            await ensure_partitions(connection, datetime.now(UTC))
            return await self._commit(connection, work, mark, _store_new)

    async def _commit(
        self,
        connection: Connection,
        work: Work,
        mark: Mark | None,
        store: Store,
        *,
        apart: bool = False,
    ) -> list[Announcement]:
        """One transaction; `apart`: nothing of the work goes along with its beginning."""
        self._number += 1
        sign = {"writer": self._writer, "number": self._number}
        first = [SIGN if mark is None else TRANSACTION]  # a mark that moves on is sign enough
        if len(work.arrivals) and not apart:
            first.insert(0, balance_store.APPEND)
            sign |= balance_store.row_of(work.arrivals)
        async with _transaction(connection, first, sign) as (transaction, late_before_us):
            trace = Trace(transaction, self._writer, self._number)
            self._unsure = (trace, [])
            if mark is not None:
                await _advance(connection, mark)
            announcements = await store(connection, work, late_before_us)
            self._unsure = (trace, announcements)
        self._unsure = None
        return announcements


@asynccontextmanager
async def _transaction(
    connection: Connection, first: Sequence[str], given: Mapping[str, Any]
) -> AsyncIterator[tuple[Any, ...]]:
    """One transaction, and what the last of its first statements gave.

    These go along with BEGIN, as one query with its parameters written into it: each question that
    waits for an answer costs the worker as much as a hundred readings.
    """
    try:
        cursor = AsyncClientCursor(connection)
        await cursor.execute("; ".join(["BEGIN", *first]), given)
        while cursor.nextset():
            pass
        row = await cursor.fetchone()
        assert row is not None  # it is asked for one
        yield row
    except BaseException:
        with suppress(Error):  # of a connection that is lost
            await connection.rollback()
        raise
    await connection.commit()


async def _store_new(connection: Connection, work: Work, late_before_us: int) -> list[Announcement]:
    """All of it; UniqueViolation: one of its readings is there already."""
    if len(work.readings):
        await reading_store.store_readings(
            connection, work.readings, work.registry.point_id, late_before_us
        )
    return await _store_others(connection, work)


async def _store_some(
    connection: Connection, work: Work, late_before_us: int
) -> list[Announcement]:
    """All of it that is not there already."""
    if len(work.readings):
        await reading_store.store_new_readings(
            connection, work.readings, work.registry.point_id, late_before_us
        )
    return await _store_others(connection, work)


async def _store_others(connection: Connection, work: Work) -> list[Announcement]:
    """What went along with neither the readings nor the beginning of the transaction."""
    await reading_store.set_aside(connection, work.letters)
    await reading_store.count_more(connection, work.counted)
    await retry_store.note_outcomes(connection, work.retries)
    await _keep_statuses(connection, work.statuses)
    return await alarm_store.record(connection, work.outcome, work.registry, datetime.now(UTC))


async def _store_what_can_be(
    connection: Connection, work: Work, late_before_us: int
) -> list[Announcement]:
    now = datetime.now(UTC)
    return await keep_what_can_be(connection, work, late_before_us, now, _keep_statuses)


async def _advance(connection: Connection, mark: Mark) -> None:
    """Moves the progress on; a transaction before ours that is not over yet is waited for."""
    cursor = await connection.execute(
        ADVANCE, {"spool_id": mark.spool_id, "after": mark.after, "through": mark.through}
    )
    if cursor.rowcount != 1:
        raise Overtaken(f"spool {mark.spool_id} is not recorded through {mark.after}")


async def _committed(connection: Connection, trace: Trace) -> bool:
    """Whether the transaction took effect, once it has ended either way."""
    await connection.execute(END_IT, [trace.transaction])
    while await _in_progress(connection, trace.transaction):  # noqa: ASYNC110  nobody tells us
        await asyncio.sleep(0.05)
    row = await (await connection.execute(SIGNED, [trace.writer])).fetchone()
    return row is not None and row[0] == trace.number


async def _in_progress(connection: Connection, transaction: str) -> bool:
    try:
        answer = await (await connection.execute(WHAT_BECAME_OF_IT, [transaction])).fetchone()
    except errors.InvalidParameterValue:  # in the future: this server never came so far
        return False
    return answer is not None and answer[0] == "in progress"


async def _keep_statuses(connection: Connection, statuses: Sequence[StatusSaid]) -> None:
    if not statuses:
        return
    last = {status.gateway_id: status for status in statuses}
    now = datetime.now(UTC)
    now_us = microseconds_of(now)  # a status may tell of a year that no datetime holds
    await connection.execute(
        registry_store.SAVE_STATUS,
        {
            "gateway_id": list(last),
            "online": [status.online for status in last.values()],
            "status_at": [
                now if status.at_us == NEVER else utc(max(0, min(now_us, status.at_us)))
                for status in last.values()
            ],
            "firmware": [status.firmware for status in last.values()],
        },
    )
