"""What the spool holds, into the database: in order, each piece once, and not all at once."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
import psycopg

from hazardloop.alarms.store import Announcement
from hazardloop.devices.registry import Registry
from hazardloop.ingest.errors import SpoolFull
from hazardloop.ingest.spool import Spool
from hazardloop.ingest.spool_file import ASIDES, WORKS, Piece
from hazardloop.service import metrics
from hazardloop.service.errors import DatabaseAway
from hazardloop.service.keeping import Keeper, Mark, Overtaken
from hazardloop.service.sink import Sink
from hazardloop.service.spooled import unpack_aside, unpack_work
from hazardloop.service.work import Work, one_work

log = logging.getLogger(__name__)

PATIENCE_S: Final = 60.0
"""A commit of spooled work may take so long: nobody waits for it."""
CHUNK_ROWS: Final = 400
CHUNK_BYTES: Final = 1 << 20
"""Some 30,000 readings: a transaction of some tenths of a second."""
BACK_OFF_FROM_S: Final = 0.2
BACK_OFF_TO_S: Final = 2.0
SAY_EACH_S: Final = 5.0


@dataclass(slots=True)
class Drain:
    """Empties the spool whenever there is something in it and the database is there."""

    sink: Sink
    keeper: Keeper
    """A connection of its own, with more patience than the worker's."""
    registry: Callable[[], Registry]
    """As it is now."""
    announce: Callable[[list[Announcement]], Awaitable[None]]
    readings_per_s: int
    """At most, so that live data goes on; 0 = as fast as it goes."""
    _careful_to: int = 0
    """The database refused something up to this position: piece by piece, to find out what."""
    _rows: int = CHUNK_ROWS
    """To be recorded at once; fewer after a try that took too long."""
    _judged: tuple[int, Work] | None = None
    """What became of the aside at that position; evaluated once, recorded until it is."""
    _said_at: float = field(default_factory=time.monotonic)
    _recorded: int = 0

    @property
    def spool(self) -> Spool:
        """What is drained."""
        return self.sink.spool

    async def run(self) -> None:
        """Waits for something to drain, for ever."""
        wait_s = BACK_OFF_FROM_S
        while True:
            await self.sink.stirred.wait()
            self.sink.stirred.clear()
            try:
                await self.empty()
                await self._empty_asides()
            except (DatabaseAway, Overtaken, SpoolFull) as error:
                log.debug("not drained", extra={"reason": str(error)})
                if isinstance(error, DatabaseAway):
                    self.sink.lost(str(error))
                    self._rows = max(1, self._rows // 2)
                self.sink.stirred.set()
                await asyncio.sleep(wait_s)
                wait_s = min(BACK_OFF_TO_S, wait_s * 2)
            else:
                wait_s = BACK_OFF_FROM_S

    async def empty(self) -> None:
        """Returns when all works are recorded. DatabaseAway, Overtaken: before that."""
        after = await self.keeper.progress(self.spool.id_of(WORKS))
        while pieces := await self._head(WORKS, after, self._rows):
            began = time.monotonic()
            readings = self._recorded
            after = await self._record_works(pieces, after)
            self._rows = min(CHUNK_ROWS, 2 * self._rows)
            self.sink.found()
            self._say()
            if self.readings_per_s:
                wanted_s = (self._recorded - readings) / self.readings_per_s
                await asyncio.sleep(max(0.0, began + wanted_s - time.monotonic()))
        self.sink.found()

    async def _head(self, queue: str, after: int, rows: int) -> list[Piece]:
        """The first pieces that are not recorded; those recorded already are removed."""
        while True:
            pieces = await self.spool.head(queue, rows, CHUNK_BYTES)
            known = [piece for piece in pieces if piece.position <= after]
            if not known:
                return pieces
            await self.spool.drop(queue, known[-1].position)

    async def _record_works(self, pieces: list[Piece], after: int) -> int:
        """How far the works are recorded once these, or the first of them, are."""
        if (unsure := pieces[0].unsure) is not None:
            if await self.keeper.recorded(unsure):
                await self.spool.drop(WORKS, pieces[0].position)
                return after
            pieces = pieces[:1]
        else:  # what is unsure is looked at by itself
            pieces = pieces[: next((n for n, piece in enumerate(pieces) if piece.unsure), None)]
        if pieces[0].position <= self._careful_to:
            pieces = pieces[:1]
        mark = Mark(self.spool.id_of(WORKS), after, pieces[-1].position)
        try:
            registry = self.registry()
            work = one_work([unpack_work(piece.body, registry) for piece in pieces])
            announcements = await self.keeper.keep(work, mark)
        except (psycopg.Error, msgspec.MsgspecError) as error:
            await self._refused(pieces, error)
            return after
        await self._note(WORKS, mark, work, announcements)
        return mark.through

    async def _refused(self, pieces: list[Piece], error: Exception) -> None:
        """Looks for the one that is wrong, and puts that aside: the others shall not wait."""
        self._careful_to = pieces[-1].position
        if len(pieces) == 1:
            await self._put_aside(WORKS, pieces[0], error)

    async def _put_aside(self, queue: str, piece: Piece, error: Exception) -> None:
        why = str(error).strip()
        extra = {"queue": queue, "at": piece.position, "reason": why}
        log.error("spooled work refused: kept in the spool's table `refused`", extra=extra)
        await self.spool.refuse(queue, piece.position, why)

    async def _empty_asides(self) -> None:
        """Judges and records what was kept aside, as long as nothing waits before it."""
        spool_id = self.spool.id_of(ASIDES)
        after = await self.keeper.progress(spool_id) if self.spool.fill.asides else 0
        while self.sink.direct and (pieces := await self._head(ASIDES, after, 1)):
            mark = Mark(spool_id, after, pieces[0].position)
            try:
                work = await self._judgement(pieces[0])
                await self.spool.fall()
                announcements = await self.keeper.keep(work, mark)
            except (psycopg.Error, msgspec.MsgspecError) as error:
                await self._put_aside(ASIDES, pieces[0], error)
                continue
            await self._note(ASIDES, mark, work, announcements)
            after = mark.through

    async def _judgement(self, piece: Piece) -> Work:
        if self._judged is None or self._judged[0] != piece.position:
            aside = unpack_aside(piece.body, self.registry())
            self._judged = piece.position, await self.sink.judge(aside)
        return self._judged[1]

    async def _note(
        self, queue: str, mark: Mark, work: Work, announcements: list[Announcement]
    ) -> None:
        await self.spool.drop(queue, mark.through)
        self._recorded += len(work.readings)
        metrics.READINGS_STORED.inc(len(work.readings))
        metrics.READINGS_DUPLICATE.inc(work.duplicates)
        if announcements:
            await self.announce(announcements)

    def _say(self) -> None:
        """How far it is, now and then and at the end."""
        fill, now = self.spool.fill, time.monotonic()
        if now > self._said_at + SAY_EACH_S or (not fill.works and self._recorded > 10_000):
            self._said_at = now
            extra = {"recorded": self._recorded, "left": fill.readings, "left_bytes": fill.bytes}
            log.info("spool drains", extra=extra)
            if not fill.works:
                self._recorded = 0
