"""What an earlier worker knew: the engine's memory, and the newest reading of each point."""

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.memory import Heard, Memory, restore
from hazardloop.alarms.rings import Lately, Rings, empty_rings, lay_all
from hazardloop.devices.readings import BAD, Quality, Times
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.repeats import nothing_seen
from hazardloop.service.database import Connection
from hazardloop.service.doubts import Doubts
from hazardloop.service.site import Site

AHEAD: Final = timedelta(hours=1)
"""No reading is stored that lies further ahead: days to come need not be searched."""

RINGS_AT_ONCE: Final = 2_000
"""Points whose readings lately are asked for together."""
SLACK_US: Final = 3_600_000_000
"""So much farther back than rules look from the newest reading: they may look from one before."""


async def remembered(connection: Connection, site: Site) -> tuple[Memory, Times, Doubts]:
    """The memory, (rows,) us of the newest reading of each point (NEVER = none), and doubts."""
    until = datetime.now(UTC) + AHEAD
    newest = await reading_store.newest_readings(connection, until)
    seen = nothing_seen(len(site.registry))
    rows = site.registry.row_of.many(newest.point_id)
    seen[rows[rows >= 0]] = newest.observed_at[rows >= 0]
    bad = (newest.quality & int(BAD)) != 0
    before = await reading_store.newest_usable(connection, until, newest.point_id[bad])
    heard = Heard(
        np.concatenate([newest.point_id[~bad], before.point_id]),
        np.concatenate([newest.observed_at[~bad], before.observed_at]),
        np.concatenate([newest.received_at[~bad], before.received_at]),
        np.concatenate([newest.value[~bad], before.value]),
        (np.concatenate([newest.quality[~bad], before.quality]) & int(Quality.BACKFILL)) != 0,
    )
    cells, alarms = await alarm_store.load_memory(connection)
    lately = await _rings(connection, site, heard)
    memory = restore(
        site.table,
        cells,
        [alarm for alarm in alarms if alarm.cleared_us is None],
        heard,
        [alarm for alarm in alarms if alarm.cleared_us is not None],
        lately,
    )
    doubts = Doubts(site.registry, site.catalog)
    recent = await reading_store.recent(connection, doubts.watched(site.registry))
    doubts.restore(site.registry, recent, memory.newest_value)
    return memory, seen, doubts


async def _rings(connection: Connection, site: Site, heard: Heard) -> Rings:
    """What the points whose rules look back said lately, as the table of readings has it."""
    table = site.table
    rings = empty_rings(table.ringed_row, table.ringed_room, len(table.point_id))
    if not len(rings):
        return rings
    row = table.row_of.many(heard.point_id)
    ring = np.where(row >= 0, rings.of_row[row], np.int32(-1))
    newest, ring = heard.observed_at[ring >= 0], ring[ring >= 0]
    reach_us = (table.reach_s(rings.row[ring]) * 1e6).astype(np.int64)
    for start in range(0, len(ring), RINGS_AT_ONCE):
        here = slice(start, start + RINGS_AT_ONCE)
        found = await reading_store.lately(
            connection,
            table.point_id[rings.row[ring[here]]],
            newest[here] - 2 * reach_us[here] - SLACK_US,
            newest[here],
            rings.room[ring[here]],
        )
        lay_all(rings, Lately(ring[here], *found))
    return rings
