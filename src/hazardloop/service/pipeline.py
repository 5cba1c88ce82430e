"""Broker to alarms on one page: what a worker does.

Data goes one way: a batch of messages becomes columns, columns become changes of alarms, both are
committed, the changes are announced, and only then is the batch acknowledged. While one batch is
being committed the next is already decoded and evaluated; commits go in order.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np

from hazardloop.alarms import evaluation
from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.annunciation import Annunciator
from hazardloop.alarms.memory import Memory, carry_over
from hazardloop.devices import store as registry_store
from hazardloop.devices.dialects.readers import rereading
from hazardloop.devices.readings import Bools, Quality, Readings, Rows, Times
from hazardloop.devices.store import Changes
from hazardloop.devices.wire import Reason
from hazardloop.ingest import retry_store
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.arrivals import MINUTE_US, Arrivals, arrivals_of, fates, in_runs
from hazardloop.ingest.batching import Batch, together
from hazardloop.ingest.decoding import Intake, decode
from hazardloop.ingest.judging import Reject
from hazardloop.ingest.letters import Notes, Quota, sort_letters
from hazardloop.ingest.refusal_share import RefusalShare
from hazardloop.ingest.repeats import nothing_seen, novelty, see
from hazardloop.ingest.retained import without_undated_replays
from hazardloop.ingest.retries import AskedAgain, as_batch, as_late, outcomes
from hazardloop.ingest.subscription import Subscription, now_us
from hazardloop.service import heartbeat, metrics
from hazardloop.service.database import Connection, SteadyConnection
from hazardloop.service.doubts import Doubts
from hazardloop.service.keeping import Keeper
from hazardloop.service.self_watch import SelfWatch
from hazardloop.service.site import Site, bring_up_to_date, with_renewed_routes
from hazardloop.service.work import Work

log = logging.getLogger(__name__)

TICK_S: Final = 1.0
GRACE_US: Final = 1_000_000
"""Delays run out this much later than the clock says, so that a reading in flight can speak."""
FOLLOW_S: Final = 0.5
"""How often the registry is asked what has changed."""
AHEAD: Final = 2
"""Pieces of work that may wait, evaluated, for the one being committed."""


@dataclass(slots=True)
class Worker:
    """One worker: its connections, and what it remembers."""

    site: Site
    memory: Memory
    newest: Times
    """(rows,) us of the newest reading seen of each point, stored or on its way there."""
    subscription: Subscription
    annunciator: Annunciator
    asking: SteadyConnection
    """For questions beside the commits."""
    keeper: Keeper
    self_watch: SelfWatch
    doubts: Doubts
    instance: str
    """What tells it from other workers."""
    left_over: bool = True
    """The outbox holds what an earlier run, or a broker that was away, did not take."""
    notes: Notes = field(default_factory=Notes)
    quota: Quota = field(default_factory=Quota)
    """Of dead letters that are kept."""
    refusal_share: RefusalShare = field(default_factory=RefusalShare)
    asked: list[AskedAgain] = field(default_factory=list)
    """Dead letters to be taken again at the next tick."""
    ahead: asyncio.Queue[Work] = field(default_factory=lambda: asyncio.Queue(AHEAD))

    async def take_batches(self, stop: asyncio.Event, settle_s: float = 0.0) -> None:
        """Receives, decodes and evaluates until `stop`; ticks in between.

        `settle_s`: redelivery time of a broker that redelivers late. What was under way when a
        connection broke comes so much later, after newer messages.
        """
        next_tick = time.monotonic()
        generation = self.subscription.state.generation
        while not stop.is_set():
            batch = await self.subscription.next_batch(max(0.0, next_tick - time.monotonic()))
            if batch is not None and batch.generation != generation:
                generation = batch.generation
                await self.settle(self._unsettled_s(settle_s), stop, batch)
            elif batch is not None:
                await self.ahead.put(await self.work_of([batch]))
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_S
                await self._tick()

    def _unsettled_s(self, settle_s: float) -> float:
        """How much of that time is left since the broker has us back."""
        connected_at = self.subscription.state.connected_at or now_us()
        return max(0.0, settle_s - (now_us() - connected_at) / 1e6)

    async def settle(self, for_s: float, stop: asyncio.Event, first: Batch | None = None) -> None:
        """Gathers what comes in that time, and evaluates it together, with `first` before it.

        After an unclean stop, or a lost connection, some brokers redeliver late, after newer
        messages. Together and in data-time order they give the alarms that an undisturbed run
        would have given.
        """
        if for_s > 0:
            log.info("settling", extra={"seconds": round(for_s, 1)})
        gathered = [] if first is None else [first]
        until = time.monotonic() + for_s
        while (left_s := until - time.monotonic()) > 0 and not stop.is_set():
            batch = await self.subscription.next_batch(min(left_s, TICK_S))
            if batch is not None:
                gathered.append(batch)
            await self._beat(settling=True)
        if gathered:
            await self.ahead.put(await self.work_of(gathered))

    async def follow_retries(self, database: SteadyConnection) -> None:
        """Looks for dead letters that are to be taken again, until cancelled."""
        try:
            while True:
                if not self.asked:
                    self.asked = await database(retry_store.claim)
                await asyncio.sleep(TICK_S)
        finally:
            await database.close()

    async def keep_work(self) -> None:
        """Makes work durable, announces it, acknowledges it; in order, until cancelled."""
        while True:
            work = await self.ahead.get()
            await self._carry(work)
            self.ahead.task_done()

    async def close(self) -> None:
        """Lets go of the database."""
        await self.keeper.close()
        await self.asking.close()

    async def _carry(self, work: Work) -> None:
        with metrics.BATCH_SECONDS.labels("commit").time():
            announcements = await self.keeper.keep(work)
        if self.left_over:
            announcements = await self.keeper.unannounced()
        if announcements:
            with metrics.BATCH_SECONDS.labels("annunciate").time():
                taken = await self.annunciator.announce(announcements)
                await self.keeper.note_announced(taken)
            whole = len(announcements) < alarm_store.OUTBOX_PAGE
            self.left_over = len(taken) < len(announcements) or not whole
        else:
            self.left_over = False
        if work.refusals:
            notes = self.notes.due(work.refusals, work.registry, now_us())
            await self.annunciator.tell(notes)
        if work.wishes:
            await self.annunciator.tell([(wish.topic, wish.payload) for wish in work.wishes], qos=0)
        for batch in work.batches:
            await self.subscription.acknowledge(batch)
        _count(work)

    async def work_of(self, batches: Sequence[Batch]) -> Work:
        """Batches decoded, cleared of repeats and evaluated, as one piece of work."""
        batch = together(batches)
        with metrics.BATCH_SECONDS.labels("decode").time():
            intake = decode(batch.topics, batch.payloads, batch.received_at, self.site.routes)
            heard = intake.readings
            intake = without_undated_replays(intake, batch.retained)
        with metrics.BATCH_SECONDS.labels("quality").time():
            again = await self._delivered_before(intake.readings)
            repeats = intake.readings.take(again)
            fresh = intake.readings.take(~again) if len(repeats) else intake.readings
            see(fresh, self.newest)
            self.doubts.cast(fresh, intake.stamps, batch.received_at)
        with metrics.BATCH_SECONDS.labels("rules").time():
            outcome = evaluation.evaluate(self.site.table, self.memory, fresh)
        rejects = intake.rejects + (self._told_again(repeats, batch) if len(repeats) else [])
        found = sort_letters(rejects, batch, self.site.registry, self.quota)
        return Work(
            self.site.registry,
            outcome,
            tuple(batches),
            fresh,
            found.letters,
            intake.statuses,
            len(repeats),
            self._arrivals(batch, intake, heard, fresh),
            found.counted,
            refusals=found.refusals,
            refused=found.figures,
            wishes=intake.wishes,
        )

    def _arrivals(self, batch: Batch, intake: Intake, heard: Readings, new: Readings) -> Arrivals:
        """What came of each message and each number."""
        refused = [reject.message for reject in intake.rejects]
        fate = fates(len(batch), heard, new, refused)
        arrivals = in_runs(arrivals_of(batch, intake.sequences, fate, self.site.senders)[1])
        self.refusal_share.note(arrivals, now_us() // MINUTE_US)
        return arrivals

    async def _take_again(self) -> None:
        """Dead letters that somebody asked for, as late messages that nobody waits for."""
        asked, self.asked = self.asked, []
        if not asked:
            return
        batch = as_batch(asked)
        routes = replace(self.site.routes, foreign=rereading(self.site.routes.foreign))
        intake = decode(batch.topics, batch.payloads, batch.received_at, routes)
        readings = as_late(intake.readings)
        fresh = readings.take(~await self._delivered_before(readings))
        see(fresh, self.newest)
        outcome = evaluation.evaluate(self.site.table, self.memory, fresh)
        told = outcomes(asked, readings, fresh, intake.rejects)
        duplicates = len(readings) - len(fresh)
        await self.ahead.put(
            Work(self.site.registry, outcome, readings=fresh, duplicates=duplicates, retries=told)
        )
        log.info("dead letters taken again", extra={"letters": len(asked), "stored": len(fresh)})

    async def _delivered_before(self, readings: Readings) -> Bools:
        """(n,) which readings are stored already; those only late are flagged so."""
        how_new = novelty(readings, self.newest)
        again = how_new.repeated
        doubtful = np.flatnonzero(how_new.doubtful)
        if doubtful.size:
            await self.ahead.join()  # what is on its way into the table must be there to be found
            asked = readings.take(doubtful)
            stored = await self.asking(
                lambda connection: reading_store.stored_already(
                    connection, asked, self.site.registry.point_id
                )
            )
            again[doubtful[stored]] = True
        readings.quality[how_new.late & ~again] |= Quality.LATE
        return again

    def _told_again(self, repeats: Readings, batch: Batch) -> list[Reject]:
        """A reject for each message that a gateway, not the broker, sent again."""
        messages, first, counts = np.unique(repeats.message, return_index=True, return_counts=True)
        replayed = batch.dup | batch.retained
        return [
            Reject(
                int(message),
                Reason.DUPLICATE,
                f"{self.site.registry.points[repeats.row[at]].code}: a reading of this point and"
                " time is stored already",
                int(count),
            )
            for message, at, count in zip(messages, first, counts, strict=True)
            if not replayed[message]
        ]

    async def _tick(self) -> None:
        """What time does: our own readings, delays that run out, silences."""
        state = self.subscription.state
        now = now_us()
        deaf_until = state.connected_at if state.connected and state.connected_at else now
        self.doubts.tell(self.self_watch)
        for gateway_id, percent in self.refusal_share.shares(now // MINUTE_US):
            self.self_watch.say("dead_letter_share", percent, gateway_id)
        own = self.self_watch.due(now)
        see(own, self.newest)
        outcome = evaluation.merge(
            evaluation.evaluate(self.site.table, self.memory, own),
            evaluation.tick(self.site.table, self.memory, now - GRACE_US, deaf_until),
        )
        if outcome.changes or outcome.cells or len(own) or self.left_over:
            await self.ahead.put(Work(self.site.registry, outcome, readings=own))
        await self._take_again()
        await self._beat(settling=False)

    async def _beat(self, *, settling: bool) -> None:
        """Says that we live, and how we get on with the broker."""
        state = self.subscription.state
        metrics.ACK_LAG.set(state.unacknowledged)
        metrics.SESSIONS_LOST.set(state.sessions_lost)
        broker = "connected" if state.connected else f"disconnected: {state.last_error}"
        detail = {
            "broker": broker,
            "settling": settling,
            "sessions_lost": state.sessions_lost,
        }
        await self.asking(
            lambda connection: heartbeat.beat(connection, "worker", self.instance, detail)
        )

    async def follow_registry(self, database: SteadyConnection) -> None:
        """Takes over what changes in the registry, soon after it did; until cancelled."""
        try:
            while True:
                await asyncio.sleep(FOLLOW_S)
                since = self.site.registry.revision
                changes = await database(partial(registry_store.changes_since, revision=since))
                for page in registry_store.pages(changes):
                    self._take_over(*await database(partial(self._brought_up_to_date, page=page)))
                if not self.site.routes.whole:
                    self.site = await asyncio.to_thread(with_renewed_routes, self.site)
        finally:
            await database.close()

    async def _brought_up_to_date(self, connection: Connection, page: Changes) -> tuple[Site, Rows]:
        return await bring_up_to_date(connection, self.site, page)

    def _take_over(self, site: Site, touched: Rows) -> None:
        """Goes on with a registry that changed; rows keep their points, new ones are added."""
        newest = nothing_seen(len(site.registry))
        newest[: len(self.newest)] = self.newest
        self.memory = carry_over(self.site.table, self.memory, site.table, touched)
        self.self_watch = self.self_watch.moved_to(site.registry, site.catalog)
        self.doubts.follow(site.registry, site.catalog)
        self.site, self.newest = site, newest
        log.info(
            "registry followed",
            extra={"revision": site.registry.revision, "points": len(newest), "rows": len(touched)},
        )


def _count(work: Work) -> None:
    metrics.READINGS_STORED.inc(len(work.readings))
    metrics.READINGS_DUPLICATE.inc(work.duplicates)
    for reason, readings in work.refused.items():
        metrics.READINGS_REJECTED.labels(reason).inc(readings)
    metrics.MESSAGES_RECEIVED.inc(sum(map(len, work.batches)))
    if work.batches and work.outcome.changes:
        metrics.ALARM_LATENCY.observe((now_us() - int(work.batches[0].received_at[0])) / 1e6)
    for change in work.outcome.changes:
        log.info(
            "alarm " + change.kind,
            extra={
                "alarm": change.alarm_id,
                "tier": change.tier.wire,
                "point": work.registry.points[change.row].code,
                "rule": change.rule_id,
                "value": change.value,
            },
        )
