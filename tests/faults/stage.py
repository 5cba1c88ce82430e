"""Worker, broker and database as processes of their own, with a proxy before each of the two."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hazardloop.service.database import migrate
from hazardloop.service.embedded import another_user
from hazardloop.service.embedded.child import last_line
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.spool_state import said_in, state_file
from tests import worlds
from tests.brokers import Broker, mosquitto, nats
from tests.faults.disk import bound_files
from tests.faults.load import GATEWAY, Plan
from tests.faults.proxy import Proxy
from tests.worlds import REPOSITORY, eventually, query

_numbers = itertools.count(1)
ACK_WAIT_S: Final = 2.0
"""After which NATS sends again what was not acknowledged."""
SETTLE_S: Final[dict[str, float]] = {"mosquitto": 0, "nats": 5}
"""Twice `ACK_WAIT_S` and a little, so that what is gathered holds repeats, too."""
SMALL_BYTES: Final = 256 << 10
"""More than the log and the state of a worker, less than the log of its spool soon takes."""


@dataclass(slots=True)
class Stage:
    """What a fault can be done to."""

    database: str
    """Conninfo, past the proxy."""
    broker: Broker
    home: Path
    to_broker: Proxy
    to_database: Proxy
    settings: dict[str, object] = field(default_factory=dict)
    worker: subprocess.Popen[bytes] | None = None
    lives: int = 0
    ends: list[str] = field(default_factory=list)
    """Exit code and last words of workers that ended by themselves."""
    most_bytes: int | None = None
    """Beyond which no file of a worker grows; None = no bound."""

    def start_worker(self) -> None:
        """A worker begins its life; does not wait until it works."""
        through = make_conninfo(
            self.database, host="127.0.0.1", port=self.to_database.port, sslmode="disable"
        )
        settings = {
            "home": self.home,
            "database_url": through,
            "mqtt_url": f"mqtt://127.0.0.1:{self.to_broker.port}",
            "settle_s": self.settle_s,
            "batch_ms": 20,
        } | self.settings
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
        environment |= {f"HAZARDLOOP_{key.upper()}": str(value) for key, value in settings.items()}
        self.home.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "hazardloop", "serve", "--role", "worker"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        bound_files(self.worker.pid, self.most_bytes)
        self.lives += 1

    def await_worker(self) -> None:
        """Returns when it has subscribed and beats."""
        eventually(self.works, "the worker works")

    def works(self) -> bool:
        """Whether this worker beats, connected; one that ended is started again, as anywhere."""
        assert self.worker is not None
        if (code := self.worker.poll()) is not None:
            self.ends.append(f"{code}: {last_line(self.log())}")
            self.start_worker()
        return bool(
            query(
                self.database,
                "SELECT FROM process_heartbeat WHERE role = 'worker'"
                " AND detail->>'broker' = 'connected' AND instance LIKE %s"
                " AND beat_at > clock_timestamp() - interval '2 s'",
                [f"%:{self.worker.pid}"],
            )
        )

    def kill_worker(self) -> None:
        """SIGKILL; the next one starts at once."""
        self.end_worker(signal.SIGKILL)
        self.start_worker()

    def end_worker(self, how: signal.Signals) -> int:
        """Ends it; how it ended."""
        assert self.worker is not None
        with suppress(ProcessLookupError):
            self.worker.send_signal(how)
            self.worker.send_signal(signal.SIGCONT)
        try:
            return self.worker.wait(30)
        except subprocess.TimeoutExpired:
            self.worker.kill()
            return self.worker.wait()

    @property
    def settle_s(self) -> float:
        """How long a worker gathers after an unclean stop."""
        return SETTLE_S[self.broker.kind]

    @property
    def memory_mb(self) -> float:
        """Resident memory of the worker."""
        assert self.worker is not None
        with suppress(OSError):
            for line in Path(f"/proc/{self.worker.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        return 0.0

    @property
    def log_file(self) -> Path:
        """Where its workers' words go: beside the home, whose disk may be full."""
        return self.home.with_name("worker.log")

    def log(self) -> str:
        """What all its workers have said."""
        return self.log_file.read_text(errors="replace")

    def spool(self) -> dict[str, Any]:
        """How the worker says its spool stands; empty while there is none that says it."""
        return said_in(state_file(self.home)) or {}

    def figure(self, name: str) -> float:
        """A figure without labels of all its workers, as Prometheus would see it; 0 = not there."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self.home / "metrics"))  # type: ignore[no-untyped-call]
        return registry.get_sample_value(name) or 0.0

    def fill(self) -> None:
        """For the worker, and those that follow it, the disk is full: no file grows any more.

        Smaller ones have room for their first bytes, so that only its spool is concerned.
        """
        self._bound(SMALL_BYTES)

    def free(self) -> None:
        """The disk has room again."""
        self._bound(None)

    def _bound(self, most_bytes: int | None) -> None:
        self.most_bytes = most_bytes
        assert self.worker is not None
        with suppress(ProcessLookupError):
            bound_files(self.worker.pid, most_bytes)


@contextmanager
def staged(
    database: str,
    folder: Path,
    plan: Plan,
    broker: str = "mosquitto",
    *,
    durable: bool = False,
    **settings: object,
) -> Iterator[Stage]:
    """A stage with a worker that works; `durable`: Mosquitto survives a kill, too."""
    register(database, plan)
    home = folder / "broker"
    home.mkdir(parents=True)
    with ExitStack() as stack:
        running = stack.enter_context(
            mosquitto(home, durable=durable)
            if broker == "mosquitto"
            else nats(home, ack_wait_s=ACK_WAIT_S, sync="1s")
        )
        stage = Stage(
            database,
            running,
            folder / "home",
            stack.enter_context(Proxy(running.port)),
            stack.enter_context(Proxy(socket_of(database))),
            settings,
        )
        stage.start_worker()
        try:
            stage.await_worker()
            yield stage
        finally:
            stage.end_worker(signal.SIGTERM)


def register(database: str, plan: Plan) -> None:
    """The gateways of a plan with their devices, and an enterprise that sends nothing."""
    for name in plan.names:
        worlds.register(database, plan.devices_of(name), enterprise=name, gateway=GATEWAY)
    worlds.register(database, {"THEIRS": "gas_detector"}, enterprise="OTHER", gateway=GATEWAY)


def socket_of(conninfo: str) -> Path:
    """The Unix socket of a server."""
    where = conninfo_to_dict(conninfo)
    return Path(str(where["host"])) / f".s.PGSQL.{where.get('port', 5432)}"


class DatabaseServer:
    """PostgreSQL that may be stopped and killed."""

    def __init__(self, home: Path, **settings: str) -> None:
        self._server = EmbeddedPostgres(home, settings={"max_connections": "60"} | settings)

    @property
    def conninfo(self) -> str:
        """Of its own database."""
        return self._server.conninfo

    def start(self) -> None:
        """Returns when it answers."""
        self._server.start()

    def stop(self) -> None:
        """In good order: transactions are ended."""
        self._server.stop()

    def kill(self) -> None:
        """All its processes at one blow: what was in their memory alone is gone."""
        pid = self._server.pid
        assert pid is not None
        children = _children(pid)
        self._send(signal.SIGKILL)
        self._server.stop()
        until = time.monotonic() + 10  # its own children see it and end
        while any(Path(f"/proc/{child}").exists() for child in children):
            assert time.monotonic() < until, "backends outlive their postmaster"
            time.sleep(0.02)

    def break_off(self) -> None:
        """As `pg_ctl stop -m immediate`: every process of it leaves all as it is."""
        self._server.child.send(signal.SIGQUIT)
        assert self._ended(10), "it goes on after SIGQUIT"

    def revive(self) -> None:
        """Starts it if it has ended by itself."""
        if self._server.pid is None:
            self._server.start()

    def _ended(self, within_s: float) -> bool:
        until = time.monotonic() + within_s
        while self._server.pid is not None and time.monotonic() < until:
            time.sleep(0.02)
        return self._server.pid is None

    def clone(self, template: str, disk: str = "") -> str:
        """Conninfo of a new database that is a copy of `template`, on that `further_disk`."""
        name = f"{template}_{next(_numbers)}"
        with self._administration() as connection:
            where = f" TABLESPACE {disk}" if disk else ""
            connection.execute(
                f'CREATE DATABASE "{name}" TEMPLATE "{template}"{where} STRATEGY file_copy'
            )
        return make_conninfo(self.conninfo, dbname=name)

    @contextmanager
    def further_disk(self, folder: Path) -> Iterator[str]:
        """A tablespace in that folder; its databases go with it."""
        name = f"disk_{next(_numbers)}"
        place = folder / name
        place.mkdir()
        another_user.give(place)
        with self._administration("postgres") as connection:
            connection.execute(f"CREATE TABLESPACE {name} OWNER hazardloop LOCATION '{place}'")
        yield name
        with self._administration("postgres") as connection:
            for (each,) in connection.execute(
                "SELECT datname FROM pg_database d JOIN pg_tablespace t ON dattablespace = t.oid"
                " WHERE spcname = %s", [name],
            ).fetchall():  # fmt: skip
                connection.execute(f'DROP DATABASE "{each}" WITH (FORCE)')
            connection.execute(f"DROP TABLESPACE {name}")

    def copy_of(self, database: str) -> str:
        """Conninfo of a copy of a database of ours that nobody uses."""
        return self.clone(str(conninfo_to_dict(database)["dbname"]))

    def make_template(self, name: str) -> None:
        """A database at the present schema, to be cloned."""
        with self._administration() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        asyncio.run(migrate(make_conninfo(self.conninfo, dbname=name)))

    def _administration(self, user: str = "hazardloop") -> psycopg.Connection:
        conninfo = make_conninfo(self.conninfo, dbname="postgres", user=user)
        return psycopg.connect(conninfo, autocommit=True)

    def freeze(self) -> None:
        """Every process of it stands still; connections stay."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self._send(signal.SIGCONT)

    def _send(self, what: signal.Signals) -> None:
        pid = self._server.pid
        assert pid is not None
        for each in [pid, *_children(pid)]:
            with suppress(ProcessLookupError):
                os.kill(each, what)


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
