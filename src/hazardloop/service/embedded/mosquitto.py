"""Mosquitto from the machine's PATH, as a child of this process."""

import getpass
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hazardloop.service.embedded import ports
from hazardloop.service.embedded.accounts import Account
from hazardloop.service.embedded.child import Child
from hazardloop.service.embedded.templates import render, write_private
from hazardloop.service.errors import EmbeddedFailed

START_WITHIN_S: Final = 15.0


def binary() -> str:
    """The server's program. EmbeddedFailed: it is not installed."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise EmbeddedFailed("mosquitto is not on the PATH: apt-get install mosquitto")
    return found


@dataclass(slots=True)
class EmbeddedMosquitto:
    """One server whose data lie under `home`."""

    home: Path
    host: str
    port: int
    sync: str = "always"
    """`always`: the queue is written at each change; an interval: once in so many seconds."""
    child: Child = field(init=False)

    def __post_init__(self) -> None:
        """Makes the child without starting it."""
        self.home = self.home.resolve()
        self.child = Child(
            "mosquitto",
            [binary(), "-c", str(self.folder / "mosquitto.conf")],
            self.home,
            orphan_signal=signal.SIGTERM,
        )

    @property
    def folder(self) -> Path:
        """Where its configuration and its queue lie."""
        return self.home / "mosquitto"

    def launch(self, accounts: Sequence[Account]) -> None:
        """Starts it with these accounts."""
        ports.require_free(self.host, self.port, "--mqtt-port")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_private(
            self.folder / "mosquitto.conf",
            render(
                "mosquitto.conf",
                mqtt_host=self.host,
                mqtt_port=self.port,
                account=getpass.getuser(),
                users=self.folder / "users",
                access=self.folder / "access",
                store=self.folder,
                save_each="true" if self.sync == "always" else "false",
                save_interval=1 if self.sync == "always" else _seconds(self.sync),
            ),
        )
        self._write_accounts(accounts)
        self.child.launch()

    async def accepting(self) -> None:
        """Returns when it accepts gateways' connections. EmbeddedFailed: with its last words."""
        await self.child.accepting(self.host, self.port, START_WITHIN_S)

    def admit(self, accounts: Sequence[Account]) -> None:
        """Lets exactly these log in from now on."""
        self._write_accounts(accounts)
        self.child.send(signal.SIGHUP)

    def _write_accounts(self, accounts: Sequence[Account]) -> None:
        passwords = "".join(f"{each.username}:{each.pbkdf2}\n" for each in accounts)
        write_private(self.folder / "users", passwords)
        lines = []
        for account in accounts:
            lines.append(f"user {account.username}")
            lines += [f"topic write {topic}" for topic in account.publish]
            lines += [f"topic read {topic}" for topic in account.subscribe]
        write_private(self.folder / "access", "\n".join(lines) + "\n")


def _seconds(interval: str) -> int:
    number, unit = (
        (interval[:-2], "ms") if interval.endswith("ms") else (interval[:-1], interval[-1])
    )
    return max(1, round(int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]))
