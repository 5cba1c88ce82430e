"""The api over a real database, asked in process; and two enterprises with a few devices."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
from fastapi import FastAPI

from hazardloop.service.app import create_app
from hazardloop.service.settings import Settings
from tests.integration.api.world import World, build_world


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[FastAPI]:
    """`app` between its start and its end."""
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def api(database: str, tmp_path: Path) -> AsyncIterator[World]:
    """The running api with its users, two enterprises, and a clock that tests may turn."""
    settings = Settings(database_url=database, home=tmp_path / "home")
    now = datetime.fromisoformat("2026-11-22T01:00:00+00:00")
    app = create_app(settings, clock=lambda: world.now, console_dist=tmp_path / "dist")
    async with await build_world(database, app, now) as world, running(app):
        yield world
