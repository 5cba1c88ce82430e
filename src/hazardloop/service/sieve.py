"""Work of which the database refuses something: the culprits are found, the rest is kept."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import numpy as np
from psycopg import DataError, IntegrityError

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.alarm import Change
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.memory import CellRow
from hazardloop.alarms.store import Announcement
from hazardloop.devices.instants import utc
from hazardloop.devices.wire import Reason
from hazardloop.ingest import balance_store, retry_store
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.opening import StatusSaid
from hazardloop.ingest.retries import RetryOutcome
from hazardloop.ingest.store import CountedLetters, DeadLetter
from hazardloop.service.database import Connection
from hazardloop.service.work import Work

log = logging.getLogger(__name__)

REFUSALS: Final = (DataError, IntegrityError)
"""The data themselves are refused (SQLSTATE classes 22 and 23): trying again is in vain."""
Row = TypeVar("Row")
KeepStatuses: TypeAlias = Callable[[Connection, Sequence[StatusSaid]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Refused:
    """One row, and why it is not in the database."""

    nth: int
    reason: str


async def sieve(
    connection: Connection,
    rows: Sequence[Row],
    store: Callable[[Sequence[Row]], Awaitable[object]],
    first: int = 0,
) -> list[Refused]:
    """Stores what can be stored, in the caller's transaction; gives what could not, by its place.

    Halves what is refused until single rows are left: k culprits among n rows take about
    2 k log2(n) tries, each in a savepoint.
    """
    if not rows:
        return []
    try:
        async with connection.transaction():
            await store(rows)
        return []
    except REFUSALS as error:
        if len(rows) == 1:
            return [Refused(first, str(error).strip().splitlines()[0])]
    half = len(rows) // 2
    return [
        *await sieve(connection, rows[:half], store, first),
        *await sieve(connection, rows[half:], store, first + half),
    ]


async def keep_what_can_be(
    connection: Connection,
    work: Work,
    late_before_us: int,
    now: datetime,
    keep_statuses: KeepStatuses,
) -> list[Announcement]:
    """What is to be announced of the part of `work` that the database takes.

    Readings that it refuses become dead letters; whatever else it refuses is named in the log.
    """
    letters = [*work.letters, *await _sift_readings(connection, work, late_before_us)]
    await _sift_letters(connection, letters)

    async def count(some: Sequence[CountedLetters]) -> None:
        await reading_store.count_more(connection, some)

    async def append(some: Sequence[int]) -> None:
        await balance_store.append(connection, work.arrivals.take(np.array(some, np.intp)))

    async def note(some: Sequence[RetryOutcome]) -> None:
        await retry_store.note_outcomes(connection, some)

    async def say(some: Sequence[StatusSaid]) -> None:
        await keep_statuses(connection, some)

    _tell("a count of dead letters", await sieve(connection, work.counted, count))
    _tell("a count of messages", await sieve(connection, range(len(work.arrivals)), append))
    _tell("a retry", await sieve(connection, work.retries, note))
    _tell("the status of a gateway", await sieve(connection, work.statuses, say))
    return await _sift_alarms(connection, work, now)


async def _sift_readings(
    connection: Connection, work: Work, late_before_us: int
) -> list[DeadLetter]:
    """Dead letters for those of its readings that are refused; the others are stored."""

    async def store(rows: Sequence[int]) -> None:
        taken = work.readings.take(np.array(rows, np.intp))
        await reading_store.store_new_readings(
            connection, taken, work.registry.point_id, late_before_us
        )

    refused = await sieve(connection, range(len(work.readings)), store)
    return [_letter(work, each) for each in refused]


def _letter(work: Work, refused: Refused) -> DeadLetter:
    readings, nth = work.readings, refused.nth
    point = work.registry.points[int(readings.row[nth])]
    told = f"{point.code}: {float(readings.value[nth])!r} at {int(readings.observed_at[nth])} us"
    return DeadLetter(
        received_at=utc(int(readings.received_at[nth])),
        reason=str(Reason.BAD_SHAPE),
        detail=f"{told}: the database refuses it: {refused.reason}"[:1000],
        topic="",
        enterprise_id=None,
        gateway_id=None,
        payload=b"",
        payload_bytes=0,
        readings=1,
    )


async def _sift_letters(connection: Connection, letters: Sequence[DeadLetter]) -> None:
    """Keeps those that can be kept whole; of the others the instant, and why that is all."""

    async def store(some: Sequence[DeadLetter]) -> None:
        await reading_store.set_aside(connection, some)

    for each in await sieve(connection, letters, store):
        bare = replace(
            letters[each.nth], detail=f"not storable: {each.reason}"[:1000], topic="",
            enterprise_id=None, gateway_id=None, payload=b"",
        )  # fmt: skip
        _tell("a dead letter", await sieve(connection, [bare], store))


async def _sift_alarms(connection: Connection, work: Work, now: datetime) -> list[Announcement]:
    """What is to be announced; an alarm that cannot be recorded costs the others nothing."""
    by_alarm: dict[UUID, list[Change]] = {}
    for change in work.outcome.changes:
        by_alarm.setdefault(change.alarm_id, []).append(change)
    told: list[Announcement] = []

    async def remember(cells: Sequence[CellRow]) -> None:
        await alarm_store.record(connection, Outcome((), tuple(cells)), work.registry, now)

    async def record(histories: Sequence[Sequence[Change]]) -> None:
        changes = tuple(change for history in histories for change in history)
        told.extend(await alarm_store.record(connection, Outcome(changes), work.registry, now))

    _tell("the memory of a limit", await sieve(connection, work.outcome.cells, remember))
    _tell("an alarm", await sieve(connection, [*by_alarm.values()], record))
    return told


def _tell(what: str, refused: Sequence[Refused]) -> None:
    for each in refused:
        log.error("refused by the database", extra={"what": what, "reason": each.reason})
