"""Packed months in the memory of a process, so that a figure reads again only what has changed."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from hazardloop.alarms.case_store import Connection
from hazardloop.alarms.facts import Columns, Table, columns_of

MOST_BYTES: Final = 256 * 1024 * 1024
"""Kept by one process: four years of a million alarms each, in one view of them."""

# The version of a block is random: this digest stands for exactly these blocks, as they are now.
MONTHS: Final = """
    SELECT month, sha256(string_agg(uuid_send(version), ''::bytea ORDER BY enterprise_id))
      FROM figure_block
     WHERE month > %(from)s - interval '1 month' AND month < %(to)s
       AND enterprise_id = ANY (%(only)s::int[])
     GROUP BY month ORDER BY month"""

# Row security decides which blocks a month consists of, here as there.
CONTENT: Final = """
    SELECT month, sha256(string_agg(uuid_send(version), ''::bytea ORDER BY enterprise_id)),
           string_agg({table}, ''::bytea ORDER BY enterprise_id)
      FROM figure_block
     WHERE month = ANY (%(months)s::date[]) AND enterprise_id = ANY (%(only)s::int[])
     GROUP BY month"""


@dataclass(frozen=True, slots=True)
class View:
    """One table of a month as somebody may see it."""

    month: date
    blocks: bytes
    """Digest of the versions of the blocks that it consists of. Versions are random and made anew
    with every write, so nobody can ask for blocks whose versions the database did not show them."""
    table: Table


class PackedMonths:
    """Columns by view; the one that was not asked for the longest goes first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[View, Columns] = OrderedDict()

    def get(self, view: View) -> Columns | None:
        """Its columns, if they are kept."""
        columns = self._kept.get(view)
        if columns is not None:
            self._kept.move_to_end(view)
        return columns

    def keep(self, view: View, columns: Columns) -> None:
        """Keeps them, and forgets others as far as there is no room."""
        self._bytes -= _bytes(self._kept.pop(view, {}))
        self._kept[view] = columns
        self._bytes += _bytes(columns)
        while self._bytes > self._most_bytes:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])

    @property
    def bytes(self) -> int:
        """Of all columns that are kept."""
        return self._bytes


async def read(
    conn: Connection,
    wanted: Mapping[str, Any],
    tables: Collection[Table],
    changed: Collection[date],
    kept: PackedMonths | None = None,
) -> dict[date, dict[Table, Columns]]:
    """MARKS and `tables` of each month, all of one state of its blocks; what is kept from memory.

    `wanted`: `from` and `to` (datetime) and `only`, the enterprise_ids; of the months that
    `changed`, IDS are read whatever `tables` says.
    """
    memory = PackedMonths() if kept is None else kept
    found: dict[View, Columns] = {}
    while True:
        views = [
            View(month, blocks, table)
            for month, blocks in await _rows(conn, MONTHS, wanted)
            for table in {Table.MARKS, *tables} | ({Table.IDS} if month in changed else set())
        ]
        found |= {one: columns for one in views if (columns := memory.get(one)) is not None}
        missing = [one for one in views if one not in found]
        if not missing:
            return _by_month({one: found[one] for one in views})
        for table in {one.table for one in missing}:
            months = [one.month for one in missing if one.table is table]
            found |= await _content(conn, table, dict(wanted) | {"months": months}, memory)


async def _content(
    conn: Connection, table: Table, wanted: Mapping[str, Any], memory: PackedMonths
) -> dict[View, Columns]:
    """One table of some months, under the digest of what was read: a clerk may pack meanwhile."""
    found = {}
    for month, blocks, content in await _rows(conn, CONTENT.format(table=table.value), wanted):
        view = View(month, blocks, table)
        found[view] = columns_of(table, content)
        memory.keep(view, found[view])
    return found


def _by_month(views: Mapping[View, Columns]) -> dict[date, dict[Table, Columns]]:
    months: dict[date, dict[Table, Columns]] = {}
    for view, columns in views.items():
        months.setdefault(view.month, {})[view.table] = columns
    return months


async def _rows(conn: Connection, query: str, parameters: Mapping[str, Any]) -> list[Any]:
    cursor = await conn.cursor(binary=True).execute(query, parameters, prepare=False)
    return await cursor.fetchall()


def _bytes(columns: Columns) -> int:
    return sum(column.nbytes for column in columns.values())
