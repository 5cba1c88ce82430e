"""Becoming a worker, an api or a clerk; keeping one of each; or keeping a broker for them."""

import asyncio
import logging
from typing import Final
from urllib.parse import unquote, urlsplit

import uvloop

from hazardloop.service import logs
from hazardloop.service.errors import SettingsWrong
from hazardloop.service.settings import Settings

log = logging.getLogger(__name__)

EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  gateways come from the network


def run(role: str, settings: Settings, broker: str = "nats") -> int:
    """Runs until SIGTERM or SIGINT; the exit code."""
    database_url_of(settings)
    logs.configure(role)
    if role == "all":
        asyncio.run(_all(settings))
    elif role == "broker":
        asyncio.run(_broker(settings, broker))
    else:
        uvloop.run(_one(role, settings))
    return 0


def database_url_of(settings: Settings) -> str:
    """Which database is meant. SettingsWrong: none is named, and `serve` brings none of its own."""
    if not settings.database_url:
        raise SettingsWrong(
            "HAZARDLOOP_DATABASE_URL is not set: name a PostgreSQL database, such as"
            " postgresql://hazardloop@localhost/hazardloop, or run `hazardloop up`: it brings one"
        )
    return settings.database_url


async def _one(role: str, settings: Settings) -> None:
    # Before anything imports the metrics: they look for their folder once, at import.
    from hazardloop.service import metrics_folder

    metrics_folder.prepare(settings.home)
    if settings.metrics_port and role != "api":  # the api has them at its own port
        from hazardloop.service import metrics

        metrics.serve(settings.metrics_port)
    if role == "worker":
        from hazardloop.service.worker import run_worker as work
    elif role == "api":
        from hazardloop.service.app import run_api as work
    else:
        from hazardloop.service.clerk import run_clerk as work
    await work(settings)


async def _all(settings: Settings) -> None:
    from hazardloop.service.embedded.home import occupied
    from hazardloop.service.embedded.installation import Installation
    from hazardloop.service.embedded.supervisor import for_ever

    with occupied(settings.home):
        named = Settings.model_validate(settings.model_dump())  # every field counts as given
        await Installation(named, mqtt_host="", mqtt_port=0).operate(for_ever)


async def _broker(settings: Settings, kind: str) -> None:
    """Broker for worker and gateways on other machines; `settings.mqtt_url` is how the worker
    reaches it, so its password is the worker's, and its port ours.
    """
    from hazardloop.service.embedded.accounts import kept_secret, service_accounts
    from hazardloop.service.embedded.doorkeeper import Doorkeeper, embedded_broker
    from hazardloop.service.embedded.home import occupied
    from hazardloop.service.embedded.supervisor import Supervisor, first_of, until_signal

    url = urlsplit(settings.mqtt_url)
    if url.username != "worker" or not url.password:
        raise SettingsWrong(
            "HAZARDLOOP_MQTT_URL names no password of the user `worker`:"
            " mqtt://worker:PASSWORD@HOST:1883, the same as the worker's"
        )
    with occupied(settings.home) as home:
        broker = embedded_broker(kind, home, EVERYWHERE, url.port or 1883, settings.broker_sync)
        door = Doorkeeper(
            broker,
            settings.database_url,
            service_accounts(unquote(url.password), kept_secret(home, "broker-service")),
        )
        supervisor = Supervisor()

        async def work() -> None:
            supervisor.keep(broker.child, door.launch)
            await broker.accepting()
            await first_of(
                asyncio.ensure_future(supervisor.watch()),
                asyncio.ensure_future(door.follow_registry()),
            )

        await until_signal(supervisor, work(), log.info)
