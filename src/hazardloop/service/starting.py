"""How a worker comes to know what it must: from the database, or from its snapshot."""

import asyncio
import gc
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hazardloop.alarms.drill import Drill
from hazardloop.alarms.memory import Memory
from hazardloop.alarms.store import Announcement
from hazardloop.alarms.withholding import StandingHold
from hazardloop.devices import own_devices
from hazardloop.devices.readings import Times
from hazardloop.ingest.spool import Spool
from hazardloop.service import snapshots, spool_state
from hazardloop.service.database import (
    LOST,
    BriskConnection,
    connect,
    require_schema,
)
from hazardloop.service.doubts import Doubts
from hazardloop.service.draining import PATIENCE_S, Drain
from hazardloop.service.errors import DatabaseAbsent, DatabaseAway, SnapshotUnusable
from hazardloop.service.keeping import Keeper
from hazardloop.service.known import recalled
from hazardloop.service.remembering import remembered
from hazardloop.service.settings import Settings
from hazardloop.service.sink import Sink
from hazardloop.service.site import Site, known_kinds, load_site
from hazardloop.service.work import Aside, Work

log = logging.getLogger(__name__)

ANSWER_WITHIN_S: Final = 5.0
"""A database that has not said its version by then is taken to be away."""
LOOK_EACH_S: Final = 1.0
SAY_EACH_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker begins with."""

    site: Site
    memory: Memory
    seen: Times
    doubts: Doubts
    from_snapshot: str = ""
    """In words: of when, and why; empty where the database told all."""
    away: str = ""
    """Why the database could not be asked."""
    drills: tuple[Drill, ...] = ()
    holds: tuple[StandingHold, ...] = ()
    """As the snapshot knew them; else the database is asked soon enough."""


async def started(settings: Settings, spool: Spool, stop: asyncio.Event) -> Start | None:
    """What to begin with, as soon as there is a way to know it; None: told to stop before that.

    While the database is away the snapshot is taken, and while work waits in the spool: alarms need
    not wait until all is recorded.
    SchemaWrong: the database is at another version than this program.
    """
    snapshots.forget_strays(spool)
    unusable, say_at = "", time.monotonic()
    while not stop.is_set():
        away = await _away(settings)
        if not unusable and (away or spool.fill.works):
            try:
                return _settled(await _from_snapshot(settings, spool, away))
            except SnapshotUnusable as error:
                unusable = str(error)
        if not away:
            if spool.fill.works:
                log.warning("work is recorded first", extra={"reason": unusable})
            try:
                return _settled(await _from_database(settings, spool))
            except LOST as error:
                away = str(error).strip().partition("\n")[0]
        if time.monotonic() >= say_at:
            say_at = time.monotonic() + SAY_EACH_S
            log.error("waiting for the database", extra={"reason": away, "snapshot": unusable})
        await asyncio.to_thread(_tell_waiting, settings, spool, away, unusable)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_EACH_S)
    return None


async def _away(settings: Settings) -> str:
    """Why the database cannot be asked; empty: it can, and has the schema of this program."""
    database = BriskConnection(settings.database_url, "worker-start")
    try:
        await database(require_schema, ANSWER_WITHIN_S)
    except DatabaseAway as error:
        return str(error)
    finally:
        await database.close()
    return ""


async def _from_snapshot(settings: Settings, spool: Spool, away: str) -> Start:
    """SnapshotUnusable: there is none, or not for us."""
    found = await snapshots.recover(spool, known_kinds(settings), settings.tz)
    of = snapshots.at_clock(found.saved_us, settings.tz)
    why = "database away" if away else "the spool is being recorded"
    told = f"started from the snapshot of {of}, {why}"
    log.warning(told, extra={"points": len(found.site.registry), "reason": away})
    memory, seen, doubts = recalled(found.site, found.known)
    decided = found.known.drills, found.known.holds
    return Start(found.site, memory, seen, doubts, told, away, *decided)


async def _from_database(settings: Settings, spool: Spool) -> Start:
    async with await connect(settings.database_url, "worker-start") as connection:
        await own_devices.ensure(connection, known_kinds(settings).kinds)
        site = await load_site(connection, settings)
        await _record_spooled(settings, spool, site)  # else we would not remember all we knew
        return Start(site, *await remembered(connection, site))


def _settled(start: Start) -> Start:
    gc.collect()
    gc.freeze()  # registry and rules live long; no need to walk them again and again
    return start


def _tell_waiting(settings: Settings, spool: Spool, away: str, unusable: str) -> None:
    state = spool_state.told(spool, away) | {"waiting": unusable}
    spool_state.publish(state, spool_state.state_file(settings.home))


async def _record_spooled(settings: Settings, spool: Spool, site: Site) -> None:
    """Records what the worker before us left in the spool. DatabaseAbsent: it went away again."""
    if not spool.fill.works:
        return
    log.info("spool of an earlier run", extra={"readings": spool.fill.readings})
    keeper = Keeper(settings.database_url, "worker-drain", PATIENCE_S)

    async def leave_in_outbox(_announcements: list[Announcement]) -> None:
        """There is nobody yet who could announce."""

    async def nothing(_aside: Aside) -> Work:
        raise AssertionError("asides are judged when all is remembered")

    sink = Sink(keeper, spool, nothing)
    try:
        await Drain(sink, keeper, lambda: site.registry, leave_in_outbox, 0).empty()
    except DatabaseAway as error:
        raise DatabaseAbsent(f"the database went away: {error}") from error
    finally:
        await keeper.close()
