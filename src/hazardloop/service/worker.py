"""A worker's life: what it needs before it can work, and how it stops."""

import asyncio
import hashlib
import logging
import os
import secrets
import signal
import socket
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hazardloop.alarms.annunciation import Annunciator, BrokerAddress
from hazardloop.devices.wire import Channel, sparkplug_filters, uplink_filter, uplink_filters
from hazardloop.ingest.batching import BatchLimits
from hazardloop.ingest.letters import Quota
from hazardloop.ingest.options import SubscriptionOptions
from hazardloop.ingest.spool import Spool
from hazardloop.ingest.subscription import Subscription
from hazardloop.service import spool_state
from hazardloop.service.database import BriskConnection, SteadyConnection
from hazardloop.service.draining import PATIENCE_S, Drain
from hazardloop.service.errors import BrokerAbsent
from hazardloop.service.following import follow_decisions, follow_registry, follow_retries
from hazardloop.service.holding import Holds
from hazardloop.service.keeping import Keeper
from hazardloop.service.pipeline import Worker
from hazardloop.service.self_watch import SelfWatch
from hazardloop.service.settings import Settings
from hazardloop.service.signs import Signs
from hazardloop.service.snapshots import Snapshots
from hazardloop.service.starting import Start, started

log = logging.getLogger(__name__)

DRAIN_WITHIN_S: Final = 8.0
"""How long a worker that is to stop tries to make durable what it has taken."""
BROKER_WITHIN_S: Final = 20.0
"""How long a worker that starts waits for its broker."""


async def run_worker(settings: Settings) -> None:
    """Works until SIGTERM or SIGINT; a part that dies takes the worker down.

    Waits for a database that is away, unless its snapshot says all that it must know. Raises
    SchemaWrong or BrokerAbsent at the start; later it waits for the broker, too.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    spool = Spool(
        spool_state.spool_file(settings.home), settings.spool_bytes, settings.spool_reserve_bytes
    )
    await spool.open()
    try:
        start = await started(settings, spool, stop)
        if start is not None:
            await _work(settings, start, spool, stop)
    finally:
        await spool.close()


async def _work(settings: Settings, start: Start, spool: Spool, stop: asyncio.Event) -> None:
    annunciator = Annunciator(_broker_address(settings))
    options = _subscription_options(settings)
    kept = _Kept(settings.home / "worker" / "subscribed", options)
    subscription = Subscription(options, had_session=kept.before)
    database = settings.database_url
    worker = Worker(
        start.site,
        start.memory,
        start.seen,
        subscription,
        annunciator,
        BriskConnection(database, "worker-ask"),
        Keeper(database),
        SelfWatch(start.site.registry, start.site.catalog),
        start.doubts,
        spool,
        Snapshots(spool, settings.spool_reserve_bytes),
        from_snapshot=start.from_snapshot,
        quota=Quota(settings.dead_letters_per_minute),
        drills=start.drills,
        holds=Holds(start.holds),
    )
    if start.away:
        worker.sink.lost(start.away)
    drain = Drain(
        worker.sink,
        Keeper(database, "worker-drain", PATIENCE_S),
        lambda: worker.site.registry,
        worker.herald.tell_drained,
        settings.spool_drain_per_s,
    )
    signs = Signs(
        worker,
        f"{socket.gethostname()}:{os.getpid()}",
        BriskConnection(database, "worker-signs"),
        spool_state.state_file(settings.home),
    )
    async with subscription:
        await _require_broker(settings, subscription, stop)
        kept.note()
        mark = settings.home / "worker" / "running"
        mark.parent.mkdir(parents=True, exist_ok=True)
        unclean = mark.exists()
        mark.touch()
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(annunciator.run()),
                group.create_task(worker.keep_work()),
                group.create_task(
                    follow_retries(worker, BriskConnection(database, "worker-retries"))
                ),
                group.create_task(
                    follow_registry(worker, SteadyConnection(database, "worker-registry"))
                ),
                group.create_task(
                    follow_decisions(worker, SteadyConnection(database, "worker-decisions"))
                ),
                group.create_task(drain.run()),
                group.create_task(signs.show_spool()),
                group.create_task(signs.beat()),
            ]
            taking = group.create_task(_take(worker, stop, settings.settle_s, unclean))
            await stop.wait()
            drained = await _drained(worker, taking)
            for task in background:
                task.cancel()
        if drained:
            mark.unlink()
    await worker.close()
    await drain.keeper.close()
    await signs.database.close()
    log.info("worker stopped", extra={"drained": drained, "spooled": spool.fill.rows})


async def _take(worker: Worker, stop: asyncio.Event, settle_s: float, unclean: bool) -> None:
    """Takes batches until `stop`; after an unclean stop of the worker before us, settles first."""
    if settle_s and unclean:
        await worker.settle(settle_s, stop)
    await worker.take_batches(stop, settle_s)


async def _drained(worker: Worker, taking: asyncio.Task[None]) -> bool:
    """Whether all that was taken became durable; while the database is away it cannot."""
    try:
        async with asyncio.timeout(DRAIN_WITHIN_S):
            await taking
            await worker.ahead.join()
    except TimeoutError:
        return False
    return True


async def _require_broker(
    settings: Settings, subscription: Subscription, stop: asyncio.Event
) -> None:
    """Returns once we have subscribed, or are to stop. BrokerAbsent: not within a while.

    Only at the start: a broker that goes away later is waited for.
    """
    until = time.monotonic() + BROKER_WITHIN_S
    while not stop.is_set() and not await subscription.subscribed(0.2):
        if time.monotonic() > until:
            parts = urlsplit(settings.mqtt_url)
            raise BrokerAbsent(
                f"no broker at {parts.hostname}:{parts.port or 1883}"
                f" ({subscription.state.last_error or 'it does not answer'}):"
                " start it or correct HAZARDLOOP_MQTT_URL"
            )


class _Kept:
    """Remembers under which session we have subscribed, so that a broker that forgot it is seen."""

    def __init__(self, file: Path, options: SubscriptionOptions) -> None:
        where = f"{urlsplit(options.url).hostname} {options.client_id} {options.share}"
        self._file, self._session = file, hashlib.sha256(where.encode()).hexdigest()

    @property
    def before(self) -> bool:
        """Whether an earlier worker of this home has subscribed under this session."""
        return self._file.exists() and self._file.read_text() == self._session

    def note(self) -> None:
        """We have subscribed."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(self._session)


def _client_id(settings: Settings) -> str:
    """The id of the persistent session: secret, because whoever knows it could take it over."""
    if settings.mqtt_client_id:
        return settings.mqtt_client_id
    kept = settings.home / "worker" / "client_id"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"hazardloop-{secrets.token_hex(16)}")
    return kept.read_text()


def _subscription_options(settings: Settings) -> SubscriptionOptions:
    return SubscriptionOptions(
        url=settings.mqtt_url,
        client_id=_client_id(settings),
        filters=uplink_filters(),
        protocol=5 if settings.mqtt_protocol == "5" else 4,
        share=settings.mqtt_share,
        retained=(uplink_filter(Channel.STATUS),),
        beside=sparkplug_filters(),
        ca_file=settings.mqtt_ca_file,
        window=settings.mqtt_window,
        limits=BatchLimits(settings.batch_messages, settings.batch_ms / 1000),
    )


def _broker_address(settings: Settings) -> BrokerAddress:
    ca_file = settings.mqtt_ca_file
    return BrokerAddress.of(settings.mqtt_url, str(ca_file) if ca_file else None)
