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
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hazardloop.service.database import migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from tests import worlds
from tests.brokers import Broker, mosquitto, nats
from tests.faults.load import GATEWAY, Plan
from tests.faults.proxy import Proxy
from tests.worlds import REPOSITORY, eventually, query

_numbers = itertools.count(1)
ACK_WAIT_S: Final = 2.0
"""After which NATS sends again what was not acknowledged."""
SETTLE_S: Final[dict[str, float]] = {"mosquitto": 0, "nats": 5}
"""Twice `ACK_WAIT_S` and a little, so that what is gathered holds repeats, too."""


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
        with (self.home / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "hazardloop", "serve", "--role", "worker"],
                env=environment,
                stdout=log,
                stderr=log,
            )
        self.lives += 1

    def await_worker(self, within_s: float = 40) -> None:
        """Returns when it has subscribed and beats."""
        eventually(self.works, "the worker works", within_s)

    def works(self) -> bool:
        """Whether this worker beats, connected; one that ended is started again, as anywhere."""
        assert self.worker is not None
        if self.worker.poll() is not None:
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

    def log(self) -> str:
        """What all its workers have said."""
        return (self.home / "worker.log").read_text(errors="replace")


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
        """As a crash: nothing is written any more."""
        pid = self._server.pid
        assert pid is not None
        children = _children(pid)
        os.kill(pid, signal.SIGKILL)
        self._server.stop()
        until = time.monotonic() + 10  # its own children see it and end
        while any(Path(f"/proc/{child}").exists() for child in children):
            assert time.monotonic() < until, "backends outlive their postmaster"
            time.sleep(0.02)

    def clone(self, template: str) -> str:
        """Conninfo of a new database that is a copy of `template`."""
        name = f"{template}_{next(_numbers)}"
        with self._administration() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return make_conninfo(self.conninfo, dbname=name)

    def copy_of(self, database: str) -> str:
        """Conninfo of a copy of a database of ours that nobody uses."""
        return self.clone(str(conninfo_to_dict(database)["dbname"]))

    def make_template(self, name: str) -> None:
        """A database at the present schema, to be cloned."""
        with self._administration() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        asyncio.run(migrate(make_conninfo(self.conninfo, dbname=name)))

    def _administration(self) -> psycopg.Connection:
        return psycopg.connect(make_conninfo(self.conninfo, dbname="postgres"), autocommit=True)

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
