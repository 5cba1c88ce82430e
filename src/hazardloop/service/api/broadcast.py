"""Follows the database's live changes and hands them to every client of this process."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import psycopg
import psycopg_pool

from hazardloop.alarms import canary_store
from hazardloop.service import database
from hazardloop.service.api import alarm_queries
from hazardloop.service.api.alarm_queries import Counts
from hazardloop.service.api.live_feed import Feed, Op, op_of
from hazardloop.service.database import EVERYTHING, Connection, Pool, request_scope
from hazardloop.service.errors import DatabaseAbsent

log = logging.getLogger(__name__)

BATCH_S: Final = 0.2
"""Least time between two batches."""
COUNTS_S: Final = 1.0
"""Least time between two counts after a change."""
OVERDUE_S: Final = 5.0
"""Cases become overdue by time alone, so counts are taken this often in any case."""
LISTEN_S: Final = 1.0
"""A notification that got lost is made up for after this long."""
START_PATIENCE_S: Final = 30.0
"""A busy server may take seconds to accept a connection: that is no reason to give up a start."""
MOST_RESUMED: Final = 50_000
"""Changes that a client may have missed and still resume."""
ABSENT: Final = (psycopg.OperationalError, psycopg_pool.PoolTimeout, DatabaseAbsent, OSError)


@dataclass(slots=True, eq=False)
class Attached:
    """A client of the stream: its feed, and the bell that wakes its sender."""

    feed: Feed
    bell: asyncio.Event = field(default_factory=asyncio.Event)


class Broadcast:
    """One for each api process."""

    def __init__(self, conninfo: str, pool: Pool, clock: Callable[[], datetime]) -> None:
        self._conninfo = conninfo
        self._pool = pool
        self._clock = clock
        self._clients: set[Attached] = set()
        self._epoch: UUID | None = None
        self._seq = 0
        self._counts: dict[int | None, Counts] = {}
        self._counts_due = True
        self._counts_at = -OVERDUE_S
        self._confirmed_at = time.monotonic()
        self.closed = False

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def position(self) -> tuple[UUID, int]:
        """Epoch and number up to which clients are being told."""
        assert self._epoch is not None, "start() first"
        return self._epoch, self._seq

    @property
    def lagging(self) -> int:
        """Clients that have not been told everything yet."""
        return sum(client.feed.told < self._seq for client in self._clients)

    @property
    def behind_s(self) -> float:
        """Seconds since the database last confirmed that nothing newer is known."""
        return time.monotonic() - self._confirmed_at

    async def start(self) -> None:
        """Takes the present position; what comes after it will be told.

        A database that is slow to let us in is waited for; what it said last is raised in the end.
        """
        until = time.monotonic() + START_PATIENCE_S
        while self._epoch is None:
            try:
                async with request_scope(self._pool, EVERYTHING) as conn:
                    self._epoch, self._seq = await alarm_queries.live_position(conn)
            except ABSENT as error:
                if time.monotonic() >= until:
                    raise
                log.warning("live stream waits for the database", extra={"reason": str(error)})
                await asyncio.sleep(BATCH_S)
        self._confirmed_at = time.monotonic()

    async def run(self) -> None:
        """Follows until cancelled, through absences of the database."""
        pause = 0.2
        while True:
            try:
                async with await database.connect(self._conninfo, "live") as listener:
                    await listener.execute("LISTEN hazardloop_live")
                    pause = 0.2
                    await self._follow(listener)
            except ABSENT as error:
                log.warning("live stream lost the database", extra={"reason": str(error)})
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(pause * 2, 5.0)

    async def _follow(self, listener: Connection) -> None:
        while True:
            began = time.monotonic()
            async with request_scope(self._pool, EVERYTHING) as conn:
                await self._advance(conn)
                await self._count(conn)
            self._confirmed_at = time.monotonic()
            await asyncio.sleep(max(0.0, BATCH_S - (time.monotonic() - began)))
            async for _ in listener.notifies(timeout=LISTEN_S, stop_after=1):
                pass

    async def _advance(self, conn: Connection) -> None:
        """Tells what was committed since the last time."""
        epoch, seq = await alarm_queries.live_position(conn)
        if (epoch, seq) == (self._epoch, self._seq):
            return
        changed = None
        if epoch == self._epoch and 0 < seq - self._seq <= MOST_RESUMED:
            changed = await alarm_queries.changed_between(conn, self._seq, seq)
        if changed is None:
            reason = "gap" if epoch == self._epoch else "epoch"
            for client in self._clients:
                client.feed.start_over(reason, epoch, seq)
        else:
            if self._clients:
                await self._tell(conn, changed, seq)
            await canary_store.note_shown(conn, changed)
        self._epoch, self._seq = epoch, seq
        self._counts_due = True
        self._ring()

    async def _tell(self, conn: Connection, changed: Sequence[UUID], seq: int) -> None:
        found = await alarm_queries.alarms_by_id(conn, changed, self._clock())
        ops = [op_of(facts) for facts in found]
        for client in self._clients:
            client.feed.offer(ops, seq)

    async def _count(self, conn: Connection) -> None:
        age_s = time.monotonic() - self._counts_at
        if not self._clients or age_s < (COUNTS_S if self._counts_due else OVERDUE_S):
            return
        self._counts = await alarm_queries.counts(conn, self._clock())
        self._counts_at = time.monotonic()
        self._counts_due = False
        for client in self._clients:
            client.feed.offer_counts(self._counts_for(client.feed.enterprise_id))
        self._ring()

    def _counts_for(self, enterprise_id: int | None) -> Counts:
        return self._counts.get(enterprise_id) or Counts()

    def _ring(self) -> None:
        for client in self._clients:
            if client.feed.waiting:
                client.bell.set()

    def attach(self, enterprise_id: int | None) -> Attached:
        """A new client that will be told everything after the present position."""
        epoch, seq = self.position
        client = Attached(Feed(enterprise_id, epoch, told=seq, reached=seq))
        self._clients.add(client)
        return client

    def detach(self, client: Attached) -> None:
        """Forgets a client that left."""
        self._clients.discard(client)

    async def resume(self, client: Attached, epoch: str, seq: int) -> None:
        """Has a client that knows everything up to `seq` told the rest, or start over."""
        feed = client.feed
        if epoch != str(feed.epoch):
            feed.start_over("epoch", feed.epoch, feed.reached)
            return
        upto = feed.told
        try:
            ops = await self._missed(seq, upto, feed.enterprise_id) if seq <= upto else None
        except ABSENT:
            ops = None
        if feed.starting_over:
            return
        if ops is None:
            feed.start_over("gap", feed.epoch, feed.reached)
            return
        feed.told = seq
        feed.offer(ops, upto)

    async def _missed(self, after: int, upto: int, enterprise_id: int | None) -> list[Op] | None:
        if upto - after > MOST_RESUMED:
            return None
        scope = EVERYTHING if enterprise_id is None else str(enterprise_id)
        async with request_scope(self._pool, scope) as conn:
            changed = await alarm_queries.changed_between(conn, after, upto)
            if changed is None:
                return None
            found = await alarm_queries.alarms_by_id(conn, changed, self._clock())
            return [op_of(facts) for facts in found]

    async def count_for(self, client: Attached) -> None:
        """Has a new client told the counts as they are now."""
        scope = client.feed.enterprise_id
        with suppress(*ABSENT):
            async with request_scope(
                self._pool, EVERYTHING if scope is None else str(scope)
            ) as conn:
                counts = await alarm_queries.counts(conn, self._clock())
            client.feed.offer_counts(counts.get(scope) or Counts())

    def close(self) -> None:
        """Ends every stream, so that the server can stop."""
        self.closed = True
        for client in self._clients:
            client.bell.set()


async def wait(client: Attached, seconds: float) -> None:
    """Until the client's bell rings, at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await client.bell.wait()
    client.bell.clear()
