"""The readings lately of points whose rules look back, as the table of readings has them."""

from typing import Final

import numpy as np

from hazardloop.alarms.memory import Memory
from hazardloop.alarms.rings import Lately, Rings, empty_rings, lay_all, lay_among
from hazardloop.alarms.rule_table import RuleTable
from hazardloop.devices.readings import NEVER, Rows, Times
from hazardloop.ingest import store as reading_store
from hazardloop.service.database import Connection

AT_ONCE: Final = 2_000
"""Points whose readings lately are asked for together."""
SLACK_US: Final = 3_600_000_000
"""So much farther back than rules look from the newest reading: they may look from one before."""


async def all_windows(connection: Connection, table: RuleTable, newest_at: Times) -> Rings:
    """Rings of that table, filled; `newest_at` is (n,) over its rows, NEVER = nothing to be had."""
    rings = empty_rings(table.ringed_row, table.ringed_room, len(table.point_id))
    row = rings.row[newest_at[rings.row] != NEVER]
    for start in range(0, len(row), AT_ONCE):
        part = row[start : start + AT_ONCE]
        lay_all(rings, await said_lately(connection, table, rings, newest_at, part))
    return rings


async def said_lately(
    connection: Connection, table: RuleTable, rings: Rings, newest_at: Times, row: Rows
) -> Lately:
    """What these points said, no farther back from their newest reading than their rules look."""
    ring, newest = rings.of_row[row], newest_at[row]
    reach_us = (table.reach_s(row) * 1e6).astype(np.int64)
    found = await reading_store.lately(
        connection,
        table.point_id[row],
        newest - 2 * reach_us - SLACK_US,
        newest,
        rings.room[ring],
    )
    return Lately(ring, *found)


def grown(old: RuleTable, new: RuleTable) -> Rows:
    """Rows of `new` whose points keep more of the past than they did under `old`, ascending."""
    row = new.ringed_row
    if not len(row):
        return row
    old_row = old.row_of.many(new.point_id[row])
    room = np.zeros(len(old.point_id) + 1, np.int32)  # the last one is for points that are new
    room[old.ringed_row] = old.ringed_room
    reach_s = np.append(old.reach_s(np.arange(len(old.point_id), dtype=np.int32)), 0.0)
    more: Rows = row[(new.ringed_room > room[old_row]) | (new.reach_s(row) > reach_s[old_row])]
    return more


class Refill:
    """Windows that began while the worker ran, and have yet to get their past.

    Whatever is evaluated since is in them already. What was evaluated before must be in the table
    when it is asked: then both together are what a start would have found.
    """

    def __init__(self) -> None:
        """Nobody waits."""
        self.rows: Rows = np.empty(0, np.int32)
        """Of the points that do, under the newest table."""

    def follow(self, old: RuleTable, new: RuleTable) -> None:
        """Points whose windows grew with a new table wait; those that have none wait no longer."""
        waiting = new.row_of.many(old.point_id[self.rows])
        waiting = waiting[np.isin(waiting, new.ringed_row)]
        self.rows = np.union1d(waiting, grown(old, new)).astype(np.int32)

    async def past(
        self, connection: Connection, table: RuleTable, memory: Memory
    ) -> tuple[Rows, Lately]:
        """The next points that wait, and what they said until now."""
        self.rows = self.rows[memory.newest_at[self.rows] != NEVER]  # who never spoke has no past
        row = self.rows[:AT_ONCE]
        return row, await said_lately(connection, table, memory.rings, memory.newest_at, row)

    def lay(self, rings: Rings, row: Rows, past: Lately) -> None:
        """Gives their past to these points, which wait no longer."""
        lay_among(rings, past)
        self.rows = np.setdiff1d(self.rows, row).astype(np.int32)
