"""One piece of work made durable as a whole: readings, alarm changes, what was set aside."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from psycopg import errors

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.store import Announcement
from hazardloop.devices import store as registry_store
from hazardloop.devices.instants import microseconds_of, utc
from hazardloop.devices.readings import NEVER
from hazardloop.ingest import balance_store, retry_store
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.opening import StatusSaid
from hazardloop.service.database import Connection, SteadyConnection, ensure_partitions
from hazardloop.service.work import Work

TRANSACTION: Final = "SELECT pg_current_xact_id()::text"
WHAT_BECAME_OF_IT: Final = "SELECT pg_xact_status(%s::text::xid8)"


class Keeper:
    """The one connection through which a worker writes."""

    def __init__(self, conninfo: str) -> None:
        self._database = SteadyConnection(conninfo, "worker-keep")
        self._unsure: tuple[str, list[Announcement]] | None = None
        """Transaction whose commit was sent and not answered, and what it would announce."""

    async def keep(self, work: Work) -> list[Announcement]:
        """What is to be announced, now that `work` is durable; waits while the database is away."""
        return await self._database(lambda connection: self._keep(connection, work))

    async def note_announced(self, announcements: list[Announcement]) -> None:
        """Takes announcements out of the outbox."""
        if announcements:
            await self._database(
                lambda connection: alarm_store.note_announced(connection, announcements)
            )

    async def unannounced(self) -> list[Announcement]:
        """What the outbox still holds."""
        return await self._database(alarm_store.unannounced)

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._database.close()

    async def _keep(self, connection: Connection, work: Work) -> list[Announcement]:
        if self._unsure is not None:
            transaction, announcements = self._unsure
            # The connection was lost while committing: only the database knows how it ended.
            committed = await _committed(connection, transaction)
            self._unsure = None
            if committed:
                return announcements
        try:
            return await self._commit(connection, work, sure_new=True)
        except errors.UniqueViolation:
            # Another worker stored some of these readings between our question and now.
            return await self._commit(connection, work, sure_new=False)
        except errors.CheckViolation:
            # No partition for the day: the clerk makes them ahead, but may have been away.
            await ensure_partitions(connection, datetime.now(UTC))
            return await self._commit(connection, work, sure_new=True)

    async def _commit(
        self, connection: Connection, work: Work, *, sure_new: bool
    ) -> list[Announcement]:
        async with connection.transaction():
            cursor = await connection.execute(TRANSACTION)
            row = await cursor.fetchone()
            assert row is not None  # a SELECT of one value
            if len(work.readings):
                store = (
                    reading_store.store_readings if sure_new else reading_store.store_new_readings
                )
                await store(connection, work.readings, work.registry.point_id)
            await reading_store.set_aside(connection, work.letters)
            await reading_store.count_more(connection, work.counted)
            await balance_store.append(connection, work.arrivals)
            await retry_store.note_outcomes(connection, work.retries)
            await _keep_statuses(connection, work.statuses)
            announcements = await alarm_store.record(
                connection, work.outcome, work.registry, datetime.now(UTC)
            )
            self._unsure = (row[0], announcements)
        self._unsure = None
        return announcements


async def _committed(connection: Connection, transaction: str) -> bool:
    """Whether the transaction took effect, once it has ended either way."""
    while True:
        answer = await (await connection.execute(WHAT_BECAME_OF_IT, [transaction])).fetchone()
        if answer is None or answer[0] != "in progress":
            return answer is not None and answer[0] == "committed"
        await asyncio.sleep(0.05)


async def _keep_statuses(connection: Connection, statuses: list[StatusSaid]) -> None:
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
