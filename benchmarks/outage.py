"""The database away for minutes or hours under load: counts exactly what came of every message.

    python benchmarks/outage.py --minutes 60 --rate 5000

Starts its own Mosquitto, PostgreSQL and worker, publishes single-value messages (QoS 1), stops the
database immediately after 10 s, and starts it again after the minutes. Progress goes to standard
error; at the end one JSON object on standard output. Exit 1 if a reading is missing or doubled, or
an alarm was not told live, or was not recorded exactly once.
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.steady import LOUD, District
from hazardloop.service.benches.load import machine
from hazardloop.service.database import migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.spool_state import spool_file, state_file
from tests import worlds
from tests.brokers import HOST, mosquitto
from tests.worlds import eventually, query

BEFORE_S: Final = 10.0
AFTER_S: Final = 10.0
WITHIN_S: Final = 6 * 3600.0
SAY_EACH_S: Final = 30.0

STORED: Final = """
    SELECT d.code, count(*) FROM reading JOIN point USING (point_id) JOIN device d USING (device_id)
     WHERE NOT d.internal GROUP BY 1"""

RECORDED: Final = """
    SELECT d.code, count(DISTINCT alarm_id), count(*)
      FROM alarm a JOIN alarm_change USING (alarm_id) JOIN device d USING (device_id)
     WHERE NOT d.internal GROUP BY 1"""


class Loader:
    """The publisher's process, and how far it says it is."""

    def __init__(self, district: District, port: int, rate: int, raise_each_s: float) -> None:
        asked = asdict(district) | {
            "host": HOST,
            "port": port,
            "rate": rate,
            "raise_each_s": raise_each_s,
        }
        self.told: dict[str, Any] = {}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.steady", json.dumps(asked)],
            cwd=worlds.REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def _hear(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.told = json.loads(line)

    def finish(self) -> dict[str, Any]:
        """What it has said in all, every message confirmed by the broker."""
        assert self._child.stdin is not None
        self._child.stdin.write(b"enough\n")
        self._child.stdin.close()
        if code := self._child.wait(600):
            raise RuntimeError(f"the publisher ended with {code}; see its message above")
        self._hearing.join()
        return self.told

    def abort(self) -> None:
        """Ends it, whatever it has to say yet."""
        self._child.kill()
        self._child.wait()


@dataclass(slots=True)
class Ears:
    """Hears alarms; keeps a few numbers of each."""

    phase: str = "before"
    unrecorded: dict[str, str] = field(default_factory=dict)
    """Id of each alarm heard that the database did not know, and in which phase."""
    recorded: Counter[str] = field(default_factory=Counter)
    """How often each was heard as recorded."""
    late_ms: dict[str, list[float]] = field(default_factory=dict)
    """By phase: from the reading's own time until its alarm was first heard."""

    def hear(self, body: dict[str, Any]) -> None:
        """One announcement; those of the worker about itself do not count."""
        if not body["point"].startswith(LOUD) or body["change"] != "raised":
            return
        name = body["id"]
        if name not in self.unrecorded and name not in self.recorded:
            took = time.time() - datetime.fromisoformat(body["raised_at"]).timestamp()
            self.late_ms.setdefault(self.phase, []).append(1e3 * took)
        if body["recorded"]:
            self.recorded[name] += 1
        else:
            self.unrecorded.setdefault(name, self.phase)

    def late(self) -> dict[str, dict[str, float]]:
        """Median, 99th percentile and worst of each phase."""
        return {phase: _spread(sorted(took)) for phase, took in self.late_ms.items()}


def _spread(took: list[float]) -> dict[str, float]:
    at = {"p50_ms": len(took) // 2, "p99_ms": int(0.99 * len(took)), "max_ms": len(took) - 1}
    return {"alarms": len(took)} | {name: round(took[nth], 1) for name, nth in at.items()}


@contextmanager
def listening(port: int) -> Iterator[Ears]:
    """Ears at the broker's alarms."""
    ears, granted = Ears(), []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="ears", clean_session=False)
    client.on_message = lambda _client, _data, message: ears.hear(json.loads(message.payload))
    client.on_subscribe = lambda *_: granted.append(1)
    client.connect(HOST, port)
    client.loop_start()
    client.subscribe("hl/v1/E1/alarm", 1)
    eventually(lambda: granted, "subscribed to alarms")
    try:
        yield ears
    finally:
        client.disconnect()
        client.loop_stop()


def campaign(
    minutes: float, rate: int, district: District, raise_each_s: float, home: Path
) -> dict[str, Any]:
    """What was counted."""
    server = EmbeddedPostgres(home / "server")
    server.start()
    database, log = server.conninfo, home / "worker.log"
    try:
        asyncio.run(migrate(database))
        for nth, name in enumerate(district.names()):
            codes = [*district.quiet(nth), *(district.loud() if nth == 0 else ())]
            worlds.register(database, dict.fromkeys(codes, "gas_detector"), enterprise=name)
        (home / "broker").mkdir()
        settings = {"database_url": database}
        with (
            mosquitto(home / "broker") as broker,
            worlds.process("worker", home / "home", log, mqtt_url=broker.url, **settings),
            listening(broker.port) as ears,
        ):
            eventually(lambda: "subscribed" in log.read_text(), "worker subscribed", 60)
            load = Loader(district, broker.port, rate, raise_each_s)
            try:
                outage = Outage(server, home / "home", load, ears)
                return outage.count(minutes, rate, district)
            finally:
                load.abort()
    finally:
        server.stop()


@dataclass(slots=True)
class Outage:
    """The database goes, stays away, and comes back."""

    server: EmbeddedPostgres
    home: Path
    load: Loader
    ears: Ears
    began: float = field(default_factory=time.monotonic)

    def count(self, minutes: float, rate: int, district: District) -> dict[str, Any]:
        """All figures, once everything has found its place."""
        self._wait(BEFORE_S)
        self.server.child.send(signal.SIGQUIT)
        eventually(lambda: not self.server.child.runs(), "the database has stopped")
        lost, self.ears.phase = time.monotonic(), "away"
        self._wait(minutes * 60)
        state = self._state()
        file_bytes = sum(f.stat().st_size for f in self.home.rglob("spool.sqlite*"))
        self.server.launch()
        eventually(self._answers, "the database is back", 600)
        back, self.ears.phase = time.monotonic(), "draining"
        sent = self.load.told["sent"]
        self._wait(WITHIN_S, lambda: self._state()["works"] == 0)
        drained_s, self.ears.phase = time.monotonic() - back, "after"
        drained = state["readings"] + self.load.told["sent"] - sent
        self._wait(AFTER_S)
        said = self.load.finish()
        expected = _expected(district, said)
        self._wait(120, lambda: sum(self._stored().values()) >= said["sent"])
        return {
            "minutes": minutes,
            "rate": rate,
            "rate_reached": round(said["sent"] / said["seconds"]),
            "sent": said["sent"],
            "confirmed": said["confirmed"],
            **_compared(expected, self._stored()),
            "away_s": round(back - lost, 1),
            "spooled_readings": state["readings"],
            "spool_bytes": state["bytes"],
            "spool_file_bytes": file_bytes,
            "spool_bytes_per_reading": round(state["bytes"] / max(1, state["readings"]), 1),
            "drain_s": round(drained_s, 1),
            "drain_readings_per_s": round(drained / drained_s),
            **self._alarms(said["raised"]),
            "alarm_latency": self.ears.late(),
            "machine": machine(),
        }

    def _alarms(self, raised: int) -> dict[str, int]:
        """How each was told and recorded."""
        self._wait(30, lambda: len(self.ears.recorded) == raised)
        rows = query(self.server.conninfo, RECORDED)
        phases = Counter(self.ears.unrecorded.values())
        return {
            "alarms_sent": raised,
            "alarms_told_unrecorded_while_away": phases["away"],
            "alarms_told_unrecorded_while_draining": phases["draining"],
            "alarms_told_recorded_once": sum(n == 1 for n in self.ears.recorded.values()),
            "alarms_told_recorded_again": sum(n > 1 for n in self.ears.recorded.values()),
            "alarms_recorded_once": sum(row[1:] == (1, 1) for row in rows),
            "alarms_recorded_otherwise": sum(row[1:] != (1, 1) for row in rows),
            "alarms_never_told": raised - len({*self.ears.unrecorded, *self.ears.recorded}),
        }

    def _wait(self, for_s: float, over: Callable[[], bool] = lambda: False) -> None:
        """Returns after that time, or when it is over; says how things are meanwhile."""
        until, say_at = time.monotonic() + for_s, time.monotonic() + SAY_EACH_S
        while time.monotonic() < until and not over():
            time.sleep(min(0.5, max(0.0, until - time.monotonic())))
            if time.monotonic() >= say_at:
                say_at += SAY_EACH_S
                self._say()

    def _say(self) -> None:
        state, told = self._state(), self.load.told
        behind = told["sent"] - told["confirmed"]
        print(
            f"{time.monotonic() - self.began:6.0f} s {self.ears.phase}: {told['sent']} sent"
            f" ({behind} unconfirmed), {state['readings']} spooled ({state['bytes'] >> 20} MiB),"
            f" {told['raised']} alarms raised, {len(self.ears.unrecorded)} heard unrecorded,"
            f" {len(self.ears.recorded)} recorded",
            file=sys.stderr,
            flush=True,
        )

    def _state(self) -> dict[str, Any]:
        assert spool_file(self.home).exists()
        while True:
            try:
                return dict(json.loads(state_file(self.home).read_text()))
            except (OSError, ValueError):  # between two of them
                time.sleep(0.05)

    def _stored(self) -> dict[str, int]:
        return dict(query(self.server.conninfo, STORED))

    def _answers(self) -> bool:
        try:
            return bool(query(self.server.conninfo, "SELECT 1"))
        except psycopg.OperationalError:
            return False


def _expected(district: District, said: dict[str, Any]) -> dict[str, int]:
    """Readings of each detector: they spoke in turn."""
    expected = dict.fromkeys(district.loud()[: said["raised"]], 1)
    for nth, count in enumerate(said["quiet"]):
        turns, rest = divmod(count, district.devices)
        for place, code in enumerate(district.quiet(nth)):
            expected[code] = turns + (place < rest)
    return expected


def _compared(expected: dict[str, int], stored: dict[str, int]) -> dict[str, int]:
    """Readings in all, and by detector too few and too many."""
    codes = expected.keys() | stored.keys()
    more = {code: stored.get(code, 0) - expected.get(code, 0) for code in codes}
    return {
        "stored": sum(stored.values()),
        "missing": -sum(min(0, count) for count in more.values()),
        "doubled": sum(max(0, count) for count in more.values()),
    }


def sound(counts: dict[str, Any]) -> bool:
    """Nothing lost, nothing twice, nothing silent."""
    wrong = ("missing", "doubled", "alarms_told_recorded_again", "alarms_recorded_otherwise",
             "alarms_never_told")  # fmt: skip
    once = counts["alarms_recorded_once"] == counts["alarms_sent"]
    heard = counts["alarms_told_recorded_once"] == counts["alarms_sent"]
    return (
        once
        and heard
        and counts["sent"] == counts["confirmed"]
        and not any(counts[name] for name in wrong)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the counts; 1 where something is missing, doubled or was not told."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--rate", type=int, default=5_000)
    parser.add_argument("--enterprises", type=int, default=4)
    parser.add_argument("--devices", type=int, default=250, help="of each enterprise")
    parser.add_argument("--raise-each-s", type=float, default=2.0, help="an alarm so often")
    given = parser.parse_args(arguments)
    alarms = int((given.minutes * 60 * 4 + 600) / given.raise_each_s)
    district = District(given.enterprises, given.devices, alarms)
    with tempfile.TemporaryDirectory(prefix="outage-") as folder:
        Path(folder).chmod(0o755)
        counts = campaign(given.minutes, given.rate, district, given.raise_each_s, Path(folder))
    print(json.dumps(counts))
    return 0 if sound(counts) else 1


if __name__ == "__main__":
    sys.exit(main())
