"""Where the processes of one service put their counters, so that the api can show all of them.

`prepare` must run before `hazardloop.service.metrics` is imported: prometheus_client looks for the
folder once, at its import.
"""

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
MOST_LEFT_BEHIND: Final = 200
"""Files of ended processes that are kept; their counts are still part of the totals."""


def prepare(home: Path) -> Path:
    """The folder under `home`, made and announced to prometheus_client, without old leftovers."""
    folder = home / "metrics"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[VARIABLE] = str(folder)
    forget_ended(folder)
    return folder


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
