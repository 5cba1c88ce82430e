"""The balance with a real worker, broker and database, through kills and outages."""

import json
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hazardloop.ingest import balance_store
from hazardloop.ingest.balance import TALLIED
from hazardloop.service.balance_chores import days_in
from hazardloop.service.database import connect
from tests import worlds
from tests.brokers import Broker, mosquitto
from tests.integration.test_pipeline import at_work
from tests.worlds import eventually, query

WAITING = "SELECT FROM dead_letter_retry WHERE done_at IS NULL"


class Numbering:
    """A stock MQTT client that numbers what it publishes, with some of the faults of the field."""

    def __init__(self, broker: Broker, gateway: str, seed: int) -> None:
        self.topic = f"hl/v1/E-{gateway}/{gateway}/telemetry"
        self.device = f"GD-{gateway}"
        self.chance = random.Random(seed)
        self.next_number = self.chance.choice([0, 1, 7_000])
        self.ts_ms = time.time_ns() // 1_000_000 - 3_600_000
        self.sent = {"numbers": 0, "duplicate": 0, "rejected": 0, "missing": 0}
        self._held: bytes | None = None
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=gateway)
        self._client.max_inflight_messages_set(50)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._last: Any = None

    def publish(self, payload: bytes) -> None:
        self._last = self._client.publish(self.topic, payload, qos=1)

    def message(self, code: str | None = None, level: int | None = None) -> bytes:
        """The next message; of a strange point where `code` is one."""
        self.ts_ms += 10
        if level is None:
            level = self.chance.randint(0, 20)
        values = {code or f"{self.device}.lel": level}
        body = {"ts": self.ts_ms, "seq": self.next_number, "values": values}
        self.next_number += 1
        self.sent["numbers"] += 1
        return json.dumps(body).encode()

    def report(self) -> None:
        """One more message, or what a fault makes of it."""
        what = self.chance.random() if self.sent["numbers"] else 1.0  # nobody misses a first one
        if what < 0.04:
            self.sent["missing"] += 1
            self.message()  # lost on its way
        elif what < 0.08:
            self.sent["rejected"] += 1
            self.publish(self.message("XX-1.lel"))
        elif what < 0.10:
            self.sent["rejected"] += 1
            self.publish(self.message()[:-9])  # cut off
        elif what < 0.15 and self._held is None:
            self._held = self.message()  # overtaken by the next
            return
        else:
            self.publish(self.message())
        if self._held is not None:
            self.publish(self._held)
            self._held = None

    def end(self) -> None:
        """One last good message: what is missing shows by the number after it."""
        for _ in range(2):
            self.publish(self.message())
        if self._held is not None:
            self.publish(self._held)
        self._last.wait_for_publish(30)
        self._client.disconnect()
        self._client.loop_stop()

    def repeat(self) -> None:
        """The same message twice."""
        payload = self.message()
        self.publish(payload)
        self.publish(payload)
        self.sent["duplicate"] += 1


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as running:
        yield running


async def fold(database: str) -> None:
    async with await connect(database, "test") as connection:
        while await balance_store.fold(connection, days_in("Asia/Shanghai"), 0):
            pass


def booked(database: str, gateway: str) -> dict[str, int]:
    sums = ", ".join(f"sum({name})::int" for name in ("sent", *TALLIED))
    rows = query(
        database,
        f"SELECT {sums} FROM balance_minute JOIN gateway USING (gateway_id) WHERE code = %s",
        [gateway],
    )
    return dict(zip(("sent", *TALLIED), rows[0], strict=True))


def register(database: str, *gateways: str) -> None:
    for name in gateways:
        devices = {f"GD-{name}": "gas_detector"}
        worlds.register(database, devices, enterprise=f"E-{name}", gateway=name)


def add_detector(database: str, gateway: str, code: str) -> None:
    """The registry corrected: the gateway has that detector, too."""
    query(
        database,
        "WITH d AS (INSERT INTO device (enterprise_id, gateway_id, code, kind)"
        " SELECT enterprise_id, gateway_id, %s, 'gas_detector' FROM gateway WHERE code = %s"
        " RETURNING device_id, enterprise_id)"
        " INSERT INTO point (device_id, enterprise_id, quantity, unit)"
        " SELECT device_id, enterprise_id, 'lel', '%%{LEL}' FROM d RETURNING 1",
        [code, gateway],
    )


def has_read(log: Path, revision: int) -> bool:
    """Whether the worker has read the registry at that revision."""
    return bool(re.search(rf"registry followed.*revision\W+{revision}\b", log.read_text()))


def readings(database: str) -> int:
    return int(query(database, worlds.STORED)[0][0])


async def test_what_gateways_sent_is_accounted_for_through_kills_and_outages(
    database: str, broker: Broker, home: Path
) -> None:
    names = ["G1", "G2", "G3"]
    register(database, *names)
    server = make_conninfo(database, dbname="postgres")
    chance = random.Random(3)
    gateways: list[Numbering] = []
    for life in range(5):
        with at_work(database, broker, home, batch_ms=20) as worker:
            gateways = gateways or [Numbering(broker, name, nth) for nth, name in enumerate(names)]
            for _ in range(chance.randint(150, 300)):
                for gateway in gateways:
                    gateway.report()
            if life == 2:
                put_away(server, conninfo_to_dict(database)["dbname"], gateways)
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        if life == 3:
            await fold(database)
    for gateway in gateways:
        gateway.end()
    wanted = sum(g.sent["numbers"] - g.sent["missing"] - g.sent["rejected"] for g in gateways)
    with at_work(database, broker, home):
        eventually(lambda: readings(database) >= wanted, f"{wanted} readings stored")
    await fold(database)
    assert readings(database) == wanted >= 1_500
    for name, gateway in zip(names, gateways, strict=True):
        found, sent = booked(database, name), gateway.sent
        assert found["sent"] == found["numbers"] == sent["numbers"]
        assert found["missing"] == sent["missing"]
        assert found["rejected"] == sent["rejected"]
        assert found["stored"] == sent["numbers"] - sent["missing"] - sent["rejected"]
        assert found["duplicate"] == found["repeated"] == 0
    refused = sum(gateway.sent["rejected"] for gateway in gateways)
    assert query(database, "SELECT count(*) FROM dead_letter") == [(refused,)]
    assert query(database, "SELECT sum(sent)::int FROM balance_day") == [
        (sum(gateway.sent["numbers"] for gateway in gateways),)
    ]


def put_away(server: str, name: Any, gateways: list[Numbering]) -> None:
    """The database refuses everybody for a while, in which the gateways go on."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        for _ in range(100):
            for gateway in gateways:
                gateway.report()
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def test_what_was_stored_and_not_acknowledged_is_redelivered_and_sent_once(
    database: str, broker: Broker, home: Path
) -> None:
    register(database, "G1")
    gateway = Numbering(broker, "G1", 1)
    with at_work(database, broker, home) as worker:
        with psycopg.connect(database) as connection:
            connection.execute("LOCK TABLE reading IN SHARE MODE")
            for nth in range(20):
                # The first raises an alarm, which is announced before anything is acknowledged.
                gateway.publish(gateway.message("XX-1.lel" if nth == 7 else None, nth or 60))
            gateway.end()
            waits = "SELECT FROM pg_locks WHERE NOT granted"
            eventually(lambda: query(database, waits), "the worker waits to store them")
            broker.freeze()
        eventually(lambda: readings(database) == 21, "all is stored")
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    broker.thaw()
    with at_work(database, broker, home):
        last = Numbering(broker, "G1", 1)
        last.next_number = gateway.next_number
        last.end()
        eventually(lambda: readings(database) == 23, "and what comes after it")
    await fold(database)
    found = booked(database, "G1")
    assert 0 < found["redelivered"] <= 22
    assert (found["sent"], found["numbers"], found["stored"]) == (24, 24, 23)
    assert (found["rejected"], found["duplicate"], found["missing"]) == (1, 0, 0)
    assert query(database, "SELECT count(*) FROM dead_letter") == [(1,)]


async def test_repeats_restarts_and_messages_without_a_number(
    database: str, broker: Broker, home: Path
) -> None:
    register(database, "G1")
    gateway = Numbering(broker, "G1", 1)
    with at_work(database, broker, home):
        for _ in range(30):
            gateway.repeat()
        gateway.next_number = 0  # the gateway started anew
        for _ in range(10):
            gateway.publish(gateway.message())
        gateway.publish(b"\xff\xfe")
        gateway.publish(b'{"values": {"GD-G1.lel": 3}}')
        gateway.end()
        eventually(lambda: readings(database) == 43, "all is stored")
    await fold(database)
    found = booked(database, "G1")
    assert (found["sent"], found["numbers"], found["repeated"]) == (72, 42, 30)
    assert (found["stored"], found["duplicate"], found["rejected"]) == (42, 30, 0)
    assert (found["missing"], found["unnumbered_rejected"], found["unnumbered_stored"]) == (0, 1, 1)


async def test_a_letter_asked_for_goes_the_worker_s_way_and_is_stored_once(
    database: str, broker: Broker, home: Path
) -> None:
    register(database, "G1")
    gateway = Numbering(broker, "G1", 1)
    with at_work(database, broker, home):
        for _ in range(3):
            gateway.publish(gateway.message("GD-NEW.lel"))
        gateway.publish(b"not json")
        gateway.end()
        letters = "SELECT dead_letter_id FROM dead_letter ORDER BY 1"
        eventually(lambda: len(query(database, letters)) == 4, "four are set aside")
        query(
            database,
            "INSERT INTO user_account (username, display_name, role, password_hash)"
            " VALUES ('duty', '', 'supervisor', '') RETURNING 1",
        )
        add_detector(database, "G1", "GD-NEW")
        (revision,) = query(database, "SELECT revision FROM registry_revision")[0]
        eventually(lambda: has_read(home / "worker.log", revision), "the worker knows of it")
        for _ in range(2):  # twice is harmless
            query(
                database,
                "INSERT INTO dead_letter_retry (dead_letter_id, asked_by)"
                " SELECT dead_letter_id, 1 FROM dead_letter RETURNING 1",
            )
            eventually(lambda: not query(database, WAITING), "a worker took them")
    told = query(
        database,
        "SELECT stored, duplicates, reason FROM dead_letter_retry ORDER BY retry_id",
    )
    assert told == [(1, 0, None)] * 3 + [(0, 0, "not_json")] + [(0, 1, None)] * 3 + [
        (0, 0, "not_json")
    ]
    assert len(query(database, letters)) == 4
    late = query(
        database,
        "SELECT r.quality, r.received_at = l.received_at FROM reading r JOIN point USING (point_id)"
        " JOIN device d USING (device_id) JOIN dead_letter l USING (received_at)"
        " WHERE d.code = 'GD-NEW'",
    )
    assert late == [(64, True)] * 3


def test_a_broken_gateway_leaves_a_bounded_number_of_letters_and_an_exact_count(
    database: str, broker: Broker, home: Path
) -> None:
    register(database, "G1")
    gateway = Numbering(broker, "G1", 1)
    with at_work(database, broker, home, dead_letters_per_minute=5):
        for _ in range(400):
            gateway.publish(b"broken")
        gateway.end()
        eventually(
            lambda: query(database, "SELECT sum(messages)::int FROM dead_letter") == [(400,)],
            "each is counted",
        )
    kept = query(database, "SELECT count(*) FROM dead_letter WHERE NOT counted")[0][0]
    assert 5 <= kept <= 10  # the minute may have turned
    counted = query(
        database, "SELECT messages, payload, detail FROM dead_letter WHERE counted ORDER BY 1"
    )
    assert sum(messages for messages, *_ in counted) == 400 - kept
    assert counted[-1][1:] == (b"", f"and {counted[-1][0]} more in this minute")
