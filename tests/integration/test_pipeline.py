"""Broker to alarms with a real broker, a real database and a worker that is a process."""

import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests import worlds
from tests.brokers import Broker, mosquitto, nats
from tests.worlds import STORED, eventually, query


class Gateway:
    """A stock MQTT client that publishes as a gateway, and hears what comes down."""

    def __init__(self, broker: Broker, name: str = "gateway") -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.confirmed = 0
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name)
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            (message.topic, json.loads(message.payload))
        )
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def listen(self, topic: str) -> None:
        granted: list[object] = []
        self._client.on_subscribe = lambda *_: granted.append(1)
        self._client.subscribe(topic, 1)
        eventually(lambda: granted, f"subscribed to {topic}")

    def say(self, topic: str, payload: bytes | dict[str, Any] | list[Any]) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(f"hl/v1/{topic}", body, qos=1).wait_for_publish(30)
        self.confirmed += 1

    def read(self, values: dict[str, Any], ts: int | None = None, gateway: str = "E1/G1") -> None:
        self.say(f"{gateway}/telemetry", {"ts": ts or now_ms(), "values": values})

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


_last_ms = 0


def now_ms() -> int:
    """The time, and later than at the last asking: no two readings at one instant by accident."""
    global _last_ms
    _last_ms = max(_last_ms + 1, time.time_ns() // 1_000_000)
    return _last_ms


@contextmanager
def gateway_at(broker: Broker, name: str = "gateway") -> Iterator[Gateway]:
    gateway = Gateway(broker, name)
    try:
        yield gateway
    finally:
        gateway.close()


def subscribed(database: str) -> bool:
    return bool(
        query(
            database,
            "SELECT FROM process_heartbeat WHERE role = 'worker'"
            " AND detail->>'broker' = 'connected' AND beat_at > now() - interval '2 s'",
        )
    )


@contextmanager
def at_work(database: str, broker: Broker, home: Path, **settings: object) -> Iterator[Any]:
    """A worker that has subscribed."""
    query(database, "DELETE FROM process_heartbeat RETURNING 1")
    with worlds.process(
        "worker", home, database_url=database, mqtt_url=broker.url, **settings
    ) as worker:
        eventually(lambda: subscribed(database) or worker.poll() is not None, "worker subscribed")
        assert worker.poll() is None, (home / "worker.log").read_text()
        yield worker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as running:
        yield running


def alarms(database: str) -> list[tuple[Any, ...]]:
    return query(
        database,
        "SELECT d.code || '.' || p.quantity, a.tier, a.tier_now, a.version"
        "  FROM alarm a JOIN point p USING (point_id) JOIN device d ON d.device_id = p.device_id"
        " ORDER BY 1",
    )


def test_readings_become_alarms_that_are_announced_and_charged_to_both_sides(
    database: str, broker: Broker, home: Path
) -> None:
    worlds.register(database)
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.listen("hl/v1/E1/alarm")
        gateway.read({"GD-1.lel": 12.5, "TK-1.level": 5})
        gateway.read({"GD-1.lel": 60})
        gateway.read({"SD-1.smoke": True})
        gateway.say("E1/G1/event", {"ts": now_ms(), "device": "EL-1", "event": "entrapment"})
        heard = eventually(lambda: len(gateway.heard) >= 3 and gateway.heard, "three alarms")
        assert {(body["point"], body["change"], body["tier"]) for _, body in heard} == {
            ("GD-1.lel", "raised", "orange"),
            ("SD-1.smoke", "raised", "red"),
            ("EL-1.entrapment", "raised", "red"),
        }
        gateway.read({"SD-1.smoke": False})
        eventually(lambda: len(gateway.heard) == 4, "the smoke is gone")
        assert gateway.heard[3][1]["change"] == "cleared"
    assert alarms(database) == [
        ("EL-1.entrapment", 4, 4, 1),
        ("GD-1.lel", 3, 3, 1),
        ("SD-1.smoke", 4, 0, 2),
    ]
    cases = query(
        database,
        "SELECT stage, count(*), count(DISTINCT dispatched_at) FROM disposal_case"
        " JOIN assignment USING (case_id) GROUP BY case_id, stage",
    )
    assert cases == [("dispatched", 2, 1)] * 3
    assert query(database, "SELECT count(*) FROM outbox") == [(0,)]
    assert query(database, STORED) == [(6,)]


def test_bad_input_has_its_reason_and_costs_its_neighbours_nothing(
    database: str, broker: Broker, home: Path
) -> None:
    worlds.register(database)
    worlds.register(database, {"GD-9": "gas_detector"}, enterprise="E2", gateway="G2")
    now = now_ms()
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.listen("hl/v1/E1/G1/reject")
        gateway.say("E1/G1/telemetry", b"not json")
        gateway.say("E1/G1/telemetry", b'{"values": 3}')
        gateway.say("E1/G1/telemetry", b" " * (300 * 1024))
        gateway.say("E1/G1/telemetry", b"x" * (900 * 1024))
        gateway.say("E1/GX/telemetry", {"values": {}})
        gateway.say("E2/G1/telemetry", {"values": {}})
        gateway.read({"GD-9.lel": 1, "GD-1.lel": 2, "XX-1.lel": 3}, now)
        gateway.read({"GD-1.lel": "12"}, now + 1)
        gateway.read({"GD-1.lel": None}, now + 2)
        gateway.read({"GD-1.lel": 500}, now + 3)
        gateway.read({"GD-1.lel": 1}, now + 600_000)
        gateway.read({"GD-1.lel": 1}, now - 40 * 86_400_000)
        gateway.read({"GD-1.lel": 2}, now)
        gateway.read({"GD-1.lel": 4}, now - 1)
        gateway.read({"GD-1.lel": 5}, now + 4)
        eventually(
            lambda: query(database, "SELECT FROM reading WHERE value = 5"), "the last one is stored"
        )
        eventually(lambda: gateway.heard, "the gateway was told")
    reasons = query(database, "SELECT reason, count(*) FROM dead_letter GROUP BY 1 ORDER BY 1")
    assert dict(reasons) == {
        "bad_shape": 3, "duplicate": 1, "future_ts": 1, "not_json": 1, "out_of_range": 1,
        "too_large": 2, "too_old": 1, "unknown_gateway": 1, "unknown_point": 1,
        "wrong_enterprise": 2,
    }  # fmt: skip
    stored = query(
        database,
        "SELECT (extract(epoch FROM observed_at) * 1000)::bigint - %s, value::text, quality"
        "  FROM reading JOIN point USING (point_id) JOIN device USING (device_id)"
        " WHERE NOT internal ORDER BY 1",
        [now],
    )
    assert stored == [
        (-1, "4", 32),
        (0, "2", 0),
        (2, "NaN", 1),
        (3, "500", 2),
        (4, "5", 0),
    ]
    note = gateway.heard[0][1]
    assert (note["reason"], note["topic"]) == ("not_json", "hl/v1/E1/G1/telemetry")


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_killing_the_worker_again_and_again_loses_and_doubles_nothing(
    database: str, tmp_path: Path, home: Path, kind: str
) -> None:
    devices = {f"GD-{n}": "gas_detector" for n in range(20)}
    worlds.register(database, devices)
    chance = random.Random(7)
    start = now_ms() - 60_000
    sent = 0
    folder = tmp_path / "broker"
    folder.mkdir()
    with ExitStack() as stack:
        running = stack.enter_context(
            mosquitto(folder) if kind == "mosquitto" else nats(folder, ack_wait_s=2, sync="1s")
        )
        # Long enough for NATS to redeliver twice meanwhile: repeats among what is gathered, too.
        settle_s = 0 if kind == "mosquitto" else 5
        gateway = None
        for _life in range(4):
            with at_work(database, running, home, settle_s=settle_s, batch_ms=20) as worker:
                gateway = gateway or stack.enter_context(gateway_at(running))
                for _message in range(chance.randint(150, 300)):
                    # Each detector goes up through both limits and down again, over and over.
                    device, lap = sent % 20, sent // 20
                    level = [5, 30, 60, 30, 5, 5][lap % 6]
                    gateway.read({f"GD-{device}.lel": level}, start + lap * 200 + device)
                    sent += 1
                worker.send_signal(signal.SIGKILL)
                worker.wait()
        with at_work(database, running, home, settle_s=settle_s):
            eventually(
                lambda: query(database, STORED) == [(sent,)],
                f"{sent} readings stored",
                60,
            )
    assert sent >= 600
    assert query(database, STORED) == [(sent,)]
    open_twice = query(
        database,
        "SELECT point_id FROM alarm a JOIN alarm b USING (point_id, rule_id)"
        " WHERE a.alarm_id < b.alarm_id AND tstzrange(a.raised_at, a.cleared_at)"
        " && tstzrange(b.raised_at, b.cleared_at)",
    )
    assert open_twice == []
    told = query(
        database,
        "SELECT a.alarm_id FROM alarm a LEFT JOIN disposal_case c USING (alarm_id)"
        " GROUP BY a.alarm_id HAVING count(c.case_id) <> 1",
    )
    assert told == []
    assert undisturbed(database) == recorded(database)


def recorded(database: str) -> list[tuple[Any, ...]]:
    return query(
        database,
        "SELECT point_id, raised_at, cleared_at, tier FROM alarm WHERE rule_id LIKE '%lel.high'"
        " ORDER BY 1, 2",
    )


def undisturbed(database: str) -> list[tuple[Any, ...]]:
    """The alarms that the stored readings must have given: 25 and 50 %LEL, 10 s to clear."""
    expected: list[tuple[Any, ...]] = []
    readings = query(
        database, "SELECT point_id, observed_at, value FROM reading ORDER BY point_id, observed_at"
    )
    state: dict[int, list[Any]] = {}
    for point_id, at, value in readings:
        if value >= 25 and point_id not in state:
            state[point_id] = [at, 0]
        if point_id in state:
            state[point_id][1] = max(state[point_id][1], 3 if value >= 50 else 2)
    expected = [(point_id, at, None, tier) for point_id, (at, tier) in sorted(state.items())]
    return expected


def test_messages_without_a_time_of_their_own_are_told_apart(
    database: str, broker: Broker, home: Path
) -> None:
    worlds.register(database)
    levels = [5, 60, *range(40)]
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        for level in levels:
            gateway.say("E1/G1/telemetry", {"values": {"GD-1.lel": level}})
        count = STORED
        eventually(lambda: query(database, count) == [(len(levels),)], "every one is stored")
    stored = query(
        database,
        "SELECT value FROM reading JOIN point USING (point_id) WHERE quantity = 'lel'"
        " ORDER BY observed_at",
    )
    assert [value for (value,) in stored] == levels
    assert [(point, tier) for point, tier, *_ in alarms(database)] == [("GD-1.lel", 3)]


def test_a_worker_that_is_to_stop_while_the_database_is_away_stops_and_loses_nothing(
    database: str, broker: Broker, home: Path
) -> None:
    worlds.register(database)
    server = make_conninfo(database, dbname="postgres")
    name = conninfo_to_dict(database)["dbname"]
    with gateway_at(broker) as gateway:
        with (
            at_work(database, broker, home) as worker,
            psycopg.connect(server, autocommit=True) as connection,
        ):
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [name],
            )
            gateway.read({"GD-1.lel": 60})
            eventually(
                lambda: "database away" in (home / "worker.log").read_text(), "it has noticed"
            )
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert query(database, STORED) == [(0,)]
        with at_work(database, broker, home):
            eventually(lambda: alarms(database) == [("GD-1.lel", 3, 3, 1)], "the alarm is raised")
