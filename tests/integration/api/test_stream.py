"""The live stream over a real server: complete, in order, scoped, and over when asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import psycopg.conninfo
import psycopg.sql
import pytest
from fastapi import FastAPI

from hazardloop.alarms.alarm import Tier
from hazardloop.service import app as app_module
from hazardloop.service.app import create_app, run_api
from hazardloop.service.settings import Settings
from tests.integration.api.world import World, build_world, lines_of
from tests.worlds import PATIENCE_S


@dataclass
class Server:
    """A listening api and the world behind it."""

    world: World
    url: str
    stop: asyncio.Event

    @asynccontextmanager
    async def stream(self, username: str, since: str | None = None) -> AsyncIterator["Client"]:
        """A client of the stream, connected, its hello read."""
        known = await self.world.client(username)
        headers = {"Authorization": known.headers["Authorization"]}
        headers |= {"Last-Event-ID": since} if since else {}
        async with (
            httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_S) as client,
            client.stream("GET", "/api/v1/stream", headers=headers) as response,
        ):
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            one = Client(lines_of(response.aiter_lines()))
            await one.until(lambda: bool(one.hello))
            yield one


@dataclass
class Client:
    """What a console would do with the stream: keeps the list, checks that nothing is missing."""

    events: AsyncIterator[tuple[str, str, str | None]]
    hello: dict[str, Any] = field(default_factory=dict)
    seq: int = -1
    last_id: str | None = None
    alarms: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    resets: list[str] = field(default_factory=list)
    beats: int = 0

    async def until(self, reached: Callable[[], bool]) -> None:
        """Reads events until then."""
        async with asyncio.timeout(PATIENCE_S):
            while not reached():
                self.take(*await anext(self.events))

    async def drain(self) -> None:
        """Reads to the end of the stream."""
        async with asyncio.timeout(PATIENCE_S):
            async for event in self.events:
                self.take(*event)

    def take(self, name: str, text: str, identity: str | None) -> None:
        """One event."""
        data = json.loads(text)
        match name:
            case "hello":
                self.hello, self.seq = data, data["seq"]
            case "alarms":
                assert data["from"] == self.seq + 1, "a gap or a repeat"
                assert data["seq"] >= data["from"]
                assert identity == f"{self.hello['epoch']}:{data['seq']}"
                self.seq, self.last_id = data["seq"], identity
                for op in data["ops"]:
                    self.apply(op)
            case "counts":
                self.counts = data["tiers"]
            case "reset":
                self.resets.append(data["reason"])
                self.seq = data["seq"]
            case "hb":
                assert data["seq"] == self.seq
                self.beats += 1

    def apply(self, op: dict[str, Any]) -> None:
        """One op."""
        if op["op"] == "put":
            self.alarms[op["a"]["id"]] = op["a"]
        else:
            self.alarms.pop(op["id"], None)
            self.gone[op["id"]] = op["why"]


@pytest.fixture
async def server(
    database: str, tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    """The api as `serve` runs it."""
    settings = Settings(database_url=database, home=tmp_path / "home", api_port=free_port)
    from hazardloop.service.api.site import utc_now

    apps: list[FastAPI] = []

    def make(given: Settings) -> FastAPI:
        apps.append(create_app(given, console_dist=tmp_path / "dist"))
        return apps[-1]

    monkeypatch.setattr(app_module, "create_app", make)
    stop = asyncio.Event()
    serving = asyncio.create_task(run_api(settings, stop=stop))
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient() as probe:
        while True:
            try:
                await probe.get(f"http://127.0.0.1:{free_port}/healthz")
                break
            except httpx.TransportError:
                await asyncio.wait({serving}, timeout=0.05)
    async with await build_world(database, apps[0], utc_now()) as world:
        yield Server(world, f"http://127.0.0.1:{free_port}", stop)
        stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await serving


async def test_an_alarm_is_told_when_raised_changed_and_closed(server: Server) -> None:
    world = server.world
    async with server.stream("operator") as client:
        alarm_id = await world.raise_alarm(tier=Tier.BLUE)
        key = str(alarm_id)
        await client.until(lambda: key in client.alarms)
        assert client.alarms[key]["tier"] == "blue"
        await client.until(lambda: client.counts.get("blue", {}).get("open") == 1)
        await world.rise(alarm_id, Tier.YELLOW)
        await client.until(lambda: client.alarms[key]["tier"] == "yellow")
        operator = await world.client("operator")
        await operator.post(f"/alarms/{alarm_id}/acknowledge", json={})
        await client.until(lambda: client.alarms[key].get("ack", {}).get("by") == "operator")
        await world.clear(alarm_id)
        await client.until(lambda: client.alarms[key]["cond"] == "cleared")
        await world.close_case(alarm_id)
        await client.until(lambda: key in client.gone)
        assert client.gone[key] == "closed"
        await client.until(lambda: client.counts["yellow"]["open"] == 0)


async def test_a_burst_from_many_writers_arrives_complete_and_in_order(server: Server) -> None:
    world = server.world
    alarms = [
        await world.raise_alarm(point, age_s=age_s)
        for age_s, point in enumerate(("E1:GD-1.lel", "E2:GD-1.lel", "E2:SD-2.smoke"))
    ]
    async with server.stream("operator") as client, server.stream("ent2") as scoped:

        async def write(nth: int) -> None:
            async with await psycopg.AsyncConnection.connect(
                world.app.state.settings.database_url, autocommit=True
            ) as conn:
                for turn in range(40):
                    chosen = sorted({alarms[(nth + turn) % 3], alarms[nth % 3]})
                    async with conn.transaction():
                        for alarm in chosen:  # in one order, or two writers wait for each other
                            await conn.execute(
                                "UPDATE alarm SET version = version + 1 WHERE alarm_id = %s",
                                [alarm],
                            )
                        await conn.execute("SELECT note_live_changes(%s)", [chosen])

        await asyncio.gather(*(write(nth) for nth in range(4)))
        last = await world.seq()
        await client.until(lambda: client.seq == last)
        await scoped.until(lambda: scoped.seq == last)
        cursor = await world.conn.execute("SELECT alarm_id::text, version FROM alarm")
        versions = dict(await cursor.fetchall())
        assert {key: one["ver"] for key, one in client.alarms.items()} == versions
        assert set(scoped.alarms) == {str(alarms[1]), str(alarms[2])}
        assert client.resets == scoped.resets == []


async def test_an_enterprise_is_told_of_its_own_alarms_only(server: Server) -> None:
    world = server.world
    async with server.stream("ent1") as own, server.stream("ent2") as other:
        first = await world.raise_alarm("E1:GD-1.lel")
        second = await world.raise_alarm("E2:GD-1.lel")
        await own.until(lambda: str(first) in own.alarms)
        await other.until(lambda: str(second) in other.alarms)
        await own.until(lambda: own.beats > 0)  # the heartbeat takes its position past the other's
        assert own.seq == await world.seq()
        assert set(own.alarms) == {str(first)}
        assert set(other.alarms) == {str(second)}
        await own.until(lambda: bool(own.counts))
        assert own.counts["orange"]["open"] == 1


async def test_who_comes_back_is_told_what_it_missed_and_nothing_twice(server: Server) -> None:
    world = server.world
    async with server.stream("operator") as client:
        kept = await world.raise_alarm("E1:GD-1.lel")
        await client.until(lambda: str(kept) in client.alarms)
        left_at = client.last_id
    missed = await world.raise_alarm("E2:GD-1.lel")
    await world.rise(kept, Tier.RED)
    async with server.stream("operator", since=left_at) as again:
        assert again.hello["seq"] == int(str(left_at).rpartition(":")[2])
        await again.until(lambda: len(again.alarms) == 2)
        assert again.alarms[str(kept)]["tier"] == "red"
        assert str(missed) in again.alarms
        assert again.resets == []
        later = await world.raise_alarm("E2:SD-2.smoke")
        await again.until(lambda: str(later) in again.alarms)


@pytest.mark.parametrize(
    ("since", "reason"),
    [
        pytest.param("00000000-0000-0000-0000-000000000000:1", "epoch", id="of another database"),
        pytest.param("{epoch}:0", "gap", id="from before what is still recorded"),
        pytest.param("{epoch}:999999", "gap", id="from the future"),
        pytest.param("{epoch}:x", "gap", id="not a number"),
        pytest.param("nonsense", "epoch", id="nonsense"),
    ],
)
async def test_who_cannot_be_told_the_rest_starts_over(
    server: Server, since: str, reason: str
) -> None:
    world = server.world
    async with server.stream("operator") as first:
        await world.raise_alarm()
        await world.raise_alarm("E2:GD-1.lel")
        await first.until(lambda: first.seq == 2)
    await world.conn.execute("DELETE FROM live_change WHERE seq = 1")
    cursor = await world.conn.execute("SELECT epoch FROM live_counter")
    row = await cursor.fetchone()
    assert row is not None
    async with server.stream("operator", since=since.format(epoch=row[0])) as client:
        await client.until(lambda: bool(client.resets))
        assert client.resets == [reason]
        alarm_id = await world.raise_alarm("E2:SD-2.smoke")
        await client.until(lambda: str(alarm_id) in client.alarms)


async def test_a_snapshot_and_what_follows_it_are_the_whole_list(server: Server) -> None:
    world = server.world
    before = await world.raise_alarm("E1:GD-1.lel")
    async with server.stream("operator") as client:
        known = await world.client("operator")
        between = await world.raise_alarm("E2:GD-1.lel")
        snapshot = (await known.get("/alarms/open")).json()
        listed = {one["id"]: one for one in snapshot["items"]}
        assert set(listed) == {str(before), str(between)}
        assert snapshot["epoch"] == client.hello["epoch"]
        after = await world.raise_alarm("E2:SD-2.smoke")
        await client.until(lambda: str(after) in client.alarms)
        assert client.seq > snapshot["seq"] >= client.hello["seq"]
        assert set(listed) | set(client.alarms) == {str(before), str(between), str(after)}
        fresh = (await known.get("/alarms/open")).json()["items"]
        assert {one["id"]: one for one in fresh} == listed | client.alarms


async def test_the_stream_outlives_a_cut_of_all_database_connections(server: Server) -> None:
    world = server.world
    async with server.stream("operator") as client:
        await world.conn.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        )
        alarm_id = await world.raise_alarm()
        await client.until(lambda: str(alarm_id) in client.alarms)
        assert client.resets == []


async def test_a_client_that_leaves_is_forgotten(server: Server) -> None:
    live = server.world.app.state.site.broadcast
    async with server.stream("operator"):
        assert len(live) == 1
    async with asyncio.timeout(PATIENCE_S):
        while len(live):
            await asyncio.wait({asyncio.create_task(server.world.seq())})


async def test_the_server_ends_its_streams_and_stops_while_clients_are_attached(
    server: Server,
) -> None:
    async with server.stream("operator") as one, server.stream("ent1") as two:
        server.stop.set()
        await one.drain()
        await two.drain()


async def test_a_stream_without_a_session_is_refused(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/api/v1/stream")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_an_api_starts_once_a_database_that_is_slow_to_let_it_in_does(
    postgres: str, database: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    open_for_all = psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    app = create_app(Settings(database_url=database, home=tmp_path / "home"))
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as server:

        async def let_in(whether: bool) -> None:
            await server.execute(open_for_all.format(psycopg.sql.Identifier(name), whether))

        async def start_and_end() -> None:
            async with app.router.lifespan_context(app):
                pass

        await let_in(False)
        starting = asyncio.create_task(start_and_end())
        try:
            async with asyncio.timeout(PATIENCE_S):
                while "live stream waits for the database" not in caplog.messages:
                    assert not starting.done()
                    await asyncio.wait({starting}, timeout=0.1)
        finally:
            await let_in(True)
        await starting
