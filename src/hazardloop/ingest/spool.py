"""Pieces of work kept on disk while the database is away: two queues in one SQLite file.

`WORKS` hold what was evaluated and is to be recorded in order; `ASIDES` what nobody could judge
without the database. What is in a piece is the caller's affair: here it is bytes. Each call is one
transaction that has reached the disk when it returns (WAL, synchronous=FULL). A disk that is full
takes no deletion either: what was dropped, or told, is then known in memory until it does.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

from hazardloop.ingest.errors import SpoolFull
from hazardloop.ingest.spool_file import ASIDES, WORKS, New, Piece, SpoolFile, Standing

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

ROW_BYTES: Final = 64
"""Counted for a row beside its body."""
LOOK_AGAIN_S: Final = 1.0
"""How long a look at the free room of the disk holds good while there is plenty."""


@dataclass(slots=True)
class Fill:
    """How full the spool is."""

    works: int = 0
    asides: int = 0
    readings: int = 0
    bytes: int = 0
    oldest_us: int | None = None
    refused: int = 0
    """Pieces that the database would not take, kept for a person to look at."""
    full: str = ""
    """Why nothing more can be taken; empty while it can."""

    @property
    def rows(self) -> int:
        """Pieces in both queues."""
        return self.works + self.asides


class Spool:
    """The spool of one worker; only one process at a time can have it open."""

    def __init__(self, path: Path, limit_bytes: int, reserve_bytes: int) -> None:
        """Not open yet.

        Args:
            path: of the SQLite file; its folder is made.
            limit_bytes: the most it holds.
            reserve_bytes: what it leaves free on its disk.
        """
        self.path = path
        self.limit_bytes = limit_bytes
        self._reserve_bytes = reserve_bytes
        self._thread = ThreadPoolExecutor(1, "spool")
        self._file: SpoolFile | None = None
        self._ids: dict[str, UUID] = {}
        self._disk_room = 0
        self._looked_at = float("-inf")
        self._gone = {WORKS: 0, ASIDES: 0}
        """Up to which position each queue was dropped."""
        self._told: set[int] = set()
        """Works that were told of, which the file does not know yet."""
        self.fill = Fill()
        self.standing: Standing | None = None
        self.fallen = 0
        """How often something happened that no snapshot from before knows of."""
        self._rising = 0
        self.position = 0
        """Of the work that was spooled last, be it recorded or not."""

    def id_of(self, queue: str) -> UUID:
        """Under which the database notes how far this queue is recorded."""
        return self._ids[queue]

    @property
    def share(self) -> float:
        """How full it is, 0..1; 1 as well where the disk has no room for more."""
        return 1.0 if self.fill.full else min(1.0, self.fill.bytes / self.limit_bytes)

    async def open(self) -> None:
        """Opens the file. One that cannot be read is put beside, with an error in the log."""
        try:
            await self._do(self._open)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, or no room: the file itself is sound
            beside = self.path.with_suffix(f".damaged-{time.time_ns() // 1_000_000}")
            log.error(
                "spool damaged: put beside, to be recovered by hand",
                extra={"file": str(beside), "reason": str(error)},
            )
            self.path.rename(beside)
            await self._do(self._open)

    async def append(self, news: Sequence[New]) -> list[int]:
        """The positions of these rows, all of them on the disk. SpoolFull: none of them is."""
        return await self._do(lambda: self._append(news))

    async def head(self, queue: str, rows: int, most_bytes: int, after: int = 0) -> list[Piece]:
        """The first pieces of a queue, behind that position: one at least if there is one, and
        within the bounds.
        """
        return await self._do(lambda: self._head(queue, rows, most_bytes, after))

    async def stand(self, standing: Standing, fallen: int) -> bool:
        """Whether that file stands from now on, in the place of any other.

        Not if a work behind its position has left the queue, or what stood was to fall since
        `fallen` was read. SpoolFull: there is no room to note it.
        """
        self._rising += 1
        try:
            return await self._do(lambda: self._stand(standing, fallen))
        finally:
            self._rising -= 1

    async def fall(self) -> None:
        """What stands, or is about to, is to stand no longer: something comes that it lacks."""
        self.fallen += 1
        if self.standing is not None or self._rising:
            await self._do(self._let_fall)

    async def drop(self, queue: str, through: int) -> None:
        """Removes the pieces up to this position."""
        await self._do(lambda: self._drop(queue, through))

    async def refuse(self, queue: str, position: int, why: str) -> None:
        """Takes a piece out of its queue and keeps it aside, for a person to look at.

        SpoolFull: it is where it was.
        """
        await self._do(lambda: self._refuse(queue, position, why))

    async def untold(self, rows: int) -> list[Piece]:
        """The first works whose alarm changes nobody has been told of yet."""
        return await self._do(lambda: self._untold(rows))

    async def note_told(self, position: int) -> None:
        """The alarm changes of this work were announced."""
        await self._do(lambda: self._note_told(position))

    async def close(self) -> None:
        """Closes the file; what is in it stays."""
        if self._file is not None:
            await self._do(self._file.close)
            self._file = None
        self._thread.shutdown()

    async def _do(self, what: Callable[[], Answer]) -> Answer:
        # Shielded: SQLite goes on anyway, and our counts must follow what it did.
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, what))

    def _open(self) -> None:
        file = SpoolFile(self.path)
        try:
            self._ids, self.standing = file.ids(), file.standing()
            self.position = file.last_position()
            self._count(file)
        except BaseException:
            file.close()
            raise
        self._file = file

    def _count(self, file: SpoolFile) -> None:
        works, asides = file.counts(WORKS), file.counts(ASIDES)
        refused, refused_bytes = file.refused()
        fill = self.fill
        fill.works, fill.asides, fill.refused = works[0], asides[0], refused
        fill.readings = works[1] + asides[1]
        rows = works[0] + asides[0] + refused
        fill.bytes = works[2] + asides[2] + refused_bytes + rows * ROW_BYTES
        fill.oldest_us = self._oldest(file)

    def _append(self, news: Sequence[New]) -> list[int]:
        size = sum(len(new.body) + ROW_BYTES for new in news)
        try:
            self._require_room(size)
            now_us = time.time_ns() // 1000
            file = self._opened
            positions = file.write(lambda _: [file.insert(new, now_us) for new in news])
        except (sqlite3.OperationalError, OSError) as error:  # from looking for room
            self.fill.full = f"cannot write to {self.path}: {error}"
            raise SpoolFull(self.fill.full) from error
        except SpoolFull as error:
            self.fill.full = str(error)
            raise
        self._disk_room -= size
        fill = self.fill
        fill.full = ""
        fill.works += sum(new.queue == WORKS for new in news)
        fill.asides += sum(new.queue == ASIDES for new in news)
        fill.readings += sum(new.readings for new in news)
        fill.bytes += size
        fill.oldest_us = fill.oldest_us or now_us
        for new, position in zip(news, positions, strict=True):
            self.position = position if new.queue == WORKS else self.position
        return positions

    def _require_room(self, size: int) -> None:
        if self.fill.bytes + size > self.limit_bytes:
            raise SpoolFull(
                f"{self.fill.bytes} of {self.limit_bytes} bytes are used (HAZARDLOOP_SPOOL_BYTES)"
            )
        now = time.monotonic()
        if self._disk_room < 4 * size or now > self._looked_at + LOOK_AGAIN_S:
            self._looked_at = now
            disk = os.statvfs(self.path.parent)
            free = disk.f_bavail * disk.f_frsize
            self._disk_room = free - self._reserve_bytes + self._opened.vacant()
            if self._disk_room < size:
                raise SpoolFull(
                    f"{free} bytes are free in {self.path.parent},"
                    f" {self._reserve_bytes} of them are to stay so"
                )

    def _head(self, queue: str, rows: int, most_bytes: int, after: int) -> list[Piece]:
        return self._opened.head(queue, max(after, self._gone[queue]), rows, most_bytes)

    def _untold(self, rows: int) -> list[Piece]:
        which = "works WHERE untold AND position > ? ORDER BY position LIMIT ?"
        found = self._opened.pieces(which, [self._gone[WORKS], rows + len(self._told)])
        return [piece for piece in found if piece.position not in self._told][:rows]

    def _note_told(self, position: int) -> None:
        try:
            self._opened.write(
                lambda file: file.execute(
                    "UPDATE works SET untold = 0 WHERE position = ?", [position]
                )
            )
        except SpoolFull:
            self._told.add(position)  # told again by the next worker at most

    def _drop(self, queue: str, through: int) -> None:
        which = f"{queue} WHERE position > ? AND position <= ?"
        counts = self._opened.counts(which, [self._gone[queue], through])
        self._gone[queue] = max(self._gone[queue], through)
        if queue == WORKS:
            self._told = {position for position in self._told if position > through}
        fallen = queue == WORKS and self._falls(through)

        def delete(file: sqlite3.Connection) -> None:
            file.execute(f"DELETE FROM {queue} WHERE position <= ?", [through])
            if fallen:
                file.execute("DELETE FROM standing")

        with suppress(SpoolFull):  # deleted with what is dropped next, or by the next worker
            self._opened.write(delete)
            self.fill.full = ""
        rows, readings, size = counts
        self._discount(queue, rows, readings, size + rows * ROW_BYTES)
        if fallen:
            self._fall()

    def _falls(self, through: int) -> bool:
        """Whether what stands lacks some of the works up to there."""
        return self.standing is not None and through > self.standing.position

    def _let_fall(self) -> None:
        with suppress(SpoolFull):
            self._opened.write(lambda file: file.execute("DELETE FROM standing"))
        self._fall()

    def _fall(self) -> None:
        """Removes the file that stood; without room for the row to go, that alone must do."""
        if self.standing is not None:
            (self.path.parent / self.standing.name).unlink(missing_ok=True)
        self.standing = None

    def _stand(self, standing: Standing, fallen: int) -> bool:
        if self._gone[WORKS] > standing.position or self.fallen != fallen:
            return False

        def replace(file: sqlite3.Connection) -> None:
            file.execute("DELETE FROM standing")
            file.execute("INSERT INTO standing VALUES (?, ?)", [standing.name, standing.position])

        self._opened.write(replace)
        self._fall()
        self.standing = standing
        return True

    def _refuse(self, queue: str, position: int, why: str) -> None:
        def move(file: sqlite3.Connection) -> None:
            file.execute(
                f"INSERT INTO refused SELECT ?, ?, position, ?, body FROM {queue}"
                " WHERE position = ?",
                [time.time_ns() // 1000, queue, why, position],
            )
            file.execute(f"DELETE FROM {queue} WHERE position = ?", [position])
            if fallen:
                file.execute("DELETE FROM standing")

        rows, readings, _ = self._opened.counts(f"{queue} WHERE position = ?", [position])
        fallen = queue == WORKS and self._falls(position)
        self._opened.write(move)
        if fallen:
            self._fall()
        self._discount(queue, rows, readings, 0)
        self.fill.refused += rows

    def _discount(self, queue: str, rows: int, readings: int, size: int) -> None:
        fill = self.fill
        fill.works -= rows if queue == WORKS else 0
        fill.asides -= rows if queue == ASIDES else 0
        fill.readings -= readings
        fill.bytes -= size
        fill.oldest_us = self._oldest(self._opened) if fill.rows else None
        if not fill.rows:
            with suppress(sqlite3.OperationalError):  # it wants room to make room
                self._opened.shrink()

    def _oldest(self, file: SpoolFile) -> int | None:
        firsts = [file.oldest_us(queue, self._gone[queue]) for queue in (WORKS, ASIDES)]
        return min((first for first in firsts if first is not None), default=None)

    @property
    def _opened(self) -> SpoolFile:
        assert self._file is not None
        return self._file
