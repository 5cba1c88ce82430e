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
from typing import Final

import numpy as np

from hazardloop.alarms import evaluation
from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.annunciation import Annunciator
from hazardloop.alarms.drill import Drill, marked
from hazardloop.alarms.kernels import usable
from hazardloop.alarms.memory import Memory, carry_over, is_active
from hazardloop.devices.dialects.readers import rereading
from hazardloop.devices.instants import MINUTE_US
from hazardloop.devices.readings import Bools, Quality, Readings, Rows, Times, by_point
from hazardloop.devices.wire import Reason
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.arrivals import arrivals_of, fates, in_runs
from hazardloop.ingest.batching import Batch, together
from hazardloop.ingest.decoding import decode
from hazardloop.ingest.judging import Reject
from hazardloop.ingest.letters import Notes, Quota, sort_letters
from hazardloop.ingest.refusal_share import RefusalShare
from hazardloop.ingest.repeats import nothing_seen, novelty, see
from hazardloop.ingest.retained import without_undated_replays
from hazardloop.ingest.retries import AskedAgain, as_batch, as_late, outcomes
from hazardloop.ingest.spool import Spool
from hazardloop.ingest.subscription import Subscription, now_us
from hazardloop.service import metrics
from hazardloop.service.database import BriskConnection
from hazardloop.service.doubts import Doubts
from hazardloop.service.errors import DatabaseAway
from hazardloop.service.herald import Herald
from hazardloop.service.holding import Holds
from hazardloop.service.keeping import Keeper
from hazardloop.service.known import as_recorded, still
from hazardloop.service.self_watch import SelfWatch
from hazardloop.service.sink import Kept, Sink
from hazardloop.service.site import Site
from hazardloop.service.snapshots import Snapshots
from hazardloop.service.windows import Refill
from hazardloop.service.work import Aside, Work, aside_of

log = logging.getLogger(__name__)

TICK_S: Final = 1.0
GRACE_US: Final = 1_000_000
"""Delays run out this much later than the clock says, so that a reading in flight can speak."""
ASK_WITHIN_S: Final = 3.0
"""Longer than this no batch waits for an answer; what was asked is set aside."""
AHEAD: Final = 1
"""Pieces of work that may wait, evaluated, for the one being committed. What comes meanwhile is
gathered into larger batches, which cost less each message."""


@dataclass(slots=True)
class Worker:
    """One worker: its connections, and what it remembers."""

    site: Site
    memory: Memory
    newest: Times
    """(rows,) us of the newest reading seen of each point, stored or on its way there."""
    subscription: Subscription
    annunciator: Annunciator
    asking: BriskConnection
    """For the question whether readings are stored already."""
    keeper: Keeper
    self_watch: SelfWatch
    doubts: Doubts
    spool: Spool
    snapshots: Snapshots
    from_snapshot: str = ""
    """Where we began with a snapshot that the database has not confirmed yet: of when, and why."""
    sink: Sink = field(init=False)
    herald: Herald = field(init=False)
    settling: bool = False
    turned_at: float = field(default_factory=time.monotonic)
    """When batches were last asked for, on the monotonic clock."""
    notes: Notes = field(default_factory=Notes)
    quota: Quota = field(default_factory=Quota)
    """Of dead letters that are kept."""
    refusal_share: RefusalShare = field(default_factory=RefusalShare)
    asked: list[AskedAgain] = field(default_factory=list)
    """Dead letters to be taken again at the next tick."""
    drills: tuple[Drill, ...] = ()
    """Announced, and not over."""
    holds: Holds = field(default_factory=Holds)
    refill: Refill = field(default_factory=Refill)
    ahead: asyncio.Queue[Work] = field(default_factory=lambda: asyncio.Queue(AHEAD))

    def __post_init__(self) -> None:
        """Puts the parts together."""
        self.holds.active = self._is_active
        self.sink = Sink(self.keeper, self.spool, self.judge, self.holds)
        self.herald = Herald(self.annunciator, self.keeper, self.spool, self.holds)

    def _is_active(self, device_id: int, rule_id: str) -> bool:
        rows = np.flatnonzero(self.site.registry.device_id == device_id).tolist()
        return is_active(self.site.table, self.memory, rows, rule_id)

    async def take_batches(self, stop: asyncio.Event, settle_s: float = 0.0) -> None:
        """Receives, decodes and evaluates until `stop`; ticks in between.

        `settle_s`: redelivery time of a broker that redelivers late. What was under way when a
        connection broke comes so much later, after newer messages.
        """
        next_tick = time.monotonic()
        generation = self.subscription.state.generation
        while not stop.is_set():
            self.turned_at = time.monotonic()
            batch = await self.subscription.next_batch(max(0.0, next_tick - time.monotonic()))
            if batch is not None and batch.generation != generation:
                generation = batch.generation
                await self.settle(self._unsettled_s(settle_s), stop, batch)
            elif batch is not None:
                await self.ahead.put(await self.work_of([batch]))
            if self.snapshots.due(self.site.registry, self.sink.direct):
                await self._take_snapshot()
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_S
                await self._tick()

    async def _take_snapshot(self) -> None:
        """Of what is known once all that was evaluated is durable; written beside the stream."""
        await self.ahead.join()
        then = still(self.memory, self.newest, self.doubts, self.drills, self.holds.standing)
        self.snapshots.begin(self.site, then)

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
        self.settling = True
        if for_s > 0:
            log.info("settling", extra={"seconds": round(for_s, 1)})
        gathered = [] if first is None else [first]
        until = time.monotonic() + for_s
        while (left_s := until - time.monotonic()) > 0 and not stop.is_set():
            batch = await self.subscription.next_batch(min(left_s, TICK_S))
            if batch is not None:
                gathered.append(batch)
            self.turned_at = time.monotonic()
        self.settling = False
        if gathered:
            await self.ahead.put(await self.work_of(gathered))

    async def keep_work(self) -> None:
        """Makes work durable, announces it, acknowledges it; in order, until cancelled."""
        while True:
            work = await self.ahead.get()
            await self._carry(work)
            self.ahead.task_done()

    async def close(self) -> None:
        """Lets go of the database."""
        await self.snapshots.close()
        await self.keeper.close()
        await self.asking.close()

    async def _carry(self, work: Work) -> None:
        work = replace(work, outcome=marked(work.outcome, self.drills, now_us()))
        with metrics.BATCH_SECONDS.labels("commit").time():
            kept = await self.sink.keep(work)
        with metrics.BATCH_SECONDS.labels("annunciate").time():
            await self.herald.tell(kept)
        if work.refusals:
            notes = self.notes.due(work.refusals, work.registry, now_us())
            await self.annunciator.tell(notes)
        if work.wishes:
            await self.annunciator.tell([(wish.topic, wish.payload) for wish in work.wishes], qos=0)
        for batch in work.batches:
            await self.subscription.acknowledge(batch)
        _count(work, kept)

    async def work_of(self, batches: Sequence[Batch]) -> Work:
        """Batches decoded, cleared of repeats and evaluated, as one piece of work."""
        batch = together(batches)
        senders = self.site.senders  # of the registry that decodes; it may change while we ask
        with metrics.BATCH_SECONDS.labels("decode").time():
            intake = decode(batch.topics, batch.payloads, batch.received_at, self.site.routes)
            heard = intake.readings
            intake = without_undated_replays(intake, batch.retained)
            readings = by_point(intake.readings)
        with metrics.BATCH_SECONDS.labels("quality").time():
            again, unjudged = await self._delivered_before(readings)
            repeats = readings.take(again)
            old = again | unjudged
            fresh = readings.take(~old) if old.any() else readings
            see(fresh, self.newest)
            self.doubts.cast(fresh, intake.stamps, batch.received_at)
        with metrics.BATCH_SECONDS.labels("rules").time():
            aside = self._aside(readings.take(unjudged), batch) if unjudged.any() else None
            outcome = evaluation.evaluate(self.site.table, self.memory, fresh)
        fate = fates(len(batch), heard, fresh, [reject.message for reject in intake.rejects])
        message, arrivals = arrivals_of(batch, intake.sequences, fate, senders)
        if aside is not None:
            arrivals, aside = aside.with_arrivals(message, arrivals, fresh)
        arrivals = in_runs(arrivals)
        self.refusal_share.note(arrivals, now_us() // MINUTE_US)
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
            arrivals,
            found.counted,
            refusals=found.refusals,
            refused=found.figures,
            wishes=intake.wishes,
            aside=aside,
        )

    async def judge(self, aside: Aside) -> Work:
        """What comes of readings that nobody could tell to be new. DatabaseAway: nobody can yet."""
        stored = await self.asking(
            lambda connection: reading_store.stored_already(
                connection, aside.readings, self.site.registry.point_id
            ),
            ASK_WITHIN_S,
        )
        repeats, fresh = aside.readings.take(stored), aside.readings.take(~stored)
        again = self._told_again(repeats, aside.batch)
        found = sort_letters(again, aside.batch, self.site.registry, self.quota)
        looked_back = evaluation.recollect(self.site.table, self.memory, fresh)
        finds = (find for nth, find in aside.finds if not stored[nth])
        return Work(
            self.site.registry,
            evaluation.merge(looked_back, evaluation.discover(self.site.table, self.memory, finds)),
            readings=fresh,
            letters=found.letters,
            duplicates=len(repeats),
            arrivals=in_runs(aside.arrivals_with(fresh)),
            counted=found.counted,
        )

    async def _take_again(self) -> None:
        """Dead letters that somebody asked for, as late messages that nobody waits for."""
        if not self.asked or not self.sink.direct:
            return
        asked = self.asked
        batch = as_batch(asked)
        routes = replace(self.site.routes, foreign=rereading(self.site.routes.foreign))
        intake = decode(batch.topics, batch.payloads, batch.received_at, routes)
        readings = as_late(intake.readings)
        again, unjudged = await self._delivered_before(readings)
        if unjudged.any():
            return  # the database went away: at another tick
        self.asked = []
        fresh = readings.take(~again)
        see(fresh, self.newest)
        outcome = evaluation.evaluate(self.site.table, self.memory, fresh)
        told = outcomes(asked, readings, fresh, intake.rejects)
        duplicates = len(readings) - len(fresh)
        await self.ahead.put(
            Work(self.site.registry, outcome, readings=fresh, duplicates=duplicates, retries=told)
        )
        log.info("dead letters taken again", extra={"letters": len(asked), "stored": len(fresh)})

    def _aside(self, readings: Readings, batch: Batch) -> Aside:
        aside = aside_of(readings, batch)
        return replace(
            aside, finds=evaluation.foresee(self.site.table, self.memory, aside.readings)
        )

    async def _delivered_before(self, readings: Readings) -> tuple[Bools, Bools]:
        """(n,) which readings are stored already, and which may be: the database could not say.

        Those that are late are flagged so.
        """
        how_new = novelty(readings, self.newest)
        again, unjudged = how_new.repeated, np.zeros(len(readings), np.bool_)
        doubtful = np.flatnonzero(how_new.doubtful)
        if doubtful.size:
            await self.ahead.join()  # what is on its way into the table must be there to be found
            stored = await self._stored_already(readings.take(doubtful))
            if stored is None:
                unjudged[doubtful] = ~self._unheard(readings.take(doubtful))
            else:
                again[doubtful[stored]] = True
        readings.quality[how_new.late & ~again] |= Quality.LATE
        return again, unjudged

    def _unheard(self, readings: Readings) -> Bools:
        """(n,) which are usable, and newer than all that was so of their point.

        Something newer was bad. These are no repeats of anything that the rules have seen, and are
        evaluated at once; where a bad one of the very instant is stored, the table keeps that.
        """
        newer = readings.observed_at > self.memory.newest_at.take(readings.row)
        return newer & usable(readings.value, readings.quality)

    async def _stored_already(self, readings: Readings) -> Bools | None:
        """(n,) which are in the table; None while the table lacks what is spooled, or is away."""
        if not self.sink.direct:
            return None
        try:
            return await self.asking(
                lambda connection: reading_store.stored_already(
                    connection, readings, self.site.registry.point_id
                ),
                ASK_WITHIN_S,
            )
        except DatabaseAway as error:
            self.sink.lost(str(error))
            return None

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
        """What time does: our own readings, delays that run out, silences, what was untold."""
        state = self.subscription.state
        now = now_us()
        deaf_until = state.connected_at if state.connected and state.connected_at else now
        self.doubts.tell(self.self_watch)
        for gateway_id, percent in self.refusal_share.shares(now // MINUTE_US):
            self.self_watch.say("dead_letter_share", percent, gateway_id)
        self.self_watch.say("spool_fill", 100 * self.spool.share)
        own = self.self_watch.due(now)
        see(own, self.newest)
        outcome = evaluation.merge(
            evaluation.evaluate(self.site.table, self.memory, own),
            evaluation.tick(self.site.table, self.memory, now - GRACE_US, deaf_until),
        )
        to_tell = self.herald.left_over and self.sink.direct  # the outbox, in its order
        if outcome.changes or outcome.cells or len(own) or to_tell:
            await self.ahead.put(Work(self.site.registry, outcome, readings=own))
        await self._take_again()
        await self._refill_windows()
        if self.herald.untold:
            await self.herald.tell_untold(self.site.registry)
        if self.from_snapshot and self.sink.direct and not self.spool.fill.rows:
            await self._confirm()

    async def _confirm(self) -> None:
        """Compares what came of a snapshot with the database, whose word counts."""
        await self.ahead.join()
        try:
            rows = await self.asking(alarm_store.load_memory, ASK_WITHIN_S)
        except DatabaseAway as error:
            self.sink.lost(str(error))
            return
        recorded = as_recorded(self.site, self.memory, *rows)
        if recorded is None:
            log.info("the database confirms the snapshot", extra={"limits": len(rows[0])})
        else:
            log.error("the database knew otherwise than the snapshot: its word counts")
            self.memory = recorded
        self.from_snapshot = ""

    async def _refill_windows(self) -> None:
        """Gives windows that began while we ran the past that a start would have found."""
        if not len(self.refill.rows):
            return
        await self.ahead.join()  # what was evaluated before they began must be there to be found
        site = self.site
        if not self.sink.direct:
            return
        try:
            row, past = await self.asking(
                lambda connection: self.refill.past(connection, site.table, self.memory),
                ASK_WITHIN_S,
            )
        except DatabaseAway as error:
            self.sink.lost(str(error))
            return
        if site is self.site:  # else the table changed meanwhile: at another tick
            self.refill.lay(self.memory.rings, row, past)

    def take_over(self, site: Site, touched: Rows) -> None:
        """Goes on with a registry that changed; rows keep their points, new ones are added."""
        newest = nothing_seen(len(site.registry))
        newest[: len(self.newest)] = self.newest
        self.memory = carry_over(self.site.table, self.memory, site.table, touched)
        self.refill.follow(self.site.table, site.table)
        self.self_watch = self.self_watch.moved_to(site.registry, site.catalog)
        self.doubts.follow(site.registry, site.catalog)
        self.site, self.newest = site, newest
        log.info(
            "registry followed",
            extra={"revision": site.registry.revision, "points": len(newest), "rows": len(touched)},
        )


def _count(work: Work, kept: Kept) -> None:
    if kept.recorded:  # else they are counted when the spool drains
        metrics.READINGS_STORED.inc(len(work.readings))
        metrics.READINGS_DUPLICATE.inc(work.duplicates)
    for reason, readings in work.refused.items():
        metrics.READINGS_REJECTED.labels(reason).inc(readings)
    metrics.MESSAGES_RECEIVED.inc(sum(map(len, work.batches)))
    if work.batches and work.outcome.changes:
        metrics.ALARM_LATENCY.observe((now_us() - int(work.batches[0].received_at[0])) / 1e6)
    for change in work.outcome.changes:
        if alarm_store.of_canary(change, work.registry):
            continue  # all the time, and nobody's matter
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
