"""The SQLite file of a spool: its tables, and single transactions on them that reach the disk."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID, uuid4

from hazardloop.ingest.errors import SpoolFull

Answer = TypeVar("Answer")

WORKS: Final = "works"
ASIDES: Final = "asides"
WAIT_FOR_LOCK_S: Final = 10.0
"""The worker before us may still be on its way out."""
WAL_BYTES: Final = 16 << 20
"""The write-ahead log is cut to this when it has been written back."""
SHRINK_FROM_BYTES: Final = 16 << 20
"""An empty spool of at least this size gives its room back to the disk."""

# `standing`: a file beside that tells what was known when the work of that position was spooled;
# its row goes in the very transaction in which a later work leaves the queue.
SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS queue (name TEXT PRIMARY KEY, spool_id TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS works (
        position INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice, however often emptied
        spooled_us INTEGER NOT NULL, readings INTEGER NOT NULL, unsure TEXT,
        untold INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE INDEX IF NOT EXISTS works_untold ON works (position) WHERE untold;
    CREATE TABLE IF NOT EXISTS asides (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        spooled_us INTEGER NOT NULL, readings INTEGER NOT NULL, unsure TEXT,
        untold INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS refused (
        refused_us INTEGER NOT NULL, queue TEXT NOT NULL, position INTEGER NOT NULL,
        why TEXT NOT NULL, body BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS standing (
        name TEXT PRIMARY KEY, position INTEGER NOT NULL);"""


@dataclass(frozen=True, slots=True)
class Standing:
    """A file that, with the works behind `position`, tells all that is known."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One row of a queue."""

    position: int
    """Rises in its queue, and is never used twice."""
    spooled_us: int
    """When it was put here, us since the Unix epoch."""
    readings: int
    unsure: str | None
    """Transaction of the database that may have recorded it already."""
    body: bytes


@dataclass(frozen=True, slots=True)
class New:
    """What is to be put into a queue."""

    queue: str
    body: bytes
    readings: int
    unsure: str | None = None
    untold: bool = False
    """It holds alarm changes that have to be announced."""


class SpoolFile:
    """An open file; only one process at a time can have it open. Its methods wait for the disk."""

    def __init__(self, path: Path) -> None:
        """Opens it, and makes what is missing. sqlite3.DatabaseError: it is locked or damaged."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(
            path, timeout=WAIT_FOR_LOCK_S, isolation_level=None, check_same_thread=False
        )
        try:
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = FULL")
            self._file.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
            self._file.executescript(SCHEMA)
            for queue in (WORKS, ASIDES):
                own = "INSERT OR IGNORE INTO queue VALUES (?, ?)"
                self._file.execute(own, [queue, str(uuid4())])
        except BaseException:
            self._file.close()
            raise
        path.chmod(0o600)

    def close(self) -> None:
        """What is in it stays."""
        self._file.close()

    def ids(self) -> dict[str, UUID]:
        """Of each queue of this file."""
        rows = self._file.execute("SELECT name, spool_id FROM queue")
        return {name: UUID(text) for name, text in rows}

    def standing(self) -> Standing | None:
        """What stands."""
        rows = self._file.execute("SELECT name, position FROM standing")
        return next((Standing(*row) for row in rows), None)

    def last_position(self) -> int:
        """Of the works that ever were in it; 0 = none."""
        rows = self._file.execute("SELECT seq FROM sqlite_sequence WHERE name = 'works'")
        return next((int(position) for (position,) in rows), 0)

    def insert(self, new: New, now_us: int) -> int:
        """The position of that row; inside `write`."""
        cursor = self._file.execute(
            f"INSERT INTO {new.queue} (spooled_us, readings, unsure, untold, body)"
            " VALUES (?, ?, ?, ?, ?)",
            [now_us, new.readings, new.unsure, new.untold, new.body],
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def pieces(self, which: str, arguments: Sequence[int]) -> list[Piece]:
        """Those of a queue and a condition."""
        found = self._file.execute(
            f"SELECT position, spooled_us, readings, unsure, body FROM {which}", arguments
        )
        return [Piece(*row) for row in found]

    def head(self, queue: str, after: int, rows: int, most_bytes: int) -> list[Piece]:
        """The first behind that position: one at least if there is one, and within the bounds."""
        sizes = self._file.execute(
            f"SELECT position, length(body) FROM {queue} WHERE position > ?"
            " ORDER BY position LIMIT ?",
            [after, rows],
        )
        through, total = -1, 0
        for position, size in sizes:
            total += size
            if through >= 0 and total > most_bytes:
                break
            through = position
        which = f"{queue} WHERE position > ? AND position <= ? ORDER BY position"
        return self.pieces(which, [after, through])

    def counts(self, which: str, arguments: Sequence[int] = ()) -> tuple[int, int, int]:
        """Rows, readings and bytes of bodies."""
        ((rows, readings, size),) = self._file.execute(
            f"SELECT count(*), ifnull(sum(readings), 0), ifnull(sum(length(body)), 0) FROM {which}",
            arguments,
        )
        return rows, readings, size

    def refused(self) -> tuple[int, int]:
        """Rows and bytes of what was put aside for a person."""
        ((rows, size),) = self._file.execute(
            "SELECT count(*), ifnull(sum(length(body)), 0) FROM refused"
        )
        return rows, size

    def oldest_us(self, queue: str, after: int) -> int | None:
        """When the first behind that position was put here."""
        rows = self._file.execute(
            f"SELECT spooled_us FROM {queue} WHERE position > ? ORDER BY position LIMIT 1", [after]
        )
        return next((int(at_us) for (at_us,) in rows), None)

    def vacant(self) -> int:
        """Bytes of the file that hold nothing any more."""
        return self._pragma("freelist_count") * self._pragma("page_size")

    def shrink(self) -> None:
        """Gives room back to the disk, if it is worth it."""
        if self._pragma("page_count") * self._pragma("page_size") >= SHRINK_FROM_BYTES:
            self._file.execute("VACUUM")
            self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def write(self, what: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """What it gives, on the disk. SpoolFull: nothing of it is."""
        file = self._file
        try:
            file.execute("BEGIN IMMEDIATE")
            answer = what(file)
            file.execute("COMMIT")
        except BaseException as error:
            if file.in_transaction:
                file.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise SpoolFull(f"cannot write to {self.path}: {error}") from error
            raise
        return answer

    def _pragma(self, name: str) -> int:
        ((value,),) = self._file.execute(f"PRAGMA {name}")
        return int(value)
