"""One whole service on one machine: broker, database, worker, api and clerk, in the right order."""

import asyncio
import fcntl
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from hazardloop.service import database
from hazardloop.service.embedded import ports
from hazardloop.service.embedded.accounts import kept_secret, service_accounts
from hazardloop.service.embedded.child import Child
from hazardloop.service.embedded.doorkeeper import Doorkeeper, embedded_broker
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.embedded.refusals import Refusals
from hazardloop.service.embedded.supervisor import Supervisor, first_of, until_signal
from hazardloop.service.embedded.templates import write_private
from hazardloop.service.settings import PREFIX, Settings

READY_WITHIN_S: Final = 90.0
SETTLE_NATS_S: Final = 12.0
"""NATS gives unacknowledged messages again after 10 s."""


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
    admitted: Callable[[], None] = lambda: None
    """Called when gateways are let in."""
    supervisor: Supervisor = field(default_factory=Supervisor)
    postgres: EmbeddedPostgres | None = None
    door: Doorkeeper | None = None

    def __post_init__(self) -> None:
        """Decides which servers are ours."""
        home = self.settings.home
        if not self.settings.database_url:
            self.postgres = EmbeddedPostgres(home)
        if brings_broker(self.settings):
            self.door = Doorkeeper(
                embedded_broker(
                    self.broker_kind, home, self.mqtt_host, self.mqtt_port,
                    self.settings.broker_sync,
                ),
                self.service_conninfo,
                service_accounts(
                    kept_secret(home, "broker-worker"), kept_secret(home, "broker-service")
                ),
            )  # fmt: skip

    @property
    def conninfo(self) -> str:
        """How to reach the database as its owner."""
        if self.postgres:
            return self.postgres.conninfo
        return self.settings.database_owner_url or self.settings.database_url

    @property
    def service_conninfo(self) -> str:
        """How the processes reach it."""
        return self.postgres.service_conninfo if self.postgres else self.settings.database_url

    @property
    def mqtt_address(self) -> str:
        """Where gateways connect."""
        if self.door is None:
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
        if self.door:
            self.supervisor.keep(self.door.broker.child, self.door.launch)
        if self.postgres:
            await self.postgres.answering()
            self.postgres.make_database()
        applied = await database.migrate(self.conninfo, self.service_conninfo)
        self.say(f"database is ready{f', {len(applied)} migrations applied' if applied else ''}")
        if self.furnish:
            await self.furnish(self.conninfo)
        if self.door:
            await self.door.broker.accepting()
            self.say(f"broker listens on {self.mqtt_address}")
        roles = {name: role_child(name, self._settings_of(name)) for name in ROLES}
        for child in roles.values():
            self.supervisor.keep(child)
        if self.door:
            subscribed = asyncio.create_task(self.door.worker_subscribed())
            await self.supervisor.require_start(roles["worker"], subscribed.done, READY_WITHIN_S)
            await self.door.admit_gateways()
            self.say("worker has subscribed, gateways are let in")
        self.admitted()
        write_private(_note(self.settings.home), self._settings_of("api").model_dump_json())
        health = f"{self.url}/healthz"
        await self.supervisor.require_start(
            roles["api"], lambda: answers_ok(health), READY_WITHIN_S
        )

    async def run(self) -> None:
        """Keeps everything running, and who may log in at the broker in step with the registry."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.supervisor.watch())
            if self.door:
                tasks.create_task(self.door.follow_registry())
                tasks.create_task(
                    Refusals(self.door.broker.child.log).follow(self.service_conninfo)
                )

    async def operate(self, then: Callable[[], Awaitable[None]]) -> None:
        """Starts, and does `then` while everything is kept running; stops when that returns, or at
        SIGTERM or SIGINT. Nothing runs any more afterwards.
        """

        async def work() -> None:
            await self.start()
            running = asyncio.create_task(self.run())
            try:
                await first_of(running, asyncio.ensure_future(then()))
            finally:
                running.cancel()

        await until_signal(self.supervisor, work(), self.say)

    def _settings_of(self, role: str) -> Settings:
        # The owner's password is not for those who serve.
        changed: dict[str, object] = {
            "home": self.settings.home.resolve(),
            "database_owner_url": "",
        }
        if self.postgres:
            changed["database_url"] = self.postgres.service_conninfo
        if self.door:
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
