"""A process that we start, watch and stop, and that does not outlive us."""

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hazardloop.service.embedded import ports
from hazardloop.service.errors import EmbeddedFailed

PR_SET_PDEATHSIG: Final = 1
"""Linux prctl(2): the signal a process gets when the thread that made it ends."""
LOOK_EACH_S: Final = 0.02
LOG_MOST: Final = 32 << 20
"""Bytes of a log, of which one older part is kept."""


@dataclass(slots=True)
class Child:
    """One program in its own session, its output in a log; started from the main thread only,
    because a child's life hangs on the thread that made it.
    """

    name: str
    command: Sequence[str]
    folder: Path
    """The home: logs/NAME.log and run/NAME.pid lie below it."""
    environment: Mapping[str, str] | None = None
    """Instead of ours."""
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    """What it gets when we die without stopping it."""
    stop_within_s: float = 15.0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / "logs" / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self.runs() and self._process else None

    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; negative = killed by that signal; None = runs, or was never started."""
        return self._process.poll() if self._process else None

    def launch(self) -> None:
        """Starts it; does not wait until it is of any use."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.environment,
                start_new_session=True,  # Ctrl-C is for us: we stop them in order
                preexec_fn=_die_with_parent(self.orphan_signal),
            )
        pid_file = pid_file_of(self.folder, self.name)
        pid_file.parent.mkdir(parents=True, exist_ok=True)
        pid_file.write_text(f"{self._process.pid} {_started(self._process.pid)}")

    def send(self, what: signal.Signals) -> None:
        """Sends a signal, where there is somebody to get it."""
        if self.runs() and self._process:
            self._process.send_signal(what)

    def stop(self) -> None:
        """Asks it to end, waits, and ends it by force when it does not."""
        self.send(self.stop_signal)
        self._reap(self.stop_within_s)

    async def stop_and_wait(self) -> None:
        """`stop` that lets others run meanwhile."""
        self.send(self.stop_signal)
        await self.ended(self.stop_within_s)
        self._reap(0.0)

    async def ended(self, within_s: float) -> bool:
        """Waits for its end; whether it came."""
        until = time.monotonic() + within_s
        while self.runs() and time.monotonic() < until:  # noqa: ASYNC110  nobody sets an event
            await asyncio.sleep(LOOK_EACH_S)
        return not self.runs()

    async def accepting(self, host: str, port: int, within_s: float) -> None:
        """Returns when it takes connections there. EmbeddedFailed: with its last words."""
        until = time.monotonic() + within_s
        while not ports.answers(host, port):
            if not self.runs():
                raise EmbeddedFailed(f"{self.name} did not start: {self.last_words()}")
            if time.monotonic() > until:
                raise EmbeddedFailed(f"{self.name} did not accept within {within_s:.0f} s")
            await asyncio.sleep(LOOK_EACH_S)

    def kill(self) -> None:
        """Ends it by force."""
        self._reap(0.0)

    def bound_log(self) -> None:
        """Sets a log aside that has become too long; the child goes on writing at its start."""
        if self.log.exists() and self.log.stat().st_size > LOG_MOST:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)

    def last_words(self) -> str:
        """The last line of its log that says something."""
        return last_line(self.log.read_text(errors="replace") if self.log.exists() else "")

    def _reap(self, within_s: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            # The whole session: a server's own children must not stay behind either.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        pid_file_of(self.folder, self.name).unlink(missing_ok=True)


def pid_file_of(folder: Path, name: str) -> Path:
    """Where the process id of a running child is noted."""
    return folder / "run" / f"{name}.pid"


def end_leftovers(folder: Path, *, patience_s: float = 10.0) -> list[str]:
    """Names of children that an earlier run left behind; all have ended when this returns.

    A process counts only if it started at the instant that was noted with its id, so that a reused
    id is never touched.
    """
    left: dict[int, Path] = {}
    for file in sorted((folder / "run").glob("*.pid")):
        number, _, started = file.read_text().partition(" ")
        if number.isdigit() and started and _started(int(number)) == started:
            left[int(number)] = file
        else:
            file.unlink()
    until = time.monotonic() + patience_s
    while any(_started(pid) for pid in left):
        # It may be ending just now; SIGINT is a fast stop for PostgreSQL, too.
        how = signal.SIGINT if time.monotonic() < until else signal.SIGKILL
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        time.sleep(0.2)
    for file in left.values():
        file.unlink(missing_ok=True)
    return sorted(file.stem for file in left.values())


def last_line(text: str) -> str:
    """The last line that is not empty, for messages that name a reason."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


def _started(pid: int) -> str:
    """When a living process started, in ticks since boot; empty when there is none such."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]


def _die_with_parent(how: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def ask_the_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(how))
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)

    return ask_the_kernel
