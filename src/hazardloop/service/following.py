"""What a worker learns from the database beside its stream, soon after it was changed there."""

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import Final

from hazardloop.alarms import drill_store, hold_store, rule_store
from hazardloop.devices import store as registry_store
from hazardloop.devices.readings import Rows
from hazardloop.devices.store import Changes
from hazardloop.ingest import retry_store
from hazardloop.service.database import BriskConnection, Connection, SteadyConnection
from hazardloop.service.errors import DatabaseAway
from hazardloop.service.pipeline import ASK_WITHIN_S, TICK_S, Worker
from hazardloop.service.site import Site, bring_up_to_date, under, with_renewed_routes

log = logging.getLogger(__name__)

FOLLOW_S: Final = 0.5
"""How often the registry is asked what has changed."""
RENEW_EACH_S: Final = 5.0
"""At most so often the tables of codes are made anew, while the registry goes on changing."""


async def follow_retries(worker: Worker, database: BriskConnection) -> None:
    """Looks for dead letters that are to be taken again, until cancelled."""
    try:
        while True:
            if not worker.asked:
                with suppress(DatabaseAway):
                    worker.asked = await database(retry_store.claim, ASK_WITHIN_S)
            await asyncio.sleep(TICK_S)
    finally:
        await database.close()


async def follow_registry(worker: Worker, database: SteadyConnection) -> None:
    """Takes over what changes in the registry and of the rules, until cancelled."""
    renewed_at = float("-inf")
    try:
        while True:
            await asyncio.sleep(FOLLOW_S)
            since = worker.site.registry.revision
            changes = await database(partial(registry_store.changes_since, revision=since))
            for page in registry_store.pages(changes):
                worker.take_over(*await database(partial(_brought_up_to_date, worker, page)))
            await _follow_rules(worker, database)
            if not worker.site.routes.whole and time.monotonic() > renewed_at + RENEW_EACH_S:
                worker.site = await asyncio.to_thread(with_renewed_routes, worker.site)
                renewed_at = time.monotonic()
    finally:
        await database.close()


async def _brought_up_to_date(
    worker: Worker, page: Changes, connection: Connection
) -> tuple[Site, Rows]:
    return await bring_up_to_date(connection, worker.site, page)


async def _follow_rules(worker: Worker, database: SteadyConnection) -> None:
    """Takes over rules whose version in force is another; compiled beside the stream."""
    if await database(rule_store.numbers_in_force) == worker.site.followed:
        return
    kept = await database(rule_store.in_force)
    before = worker.site.versions
    site, rows = await asyncio.to_thread(under, worker.site, kept)
    worker.take_over(site, rows)
    changed = {rule for rule, version in site.versions.items() if before.get(rule) != version}
    changed |= before.keys() - site.versions.keys()
    log.info("rules followed", extra={"rules": sorted(changed), "rows": len(rows)})


async def follow_decisions(worker: Worker, database: SteadyConnection) -> None:
    """Learns of drills and holds soon after people decided on them, until cancelled."""
    try:
        while True:
            known, before = worker.drills, worker.holds.standing
            worker.drills = await database(partial(drill_store.current, known=known))
            worker.holds.learn(await database(hold_store.standing))
            if worker.holds.standing != before:
                log.info("holds followed", extra={"holds": len(worker.holds.standing)})
            await asyncio.sleep(FOLLOW_S)
    finally:
        await database.close()
