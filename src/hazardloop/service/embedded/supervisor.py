"""Children that are started again when they end, and stopped last started first."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from hazardloop.service.embedded.child import Child
from hazardloop.service.errors import EmbeddedFailed, ServiceError

log = logging.getLogger(__name__)

LOOK_EACH_S: Final = 0.1
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 15.0
WELL_AFTER_S: Final = 60.0
"""A child that ran this long was well: the next start after its end comes at once."""


def pause_before(failures: int) -> float:
    """Seconds to wait before a start that follows so many failures in a row."""
    return 0.0 if failures <= 1 else min(FIRST_PAUSE_S * 2.0 ** (failures - 2), LONGEST_PAUSE_S)


@dataclass(slots=True)
class Kept:
    """A child that is to run, and how it is started."""

    child: Child
    launch: Callable[[], None]
    launched_at: float = 0.0
    failures: int = 0
    due_at: float | None = None
    """When it is started again; None while it runs."""


@dataclass(slots=True)
class Supervisor:
    """All that one run keeps alive. Everything happens in the thread that calls it."""

    changed: Callable[[], None] = lambda: None
    """Called when a process id is another than before."""
    _kept: list[Kept] = field(default_factory=list)

    def keep(self, child: Child, launch: Callable[[], None] | None = None) -> None:
        """Starts `child`, and from now on keeps it running."""
        kept = Kept(child, launch or child.launch)
        self._kept.append(kept)
        self._launch(kept)

    def pids(self) -> dict[str, list[int]]:
        """Process ids of those that run, by name."""
        return {kept.child.name: [kept.child.pid] for kept in self._kept if kept.child.pid}

    async def watch(self) -> None:
        """Starts again whatever ends, for ever."""
        while True:
            for kept in self._kept:
                self._look(kept, time.monotonic())
                kept.child.bound_log()
            await asyncio.sleep(LOOK_EACH_S)

    async def require_start(
        self, child: Child, started: Callable[[], bool], within_s: float
    ) -> None:
        """Returns when `started`. EmbeddedFailed: the child ended first, or it took too long."""
        until = time.monotonic() + within_s
        while not started():
            if not child.runs():
                raise EmbeddedFailed(
                    f"the {child.name} ended at its start ({reason(child)}); see {child.log}"
                )
            if time.monotonic() > until:
                raise EmbeddedFailed(
                    f"the {child.name} was not ready within {within_s:.0f} s; see {child.log}"
                )
            await asyncio.sleep(LOOK_EACH_S)

    async def stop(self) -> None:
        """Ends all, the last started first; each is gone before the next is asked."""
        while self._kept:
            await self._kept[-1].child.stop_and_wait()
            if self._kept:  # unless they were killed meanwhile
                self._kept.pop()

    def kill(self) -> None:
        """Ends all at once and by force."""
        while self._kept:
            self._kept.pop().child.kill()

    def _look(self, kept: Kept, now: float) -> None:
        if kept.child.runs():
            return
        if kept.due_at is None:
            well = now - kept.launched_at > WELL_AFTER_S
            kept.failures = 1 if well else kept.failures + 1
            kept.due_at = now + pause_before(kept.failures)
            log.error(
                "child ended",
                extra={"child": kept.child.name, "reason": reason(kept.child),
                       "again_in_s": round(kept.due_at - now, 1)},
            )  # fmt: skip
        if now >= kept.due_at:
            try:
                self._launch(kept)
            except (OSError, ServiceError) as error:
                kept.failures += 1
                kept.due_at = now + pause_before(kept.failures)
                log.error("child not started", extra={"child": kept.child.name, "why": str(error)})

    def _launch(self, kept: Kept) -> None:
        kept.launch()
        kept.launched_at, kept.due_at = time.monotonic(), None
        self.changed()


def reason(child: Child) -> str:
    """Why it ended, as far as it told."""
    code = child.exit_code
    if code is not None and code < 0:
        return f"killed by signal {-code}"
    return child.last_words()


async def until_signal(
    supervisor: Supervisor, work: Coroutine[Any, Any, None], say: Callable[[str], None]
) -> None:
    """Does `work` until it is done or SIGTERM, SIGINT or SIGHUP comes; no child is left afterwards.

    A second signal ends the children by force. What `work` raises is raised when all have ended.
    """
    stop = asyncio.Event()

    def interrupt() -> None:
        if stop.is_set():
            supervisor.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await first_of(working, stopping)
    finally:
        stop.set()
        say("stopping")
        await supervisor.stop()


async def first_of(*tasks: "asyncio.Future[Any]") -> None:
    """Returns, or raises, as the first of `tasks` does; the others are cancelled."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def for_ever() -> None:
    """Never returns."""
    await asyncio.Event().wait()
