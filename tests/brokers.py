"""Real brokers for tests: Mosquitto and NATS, each on free ports and in a directory of its own."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
START_S = 60.0
"""How long a broker may take until it accepts connections."""


def free_port() -> int:
    """A TCP port nobody listens on, and that the kernel gives to nobody else.

    A socket that is bound and does not listen keeps it while this process runs; servers bind it
    all the same, since they take addresses again (SO_REUSEADDR).
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind((HOST, 0))
    port = int(keeper.getsockname()[1])
    keeper.detach()
    return port


@dataclass(slots=True)
class Broker:
    """A broker process: the same ports and the same data before and after `restart`."""

    kind: str
    command: list[str]
    home: Path
    port: int
    tls: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where to connect: `mqtts://localhost:…` with TLS, else `mqtt://127.0.0.1:…`."""
        return f"mqtts://localhost:{self.port}" if self.tls else f"mqtt://{HOST}:{self.port}"

    def start(self) -> None:
        """Start, and wait until the MQTT port accepts. RuntimeError with the log if it does not."""
        with (self.home / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.home, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not accepts(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.kind} did not start:\n{self.log()}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL): nothing is flushed, nobody is told."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order (SIGTERM), by force after 10 s."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start again on the same ports and data; ended in good order first if it still runs."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop answering while connections stay open (SIGSTOP), as a hung host does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        """What the broker has printed so far."""
        return (self.home / "broker.log").read_text(errors="replace")

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def accepts(port: int) -> bool:
    """Whether somebody accepts TCP connections there."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False


@contextmanager
def running(broker: Broker) -> Iterator[Broker]:
    """`broker`, started; ended on the way out, whatever happened."""
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def mosquitto(
    home: Path,
    *,
    users: Mapping[str, str] | None = None,
    tls: tuple[Path, Path, Path] | None = None,
    require_client_certificate: bool = False,
    durable: bool = False,
    inflight: int = 1000,
    extra: str = "",
) -> Iterator[Broker]:
    """Mosquitto that keeps its queues over `restart`.

    Args:
        home: an existing directory for configuration, data and log.
        users: user name -> password; None lets everybody in.
        tls: certificate of the authority, of the server, and the server's key.
        require_client_certificate: with `tls`, refuse clients without one of that authority.
        durable: keep them over `kill` too, by writing at each change (some hundred messages/s).
        inflight: messages sent and not acknowledged, per client; 20 as Mosquitto comes.
        extra: further lines of mosquitto.conf.
    """
    port = free_port()
    lines = [
        f"listener {port} {HOST}",
        f"user {getpass.getuser()}",
        "persistence true",
        f"persistence_location {home}/",
        f"autosave_on_changes {str(durable).lower()}",
        f"autosave_interval {1 if durable else 1800}",
        "max_queued_messages 0",
        f"max_inflight_messages {inflight}",
        f"allow_anonymous {'true' if users is None else 'false'}",
    ]
    if users is not None:
        lines.append(f"password_file {_password_file(home, users)}")
    if tls is not None:
        authority, certificate, key = tls
        lines += [f"cafile {authority}", f"certfile {certificate}", f"keyfile {key}"]
        lines.append(f"require_certificate {str(require_client_certificate).lower()}")
    config = home / "mosquitto.conf"
    config.write_text("\n".join([*lines, extra, ""]))
    program = _program("mosquitto", "/usr/sbin")
    command = [program, "-c", str(config), "-v"]
    with running(Broker("mosquitto", command, home, port, tls is not None)) as broker:
        yield broker


@contextmanager
def nats(
    home: Path,
    *,
    users: Mapping[str, str] | None = None,
    ack_wait_s: float = 10.0,
    max_ack_pending: int = 16_000,
    sync: str = "always",
    extra: str = "",
) -> Iterator[Broker]:
    """NATS server with JetStream on disk and its MQTT listener.

    Args:
        home: an existing directory for configuration, data and log.
        users: user name -> password; None lets everybody in.
        ack_wait_s: after how long an unacknowledged message is sent again.
        max_ack_pending: unacknowledged messages per subscription.
        sync: `always`, or how often the store is fsynced, such as `1s`.
        extra: further text of the configuration, at its top level.
    """
    port, native = free_port(), free_port()
    entries = "".join(f'{{user: "{u}", password: "{p}"}} ' for u, p in (users or {}).items())
    config = home / "nats.conf"
    config.write_text(
        f"""
server_name: under_test
listen: {HOST}:{native}
max_payload: 1MB
jetstream {{ store_dir: "{home}/js", max_file_store: 1GB, max_memory_store: 64MB
  sync_interval: {sync} }}
mqtt {{ listen: {HOST}:{port}, ack_wait: "{ack_wait_s:g}s", max_ack_pending: {max_ack_pending} }}
{f"authorization {{ users: [ {entries} ] }}" if users else ""}
{extra}
"""
    )
    command = [_program("nats-server", str(Path(sys.executable).parent)), "-c", str(config)]
    with running(Broker("nats", command, home, port)) as broker:
        yield broker


def _password_file(home: Path, users: Mapping[str, str]) -> Path:
    path = home / "passwords"
    path.write_text("".join(f"{user}:{password}\n" for user, password in users.items()))
    path.chmod(0o600)
    subprocess.run([_program("mosquitto_passwd", "/usr/bin"), "-U", str(path)], check=True)
    return path


def _program(name: str, place: str) -> str:
    """Its path. RuntimeError if it is not installed: a test that needs it must not pass quietly."""
    found = shutil.which(name, path=place) or shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed")
    return found
