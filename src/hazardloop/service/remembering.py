"""What an earlier worker knew: the engine's memory, and the newest reading of each point."""

from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from hazardloop.alarms import store as alarm_store
from hazardloop.alarms.memory import Heard, Memory, restore
from hazardloop.devices.readings import BAD, Quality, Times
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.repeats import nothing_seen
from hazardloop.service.database import Connection
from hazardloop.service.doubts import Doubts
from hazardloop.service.site import Site
from hazardloop.service.windows import all_windows

AHEAD: Final = timedelta(hours=1)
"""No reading is stored that lies further ahead: days to come need not be searched."""


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
    newest_at = nothing_seen(len(site.registry))
    rows = site.table.row_of.many(heard.point_id)
    newest_at[rows[rows >= 0]] = heard.observed_at[rows >= 0]
    lately = await all_windows(connection, site.table, newest_at)
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
