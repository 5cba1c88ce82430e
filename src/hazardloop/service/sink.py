"""Where work becomes durable: in the database, or in the spool while that is away."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.evaluation import Outcome
from hazardloop.alarms.store import Announcement
from hazardloop.ingest.errors import SpoolFull
from hazardloop.ingest.spool import Spool
from hazardloop.ingest.spool_file import ASIDES, WORKS, New
from hazardloop.service.errors import DatabaseAway
from hazardloop.service.holding import Holds
from hazardloop.service.keeping import Keeper
from hazardloop.service.spooled import pack_aside, pack_work
from hazardloop.service.work import Aside, Work

log = logging.getLogger(__name__)

LOOK_AGAIN_S: Final = 0.5
"""How often a full spool is tried again."""
SAY_AGAIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What is to be announced of a work that is durable now."""

    announcements: list[Announcement]
    recorded: bool
    """In the database; else in the spool."""
    position: int = 0
    """In the spool."""
    left_over: bool = False
    """More is to be announced: the outbox holds it."""


@dataclass(slots=True)
class Sink:
    """Keeps work in order: what follows a spooled work is spooled behind it."""

    keeper: Keeper
    spool: Spool
    judge: Callable[[Aside], Awaitable[Work]]
    """What comes of an aside; to be asked with the database in step with what was evaluated."""
    holds: Holds = field(default_factory=Holds)
    away: str = ""
    """Why the database cannot be written to; empty while it can, as far as we know."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    """There is something to drain, or a database to look for."""
    _said_at: float = float("-inf")

    def __post_init__(self) -> None:
        """An earlier run may have left something to drain."""
        if self.spool.fill.rows:
            self.stirred.set()

    @property
    def direct(self) -> bool:
        """The database is there and has everything that was evaluated before."""
        return not self.away and not self.spool.fill.works

    def lost(self, reason: str) -> None:
        """The database was found to be away."""
        if not self.away:
            log.warning("database away: work goes to the spool", extra={"reason": reason})
        self.away = reason
        self.stirred.set()

    def found(self) -> None:
        """The database answers again."""
        if self.away:
            log.info("database is back", extra={"spooled": self.spool.fill.rows})
        self.away = ""
        if not self.spool.fill.works:
            self.spool.fill.full = ""  # whether or not: nothing has to go there any more

    async def keep(self, work: Work) -> Kept:
        """What is to be announced, now that `work` is durable; waits while nothing can take it."""
        left = _Left(work)
        while True:
            try:
                if self.direct:
                    return await self._record(left)
            except DatabaseAway as error:
                self.lost(str(error))
                left.unsure = self.keeper.take_unsure() or left.unsure
            try:
                return await self._spool(left)
            except SpoolFull as error:
                self._say_full(str(error))
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _record(self, left: "_Left") -> Kept:
        await self.spool.fall()  # whatever the database says of it: it may have it
        if left.unsure and await self.keeper.recorded(left.unsure):
            left.announced_later = True
        else:
            left.unsure = None
            left.announcements += await self.keeper.keep(left.work)
        left.unsure, left.work = None, Work(left.work.registry, Outcome())
        if left.aside is not None:
            judged = await self.judge(left.aside)
            left.work, left.aside = judged, None
            left.announcements += await self.keeper.keep(left.work)
        return Kept(left.announcements, True, left_over=left.announced_later)

    async def _spool(self, left: "_Left") -> Kept:
        work = left.work
        changes = work.outcome.changes
        news = [New(WORKS, pack_work(work), len(work.readings), left.unsure, bool(changes))]
        if left.aside is not None:
            body = pack_aside(left.aside, work.registry)
            news.append(New(ASIDES, body, len(left.aside.readings)))
        position = (await self.spool.append(news))[0]
        self.stirred.set()
        self.holds.follow(changes, work.registry)
        marks = self.holds.marks(work.outcome, work.registry, time.time_ns() // 1000)
        announcements = alarm_store.unrecorded(work.outcome, work.registry, marks)
        return Kept(announcements, False, position, bool(left.announcements))

    def _say_full(self, reason: str) -> None:
        if time.monotonic() > self._said_at + SAY_AGAIN_S:
            self._said_at = time.monotonic()
            log.error(
                "spool full: nothing is acknowledged until it has room", extra={"reason": reason}
            )


@dataclass(slots=True)
class _Left:
    """What of a work is still to be made durable."""

    work: Work
    aside: Aside | None = field(init=False)
    unsure: str | None = None
    """Transaction that may have recorded `work`."""
    announcements: list[Announcement] = field(default_factory=list)
    announced_later: bool = False

    def __post_init__(self) -> None:
        """Takes the aside out: it is another matter."""
        self.aside = self.work.aside
        self.work = replace(self.work, aside=None)
