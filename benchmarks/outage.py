"""The database away for minutes under load: counts exactly what came of every message.

Run: python benchmarks/outage.py --minutes 3 --rate 5000
Starts its own Mosquitto, PostgreSQL and worker, publishes single-value messages (QoS 1), stops the
database immediately after 10 s, and starts it again after the minutes. Prints one JSON
object; exit 1 if a reading is missing or doubled, or an alarm was not told meanwhile.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from hazardloop.service.database import migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.spool_state import spool_file, state_file
from tests import worlds
from tests.brokers import mosquitto
from tests.worlds import STORED, eventually, query

DEVICES = {f"GD-{n}": "gas_detector" for n in range(1_000)}
BEFORE_S = AFTER_S = 10.0
RAISE_EACH_S = 10.0
"""So often a detector of its own goes beyond its limit."""
WITHIN_S = 4 * 3600.0


class Load:
    """Publishes at a rate until told to stop, and hears the alarms."""

    def __init__(self, port: int, rate: int) -> None:
        self.rate, self.sent, self.raised, self.late_s = rate, 0, 0, 0.0
        self.heard: list[dict[str, Any]] = []
        self.stop = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="load")
        self._client.max_inflight_messages_set(5_000)
        self._client.on_message = lambda _client, _data, message: self.heard.append(
            json.loads(message.payload)
        )
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("hl/v1/E1/alarm", 1)
        self._client.loop_start()

    def run(self) -> None:
        """Sends; each detector in its turn, and now and then one that raises an alarm."""
        began = time.monotonic()
        start_ms = time.time_ns() // 1_000_000
        raise_at, info = began + RAISE_EACH_S, None
        while not self.stop.is_set():
            due = int((time.monotonic() - began) * self.rate)
            while self.sent < due:
                device = self.sent % (len(DEVICES) - 500)
                info = self._say(f"GD-{device}", 5, start_ms + self.sent * 1000 // self.rate)
            if time.monotonic() >= raise_at:
                raise_at += RAISE_EACH_S
                self._say(f"GD-{999 - self.raised % 500}", 60, start_ms + self.sent)
                self.raised += 1
            self.stop.wait(0.005)
        if info is not None:
            info.wait_for_publish(600)

    def _say(self, device: str, value: float, at_ms: int) -> paho.MQTTMessageInfo:
        body = b'{"ts":%d,"values":{"%s.lel":%g}}' % (at_ms, device.encode(), value)
        while True:
            info = self._client.publish("hl/v1/E1/G1/telemetry", body, qos=1)
            if info.rc is not paho.MQTT_ERR_QUEUE_SIZE:
                self.sent += 1
                return info
            time.sleep(0.01)  # the broker is behind: it, too, gets what it can take

    def close(self) -> None:
        """Leaves the broker."""
        self._client.disconnect()
        self._client.loop_stop()


def campaign(minutes: float, rate: int, home: Path) -> dict[str, Any]:
    """What was counted."""
    server = EmbeddedPostgres(home / "server")
    server.start()
    database = server.conninfo
    asyncio.run(migrate(database))
    worlds.register(database, DEVICES)
    (home / "broker").mkdir()
    log = home / "worker.log"
    try:
        with (
            mosquitto(home / "broker") as broker,
            worlds.process(
                "worker", home / "home", log, database_url=database, mqtt_url=broker.url
            ),
        ):
            eventually(lambda: "subscribed" in log.read_text(), "worker subscribed")
            return _count(minutes, server, Load(broker.port, rate), home / "home")
    finally:
        server.stop()


def _count(minutes: float, server: EmbeddedPostgres, load: Load, home: Path) -> dict[str, Any]:
    sending = threading.Thread(target=load.run)
    sending.start()
    time.sleep(BEFORE_S)
    server.child.send(signal.SIGQUIT)
    eventually(lambda: not server.child.runs(), "the database has stopped")
    lost, raised = time.monotonic(), load.raised
    time.sleep(minutes * 60)
    state = _state(home)
    file_bytes = sum(f.stat().st_size for f in home.rglob("spool.sqlite*"))
    raised = load.raised - raised
    told = {body["id"] for body in load.heard if not body["recorded"]}
    server.launch()
    eventually(lambda: _answers(server.conninfo), "the database is back", 300)
    back = time.monotonic()
    eventually(lambda: _state(home)["works"] == 0, "the spool is empty", WITHIN_S)
    caught_up = time.monotonic() - back
    time.sleep(AFTER_S)
    load.stop.set()
    sending.join()
    stored = _settled(server.conninfo, load.sent)
    alarms = query(server.conninfo, "SELECT count(*) FROM alarm WHERE rule_id LIKE '%lel.high'")
    load.close()
    return {
        "minutes": minutes,
        "rate": load.rate,
        "sent": load.sent,
        "stored": stored,
        "missing": load.sent - stored,
        "away_s": round(back - lost, 1),
        "spooled_readings": state["readings"],
        "spool_bytes_per_reading": round(state["bytes"] / max(1, state["readings"]), 1),
        "file_bytes_per_reading": round(file_bytes / max(1, state["readings"]), 1),
        "catch_up_s": round(caught_up, 1),
        "catch_up_readings_per_s": round((state["readings"] + load.rate * caught_up) / caught_up),
        "alarms_raised_meanwhile": raised,
        "alarms_told_unrecorded": len(told),
        "alarms_sent": load.raised,
        "alarms_recorded": alarms[0][0],
    }


def _settled(conninfo: str, expected: int) -> int:
    """How many readings are stored, once all are or a minute has brought no more."""
    stored, since = -1, time.monotonic()
    while stored != expected and time.monotonic() < since + 60:
        ((now,),) = query(conninfo, STORED)
        if now != stored:
            stored, since = now, time.monotonic()
        time.sleep(1)
    return stored


def _state(home: Path) -> dict[str, Any]:
    assert spool_file(home).exists()
    while True:
        try:
            return dict(json.loads(state_file(home).read_text()))
        except (OSError, ValueError):  # between two of them
            time.sleep(0.05)


def _answers(conninfo: str) -> bool:
    try:
        return bool(query(conninfo, "SELECT 1"))
    except psycopg.OperationalError:
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the counts; 1 where something is missing, doubled or was not told."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--rate", type=int, default=5_000)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="outage-") as folder:
        Path(folder).chmod(0o755)
        counts = campaign(given.minutes, given.rate, Path(folder))
    print(json.dumps(counts))
    exact = counts["missing"] == 0 and counts["alarms_sent"] == counts["alarms_recorded"]
    return (
        0 if exact and counts["alarms_told_unrecorded"] >= counts["alarms_raised_meanwhile"] else 1
    )


if __name__ == "__main__":
    sys.exit(main())
