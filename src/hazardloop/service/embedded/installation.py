"""One whole service on one machine: broker, database, worker, api and clerk, in the right order."""

import asyncio
import fcntl
import logging
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

import nats.errors
import psycopg

from hazardloop.service import database
from hazardloop.service.embedded import accounts, ports
from hazardloop.service.embedded.accounts import Account, kept_secret
from hazardloop.service.embedded.child import Child
from hazardloop.service.embedded.mosquitto import EmbeddedMosquitto
from hazardloop.service.embedded.nats import EmbeddedNats
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.embedded.supervisor import Supervisor
from hazardloop.service.embedded.templates import write_private
from hazardloop.service.errors import DatabaseAbsent
from hazardloop.service.settings import PREFIX, Settings

log = logging.getLogger(__name__)

REGISTRY_EACH_S: Final = 0.5
"""How often the registry is asked whether a gateway is new or has another secret."""
READY_WITHIN_S: Final = 90.0
SETTLE_NATS_S: Final = 12.0
"""NATS gives unacknowledged messages again after 10 s."""

WORKER_ON_LINE: Final = """
    SELECT count(*) FROM process_heartbeat WHERE role = 'worker' AND detail->>'broker' = 'connected'
       AND beat_at > clock_timestamp() - interval '3 s'"""


class EmbeddedBroker(Protocol):
    """What the installation asks of the broker it runs."""

    child: Child

    def launch(self, accounts: list[Account]) -> None: ...
    async def accepting(self) -> None: ...
    def admit(self, accounts: list[Account]) -> None: ...


@dataclass(slots=True)
class Installation:
    """A service whose servers are children of this process, where settings name no others."""

    settings: Settings
    mqtt_host: str
    mqtt_port: int
    broker_kind: str = "nats"
    say: Callable[[str], None] = print
    furnish: Callable[[str], Awaitable[None]] | None = None
    """Called with the conninfo of the migrated database, before any process uses it."""
    supervisor: Supervisor = field(default_factory=Supervisor)
    postgres: EmbeddedPostgres | None = None
    broker: EmbeddedBroker | None = None
    _ours: list[Account] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Decides which servers are ours."""
        home = self.settings.home
        if not self.settings.database_url:
            self.postgres = EmbeddedPostgres(home)
        if brings_broker(self.settings):
            make = {"nats": EmbeddedNats, "mosquitto": EmbeddedMosquitto}[self.broker_kind]
            self.broker = make(home, self.mqtt_host, self.mqtt_port, self.settings.broker_sync)
            self._ours = accounts.service_accounts(
                kept_secret(home, "broker-worker"), kept_secret(home, "broker-service")
            )

    @property
    def conninfo(self) -> str:
        """How to reach the database."""
        return self.postgres.conninfo if self.postgres else self.settings.database_url

    @property
    def mqtt_address(self) -> str:
        """Where gateways connect."""
        if self.broker is None:
            return self.settings.mqtt_url.rpartition("@")[2]
        return f"{ports.reachable(self.mqtt_host)}:{self.mqtt_port}"

    @property
    def url(self) -> str:
        """Where people's browsers connect."""
        host = ports.reachable(self.settings.api_host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.api_port}"

    async def start(self) -> None:
        """Returns when gateways are let in and the page answers. ServiceError: what is missing."""
        require_ports(self.settings, self.mqtt_host, self.mqtt_port)
        if self.postgres:
            await asyncio.to_thread(self.postgres.prepare)
            self.supervisor.keep(self.postgres.child, self.postgres.launch)
        if self.broker:
            broker = self.broker
            self.supervisor.keep(broker.child, lambda: broker.launch(self._ours))
        if self.postgres:
            await self.postgres.answering()
            self.postgres.make_database()
        applied = await database.migrate(self.conninfo)
        self.say(f"database is ready{f', {len(applied)} migrations applied' if applied else ''}")
        if self.furnish:
            await self.furnish(self.conninfo)
        if self.broker:
            await self.broker.accepting()
            self.say(f"broker listens on {self.mqtt_address}")
        roles = {name: role_child(name, self._settings_of(name)) for name in ROLES}
        for child in roles.values():
            self.supervisor.keep(child)
        if self.broker:
            await self._admit_after(roles["worker"])
            self.say("worker has subscribed, gateways are let in")
        write_private(_note(self.settings.home), self._settings_of("api").model_dump_json())
        health = f"{self.url}/healthz"
        await self.supervisor.require_start(
            roles["api"], lambda: answers_ok(health), READY_WITHIN_S
        )

    async def run(self) -> None:
        """Keeps everything running, and who may log in at the broker in step with the registry."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.supervisor.watch())
            if self.broker:
                tasks.create_task(self._follow_registry())

    async def operate(self, then: Callable[[], Awaitable[None]] | None = None) -> None:
        """Starts, does `then` and goes on until SIGTERM, SIGINT or the end of `then`'s patience;
        nothing runs any more when it returns. A second signal ends all by force.

        Args:
            then: what is done while everything runs; returns when all is to stop. None: never.
        """
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt, stop)
        stopping = asyncio.create_task(stop.wait())
        working = asyncio.create_task(self._start_and_run(then))
        try:
            await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            working.cancel()
            (outcome,) = await asyncio.gather(working, return_exceptions=True)
            self.say("stopping")
            await self.supervisor.stop()
        if isinstance(outcome, Exception):
            raise outcome

    async def _start_and_run(self, then: Callable[[], Awaitable[None]] | None) -> None:
        await self.start()
        running = asyncio.create_task(self.run())
        others = {running} if then is None else {running, asyncio.ensure_future(then())}
        try:
            done, _ = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    def _interrupt(self, stop: asyncio.Event) -> None:
        if stop.is_set():
            self.supervisor.kill()
        stop.set()

    async def _admit_after(self, worker: Child) -> None:
        """Lets gateways in once the worker has subscribed."""
        listening = asyncio.create_task(self._until_worker_listens())
        await self.supervisor.require_start(worker, listening.done, READY_WITHIN_S)
        await listening
        async with await database.connect(self.conninfo, "supervisor") as connection:
            self._admit(await accounts.registered(connection))

    def _admit(self, gateways: list[Account]) -> None:
        assert self.broker is not None
        self.broker.admit([*self._ours, *gateways])

    async def _until_worker_listens(self) -> None:
        while not await self._worker_listens():  # noqa: ASYNC110  the broker sends no event
            await asyncio.sleep(0.1)

    async def _worker_listens(self) -> bool:
        try:
            if isinstance(self.broker, EmbeddedNats):
                return await self.broker.worker_listens()
            async with await database.connect(self.conninfo, "supervisor") as connection:
                row = await (await connection.execute(WORKER_ON_LINE)).fetchone()
                return bool(row and row[0])
        except (nats.errors.Error, OSError, DatabaseAbsent, psycopg.Error):
            return False

    async def _follow_registry(self) -> None:
        """Reads the gateways again at each change of the registry or start of the broker."""
        assert self.broker is not None
        known: tuple[int, int | None] = (-1, self.broker.child.pid)
        while True:
            try:
                async with await database.connect(self.conninfo, "supervisor") as connection:
                    while True:
                        found = (await accounts.revision(connection), self.broker.child.pid)
                        if found != known and found[1]:
                            if found[1] != known[1]:  # a new broker: worker first, then gateways
                                await self._until_worker_listens()
                            self._admit(await accounts.registered(connection))
                            known = found
                        await asyncio.sleep(REGISTRY_EACH_S)
            except (DatabaseAbsent, psycopg.Error) as error:
                log.warning("registry not read", extra={"why": str(error).strip()})
                await asyncio.sleep(1.0)

    def _settings_of(self, role: str) -> Settings:
        changed: dict[str, object] = {"home": self.settings.home.resolve()}
        if self.postgres:
            changed["database_url"] = self.postgres.conninfo
        if self.broker:
            user = "worker" if role == "worker" else "service"
            secret = quote(kept_secret(self.settings.home, f"broker-{user}"), safe="")
            changed["mqtt_url"] = f"mqtt://{user}:{secret}@{self.mqtt_address}"
            if self.broker_kind == "nats":
                changed["settle_s"] = SETTLE_NATS_S
        return self.settings.model_copy(update=changed)


ROLES: Final = ("clerk", "worker", "api")
"""In the order of their start; they are stopped in the reverse order."""


def brings_broker(settings: Settings) -> bool:
    """Whether the settings name no broker, so that we run one."""
    return "mqtt_url" not in settings.model_fields_set


def require_ports(settings: Settings, mqtt_host: str, mqtt_port: int) -> None:
    """PortOccupied: somebody else listens where we are to; asked before anything is made."""
    ports.require_free(settings.api_host, settings.api_port, "--port")
    if brings_broker(settings):
        ports.require_free(mqtt_host, mqtt_port, "--mqtt-port")


def role_child(role: str, settings: Settings) -> Child:
    """One of our own processes as a child."""
    return own_command(role, ["serve", "--role", role], settings)


def own_command(name: str, arguments: list[str], settings: Settings) -> Child:
    """A command of ours as a child, with these settings and no others."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    return Child(
        name,
        [sys.executable, "-P", "-m", "hazardloop", *arguments],
        settings.home.resolve(),
        environment=kept | settings.environment(),
    )


def running_settings(home: Path) -> Settings | None:
    """Settings of the service that runs in `home` now; None when none does."""
    try:
        with (home / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (
            Settings.model_validate_json(_note(home).read_text()) if _note(home).exists() else None
        )
    except OSError:
        pass
    return None


def _note(home: Path) -> Path:
    return home / "run" / "settings.json"


def answers_ok(url: str) -> bool:
    """Whether a GET is answered with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
