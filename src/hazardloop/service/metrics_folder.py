"""Where the processes of one service put their counters, so that the api can show all of them.

`prepare` must run before `hazardloop.service.metrics` is imported: prometheus_client looks for the
folder once, at its import.
"""

import logging
import os
import sys
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
MOST_LEFT_BEHIND: Final = 200
"""Files of ended processes that are kept; their counts are still part of the totals."""
OWN: Final = ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_max")
"""The files of one process, as prometheus_client names them."""
OWN_BYTES: Final = 1 << 16
"""What it makes them at first."""


def prepare(home: Path) -> Path | None:
    """The folder under `home`, made and announced to prometheus_client, without old leftovers.

    None: its disk has no room, so this process keeps its figures to itself.
    """
    folder = home / "metrics"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        forget_ended(folder)
        _take_room(folder)
    except OSError as error:
        log.error("figures are not shared", extra={"folder": str(folder), "reason": str(error)})
        os.environ.pop(VARIABLE, None)
        return None
    os.environ[VARIABLE] = str(folder)
    return folder


def _take_room(folder: Path) -> None:
    """Takes the room of our files now: they are memory-mapped, and a page that finds no room on the
    disk later would end the process (SIGBUS).
    """
    for kind in OWN:
        file = folder / f"{kind}_{os.getpid()}.db"
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if sys.platform == "linux":
                os.posix_fallocate(descriptor, 0, OWN_BYTES)
        except OSError:
            file.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def forget_ended(folder: Path) -> None:
    """Removes live gauges of ended processes, and the oldest of their counters beyond a limit."""
    left = [file for file in folder.glob("*.db") if not _alive(file)]
    gauges = [file for file in left if file.name.startswith("gauge_live")]
    counters = sorted(set(left) - set(gauges), key=_age)
    for file in gauges + counters[: max(0, len(counters) - MOST_LEFT_BEHIND)]:
        file.unlink(missing_ok=True)


def _alive(file: Path) -> bool:
    try:
        os.kill(int(file.stem.rsplit("_", 1)[1]), 0)
    except (ProcessLookupError, ValueError, IndexError):
        return False
    except PermissionError:
        return True  # someone else's process
    return True


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
