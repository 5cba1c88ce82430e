"""The api process: its routes, what they share, and the server that answers with them."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.middleware.gzip import GZipMiddleware

from hazardloop import __version__
from hazardloop.alarms.packed_months import PackedMonths
from hazardloop.service import database, evidence
from hazardloop.service.api import (
    alarm_export,
    alarm_system,
    alarms,
    auth,
    backtests,
    balance,
    bulk,
    calendar,
    case_policy,
    case_readings,
    connectivity,
    console,
    contacts,
    daily_balance,
    dead_letters,
    device_kinds,
    devices,
    disposal,
    documentation,
    drills,
    enterprises,
    escalations,
    figure_members,
    figures,
    floods,
    gateway_dialects,
    gateways,
    hazard_levels,
    hazard_units,
    hazards,
    health,
    holds,
    ledger,
    limits,
    link_pages,
    links,
    notifications,
    plans,
    points,
    problems,
    readings,
    recipients,
    reports,
    required_devices,
    risks,
    rules,
    shifts,
    signal_acts,
    simulations,
    stand_ins,
    stream,
    system,
    why_not,
)
from hazardloop.service.api.access import Permitted, declared, public
from hazardloop.service.api.body_limit import BodyLimit
from hazardloop.service.api.broadcast import Broadcast
from hazardloop.service.api.headers import Headers
from hazardloop.service.api.site import Site, utc_now
from hazardloop.service.api.throttle import Throttle
from hazardloop.service.errors import ServiceError
from hazardloop.service.passwords import Passwords
from hazardloop.service.settings import Settings
from hazardloop.service.simulation_runs import Runs
from hazardloop.service.site import known_kinds

PREFIX: Final = "/api/v1"
ROUTERS: Final = (
    auth.router,
    enterprises.router,
    hazard_units.router,
    hazard_levels.router,
    risks.router,
    gateways.router,
    gateway_dialects.router,
    devices.router,
    plans.router,
    points.router,
    limits.router,
    rules.router,
    device_kinds.router,
    readings.router,
    alarms.router,
    alarm_export.router,
    signal_acts.router,
    bulk.router,
    holds.router,
    drills.router,
    disposal.router,
    escalations.router,
    calendar.router,
    shifts.router,
    case_readings.router,
    recipients.router,
    case_policy.router,
    figures.router,
    figure_members.router,
    alarm_system.router,
    floods.router,
    connectivity.router,
    required_devices.router,
    hazards.router,
    reports.router,
    backtests.router,
    why_not.router,
    ledger.router,
    stream.router,
    system.router,
    balance.router,
    daily_balance.router,
    dead_letters.router,
    contacts.router,
    stand_ins.router,
    simulations.router,
    notifications.router,
    links.router,
)


class CannotListen(ServiceError):
    """The address is taken or not ours."""


def create_app(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = utc_now,
    console_dist: Path = console.BUILT,
) -> FastAPI:
    """The api; `clock` says what time it is.

    Raises LookupError: a route declares no permission; FileRefused: a file of `kinds_dir` is wrong.
    """
    app = FastAPI(
        title="HazardLoop",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
        generate_unique_id_function=operation_id,
    )
    app.state.settings = settings
    app.state.clock = clock
    app.state.kinds = known_kinds(settings).kinds
    described = declarations([*ROUTERS, health.router])
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(health.router)
    app.include_router(_documents(app, described))
    pages = console.console_router(console_dist)
    declarations([link_pages.router, pages])
    app.include_router(link_pages.router)
    app.include_router(pages)
    problems.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(GZipMiddleware, minimum_size=1_000, compresslevel=1)
    app.add_middleware(Headers, clock=lambda: app.state.clock())
    return app


def operation_id(route: APIRoute) -> str:
    """What generated clients call the operation: the name of its function."""
    return route.name


def declarations(routers: list[APIRouter]) -> dict[str, tuple[APIRoute, Permitted]]:
    """Each route with the permission it declares, by operation id.

    LookupError: a route declares none, so it is not known who may use it.
    """
    found = {}
    for router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            found[operation_id(route)] = (route, declared(route))
    return found


def _documents(app: FastAPI, described: dict[str, tuple[APIRoute, Permitted]]) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = documentation.describe(app, described)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]

    @router.get(f"{PREFIX}/openapi.json", dependencies=[public()])
    async def openapi() -> Response:
        """The description of this API."""
        return JSONResponse(document())

    @router.get("/docs", dependencies=[public()])
    async def docs() -> Response:
        """The same for people."""
        return HTMLResponse(documentation.page(document()))

    return router


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(database.open_pool(settings.database_url, "api"))
        live = Broadcast(settings.database_url, pool, lambda: app.state.clock())
        await live.start()
        following = asyncio.create_task(live.run(), name="live stream")
        stack.push_async_callback(_ended, following)
        runs = Runs(settings)
        stack.push_async_callback(runs.close)
        app.state.site = Site(
            settings=settings,
            pool=pool,
            broadcast=live,
            passwords=Passwords(),
            throttle=Throttle(),
            kinds=app.state.kinds,
            shelf=evidence.shelf_of(settings),
            packed_months=PackedMonths(),
            simulations=runs,
        )
        yield
        live.close()


async def _ended(task: asyncio.Task[None]) -> None:
    # psycopg may raise an error of its own in place of the cancellation of a query under way, and
    # whoever follows through absences of the database goes on.
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)


class _Server(uvicorn.Server):
    """Ends the live streams before it waits for its connections, else it would wait for ever."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        assert isinstance(app, FastAPI)
        app.state.site.broadcast.close()
        await super().shutdown(sockets)


async def run_api(settings: Settings, *, stop: asyncio.Event | None = None) -> None:
    """Answers requests until `stop` is set; without one, until SIGINT or SIGTERM.

    Raises CannotListen, DatabaseAbsent, SchemaWrong: one line each that says what to do.
    """
    async with await database.connect(settings.database_url, "api") as conn:
        await database.require_schema(conn)
    listener = listen(settings.api_host, settings.api_port)
    config = uvicorn.Config(
        create_app(settings),
        loop="none",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    stopping = stop or _signalled()
    # _serve, not serve: serve takes the process's signals to itself.
    serving = asyncio.create_task(server._serve([listener]), name="api")
    waiting = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        server.should_exit = True
        await asyncio.shield(serving)
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. CannotListen: another does, or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Streams outlive many clients: a dead one is noticed by the kernel within a minute or two.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise CannotListen(
            f"cannot listen on {host}:{port} ({error.strerror}):"
            " end what uses it, or set another HAZARDLOOP_API_PORT"
        ) from error
    listener.setblocking(False)
    return listener


def _signalled() -> asyncio.Event:
    event = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, event.set)
    return event
