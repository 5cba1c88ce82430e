"""The clerk's watch over the whole path: sends canaries, looks how far they come, and shouts.

A canary is a synthetic event of a device of the platform. It goes the way of any alarm: broker,
worker, decoding, rules, commit, announcement, live list. Of many clerks one watches, by a lease.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.annunciation import BrokerAddress
from hazardloop.alarms.path import Course, Leg
from hazardloop.alarms.store import Announcement
from hazardloop.devices import own_devices
from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.instants import microseconds_of, utc
from hazardloop.service import metrics, path_alarm, path_store
from hazardloop.service.canary_line import CanaryLine
from hazardloop.service.database import BriskConnection, Connection
from hazardloop.service.errors import DatabaseAway
from hazardloop.service.path_alarm import Finding
from hazardloop.service.path_store import Look
from hazardloop.service.settings import Settings

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
LEASE_S: Final = 10.0
"""After which a clerk that gives no sign has its watch taken over."""
ANSWER_WITHIN_S: Final = 3.0
CHANGED_WITHIN_S: Final = 20.0
"""Raising an alarm waits for whoever else is raising some."""


async def watch_path(settings: Settings) -> None:
    """Watches, or waits until it is our turn, until cancelled."""
    holder = f"{socket.gethostname()}:{os.getpid()}"
    database = BriskConnection(settings.database_url, "clerk-path")
    try:
        while True:
            with suppress(DatabaseAway):
                if await database(lambda conn: _look(conn, holder, None), ANSWER_WITHIN_S):
                    await _Watch(settings, database, holder).keep()
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        with suppress(DatabaseAway):
            await database(lambda conn: path_store.let_go(conn, holder), ANSWER_WITHIN_S)
        await database.close()


async def _look(conn: Connection, holder: str, arrived_us: int | None) -> Look | None:
    arrived_at = None if arrived_us is None else utc(arrived_us)
    return await path_store.look(conn, holder, LEASE_S, arrived_at)


class _Watch:
    """One clerk's turn."""

    def __init__(self, settings: Settings, database: BriskConnection, holder: str) -> None:
        self._settings, self._database, self._holder = settings, database, holder
        ca_file = settings.mqtt_ca_file
        address = BrokerAddress.of(settings.mqtt_url, str(ca_file) if ca_file else None)
        self._course = Course(time.monotonic())
        self._line = CanaryLine(address, lambda at_us: self._course.reach(Leg.HEARD, at_us))
        self._catalog = shipped_catalog()
        """Whatever a site makes of the platform's kind, its point and its rule are ours."""
        self._last_ms = 0

    async def keep(self) -> None:
        """Sends and looks until another clerk has taken the watch over."""
        kinds = self._catalog.kinds
        await self._database(lambda conn: own_devices.ensure(conn, kinds), ANSWER_WITHIN_S)
        log.info("watching the path")
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._line.run()), tasks.create_task(self._send())]
            ours = True
            while ours:
                await asyncio.sleep(self._pause_s)
                ours = await self._look()
            for one in beside:
                one.cancel()
        log.warning("another clerk watches the path")

    async def _send(self) -> None:
        while True:
            # Later than the one before, wherever the clock was moved: it is known by its time.
            self._last_ms = max(self._last_ms + 2, time.time_ns() // 1_000_000)
            at_ms, within_s = self._last_ms, self._settings.canary_within_s
            self._course.begin(at_ms * 1000, time.monotonic(), within_s)
            if await self._line.send(at_ms):
                self._course.reach(Leg.SENT, at_ms * 1000)
                await asyncio.sleep(self._settings.canary_every_s)
            else:
                await asyncio.sleep(self._pause_s)

    @property
    def _pause_s(self) -> float:
        return min(LOOK_EVERY_S, self._settings.canary_every_s)

    async def _look(self) -> bool:
        """Whether the watch is still ours, as far as we know."""
        arrived_us = self._course.arrived_us
        try:
            look = await self._database(
                lambda conn: _look(conn, self._holder, arrived_us), ANSWER_WITHIN_S
            )
            if look is None:
                return False
            self._course.reach(Leg.RECORDED, _us(look.recorded_at))
            self._course.reach(Leg.SHOWN, _us(look.shown_at))
            await self._judge(look)
        except DatabaseAway as error:
            log.warning("the path cannot be looked at", extra={"reason": str(error)})
        return True

    async def _judge(self, look: Look) -> None:
        """Tells people when the path breaks, and when it is whole again."""
        now_s, within_s = time.monotonic(), self._settings.canary_within_s
        if (newest := self._course.arrived_us) is not None:
            metrics.HEARTBEAT_TIMESTAMP.set(newest / 1e6)
        legs = self._course.broken_legs(now_s, within_s)
        found = Finding(legs, max(self._course.silence_s(leg, now_s) for leg in Leg), within_s)
        if legs and look.broken_since is None:
            log.error("alarms do not get through", extra={"not": ", ".join(legs)})
            await self._change(partial(path_alarm.break_, found=found))
        elif legs and look.broken_legs != legs:
            await self._database(
                lambda conn: path_store.name_legs(conn, self._holder, legs), ANSWER_WITHIN_S
            )
        elif look.broken_since is not None and self._course.is_whole(now_s, within_s):
            log.info("alarms get through again")
            await self._change(partial(path_alarm.mend, found=found))

    async def _change(self, change: Callable[..., Awaitable[list[Announcement]]]) -> None:
        """Makes the change durable, and announces it: the worker may be what is dead."""
        now = datetime.now(UTC)
        told = await self._database(
            lambda conn: change(conn, holder=self._holder, catalog=self._catalog, now=now),
            CHANGED_WITHIN_S,
        )
        taken = await self._line.tell(told)
        await self._database(lambda conn: alarm_store.note_announced(conn, taken), ANSWER_WITHIN_S)


def _us(instant: datetime | None) -> int | None:
    return None if instant is None else microseconds_of(instant)
