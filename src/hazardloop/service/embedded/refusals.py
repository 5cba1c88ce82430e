"""What the embedded broker did not let somebody publish, set aside with the reason.

MQTT 3.1.1 has no word for "no": a message to a topic that is not the sender's is acknowledged and
dropped. The broker's log is the only trace of it, so we read that.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psycopg

from hazardloop.devices import wire
from hazardloop.ingest import store as reading_store
from hazardloop.ingest.letters import Quota, counted_strangers
from hazardloop.ingest.store import DeadLetter
from hazardloop.service import database
from hazardloop.service.errors import DatabaseAbsent

LOOK_EACH_S: Final = 0.5
READ_MOST: Final = 1 << 20
_REFUSED: Final = re.compile(
    rb'- "(?P<client>[^"]{0,200})" - Publish Violation - Subject "(?P<subject>[^"]{1,1000})"'
)


@dataclass(slots=True)
class Refusals:
    """Follows one log from where it ends now."""

    log: Path
    _at: int = 0
    _quota: Quota = field(default_factory=Quota)

    def __post_init__(self) -> None:
        """What an earlier run was refused has been set aside by it."""
        self._at = self.log.stat().st_size if self.log.exists() else 0

    async def follow(self, conninfo: str) -> None:
        """Sets aside what is refused, for ever; while the database is away it waits."""
        while True:
            if self.log.exists() and self.log.stat().st_size != self._at:
                before = self._at
                try:
                    async with await database.connect(conninfo, "refusals") as connection:
                        found = counted_strangers(list(self.read()), self._quota)
                        async with connection.transaction():
                            await reading_store.set_aside(connection, found.letters)
                            await reading_store.count_more(connection, found.counted)
                except (DatabaseAbsent, psycopg.Error):
                    self._at = before  # whoever else needs the database says that it is away
            await asyncio.sleep(LOOK_EACH_S)

    def read(self) -> Iterator[DeadLetter]:
        """What was refused since the last look."""
        if self.log.stat().st_size < self._at:
            self._at = 0  # the log was set aside because it had grown too long
        with self.log.open("rb") as log:
            log.seek(self._at)
            text = log.read(READ_MOST)
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        for found in _REFUSED.finditer(whole):
            yield _letter(found["client"].decode("utf-8", "replace"), found["subject"])


def _letter(client: str, subject: bytes) -> DeadLetter:
    """The sender is known by the client id only, which he chose himself: no gateway is charged."""
    topic = subject.replace(b"//", b"\0").replace(b".", b"/").replace(b"\0", b".")
    ours = wire.address_of(topic) is not None
    return DeadLetter(
        received_at=datetime.now(UTC),
        reason=str(wire.Reason.WRONG_ENTERPRISE if ours else wire.Reason.UNKNOWN_GATEWAY),
        detail=f"client {client!r} may not publish there: the broker acknowledged and dropped it",
        topic=topic.decode("utf-8", "replace"),
        enterprise_id=None,
        gateway_id=None,
        payload=b"",
        payload_bytes=0,
        readings=0,
    )
