"""Tells alarm changes outward once they are durable, and what an earlier try could not tell."""

import time
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.annunciation import Annunciator
from hazardloop.alarms.store import Announcement
from hazardloop.devices.registry import Registry
from hazardloop.ingest.spool import Spool
from hazardloop.service.errors import DatabaseAway
from hazardloop.service.holding import Holds
from hazardloop.service.keeping import Keeper
from hazardloop.service.sink import Kept
from hazardloop.service.spooled import unpack_work

UNTOLD_AT_ONCE: Final = 100
"""Spooled works whose changes are told again at once."""


@dataclass(slots=True)
class Herald:
    """Announces in order; what the broker did not take is told again later."""

    annunciator: Annunciator
    keeper: Keeper
    spool: Spool
    holds: Holds
    left_over: bool = True
    """The outbox holds what an earlier run, or a broker that was away, did not take."""
    untold: bool = True
    """So may the spool."""
    unnoted: set[tuple[UUID, int]] = field(default_factory=set)
    """Told, by alarm and version; the database went away before the outbox knew."""

    async def tell(self, kept: Kept) -> None:
        """Announces what has become durable, or leaves it for later."""
        self.left_over |= kept.left_over
        if kept.recorded:
            await self._tell_recorded(kept.announcements)
        elif kept.announcements:
            taken = await self.annunciator.announce(kept.announcements)
            if len(taken) == len(kept.announcements):
                await self.spool.note_told(kept.position)
            else:
                self.untold = True

    async def tell_drained(self, announcements: list[Announcement]) -> None:
        """Announces changes that have left the spool for the database."""
        await self._announce(announcements)

    async def tell_untold(self, registry: Registry) -> None:
        """Announces what is spooled and was told to nobody, as long as the broker takes it."""
        while self.untold and (pieces := await self.spool.untold(UNTOLD_AT_ONCE)):
            for piece in pieces:
                outcome = unpack_work(piece.body, registry).outcome
                marks = self.holds.marks(outcome, registry, time.time_ns() // 1000)
                announcements = alarm_store.unrecorded(outcome, registry, marks)
                if len(await self.annunciator.announce(announcements)) < len(announcements):
                    return
                await self.spool.note_told(piece.position)
        self.untold = False

    async def _tell_recorded(self, announcements: list[Announcement]) -> None:
        if self.left_over:
            try:
                announcements = await self.keeper.unannounced()
                self.left_over = len(announcements) == alarm_store.OUTBOX_PAGE
                if not self.left_over:
                    self.unnoted &= _keys(announcements)
            except DatabaseAway:
                pass  # what is new is told without what is old
        await self._announce(announcements)

    async def _announce(self, announcements: list[Announcement]) -> None:
        known = [one for one in announcements if _key(one) in self.unnoted]
        fresh = [one for one in announcements if _key(one) not in self.unnoted]
        taken = await self.annunciator.announce(fresh)
        self.left_over |= len(taken) < len(fresh)
        told = [*known, *taken]
        try:
            await self.keeper.note_announced(told)
            self.unnoted -= _keys(told)
        except DatabaseAway:
            self.left_over = True
            self.unnoted |= _keys(told)


def _key(announcement: Announcement) -> tuple[UUID, int]:
    return announcement.alarm_id, announcement.version


def _keys(announcements: list[Announcement]) -> set[tuple[UUID, int]]:
    return {_key(one) for one in announcements}
