"""Who may log in at a broker that we run: our worker first, then the gateways of the registry."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import nats.errors
import psycopg

from hazardloop.service import database
from hazardloop.service.embedded import accounts
from hazardloop.service.embedded.accounts import Account
from hazardloop.service.embedded.child import Child
from hazardloop.service.embedded.mosquitto import EmbeddedMosquitto
from hazardloop.service.embedded.nats import EmbeddedNats
from hazardloop.service.errors import DatabaseAbsent

log = logging.getLogger(__name__)

REGISTRY_EACH_S: Final = 0.5
"""How often the registry is asked whether a gateway is new or has another secret."""
LISTENS_EACH_S: Final = 15.0
"""How often the broker is asked whether it still keeps messages for the worker."""

WORKER_ON_LINE: Final = """
    SELECT count(*) FROM process_heartbeat WHERE role = 'worker' AND detail->>'broker' = 'connected'
       AND beat_at > clock_timestamp() - interval '3 s'"""


class EmbeddedBroker(Protocol):
    """What is asked of a broker that we run."""

    child: Child
    port: int

    def launch(self, accounts: Sequence[Account]) -> None:
        """Starts it with these accounts."""

    async def accepting(self) -> None:
        """Returns when it accepts connections."""

    def admit(self, accounts: Sequence[Account]) -> None:
        """Lets exactly these log in from now on."""


def embedded_broker(kind: str, home: Path, host: str, port: int, sync: str) -> EmbeddedBroker:
    """The broker of that kind, `nats` or `mosquitto`, not yet started."""
    make = EmbeddedNats if kind == "nats" else EmbeddedMosquitto
    return make(home, host, port, sync)


@dataclass(slots=True)
class Doorkeeper:
    """Keeps a broker's accounts in step with the registry."""

    broker: EmbeddedBroker
    conninfo: str
    ours: list[Account]
    """Accounts of our own processes: they may always log in."""
    _look_at: float = 0.0

    def launch(self) -> None:
        """Starts the broker for our own processes only."""
        self.broker.launch(self.ours)

    async def worker_subscribed(self) -> None:
        """Returns when all that gateways may send is kept for the worker."""
        while not await self._worker_listens():  # noqa: ASYNC110  the broker sends no event
            await asyncio.sleep(0.1)

    async def admit_gateways(self) -> None:
        """Lets in who is registered now."""
        async with await database.connect(self.conninfo, "doorkeeper") as connection:
            await self._admit(connection)

    async def follow_registry(self) -> None:
        """Admits anew at each change of the registry and each start of the broker, for ever."""
        known: tuple[int, int | None] = (-1, None)
        while True:
            try:
                async with await database.connect(self.conninfo, "doorkeeper") as connection:
                    while True:
                        found = (await accounts.revision(connection), self.broker.child.pid)
                        if found != known and found[1]:
                            if found[1] != known[1]:
                                await self.worker_subscribed()
                            await self._admit(connection)
                            known = found
                        if await self._is_deaf():
                            await self._begin_anew()
                            known = (-1, found[1])
                        await asyncio.sleep(REGISTRY_EACH_S)
            except (DatabaseAbsent, psycopg.Error, nats.errors.Error, OSError) as error:
                log.warning("gateways not admitted", extra={"why": str(error).strip()})
                await asyncio.sleep(1.0)

    async def _is_deaf(self) -> bool:
        """Whether NATS keeps nothing for the worker any more; looked at now and then, twice.

        Its subscriptions can be gone while it is connected: it hears nothing, and gateways get
        their acknowledgements for what is kept for nobody.
        """
        if not isinstance(self.broker, EmbeddedNats) or time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LISTENS_EACH_S
        try:
            return not (await self.broker.worker_listens() or await self.broker.worker_listens())
        except (nats.errors.Error, OSError):
            return False  # it could not be asked: that tells nothing of the worker

    async def _begin_anew(self) -> None:
        """Shows everybody the door, lets the worker in, and when it listens all others."""
        log.error("the broker keeps nothing for the worker any more: all have to log in again")
        self.broker.admit([])
        await asyncio.sleep(1.0)  # a reload in the middle of another is not seen
        if isinstance(self.broker, EmbeddedNats):
            await self.broker.forget_worker()
        self.broker.admit(self.ours)
        await self.worker_subscribed()

    async def _admit(self, connection: database.Connection) -> None:
        self.broker.admit([*self.ours, *await accounts.registered(connection)])

    async def _worker_listens(self) -> bool:
        try:
            if isinstance(self.broker, EmbeddedNats):
                return await self.broker.worker_listens()
            # Mosquitto tells nobody who has subscribed to what: believe the worker's own word.
            async with await database.connect(self.conninfo, "doorkeeper") as connection:
                row = await (await connection.execute(WORKER_ON_LINE)).fetchone()
                return bool(row and row[0])
        except (nats.errors.Error, OSError, DatabaseAbsent, psycopg.Error):
            return False
