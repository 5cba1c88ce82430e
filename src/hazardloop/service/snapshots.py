"""When a worker writes down what it knows: while the database is away, or work waits for it.

With the works spooled behind it a snapshot is exact. What is recorded directly is in no snapshot,
so it falls before that: a worker that starts then asks the database.
"""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from hazardloop.devices.catalog import Catalog
from hazardloop.devices.registry import Registry
from hazardloop.ingest.errors import SpoolFull
from hazardloop.ingest.spool import Spool
from hazardloop.ingest.spool_file import WORKS, Piece, Standing
from hazardloop.service import snapshot_file
from hazardloop.service.doubts import expected_of
from hazardloop.service.errors import SnapshotUnusable
from hazardloop.service.known import Still
from hazardloop.service.site import Site
from hazardloop.service.snapshot import Snapshot, frames_of, snapshot_of
from hazardloop.service.spooled import unpack_work
from hazardloop.service.work import Work, one_work

log = logging.getLogger(__name__)

SHARE: Final = 0.1
"""Of the time that may go into writing them, while one after the other falls or fails ..."""
AGAIN_S: Final = 2.0
"""... and so long at least from one to the next."""
REPLAYED: Final = 2_000_000
"""With so many readings behind it a snapshot is replaced: a start from it shall take seconds."""
AT_ONCE: Final = 1_000
"""Works that are added to a snapshot at once, and their bytes."""
AT_ONCE_BYTES: Final = 4 << 20


@dataclass(slots=True)
class Snapshots:
    """The snapshots of one worker; one stands at a time, beside the spool."""

    spool: Spool
    reserve_bytes: int
    """Of the disk that stay free."""
    revision: int = -1
    """Of the registry in the one that stands."""
    _spooled: int = 0
    """Readings in the spool when it was made."""
    _next_at: float = float("-inf")
    _writing: asyncio.Task[None] | None = field(default=None)

    def due(self, registry: Registry, direct: bool) -> bool:
        """Whether one is to be made as soon as all that was evaluated is durable.

        `direct`: work is recorded at once.
        """
        if direct or self._writing is not None:
            return False
        if self.spool.standing is None or self.revision != registry.revision:
            return time.monotonic() >= self._next_at
        return self.spool.fill.readings > self._spooled + REPLAYED

    def begin(self, site: Site, then: Still) -> None:
        """Writes beside the stream what was so `then`: all evaluated work is durable by now."""
        self._spooled = self.spool.fill.readings
        saved_us = time.time_ns() // 1000
        standing = Standing(f"known-{saved_us}.snapshot", self.spool.position)
        self._writing = asyncio.create_task(
            self._write(
                standing,
                frames_of(site, then, saved_us),
                site.registry.revision,
                self.spool.fallen,
            ),
            name="snapshot",
        )

    async def close(self) -> None:
        """Waits for what is being written."""
        if self._writing is not None:
            await self._writing

    async def _write(
        self, standing: Standing, frames: Iterator[bytes], revision: int, fallen: int
    ) -> None:
        file, began = self.spool.path.parent / standing.name, time.monotonic()
        try:
            await asyncio.to_thread(snapshot_file.write, file, frames, self.reserve_bytes)
            if await self.spool.stand(standing, fallen):
                self.revision = revision
                extra = {"bytes": file.stat().st_size, "position": standing.position}
                log.info("snapshot", extra=extra | {"s": round(time.monotonic() - began, 2)})
            else:
                file.unlink(missing_ok=True)
        except (OSError, SpoolFull) as error:
            file.unlink(missing_ok=True)
            log.error("no snapshot: a restart would wait for the database",
                      extra={"reason": str(error)})  # fmt: skip
        finally:
            took_s = time.monotonic() - began
            self._next_at = began + max(AGAIN_S, took_s / SHARE)
            self._writing = None


async def recover(spool: Spool, catalog: Catalog, tz: str) -> Snapshot:
    """What the worker before us knew when it ended: its snapshot, and the works spooled since.

    SnapshotUnusable: none stands, or it is not for this program, or damaged.
    """
    standing = spool.standing
    if standing is None:
        what = "work waits, but no snapshot was finished" if spool.fill.works else "nothing waits"
        raise SnapshotUnusable(f"there is no snapshot to start from ({what} in {spool.path})")
    file = spool.path.parent / standing.name
    found = await asyncio.to_thread(lambda: snapshot_of(snapshot_file.read(file), catalog, tz))
    expected = expected_of(found.site.registry, found.site.catalog)
    after = standing.position
    while pieces := await spool.head(WORKS, AT_ONCE, AT_ONCE_BYTES, after):
        after = pieces[-1].position
        try:
            work = await asyncio.to_thread(_as_one, pieces, found.site.registry)
        except msgspec.MsgspecError as error:
            raise SnapshotUnusable(f"a work behind the snapshot is damaged: {error}") from error
        found.known.add(work, expected)
    return found


def forget_strays(spool: Spool) -> None:
    """Removes what was written and never stood."""
    stands = spool.standing.name if spool.standing else None
    for file in spool.path.parent.glob("known-*"):
        if file.name != stands:
            with suppress(OSError):
                file.unlink()


def at_clock(saved_us: int, tz: str) -> str:
    """When that was, by the clocks of the house."""
    return f"{datetime.fromtimestamp(saved_us / 1e6, ZoneInfo(tz)):%Y-%m-%d %H:%M:%S}"


def _as_one(pieces: list[Piece], registry: Registry) -> Work:
    return one_work([unpack_work(piece.body, registry) for piece in pieces])
