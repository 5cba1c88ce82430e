"""Becoming a worker, an api or a clerk; or keeping one of each."""

import asyncio

from hazardloop.service import logs
from hazardloop.service.errors import SettingsWrong
from hazardloop.service.settings import Settings


def run(role: str, settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT; the exit code."""
    database_url_of(settings)
    logs.configure(role)
    if role == "all":
        asyncio.run(_all(settings))
    else:
        asyncio.run(_one(role, settings))
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

    with occupied(settings.home):
        named = Settings.model_validate(settings.model_dump())  # every field counts as given
        await Installation(named, mqtt_host="", mqtt_port=0).operate()
