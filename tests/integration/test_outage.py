"""The database goes away under a worker that is a process: alarms go on, and nothing is lost."""

import asyncio
import json
import os
import random
import re
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psycopg
import pytest

from hazardloop.alarms import hold_store
from hazardloop.alarms.alarm import Actor, Role, Tier
from hazardloop.alarms.hold import Wish
from hazardloop.alarms.hold_store import Permit, Scope
from hazardloop.alarms.signal import Hold
from hazardloop.devices.instants import rfc3339, utc
from hazardloop.service.database import connect, migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.spool_state import spool_file, state_file
from tests import worlds
from tests.brokers import Broker, mosquitto
from tests.integration.test_pipeline import Gateway, at_work, gateway_at, now_ms
from tests.worlds import STORED, eventually, query

DEVICES = {f"GD-{n}": "gas_detector" for n in range(7)} | {"SD-1": "smoke_detector"}
Message = tuple[int, dict[str, Any]]
"""Milliseconds, values."""
START_MS = now_ms() - 1_200_000
LEVELS = [5, 30, 60, 30, 5, 5, 5, 5, 5]
"""A detector's lap: up through both limits, and down for longer than it takes to clear."""


def third(nth: int) -> list[Message]:
    """One third of what is sent: laps of the detectors, with repeats and late readings among."""
    start = START_MS + nth * 200_000
    # A detector that reports seldom, and late: what it finds is the same whatever the batches, as
    # long as this is not in the same one.
    sent: list[Message] = [(start + 150_000, {"GD-5.lel": 5})]
    # Another ends with a bad reading: what is good and comes after it is the newest that counts.
    sent += [(start + 120_000, {"GD-6.lel": 5}), (start + 131_000, {"GD-6.lel": 5})]
    sent.append((start + 160_000, {"GD-6.lel": {"v": 5, "q": "bad"}}))
    for lap in range(3 * len(LEVELS)):
        at = start + lap * 4_000
        level = LEVELS[lap % len(LEVELS)]
        sent += [(at + device, {f"GD-{device}.lel": level}) for device in range(4)]
        sent.append((at, {"SD-1.smoke": level > 50}))
        sent.append((at, {"GD-0.ppm": lap, "GD-1.ppm": lap}))
    sent.insert(23, sent[6])
    return sent


def afterthoughts(nth: int) -> list[Message]:
    """Late readings that tell of alarms, some of them twice, and repeats."""
    start = START_MS + nth * 200_000
    late = [(start + 90_000, {"GD-5.lel": 60}), (start + 95_000, {"GD-5.lel": 55})]
    between = (start + 155_000, {"GD-6.lel": 60})
    return [between, *late, late[0], third(nth)[10], third(nth)[33]]


THIRDS = [[*third(nth), *afterthoughts(nth)] for nth in range(3)]
SENT = len({(at, code) for part in THIRDS for at, values in part for code in values})
"""Readings, each counted once."""
TOLD_AGAIN = sum(len(values) for part in THIRDS for _, values in part) - SENT

# A latch is handed on when the next alarm is recorded, by the clock: no change of the signal.
HISTORY = """
    SELECT alarm_id, point_id, rule_id, raised_at, cleared_at, tier, tier_now, found_late,
           cardinality(told.changes), told.changes
      FROM alarm, LATERAL (
           SELECT array_agg((c.version, c.change, c.tier, c.changed_at)::text ORDER BY c.version)
             FROM alarm_change c WHERE c.alarm_id = alarm.alarm_id AND c.change <> 'reset'
           ) AS told (changes)
      WHERE rule_id NOT LIKE '%%platform%%' ORDER BY raised_at, alarm_id"""


def say(gateway: Gateway, part: Sequence[Message]) -> None:
    for at, values in part:
        gateway.read(values, at)


def say_all(gateway: Gateway, part: Sequence[Message]) -> None:
    late = len(afterthoughts(0))
    say(gateway, part[:-late])
    time.sleep(0.5)  # ten times a batch's age
    say(gateway, part[-late:])


def say_and_wait(database: str, gateway: Gateway, part: Sequence[Message], stored: int) -> None:
    """Afterthoughts go in batches of their own: what a late reading finds depends on the batch."""
    say_all(gateway, part)
    eventually(lambda: query(database, STORED) == [(stored,)], f"{stored} readings stored")


@pytest.fixture(scope="module")
def undisturbed(
    postgres: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Any, ...]]:
    """The alarm history that the messages give when nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "broker").mkdir()
    with worlds.cloned(postgres, template) as database:
        worlds.register(database, DEVICES)
        with (
            mosquitto(folder / "broker") as broker,
            at_work(database, broker, folder / "home"),
            gateway_at(broker) as gateway,
        ):
            for nth, part in enumerate(THIRDS, 1):
                say_and_wait(database, gateway, part, nth * SENT // 3)
        history = query(database, HISTORY)
    assert len(history) >= 3 * 4 * 3
    assert sum(row[7] for row in history) >= 3  # found late
    return history


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of this test alone, that it may stop; with the district in it."""
    postgres = EmbeddedPostgres(tmp_path / "server", settings={"max_connections": "40"})
    postgres.start()
    asyncio.run(migrate(postgres.conninfo))
    worlds.register(postgres.conninfo, DEVICES)
    yield postgres
    postgres.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as running:
        yield running


def lose(server: EmbeddedPostgres) -> None:
    """Immediate shutdown, as `pg_ctl stop -m immediate`."""
    server.child.send(signal.SIGQUIT)
    eventually(lambda: not server.child.runs(), "the database has stopped")


def bring_back(server: EmbeddedPostgres) -> None:
    server.launch()
    eventually(lambda: answers(server.conninfo), "the database is back")


def answers(conninfo: str) -> bool:
    try:
        return bool(query(conninfo, "SELECT 1"))
    except psycopg.OperationalError:
        return False


def spooled(home: Path) -> dict[str, Any]:
    return dict(json.loads(state_file(home).read_text()))


def unrecorded(gateway: Gateway) -> list[dict[str, Any]]:
    return [body for _, body in gateway.heard if not body["recorded"]]


def require_as_undisturbed(database: str, undisturbed: list[tuple[Any, ...]]) -> None:
    assert query(database, STORED) == [(SENT,)]
    assert query(database, HISTORY) == undisturbed
    cases = "SELECT count(*) FROM alarm LEFT JOIN disposal_case USING (alarm_id) GROUP BY alarm_id"
    assert {count for (count,) in query(database, cases)} == {1}
    eventually(lambda: query(database, "SELECT count(*) FROM outbox") == [(0,)], "all announced")


def require_told_once(gateway: Gateway, undisturbed: list[tuple[Any, ...]]) -> None:
    """Every change was announced as recorded, with its own version, and none twice."""
    told = [(body["id"], body["version"]) for _, body in gateway.heard if body["recorded"]]
    assert len(told) == len(set(told))
    expected = {(str(row[0]), version) for row in undisturbed for version in range(1, row[8] + 1)}
    assert set(told) == expected


def test_a_stopped_database_stops_no_alarm_and_changes_no_history(
    server: EmbeddedPostgres, broker: Broker, home: Path, undisturbed: list[tuple[Any, ...]]
) -> None:
    database = server.conninfo
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.listen("hl/v1/E1/alarm")
        say_and_wait(database, gateway, THIRDS[0], SENT // 3)
        lose(server)
        say_all(gateway, THIRDS[1])
        in_outage = [row for row in undisturbed if ms(row[3]) >= START_MS + 200_000 and not row[7]]
        in_outage = [row for row in in_outage if ms(row[3]) < START_MS + 400_000]
        eventually(
            lambda: (
                len([b for b in unrecorded(gateway) if b["change"] == "raised"]) == len(in_outage)
            ),
            "alarms are heard without the database",
        )
        raised = {body["id"] for body in unrecorded(gateway) if body["change"] == "raised"}
        assert raised == {str(row[0]) for row in in_outage}
        # By data time: what was recorded before may still be on its way to the gateway.
        since = rfc3339(utc((START_MS + 200_000) * 1_000))
        told = [body for _, body in gateway.heard if body["changed_at"] >= since]
        assert told
        assert all(not body["recorded"] and body["version"] is None for body in told)
        eventually(lambda: spooled(home)["asides"] >= 1, "late readings are kept aside")
        assert spooled(home)["away"]
        bring_back(server)
        eventually(lambda: query(database, STORED) == [(2 * SENT // 3,)], "the spool is drained")
        say_and_wait(database, gateway, THIRDS[2], SENT)
        require_as_undisturbed(database, undisturbed)
        require_told_once(gateway, undisturbed)
        eventually(lambda: spooled(home)["works"] == 0, "the spool is empty")
        repeats = query(database, "SELECT sum(readings) FROM dead_letter WHERE reason='duplicate'")
        assert repeats == [(TOLD_AGAIN,)]


def ms(instant: Any) -> int:
    return round(instant.timestamp() * 1000)


@contextmanager
def frozen(server: EmbeddedPostgres, name: str) -> Iterator[None]:
    """The backend of that connection does not answer any more."""
    ((pid,),) = query(
        server.conninfo,
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s",
        [f"hazardloop-{name}"],
    )
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_backend_that_hangs_is_given_up_and_what_it_does_later_doubles_nothing(
    server: EmbeddedPostgres, broker: Broker, home: Path, undisturbed: list[tuple[Any, ...]]
) -> None:
    database = server.conninfo
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.listen("hl/v1/E1/alarm")
        say_and_wait(database, gateway, THIRDS[0], SENT // 3)
        with frozen(server, "worker-keep"):
            say(gateway, THIRDS[1][:20])
            eventually(lambda: "work goes to the spool" in log_of(home), "it is given up")
            say_all(gateway, THIRDS[1][20:])
            eventually(lambda: unrecorded(gateway), "alarms are heard meanwhile")
        eventually(lambda: query(database, STORED) == [(2 * SENT // 3,)], "drained")
        say_and_wait(database, gateway, THIRDS[2], SENT)
        require_as_undisturbed(database, undisturbed)
        require_told_once(gateway, undisturbed)


def log_of(home: Path) -> str:
    return (home / "worker.log").read_text()


def test_a_worker_killed_in_the_outage_and_while_it_drains_loses_and_doubles_nothing(
    server: EmbeddedPostgres, broker: Broker, home: Path, undisturbed: list[tuple[Any, ...]]
) -> None:
    database, chance = server.conninfo, random.Random(11)
    with ExitStack() as stack:
        with at_work(database, broker, home) as worker:
            gateway = stack.enter_context(gateway_at(broker))
            say_and_wait(database, gateway, THIRDS[0], SENT // 3)
            lose(server)
            say_all(gateway, THIRDS[1])
            eventually(lambda: spooled(home)["asides"] >= 1, "spooled")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        bring_back(server)
        for _life in range(6):  # some of them end before, some while, and some after it drains
            with worlds.process(
                "worker", home, database_url=database, mqtt_url=broker.url, batch_ms=20
            ) as worker:
                time.sleep(chance.uniform(0.8, 2.2))
                worker.send_signal(signal.SIGKILL)
                worker.wait()
        with at_work(database, broker, home):
            say_and_wait(database, gateway, THIRDS[2], SENT)
            eventually(lambda: spooled(home)["asides"] == 0, "all is judged")
            require_as_undisturbed(database, undisturbed)


def test_a_worker_killed_twice_in_the_outage_goes_on_raising_alarms(
    server: EmbeddedPostgres,
    broker: Broker,
    home: Path,
    free_port: int,
    undisturbed: list[tuple[Any, ...]],
) -> None:
    database, part = server.conninfo, THIRDS[1]
    in_outage = [row for row in undisturbed if ms(row[3]) >= START_MS + 200_000 and not row[7]]
    in_outage = [row for row in in_outage if ms(row[3]) < START_MS + 400_000]
    api = worlds.process("api", home, database_url=database, api_port=free_port)
    with ExitStack() as stack, gateway_at(broker) as gateway, api:
        gateway.listen("hl/v1/E1/alarm")
        with at_work(database, broker, home) as worker:
            say_and_wait(database, gateway, THIRDS[0], SENT // 3)
            eventually(lambda: readiness(free_port).get("ready"), "all is ready")
            lose(server)
            for life, piece in enumerate((part[:60], part[60:120], part[120:])):
                told = len(unrecorded(gateway))
                say_all(gateway, piece)
                eventually(lambda: len(unrecorded(gateway)) > told, "an alarm is heard")  # noqa: B023
                if life == 2:
                    break
                eventually(
                    lambda: log_of(home).count("INFO worker snapshot ") > life,  # noqa: B023
                    "a snapshot stands",
                )
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                worker = stack.enter_context(worker_in(database, broker, home))
                eventually(
                    lambda: log_of(home).count("started from the snapshot") == life + 1,  # noqa: B023
                    "it works without the database",
                )
        eventually(
            lambda: (
                {body["id"] for body in unrecorded(gateway) if body["change"] == "raised"}
                == {str(row[0]) for row in in_outage}
            ),
            "every alarm of the outage is heard",
        )
        assert [file.stat().st_mode & 0o777 for file in snapshots_of(home)] == [0o600]
        assert re.search(r"started from the snapshot of [-0-9: ]+, database away", log_of(home))
        parts = readiness(free_port)["parts"]
        assert parts["database"] == "does not answer: start PostgreSQL"
        assert re.fullmatch(
            r"ok: alarms go out unrecorded; started from the snapshot of [-0-9: ]+, database away",
            parts["worker"],
        )
        assert re.match(r"ok: \d+ readings wait to be recorded", parts["spool"])
        bring_back(server)
        eventually(lambda: readiness(free_port).get("ready"), "all is ready again")
        eventually(lambda: "the database confirms the snapshot" in log_of(home), "confirmed", 60)
        say_and_wait(database, gateway, THIRDS[2], SENT)
        require_as_undisturbed(database, undisturbed)
        assert snapshots_of(home) == []


def test_a_worker_killed_before_the_outage_brought_any_message_goes_by_what_it_knew(
    server: EmbeddedPostgres, broker: Broker, home: Path
) -> None:
    database, at = server.conninfo, now_ms()
    ahead = at + 100_000  # a delay that the clock does not end meanwhile
    with ExitStack() as stack, gateway_at(broker) as gateway:
        gateway.listen("hl/v1/E1/alarm")
        with at_work(database, broker, home) as worker:
            gateway.read({"GD-0.lel": 60}, at)
            gateway.read({"GD-1.fault": True}, ahead)
            eventually(lambda: query(database, STORED) == [(2,)], "stored")
            eventually(lambda: len(gateway.heard) == 1, "the gas alarm is heard")
            lose(server)
            eventually(lambda: spooled(home)["snapshot"], "it knows that it is alone")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        stack.enter_context(worker_in(database, broker, home))
        eventually(lambda: "started from the snapshot" in log_of(home), "it works by itself")
        gateway.read({"GD-0.lel": 61}, at + 1_000)  # is no second alarm
        gateway.read({"GD-1.fault": True}, ahead + 6_000)
        gateway.read({"GD-0.lel": 5}, at + 2_000)
        gateway.read({"GD-0.lel": 5}, at + 60_000)
        eventually(lambda: len(unrecorded(gateway)) >= 2, "what follows is heard")
        bring_back(server)
        eventually(lambda: query(database, STORED) == [(6,)], "all is recorded")
        eventually(lambda: "the database confirms the snapshot" in log_of(home), "confirmed")
        eventually(lambda: snapshots_of(home) == [], "and none stands any more")
    ((gas, _), (fault, due)) = query(
        database,
        "SELECT alarm_id::text, raised_at FROM alarm WHERE rule_id LIKE 'gas_detector%'"
        " ORDER BY raised_at",
    )
    assert ms(due) == ahead + 5_000
    told = {(body["id"], body["change"]) for body in unrecorded(gateway)}
    assert told == {(gas, "cleared"), (fault, "raised")}


async def withhold(database: str, points: Mapping[str, int]) -> None:
    """GD-0 out of service, GD-1 and GD-2 shelved; of GD-2 the next in its hazard unit speaks."""
    now, operator = datetime.now(UTC), Actor("li", "李四", Role.OPERATOR)
    until = now + timedelta(minutes=50)
    async with await connect(database, "test") as connection, connection.transaction():
        found = await connection.execute("SELECT code, device_id FROM device")
        device = dict(await found.fetchall())
        await hold_store.ask(
            connection, Wish(Hold.OUT_OF_SERVICE, Tier.ORANGE, until, "检修"),
            Scope(1, device["GD-0"]), Permit("P-1", "王五", "便携仪"), operator, now,
        )  # fmt: skip
        for code in ("GD-1", "GD-2"):
            scope = Scope(1, device[code], points[f"{code}.lel"], "gas_detector.lel.high")
            wish = Wish(Hold.SHELVED, Tier.ORANGE, until, "抖动")
            await hold_store.ask(connection, wish, scope, Permit(), operator, now)
        await connection.execute(
            "INSERT INTO hazard_unit (enterprise_id, code, name) VALUES (1, 'HU-1', 'one')"
        )
        await connection.execute(
            "UPDATE device SET hazard_unit_id = (SELECT hazard_unit_id FROM hazard_unit)"
            " WHERE code IN ('GD-2', 'GD-3')"
        )


def test_what_withholds_alarms_withholds_them_without_the_database_too(
    server: EmbeddedPostgres, broker: Broker, home: Path
) -> None:
    database, at = server.conninfo, now_ms()
    points = {f"GD-{n}.lel": point for n, point in enumerate(points_of(database, "lel"))}

    def said(code: str) -> Any:
        return [b["withheld"] for b in unrecorded(gateway) if b["point"] == f"{code}.lel"]

    with ExitStack() as stack, gateway_at(broker) as gateway:
        gateway.listen("hl/v1/E1/alarm")
        with at_work(database, broker, home) as worker:
            asyncio.run(withhold(database, points))
            eventually(lambda: "holds followed holds=3" in log_of(home), "the worker knows")
            lose(server)
            eventually(lambda: spooled(home)["snapshot"], "it knows that it is alone")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        stack.enter_context(worker_in(database, broker, home))
        gateway.read({"GD-0.lel": 60, "GD-1.lel": 30, "GD-3.lel": 30, "GD-4.lel": 60}, at)
        eventually(lambda: len(unrecorded(gateway)) == 4, "all are told")
        assert [said(f"GD-{n}") for n in (0, 1, 3, 4)] == [
            ["out_of_service"], ["shelved"], [None], [None],
        ]  # fmt: skip
        gateway.read({"GD-2.lel": 30}, at + 1)  # GD-3 has confirmed what was shelved here
        eventually(lambda: said("GD-2") == [None], "a shelf that was overtaken withholds nothing")
        bring_back(server)
        eventually(lambda: query(database, STORED) == [(5,)], "all is recorded")
        recorded = [(code, kind) for code, kind in query(database, WITHHELD)]
        assert recorded == [("GD-0", "out_of_service"), ("GD-1", "shelved")]


WITHHELD = """
    SELECT device.code, alarm_hold.kind FROM alarm JOIN alarm_hold USING (hold_id)
           JOIN device ON device.device_id = alarm.device_id ORDER BY code"""


def points_of(database: str, quantity: str) -> list[int]:
    """Ids by the codes of the devices."""
    which = "SELECT point_id FROM point JOIN device USING (device_id) WHERE quantity = %s"
    return [point_id for (point_id,) in query(database, which + " ORDER BY code", [quantity])]


def readiness(port: int) -> dict[str, Any]:
    """What /readyz answers; empty while nobody does."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return dict(json.load(answer))
    except HTTPError as error:
        return dict(json.load(error))
    except URLError:
        return {}


def snapshots_of(home: Path) -> list[Path]:
    return list((home / "worker").glob("known-*.snapshot"))


@contextmanager
def worker_in(database: str, broker: Broker, home: Path) -> Iterator[Any]:
    with worlds.process(
        "worker", home, database_url=database, mqtt_url=broker.url, batch_ms=20
    ) as worker:
        yield worker


def test_what_cannot_be_read_is_put_aside_and_told_and_holds_nothing_up(
    server: EmbeddedPostgres, broker: Broker, home: Path
) -> None:
    database, at = server.conninfo, now_ms() - 60_000
    with gateway_at(broker) as gateway:
        with at_work(database, broker, home, batch_ms=20) as worker:
            gateway.read({"GD-1.lel": 5}, at)
            eventually(lambda: query(database, STORED) == [(1,)], "stored")
            lose(server)
            for nth in range(1, 6):
                gateway.read({"GD-1.lel": 5, "GD-2.lel": 6}, at + nth)
                eventually(lambda: spooled(home)["readings"] >= 2 * nth, "spooled")  # noqa: B023
            gateway.read({"GD-1.lel": 5}, at - 500)
            eventually(lambda: spooled(home)["asides"] == 1, "kept aside")
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        lost = damaged(home)
        bring_back(server)
        with at_work(database, broker, home):
            eventually(lambda: query(database, STORED) == [(11 - lost,)], "the others are stored")
            beat = "SELECT detail->>'spool' FROM process_heartbeat WHERE role = 'worker'"
            said = "ok: 2 refused by the database"
            eventually(lambda: (said,) in query(database, beat), "it says what was refused")
            gateway.read({"GD-1.lel": 5}, at + 10)
            eventually(lambda: query(database, STORED) == [(12 - lost,)], "it goes on")
    assert log_of(home).count("ERROR worker spooled work refused") == 2
    with closing(sqlite3.connect(spool_file(home))) as spool:
        kept = spool.execute("SELECT queue, body, why FROM refused ORDER BY queue").fetchall()
    assert [(queue, body) for queue, body, _why in kept] == [("asides", HARM), ("works", HARM)]
    assert all(why for _queue, _body, why in kept)


HARM = b"\xc1 no message pack"


def damaged(home: Path) -> int:
    """How many readings a work had that is damaged now; so is a piece kept aside."""
    with closing(sqlite3.connect(spool_file(home))) as spool, spool:
        ((position, readings),) = spool.execute(
            "SELECT position, readings FROM works WHERE readings > 0 LIMIT 1 OFFSET 1"
        )
        spool.execute("UPDATE works SET body = ? WHERE position = ?", [HARM, position])
        spool.execute("UPDATE asides SET body = ?", [HARM])
    return int(readings)


def test_a_worker_that_is_to_stop_in_an_outage_leaves_a_filled_spool(
    server: EmbeddedPostgres, broker: Broker, home: Path, undisturbed: list[tuple[Any, ...]]
) -> None:
    database = server.conninfo
    with gateway_at(broker) as gateway:
        with at_work(database, broker, home) as worker:
            say_and_wait(database, gateway, THIRDS[0], SENT // 3)
            lose(server)
            say_all(gateway, THIRDS[1])
            eventually(lambda: spooled(home)["asides"] >= 1, "spooled")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        bring_back(server)
        with at_work(database, broker, home):
            say_and_wait(database, gateway, THIRDS[2], SENT)
            require_as_undisturbed(database, undisturbed)
