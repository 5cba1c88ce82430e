"""How a worker says that it lives, and how its spool stands, beside its stream.

It may wait for the database; the stream does not wait for it.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hazardloop.service import heartbeat, metrics, spool_state
from hazardloop.service.database import BriskConnection, Connection
from hazardloop.service.errors import DatabaseAway
from hazardloop.service.pipeline import Worker

EACH_S: Final = 1.0
ANSWER_WITHIN_S: Final = 3.0
STUCK_S: Final = 30.0
"""A stream that has asked for no batch for so long does not live, unless its spool is full."""


@dataclass(slots=True)
class Signs:
    """The signs of life of one worker."""

    worker: Worker
    instance: str
    """What tells it from other workers."""
    database: BriskConnection
    state_file: Path

    async def show_spool(self) -> None:
        """Says how the spool stands where it can be read without the database; for ever."""
        while True:
            worker = self.worker
            state = spool_state.told(worker.spool, worker.sink.away)
            state |= {"broker": self._broker(), "from_snapshot": worker.from_snapshot}
            await asyncio.to_thread(spool_state.publish, state, self.state_file)
            metrics.ACK_LAG.set(worker.subscription.state.unacknowledged)
            metrics.SESSIONS_LOST.set(worker.subscription.state.sessions_lost)
            await asyncio.sleep(EACH_S)

    async def beat(self) -> None:
        """Tells the database that we live, as long as the stream does; for ever."""
        worker = self.worker
        while True:
            try:
                if worker.spool.fill.full or time.monotonic() < worker.turned_at + STUCK_S:
                    await self.database(self._beat, ANSWER_WITHIN_S)
            except DatabaseAway as error:
                worker.sink.lost(str(error))
            await asyncio.sleep(EACH_S)

    async def _beat(self, connection: Connection) -> None:
        worker = self.worker
        detail = {
            "broker": self._broker(),
            "settling": worker.settling,
            "sessions_lost": worker.subscription.state.sessions_lost,
            "spool": spool_state.in_words(spool_state.told(worker.spool, worker.sink.away)),
        }
        await heartbeat.beat(connection, "worker", self.instance, detail)

    def _broker(self) -> str:
        state = self.worker.subscription.state
        return "connected" if state.connected else f"disconnected: {state.last_error}"
